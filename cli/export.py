"""`vladata export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ._console import LOSSY, USAGE, default_workers, fail, given, human_bytes, note, out, out_json, progress, table
from ._tokens import CodecOption, codec_options

if TYPE_CHECKING:
    from vladata.exporters.huggingface import ExportOptions, ExportResult, Plan


SELECT = "Only episodes of which this holds, for instance 'success and task ~ \"cup\"' (docs/recipe.md)."
CLIPPED = "are clipped when encoded"
SHOWN_CLIPPED = 3


def export(
    context: typer.Context,
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder of the export.")],
    recipe: Annotated[
        Path | None, typer.Option(metavar="YAML", help="A recipe; options that are given here go before it.")
    ] = None,
    select: Annotated[str | None, typer.Option(metavar="TEXT", help=SELECT)] = None,
    tokenizer: Annotated[str, typer.Option(help="A codec of docs/tokenizers.md.")] = "fast_safe",
    bins: Annotated[int | None, typer.Option(help="Number of codes, where it can be chosen.")] = None,
    codec_option: Annotated[list[str] | None, CodecOption] = None,
    horizon: Annotated[int | None, typer.Option(help="Actions per chunk.")] = None,
    horizon_s: Annotated[
        float | None, typer.Option(help="The same in seconds; default: 1, where --horizon is not given.")
    ] = None,
    representation: Annotated[
        Literal["recorded", "absolute", "delta", "chunk_relative"], typer.Option(help="What chunks hold.")
    ] = "recorded",
    normalization: Annotated[
        Literal["quantile", "min_max", "mean_std", "none"], typer.Option(help="quantile: q01 to q99.")
    ] = "quantile",
    chunk_end: Annotated[Literal["pad", "drop"], typer.Option(help="At an episode's end.")] = "pad",
    image_size: Annotated[str | None, typer.Option(metavar="HxW", help="Resize; default: pass through.")] = None,
    resize: Annotated[Literal["letterbox", "stretch"], typer.Option(help="How images get to the size.")] = "letterbox",
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SHARE", help="Default: train=0.9, validation=0.1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    base_tokenizer: Annotated[Path | None, typer.Option(help="Folder with a tokenizer.json; adds LM ids.")] = None,
    vocabulary: Annotated[
        Literal["added", "tail", "text", "reserved"], typer.Option(help="How codes become LM ids.")
    ] = "added",
    reserved_pattern: Annotated[str | None, typer.Option(help="reserved: name of the tokens, {n} the number.")] = None,
    prompt: Annotated[str, typer.Option(metavar="NAME|FILE", help="Template; vladata prompts list.")] = "openvla",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Refuse the export if a row has more LM ids.")] = None,
    tail_skip: Annotated[int, typer.Option(help="tail: ids left alone at the end (OpenVLA 0, pi0 128).")] = 0,
    tail_reuse_added: Annotated[bool, typer.Option("--tail-reuse-added", help="tail: use added tokens again.")] = False,
    outcome: Annotated[list[str] | None, typer.Option(help="Only episodes of this outcome.")] = None,
    configs: Annotated[
        str, typer.Option(metavar="NAMES", help="executor, and planner and vqa beside it (docs/configs.md).")
    ] = "executor",
    quarantined: Annotated[
        Literal["leave_out", "include"], typer.Option(help="Episodes that are marked as ones with errors.")
    ] = "leave_out",
    shard_mb: Annotated[int, typer.Option(min=1, help="Target size of a shard.")] = 500,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = default_workers(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write an action-tokenized Hugging Face dataset.

    A recipe says all of it in one file; options that are given on the command line go before what it says.

    Example: vladata export dataset -o shards --horizon-s 0.8
    """
    from vladata.exporters.huggingface import export as run
    from vladata.exporters.huggingface import plan as make_plan
    from vladata.pipeline import dataset_of

    values = {
        "select": select,
        "tokenizer": tokenizer,
        "bins": bins,
        "codec_option": codec_option,
        "horizon": horizon,
        "horizon_s": horizon_s,
        "representation": representation,
        "normalization": normalization,
        "chunk_end": chunk_end,
        "image_size": _size(image_size),
        "resize": resize,
        "split": _splits(split or []),
        "seed": seed,
        "base_tokenizer": base_tokenizer,
        "vocabulary": vocabulary,
        "reserved_pattern": reserved_pattern,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "tail_skip": tail_skip,
        "tail_reuse_added": tail_reuse_added,
        "outcome": tuple(outcome or ()),
        "quarantined": quarantined,
        "shard_mb": shard_mb * 1_000_000,
    }
    options = _options(recipe, {name: values[name] for name in given(context) if name in values})
    if "configs" in given(context):
        options = _with_configs(options, configs)
    opened = dataset_of(dataset)
    if dry_run:
        with progress("export", "units") as show:
            planned = make_plan(opened, options, workers=workers, progress=show)
        _print_plan(planned, as_json)
        return
    with progress("export", "units") as show:
        result = run(opened, output, options, workers=workers, progress=show)
    if as_json:
        out_json(result.to_dict())
    else:
        _print(result, output)
    if result.is_lossy:
        raise typer.Exit(LOSSY)


_FIELDS = {"outcome": "outcomes", "split": "splits", "shard_mb": "shard_bytes"}
"""Fields of the options by parameters of the command that are named otherwise."""


def _options(recipe: Path | None, values: dict[str, Any]) -> "ExportOptions":
    """The options of a recipe, or the defaults, with what was given on the command line before them."""
    from vladata.exporters.huggingface import ExportOptions, read_recipe

    if "horizon" in values and "horizon_s" in values:
        fail("--horizon and --horizon-s are both given; only one of them must be", USAGE)
    base = ExportOptions() if recipe is None else read_recipe(recipe)
    if "horizon" in values:
        values["horizon_s"] = None
    elif "horizon_s" in values:
        values["horizon"] = None
    is_another = values.get("tokenizer", base.tokenizer) != base.tokenizer  # whose options are not the recipe's
    chosen = {"num_codes": values.pop("bins")} if "bins" in values else {}
    chosen |= codec_options(values.pop("codec_option", None))
    if chosen or is_another:
        values["codec_options"] = {**({} if is_another else base.codec_options), **chosen}
    return base.changed({_FIELDS.get(name, name): value for name, value in values.items()})


def _with_configs(options: "ExportOptions", names: str) -> "ExportOptions":
    """Options for the named configs: as the recipe has them, or with their defaults."""
    from vladata.exporters.huggingface import PlannerOptions, VqaOptions

    asked = [name.strip() for name in names.split(",")]
    unknown = next((name for name in asked if name not in {"executor", "planner", "vqa"}), None)
    if unknown is not None:
        fail(f"--configs has {unknown!r}; it must be executor, planner, vqa, or several with commas", USAGE)
    return options.changed(
        {
            "planner": (options.planner or PlannerOptions()) if "planner" in asked else None,
            "vqa": (options.vqa or VqaOptions()) if "vqa" in asked else None,
        }
    )


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, sign, width = text.lower().partition("x")
    if not (height.isdecimal() and (not sign or width.isdecimal())):
        fail(f"--image-size is {text!r}; it must be HEIGHTxWIDTH, for instance 224x224", USAGE)
    return int(height), int(width) if sign else int(height)


def _splits(pairs: list[str]) -> dict[str, float]:
    shares = {}
    for pair in pairs:
        name, _, share = pair.partition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            fail(f"--split {pair!r}; it must be NAME=SHARE, for instance train=0.9", USAGE)
    return shares


def _print_plan(plan: "Plan", as_json: bool) -> None:
    if as_json:
        out_json(plan.to_dict())
        return
    for line in plan.lines():
        out(line)
    out("nothing was written")


def _print(result: "ExportResult", output: Path) -> None:
    rows = [
        [n, f"{s.episodes:,}", f"{s.rows:,}", str(s.shards), human_bytes(s.bytes)] for n, s in result.splits.items()
    ]
    for line in table(rows, ["split", "episodes", "rows", "shards", "size"], frozenset({1, 2, 3, 4})):
        out(line)
    others = [
        [config, n, f"{s.episodes:,}", f"{s.rows:,}", str(s.shards), human_bytes(s.bytes)]
        for config, splits in result.configs.items()
        if config != "executor"
        for n, s in splits.items()
    ]
    header = ["config", "split", "episodes", "rows", "shards", "size"]
    for line in table(others, header, frozenset({2, 3, 4, 5})) if others else ():
        out(line)
    for name, mixed in result.mixed.items():
        parts = [f"{s}: {m['rows']:,} of {m['wanted']:,} rows" for s, m in mixed.items()]
        note(f"mixed     {name}: {', '.join(parts)}")
    if result.quarantined:
        noun = "episode is" if result.quarantined == 1 else "episodes are"
        note(f"refused   {result.quarantined:,} {noun} in quarantine; README.md names them")
    for reason, count in result.refused.items():
        note(f"refused   {count:,} steps: {reason}")
    # What sources said at ingest stands on the card; so do the dimensions that the lines of one kind end with.
    said = [text for text in result.notes if not text.startswith("source, ")]
    clipped = [text for text in said if text.endswith(CLIPPED)]
    for text in [t for t in said if t not in clipped] + clipped[:SHOWN_CLIPPED]:
        note(f"note      {text}")
    if len(clipped) > SHOWN_CLIPPED:
        note(
            f"note      {len(clipped) - SHOWN_CLIPPED} more dimensions with values that are clipped; README.md has all"
        )
    out(f"{output}: action tokenizer {result.tokenizer_digest[:12]} · content {result.content_digest[:12]}")
