"""`vladata ls`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ._console import human_bytes, out, out_json, table


def ls(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    dropped: Annotated[bool, typer.Option("--dropped", help="List episodes that an edit dropped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the episodes of a dataset.

    Example: vladata ls dataset
    """
    from vladata.store.dataset import Dataset
    from vladata.text import clip, printable

    opened = Dataset.open(dataset)
    entries = opened.dropped if dropped else opened.entries
    if as_json:
        quarantined = opened.quarantined
        out_json([{**dataclasses.asdict(e), "in_quarantine": e.recording_id in quarantined} for e in entries])
        return
    rows = [
        [
            str(i),
            e.episode_id[:8],
            clip(printable(e.place), 24) if len(e.place) <= 24 else "…" + printable(e.place)[-23:],
            str(e.num_steps),
            f"{e.duration_s:.1f}",
            e.outcome or "-",
            clip(printable(e.instruction) or "-", 28),
        ]
        for i, e in enumerate(entries)
    ]
    right = frozenset({0, 3, 4})
    for line in table(rows, ["#", "id", "recording", "steps", "s", "outcome", "instruction"], right):
        out(line)
    total = sum(e.num_bytes for e in entries)
    hidden = f", {len(opened.dropped)} dropped" if opened.dropped and not dropped else ""
    marked = sum(e.recording_id in opened.quarantined for e in entries)
    hidden += f", {marked} in quarantine (vladata edit log)" if marked else ""
    out(f"{len(entries)} episodes{hidden} · {sum(e.num_steps for e in entries):,} steps · {human_bytes(total)}")
