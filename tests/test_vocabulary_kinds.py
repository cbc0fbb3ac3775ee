"""Vocabularies of tokenizers as they are trained: reserved tokens, delimiters, moved ids, rows to initialise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from vladata.errors import TokenizeError
from vladata.vocabulary import (
    BaseTokenizer,
    Vocabulary,
    VocabularyKind,
    added_vocabulary,
    code_text,
    plan_rows,
    reserved_vocabulary,
    tail_vocabulary,
    text_vocabulary,
    write_extended,
)

TEXTS = [f"put the {word} into bin {number}" for word in ("red cup", "cube", "spoon") for number in range(120)]


def trained_bpe() -> Tokenizer:
    """Byte-level, as GPT-2, Qwen and Llama 3 have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def trained_unigram() -> Tokenizer:
    """Unigram with Metaspace, as T5 has it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def legacy_llama() -> Tokenizer:
    """BPE with byte fallback and ▁ put before each text by the normalizer, as Llama 2 has it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # for training alone: words don't grow over spaces
    special = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special[:3], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    content = {**json.loads(tokenizer.to_str()), "pre_tokenizer": None}
    vocab = content["model"]["vocab"]
    for token in special[3:]:
        vocab.setdefault(token, len(vocab))
    return Tokenizer.from_str(json.dumps(content))


MAKERS = [trained_bpe, trained_unigram, legacy_llama]


def base(tokenizer: Tokenizer, name: str = "tiny") -> BaseTokenizer:
    return BaseTokenizer(tokenizer.to_str(), name)


def with_reserved(tokenizer: Tokenizer, names: list[str], *, special: bool = True) -> BaseTokenizer:
    tokens = [AddedToken(n, special=special, normalized=False) for n in names]
    (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(tokens)
    return base(tokenizer)


def with_settings(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=32)
    return tokenizer


class TestTrained:
    @pytest.mark.parametrize("settings", [lambda t: t, with_settings], ids=["plain", "padding and truncation"])
    @pytest.mark.parametrize("make", MAKERS)
    def test_every_kind_comes_back(self, make: Callable[[], Tokenizer], settings: Any) -> None:
        tokenizer = base(settings(make()))
        codes = np.random.default_rng(0).integers(0, 40, (20, 7))
        for vocabulary in (
            added_vocabulary(40, tokenizer, start_end=True),
            tail_vocabulary(40, tokenizer),
            text_vocabulary(40, tokenizer),
            text_vocabulary(40, tokenizer, space_before=True),
        ):
            np.testing.assert_array_equal(vocabulary.decode(vocabulary.encode(codes), 7), codes)
            assert vocabulary.check(tokenizer) == ()
            assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict()))) == vocabulary

    @pytest.mark.parametrize("make", MAKERS)
    def test_integers_behind_a_space_are_those_of_a_longer_text(self, make: Callable[[], Tokenizer]) -> None:
        tokenizer = base(make())
        vocabulary = text_vocabulary(100, tokenizer, space_before=True)
        codes = np.array([[3, 99, 0, 42]])
        assert vocabulary.render(codes) == [" 3 99 0 42"]
        whole = tokenizer.encode(["bin" + vocabulary.render(codes)[0]])[0]
        assert whole == (*tokenizer.encode(["bin"])[0], *vocabulary.encode(codes)[0].tolist())

    @pytest.mark.parametrize("make", MAKERS)
    def test_start_and_end_are_special_and_follow(self, make: Callable[[], Tokenizer], tmp_path: Path) -> None:
        tokenizer = base(make())
        vocabulary = added_vocabulary(10, tokenizer, start_end=True)
        assert vocabulary.start is not None
        assert vocabulary.end is not None
        last = vocabulary.ids[-1][0]
        assert (vocabulary.start.id, vocabulary.end.id) == (last + 1, last + 2)
        write_extended(tokenizer, vocabulary, tmp_path)
        again = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        ids = again.encode("<action_start><action_3><action_end>", add_special_tokens=False).ids
        assert ids == [vocabulary.start.id, vocabulary.ids[3][0], vocabulary.end.id]
        assert again.decode(ids, skip_special_tokens=True) == "<action_3>"
        assert vocabulary.check(BaseTokenizer.read(tmp_path)) == ()


class TestReserved:
    @pytest.mark.parametrize(
        "pattern", ["<|reserved_special_token_{n}|>", "<unused{n}>", "<extra_id_{n}>", "[unused{n}]"]
    )
    @pytest.mark.parametrize("make", MAKERS)
    def test_they_are_used_in_the_order_of_their_numbers(self, make: Callable[[], Tokenizer], pattern: str) -> None:
        numbers = [11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        tokenizer = with_reserved(make(), [pattern.replace("{n}", str(n)) for n in numbers])

        vocabulary = reserved_vocabulary(10, tokenizer, start_end=True)

        assert vocabulary.tokens == tuple(pattern.replace("{n}", str(n)) for n in range(10))
        assert [i for (i,) in vocabulary.ids] == [tokenizer.vocabulary[t] for t in vocabulary.tokens]
        assert vocabulary.start is not None
        assert vocabulary.start.token == pattern.replace("{n}", "10")
        assert vocabulary.end is not None
        assert vocabulary.end.token == pattern.replace("{n}", "11")
        assert any("12 of 12 reserved tokens are special" in f for f in vocabulary.facts)
        codes = np.array([[0, 9, 5]])
        np.testing.assert_array_equal(vocabulary.decode(vocabulary.encode(codes), 3), codes)
        assert tokenizer.encode(vocabulary.render(codes))[0] == tuple(vocabulary.encode(codes)[0].tolist())

    def test_holes_are_passed_over_and_listed(self) -> None:
        names = [f"<unused{n}>" for n in (0, 1, 4, 5, 9)]
        tokenizer = with_reserved(trained_bpe(), names, special=False)

        vocabulary = reserved_vocabulary(4, tokenizer)

        assert vocabulary.tokens == ("<unused0>", "<unused1>", "<unused4>", "<unused5>")
        assert vocabulary.facts == ("the numbers of the reserved tokens run without 2, 3; these were passed over",)

    def test_too_few_are_refused_with_their_holes(self) -> None:
        tokenizer = with_reserved(trained_bpe(), [f"<unused{n}>" for n in (0, 1, 4)])

        with pytest.raises(TokenizeError, match=r"has 3 reserved tokens <unused\{n\}> without 2, 3; must have 4"):
            reserved_vocabulary(4, tokenizer)
        with pytest.raises(TokenizeError, match=r"has 3 reserved tokens .* must have 4"):
            reserved_vocabulary(2, tokenizer, start_end=True)
        with pytest.raises(TokenizeError, match="has 0 reserved tokens of 6 known names; must have 4"):
            reserved_vocabulary(4, base(trained_bpe()))

    def test_a_pattern_of_one_s_own(self) -> None:
        tokenizer = with_reserved(trained_bpe(), [f"<spare/{n}>" for n in range(4)])

        assert reserved_vocabulary(4, tokenizer, pattern="<spare/{n}>").tokens[3] == "<spare/3>"
        with pytest.raises(TokenizeError, match=r"pattern is '<spare>'; must hold \{n\} once"):
            reserved_vocabulary(4, tokenizer, pattern="<spare>")

    def test_a_number_in_another_spelling_is_another_token(self) -> None:
        tokenizer = with_reserved(trained_bpe(), ["<unused0>", "<unused00>", "<unused1>"])

        assert reserved_vocabulary(2, tokenizer).tokens == ("<unused0>", "<unused1>")

    def test_tokens_that_a_text_does_not_give_are_refused(self) -> None:
        tokenizer = trained_bpe()
        content = json.loads(tokenizer.to_str())
        for n in range(3):
            content["model"]["vocab"][f"<unused{n}>"] = len(content["model"]["vocab"])

        with pytest.raises(TokenizeError, match="reserved tokens in a text are not read back as their ids"):
            reserved_vocabulary(3, BaseTokenizer(json.dumps(content)))


class TestCheck:
    def test_ids_that_moved_are_named_one_by_one(self) -> None:
        tokenizer = base(trained_bpe())
        vocabulary = added_vocabulary(4, tokenizer, start_end=True)
        longer = trained_bpe()
        longer.add_special_tokens(["<|im_end|>"])

        moved = vocabulary.check(base(longer))

        first = tokenizer.facts.length
        assert len(moved) == 6
        assert moved[0] == (f"code 0: '<action_0>' has the id {first + 1}; the map says {first}, which is '<|im_end|>'")
        assert moved[-1].startswith("end: '<action_end>' has the id")

    def test_a_missing_token_is_named(self) -> None:
        tokenizer = with_reserved(trained_bpe(), [f"<unused{n}>" for n in range(4)])
        vocabulary = reserved_vocabulary(4, tokenizer)
        fewer = with_reserved(trained_bpe(), [f"<unused{n}>" for n in range(3)])

        (line,) = vocabulary.check(fewer)

        stored = vocabulary.ids[3][0]
        assert line == f"code 3: '<unused3>' is no token; the map says {stored}, which has no token"

    def test_tail_tokens_that_are_others_are_named(self) -> None:
        vocabulary = tail_vocabulary(8, base(trained_bpe()))
        other = json.loads(trained_bpe().to_str())
        tokens = sorted(other["model"]["vocab"], key=other["model"]["vocab"].__getitem__)
        vocab = other["model"]["vocab"]
        vocab[tokens[-1]], vocab[tokens[-2]] = vocab[tokens[-2]], vocab[tokens[-1]]

        moved = vocabulary.check(BaseTokenizer(json.dumps(other)))

        assert [line.split(":")[0] for line in moved] == ["code 0", "code 1"]

    def test_a_map_without_tokens_is_looked_at_by_id(self) -> None:
        tokenizer = base(trained_bpe())
        length = tokenizer.facts.length
        vocabulary = tail_vocabulary(3, vocab_size=length + 1)

        assert vocabulary.check(tokenizer) == (f"code 0: id {length} has no token in the tokenizer",)

    def test_integers_of_another_tokenizer_are_named(self) -> None:
        vocabulary = text_vocabulary(20, base(trained_bpe()))

        moved = vocabulary.check(base(trained_unigram()))

        assert len(moved) == 20
        assert moved[7].startswith("code 7: 7 becomes [")

    @settings(deadline=None)
    @given(st.integers(1, 40), st.booleans())
    def test_a_stored_map_fits_the_tokenizer_it_was_made_for(self, count: int, start_end: bool) -> None:
        tokenizer = base(Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")))
        stored = added_vocabulary(count, tokenizer, start_end=start_end).to_dict()

        again = Vocabulary.from_dict(json.loads(json.dumps(stored)))

        assert again.check(tokenizer) == ()

    def test_delimiters_that_are_codes_are_refused(self) -> None:
        stored = added_vocabulary(4, base(trained_bpe()), start_end=True).to_dict()
        stored["start"] = {"token": "x", "id": stored["lm_ids"][0]}  # type: ignore[index]

        with pytest.raises(TokenizeError, match="must be two ids that no code has"):
            Vocabulary.from_dict(stored)


class TestRows:
    def test_new_ids_in_padding_rows_need_no_resize(self) -> None:
        tokenizer = base(trained_bpe())
        length = tokenizer.facts.length
        vocabulary = added_vocabulary(20, tokenizer, start_end=True, embedding_rows=640)

        plan = plan_rows(vocabulary, tokenizer, 640)

        assert plan.rows == {
            "codes": tuple(range(length, length + 20)),
            "start": (length + 20,),
            "end": (length + 21,),
        }
        assert plan.in_padding == tuple(range(length, length + 22))
        assert (plan.mean_of, plan.resize_to, plan.needed) == ((0, length), None, length + 22)
        assert plan.advice[0].startswith("do not resize: 640 rows are enough")
        assert "22 of 22 new ids are padding rows" in vocabulary.facts[0]

    def test_rows_are_resized_to_a_multiple_of_64(self) -> None:
        tokenizer = base(trained_bpe())
        assert tokenizer.facts.length == 400
        vocabulary = added_vocabulary(100, tokenizer)

        plan = plan_rows(vocabulary, tokenizer, 448)

        assert (plan.needed, plan.resize_to) == (500, 512)
        assert plan.in_padding == tuple(range(400, 448))
        advice = plan_rows(vocabulary, tokenizer).advice
        assert advice[0].startswith("resize to 512 rows if the model has fewer than 500")
        with pytest.raises(TokenizeError, match="the embedding has 300 rows; must have at least 400"):
            plan_rows(vocabulary, tokenizer, 300)

    def test_the_config_beside_the_tokenizer_says_the_rows(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text(trained_bpe().to_str())
        (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 1024}}))
        tokenizer = BaseTokenizer.read(tmp_path)

        vocabulary = added_vocabulary(8, tokenizer)

        assert "the model's embedding has 1024 rows" in vocabulary.facts[0]
        assert plan_rows(vocabulary, tokenizer).embedding_rows == 1024

    def test_trained_tokens_need_no_rows(self) -> None:
        tokenizer = base(trained_bpe())

        with pytest.raises(TokenizeError, match="vocabulary tail uses trained tokens"):
            plan_rows(tail_vocabulary(4, tokenizer), tokenizer)


def test_texts_of_codes_without_a_tokenizer() -> None:
    added, text = code_text(VocabularyKind.ADDED, 16), code_text(VocabularyKind.TEXT, 16, space_before=True)
    assert added is not None
    assert text is not None
    assert added.render(np.array([[1, 15]])) == ["<action_01><action_15>"]
    assert text.render(np.array([[1, 15]])) == [" 1 15"]
    assert code_text(VocabularyKind.TAIL, 16) is None
    assert code_text(VocabularyKind.RESERVED, 16) is None
