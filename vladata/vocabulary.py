"""Vocabulary: action codes ↔ ids of a language model, checked against the model's own tokenizer.json.

Three ways to give codes their ids, and all store the whole map, never an offset alone:

* `added`: new tokens `<action_000>`, … behind the tokenizer's last id. The safe default.
* `tail`: the last tokens of the vocabulary are used again, in descending order: id = V - 1 - skip - code. OpenVLA has
  V = 32000 and skip = 0; pi0-FAST has V = 257152 and skip = 128. Ids must not go through text: many tail tokens of
  byte-level tokenizers are not one token again.
* `text`: the codes as integers joined by one space, in the tokenizer's own tokens (RT-2).

Sources: Kim et al., OpenVLA, arXiv:2406.09246; Pertsch et al., FAST, arXiv:2501.09747; Brohan et al., RT-2,
arXiv:2307.15818.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .actions.plain import from_plain, to_plain
from .errors import TokenizeError
from .text import printable
from .tokenizers import Codes, TokenRows
from .tokenizers._base import BaseFacts, BaseTokenizer, parse_tokenizer, settings_with_tokens
from .tokenizers._bins import code_rows
from .tokenizers._pieces import Pieces, tables_of

__all__ = [
    "BaseFacts",
    "BaseTokenizer",
    "TokenRows",
    "Vocabulary",
    "VocabularyKind",
    "added_vocabulary",
    "tail_vocabulary",
    "text_vocabulary",
    "write_extended",
]

Int64Array = NDArray[np.int64]

MAX_CODES = 1 << 16


class VocabularyKind(StrEnum):
    """How codes become ids."""

    ADDED = "added"
    TAIL = "tail"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The map from codes to ids, whole."""

    kind: VocabularyKind
    ids: Pieces
    """Ids of each code, [num_codes]; one each, except for text."""
    following: Pieces = ()
    """Ids of each code that is not the first of its row, with the space before it; empty where they are the same."""
    tokens: tuple[str, ...] = ()
    """Text of each code's token; empty where no tokenizer was given."""
    base: BaseFacts | None = None
    """The tokenizer; None where none was given and nothing was checked."""
    facts: tuple[str, ...] = ()
    """What a user should know, one line each."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.ids) <= MAX_CODES:
            raise TokenizeError(f"there are {len(self.ids)} codes; must be 1 to {MAX_CODES}")
        if self.following and len(self.following) != len(self.ids):
            raise TokenizeError(f"following has {len(self.following)} codes; must be {len(self.ids)}")
        if self.tokens and len(self.tokens) != len(self.ids):
            raise TokenizeError(f"there are {len(self.tokens)} tokens; must be {len(self.ids)}")
        if any(not p or min(p) < 0 or max(p) >= 1 << 31 for p in (*self.ids, *self.following)):
            raise TokenizeError("a code has no id, or one that is not 0 to 2147483647")
        tables_of(self.ids, self.following)

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """Build from what `to_dict` gave.

        Raises:
            TokenizeError: Something is missing, of another type, or two codes have the same ids.
        """
        plain = {k: v for k, v in state.items() if k not in {"codes", "lm_ids", "base_tokenizer"}}
        ids = state.get("lm_ids")
        if not isinstance(ids, list) or state.get("codes") != list(range(len(ids))):
            raise TokenizeError("vocabulary: lm_ids must list the ids of the codes 0, 1, 2, …")
        plain["ids"] = [i if isinstance(i, list) else [i] for i in ids]
        plain["base"] = state.get("base_tokenizer")
        return from_plain(cls, plain, "vocabulary")

    def to_dict(self) -> dict[str, object]:
        """The content of `action_token_ids.json`."""
        plain = to_plain(self)
        base, ids = plain.pop("base"), plain.pop("ids")
        assert isinstance(ids, list)
        flat = [i[0] for i in ids] if self.is_fixed else ids
        return {**plain, "codes": list(range(len(ids))), "lm_ids": flat, "base_tokenizer": base}

    @property
    def num_codes(self) -> int:
        """Codes are 0 <= code < num_codes."""
        return len(self.ids)

    @property
    def is_fixed(self) -> bool:
        """Whether each code is one id, the same wherever it stands."""
        return not self.following and all(len(p) == 1 for p in self.ids)

    def encode(self, codes: Codes | ArrayLike) -> TokenRows:
        """The ids of rows of codes.

        Args:
            codes: [N, L], or rows of different lengths.

        Raises:
            TokenizeError: They are not integers [N, L], or one is outside 0 <= code < num_codes.
        """
        rows = codes if isinstance(codes, TokenRows) else code_rows(np.asarray(codes))
        bad = np.flatnonzero((rows.values < 0) | (rows.values >= self.num_codes))
        if len(bad):
            place = rows.place(int(bad[0]), "codes")
            raise TokenizeError(f"{place} is {rows.values[bad[0]]}; must be 0 to {self.num_codes - 1}")
        tables = tables_of(self.ids, self.following)
        is_first = np.zeros(len(rows.values), dtype=np.bool_)
        is_first[rows.offsets[:-1][rows.lengths > 0]] = True
        pieces = np.where(is_first, rows.values, rows.values + self.num_codes)
        lengths = tables.lengths[pieces]
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.repeat(tables.starts[pieces] - ends[:-1], lengths)
        values = tables.ids[source + np.arange(len(source))]
        return TokenRows(values=values, offsets=ends[rows.offsets])

    def decode(self, rows: TokenRows | ArrayLike, length: int | None) -> Codes:
        """The codes of rows of ids, strictly.

        Args:
            rows: Rows of ids of action tokens only; or an array [N, M].
            length: Codes in each row, L; None: as many as there are.

        Returns:
            [N, L]; rows of different lengths where no length is given.

        Raises:
            TokenizeError: An id is none of an action code, with its position, or a row has another number of codes.
        """
        if not isinstance(rows, TokenRows):
            array = np.asarray(rows)
            if array.ndim != 2 or array.dtype.kind not in "iu":
                raise TokenizeError(f"ids are {array.dtype} {list(array.shape)}; must be integers [N, M]")
            offsets = np.arange(len(array) + 1, dtype=np.int64) * array.shape[1]
            rows = TokenRows(values=array.astype(np.int64).ravel(), offsets=offsets)
        tables = tables_of(self.ids, self.following)
        place = np.minimum(np.searchsorted(tables.letters, rows.values), len(tables.letters) - 1)
        self._refuse(rows, np.flatnonzero(tables.letters[place] != rows.values), "it is no action token")
        is_first = np.zeros(len(rows.values), dtype=np.bool_)
        is_first[rows.offsets[:-1][np.diff(rows.offsets) > 0]] = True
        starts = np.flatnonzero(is_first | tables.is_head[place])
        piece = np.cumsum(is_first | tables.is_head[place]) - 1
        depth = np.arange(len(piece)) - starts[piece]
        self._refuse(rows, np.flatnonzero(depth >= tables.longest), "the code before it is complete")
        keys = np.zeros(len(starts), dtype=np.int64)
        for level in range(tables.longest):
            at = depth == level
            keys[piece[at]] = keys[piece[at]] * (len(tables.letters) + 1) + place[at] + 1
        codes = np.empty(len(starts), dtype=np.int64)
        for half, chosen in enumerate((is_first[starts], ~is_first[starts])):
            found = np.minimum(np.searchsorted(tables.keys[half], keys[chosen]), self.num_codes - 1)
            wrong = tables.keys[half][found] != keys[chosen]
            self._refuse(rows, starts[chosen][wrong], "no code begins so")
            codes[chosen] = tables.codes[half][found]
        offsets = np.searchsorted(starts, rows.offsets).astype(np.int64)
        if length is None:
            return TokenRows(values=codes, offsets=offsets)
        counts = np.diff(offsets)
        other = np.flatnonzero(counts != length)
        if len(other):
            raise TokenizeError(f"row {other[0]} of the ids holds {counts[other[0]]} codes; must hold {length}")
        return codes.reshape(len(rows), length)

    def render(self, codes: Codes | ArrayLike) -> list[str]:
        """Rows of codes as text, N texts: added tokens end to end, integers with one space between.

        Raises:
            TokenizeError: Tail tokens have no text that stands for them.
        """
        if self.kind is VocabularyKind.TAIL:
            raise TokenizeError("tail tokens do not survive as text; their ids must be used")
        rows = codes if isinstance(codes, TokenRows) else code_rows(np.asarray(codes))
        words = np.asarray(self.tokens, dtype=np.str_)[rows.values]
        glue = " " if self.kind is VocabularyKind.TEXT else ""
        return [glue.join(words[a:b]) for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]

    def _refuse(self, rows: TokenRows, positions: Int64Array, reason: str) -> None:
        if len(positions):
            at = int(positions[0])
            raise TokenizeError(f"{rows.place(at)} is {rows.values[at]}; must be the id of an action code: {reason}")


def _check_num_codes(num_codes: int) -> None:
    if not 1 <= num_codes <= MAX_CODES:
        raise TokenizeError(f"there are {num_codes} codes; must be 1 to {MAX_CODES}")


def added_vocabulary(num_codes: int, base: BaseTokenizer) -> Vocabulary:
    """New tokens `<action_000>`, … behind the tokenizer's last id; as many digits as the last code has.

    Raises:
        TokenizeError: A name is taken, or the tokenizer does not give ids that are new, contiguous and stable in text.
    """
    _check_num_codes(num_codes)
    width = len(str(num_codes - 1))
    names = tuple(f"<action_{code:0{width}d}>" for code in range(num_codes))
    taken = [n for n in names if base.tokenizer.token_to_id(n) is not None]
    if taken:
        raise TokenizeError(f"the tokenizer has {len(taken)} of the action tokens already, the first: {taken[0]}")
    tokenizer = base.extended(names)
    ids = [tokenizer.token_to_id(n) for n in names]
    first = ids[0]
    if first is None or ids != list(range(first, first + num_codes)):
        raise TokenizeError(f"action tokens got the ids {ids[:3]}…; must be contiguous")
    if base.ids and first <= max(base.ids):
        raise TokenizeError(
            f"action tokens got the ids from {first} on, and {max(base.ids)} is in use; the tokenizer's ids have gaps"
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if tokenizer.encode("".join(names), add_special_tokens=False).ids != ids:
        raise TokenizeError("action tokens in a text are not read back as their ids; the tokenizer alters them")
    return Vocabulary(
        kind=VocabularyKind.ADDED,
        ids=tuple((i,) for i in range(first, first + num_codes)),
        tokens=names,
        base=base.facts,
    )


def tail_vocabulary(
    num_codes: int,
    base: BaseTokenizer | None = None,
    *,
    vocab_size: int | None = None,
    skip: int = 0,
    reuse_added: bool = False,
) -> Vocabulary:
    """The last tokens of a vocabulary, descending: id = V - 1 - skip - code.

    Args:
        num_codes: Number of codes.
        base: The tokenizer to check against; None: nothing is checked, and V must be given.
        vocab_size: V; None: the tokenizer's, without added tokens.
        skip: Ids at the end that are left alone; 128 for pi0-FAST.
        reuse_added: Whether added tokens that are not special may be used again, as pi0-FAST does with `<loc0000>`, ….

    Raises:
        TokenizeError: The range is larger than the vocabulary, V is not the tokenizer's, or an id has no token, or is
            that of a special or added one.
    """
    _check_num_codes(num_codes)
    size = vocab_size if vocab_size is not None else (base.facts.vocab_size if base else None)
    if size is None:
        raise TokenizeError("neither a tokenizer nor a vocabulary size is given; one must be")
    if skip < 0 or num_codes + skip > size:
        raise TokenizeError(f"{num_codes} codes after {skip} skipped ids do not fit into a vocabulary of {size}")
    ids = [size - 1 - skip - code for code in range(num_codes)]
    pieces = tuple((i,) for i in ids)
    if base is None:
        fact = f"V = {size} was given and not compared with a tokenizer"
        return Vocabulary(kind=VocabularyKind.TAIL, ids=pieces, facts=(fact,))
    tokens, facts = _tail_tokens(ids, size, base, reuse_added=reuse_added)
    return Vocabulary(kind=VocabularyKind.TAIL, ids=pieces, tokens=tokens, base=base.facts, facts=facts)


def _tail_tokens(
    ids: Sequence[int], size: int, base: BaseTokenizer, *, reuse_added: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    without, length = base.facts.vocab_size, base.facts.length
    if size not in {without, length}:
        raise TokenizeError(
            f"V is {size}; must be the tokenizer's {without} without, or {length} with added tokens "
            "(a model's embedding can have more rows: padding)"
        )
    for i in ids:
        if i not in base.ids:
            raise TokenizeError(f"id {i} has no token in the tokenizer; tail ids must be tokens")
        content, is_special = base.added.get(i, ("", False))
        if i in base.added and (is_special or not reuse_added):
            kind = "special" if is_special else "added"
            raise TokenizeError(f"id {i} is the {kind} token {printable(content)!r}; tail ids must be ordinary tokens")
    tokens = tuple(base.tokenizer.id_to_token(i) or "" for i in ids)
    facts = []
    if without != length:
        facts.append(f"the tokenizer has {without} tokens and {length} with added ones; V is {size}")
    rows = [[ids[code] for code in row] for row in _mixed_rows(len(ids))]
    texts = base.tokenizer.decode_batch(rows, skip_special_tokens=False)
    broken = sum(list(back) != row for row, back in zip(rows, base.encode(texts), strict=True))
    if broken:
        facts.append(
            f"{broken} of {len(rows)} rows of 8 tail tokens are other ids after a way through text; use the ids"
        )
    return tokens, tuple(facts)


def _mixed_rows(num_codes: int) -> Int64Array:
    """Rows of 8 codes that hold each code twice, beside different ones, [N, 8]."""
    # Steps of a size that shares no divisor with the number of codes reach all of them.
    step = next(s for s in range(max(1, int(num_codes * 0.618)), num_codes + 1) if np.gcd(s, num_codes) == 1)
    order = np.arange(-(-num_codes // 8) * 8) * step % num_codes
    return np.concatenate([order.reshape(-1, 8), order[::-1].reshape(-1, 8)])


def text_vocabulary(num_codes: int, base: BaseTokenizer) -> Vocabulary:
    """Codes as integers joined by one space, in the tokenizer's own tokens.

    The ids of a row must be those of its integers one after the other: this is tried with every code at the beginning
    and behind another one, and with rows of many codes.

    Raises:
        TokenizeError: The ids of an integer depend on its neighbours, it is unknown, or two can't be told apart.
    """
    _check_num_codes(num_codes)
    words = tuple(str(code) for code in range(num_codes))
    first = base.encode(words)
    lead = first[0]
    pairs = base.encode([f"0 {w}" for w in words])
    following = [p[len(lead) :] for p in pairs]
    unknown = base.tokenizer.token_to_id(getattr(base.tokenizer.model, "unk_token", None) or "")
    for code, (at_start, pair) in enumerate(zip(first, pairs, strict=True)):
        if not at_start or pair[: len(lead)] != lead or len(pair) == len(lead):
            raise TokenizeError(f"the ids of '0 {code}' are {list(pair)}; must begin with those of '0', {list(lead)}")
        if unknown is not None and unknown in pair + at_start:
            raise TokenizeError(f"the integer {code} becomes the unknown token {unknown}; must be in the vocabulary")
    single = sum(len(p) == 1 for p in following)
    facts = [] if single == num_codes else [f"{num_codes - single} of {num_codes} integers are more than one token"]
    vocabulary = Vocabulary(
        kind=VocabularyKind.TEXT,
        ids=tuple(first),
        following=() if following == first else tuple(following),
        tokens=words,
        base=base.facts,
        facts=tuple(facts),
    )
    rows = _mixed_rows(num_codes)
    mapped = vocabulary.encode(rows)
    for row, (text, whole) in enumerate(zip(texts := vocabulary.render(rows), base.encode(texts), strict=True)):
        if tuple(int(i) for i in mapped[row]) != whole:
            raise TokenizeError(f"the ids of {text!r} are not those of its integers; the tokenizer joins neighbours")
    return vocabulary


def write_extended(base: BaseTokenizer, vocabulary: Vocabulary, folder: Path, source: Path | None = None) -> list[Path]:
    """Write the tokenizer with the action tokens as a folder that trainers load.

    Args:
        base: The tokenizer before.
        vocabulary: Of kind `added`.
        folder: Where to; made if missing.
        source: Folder of the base tokenizer; its small settings files come along, with the tokens where they list them.

    Returns:
        The files, in order of their names.

    Raises:
        TokenizeError: The vocabulary is of another kind or tokenizer, or what was written reads back differently.
    """
    if vocabulary.kind is not VocabularyKind.ADDED or vocabulary.base != base.facts:
        raise TokenizeError(f"the vocabulary is {vocabulary.kind}; must be added, of this tokenizer")
    text = base.extended(vocabulary.tokens).to_str(pretty=True) + "\n"
    written = parse_tokenizer(text)
    ids = [i for piece in vocabulary.ids for i in piece]
    if [written.token_to_id(n) for n in vocabulary.tokens] != ids:
        raise TokenizeError("the extended tokenizer.json gives other ids when it is read back")
    contents = {"tokenizer.json": text}
    if source is not None:
        contents |= settings_with_tokens(source, dict(zip(vocabulary.tokens, ids, strict=True)))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in sorted(contents)]
