"""One episode of an RLDS dataset: its features as arrays, texts and images over the steps."""

import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError
from ..images import ImageInfo
from ..text import clip, printable
from ._example import Feature, parse_example
from ._first_image import first_image
from ._rlds_images import ImageSpans
from ._rlds_stored import MAX_ELEMENTS, Stored, described, find_stored, is_stored
from ._tfds_features import FeatureInfo

__all__ = ["EpisodeRecord"]

MAX_VALUES = 2**24
"""Of a feature that is read as numbers, over all steps: 134 MB as int64. Raw images are read one by one."""

_COUNTED_BY = ("is_first", "is_last", "is_terminal")

Int64Array = NDArray[np.int64]


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
        self.where = self._where = where
        self._found = parse_example(record, where)

    def info(self, path: str) -> FeatureInfo:
        """What is declared of a feature.

        Raises:
            SourceError: There is none of that path; with those that there are.
        """
        if path not in self._features:
            names = clip(printable(", ".join(self._features)), 300)
            raise SourceError(f"{self._where}: no feature {clip(printable(path), 200)!r}; there are {names}")
        return self._features[path]

    def has(self, path: str) -> bool:
        """Tell whether a feature is declared and in the record."""
        return path in self._features and is_stored(self._found, self._features[path])

    def _find(self, path: str) -> Stored:
        return find_stored(self._found, self.info(path), self._where)

    # Numbers --------------------------------------------------------------------------------------------------------

    def numbers(self, path: str, element: int | None = None) -> NDArray[np.generic]:
        """The values of a numeric feature, [T, …]; T is 1 for a feature of the episode.

        Args:
            path: Of the feature.
            element: Which one of each step's values, along the first dimension; None: all.

        Raises:
            SourceError: It is not numeric, damaged, too large, has not as many values at each step, has no such
                element at a step, or holds values beyond its type.
        """
        stored = self._find(path)
        info = stored.info
        if info.kind != "numeric":
            raise SourceError(f"{self._where}: {path} is {described(info)}; must be numeric")
        flat = self._encoded(stored) if info.encoding else self._plain(stored)
        if not stored.rows:
            values = flat
            if element is not None and (values.ndim < 2 or element >= values.shape[1]):
                raise SourceError(f"{self._where}: {path} has shape {list(values.shape[1:])}; there is no [{element}]")
            return values if element is None else values[:, element]
        if element is not None:
            return flat[stored.places(element)]
        return flat.reshape(*stored.even(), *flat.shape[1:])

    def _plain(self, stored: Stored) -> NDArray[np.generic]:
        """Values that lie in the list as numbers, [N, …]."""
        info, feature = stored.info, stored.values
        count = feature.count()
        if count > MAX_VALUES:
            raise SourceError(f"{self._where}: {info.path} has {count:,} values; at most {MAX_VALUES:,} are read")
        shape = self._shape(stored, count)
        values = self._integers(info, feature) if feature.kind == "int64" else feature.floats()
        return values.reshape(-1, *shape)

    def _shape(self, stored: Stored, count: int) -> tuple[int, ...]:
        """Shape of one element; one length that varies is found by the number of steps."""
        info = stored.info
        shape = info.inner
        varying = [k for k, n in enumerate(shape) if n < 0]
        if varying and count and not stored.rows and len(varying) == 1:
            steps = self._num_steps() if info.is_step else 1
            fixed = steps * prod([n for n in shape if n >= 0])
            if fixed == 0 or count % fixed:
                raise SourceError(
                    f"{self._where}: {info.path} has {count} values of shape {list(shape)} in {steps} steps; "
                    "must have as many at each"
                )
            shape = tuple(count // fixed if n < 0 else n for n in shape)
        if min(shape, default=0) < 0 or prod(shape) > MAX_ELEMENTS:
            raise SourceError(f"{self._where}: {info.path} has shape {list(shape)}; must be fixed, and not too large")
        size = prod(shape)
        if size == 0 or count % size:
            raise SourceError(
                f"{self._where}: {info.path} has {count} values; must be a multiple of {size}, for its shape is "
                f"{list(shape)}"
            )
        return shape

    def _num_steps(self) -> int:
        """Steps of the episode, by a feature that has one value of fixed size at each."""
        steady = [
            f for f in self._features.values() if f.is_step and not f.levels and min(f.inner, default=0) >= 0
            and 0 not in f.inner and f.key in self._found
        ]  # fmt: skip
        steady.sort(key=lambda f: (f.path not in _COUNTED_BY, f.path))
        if not steady:
            raise SourceError(f"{self._where}: no feature tells the number of steps")
        first = steady[0]
        return self._found[first.key].count() // (1 if first.encoding else prod(first.inner))

    def _integers(self, info: FeatureInfo, feature: Feature) -> NDArray[np.generic]:
        return self._typed(info, feature.ints())

    def _typed(self, info: FeatureInfo, values: Int64Array) -> NDArray[np.generic]:
        dtype = _dtype(info)
        if dtype is None or dtype.kind not in "iub":
            return values
        typed = values.astype(dtype)
        if not np.array_equal(typed.astype(np.int64), values):
            raise SourceError(f"{self._where}: {info.path} holds values beyond its type, {dtype}")
        return typed

    def _encoded(self, stored: Stored) -> NDArray[np.generic]:
        """Values that are stored as the bytes of one array each, [N, …]; all must have one shape."""
        spans = stored.values.spans()
        values: NDArray[np.generic] | None = None
        for index, value in enumerate(self._arrays(stored, spans, np.arange(len(spans)))):
            if values is None:
                if value.size * len(spans) > MAX_VALUES:
                    total = f"{value.size * len(spans):,}"
                    raise SourceError(f"{self._where}: {stored.info.path} has {total} values; at most {MAX_VALUES:,}")
                values = np.empty((len(spans), *value.shape), dtype=value.dtype)
            if value.shape != values.shape[1:]:
                raise SourceError(
                    f"{self._where}: {stored.info.path} has shape {list(values.shape[1:])}, and {list(value.shape)} "
                    f"at {index}; must have one"
                )
            values[index] = value
        if values is None:
            return np.zeros((0, *(max(n, 0) for n in stored.info.inner)), dtype=_dtype(stored.info))
        return values

    def _arrays(self, stored: Stored, spans: Int64Array, wanted: Int64Array) -> Iterator[NDArray[np.generic]]:
        """One array after another, out of the bytes of each."""
        info = stored.info
        dtype = _dtype(info)
        if dtype is None or info.encoding not in {"bytes", "zlib"}:
            raise SourceError(
                f"{self._where}: {info.path} is {printable(info.dtype)} in encoding {printable(info.encoding)}; "
                "this reads numpy types as bytes or zlib"
            )
        shapes = None if stored.sizes is None else stored.sizes.ints()
        if shapes is not None and len(shapes) != len(spans) * len(info.inner):
            raise SourceError(f"{self._where}: {info.path} has {len(shapes)} lengths for {len(spans)} values")
        for index in wanted.tolist():
            workers.beat()
            begin, end = spans[index]
            shape = info.inner
            if shapes is not None:
                shape = tuple(shapes[index * len(shape) : (index + 1) * len(shape)].tolist())
            try:
                value = _unpacked(memoryview(self._record)[begin:end], info, shape, dtype)
            except ValueError as error:
                raise SourceError(f"{self._where}: {info.path} has {error} at step {index}") from error
            yield value

    # Texts ----------------------------------------------------------------------------------------------------------

    def texts(self, path: str) -> tuple[list[tuple[str, ...]], bool]:
        """The texts of a feature at each step, [T], and whether some were not UTF-8 and have replacement characters.

        Whole numbers in a row at each step are read as the bytes of a text, which zeros fill up.

        Raises:
            SourceError: The feature is not text, or damaged.
        """
        stored = self._find(path)
        info = stored.info
        if info.kind == "numeric" and info.is_step and (dtype := _dtype(info)) is not None and dtype.kind in "iu":
            return self._coded(path)
        if info.kind != "text" or len(stored.rows) > 1 or min(info.inner, default=0) < 0:
            raise SourceError(f"{self._where}: {path} is {described(info)}; must be text")
        strings = stored.values.strings()
        texts = [s.decode("utf-8", "replace") for s in strings]
        is_replaced = any(t.encode() != s for t, s in zip(texts, strings, strict=True))
        size = prod(info.inner)
        if stored.rows:
            ends = np.cumsum(stored.rows[0]) * size
        elif size == 0 or len(texts) % size:
            raise SourceError(f"{self._where}: {path} has {len(texts)} texts; must be a multiple of {size}")
        else:
            ends = np.arange(size, len(texts) + 1, size)
        return [tuple(texts[begin:end]) for begin, end in pairwise([0, *ends.tolist()])], is_replaced

    def _coded(self, path: str) -> tuple[list[tuple[str, ...]], bool]:
        values = self.numbers(path)
        if values.ndim != 2:
            raise SourceError(f"{self._where}: {path} is {described(self.info(path))}; must be text")
        if values.size and not (values.min() >= 0 and values.max() <= 255):
            raise SourceError(f"{self._where}: {path} has numbers beyond 0 to 255; must be text, or the bytes of one")
        rows = [row.tobytes().rstrip(b"\0") for row in values.astype(np.uint8)]
        texts = [row.decode("utf-8", "replace") for row in rows]
        return [(t,) for t in texts], any(t.encode() != r for t, r in zip(texts, rows, strict=True))

    # Images ---------------------------------------------------------------------------------------------------------

    def images(self, path: str, element: int | None = None) -> tuple[ImageSpans, ImageInfo]:
        """The encoded images of a feature, [T], and what the first readable one is.

        Args:
            path: Of the feature.
            element: Which of each step's images; None: each step has one.

        Raises:
            SourceError: The feature has no encoded images, none is JPEG or PNG, or a step has other than one.
        """
        stored = self._find(path)
        info = stored.info
        if info.kind not in {"image", "text"} or stored.values.kind not in {"bytes", ""} or info.inner:
            raise SourceError(f"{self._where}: {path} is {described(info)}; must be encoded images")
        if info.dtype.startswith("float"):
            raise SourceError(
                f"{self._where}: {path} holds {info.dtype} numbers as the four channels of a PNG; must be images of "
                "8 or 16 bits"
            )
        spans = stored.values.spans()
        if stored.rows:
            spans = spans[stored.places(element)]
        elif element is not None:
            raise SourceError(f"{self._where}: {path} has one image at each step; there is no [{element}]")
        frames = ImageSpans(self._record, spans)
        return frames, first_image(frames, f"{self._where}: {path}")

    def pixels(self, path: str, element: int | None = None) -> Iterator[NDArray[np.generic]]:
        """Raw images of a feature, one by one: uint8 or uint16, [height, width] or [height, width, channels].

        Args:
            path: Of the feature.
            element: Which of each step's images; None: each step has one.

        Raises:
            SourceError: It holds no raw images, or is damaged; as `numbers`.
        """
        stored = self._find(path)
        info = stored.info
        shape = info.inner if stored.rows or element is None else info.inner[1:]
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in {1, 3, 4})
        if info.dtype not in {"uint8", "uint16"} or not is_image:
            raise SourceError(
                f"{self._where}: {path} is {described(info)}; must be encoded images, or raw ones: uint8 or uint16, "
                "[height, width] with 1, 3 or 4 channels"
            )
        places = stored.places(element) if stored.rows else None
        inner = element if not stored.rows else None
        for value in self._values(stored, places):
            if inner is not None and inner >= len(value):
                raise SourceError(f"{self._where}: {path} has shape {list(value.shape)}; there is no [{inner}]")
            image = value if inner is None else value[inner]
            yield image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image

    def _values(self, stored: Stored, places: Int64Array | None) -> Iterator[NDArray[np.generic]]:
        """The values of a feature one by one, or those at some places."""
        if stored.info.encoding:
            spans = stored.values.spans()
            yield from self._arrays(stored, spans, np.arange(len(spans)) if places is None else places)
            return
        shape = self._shape(stored, stored.values.count())
        wanted = None if places is None else set(places.tolist())
        for index, piece in enumerate(stored.values.int_pieces(prod(shape))):
            if wanted is None or index in wanted:
                yield self._typed(stored.info, piece).reshape(shape)

    def stored_values(self, path: str) -> int:
        """How many numbers, or byte strings, a feature has in the record; errors as `count`."""
        return self._find(path).values.count()

    def count(self, path: str) -> int:
        """How many steps a feature has values at; or values, where it belongs to the episode.

        Raises:
            SourceError: The feature is damaged.
        """
        stored = self._find(path)
        if stored.rows:
            return len(stored.rows[0])
        count = stored.values.count()
        if stored.info.kind != "numeric" or stored.info.encoding:
            return count
        return count // max(1, prod(self._shape(stored, count)))


def _unpacked(
    data: memoryview, info: FeatureInfo, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """The array that bytes stand for; one length of its shape may be -1, found by the number of bytes.

    Raises:
        ValueError: What is wrong.
    """
    fixed = [n for n in shape if n >= 0]
    fits = all(n in (-1, m) for n, m in zip(info.inner, shape, strict=True))
    largest = prod(fixed) if len(fixed) == len(shape) else MAX_ELEMENTS
    if not fits or len(fixed) < len(shape) - 1 or largest > MAX_ELEMENTS:
        raise ValueError(f"shape {list(shape)}, which must be fixed and not too large,")
    plain = _inflated(data, largest * dtype.itemsize) if info.encoding == "zlib" else data
    unit = prod(fixed) * dtype.itemsize
    if len(fixed) == len(shape):
        if len(plain) != unit:
            raise ValueError(f"other than {unit} bytes")
    elif unit == 0 or len(plain) % unit or len(plain) > largest * dtype.itemsize:
        raise ValueError(f"{len(plain)} bytes for the shape {list(shape)}")
    return np.frombuffer(plain, dtype=dtype).reshape(shape) if unit else np.zeros(shape, dtype=dtype)


def _inflated(data: memoryview, size: int) -> bytes:
    """Unpack at most one byte more than must be there."""
    try:
        return zlib.decompressobj().decompress(data, size + 1)
    except zlib.error:
        return b""


def _dtype(info: FeatureInfo) -> "np.dtype[np.generic] | None":
    """The declared number type; None where numpy has none of that name."""
    names = {"bool", "float16", "float32", "float64"} | {f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)}
    return np.dtype(info.dtype) if info.dtype in names else None
