"""Which reader fits the images of a topic, by the type of its messages."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ._foxglove import JsonImages, ProtobufImages, cdr_image, cdr_raw_image
from ._foxglove_video import VideoPackets
from ._mcap_blocks import BlockReader
from ._mcap_file import Message
from ._mcap_frames import EncodedImages, FrameSet, ImagePlaces, JsonPlaces
from ._mcap_json import JsonTree
from ._mcap_protobuf import ProtobufTree
from ._mcap_types import MessageType
from ._ros2 import CdrError, compressed_image, raw_image

__all__ = ["Images", "image_reader"]


class Images(Protocol):
    """Images of a topic, noted one after the other."""

    def add(self, message: Message) -> None:
        """Take the next message.

        Raises:
            CdrError: It has no image that is read.
        """

    def frame_set(self, name: str, blocks: BlockReader, rows: NDArray[np.int64], order: NDArray[np.int64]) -> FrameSet:
        """Describe the frames.

        Raises:
            SourceError: There is none that can be read.
        """

    def __len__(self) -> int:
        """Number of messages."""


def image_reader(type_: MessageType, path: str | None) -> Images:
    """Prepare for the images of a topic.

    Args:
        type_: Of its messages.
        path: Field that has the image; None: the type's usual one.

    Raises:
        CdrError: The messages have no images, or none there.
    """
    if isinstance(type_.tree, JsonTree):
        return _of_json(type_, JsonImages(type_.tree, path or "data"))
    if isinstance(type_.tree, ProtobufTree):
        return _of_protobuf(type_, ProtobufImages(type_.tree, path or "data"))
    if path not in {None, "data"}:
        raise CdrError(f"is asked for field {path!r}; a camera takes the image of the whole message")
    if type_.known == "video":
        return VideoPackets(cdr_image)
    if type_.known == "compressed_image":
        return ImagePlaces(cdr_image if type_.is_foxglove else compressed_image)
    if type_.known == "image":
        return EncodedImages(cdr_raw_image if type_.is_foxglove else raw_image)
    raise CdrError(
        "is no image; a camera needs sensor_msgs/msg/CompressedImage, sensor_msgs/msg/Image, or Foxglove's "
        "CompressedImage, RawImage or CompressedVideo"
    )


def _of_json(type_: MessageType, images: JsonImages) -> Images:
    if type_.known == "video":
        return VideoPackets(images)
    return EncodedImages(images.raw) if type_.known == "image" else JsonPlaces(images)


def _of_protobuf(type_: MessageType, images: ProtobufImages) -> Images:
    if type_.known == "video":
        return VideoPackets(images.locate)
    return EncodedImages(images.raw) if type_.known == "image" else ImagePlaces(images.locate)
