"""The tokenizer of a language model: its tokenizer.json, read within limits, and the settings files beside it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..errors import TokenizeError
from ..text import clip, printable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["BaseFacts", "BaseTokenizer", "parse_tokenizer", "settings_with_tokens"]

MAX_BYTES = 512 << 20
_SETTINGS = ("added_tokens.json", "chat_template.jinja", "special_tokens_map.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """Which tokenizer the ids belong to."""

    name: str
    sha256: str
    """Of its tokenizer.json."""
    vocab_size: int
    """Without added tokens: `tokenizer.vocab_size` of transformers."""
    length: int
    """With added tokens: `len(tokenizer)`."""


class BaseTokenizer:
    """A tokenizer.json, read and never changed."""

    def __init__(self, text: str, name: str = "") -> None:
        """Parse the content of a tokenizer.json.

        Raises:
            TokenizeError: It is none.
        """
        self.text = text
        self.tokenizer = parse_tokenizer(text)
        # Both would change the ids of the texts that are looked at here.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.ids = set(self.tokenizer.get_vocab(with_added_tokens=True).values())
        self.added = {i: (t.content, bool(t.special)) for i, t in self.tokenizer.get_added_tokens_decoder().items()}
        self.facts = BaseFacts(
            name=name,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            vocab_size=self.tokenizer.get_vocab_size(with_added_tokens=False),
            length=self.tokenizer.get_vocab_size(with_added_tokens=True),
        )

    @classmethod
    def read(cls, path: Path, name: str = "") -> Self:
        """Read a tokenizer.json, or the one in a folder.

        Args:
            path: File or folder.
            name: What the tokenizer is called in the id map, for instance the model's name.

        Raises:
            TokenizeError: There is none, it has more than 512 MB, or it can't be parsed.
        """
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise TokenizeError(f"{file} is missing; a base tokenizer must have a tokenizer.json")
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise TokenizeError(f"{file.name} has {size:,} bytes; must have at most {MAX_BYTES:,}")
        try:
            return cls(file.read_bytes().decode(), name)
        except UnicodeDecodeError as error:
            raise TokenizeError(f"{file.name} is not UTF-8") from error

    def encode(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of texts, without the special tokens around them."""
        return [tuple(e.ids) for e in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def extended(self, names: Sequence[str]) -> "Tokenizer":
        """A copy with new tokens, each one token whatever stands beside it, and visible when decoded."""
        from tokenizers import AddedToken

        tokenizer = parse_tokenizer(self.text)
        tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in names])
        return tokenizer


def parse_tokenizer(text: str) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises nothing more special
        raise TokenizeError(f"tokenizer.json can't be parsed: {clip(printable(str(error)), 200)}") from error


def settings_with_tokens(folder: Path, ids: Mapping[str, int]) -> dict[str, str]:
    """The settings files of a tokenizer's folder by name, with new tokens where they list the added ones.

    Raises:
        TokenizeError: One is too large, or not JSON.
    """
    return {name: _with_tokens(folder / name, ids) for name in _SETTINGS if (folder / name).is_file()}


def _with_tokens(file: Path, ids: Mapping[str, int]) -> str:
    """A settings file of transformers, with the new tokens where it lists the added ones."""
    if file.stat().st_size > MAX_BYTES // 8:
        raise TokenizeError(f"{file.name} has more than {MAX_BYTES // 8:,} bytes")
    text = file.read_text(encoding="utf-8")
    if file.name not in {"tokenizer_config.json", "added_tokens.json"}:
        return text
    try:
        content = json.loads(text)
    except ValueError as error:
        raise TokenizeError(f"{file.name} is not JSON: {printable(str(error))}") from error
    if file.name == "added_tokens.json" and isinstance(content, dict):
        content.update(ids)
    elif isinstance(content, dict) and isinstance(content.get("added_tokens_decoder"), dict):
        plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": False}
        content["added_tokens_decoder"].update({str(i): {"content": name, **plain} for name, i in ids.items()})
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
