"""`vladata retokenize`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ._console import USAGE, default_workers, fail, human_bytes, note, out, out_json, progress
from ._tokens import CodecOption, codec_options

if TYPE_CHECKING:
    from vladata.exporters.huggingface import Retokenized, RetokenizePlan


def retokenize(
    export: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of an export.")],
    tokenizer: Annotated[str | None, typer.Option(help="A codec of docs/tokenizers.md.")] = None,
    bins: Annotated[int | None, typer.Option(help="Number of codes, where it can be chosen.")] = None,
    codec_option: Annotated[list[str] | None, CodecOption] = None,
    base_tokenizer: Annotated[Path | None, typer.Option(help="Folder with a tokenizer.json; adds LM ids.")] = None,
    vocabulary: Annotated[
        Literal["added", "tail", "text", "reserved"], typer.Option(help="How codes become LM ids.")
    ] = "added",
    reserved_pattern: Annotated[str | None, typer.Option(help="reserved: name of the tokens, {n} the number.")] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Template; default: the export's own.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Refuse if a row has more LM ids.")] = None,
    tail_skip: Annotated[int, typer.Option(help="tail: ids left alone at the end (OpenVLA 0, pi0 128).")] = 0,
    tail_reuse_added: Annotated[bool, typer.Option("--tail-reuse-added", help="tail: use added tokens again.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put back what a run that was broken off left.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = default_workers(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give an export another action tokenizer; its images are not rewritten.

    Example: vladata retokenize shards --tokenizer uniform_bins --bins 512
    """
    from vladata.exporters.huggingface import ExportOptions, plan_retokenize, undo_retokenize
    from vladata.exporters.huggingface import retokenize as run

    if undo:
        said = "put back as it was" if undo_retokenize(export) else "nothing to put back"
        out_json({"undone": said == "put back as it was"}) if as_json else out(f"{export}: {said}")
        return
    if tokenizer is None:
        fail("--tokenizer is missing; it must name a codec of docs/tokenizers.md", USAGE)
    chosen = codec_options(codec_option)
    options = ExportOptions(
        tokenizer=tokenizer,
        codec_options=chosen if bins is None else {**chosen, "num_codes": bins},
        base_tokenizer=base_tokenizer,
        vocabulary=vocabulary,
        reserved_pattern=reserved_pattern,
        prompt=prompt or "openvla",
        max_tokens=max_tokens,
        tail_skip=tail_skip,
        tail_reuse_added=tail_reuse_added,
    )
    if dry_run:
        plan = plan_retokenize(export, options, keep_prompt=prompt is None, workers=workers)
        out_json(plan.to_dict()) if as_json else _print_plan(plan)
        return
    with progress("retokenize", "shards") as show:
        result = run(export, options, keep_prompt=prompt is None, workers=workers, progress=show)
    if as_json:
        out_json(result.to_dict())
    else:
        _print(result, export)


def _print_plan(plan: "RetokenizePlan") -> None:
    out(f"{plan.old_scheme} -> {plan.scheme}: {plan.rows:,} rows in {plan.shards:,} shards")
    out(f"would read      {human_bytes(plan.bytes_to_read)}, once, for the SHA-256 of each shard")
    out(f"would write     about {human_bytes(plan.bytes_to_write)}")
    out(f"left alone      {human_bytes(plan.image_bytes)} of images")
    if plan.copied:
        out(f"would copy      {plan.copied:,} shards that other folders share, {human_bytes(plan.copied_bytes)} of it")
    out("nothing was written")


def _print(result: "Retokenized", export: Path) -> None:
    if result.was_undone:
        note("note      an earlier run was broken off; the export was put back first")
    out(f"{result.old_scheme} -> {result.scheme}: {result.rows:,} rows in {result.shards:,} shards")
    out(f"took       {result.seconds:.1f} s")
    out(f"read       {human_bytes(result.bytes_read)}")
    out(f"wrote      {human_bytes(result.bytes_written)}")
    out(f"left alone {human_bytes(result.image_bytes)} of images")
    if result.dead_bytes:
        note(f"note      {human_bytes(result.dead_bytes)} of the export's own tokens are kept, to go back to them")
    if result.copied:
        note(f"note      {result.copied:,} shards that other folders share were copied first")
    if result.dropped:
        needs = "" if result.has_ids else "; ids need --base-tokenizer"
        note(f"note      columns that are gone: {', '.join(result.dropped)}{needs}")
    clipped = [text for text in result.notes if text.endswith("are clipped when encoded")]
    for text in clipped[:3]:
        note(f"note      {text}")
    if len(clipped) > 3:
        note(f"note      {len(clipped) - 3} more dimensions with values that are clipped; README.md has all")
    out(f"{export}: action tokenizer {result.tokenizer_digest[:12]} · content {result.content_digest[:12]}")
