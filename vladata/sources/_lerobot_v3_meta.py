"""The `meta` folder of a LeRobot v3 dataset: tables of many episodes, and where the rows and videos of each are."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import GateError, SourceError
from ..gate import inside
from ..text import clip, printable
from ._lerobot_dataset import VideoPlace
from ._lerobot_info import Info, Stamp, episode_name, read_info, stamp_of
from ._lerobot_parquet import ParquetRows
from ._lerobot_rows import RowPart
from ._lerobot_texts import read_texts
from ._lerobot_v3_tables import (
    EPISODES,
    MAX_EPISODES,
    EpisodeTable,
    episode_runs,
    is_number,
    numbered,
    read_table,
    whole,
)

__all__ = ["EPISODES", "VERSIONS", "Meta3", "read_meta"]

Int64Array = NDArray[np.int64]

VERSIONS = ("v3.0", "v3.1")

_TEMPLATES = (
    "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
)
_FILE = re.compile(r"file-(\d{1,9})\.parquet")
_CHUNK = re.compile(r"chunk-(\d{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _VideoTable:
    """Which part of which file is each episode's video, for one camera."""

    chunk: Int64Array
    file: Int64Array
    begin_s: NDArray[np.float64]
    length: Int64Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Meta3:
    """What the meta folder declares; satisfies `Dataset`."""

    info: Info
    tasks: Mapping[int, str]
    subtasks: Mapping[int, str]
    episodes: Sequence[EpisodeTable]
    rows_of: Mapping[int, tuple[int, int]]
    """Table and row by episode."""
    damaged: tuple[str, ...]
    """Files of the table of episodes that can't be read, and why."""
    problems: tuple[str, ...]
    source: str = "lerobot_v3"
    tables: tuple[str, str] = (EPISODES, "meta/tasks.parquet")
    _videos: dict[str, _VideoTable] = field(default_factory=dict)

    def sizes(self) -> dict[int, int]:
        """Episodes in the table, and their parts of their files' bytes.

        Where a part of the table can't be read, also those that info.json counts.
        """
        counted = self.info.totals.get("total_episodes", 0) if self.damaged else 0
        if counted > MAX_EPISODES:
            raise GateError(f"{self.info.root.name}: {counted:,} episodes; must have at most {MAX_EPISODES:,}")
        length = np.maximum(whole(self._column("length")), 0)
        total = np.zeros(len(length))
        for prefix in ("data", *(f"videos/{key}" for key in self.info.videos)):
            total += self._shares(prefix, length)
        found = dict.fromkeys(range(counted), 0)
        starts = np.cumsum([0, *(t.count for t in self.episodes)])
        found.update({e: int(total[starts[table] + row]) for e, (table, row) in self.rows_of.items()})
        return dict(sorted(found.items()))

    def _shares(self, prefix: str, length: Int64Array) -> NDArray[np.float64]:
        """Bytes of each row of the table in the files of one kind, in proportion to the frames."""
        files = np.stack([whole(self._column(f"{prefix}/{n}")) for n in ("chunk_index", "file_index")], axis=1)
        found, place = np.unique(files, axis=0, return_inverse=True)
        place = place.ravel()
        frames = np.bincount(place, weights=length, minlength=len(found))
        sizes = np.zeros(len(found))
        for k, (chunk, file) in enumerate(found.tolist()):
            workers.beat()
            if chunk >= 0 and file >= 0:
                values = self._values(chunk, file, 0)
                template = self.info.data_path if prefix == "data" else self.info.video_path
                name = self.info.name_of(template, {**values, "video_key": prefix.partition("/")[2] or "-"})
                sizes[k] = self.info.size_of(name)
        shares: NDArray[np.float64] = sizes[place] * length / np.maximum(frames[place], 1)
        return shares

    def is_declared(self, episode: int) -> bool:
        """Whether the table of episodes has it."""
        return episode in self.rows_of

    def fact(self, episode: int, name: str) -> object:
        """What the table of episodes says under a name; None where nothing."""
        if episode not in self.rows_of:
            return None
        table, row = self.rows_of[episode]
        column = self.episodes[table].columns.get(name)
        if column is None:
            return None
        try:
            value: object = column[row].as_py()
        except UnicodeDecodeError as error:
            raise SourceError(f"{self.episodes[table].name}: {printable(name)} has a text that is not UTF-8") from error
        return value

    def _number(self, episode: int, name: str) -> int:
        value = self.fact(episode, name)
        if isinstance(value, float) and value.is_integer():  # pandas makes them floats where one is missing
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
            self._require(episode)
            shown = clip(printable(repr(value)), 40)
            raise SourceError(f"{EPISODES}: {printable(name)} of {episode_name(episode)} is {shown}; must be a number")
        return value

    def _require(self, episode: int) -> None:
        if episode not in self.rows_of:
            reason = f"; {self.damaged[0]}" if self.damaged else ""
            raise SourceError(f"{episode_name(episode)} is in no table under {EPISODES} that can be read{reason}")

    def data_name(self, episode: int) -> str:
        """Name of the (first) file that its rows are in.

        Raises:
            SourceError: The table of episodes does not say it.
            GateError: It leaves the dataset.
        """
        return self._data_name(*self._data(episode), episode)

    def _data(self, episode: int) -> tuple[int, int]:
        return self._number(episode, "data/chunk_index"), self._number(episode, "data/file_index")

    def _data_name(self, chunk: int, file: int, episode: int) -> str:
        return self.info.name_of(self.info.data_path, self._values(chunk, file, episode))

    def _values(self, chunk: int, file: int, episode: int) -> dict[str, int | str]:
        return {
            "chunk_index": chunk,
            "file_index": file,
            "episode_index": episode,
            "episode_chunk": episode // self.info.chunks_size,
        }

    def rows(self, episode: int) -> list[RowPart]:
        """Where its rows are: in the declared file, and in the next ones where they go on there.

        Raises:
            SourceError: A file is missing or damaged, or has no row of it.
        """
        chunk, file = self._data(episode)
        first = self._part(chunk, file, episode)
        if first is None:
            name = self._data_name(chunk, file, episode)
            raise SourceError(f"{name} has no row of {episode_name(episode)}, which {EPISODES} places there")
        parts = [first[0]]
        wanted = self.fact(episode, "length")
        missing = wanted - first[1] if isinstance(wanted, int) else 0
        at_end = first[2]
        while missing > 0 and at_end:
            following = next(((c, f) for c, f in ((chunk, file + 1), (chunk + 1, 0)) if self._is_there(c, f)), None)
            found = self._part(*following, episode) if following else None
            if found is None or following is None:
                break
            (chunk, file), at_end = following, found[2]
            parts.append(found[0])
            missing -= found[1]
        return parts

    def _is_there(self, chunk: int, file: int) -> bool:
        return self.info.is_file(self._data_name(chunk, file, 0))

    def _part(self, chunk: int, file: int, episode: int) -> tuple[RowPart, int, bool] | None:
        """The rows of an episode in a file, how many they are, and whether they go to its end."""
        name = self._data_name(chunk, file, episode)
        path = self.info.file(name)
        runs, total = episode_runs(self.info.root, name, stamp_of(self.info.root, name))
        found = runs.get(episode)
        if found is None:
            return None
        count = sum(stop - start for start, stop in found)
        return RowPart(path=path, name=name, runs=found), count, found[-1][1] == total

    def video(self, episode: int, key: str) -> VideoPlace:
        """Where a camera's video is; the file need not be there.

        Raises:
            SourceError: The table of episodes does not say it.
        """
        prefix = f"videos/{key}"
        chunk, file = (self._number(episode, f"{prefix}/{part}") for part in ("chunk_index", "file_index"))
        name = self.info.name_of(self.info.video_path, {**self._values(chunk, file, episode), "video_key": key})
        begin, end = (self.fact(episode, f"{prefix}/{part}") for part in ("from_timestamp", "to_timestamp"))
        if not isinstance(begin, int | float) or not np.isfinite(begin) or not 0 <= begin < 1e9:
            shown = clip(printable(repr(begin)), 40)
            raise SourceError(
                f"{EPISODES}: {printable(prefix)}/from_timestamp of {episode_name(episode)} is {shown}; "
                "must be seconds inside the video"
            )
        return VideoPlace(
            name=name,
            begin_s=float(begin),
            end_s=float(end) if isinstance(end, int | float) and np.isfinite(end) else None,
        )

    def frame_counts(self, episode: int, key: str) -> tuple[int, int, int]:
        """Frames of the episodes that are listed before this one in its video file, its own, and of all of them."""
        table = self._video_table(key)
        place, row = self.rows_of[episode]
        mine = sum(t.count for t in self.episodes[:place]) + row
        same = (table.chunk == table.chunk[mine]) & (table.file == table.file[mine])
        before = same & (table.begin_s < table.begin_s[mine])
        return int(table.length[before].sum()), int(table.length[mine]), int(table.length[same].sum())

    def _video_table(self, key: str) -> _VideoTable:
        if key not in self._videos:
            names = [f"videos/{key}/{n}" for n in ("chunk_index", "file_index", "from_timestamp")]
            chunk, file, begin, length = (self._column(n) for n in (*names, "length"))
            self._videos[key] = _VideoTable(
                chunk=whole(chunk), file=whole(file), begin_s=begin, length=np.maximum(whole(length), 0)
            )
        return self._videos[key]

    def _column(self, name: str) -> NDArray[np.float64]:
        """A column of numbers over all tables; NaN where there is none."""
        found = []
        for table in self.episodes:
            column = table.columns.get(name)
            if column is None or not is_number(column):
                found.append(np.full(table.count, np.nan))
            else:
                found.append(np.asarray(column.cast("double", safe=False).to_numpy(zero_copy_only=False)))
        return np.concatenate([np.zeros(0), *found])


def read_meta(root: Path) -> Meta3:
    """Read the meta folder, once for many episodes.

    Raises:
        SourceError: A file is missing or damaged, or the version is another.
        GateError: A file is too large or leaves the folder.
    """
    names = [n for _, n in _episode_files(root)]
    tables = ("info.json", "modality.json", "tasks.parquet", "tasks.jsonl", "subtasks.parquet")
    stamps = tuple((n, stamp_of(root, n)) for n in (*(f"meta/{t}" for t in tables), *names))
    return _read_meta(root, stamps)


def _episode_files(root: Path) -> list[tuple[tuple[int, int], str]]:
    """Files of the table of episodes, in the order of their numbers."""
    top = inside(root, EPISODES)
    found = []
    for folder, _, names in os.walk(top):
        place = Path(folder).relative_to(root).as_posix()
        chunk = _CHUNK.fullmatch(place.rpartition("/")[2])
        for name in names:
            file = _FILE.fullmatch(name)
            if chunk and file and place == f"{EPISODES}/{chunk[0]}":
                found.append(((int(chunk[1]), int(file[1])), f"{place}/{name}"))
        if len(found) > MAX_EPISODES:
            raise GateError(f"{root.name}: more than {MAX_EPISODES:,} files under {EPISODES}")
    return sorted(found)


@lru_cache(maxsize=2)
def _read_meta(root: Path, stamps: tuple[tuple[str, Stamp], ...]) -> Meta3:
    del stamps  # a part of the cache's key: changed files are read again
    info = read_info(root, major=3, known=VERSIONS, templates=_TEMPLATES)
    tables, damaged = [], []
    for _, name in _episode_files(root):
        workers.beat()
        try:
            tables.append(read_table(info, name))
        except SourceError as error:
            damaged.append(str(error))
    if not tables:
        raise SourceError(damaged[0] if damaged else f"{EPISODES} has no table of episodes; {_data_reason(info)}")
    rows_of, problems = numbered(tables)
    if damaged:
        problems = [*damaged, *problems]
    return Meta3(
        info=info,
        tasks=read_texts(root, "tasks"),
        subtasks=read_texts(root, "subtasks"),
        episodes=tables,
        rows_of=rows_of,
        damaged=tuple(damaged),
        problems=(*info.problems, *problems),
    )


def _data_reason(info: Info) -> str:
    """Why there may be no table of episodes: what the first data file is like."""
    values = {"chunk_index": 0, "file_index": 0, "episode_index": 0, "episode_chunk": 0}
    try:
        name = info.name_of(info.data_path, values)
        ParquetRows(info.file(name), name).close()
    except SourceError as error:
        return str(error)
    return "the writer did not finish"
