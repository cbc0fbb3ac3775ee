"""An export as it lies in its folder: what it says of itself is enough to make tokens anew and to measure them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..action_tokenizer import ActionTokenizer
from ..actions.statistics import Statistics
from ..errors import ExportError, TokenizeError
from ..gate import inside
from ..text import printable
from ._files import FORMAT_VERSION
from ._folder import FORMAT, MANIFEST, TOKENIZER, UNFINISHED, hash_with_beats, read_json
from ._journal import has_journal
from ._prompts import Prompts, stored_prompts
from ._sample import ShardRows, is_shard, shard_rows

__all__ = ["Line", "StoredExport", "column_names", "open_export", "require_export", "shard_path", "whole"]

Line = Mapping[str, object]
"""What the manifest says of a file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredExport:
    """A whole export."""

    path: Path
    manifest: Mapping[str, object]
    lines: Sequence[Line]
    """Of the shards with action codes, in the order of the export: that of the splits, then of the shards."""
    tokenizer: ActionTokenizer
    statistics: Statistics
    """Of the targets of the first split."""
    state: Statistics | None
    """Of its states; None where rows have none."""
    prompts: Prompts
    first_split: str

    @property
    def shards(self) -> list[ShardRows]:
        """Those with action codes."""
        return shard_rows(self.lines)

    @property
    def shape(self) -> tuple[int, int]:
        """H and D."""
        return self.tokenizer.horizon, self.tokenizer.dims

    @property
    def options(self) -> dict[str, object]:
        """As its manifest names them."""
        options = self.manifest["options"]
        return dict(options) if isinstance(options, dict) else {}


def require_export(out: Path) -> None:
    """Raise where a folder is neither an export nor one that is being retokenized.

    Raises:
        ExportError: It is not.
    """
    manifest = read_json(out / MANIFEST)
    if manifest is not None and manifest.get("format") != FORMAT:
        if "parts" in manifest:
            raise ExportError(f"{out}: a mixture; must be an export: retokenize its parts, then mix them again")
        raise ExportError(f"{out}: no export; {MANIFEST} is of something else")
    if manifest is None and not has_journal(out):
        if (out / UNFINISHED).exists():
            raise ExportError(f"{out}: this export is not finished; run vladata export again, it goes on where it was")
        raise ExportError(f"{out}: no export; {MANIFEST} is missing or not one of vladata")


def open_export(out: Path) -> StoredExport:
    """Read what an export says of itself; every file but the shards is compared with its SHA-256.

    Raises:
        ExportError: The folder is no whole export, or a file was altered.
        TokenizeError: Its action tokenizer can't be used here.
    """
    if has_journal(out):
        raise ExportError(f"{out}: retokenizing was broken off; run it again, or with --undo to put the export back")
    require_export(out)
    manifest = read_json(out / MANIFEST) or {}
    if manifest.get("format") != FORMAT or manifest.get("format_version") != FORMAT_VERSION:
        found = f"{manifest.get('format')} {manifest.get('format_version')}"
        raise ExportError(f"{out}: {printable(found)!r}; must be {FORMAT} {FORMAT_VERSION}")
    files, options = manifest.get("files"), manifest.get("options")
    if not isinstance(files, list) or not all(isinstance(f, dict) for f in files) or not isinstance(options, dict):
        raise ExportError(f"{out}: {MANIFEST} is damaged")
    for line in files:
        if "unit" not in line and hash_with_beats(shard_path(out, line)) != (line.get("size"), line.get("sha256")):
            raise ExportError(f"{out}: {line.get('file')} differs from the manifest; it was altered, export again")
    tokenizer = ActionTokenizer.load(out / TOKENIZER)
    try:
        (stored,) = json.loads((out / "dataset_statistics.json").read_bytes()).values()
        count = int(stored["num_transitions"])
        statistics = _statistics(stored["action"], tokenizer.names, count)
        names = tuple(manifest["columns"]["state"])  # type: ignore[index]  # what is not there raises
        state = _statistics(stored["proprio"], names, count) if names else None
        order = [str(name) for name, _ in options["splits"]]
        lines = sorted((f for f in files if is_shard(f)), key=lambda f: (order.index(str(f.get("split"))), f["file"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError, TokenizeError) as error:
        raise ExportError(f"{out}: dataset_statistics.json or the options in {MANIFEST} are damaged") from error
    cameras = [str(c) for c in column_names(manifest, "cameras")]
    asked = manifest.get("prompt")
    prompts = stored_prompts(
        out, asked if isinstance(asked, dict) else {}, cameras, tokenizer, str(options.get("vocabulary"))
    )
    return StoredExport(
        path=out,
        manifest=manifest,
        lines=lines,
        tokenizer=tokenizer,
        statistics=statistics,
        state=state,
        prompts=prompts,
        first_split=order[0],
    )


def _statistics(figures: Mapping[str, Sequence[float]], names: tuple[str, ...], count: int) -> Statistics:
    fields = ("min", "max", "mean", "std", "q01", "q99")
    return Statistics(names=names, count=count, **{n: tuple(map(float, figures[n])) for n in fields})


def shard_path(out: Path, line: Line) -> Path:
    """Where a file of the manifest lies.

    Raises:
        ExportError: It is missing. GateError: The name leads out of the export.
    """
    path = inside(out, str(line.get("file")))
    if not path.is_file():
        raise ExportError(f"{out}: {printable(str(line.get('file')))} is missing; export again")
    return path


def whole(line: Line, key: str) -> int:
    """A count that the manifest gives.

    Raises:
        ExportError: It is none.
    """
    value = line.get(key)
    if not isinstance(value, int) or value < 0:
        raise ExportError(f"{MANIFEST}: {line.get('file')}: {key} is {value!r}; must be a whole number")
    return value


def column_names(manifest: Mapping[str, object], what: str) -> list[str]:
    """Names that the manifest lists: `action`, `state` or `cameras`.

    Raises:
        ExportError: They are missing.
    """
    columns = manifest.get("columns")
    names = columns.get(what) if isinstance(columns, dict) else None
    if not isinstance(names, list):
        raise ExportError(f"{MANIFEST} is damaged; columns.{what} must list names")
    return [str(n) for n in names]
