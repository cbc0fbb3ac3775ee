"""Small tokenizers of both families, made here."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from vladata.vocabulary import BaseTokenizer

TEXTS = [
    f"{lead} {word} {number};"
    for lead in ("What action should the robot take to put the", "Task: fold the", "In: Out: Q: A: Action: State:")
    for word in ("red cup", "shirt", "block")
    for number in range(-1, 256, 3)
]


@pytest.fixture(scope="session")
def byte_level() -> BaseTokenizer:
    """A byte-level BPE without a beginning of text, as Qwen has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return BaseTokenizer(tokenizer.to_str(), "byte-level")


@pytest.fixture(scope="session")
def llama() -> BaseTokenizer:
    """A BPE with ▁ for spaces, one before each text, byte fallback and `<s>`, as Llama 2 has it; its tail is 贵山…."""
    merges = [("▁", "t"), ("▁t", "o"), ("O", "u"), ("Ou", "t"), ("▁", "Out")]
    alphabet = sorted({c for text in TEXTS for c in text.replace(" ", "▁")} | set("▁\n?|-ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    parts = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *alphabet, *("".join(m) for m in merges)]
    tail = [chr(0x8D35 + i) for i in range(260) if chr(0x8D35 + i) not in "贵山"] + ["贵", "山"]
    vocab = {t: i for i, t in enumerate(dict.fromkeys([*parts, *tail]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return BaseTokenizer(tokenizer.to_str(), "llama")


@pytest.fixture(scope="session")
def gemma() -> BaseTokenizer:
    """A Unigram without a space before each text, with `<bos>`, as PaliGemma has it."""
    pieces = sorted({c for text in TEXTS for c in text.replace(" ", "▁")} | set("▁\n?|-;"))
    whole = ["Action", "▁State", "Task", "▁the", "▁cup", "128", "255"]
    scores = [("<pad>", 0.0), ("<eos>", 0.0), ("<bos>", 0.0), ("<unk>", 0.0)]
    scores += [(p, -5.0) for p in whole] + [(p, -9.0) for p in pieces]
    scores += [(f"<loc{i:04d}>", -20.0) for i in range(1024)] + [(f"<seg{i:03d}>", -20.0) for i in range(128)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Replace("▁", " ")
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return BaseTokenizer(tokenizer.to_str(), "gemma")
