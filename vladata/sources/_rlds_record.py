"""One episode of an RLDS dataset: its features as arrays over the steps."""

import zlib
from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..images import ImageInfo
from ..text import clip, printable
from ._example import Feature, parse_example
from ._first_image import first_image
from ._tfds import FeatureInfo

__all__ = ["EpisodeRecord", "ImageSpans"]

MAX_ELEMENTS = 10_000_000
"""Of one value of a feature."""


class ImageSpans:
    """Encoded images that lie in a record; satisfies `Frames`."""

    def __init__(self, record: bytes, spans: NDArray[np.int64]) -> None:
        """Keep the record and where its images begin and end, [N, 2]."""
        self._record = memoryview(record)
        self._spans = spans

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each, [N]."""
        sizes: NDArray[np.int64] = self._spans[:, 1] - self._spans[:, 0]
        return sizes

    @property
    def order(self) -> NDArray[np.int64]:
        """Where each lies in the record, [N]."""
        order: NDArray[np.int64] = self._spans[:, 0]
        return order

    def read(self, index: int) -> memoryview:
        """The encoded bytes of one."""
        begin, end = self._spans[index]
        return self._record[begin:end]


class EpisodeRecord:
    """The example of one episode, read by the features that its dataset declares."""

    def __init__(self, record: bytes, features: Mapping[str, FeatureInfo], where: str) -> None:
        """Find the features in a record.

        Args:
            record: The serialized example.
            features: What features.json declares, by path.
            where: File and record, for errors.

        Raises:
            SourceError: The record is not an example, or damaged.
        """
        self._record = record
        self._features = features
        self._where = where
        self._found = parse_example(record, where)

    def info(self, path: str) -> FeatureInfo:
        """What is declared of a feature.

        Raises:
            SourceError: There is none of that path; with those that there are.
        """
        if path not in self._features:
            names = clip(printable(", ".join(self._features)), 300)
            raise SourceError(f"{self._where}: no feature {printable(path)!r}; there are {names}")
        return self._features[path]

    def has(self, path: str) -> bool:
        """Tell whether a feature is declared and in the record."""
        return path in self._features and self._features[path].key in self._found

    def numbers(self, path: str) -> NDArray[np.generic]:
        """The values of a numeric feature, [T, …] in its declared shape; T is 1 for a feature of the episode.

        Raises:
            SourceError: It is not numeric, of varying shape, not a multiple of its shape, or out of its type's range.
        """
        info, feature = self._feature(path)
        if info.kind != "numeric":
            raise SourceError(f"{self._where}: {path} is {_a(info)}; must be numeric")
        if min(info.shape, default=0) < 0 or prod(info.shape) > MAX_ELEMENTS:
            raise SourceError(f"{self._where}: {path} has shape {list(info.shape)}; must be fixed, and not too large")
        per_step = prod(info.shape)
        if info.encoding:
            values = self._encoded(info, feature, per_step)
        elif feature.kind == "int64":
            values = self._integers(info, feature)
        else:
            values = feature.floats()
        if per_step == 0 or values.size % per_step:
            raise SourceError(
                f"{self._where}: {path} has {values.size} values; must be a multiple of {per_step}, for its shape is "
                f"{list(info.shape)}"
            )
        return values.reshape(-1, *info.shape)

    def texts(self, path: str) -> tuple[list[str], bool]:
        """The texts of a feature, [T], and whether some were not UTF-8 and have replacement characters.

        Raises:
            SourceError: The feature is not text.
        """
        info, feature = self._feature(path)
        if info.kind != "text" or info.shape:
            raise SourceError(f"{self._where}: {path} is {_a(info)}; must be text")
        strings = feature.strings()
        texts = [s.decode("utf-8", "replace") for s in strings]
        return texts, any(t.encode() != s for t, s in zip(texts, strings, strict=True))

    def images(self, path: str) -> tuple[ImageSpans, ImageInfo]:
        """The encoded images of a feature, [T], and what the first readable one is.

        Raises:
            SourceError: The feature has no encoded images, or none is JPEG or PNG.
        """
        info, feature = self._feature(path)
        if info.kind not in {"image", "text"} or feature.kind not in {"bytes", ""}:
            raise SourceError(f"{self._where}: {path} is {_a(info)}; must be encoded images")
        frames = ImageSpans(self._record, feature.spans())
        return frames, first_image(frames, f"{self._where}: {path}")

    def count(self, path: str) -> int:
        """How many values a feature has.

        Raises:
            SourceError: As reading it does.
        """
        info, feature = self._feature(path)
        if info.kind == "numeric":
            return len(self.numbers(path))
        return len(feature.spans()) if feature.kind in {"bytes", ""} else 0

    def _feature(self, path: str) -> tuple[FeatureInfo, Feature]:
        info = self.info(path)
        if info.key not in self._found:
            raise SourceError(f"{self._where}: features.json declares {printable(path)}; the record has none")
        return info, self._found[info.key]

    def _integers(self, info: FeatureInfo, feature: Feature) -> NDArray[np.generic]:
        values = feature.ints()
        dtype = _dtype(info)
        if dtype is None or dtype.kind not in "iub":
            return values
        typed = values.astype(dtype)
        if not np.array_equal(typed.astype(np.int64), values):
            raise SourceError(f"{self._where}: {info.path} holds values beyond its type, {dtype}")
        return typed

    def _encoded(self, info: FeatureInfo, feature: Feature, per_step: int) -> NDArray[np.generic]:
        """Values that are stored as the bytes of one array for each step."""
        dtype = _dtype(info)
        if dtype is None or info.encoding not in {"bytes", "zlib"}:
            raise SourceError(
                f"{self._where}: {info.path} is {printable(info.dtype)} in encoding {printable(info.encoding)}; "
                "this reads numpy types as bytes or zlib"
            )
        size = per_step * dtype.itemsize
        parts = []
        for step, data in enumerate(feature.strings()):
            plain = _inflated(data, size) if info.encoding == "zlib" else data
            if len(plain) != size:
                raise SourceError(f"{self._where}: {info.path} has other than {size} bytes at step {step}")
            parts.append(plain)
        values: NDArray[np.generic] = np.frombuffer(b"".join(parts), dtype=dtype)
        return values


def _inflated(data: bytes, size: int) -> bytes:
    """Unpack at most one byte more than must be there."""
    try:
        return zlib.decompressobj().decompress(data, size + 1)
    except zlib.error:
        return b""


def _dtype(info: FeatureInfo) -> "np.dtype[np.generic] | None":
    """The declared number type; None where numpy has none of that name."""
    names = {"bool", "float16", "float32", "float64"} | {f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)}
    return np.dtype(info.dtype) if info.dtype in names else None


def _a(info: FeatureInfo) -> str:
    shape = f" of shape {list(info.shape)}" if info.shape else ""
    dtype = f" ({printable(info.dtype)})" if info.dtype else ""
    return f"{printable(info.type) or 'of unknown type'}{shape}{dtype}"
