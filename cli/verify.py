"""`vladata verify`."""

from pathlib import Path
from typing import Annotated

import typer

from ._console import USAGE, VIOLATION, default_workers, fail, human_bytes, note, out, out_json, progress


def verify(
    folder: Annotated[Path, typer.Argument(help="A dataset, an export or a mixture.")],
    dataset: Annotated[
        Path | None, typer.Option(help="The dataset that an export was made from; default: where it was.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = default_workers(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Re-read everything: a dataset against its digests, an export or a mixture row by row against its source.

    Example: vladata verify dataset
    """
    from vladata.pipeline import is_export, is_mixture, verify_export, verify_mixture
    from vladata.pipeline import verify as verify_dataset
    from vladata.store.dataset import Dataset

    with progress("verify", "files") as show:
        if is_mixture(folder):
            if dataset is not None:
                fail("--dataset goes with an export; a mixture is compared with its parts, where they were", USAGE)
            result = verify_mixture(folder, num_workers=workers, progress=show)
        elif is_export(folder):
            result = verify_export(folder, dataset, num_workers=workers, progress=show)
        else:
            result = verify_dataset(Dataset.open(folder), num_workers=workers, progress=show)
    if as_json:
        out_json(
            {
                "files": result.num_files,
                "bytes": result.num_bytes,
                "rows": result.num_rows,
                "problems": list(result.problems),
                "notes": list(result.notes),
            }
        )
    else:
        for text in (*result.problems, *(f"note      {n}" for n in result.notes)):
            note(text)
        rows = f" · {result.num_rows:,} rows" if result.num_rows else ""
        verdict = f"{len(result.problems)} problems" if result.problems else "all as it was written"
        out(f"{folder}: {result.num_files} files{rows} · {human_bytes(result.num_bytes)} · {verdict}")
    if result.problems:
        raise typer.Exit(VIOLATION)
