"""The map from codes to ids, whole: encode, decode, and the text that stands for codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions.plain import from_plain, to_plain
from ..errors import TokenizeError
from ..tokenizers import Codes, TokenRows
from ..tokenizers._base import BaseFacts, BaseTokenizer
from ..tokenizers._bins import code_rows, known_codes
from ..tokenizers._pieces import Pieces, tables_of
from ._check import moved_ids

__all__ = ["MAX_CODES", "CodeText", "Delimiter", "Vocabulary", "VocabularyKind", "action_names", "code_text"]

Int64Array = NDArray[np.int64]

MAX_CODES = 1 << 16


class VocabularyKind(StrEnum):
    """How codes become ids."""

    ADDED = "added"
    TAIL = "tail"
    TEXT = "text"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimiter:
    """A token before or behind the codes of a row."""

    token: str
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeText:
    """The texts that stand for codes where ids are not at hand."""

    tokens: tuple[str, ...]
    """Of each code, [num_codes]."""
    glue: str = ""
    """Between two codes."""
    space_before: bool = False
    """Whether a row begins with a space."""
    start: str = ""
    """Token before the codes of a row; empty where there is none."""
    end: str = ""
    """Token behind them."""

    def render(self, codes: Codes | ArrayLike) -> list[str]:
        """Rows of codes as texts, N of them, without start and end.

        Raises:
            TokenizeError: They are not integers [N, L] or rows, or one is none of the codes.
        """
        rows = known_codes(codes, len(self.tokens))
        words = np.asarray(self.tokens, dtype=np.str_)[rows.values]
        lead = " " if self.space_before else ""
        return [lead + self.glue.join(words[a:b]) for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]


START_TOKEN, END_TOKEN = "<action_start>", "<action_end>"


def action_names(num_codes: int) -> tuple[str, ...]:
    """`<action_000>`, …; as many digits as the last code has."""
    width = len(str(num_codes - 1))
    return tuple(f"<action_{code:0{width}d}>" for code in range(num_codes))


def code_text(kind: VocabularyKind, num_codes: int, *, space_before: bool = False) -> CodeText | None:
    """The texts that codes have before any tokenizer is known; None where only a tokenizer can say them."""
    check_num_codes(num_codes)
    if kind is VocabularyKind.ADDED:
        return CodeText(tokens=action_names(num_codes), start=START_TOKEN, end=END_TOKEN)
    if kind is VocabularyKind.TEXT:
        words = tuple(str(code) for code in range(num_codes))
        return CodeText(tokens=words, glue=" ", space_before=space_before)
    return None


def check_num_codes(num_codes: int) -> None:
    if not 1 <= num_codes <= MAX_CODES:
        raise TokenizeError(f"there are {num_codes} codes; must be 1 to {MAX_CODES}")


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
    start: Delimiter | None = None
    """Token that a template may put before the codes; never one of them."""
    end: Delimiter | None = None
    """Token that a template may put behind them."""
    space_before: bool = False
    """Text only: the ids of the first code are those that it has behind a space."""
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
        used = {i for p in (*self.ids, *self.following) for i in p}
        delimiters = [d.id for d in (self.start, self.end) if d is not None]
        if used & set(delimiters) or len(set(delimiters)) < len(delimiters):
            raise TokenizeError(f"start and end have the ids {delimiters}; must be two ids that no code has")

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

    def check(self, base: BaseTokenizer) -> tuple[str, ...]:
        """Compare every stored id and token with a tokenizer: the one of the map, with or without the new tokens.

        Returns:
            What moved, one line for each code; empty where the map fits.
        """
        return moved_ids(self, base)

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
            TokenizeError: They are not integers [N, L] or rows, or one is outside 0 <= code < num_codes.
        """
        rows = known_codes(codes, self.num_codes)
        tables = tables_of(self.ids, self.following)
        pieces = self._pieces(rows)
        lengths = tables.lengths[pieces]
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.repeat(tables.starts[pieces] - ends[:-1], lengths)
        values = tables.ids[source + np.arange(len(source))]
        return TokenRows(values=values, offsets=ends[rows.offsets])

    def num_ids(self, codes: TokenRows) -> Int64Array:
        """How many ids each code of these rows becomes, [M]."""
        return tables_of(self.ids, self.following).lengths[self._pieces(codes)]

    def _pieces(self, rows: TokenRows) -> Int64Array:
        """Which piece of the tables each code is: the first of a row may have others."""
        is_first = np.zeros(len(rows.values), dtype=np.bool_)
        is_first[rows.offsets[:-1][rows.lengths > 0]] = True
        return np.where(is_first, rows.values, rows.values + self.num_codes)

    def decode(self, rows: TokenRows | ArrayLike, length: int | None) -> Codes:
        """The codes of rows of ids, strictly.

        Args:
            rows: Rows of ids of action tokens only, or an array [N, M].
            length: Codes in each row, L; None: as many as there are.

        Returns:
            [N, L]; rows of different lengths where no length is given.

        Raises:
            TokenizeError: An id is none of an action code, with its position, or a row has another number of codes.
        """
        rows = code_rows(rows, "ids")
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

    def text(self) -> CodeText | None:
        """The texts that stand for the codes; None where there are none: tail tokens don't survive as text."""
        if self.kind is VocabularyKind.TAIL or not self.tokens:
            return None
        return CodeText(
            tokens=self.tokens,
            glue=" " if self.kind is VocabularyKind.TEXT else "",
            space_before=self.space_before,
            start="" if self.start is None else self.start.token,
            end="" if self.end is None else self.end.token,
        )

    def render(self, codes: Codes | ArrayLike) -> list[str]:
        """Rows of codes as text, N texts: tokens end to end, integers with one space between.

        Raises:
            TokenizeError: Tail tokens have no text that stands for them.
        """
        text = self.text()
        if text is None:
            raise TokenizeError("tail tokens do not survive as text; their ids must be used")
        return text.render(codes)

    def _refuse(self, rows: TokenRows, positions: Int64Array, reason: str) -> None:
        if len(positions):
            at = int(positions[0])
            raise TokenizeError(f"{rows.place(at)} is {rows.values[at]}; must be the id of an action code: {reason}")
