"""Ids of a language model in a mixture: no id may mean two things.

A model sees ids, not folders: where two parts give one id to codes of different codecs, or of one codec's different
codes, the model is taught both. The normalization may differ, for the embodiment does: that is what a code is for.
"""

import hashlib
from collections.abc import Sequence

from ..documents import canonical_json
from ..errors import ExportError
from ..exporters._folder import TEXT_TOKENIZER
from ..text import printable
from ._columns import Tokens
from ._parts import Part

__all__ = ["check_ids", "text_tokenizer"]

WAY_OUT = "give the parts one tokenizer, or keep_ids: false"


def check_ids(parts: Sequence[Part], tokens: Tokens) -> None:
    """Compare the id maps of all parts, and what codes as text stand for.

    Args:
        parts: Of the mixture.
        tokens: What its columns hold of a language model.

    Raises:
        ExportError: A part has no ids, base tokenizers differ, or an id or a text stands for different things.
    """
    if tokens.has_ids:
        _check_bases(parts)
    if tokens.has_ids and tokens.has_codes:
        _check_meaning(parts)
    if tokens.has_ids:
        text_tokenizer(parts)
    if tokens.has_text:
        other = next((p for p in parts if _codec(p) != _codec(parts[0])), None)
        if other is not None:
            raise ExportError(
                f"rows of {parts[0].name} and {other.name} have codes of different codecs as text; {WAY_OUT}"
            )


def _check_bases(parts: Sequence[Part]) -> None:
    bases = {}
    for part in parts:
        vocabulary = part.tokenizer.vocabulary
        if vocabulary is None:
            raise ExportError(f"part {part.name} has no ids of a language model and others have; {WAY_OUT}")
        bases[part.name] = None if vocabulary.base is None else vocabulary.base.sha256
        first = parts[0].name
        if bases[part.name] != bases[first]:
            raise ExportError(
                f"the ids of {first} and {part.name} are of different base tokenizers "
                f"({_short(bases[first])} and {_short(bases[part.name])}); {WAY_OUT}"
            )


def _check_meaning(parts: Sequence[Part]) -> None:
    meaning: dict[tuple[bool, tuple[int, ...]], tuple[str, int, Part]] = {}
    for part in parts:
        vocabulary = part.tokenizer.vocabulary
        assert vocabulary is not None  # looked at before
        codec = _codec(part)
        for is_following, pieces in ((False, vocabulary.ids), (True, vocabulary.following or vocabulary.ids)):
            for code, ids in enumerate(pieces):
                before = meaning.setdefault((is_following, tuple(ids)), (codec, code, part))
                if before[:2] != (codec, code):
                    raise ExportError(_clash(ids, before, (code, part)))


def _clash(ids: Sequence[int], before: tuple[str, int, Part], now: tuple[int, Part]) -> str:
    _, code, part = before
    shown = str(ids[0]) if len(ids) == 1 else str(list(ids))
    vocabulary = now[1].tokenizer.vocabulary
    token = f" ({printable(vocabulary.tokens[now[0]])})" if vocabulary is not None and vocabulary.tokens else ""
    return (
        f"id {shown}{token} is code {code} of {part.tokenizer.scheme} in {part.name} and code {now[0]} of "
        f"{now[1].tokenizer.scheme} in {now[1].name}, which are not the same; {WAY_OUT}"
    )


def _codec(part: Part) -> str:
    """What a code is, but for the scale of the numbers: equal text, equal codes."""
    codec = part.tokenizer.codec
    files = {name: hashlib.sha256(content).hexdigest() for name, content in codec.files().items()}
    return canonical_json([part.tokenizer.scheme, codec.to_dict(), files])


def _short(sha256: str | None) -> str:
    return "not said" if sha256 is None else sha256[:12]


def text_tokenizer(parts: Sequence[Part]) -> dict[str, bytes]:
    """The language model's tokenizer with the action tokens, which must be one; empty where no part brings any.

    Raises:
        ExportError: The folders of two parts differ.
    """
    found: dict[str, dict[str, str]] = {}
    for part in parts:
        files = {n: sha for n, sha in part.files.items() if n.startswith(f"{TEXT_TOKENIZER}/")}
        if files:
            found[part.name] = files
    first = next(iter(found), None)
    for name, files in found.items():
        if files != found[first or name]:
            raise ExportError(f"{TEXT_TOKENIZER}/ of {first} and of {name} differ; {WAY_OUT}")
    owner = next((p for p in parts if p.name == first), None)
    return {} if owner is None else {name: owner.read(name) for name in found[owner.name]}
