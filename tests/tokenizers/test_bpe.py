"""Byte-pair encoding of whole batches, equal to the library `tokenizers` for every vocabulary and every text."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from vladata.errors import TokenizeError
from vladata.tokenizers._bpe import Bpe, read_vocabulary
from vladata.tokenizers._byte_level import ByteLevel, byte_level
from vladata.tokenizers._letters import FIRST_LETTER, letters

some = settings(max_examples=60, deadline=None)
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def as_text(points: np.ndarray) -> list[str]:
    return ["".join(map(chr, row)) for row in points.tolist()]


def trained(texts: list[str], vocab_size: int, alphabet: list[str], tokenizer: Any = None) -> bytes:
    trainer = BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=[], initial_alphabet=alphabet, show_progress=False
    )
    bpe = Tokenizer(models.BPE()) if tokenizer is None else tokenizer
    bpe.train_from_iterator(texts, trainer)
    return bytes(bpe.to_str(), "utf-8")


def plain_vocabulary(points: np.ndarray, num_symbols: int, vocab_size: int) -> bytes:
    return trained(as_text(points), vocab_size, [chr(FIRST_LETTER + k) for k in range(num_symbols)])


def byte_vocabulary(points: np.ndarray, vocab_size: int) -> bytes:
    bpe = ByteLevelBPETokenizer()._tokenizer
    return trained(as_text(points), vocab_size, pre_tokenizers.ByteLevel.alphabet(), bpe)


def by_library(bpe: Bpe, points: np.ndarray) -> list[list[int]]:
    return [bpe.tokenizer.encode(text, add_special_tokens=False).ids for text in as_text(points)]


def by_kernel(bpe: Bpe, points: np.ndarray) -> list[list[int]]:
    assert bpe.kernel is not None
    symbols, offsets, texts = bpe.words(points.astype(np.uint32))
    values, ends = bpe.kernel.encode(symbols, offsets)
    bounds = ends[texts]
    return [values[a:b].tolist() for a, b in itertools.pairwise(bounds)]


@st.composite
def symbols(draw: st.DrawFn, most: int = 9) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows to learn from and rows to encode, of few or of many zeros, and how many kinds of symbols they have."""
    generator = np.random.default_rng(draw(st.integers(0, 2**20)))
    kinds = draw(st.integers(1, most))
    share = draw(st.sampled_from([0.0, 0.5, 0.9, 0.99]))
    length = draw(st.integers(1, 120))
    rows = generator.integers(0, kinds, (2, draw(st.integers(1, 30)), length))
    rows[generator.random(rows.shape) < share] = draw(st.integers(0, kinds - 1))
    if draw(st.booleans()):
        rows.sort(axis=2)
    return rows[0], rows[1], kinds


@some
@given(drawn=symbols(), more=st.integers(0, 300))
def test_letters_are_encoded_as_by_the_library(drawn: tuple[np.ndarray, np.ndarray, int], more: int) -> None:
    learned, rows, kinds = drawn
    bpe = letters(plain_vocabulary(learned + FIRST_LETTER, kinds, kinds + more))

    assert by_kernel(bpe, rows + FIRST_LETTER) == by_library(bpe, rows + FIRST_LETTER)


@some
@given(
    drawn=symbols(),
    more=st.integers(0, 300),
    shift=st.sampled_from([0, 28, 32, 36, 45, 60, 120, 125, 165, 354, 0x7FC, 0x2000, 0xD700]),
)
def test_bytes_are_encoded_as_by_the_library(drawn: tuple[np.ndarray, np.ndarray, int], more: int, shift: int) -> None:
    learned, rows, _ = drawn
    bpe = byte_level(byte_vocabulary(learned + shift, 256 + more))

    assert by_kernel(bpe, rows + shift) == by_library(bpe, rows + shift)


CHARACTERS = " \t\n\x1c\x85\xa0'\"!stredvmlSTxyz019éß²ٳŢţ一\u2028\u3000\u0301"


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.text(CHARACTERS, min_size=n, max_size=n), min_size=1)))
def test_words_are_those_of_the_library(texts: list[str]) -> None:
    bpe = byte_level(byte_vocabulary(np.zeros((1, 1), dtype=np.int64), 256))

    _, offsets, among = bpe.words(np.array([[ord(c) for c in text] for text in texts], dtype=np.uint32))

    pieces = [[piece for piece, _ in bpe.tokenizer.pre_tokenizer.pre_tokenize_str(text)] for text in texts]
    assert np.diff(offsets).tolist() == [len(piece) for own in pieces for piece in own]
    assert np.diff(among).tolist() == [len(own) for own in pieces]


@pytest.mark.parametrize("text", ["'s", "a's'll", " 's", "''s", "'st", "'re'", "'r", "x'", "  a", " \n a", "a  ", "'"])
def test_english_endings_and_spaces_are_cut_as_by_the_library(text: str) -> None:
    bpe = byte_level(byte_vocabulary(np.zeros((1, 1), dtype=np.int64), 256))

    _, offsets, _ = bpe.words(np.array([[ord(c) for c in text]] * 3, dtype=np.uint32))

    pieces = [piece for piece, _ in bpe.tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    assert np.diff(offsets).tolist() == [len(piece) for piece in pieces] * 3


def rewritten(content: bytes, **model: object) -> bytes:
    document = json.loads(content)
    document["model"].update(model)
    return json.dumps(document).encode()


@pytest.mark.parametrize("change", ["backward", "twice", "double", "unused"])
def test_vocabularies_that_no_training_gives_go_through_the_library(change: str) -> None:
    rows = np.random.default_rng(0).integers(0, 4, (200, 40))
    content = plain_vocabulary(rows + FIRST_LETTER, 4, 60)
    model = json.loads(content)["model"]
    a, b = chr(FIRST_LETTER), chr(FIRST_LETTER + 1)
    c, d = chr(FIRST_LETTER + 2), chr(FIRST_LETTER + 3)
    ids = {a: 0, b: 1, c: 2, d: 3}
    vocab, merges = {
        "backward": (model["vocab"], model["merges"][::-1]),
        "twice": ({**ids, a + b: 4, b + a: 5, a + b + a: 6}, [[a, b], [a + b, a], [b, a], [a, b + a]]),
        "double": ({**ids, a + b: 4}, [[a, b], [a, b]]),
        "unused": ({**ids, c + d: 4, a + b: 5, b + a: 6, a + b + a: 7}, [[c, d], [a, b], [b, a], [a, b + a]]),
    }[change]
    bpe = letters(rewritten(content, vocab=vocab, merges=merges))

    assert bpe.kernel is None
    found = bpe.encode((rows + FIRST_LETTER).astype(np.uint32))
    assert [found[k].tolist() for k in range(len(rows))] == by_library(bpe, rows + FIRST_LETTER)


@pytest.mark.parametrize("count", [1, 40, 60, 300])
def test_few_and_many_rows_are_encoded_alike(count: int) -> None:
    rows = np.random.default_rng(1).binomial(6, 0.5, (300, 50))
    bpe = byte_level(byte_vocabulary(rows + 354, 400))

    found = bpe.encode((rows[:count] + 354).astype(np.uint32))

    assert [found[k].tolist() for k in range(count)] == by_library(bpe, rows[:count] + 354)


def test_a_long_run_is_cut_as_by_the_library() -> None:
    rows = np.zeros((60, 7000), dtype=np.int64)
    rows[:, ::997] = 1
    bpe = letters(plain_vocabulary(rows[:, :900] + FIRST_LETTER, 2, 40))

    assert bpe.kernel is not None
    assert bpe.kernel.runs is not None
    assert by_kernel(bpe, rows + FIRST_LETTER) == by_library(bpe, rows + FIRST_LETTER)


def test_symbols_that_nothing_merges_with_are_tokens_of_their_own() -> None:
    rows = np.array([[0, 0, 1, 0, 0, 2, 0, 1, 1, 0]] * 60)
    bpe = letters(plain_vocabulary(np.zeros((2, 8), dtype=np.int64) + FIRST_LETTER, 3, 4))

    assert by_kernel(bpe, rows + FIRST_LETTER) == [[3, 1, 3, 2, 0, 1, 1, 0]] * 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(normalizer={"type": "NFC"}), "normalizer is .* must be unset"),
        (lambda d: d.update(added_tokens=[{"id": 0}]), "added_tokens is .* must be unset"),
        (lambda d: d.update(pre_tokenizer=None), "pre_tokenizer is None; must be"),
        (lambda d: d["pre_tokenizer"].update(add_prefix_space=True), "pre_tokenizer is .* must be"),
        (lambda d: d["pre_tokenizer"].update(use_regex=False), "pre_tokenizer is .* must be"),
        (
            lambda d: d.update(post_processor={"type": "TemplateProcessing"}),
            "post_processor must be unset or ByteLevel",
        ),
        (lambda d: d["model"].update(type="WordPiece"), "model.type must be BPE"),
        (lambda d: d["model"].update(dropout=0.1), "model.dropout is 0.1; must be unset"),
        (lambda d: d["model"].update(unk_token="!"), "model.unk_token is !; must be unset"),
        (lambda d: d["model"]["vocab"].update(new=9999), "must have the ids 0 to 256, each once"),
        (lambda d: d["model"].update(merges=[["!", "none"]]), "has no token"),
        (lambda d: d["model"].update(merges=["! ! !"]), "must be two tokens"),
        (lambda d: d["model"].update(merges=[3]), "must be two tokens"),
        (lambda d: d["model"].update(vocab=[]), "model.vocab and model.merges are missing"),
        (lambda d: d.pop("model"), "model.type must be BPE"),
    ],
)
def test_other_kinds_of_tokenizers_are_refused(change: Any, message: str) -> None:
    document = json.loads(byte_vocabulary(np.zeros((1, 1), dtype=np.int64), 256))
    change(document)

    with pytest.raises(TokenizeError, match=message):
        read_vocabulary(json.dumps(document).encode(), BYTE_LEVEL)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_tokenizer_is_refused(content: bytes) -> None:
    with pytest.raises(TokenizeError, match=r"tokenizer\.json"):
        read_vocabulary(content, None)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 299), max_size=12), min_size=1, max_size=8))
def test_tokens_decode_to_the_symbols_of_the_library(rows: list[list[int]]) -> None:
    from vladata.tokenizers import TokenRows
    from vladata.tokenizers._byte_level import NO_SYMBOL

    learned = np.random.default_rng(3).integers(126, 132, (40, 30))
    bpe: ByteLevel = byte_level(byte_vocabulary(learned, 300))

    points, ends = bpe.points(TokenRows.of(rows))

    bounds = ends[TokenRows.of(rows).offsets]
    for k, row in enumerate(rows):
        text = bpe.tokenizer.decode(row, skip_special_tokens=False)
        expected = [NO_SYMBOL if c == "\ufffd" else min(ord(c), NO_SYMBOL) for c in text]
        assert points[bounds[k] : bounds[k + 1]].tolist() == expected
