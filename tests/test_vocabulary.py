"""Vocabulary: ids of codes, and the tokenizers that can't give them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from vladata.errors import TokenizeError
from vladata.vocabulary import (
    BaseTokenizer,
    TokenRows,
    Vocabulary,
    VocabularyKind,
    added_vocabulary,
    tail_vocabulary,
    text_vocabulary,
    write_extended,
)


def byte_level(merges: list[tuple[str, str]] | None = None) -> Tokenizer:
    """A byte-level BPE with the whole byte alphabet, as GPT-2, Llama-3 and Qwen have."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = merges or []
    vocab = {t: i for i, t in enumerate(dict.fromkeys([*alphabet, *("".join(p) for p in pairs)]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def digits_merged(upto: int) -> Tokenizer:
    """A byte-level BPE in which each integer below `upto`, with or without a space, is one token."""
    numbers = [str(number) for number in range(upto)]
    split = [(n[:cut], n[cut:]) for n in numbers for cut in range(1, len(n)) if n[cut] != "0" or cut == len(n) - 1]
    merges = [*split, *(("Ġ", n) for n in numbers)]
    return byte_level(merges)


def words(*names: str, unk: str = "<unk>") -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token=unk))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def unigram(pieces: list[str]) -> Tokenizer:
    """A Unigram model with Llama's ▁ for spaces."""
    tokenizer = Tokenizer(
        models.Unigram([("<unk>", 0.0), *((p, -float(i + 1)) for i, p in enumerate(pieces))], unk_id=0)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def base(tokenizer: Tokenizer, name: str = "tiny") -> BaseTokenizer:
    return BaseTokenizer(tokenizer.to_str(), name)


class TestAdded:
    @pytest.mark.parametrize("make", [byte_level, lambda: words("a", "b", "<unk>"), lambda: unigram(["▁", "a"])])
    def test_ids_follow_the_last_one(self, make: Callable[[], Tokenizer]) -> None:
        tokenizer = base(make())

        vocabulary = added_vocabulary(256, tokenizer)

        length = tokenizer.facts.length
        assert vocabulary.encode(np.array([[0, 7, 255]]))[0].tolist() == [length, length + 7, length + 255]
        assert vocabulary.tokens[7] == "<action_007>"
        assert vocabulary.base == tokenizer.facts
        assert vocabulary.base.vocab_size == length

    @pytest.mark.parametrize(("num_codes", "last"), [(2, "<action_1>"), (256, "<action_255>"), (1001, "<action_1000>")])
    def test_the_width_of_the_names_is_that_of_the_last_code(self, num_codes: int, last: str) -> None:
        vocabulary = added_vocabulary(num_codes, base(byte_level()))

        assert vocabulary.tokens[-1] == last
        assert {len(t) for t in vocabulary.tokens} == {len(last)}

    def test_ids_follow_tokens_that_were_added_before(self) -> None:
        tokenizer = byte_level()
        tokenizer.add_special_tokens(["<|im_end|>"])

        vocabulary = added_vocabulary(4, base(tokenizer))

        assert vocabulary.ids[0] == (257,)
        assert vocabulary.base is not None
        assert (vocabulary.base.vocab_size, vocabulary.base.length) == (256, 257)

    def test_a_name_that_is_taken_is_refused(self) -> None:
        tokenizer = byte_level()
        tokenizer.add_tokens([AddedToken("<action_003>", normalized=False)])

        with pytest.raises(TokenizeError, match=r"has 1 of the action tokens already, the first: <action_003>"):
            added_vocabulary(256, base(tokenizer))

    def test_ids_with_gaps_are_refused(self) -> None:
        tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 4}, unk_token="a"))

        with pytest.raises(TokenizeError, match=r"ids from 3 on, and 4 is in use; the tokenizer's ids have gaps"):
            added_vocabulary(2, base(tokenizer))

    def test_ids_survive_the_text(self) -> None:
        tokenizer = byte_level()
        tokenizer.normalizer = normalizers.Lowercase()
        source = base(tokenizer)
        vocabulary = added_vocabulary(1000, source)
        codes = np.array([[0, 1, 10, 100, 999]])

        text = vocabulary.render(codes)[0]

        assert text == "<action_000><action_001><action_010><action_100><action_999>"
        extended = source.extended(vocabulary.tokens)
        assert extended.encode(f"Out: {text}!").ids[-6:-1] == vocabulary.encode(codes)[0].tolist()
        assert extended.decode(vocabulary.encode(codes)[0].tolist(), skip_special_tokens=True) == text

    def test_truncation_and_padding_of_the_tokenizer_do_not_matter(self) -> None:
        tokenizer = byte_level()
        tokenizer.enable_truncation(4)
        tokenizer.enable_padding(length=64)

        assert added_vocabulary(256, base(tokenizer)).num_codes == 256


class TestExtendedFolder:
    def test_the_folder_loads_with_the_same_ids(self, tmp_path: Path) -> None:
        source = tmp_path / "base"
        source.mkdir()
        tokenizer = byte_level()
        tokenizer.add_special_tokens(["<s>"])
        tokenizer.save(str(source / "tokenizer.json"))
        listed = {"256": {"content": "<s>", "special": True}}
        (source / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": listed, "eos_token": "<s>"}))
        (source / "added_tokens.json").write_text('{"<s>": 256}')
        (source / "special_tokens_map.json").write_text('{"eos_token": "<s>"}')
        (source / "vocab.json").write_text("{}")
        read = BaseTokenizer.read(source, "tiny")
        vocabulary = added_vocabulary(16, read)

        files = write_extended(read, vocabulary, tmp_path / "out", source)

        assert [f.name for f in files] == [
            "added_tokens.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
        again = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
        assert again.encode("<action_00><action_15>").ids == [257, 272]
        config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
        assert config["eos_token"] == "<s>"
        assert config["added_tokens_decoder"]["256"] == listed["256"]
        assert config["added_tokens_decoder"]["272"]["content"] == "<action_15>"
        assert config["added_tokens_decoder"]["272"]["special"] is False
        assert json.loads((tmp_path / "out" / "added_tokens.json").read_text())["<action_15>"] == 272
        first = {f.name: f.read_bytes() for f in files}
        write_extended(read, vocabulary, tmp_path / "out", source)
        assert {f.name: f.read_bytes() for f in files} == first
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f.name for f in files]

    def test_a_vocabulary_of_another_tokenizer_is_refused(self, tmp_path: Path) -> None:
        tokenizer = base(byte_level())

        with pytest.raises(TokenizeError, match="the vocabulary is of another tokenizer"):
            write_extended(tokenizer, tail_vocabulary(4, vocab_size=99), tmp_path)
        with pytest.raises(TokenizeError, match="the vocabulary is of another tokenizer"):
            write_extended(base(words("a")), added_vocabulary(4, tokenizer), tmp_path)

    def test_a_settings_file_that_is_not_json_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer_config.json").write_text("{")
        tokenizer = base(byte_level())

        with pytest.raises(TokenizeError, match=r"tokenizer_config.json is not JSON"):
            write_extended(tokenizer, added_vocabulary(4, tokenizer), tmp_path / "out", tmp_path)


class TestTail:
    def test_ids_are_those_of_openvla(self) -> None:
        vocabulary = tail_vocabulary(256, vocab_size=32000)

        assert vocabulary.encode(np.array([[0, 127, 255]]))[0].tolist() == [31999, 31872, 31744]
        assert vocabulary.facts == ("V = 32000 was given and not compared with a tokenizer",)

    def test_ids_are_those_of_pi0_fast(self) -> None:
        vocabulary = tail_vocabulary(2048, vocab_size=257152, skip=128)

        codes = np.array([[0, 1023, 1024, 2047]])
        assert vocabulary.encode(codes)[0].tolist() == [257023, 256000, 255999, 254976]

    def test_ids_equal_the_golden_ones_of_openvla(self) -> None:
        path = Path(__file__).resolve().parent / "golden" / "openvla_action_tokenizer.npz"
        with np.load(path, allow_pickle=False) as file:
            ids = file["rand_tok"].astype(np.int64)

        vocabulary = tail_vocabulary(256, vocab_size=32000)

        np.testing.assert_array_equal(vocabulary.encode(vocabulary.decode(ids, 7)).values, ids.ravel())

    def test_the_vocabulary_size_is_read_from_the_tokenizer(self) -> None:
        vocabulary = tail_vocabulary(16, base(byte_level()))

        assert vocabulary.ids[0] == (255,)
        assert vocabulary.tokens[0] == max(pre_tokenizers.ByteLevel.alphabet())

    def test_tokens_that_break_as_text_are_counted(self) -> None:
        vocabulary = tail_vocabulary(16, base(byte_level()))

        assert vocabulary.facts == ("4 of 4 rows of 8 tail tokens are other ids after a way through text; use the ids",)
        with pytest.raises(TokenizeError, match="tail tokens do not survive as text"):
            vocabulary.render(np.array([[1]]))

    def test_a_special_token_in_the_range_is_refused(self) -> None:
        tokenizer = words(*(f"w{i}" for i in range(40)), "</s>", "x", unk="w0")
        tokenizer.add_special_tokens(["</s>"])

        with pytest.raises(TokenizeError, match="id 40 is the special token '</s>'; tail ids must be ordinary tokens"):
            tail_vocabulary(4, base(tokenizer))
        assert tail_vocabulary(4, base(tokenizer), skip=2).ids[0] == (39,)

    def test_added_tokens_are_reused_only_when_asked(self) -> None:
        tokenizer = words(*(f"w{i}" for i in range(40)), unk="w0")
        tokenizer.add_tokens([AddedToken(f"<loc{i}>", normalized=False) for i in range(4)])

        with pytest.raises(TokenizeError, match="id 43 is the added token '<loc3>'"):
            tail_vocabulary(8, base(tokenizer), vocab_size=44)
        reused = tail_vocabulary(8, base(tokenizer), vocab_size=44, reuse_added=True)
        assert reused.tokens[:5] == ("<loc3>", "<loc2>", "<loc1>", "<loc0>", "w39")

    def test_a_size_that_is_not_the_tokenizers_is_refused(self) -> None:
        tokenizer = byte_level()
        tokenizer.add_special_tokens(["<pad>"])

        with pytest.raises(TokenizeError, match="V is 320; must be the tokenizer's 256 without, or 257 with added"):
            tail_vocabulary(16, base(tokenizer), vocab_size=320)
        vocabulary = tail_vocabulary(16, base(tokenizer))
        assert vocabulary.facts[0] == "the tokenizer has 256 tokens and 257 with added ones; V is 256"

    def test_more_codes_than_tokens_are_refused(self) -> None:
        with pytest.raises(TokenizeError, match="250 codes after 7 skipped ids do not fit into a vocabulary of 256"):
            tail_vocabulary(250, base(byte_level()), skip=7)
        with pytest.raises(TokenizeError, match="neither a tokenizer nor a vocabulary size"):
            tail_vocabulary(4)

    def test_an_id_without_a_token_is_refused(self) -> None:
        tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 7, "d": 8}, unk_token="a"))

        with pytest.raises(TokenizeError, match="id 3 has no token in the tokenizer"):
            tail_vocabulary(2, base(tokenizer))

    def test_the_released_fast_tokenizer_has_room(self, shared_golden: Path) -> None:
        file = shared_golden / "fast_plus_tokenizer.json.gz"
        if not file.is_file():
            pytest.skip("the released tokenizer is not there")
        tokenizer = BaseTokenizer(gzip.decompress(file.read_bytes()).decode(), "fast")

        tail, added = tail_vocabulary(256, tokenizer), added_vocabulary(256, tokenizer)

        assert tokenizer.facts.vocab_size == 2048
        assert (tail.ids[0], tail.ids[255]) == ((2047,), (1792,))
        assert (added.ids[0], added.ids[255]) == ((2048,), (2303,))
        broken = next(f for f in tail.facts if "way through text" in f)
        assert int(broken.split()[0]) > 0
        text = text_vocabulary(256, tokenizer)
        codes = np.random.default_rng(0).integers(0, 256, (50, 7))
        np.testing.assert_array_equal(text.decode(text.encode(codes), 7), codes)


class TestText:
    def test_single_tokens_are_one_id_each(self) -> None:
        tokenizer = base(digits_merged(256))

        vocabulary = text_vocabulary(256, tokenizer)

        assert vocabulary.facts == ()
        codes = np.array([[1, 128, 91, 241, 5, 101, 127]])
        assert vocabulary.render(codes) == ["1 128 91 241 5 101 127"]
        ids = vocabulary.encode(codes)
        assert ids[0].tolist() == tokenizer.tokenizer.encode("1 128 91 241 5 101 127").ids
        assert len(ids[0]) == 7
        np.testing.assert_array_equal(vocabulary.decode(ids, 7), codes)

    @pytest.mark.parametrize("make", [byte_level, lambda: unigram(["▁", *"0123456789"])])
    @settings(deadline=None)
    @given(st.data())
    def test_integers_of_several_tokens_come_back(self, make: Callable[[], Tokenizer], data: st.DataObject) -> None:
        tokenizer = base(make())
        vocabulary = text_vocabulary(120, tokenizer)
        length = data.draw(st.integers(1, 6))
        codes = np.array(
            data.draw(st.lists(st.lists(st.integers(0, 119), min_size=length, max_size=length), min_size=1))
        )

        ids = vocabulary.encode(codes)

        assert vocabulary.facts == ("120 of 120 integers are more than one token",)
        for row, text in enumerate(vocabulary.render(codes)):
            assert ids[row].tolist() == list(tokenizer.encode([text])[0])
        np.testing.assert_array_equal(vocabulary.decode(ids, length), codes)

    def test_integers_that_are_not_in_the_vocabulary_are_refused(self) -> None:
        names = [str(i) for i in range(10)]

        with pytest.raises(TokenizeError, match="the integer 10 becomes the unknown token 10"):
            text_vocabulary(12, base(words(*names, "<unk>")))
        assert text_vocabulary(10, base(words(*names, "<unk>"))).is_fixed

    def test_two_integers_of_the_same_ids_are_refused(self) -> None:
        tokenizer = byte_level()
        tokenizer.normalizer = normalizers.Replace("7", "1")

        with pytest.raises(TokenizeError, match=r"codes 1 and 7 both become ids \[16\]; must differ"):
            text_vocabulary(8, base(tokenizer))

    def test_a_tokenizer_that_joins_neighbours_is_refused(self) -> None:
        tokenizer = byte_level([("3", "Ġ"), ("3Ġ", "4")])
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

        with pytest.raises(TokenizeError, match="the tokenizer joins neighbours"):
            text_vocabulary(10, base(tokenizer))

    def test_integers_without_a_mark_of_their_beginning_are_refused(self) -> None:
        tokenizer = byte_level()
        tokenizer.normalizer = normalizers.Replace(" ", "")

        with pytest.raises(TokenizeError, match="stands at the beginning and inside of codes; can't be told apart"):
            text_vocabulary(12, base(tokenizer))


class TestBase:
    def test_a_tokenizer_without_tokens_is_refused(self) -> None:
        with pytest.raises(TokenizeError, match=r"^tokenizer\.json has no token; a base tokenizer must have some$"):
            base(Tokenizer(models.BPE(vocab={}, merges=[])))

    def test_a_beginning_that_can_not_be_told_from_the_text_is_refused(self) -> None:
        """Otherwise rows would begin without `<s>`."""
        tokenizer = Tokenizer(models.BPE(vocab={"<s>": 0, "0": 1}, merges=[]))
        tokenizer.add_special_tokens(["<s>"])
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])

        with pytest.raises(TokenizeError, match="'a' becomes special tokens alone; the tokenizer must have an id"):
            base(tokenizer).beginning()


class TestRows:
    vocabulary = tail_vocabulary(256, vocab_size=32000)

    @given(st.integers(0, 5), st.integers(1, 9), st.randoms())
    def test_codes_come_back(self, count: int, length: int, random: Random) -> None:
        codes = np.array([[random.randrange(256) for _ in range(length)] for _ in range(count)], dtype=np.int64)
        codes = codes.reshape(count, length)

        np.testing.assert_array_equal(self.vocabulary.decode(self.vocabulary.encode(codes), length), codes)

    def test_an_id_that_is_no_action_token_is_refused_with_its_place(self) -> None:
        with pytest.raises(TokenizeError, match=r"ids\[1, 2\] is 29871; must be the id of an action code: it is no"):
            self.vocabulary.decode(np.array([[31999, 31999, 31999], [31999, 31744, 29871]]), 3)

    def test_a_row_of_another_length_is_refused(self) -> None:
        rows = TokenRows.of([[31999, 31998], [31999], []])

        with pytest.raises(TokenizeError, match="row 1 of the ids holds 1 codes; must hold 2"):
            self.vocabulary.decode(rows, 2)

    def test_ids_that_begin_no_integer_are_refused(self) -> None:
        vocabulary = text_vocabulary(30, base(byte_level()))
        ids = vocabulary.encode(np.array([[12, 29]]))[0]

        with pytest.raises(TokenizeError, match=r"ids\[0, 2\] is .*: no code begins so"):
            vocabulary.decode(TokenRows.of([ids[:3]]), 2)
        with pytest.raises(TokenizeError, match=r"ids\[0, 5\] is .*: the code before it is complete"):
            vocabulary.decode(TokenRows.of([[*ids, ids[-1]]]), 2)

    @pytest.mark.parametrize(
        ("codes", "message"),
        [
            ([[1, 256]], r"codes\[0, 1\] is 256; must be 0 to 255"),
            ([[1.0]], r"codes are float64 \[1, 1\]; must be integers"),
            ([1, 2], r"codes are int64 \[2\]; must be integers"),
        ],
    )
    def test_wrong_codes_are_refused(self, codes: list[object], message: str) -> None:
        with pytest.raises(TokenizeError, match=message):
            self.vocabulary.encode(np.array(codes))

    def test_lists_of_different_lengths_are_rows(self) -> None:
        rows = [[3, 5], [7]]
        vocabulary = added_vocabulary(16, base(byte_level()))

        ids = vocabulary.encode(rows)

        assert [ids[0].tolist(), ids[1].tolist()] == [[259, 261], [263]]
        codes = vocabulary.decode([[259, 261], [263]], None)
        assert [codes[0].tolist(), codes[1].tolist()] == rows
        assert vocabulary.render(rows) == ["<action_03><action_05>", "<action_07>"]

    @pytest.mark.parametrize("code", [-1, 16])
    def test_a_code_that_is_none_has_no_text(self, code: int) -> None:
        with pytest.raises(TokenizeError, match=rf"codes\[0, 1\] is {code}; must be 0 to 15"):
            added_vocabulary(16, base(byte_level())).render([[0, code]])

    def test_rows_are_read_one_by_one(self) -> None:
        rows = TokenRows.of([[1, 2], [], [3]])

        assert [row.tolist() for row in (rows[0], rows[1], rows[2])] == [[1, 2], [], [3]]
        assert len(rows) == 3
        with pytest.raises(IndexError, match="row 3; there are 3"):
            rows[3]
        with pytest.raises(TokenizeError, match="rows of tokens must hold integers"):
            TokenRows.of([[1.5]])


class TestStored:
    @pytest.mark.parametrize(
        "vocabulary",
        [
            tail_vocabulary(256, vocab_size=32000),
            added_vocabulary(16, base(byte_level())),
            text_vocabulary(30, base(byte_level())),
            text_vocabulary(10, base(words(*map(str, range(10)), "<unk>"))),
        ],
        ids=["tail", "added", "text", "fixed text"],
    )
    def test_a_vocabulary_comes_back_from_its_json(self, vocabulary: Vocabulary) -> None:
        again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))

        assert again == vocabulary

    def test_the_whole_map_is_stored(self) -> None:
        stored = tail_vocabulary(4, vocab_size=100).to_dict()

        assert stored["codes"] == [0, 1, 2, 3]
        assert stored["lm_ids"] == [99, 98, 97, 96]
        assert added_vocabulary(2, base(byte_level())).to_dict()["tokens"] == ["<action_0>", "<action_1>"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"lm_ids": [5, 5, 6, 7]}, r"codes 0 and 1 both become ids \[5\]; must differ"),
            ({"lm_ids": [5, 4, -3, 2]}, "no id, or one that is not 0 to 2147483647"),
            ({"codes": [0, 1, 3, 2]}, "must list the ids of the codes 0, 1, 2"),
            ({"lm_ids": 5}, "must list the ids"),
            ({"tokens": ["a"]}, "there are 1 tokens; must be 4"),
            ({"kind": "middle"}, "vocabulary: kind"),
            ({"extra": 1}, "vocabulary: extra: unexpected"),
        ],
    )
    def test_wrong_maps_are_refused(self, change: dict[str, object], message: str) -> None:
        stored = tail_vocabulary(4, vocab_size=100).to_dict()

        with pytest.raises(TokenizeError, match=message):
            Vocabulary.from_dict({**stored, **change})


class TestReading:
    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizeError, match=r"tokenizer.json is missing"):
            BaseTokenizer.read(tmp_path)

    @pytest.mark.parametrize("content", [b"{", b'{"model": 3}', b"\xff\xfe"])
    def test_a_file_that_is_no_tokenizer_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "tokenizer.json").write_bytes(content)

        with pytest.raises(TokenizeError, match=r"can't be parsed|is not UTF-8"):
            BaseTokenizer.read(tmp_path)

    def test_facts_name_the_tokenizer_and_its_content(self, tmp_path: Path) -> None:
        byte_level().save(str(tmp_path / "tokenizer.json"))

        read = BaseTokenizer.read(tmp_path / "tokenizer.json", "tiny")

        assert read.facts.name == "tiny"
        assert len(read.facts.sha256) == 64
        assert read.facts == BaseTokenizer.read(tmp_path, "tiny").facts

    def test_there_are_four_kinds(self) -> None:
        assert [str(k) for k in VocabularyKind] == ["added", "tail", "text", "reserved"]
