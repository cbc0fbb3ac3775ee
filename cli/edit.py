"""`vladata edit`: corrections beside the data, undone at will."""

import getpass
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import out, out_json, table

if TYPE_CHECKING:
    from vladata.store.dataset import Dataset

app = typer.Typer(no_args_is_help=True, help="Correct labels, trim or drop episodes; the files stay as they are.")

DatasetPath = Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset folder.")]
EpisodeName = Annotated[str, typer.Argument(metavar="EPISODE", help="Number, recording, or beginning of an id.")]
Author = Annotated[str, typer.Option(help="Who says so.", show_default="user name")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; write nothing.")]


def _author(author: str) -> str:
    try:
        return author or getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _append(dataset: "Dataset", edit: Mapping[str, object], author: str, what: str, dry_run: bool) -> None:
    from vladata.text import printable

    if dry_run:
        dataset.edits.preview(dict(edit), _author(author))
        out(f"would {printable(what)}; nothing was written")
        return
    made = dataset.edits.append(dict(edit), _author(author))
    out(f"edit {made.number}: {printable(what)} · undo: vladata edit undo {dataset.path} {made.number}")


@app.command()
def relabel(
    dataset: DatasetPath,
    episode: EpisodeName,
    instruction: Annotated[str, typer.Argument(help="The new instruction.")],
    author: Author = "",
    dry_run: DryRun = False,
) -> None:
    """Give an episode another instruction.

    Example: vladata edit relabel dataset 3 "put the cup on the shelf"
    """
    from vladata.store.dataset import Dataset

    opened = Dataset.open(dataset)
    entry = opened.find(episode)
    edit = {
        "action": "relabel",
        "recording_id": entry.recording_id,
        "text": instruction,
        "previous": entry.instruction,
    }
    what = f"relabel {entry.episode_id[:8]} from {entry.instruction!r} to {instruction!r}"
    _append(opened, edit, author, what, dry_run)


@app.command()
def mark(
    dataset: DatasetPath,
    episode: EpisodeName,
    kind: Annotated[str, typer.Argument(help="success, failure, reward, intervention, quality or segment.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    value: Annotated[float | None, typer.Option(help="The reward or grade.")] = None,
    start: Annotated[float | None, typer.Option(help="Seconds from the first step.")] = None,
    end: Annotated[float | None, typer.Option(help="Seconds from the first step.")] = None,
    author: Author = "",
    dry_run: DryRun = False,
) -> None:
    """Mark an outcome; success and failure replace what was said before.

    Example: vladata edit mark dataset 3 failure --reason "cube fell"
    """
    from vladata.store.dataset import Dataset

    opened = Dataset.open(dataset)
    entry = opened.find(episode)
    edit: dict[str, object] = {
        "action": "mark",
        "recording_id": entry.recording_id,
        "kind": kind,
        "reason": reason,
        "value": value,
        "previous": entry.outcome,
        **_times(opened, entry.episode_id, start, end),
    }
    _append(opened, edit, author, f"mark {entry.episode_id[:8]} as {kind}", dry_run)


@app.command()
def trim(
    dataset: DatasetPath,
    episode: EpisodeName,
    start: Annotated[float | None, typer.Option(help="Keep steps from here on; seconds from the first step.")] = None,
    end: Annotated[float | None, typer.Option(help="Cut steps from here on; seconds from the first step.")] = None,
    author: Author = "",
    dry_run: DryRun = False,
) -> None:
    """Cut steps off the beginning or the end.

    Example: vladata edit trim dataset 3 --start 0.8
    """
    from vladata.store.dataset import Dataset
    from vladata.store.edits import steps_between

    opened = Dataset.open(dataset)
    entry = opened.find(episode)
    times = _times(opened, entry.episode_id, start, end)
    edit = {"action": "trim", "recording_id": entry.recording_id, "previous": f"{entry.num_steps} steps", **times}
    first, stop = steps_between(opened.episode(entry), times.get("start_ns"), times.get("end_ns"))
    _append(
        opened, edit, author, f"trim {entry.episode_id[:8]} from {entry.num_steps} to {stop - first} steps", dry_run
    )


@app.command()
def drop(
    dataset: DatasetPath,
    episode: EpisodeName,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    author: Author = "",
    dry_run: DryRun = False,
) -> None:
    """Leave an episode out of everything; its file stays.

    Example: vladata edit drop dataset 3 --reason "camera was covered"
    """
    from vladata.store.dataset import Dataset

    opened = Dataset.open(dataset)
    entry = opened.find(episode)
    edit = {"action": "drop", "recording_id": entry.recording_id, "reason": reason, "previous": entry.place}
    _append(opened, edit, author, f"drop {entry.episode_id[:8]} ({entry.place})", dry_run)


@app.command()
def quarantine(
    dataset: DatasetPath,
    episode: EpisodeName,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    author: Author = "",
    dry_run: DryRun = False,
) -> None:
    """Mark an episode as one with errors; exports leave it out until the mark is undone.

    Example: vladata edit quarantine dataset 3 --reason "gripper slips"
    """
    from vladata.store.dataset import Dataset

    opened = Dataset.open(dataset)
    entry = opened.find(episode)
    edit = {"action": "quarantine", "recording_id": entry.recording_id, "reason": reason}
    _append(opened, edit, author, f"quarantine {entry.episode_id[:8]} ({entry.place})", dry_run)


@app.command()
def undo(
    dataset: DatasetPath,
    number: Annotated[int, typer.Argument(help="Number of the edit, as `vladata edit log` shows it.")],
    author: Author = "",
    dry_run: DryRun = False,
) -> None:
    """Take an edit back.

    Example: vladata edit undo dataset 1
    """
    from vladata.store.dataset import Dataset

    _append(Dataset.open(dataset), {"action": "undo", "undoes": number}, author, f"undo edit {number}", dry_run)


@app.command()
def log(
    dataset: DatasetPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List all edits.

    Example: vladata edit log dataset
    """
    from vladata.store.dataset import Dataset
    from vladata.text import clip, printable

    opened = Dataset.open(dataset)
    if as_json:
        out_json([e.model_dump(mode="json") for e in opened.edits.edits])
        return
    counting = {e.number for e in opened.edits.effective}
    places = {e.recording_id: e.place for e in opened.all_entries}
    rows = [
        [
            str(e.number),
            e.action,
            clip(printable(places.get(e.recording_id, "")), 28) or (f"edit {e.undoes}" if e.undoes else "-"),
            clip(printable(e.text or e.kind or e.reason or e.previous), 32),
            clip(printable(e.author), 12),
            e.time[:16],
            "yes" if e.number in counting or e.action == "undo" else "undone",
        ]
        for e in opened.edits.edits
    ]
    for line in table(rows, ["#", "edit", "recording", "what", "author", "time", "counts"]):
        out(line)


def _times(dataset: "Dataset", episode_id: str, start: float | None, end: float | None) -> dict[str, int | None]:
    """Seconds from the first step, as nanoseconds of the episode's clock."""
    if start is None and end is None:
        return {}
    first = int(dataset.episode(episode_id).steps.time_ns[0])
    return {
        name: first + round(seconds * 1e9)
        for name, seconds in (("start_ns", start), ("end_ns", end))
        if seconds is not None
    }
