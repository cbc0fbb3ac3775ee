"""The base tokenizer as workers need it: a name that travels, loaded once in each process."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from ..errors import TokenizeError
from ..text import clip, printable
from ..tokenizers._base import BaseTokenizer

__all__ = ["BaseHandle", "Encoder", "encoder_of", "refuse_tokens"]

MAX_CACHED = 1 << 17
"""Texts whose ids are remembered; prompts with the state in them are all different."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseHandle:
    """Which tokenizer, without the tokenizer: light enough to be sent to a worker."""

    path: str | None
    """Its tokenizer.json; None: it was not read from a file."""
    sha256: str
    text: str = ""
    """Its content where there is no file."""

    @classmethod
    def of(cls, base: BaseTokenizer) -> Self:
        """The handle of a tokenizer."""
        path = None if base.path is None else str(base.path.resolve())
        return cls(path=path, sha256=base.facts.sha256, text=base.text if path is None else "")


class Encoder:
    """Texts to ids, each text once."""

    def __init__(self, base: BaseTokenizer) -> None:
        """Take a tokenizer."""
        self._base = base
        self.beginning = base.beginning()
        self._known: dict[str, tuple[int, ...]] = {}

    def encode(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of texts, without special tokens around them."""
        missing = list(dict.fromkeys(t for t in texts if t not in self._known))
        if len(self._known) + len(missing) > MAX_CACHED:
            self._known.clear()
            missing = list(dict.fromkeys(texts))
        # One at a time: a worker has one core, and threads that a fork leaves behind would hang.
        for text in missing:
            self._known[text] = tuple(self._base.tokenizer.encode(text, add_special_tokens=False).ids)
        return [self._known[t] for t in texts]


@lru_cache(maxsize=2)
def encoder_of(handle: BaseHandle) -> Encoder:
    """Load a tokenizer; once in each process.

    Raises:
        TokenizeError: It is missing, or is another one than when the handle was made.
    """
    if handle.path is None:
        return Encoder(BaseTokenizer(handle.text))
    base = BaseTokenizer.read(Path(handle.path))
    if base.facts.sha256 != handle.sha256:
        raise TokenizeError("the base tokenizer's tokenizer.json was changed while it was in use; run it again")
    return Encoder(base)


def refuse_tokens(what: str, texts: Iterable[str], tokens: tuple[str, ...]) -> None:
    """Refuse texts that would be read as tokens of their own.

    Raises:
        TokenizeError: One holds a special token or the name of an action token.
    """
    heads = {t[0] for t in tokens if t}
    for text in dict.fromkeys(texts):
        found = next((t for t in tokens if t and t in text), None) if heads & set(text) else None
        if found is not None:
            shown = clip(printable(repr(text)), 80)
            raise TokenizeError(f"{what} {shown} holds {printable(found)!r}, which the tokenizer reads as a token")
