"""`vladata resync`."""

from pathlib import Path
from typing import Annotated

import typer

from ._console import FAILED, LOSSY, default_workers, fail, human_bytes, note, out, out_json, progress


def resync(
    dataset: Annotated[Path, typer.Argument(help="A dataset of episodes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DATASET", help="The new dataset.")],
    schema: Annotated[
        str | None, typer.Option("--schema", "-s", help="Schema with another rate or other rules.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="Mapping with other clocks, offsets or sync rules.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = default_workers(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Synchronize the episodes of a dataset anew into another; the recordings are not needed.

    Streams and stamps stay as recorded, the steps are made again: at another rate, with another clock, latency or
    offset, or with none of these. Edits go along.

    Example: vladata resync dataset --mapping later.yaml -o dataset_10hz
    """
    from vladata.mapping import load_mapping, load_schema
    from vladata.resync import ResyncOptions
    from vladata.resync import resync as run
    from vladata.store.dataset import Dataset
    from vladata.text import printable

    opened = Dataset.open(dataset)
    embodiment = load_schema(schema).embodiment if schema else None
    if mapping is not None and embodiment is None:
        embodiments = {e.embodiment_digest: e for e in opened.all_entries}
        if len(embodiments) != 1:
            fail(f"{dataset} has {len(embodiments)} embodiments; name the schema of the mapping", FAILED)
        embodiment = next(iter(opened)).embodiment
    options = ResyncOptions(
        embodiment=embodiment, mapping=load_mapping(mapping, embodiment) if mapping and embodiment else None
    )
    if dry_run:
        out(f"{len(opened.all_entries)} episodes to synchronize; nothing was written")
        return
    with progress("resync", "episodes") as report:
        result = run(opened, output, options, num_workers=workers, progress=report)
    new = sum(c.is_new for c in result.committed)
    if as_json:
        out_json(
            {
                "episodes": [
                    {"episode_id": c.entry.episode_id, "place": c.entry.place, "is_new": c.is_new}
                    for c in result.committed
                ],
                "rejected": [{"place": place, "reason": reason} for place, reason in result.rejected],
            }
        )
    for place, reason in result.rejected:
        note(f"rejected  {printable(reason if place in reason else f'{place}: {reason}')}")
    if not result.committed:
        fail("nothing was synchronized", FAILED)
    if not as_json:
        size = sum(c.entry.num_bytes for c in result.committed)
        steps = sum(c.entry.num_steps for c in result.committed)
        there = len(result.committed) - new
        out(
            f"{output}: {new} new episodes"
            + (f", {there} already there" if there else "")
            + (f", {len(result.rejected)} rejected" if result.rejected else "")
            + f" · {steps:,} steps · {human_bytes(size)}"
        )
    if result.rejected:
        raise typer.Exit(LOSSY)
