"""What the encoded images of a stream are."""

from ..errors import ImageError, SourceError
from ..images import ImageInfo, probe
from ..recording import Frames

__all__ = ["first_image"]


def first_image(frames: Frames, where: str) -> ImageInfo:
    """Read the header of the first image that has one; a damaged one in front is left to the checks.

    Raises:
        SourceError: None is JPEG or PNG; beginning with `where`.
    """
    problem = "there are none"
    for index in range(len(frames.sizes)):
        try:
            return probe(frames.read(index))
        except ImageError as error:
            problem = problem if index else str(error)
    raise SourceError(f"{where} has no readable image: {problem}")
