"""Images of an RLDS episode: encoded ones that lie in the record, and raw ones encoded into a temporary file."""

from collections.abc import Iterable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import ImageError, SourceError
from ..images import encode_png
from ._spool import Spool, SpooledFrames

__all__ = ["EncodedPixels", "ImageSpans"]

Int64Array = NDArray[np.int64]

_FORMATS = {("uint8", 1): "mono8", ("uint8", 3): "rgb8", ("uint8", 4): "rgba8", ("uint16", 1): "mono16"}


class ImageSpans:
    """Encoded images that lie in a record; satisfies `Frames`."""

    def __init__(self, record: bytes, spans: Int64Array) -> None:
        """Keep the record and where its images begin and end, [N, 2]."""
        self._record = record
        self._spans = spans

    def first(self, count: int) -> Self:
        """Only the first of them."""
        return type(self)(self._record, self._spans[:count])

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each, [N]."""
        sizes: Int64Array = self._spans[:, 1] - self._spans[:, 0]
        return sizes

    @property
    def order(self) -> Int64Array:
        """Where each lies in the record, [N]."""
        order: Int64Array = self._spans[:, 0]
        return order

    def read(self, index: int) -> memoryview:
        """The encoded bytes of one."""
        begin, end = self._spans[index]
        return memoryview(self._record)[begin:end]


class EncodedPixels:
    """Raw images, encoded as PNG as they come."""

    def __init__(self) -> None:
        """Begin empty."""
        self._spool = Spool()
        self.height = 0
        self.width = 0
        self.pixel_format = ""
        """Of the first image: mono8, rgb8, rgba8, mono16, or numpy's name and the channels."""
        self.num_other_sizes = 0
        """Images whose size is not the first's."""

    def add_all(self, images: Iterable[NDArray[np.generic]], where: str) -> None:
        """Encode images.

        Args:
            images: uint8 or uint16; [H, W] or [H, W, C].
            where: File, record and feature, for errors.

        Raises:
            SourceError: An image can't be encoded.
        """
        for index, image in enumerate(images):
            workers.beat()
            try:
                data = encode_png(image.astype(image.dtype.newbyteorder("="), copy=False))
            except ImageError as error:
                raise SourceError(f"{where}: image {index}: {error}") from error
            self._spool.add(data)
            height, width = image.shape[:2]
            if index == 0:
                self.height, self.width = height, width
                channels = 1 if image.ndim == 2 else image.shape[2]
                self.pixel_format = _FORMATS.get((image.dtype.name, channels), f"{image.dtype.name}x{channels}")
            self.num_other_sizes += (height, width) != (self.height, self.width)

    def frames(self) -> SpooledFrames:
        """The encoded images."""
        return self._spool.frames()

    def close(self) -> None:
        """Give the space back."""
        self._spool.close()
