"""`vladata tokenizer report` and `vladata tokenizer fit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ._console import FAILED, USAGE, default_workers, fail, note, out, out_json, progress, table
from ._tokens import CodecOption, codec_options, schemes_of

if TYPE_CHECKING:
    from vladata.tokenizer_report import Basis, SchemeReport, TokenizerReport

DEFAULT_SCHEMES = "fast_safe,fast,bspline,openvla_bins,rt1_bins,uniform_bins,quantile_bins,mu_law_bins"
Source = Annotated[Path, typer.Argument(metavar="FOLDER", help="A dataset of episodes, or an export.")]
Horizon = Annotated[int | None, typer.Option(help="Actions per chunk (dataset); default: those of 1 s.")]
What = Annotated[
    Literal["recorded", "absolute", "delta", "chunk_relative"] | None,
    typer.Option(help="What chunks hold (dataset); default recorded."),
]
Normalized = Annotated[
    Literal["quantile", "min_max", "mean_std", "none"] | None,
    typer.Option(help="Of the chunks (dataset); default quantile."),
]
Embodiment = Annotated[str | None, typer.Option(help="Episodes of this embodiment only (dataset).")]
Seed = Annotated[int | None, typer.Option(help="Of the split (dataset); default 0.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Count chunks that have more codes.")]
Chunks = Annotated[int, typer.Option(min=1, help="How many chunks to measure on at most.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a plot, a new .png or .svg.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that read.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def report(
    folder: Source,
    schemes: Annotated[str, typer.Option(metavar="NAME[:OPTION=VALUE],…", help="What to compare.")] = DEFAULT_SCHEMES,
    horizon: Horizon = None,
    representation: What = None,
    normalization: Normalized = None,
    embodiment: Embodiment = None,
    seed: Seed = None,
    max_tokens: MaxTokens = None,
    chunks: Chunks = 2_000,
    plot: Plot = None,
    workers: Workers = default_workers(),
    as_json: Json = False,
) -> None:
    """Compare action codecs on a dataset or an export: codes, what is lost, speed.

    Example: vladata tokenizer report dataset --horizon 8 --schemes openvla_bins,bspline:num_basis=5 --plot schemes.png
    """
    from vladata.tokenizer_report import Scheme, compare_schemes

    asked = [Scheme(name=name, options=options) for name, options in schemes_of(schemes)]
    _require_plot(plot)
    given = {"horizon": horizon, "representation": representation, "normalization": normalization}
    basis = _basis(folder, {**given, "embodiment": embodiment, "seed": seed}, chunks, workers)
    with progress("report", "schemes") as show:
        found = compare_schemes(basis, asked, max_tokens=max_tokens, progress=show)
    _show(found, plot, as_json)
    if not found.schemes:
        raise typer.Exit(FAILED)


def fit(
    folder: Source,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="BUNDLE", help="New folder of the tokenizer.")],
    scheme: Annotated[str, typer.Option(help="A codec of docs/tokenizers.md.")] = "fast_safe",
    codec_option: Annotated[list[str] | None, CodecOption] = None,
    horizon: Horizon = None,
    representation: What = None,
    normalization: Normalized = None,
    embodiment: Embodiment = None,
    seed: Seed = None,
    max_tokens: MaxTokens = None,
    chunks: Chunks = 2_000,
    plot: Plot = None,
    workers: Workers = default_workers(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and measure; write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Fit an action tokenizer to a dataset or an export, write it, and say what it loses.

    Example: vladata tokenizer fit dataset --scheme quantile_bins --horizon 8 -o my_tokenizer
    """
    from vladata.tokenizer_report import Scheme, compare_schemes, fit_tokenizer

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        fail(f"{output}: exists already; name a new or empty folder, nothing was changed", FAILED)
    _require_plot(plot)
    wanted = Scheme(name=scheme, options=codec_options(codec_option))
    given = {"horizon": horizon, "representation": representation, "normalization": normalization}
    basis = _basis(folder, {**given, "embodiment": embodiment, "seed": seed}, chunks, workers)
    tokenizer = fit_tokenizer(basis, wanted)
    found = compare_schemes(basis, [wanted], max_tokens=max_tokens)
    if not dry_run:
        tokenizer.save(output)
    _show(found, plot, as_json)
    said = "nothing was written" if dry_run else f"wrote {output}: action tokenizer {tokenizer.digest[:12]}"
    note(said) if as_json else out(said)


def _require_plot(plot: Path | None) -> None:
    from vladata.tokenizer_report.plot import SUFFIXES

    if plot is not None and (plot.suffix.lower() not in SUFFIXES or plot.exists()):
        fail(f"--plot {plot}: must be the name of a new file, {' or '.join(SUFFIXES)}", USAGE)


def _basis(folder: Path, options: dict[str, object], chunks: int, workers: int) -> "Basis":
    from vladata.exporters.huggingface import ExportOptions
    from vladata.pipeline import dataset_of, is_export
    from vladata.tokenizer_report import basis_of_dataset, basis_of_export

    given = {k: v for k, v in options.items() if v is not None}
    if is_export(folder):
        if given:
            named = ", ".join(f"--{k}" for k in given)
            fail(f"{folder}: is an export, whose chunks are made; leave out {named}, or name its dataset", USAGE)
        return basis_of_export(folder, chunks=chunks, workers=workers)
    with progress("reading", "episodes") as show:
        return basis_of_dataset(
            dataset_of(folder),
            ExportOptions(**given),  # type: ignore[arg-type]  # names and types are those of the command
            chunks=chunks,
            workers=workers,
            progress=show,
        )


def _show(found: "TokenizerReport", plot: Path | None, as_json: bool) -> None:
    # Before anything is printed: what reads the table may close it early, as `head` does.
    said = _plot(found, plot) if plot is not None and found.schemes else None
    if as_json:
        out_json(found.to_dict())
    else:
        _print(found)
    for scheme, reason in found.failed.items():
        note(f"{scheme}: can't be used here: {reason}")
    if said is not None:
        note(said)


def _plot(found: "TokenizerReport", plot: Path) -> str:
    from vladata.errors import MissingExtraError
    from vladata.tokenizer_report.plot import write_plot

    try:
        write_plot(found, plot)
    except MissingExtraError as error:
        return f"note  {error}"
    return f"wrote {plot}"


def _print(found: "TokenizerReport") -> None:
    if not found.schemes:
        return
    loss = found.schemes[0].loss
    seconds = found.horizon / found.rate_hz
    kind = "held out" if loss.is_held_out else "no other split: the codecs saw them"
    out(f"{found.source} · chunks of {found.horizon} steps at {found.rate_hz:g} Hz ({seconds:.3g} s)")
    out(f"fitted on  {found.fit_chunks:,} chunks of {found.fit_split} · normalization {found.normalization}")
    out(f"measured   {loss.chunks:,} of {loss.of_chunks:,} chunks of {', '.join(loss.splits)} ({kind})")
    out()
    head = ["scheme", "of codes", "mean", "p99", "max", "codes/s"]
    head += [] if found.max_tokens is None else [f"over {found.max_tokens}"]
    head += ["rmse %", "p99 %", "max %", "clipped", "encode/s", "decode/s"]
    rows = [_scheme_cells(s) for s in found.schemes]
    for line in table(rows, head, frozenset(range(1, len(head)))):
        out(line)
    out("mean, p99, max: codes per chunk; errors in % of half the range; speed in chunks per second of one core")
    out()
    head = ["dimension", "unit", "scheme", "rmse", "p99", "max", "codec rmse", "codec max", "rmse %", "clipped"]
    for line in table(_dimension_rows(found), head, frozenset(range(3, len(head)))):
        out(line)
    out("in the dimension's unit; codec: without what the normalization clips")


def _scheme_cells(scheme: "SchemeReport") -> list[str]:
    loss = scheme.loss
    return [
        scheme.scheme,
        f"{scheme.num_codes:,}",
        f"{loss.tokens_mean:.1f}",
        f"{loss.tokens_p99:g}",
        f"{loss.tokens_max}",
        f"{loss.tokens_per_second:.1f}",
        *([] if scheme.over_limit is None else [f"{scheme.over_limit:,}"]),
        *(f"{100 * v:.3g}" for v in (loss.rmse, loss.p99, loss.max)),
        f"{loss.clipped:.2%}",
        *(_short(v) for v in (scheme.encoded_per_s, scheme.decoded_per_s)),
    ]


def _dimension_rows(found: "TokenizerReport") -> list[list[str]]:
    rows = []
    for place, dimension in enumerate(found.schemes[0].loss.dimensions):
        for number, scheme in enumerate(found.schemes):
            d = scheme.loss.dimensions[place]
            rows.append(
                [
                    "" if number else dimension.name,
                    "" if number else dimension.unit,
                    scheme.scheme,
                    *(f"{v:.3g}" for v in (d.rmse, d.p99, d.max, d.codec_rmse, d.codec_max)),
                    f"{100 * d.share_rmse:.3g}",
                    f"{d.clipped:.2%}",
                ]
            )
    return rows


def _short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
