"""Byte-level byte-pair encoding: texts are cut into words, and their UTF-8 bytes are the symbols that are merged.

Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019, section 2.2, and the behaviour of the
pre-tokenizer `ByteLevel` of the library `tokenizers`.
"""

import itertools
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from . import TokenRows
from ._bpe import Bpe, PointArray, concatenated, read_vocabulary
from ._bpe_kernel import BoolArray, Int64Array, SymbolArray

__all__ = ["ByteLevel", "byte_level"]

MAX_POINT = 0xD7FF
"""Symbols end where surrogates begin, which are no text."""
NO_SYMBOL = MAX_POINT + 1
"""Stands where bytes are no symbol, or one beyond."""

_LETTER, _DIGIT, _OTHER, _SPACE = 1, 2, 3, 4
_BLANK, _APOSTROPHE = ord(" "), ord("'")
_ENDINGS = ("s", "t", "re", "ve", "m", "ll", "d")
"""What stays with an apostrophe before it, as in English."""


def _characters() -> tuple[str, ...]:
    """The character of each byte in a vocabulary: itself where it is printable Latin-1, otherwise one from U+0100."""
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [b for b in range(256) if b not in printed]
    return tuple(chr(b) if b in printed else chr(256 + others.index(b)) for b in range(256))


_BYTE_OF = {c: b for b, c in enumerate(_characters())}


@lru_cache(maxsize=16)
def byte_level(content: bytes) -> "ByteLevel":
    """The vocabulary of a tokenizer.json.

    Raises:
        TokenizeError: It is none, or another kind of.
    """
    wanted = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    return ByteLevel(read_vocabulary(content, wanted))


class ByteLevel(Bpe):
    """A byte-level vocabulary."""

    @cached_property
    def symbol_ids(self) -> Sequence[int]:
        """Token of each byte alone; -1 where it has none, so that the library leaves the byte out."""
        ids = {token: number for number, token in enumerate(self.vocabulary.tokens)}
        return [ids.get(c, -1) for c in _characters()]

    @cached_property
    def survives(self) -> BoolArray:
        """Whether the vocabulary has all bytes of each code point, [MAX_POINT + 1]."""
        has = np.array(self.symbol_ids) >= 0
        point = np.arange(MAX_POINT + 1)
        inner = has[0x80 | point & 0x3F]
        found = has[np.minimum(point, 0x7F)]
        two, three = point >= 0x80, point >= 0x800
        found[two] = (has[0xC0 | point >> 6 & 0x1F] & inner)[two]
        found[three] = (has[0xE0 | point >> 12] & has[0x80 | point >> 6 & 0x3F] & inner)[three]
        return found

    @cached_property
    def _classes(self) -> NDArray[np.int8]:
        """Letter, digit, space or other; 0 where it was not asked for yet."""
        return np.zeros(MAX_POINT + 1, dtype=np.int8)

    @cached_property
    def _table(self) -> tuple[tuple[bytes, ...], BoolArray, Int64Array, Int64Array]:
        """Bytes of each token; whether they are parts of symbols; where its symbols begin, [V + 1]; all symbols."""
        texts = tuple(
            # As the library decodes tokens that were never made of bytes.
            bytes(_BYTE_OF[c] for c in token) if all(c in _BYTE_OF for c in token) else token.encode()
            for token in self.vocabulary.tokens
        )
        symbols = [_symbols(t) for t in texts]
        starts = np.concatenate([[0], np.cumsum([len(s) for s in symbols])]).astype(np.int64)
        is_part = np.array([not _is_whole(t) for t in texts])
        return texts, is_part, starts, np.array([s for own in symbols for s in own], dtype=np.int64)

    def words(self, points: PointArray) -> tuple[SymbolArray, Int64Array, Int64Array]:
        """See `Bpe.words`; symbols are bytes."""
        count, length = points.shape
        flat = points.reshape(-1)
        encoded = flat.astype("<u4").tobytes().decode("utf-32-le").encode()
        symbols = np.frombuffer(encoded, dtype=np.uint8).astype(np.uint16)
        texts = np.arange(0, len(flat) + 1, length)
        kinds = self._kinds(flat)
        is_start = _word_starts(flat, kinds, length) if (kinds != _LETTER).any() else None
        starts = texts[:-1] if is_start is None else np.flatnonzero(is_start)
        places = np.append(starts, len(flat))
        if len(symbols) > len(flat):
            sizes = np.ones(len(flat), dtype=np.int64)
            sizes += flat >= 0x80
            sizes += flat >= 0x800
            places = np.concatenate([[0], np.cumsum(sizes)])[places]
        among = np.arange(count + 1) if is_start is None else np.searchsorted(np.append(starts, len(flat)), texts)
        return symbols, places, among

    def _kinds(self, flat: PointArray) -> NDArray[np.int8]:
        kinds = self._classes[flat]
        if not kinds.all():
            for point in np.unique(flat[kinds == 0]):
                self._classes[point] = self._kind(chr(int(point)))
            kinds = self._classes[flat]
        return kinds

    def _kind(self, character: str) -> int:
        """As the library sees it, whose tables of Unicode are its own."""
        cut = self.tokenizer.pre_tokenizer
        for sample, kind in (("a", _LETTER), ("0", _DIGIT), ("!", _OTHER)):
            if len(cut.pre_tokenize_str(sample + character)) == 1:
                return kind
        return _SPACE

    def points(self, rows: TokenRows) -> tuple[Int64Array, Int64Array]:
        """The symbols of tokens.

        Args:
            rows: 0 <= token < V.

        Returns:
            Code points of all tokens, end to end, NO_SYMBOL where bytes are none; and where those of each begin and
            end, [M + 1]. A symbol that is cut into several tokens belongs to the first one.
        """
        _, is_part, starts, table = self._table
        values = rows.values
        parts = np.flatnonzero(is_part[values])
        if len(parts):
            values, starts, table = self._joined(rows, parts)
        return concatenated(values, starts, table)

    def _joined(self, rows: TokenRows, parts: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Tokens with one of their own for each group of parts of symbols, and the table with these.

        Whole tokens begin and end with whole symbols, so that what is between them stands by itself.
        """
        texts, _, starts, table = self._table
        is_new = np.ones(len(parts), dtype=np.bool_)
        is_new[1:] = (np.diff(parts) != 1) | np.isin(parts[1:], rows.offsets)
        begins = np.flatnonzero(is_new)
        ids = rows.values[parts].tolist()
        numbers: dict[tuple[int, ...], int] = {(): 0}
        bounds = [*begins.tolist(), len(parts)]
        found = [numbers.setdefault(tuple(ids[a:b]), len(numbers)) for a, b in itertools.pairwise(bounds)]
        symbols = [_symbols(b"".join(texts[i] for i in group)) for group in numbers]
        values = rows.values.copy()
        values[parts] = self.num_ids
        values[parts[begins]] = self.num_ids + np.array(found, dtype=np.int64)
        new_starts = starts[-1] + np.cumsum([len(s) for s in symbols])
        new = np.array([s for own in symbols for s in own], dtype=np.int64)
        return values, np.concatenate([starts, new_starts]), np.concatenate([table, new])


def _is_whole(encoded: bytes) -> bool:
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return False
    return True


def _symbols(encoded: bytes) -> list[int]:
    """Code points; NO_SYMBOL where one is too high, and as often as the library makes replacement characters."""
    points = []
    while encoded:
        try:
            text, skipped = encoded.decode(), len(encoded)
        except UnicodeDecodeError as error:
            text, skipped = encoded[: error.start].decode() + chr(NO_SYMBOL), error.end
        points += [min(ord(c), NO_SYMBOL) for c in text]
        encoded = encoded[skipped:]
    return points


def _word_starts(flat: PointArray, kinds: NDArray[np.int8], length: int) -> BoolArray:
    """Where words begin in texts of one length, end to end.

    A word is a run of letters, of digits or of other characters, with the blank before it; of a run of spaces before
    one of these, the last space is apart. An apostrophe that begins a word takes an English ending to itself.
    """
    is_text = np.zeros(len(flat), dtype=np.bool_)
    is_text[::length] = True
    starts = is_text.copy()
    starts[1:] |= kinds[1:] != kinds[:-1]
    after_space = np.flatnonzero((kinds[1:] != _SPACE) & (kinds[:-1] == _SPACE) & ~is_text[1:]) + 1
    starts[after_space] = flat[after_space - 1] != _BLANK
    starts[after_space - 1] = True
    before_ending = np.zeros(len(flat), dtype=np.bool_)
    before_ending[:-1] = np.isin(flat[1:], [ord(e[0]) for e in _ENDINGS]) & ~is_text[1:]
    for place in np.flatnonzero(starts & (flat == _APOSTROPHE) & before_ending).tolist():
        stop = (place // length + 1) * length
        following = "".join(map(chr, flat[place + 1 : min(place + 3, stop)].tolist()))
        ending = next((e for e in _ENDINGS if following.startswith(e)), None)
        if ending is not None:
            starts[place + 1] = False
            if place + 1 + len(ending) < stop:
                starts[place + 1 + len(ending)] = True
    return starts
