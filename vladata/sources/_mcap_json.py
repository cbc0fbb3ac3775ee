"""JSON messages, and JSON documents inside texts and bytes of other messages; bounded before they are parsed."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..text import clip, printable
from ._ros2 import CdrError

if TYPE_CHECKING:
    from ._field_paths import Step

__all__ = ["JsonTree", "document"]

MAX_SIZE = 64 << 20
"""Largest document, bytes; most of a large one is an image as text."""
MAX_PARTS = 1 << 20
"""Most values and names in a document: each takes some 100 bytes, whatever its text takes."""


def document(data: bytes | str, where: str = "") -> object:
    """Parse a document.

    Raises:
        CdrError: It is none, or breaks a limit.
    """
    shown = where or "the message"
    if len(data) > MAX_SIZE:
        raise CdrError(f"{shown}: {len(data):,} bytes of JSON; at most {MAX_SIZE:,} are parsed")
    parts = sum(data.count(m) if isinstance(data, str) else data.count(m.encode()) for m in "{[,:")
    if parts > MAX_PARTS:
        raise CdrError(f"{shown}: some {parts:,} values of JSON; at most {MAX_PARTS:,} are parsed")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise CdrError(f"{shown}: JSON that is nested too deeply") from error
    except ValueError as error:
        raise CdrError(f"{shown}: not JSON: {clip(printable(str(error)), 100)}") from error


class JsonTree:
    """Trees of JSON messages; satisfies `Tree`."""

    def __init__(self) -> None:
        """Begin without a message."""
        self._payload: memoryview | None = None
        self._value: object = None

    def of(self, payload: memoryview) -> object:
        """The tree of a message.

        Raises:
            CdrError: It is not JSON, or breaks a limit.
        """
        if payload is not self._payload:
            self._payload = None
            if len(payload) > MAX_SIZE:
                raise CdrError(f"{len(payload):,} bytes of JSON; at most {MAX_SIZE:,} are parsed")
            self._value = document(bytes(payload))
            self._payload = payload
        return self._value

    def number_type(self, steps: "Sequence[Step]") -> str:  # noqa: ARG002 — of the protocol
        """JSON has one type of numbers, double precision."""
        return "<f8"
