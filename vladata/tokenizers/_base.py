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
        self.path: Path | None = None
        """The file that it was read from."""
        self.embedding_rows: int | None = None
        """Rows of the model's embedding, as the `config.json` beside the tokenizer says; None: it is not there."""
        self.tokenizer = parse_tokenizer(text)
        # Both would change the ids of the texts that are looked at here.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.vocabulary: dict[str, int] = self.tokenizer.get_vocab(with_added_tokens=True)
        """Id of each token, added ones as well."""
        self.ids = set(self.vocabulary.values())
        if not self.ids:
            raise TokenizeError("tokenizer.json has no token; a base tokenizer must have some")
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
            base = cls(file.read_bytes().decode(), name)
        except UnicodeDecodeError as error:
            raise TokenizeError(f"{file.name} is not UTF-8") from error
        base.path = file
        base.embedding_rows = _embedding_rows(file.with_name("config.json"))
        return base

    def encode(self, texts: Sequence[str], tokenizer: "Tokenizer | None" = None) -> list[tuple[int, ...]]:
        """The ids of texts, without the special tokens around them; by a copy of the tokenizer if one is given."""
        if tokenizer is not None:
            tokenizer.no_truncation()
            tokenizer.no_padding()
        found = (tokenizer or self.tokenizer).encode_batch(list(texts), add_special_tokens=False)
        return [tuple(e.ids) for e in found]

    def beginning(self) -> tuple[int, ...]:
        """Ids of the special tokens that the tokenizer puts before a text, `<s>` of Llama; empty where it puts none.

        Raises:
            TokenizeError: It has no id for a letter, or alters a text that it puts special tokens around.
        """
        plain = self.encode(["a"])[0]
        whole = tuple(self.tokenizer.encode("a", add_special_tokens=True).ids)
        if whole and not plain:
            raise TokenizeError("'a' becomes special tokens alone; the tokenizer must have an id for it")
        at = next((i for i in range(len(whole) + 1) if whole[i : i + len(plain)] == plain), None)
        if at is None:
            raise TokenizeError(f"the ids of 'a' are {list(whole)} with special tokens; must hold {list(plain)}")
        return whole[:at]

    def extended(self, names: Sequence[str], special: Sequence[str] = ()) -> "Tokenizer":
        """A copy with new tokens, each one token whatever stands beside it.

        Args:
            names: Tokens that are visible when decoded.
            special: Tokens behind them that decoding can leave out.
        """
        from tokenizers import AddedToken

        tokenizer = parse_tokenizer(self.text)
        tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in names])
        if special:
            tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
        return tokenizer


def _embedding_rows(file: Path) -> int | None:
    """`vocab_size` of a model's config.json, which counts padding rows as well; None where nothing says it."""
    if not file.is_file() or file.stat().st_size > 1 << 20:
        return None
    try:
        config = json.loads(file.read_bytes())
    except ValueError:
        return None
    parts = [config, config.get("text_config")] if isinstance(config, dict) else []
    sizes = [p["vocab_size"] for p in parts if isinstance(p, dict) and type(p.get("vocab_size")) is int]
    return max(sizes, default=None)


def parse_tokenizer(text: str) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises nothing more special
        raise TokenizeError(f"tokenizer.json can't be parsed: {clip(printable(str(error)), 200)}") from error


def settings_with_tokens(folder: Path, ids: Mapping[str, int], special: frozenset[str]) -> dict[str, str]:
    """The settings files of a tokenizer's folder by name, with new tokens where they list the added ones.

    Raises:
        TokenizeError: One is too large, or not JSON.
    """
    return {name: _with_tokens(folder / name, ids, special) for name in _SETTINGS if (folder / name).is_file()}


def _with_tokens(file: Path, ids: Mapping[str, int], special: frozenset[str]) -> str:
    """A settings file of transformers, with the new tokens where it lists the added ones."""
    if file.stat().st_size > MAX_BYTES // 8:
        raise TokenizeError(f"{file.name} has more than {MAX_BYTES // 8:,} bytes")
    text = file.read_text(encoding="utf-8")
    if not ids or file.name not in {"tokenizer_config.json", "added_tokens.json"}:
        return text
    try:
        content = json.loads(text)
    except ValueError as error:
        raise TokenizeError(f"{file.name} is not JSON: {printable(str(error))}") from error
    if file.name == "added_tokens.json" and isinstance(content, dict):
        content.update(ids)
    elif isinstance(content, dict) and isinstance(content.get("added_tokens_decoder"), dict):
        plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
        tokens = {str(i): {"content": n, **plain, "special": n in special} for n, i in ids.items()}
        content["added_tokens_decoder"].update(tokens)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
