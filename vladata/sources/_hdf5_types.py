"""What an HDF5 dataset declares and what its values are as plain ones; how to tell an HDF5 file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["DatasetInfo", "Value", "is_hdf5", "kind_of", "plain"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SIGNATURE_PLACES = (0, 512, 1024, 2048)

Value = str | bool | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """What a dataset declares."""

    path: str
    """Without a `/` in front."""
    shape: tuple[int, ...]
    dtype: str
    """numpy's name; `text`, `bytes` (vectors of varying length) or `record` where numpy has none."""
    kind: str
    """`numeric`, `text`, `bytes`, `record` or `other`."""
    itemsize: int
    chunk_rows: int
    """Rows of a chunk; 1 where the values are not in chunks."""
    fields: tuple[str, ...] = ()
    """Of a record."""

    @property
    def rows(self) -> int:
        """Length of the first axis; 1 for a single value."""
        return self.shape[0] if self.shape else 1

    @property
    def row_bytes(self) -> int:
        """Of one row."""
        size = self.itemsize
        for length in self.shape[1:]:
            size *= length
        return size

    @property
    def what(self) -> str:
        """Type and shape, for messages."""
        return f"{self.dtype} {list(self.shape)}"


def is_hdf5(path: Path) -> bool:
    """Tell by the signature whether a file is HDF5; a user block of up to 2 KiB may come first."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_SIGNATURE_PLACES[-1] + len(_SIGNATURE))
    except OSError:
        return False
    return any(head[p : p + len(_SIGNATURE)] == _SIGNATURE for p in _SIGNATURE_PLACES)


def kind_of(dtype: "np.dtype[np.generic]") -> tuple[str, str]:
    """What a type is to a reader (`DatasetInfo.kind`), and its name."""
    import h5py

    if h5py.check_string_dtype(dtype) is not None:
        return "text", "text"
    inner = h5py.check_vlen_dtype(dtype)
    if inner is not None:
        is_bytes = np.dtype(inner) in {np.dtype("u1"), np.dtype("i1")}
        return ("bytes", "bytes") if is_bytes else ("other", f"vectors of {np.dtype(inner).name}")
    if dtype.names is not None:
        return "record", "record"
    if dtype.kind == "S":
        return "text", "text"
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return "numeric", dtype.name
    return "other", dtype.name


def plain(value: object) -> Value | tuple[Value, ...] | None:
    """A value of h5py as a plain one."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if not isinstance(value, np.ndarray):
        return None
    if value.ndim == 0:
        return plain(value[()])
    items = [plain(v) for v in value.reshape(-1)]
    return tuple(i for i in items if i is not None and not isinstance(i, tuple)) if None not in items else None
