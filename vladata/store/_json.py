"""JSON objects out of files, with one error."""

import json

from ..errors import EpisodeFormatError

__all__ = ["load_object"]


def load_object(text: str, where: str) -> dict[str, object]:
    """Parse a JSON object.

    Raises:
        EpisodeFormatError: The text is not JSON or not an object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EpisodeFormatError(f"{where}: damaged JSON text: {error}") from error
    if not isinstance(value, dict):
        raise EpisodeFormatError(f"{where}: JSON text holds a {type(value).__name__}; it must be an object")
    return value
