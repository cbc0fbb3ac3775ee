"""What tokenizers lose and cost on a dataset: schemes side by side, fitted to one part, measured on another."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from .. import plugins
from ..action_tokenizer import ActionTokenizer
from ..errors import VladataError
from ..exporters._loss import DimensionLoss, Loss, measure_loss
from ..text import clip, printable
from ..tokenizers import ActionCodec
from ..tokenizers._bins import code_rows
from ._basis import Basis, basis_of_dataset, basis_of_export

__all__ = [
    "Basis",
    "DimensionLoss",
    "Loss",
    "Scheme",
    "SchemeReport",
    "TokenizerReport",
    "basis_of_dataset",
    "basis_of_export",
    "compare_schemes",
    "fit_tokenizer",
    "measure_scheme",
]

SPEED_S = 0.3
"""Processor time of each measurement of speed."""
MAX_RUNS = 1_000


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A codec with its options."""

    name: str
    options: Mapping[str, int | float | str]

    @property
    def label(self) -> str:
        """Name and options, as they are asked for."""
        return self.name + "".join(f":{k}={v}" for k, v in self.options.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeReport:
    """One scheme."""

    scheme: str
    """Name and options."""
    num_codes: int
    fit_s: float
    """Processor time."""
    over_limit: int | None
    """Chunks of the sample that have more codes than are allowed; None where no limit was given."""
    encoded_per_s: float
    """Chunks for a second of processor time."""
    decoded_per_s: float
    loss: Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerReport:
    """Schemes side by side, on equal chunks with equal normalization."""

    source: str
    """Name of the dataset or export."""
    horizon: int
    rate_hz: float
    normalization: str
    fit_split: str
    fit_chunks: int
    """Chunks that codecs learned from, those that do."""
    max_tokens: int | None
    schemes: tuple[SchemeReport, ...]
    failed: Mapping[str, str]
    """Schemes that could not be used here, and why."""

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        schemes = [{**asdict(s), "loss": s.loss.to_dict()} for s in self.schemes]
        return {**asdict(self), "schemes": schemes, "failed": dict(self.failed)}


def fit_tokenizer(basis: Basis, scheme: Scheme) -> ActionTokenizer:
    """The tokenizer that an export of these chunks would get.

    Raises:
        PluginNotFoundError: There is no codec of that name.
        TokenizeError: An option is out of range, or the chunks are too few to learn from.
        ExportError: An episode or a shard that the codec learns from can't be read.
    """
    kind: type[ActionCodec] = plugins.load("tokenizers", scheme.name).Codec
    skeleton = basis.skeleton
    chunks = skeleton.normalization.apply(basis.fit_chunks if kind.learns else basis.fit_chunks[:0])
    return replace(skeleton, scheme=scheme.name, codec=kind.fit(chunks, **scheme.options), vocabulary=None)


def measure_scheme(basis: Basis, scheme: Scheme, max_tokens: int | None = None) -> SchemeReport:
    """Fit a codec, and measure it on chunks that it has not seen.

    Raises:
        PluginNotFoundError: There is no codec of that name.
        TokenizeError: An option is out of range, or a chunk can't be coded.
    """
    began = time.process_time()
    tokenizer = fit_tokenizer(basis, scheme)
    fit_s = time.process_time() - began
    chunks = basis.sample.chunks
    codes = code_rows(tokenizer.encode_represented(chunks))
    return SchemeReport(
        scheme=scheme.label,
        num_codes=tokenizer.codec.num_codes,
        fit_s=fit_s,
        over_limit=None if max_tokens is None else int((codes.lengths > max_tokens).sum()),
        encoded_per_s=len(chunks) / _seconds(lambda: tokenizer.encode_represented(chunks)),
        decoded_per_s=len(chunks) / _seconds(lambda: tokenizer.decode_represented(codes)),
        loss=measure_loss(tokenizer, basis.sample),
    )


def compare_schemes(
    basis: Basis,
    schemes: Sequence[Scheme],
    *,
    max_tokens: int | None = None,
    progress: Callable[[int, int, str], None] = _quiet,
) -> TokenizerReport:
    """Measure schemes on the same chunks; one that can't be used there is named with the reason.

    Args:
        basis: The chunks.
        schemes: In order; of equal ones the first counts.
        max_tokens: Codes that a chunk may have; more are counted.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        PluginNotFoundError: There is no codec of a name.
    """
    for scheme in schemes:
        plugins.load("tokenizers", scheme.name)
    found, failed = [], {}
    asked = list({s.label: s for s in schemes}.values())
    for number, scheme in enumerate(asked):
        progress(number, len(asked), f"measuring {scheme.label}")
        try:
            found.append(measure_scheme(basis, scheme, max_tokens))
        except VladataError as error:
            failed[scheme.label] = clip(printable(str(error)), 200)
    progress(len(asked), len(asked), "done")
    return TokenizerReport(
        source=basis.source,
        horizon=basis.skeleton.horizon,
        rate_hz=basis.skeleton.rate_hz,
        normalization=str(basis.skeleton.normalization.mode),
        fit_split=basis.fit_split,
        fit_chunks=len(basis.fit_chunks),
        max_tokens=max_tokens,
        schemes=tuple(found),
        failed=failed,
    )


def _seconds(run: Callable[[], object]) -> float:
    """Processor time of one call, over as many as take a few hundred milliseconds; all threads count."""
    run()  # tables that are built once
    began, runs = time.process_time(), 0
    while time.process_time() - began < SPEED_S and runs < MAX_RUNS:
        run()
        runs += 1
    return max(1e-9, (time.process_time() - began) / max(1, runs))
