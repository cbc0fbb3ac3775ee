"""Action codecs on one core: against the FAST processor chunk by chunk, and bins against a digitize for each step."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import ByteLevelBPETokenizer, Tokenizer, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from vladata.tokenizers import ActionCodec, TokenRows, fast, fast_safe, openvla_bins, uniform_bins
from vladata.tokenizers._dct import Ties, quantized

from .context import Context
from .fast_reference import FastReference
from .measure import Goal, heading, verdict

__all__ = ["run"]

FloatArray = NDArray[np.float64]
Sides = dict[str, Callable[[], object]]

CASES = ((7, 10), (7, 20), (7, 50), (14, 50))
"""Dimensions and steps of a chunk of one second."""
PLUS_MIN_TOKEN = -354
PLUS_SIZE = 2048


def run(context: Context) -> None:
    heading("tokenize", "chunks of 1 s, one core, processor time per chunk; ratios within a round")
    num = 300 if context.is_quick else 2000
    wide = _wide_vocabulary(num)
    for dims, horizon in CASES:
        train, chunks = _smooth(2 * num, horizon, dims, seed=1), _smooth(num, horizon, dims, seed=2)
        fitted = fast.Codec.fit(train)
        print(f"  {dims} dimensions, {horizon} steps")
        for name, codec in (
            ("2048 codes, all bytes", fast.Codec.from_tokenizer(wide, 10, PLUS_MIN_TOKEN)),
            ("fitted, 1024 codes", fitted),
        ):
            _against_reference(name, codec, chunks, context.rounds)
        _safe(fast_safe.Codec.fit(train), fitted, chunks, context.rounds)
    _bins(context)
    _latency(context)


def _smooth(num: int, horizon: int, dims: int, seed: int) -> FloatArray:
    """Windows of motions between random points, some of them at rest, with a little shaking; grippers last of seven."""
    rng = np.random.default_rng([seed, horizon, dims])
    steps = num * horizon // 4 + 2 * horizon
    motion = np.empty((steps, dims))
    for dim in range(dims):
        begin, here = 0, rng.uniform(-1, 1)
        is_gripper = dim % 7 == 6
        while begin < steps:
            count = max(2, int(rng.uniform(0.4, 2.2) * horizon))
            place = np.arange(count) / count
            if is_gripper:
                there = float(rng.integers(0, 2))
                path = np.minimum(np.arange(count) / (0.3 * horizon), 1.0)
            else:
                there = here if rng.random() < 0.15 else rng.uniform(-1, 1)
                path = 10 * place**3 - 15 * place**4 + 6 * place**5
            motion[begin : begin + count, dim] = (here + (there - here) * path)[: steps - begin]
            begin, here = begin + count, there
        if not is_gripper:
            motion[:, dim] += 0.006 * np.sin(6 * np.pi * np.arange(steps) / horizon + rng.uniform(0, 6))
            motion[:, dim] += rng.normal(0, 0.002, steps)
    starts = rng.integers(0, steps - horizon, num)
    return np.clip(np.stack([motion[s : s + horizon] for s in starts]), -1.0, 1.0)


def _wide_vocabulary(num: int) -> bytes:
    """A vocabulary as FAST+ is one: all bytes, a zero of two bytes, learned from chunks of several rates at once."""
    texts: list[str] = []
    for dims, horizon in CASES:
        found = quantized(_smooth(num // 2, horizon, dims, seed=3), 10, Ties.AS_FFT) - PLUS_MIN_TOKEN
        texts += ["".join(map(chr, row)) for row in found.reshape(len(found), -1).astype(int).tolist()]
    trainer = BpeTrainer(
        vocab_size=PLUS_SIZE,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe = ByteLevelBPETokenizer()
    bpe._tokenizer.train_from_iterator(texts, trainer)
    return str(bpe._tokenizer.to_str()).encode()


def _compare(sides: Sides, rounds: int) -> dict[str, list[float]]:
    """Processor time of each side in each round, in s; a first round is not counted."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for k in range(rounds + 1):
        for name in sides if k % 2 else reversed(sides):
            begun = time.process_time()
            sides[name]()
            if k:
                found[name].append(time.process_time() - begun)
    return found


def _print(what: str, over: list[float], under: list[float], count: int, goal: Goal | None = None) -> None:
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    middle = statistics.median(ratios)
    reached = "" if goal is None else f"  {goal}  {verdict(goal, middle)}"
    per_chunk = [1e6 * statistics.median(side) / count for side in (over, under)]
    print(
        f"    {what:<44} {per_chunk[0]:9.2f} -> {per_chunk[1]:8.2f} us"
        f"  {middle:7.1f} x  ({min(ratios):.1f}..{max(ratios):.1f}){reached}",
        flush=True,
    )


@dataclass(frozen=True, slots=True)
class _Race:
    """A codec and the reference on the same chunks."""

    reference: FastReference
    chunks: FloatArray
    lists: Sequence[list[int]]
    """What the reference decodes."""

    def times(self, encode: Callable[[], object], decode: Callable[[], object], rounds: int) -> dict[str, list[float]]:
        """Of both in both directions."""
        horizon, dims = self.chunks.shape[1:]
        return _compare(
            {
                "encode by reference": lambda: [self.reference.encode(chunk) for chunk in self.chunks],
                "encode": encode,
                "decode by reference": lambda: [self.reference.decode(row, horizon, dims) for row in self.lists],
                "decode": decode,
            },
            rounds,
        )


def _reference_of(codec: fast.Codec) -> FastReference:
    return FastReference(Tokenizer.from_str(codec.tokenizer_json.decode()), codec.scale, codec.min_token)


def _against_reference(name: str, codec: fast.Codec, chunks: FloatArray, rounds: int) -> None:
    count, horizon, dims = chunks.shape
    reference = _reference_of(codec)
    codes = codec.encode(chunks)
    expected = [reference.encode(chunk) for chunk in chunks]
    kept = np.flatnonzero(~codec.is_clipped(chunks).any(axis=(1, 2))).tolist()
    if any(codes[k].tolist() != expected[k] for k in kept):
        raise RuntimeError("codes differ from those of the reference")
    rows = TokenRows.of([expected[k] for k in kept])
    race = _Race(reference, chunks, [expected[k] for k in kept])
    times = race.times(lambda: codec.encode(chunks), lambda: codec.decode(rows, horizon, dims), rounds)
    is_aim = (dims, horizon) in {(7, 10), (14, 50)}
    goal = Goal(3.0 if horizon == 10 else 2.0, is_upper=False) if is_aim else None
    _print(f"encode, {name}", times["encode by reference"], times["encode"], count, goal)
    _print(f"decode, {name}", times["decode by reference"], times["decode"], len(rows), Goal(8.0, is_upper=False))


def _safe(codec: fast_safe.Codec, other: fast.Codec, chunks: FloatArray, rounds: int) -> None:
    count, horizon, dims = chunks.shape
    codes, codes_of_other = codec.encode(chunks), other.encode(chunks)
    race = _Race(_reference_of(other), chunks, [codes_of_other[k].tolist() for k in range(count)])
    times = race.times(lambda: codec.encode(chunks), lambda: codec.decode(codes, horizon, dims), rounds)
    _print("encode, fast_safe against fitted", times["encode by reference"], times["encode"], count)
    _print("decode, fast_safe against fitted", times["decode by reference"], times["decode"], count)
    print(
        f"    codes per chunk: {codes_of_other.lengths.mean():.1f} fast, {codes.lengths.mean():.1f} fast_safe, "
        f"{horizon * dims} bins"
    )


def _bins(context: Context) -> None:
    values = _smooth(100 if context.is_quick else 1000, 10, 7, seed=4)
    print("  bins, 7 dimensions, against np.digitize of each step; per step")
    _digitize("uniform_bins", uniform_bins.Codec(), np.linspace(-1.0, 1.0, 257), values, context.rounds)
    _digitize("openvla_bins", openvla_bins.Codec(), np.linspace(-1.0, 1.0, 256), values, context.rounds)


def _digitize(name: str, codec: ActionCodec, edges: FloatArray, values: FloatArray, rounds: int) -> None:
    steps = values.reshape(-1, values.shape[2])
    times = _compare(
        {
            "reference": lambda: [np.digitize(np.clip(step, edges[0], edges[-1]), edges) for step in steps],
            "codec": lambda: codec.encode(values),
        },
        rounds,
    )
    _print(name, times["reference"], times["codec"], len(steps), Goal(50.0, is_upper=False))


def _latency(context: Context) -> None:
    print("  one chunk at a time, as on a robot, against the reference with the fitted vocabulary")
    num = 50 if context.is_quick else 300
    for dims, horizon in ((7, 10), (14, 50)):
        train, chunks = _smooth(1000, horizon, dims, seed=5), _smooth(num, horizon, dims, seed=6)
        fitted = fast.Codec.fit(train)
        reference = _reference_of(fitted)
        race = _Race(reference, chunks, [reference.encode(chunk) for chunk in chunks])
        for codec in (fitted, fast_safe.Codec.fit(train)):
            _one_by_one(codec, race, context.rounds)


def _one_by_one(codec: fast.Codec | fast_safe.Codec, race: _Race, rounds: int) -> None:
    num, horizon, dims = race.chunks.shape
    rows = [codec.encode(race.chunks[k : k + 1]) for k in range(num)]
    times = race.times(
        lambda: [codec.encode(race.chunks[k : k + 1]) for k in range(num)],
        lambda: [codec.decode(row, horizon, dims) for row in rows],
        rounds,
    )
    name = type(codec).__module__.rpartition(".")[2]
    _print(f"encode, {name}, {dims} x {horizon}", times["encode by reference"], times["encode"], num)
    _print(f"decode, {name}, {dims} x {horizon}", times["decode by reference"], times["decode"], num)
