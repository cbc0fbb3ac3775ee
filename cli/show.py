"""`vladata show`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import note, out, out_json, table

if TYPE_CHECKING:
    from vladata.episode import Episode

SHEET_COLUMNS = 6


def show(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    episode: Annotated[str, typer.Argument(help="Number in the dataset's order, recording, or beginning of an id.")],
    contact_sheet: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Write an overview of the camera frames.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one episode: streams, steps, labels, where it comes from.

    Example: vladata show dataset 0 --contact-sheet frames.png
    """
    from vladata.report.facts import describe
    from vladata.store.dataset import Dataset

    found = Dataset.open(dataset).episode(episode)
    facts = describe(found)
    if as_json:
        out_json(facts)
    else:
        _print(found, facts)
    if contact_sheet is not None:
        _write_sheet(found, contact_sheet)
        note(f"wrote {contact_sheet}")


def _print(episode: "Episode", facts: dict[str, object]) -> None:
    from vladata.text import clip, printable

    out(f"episode      {episode.episode_id}")
    out(f"recording    {printable(str(facts['place']))} ({printable(str(facts['source']))})")
    out(f"embodiment   {episode.embodiment.name} version {episode.embodiment.version}")
    out(f"steps        {len(episode)} in {episode.duration_s:.2f} s")
    rows = facts["streams"]
    assert isinstance(rows, list)
    cells = [
        [str(r[k]) for k in ("name", "kind", "clock", "samples", "rate_hz", "age_p95_ms", "invalid")] for r in rows
    ]
    head = ["stream", "kind", "clock", "samples", "Hz", "age p95 ms", "invalid steps"]
    for line in table(cells, head, frozenset({3, 4, 5, 6})):
        out(printable(line))
    for instruction in episode.instructions:
        when = "" if instruction.time_ns is None else f" from {_seconds(episode, instruction.time_ns)} s"
        out(f"{instruction.kind:<12} {clip(printable(instruction.text), 60)}{when}")
    for outcome in episode.outcomes:
        reason = f": {printable(outcome.reason)}" if outcome.reason else ""
        value = "" if outcome.value is None else f" {outcome.value:g}"
        when = "" if outcome.time_ns is None else f" at {_seconds(episode, outcome.time_ns)} s"
        out(f"outcome      {outcome.kind}{value}{reason}{when}")
    for name, value in episode.metadata.items():
        out(f"{clip(printable(name), 12):<12} {clip(printable(value), 66)}")
    notes = episode.provenance.get("notes")
    for text in notes if isinstance(notes, list) else []:
        out(f"note         {clip(printable(str(text)), 200)}")


def _seconds(episode: "Episode", time_ns: int) -> str:
    return f"{(time_ns - int(episode.steps.time_ns[0])) / 1e9:.2f}"


def _write_sheet(episode: "Episode", path: Path) -> None:
    from vladata import images
    from vladata.errors import VladataError
    from vladata.store.writer import replace_file

    cameras = [n for n in episode.steps.images if (episode.steps.images[n] >= 0).any()]
    if not cameras:
        raise VladataError("the episode has no camera frames")
    tiles, labels = [], []
    for camera in cameras:
        frames = episode.steps.images[camera]
        for k in range(SHEET_COLUMNS):
            step = round(k * (len(episode) - 1) / (SHEET_COLUMNS - 1))
            if frames[step] >= 0:
                tiles.append(episode.frame(camera, int(frames[step])))
                labels.append(f"{camera} {_seconds(episode, int(episode.steps.time_ns[step]))} s")
    sheet = images.contact_sheet(tiles, labels, min(SHEET_COLUMNS, len(tiles)), 160)
    with replace_file(path) as temporary:
        temporary.write_bytes(images.encode_png(sheet))
