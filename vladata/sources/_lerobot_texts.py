"""Tables of texts in the `meta` folder of a LeRobot dataset: tasks and subtasks by number."""

from pathlib import Path

from ..errors import GateError, SourceError
from ..gate import check_size, inside
from ._json_files import is_lfs_pointer, read_json_lines
from ._lerobot_parquet import ParquetRows, plain

__all__ = ["read_texts"]

MAX_TEXTS = 1_000_000
MAX_FILE = 2**28
MAX_BYTES = 2**27


def read_texts(root: Path, kind: str) -> dict[int, str]:
    """Texts by number, out of `meta/<kind>.parquet`, or `meta/<kind>.jsonl` of older versions; empty where neither is.

    Args:
        root: The dataset.
        kind: `tasks` or `subtasks`.

    Raises:
        SourceError: The file is damaged, or gives a number two texts.
        GateError: It is too large.
    """
    word = kind.removesuffix("s")
    name = f"meta/{kind}.parquet"
    if inside(root, name).is_file():
        return _numbered(_parquet(root, name, word), name, word)
    name = f"meta/{kind}.jsonl"
    if inside(root, name).is_file():
        lines = read_json_lines(root, name)
        return _numbered([(line.get(f"{word}_index"), line.get(word)) for line in lines], name, word)
    return {}


def _numbered(pairs: list[tuple[object, object]], name: str, word: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, text in pairs:
        is_number = isinstance(number, int) and not isinstance(number, bool)
        if is_number and isinstance(text, str) and found.setdefault(number, text) != text:  # type: ignore[arg-type]
            raise SourceError(f"{name}: {word}_index {number} has two texts; must have one")
    return found


def _parquet(root: Path, name: str, word: str) -> list[tuple[object, object]]:
    """Numbers and texts; the texts are the table's index, which pandas stores under one of several names."""
    path = inside(root, name)
    check_size(path, MAX_FILE)
    if is_lfs_pointer(path):
        raise SourceError(f"{name} is a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    file = ParquetRows(path, name)
    try:
        if file.count > MAX_TEXTS:
            raise GateError(f"{name}: {file.count:,} texts; must have at most {MAX_TEXTS:,}")
        number = f"{word}_index"
        text = next((c for c in (word, "__index_level_0__", *file.columns) if _is_text(file, c)), None)
        if number not in file.columns or text is None:
            raise SourceError(f"{name} has the columns {', '.join(file.columns)}; must have {number} and texts")
        return list(zip(_values(file, number), _values(file, text), strict=True))
    finally:
        file.close()


def _is_text(file: ParquetRows, column: str) -> bool:
    import pyarrow as pa

    if column not in file.columns:
        return False
    kind = file.schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _values(file: ParquetRows, column: str) -> list[object]:
    found: list[object] = []
    size = 0
    for array in file.read(column, [(0, file.count)]):
        size += array.nbytes
        if size > MAX_BYTES:
            raise GateError(f"{file.name}: more than {MAX_BYTES:,} bytes of {column}; must have at most that")
        try:
            found += plain(array).to_pylist()
        except UnicodeDecodeError as error:
            raise SourceError(f"{file.name}: {column} has a text that is not UTF-8") from error
    return found
