"""Where a validation keeps what it found: one line for each episode in a file of its own, read back when asked for.

The file lies in the user's cache folder, not in the dataset: a dataset that came from strangers can't bring results
along. It is removed when the validation is complete; what an interrupted one leaves is taken up by the next.
"""

import base64
import contextlib
import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import tempfile
import time
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .checks import EpisodeFacts
from .finding import Finding, Severity

__all__ = ["Journal", "Line", "cache_folder", "encode_line"]

NOT_FINAL = b"-"
"""In place of a key."""
KEEP_DAYS = 30
"""Journals of interrupted runs that nobody went on with are removed after so many days."""


class Line(NamedTuple):
    """What is kept of one episode."""

    num_findings: int
    findings: bytes
    """JSON, without line breaks or tabs."""
    facts: bytes


class _Place(NamedTuple):
    start: int
    num_findings: int
    findings_bytes: int
    facts_bytes: int


def cache_folder() -> Path | None:
    """The user's folder for what can be made again; None where the user has none."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if Path(named).is_absolute():  # as the specification wants it
        return Path(named) / "vladata"
    try:
        return Path.home() / ".cache" / "vladata"
    except RuntimeError:
        return None


def encode_line(findings: Sequence[Finding], facts: EpisodeFacts) -> Line:
    """Write what is known of an episode."""
    plain = [{k: v for k, v in _plain(f).items() if v != _DEFAULTS.get(k)} for f in findings]
    known = {f.name: getattr(facts, f.name) for f in dataclasses.fields(facts)}
    known["metadata"] = {str(k): str(v) for k, v in facts.metadata.items()}
    known["rules"] = {k: dict(v) for k, v in facts.rules.items()}
    known["features"] = {name: _encode_array(values) for name, values in facts.features.items()}
    return Line(len(findings), _json(plain), _json(known))


def _plain(finding: Finding) -> dict[str, object]:
    values = {f.name: getattr(finding, f.name) for f in dataclasses.fields(finding)}
    return {**values, "severity": int(finding.severity), "magnitude": _number(finding.magnitude)}


def _number(value: float) -> float | str:
    """JSON has no infinity and no NaN."""
    return float(value) if np.isfinite(value) else str(float(value))


def _json(value: object) -> bytes:
    # ASCII: lone surrogates out of file names are escaped, and so are tabs and line breaks.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


_DEFAULTS = _plain(Finding(message=""))


def _encode_array(values: NDArray[np.generic]) -> list[object]:
    array = np.ascontiguousarray(values)
    return [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]


class _Features(Mapping[str, NDArray[np.generic]]):
    """Arrays that are decoded when they are asked for."""

    def __init__(self, encoded: Mapping[str, list[object]]) -> None:
        self._encoded = encoded

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        dtype, shape, data = self._encoded[name]
        assert isinstance(shape, list)
        array = np.frombuffer(base64.b64decode(str(data)), dtype=np.dtype(str(dtype)))
        return array.reshape([int(n) for n in shape])

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)


def _check(*parts: bytes) -> bytes:
    """Check sum of a line: a power failure may leave a file with holes."""
    return b"%08x" % zlib.crc32(b" ".join(parts))


class Journal:
    """The lines of one validation, in the order in which they came."""

    def __init__(self, fd: int, path: Path | None) -> None:
        """Use `Journal.open`."""
        self._fd, self._path = fd, path
        self._places: dict[bytes, _Place] = {}
        self._end = 0

    @classmethod
    def open(cls, what: str) -> "Journal":
        """Open the journal of what is validated, with the lines of a run that was interrupted.

        Where there is no cache folder, or another process is at the same work, the lines lie in a temporary file that
        nobody can go on with.

        Args:
            what: Names dataset and checks; equal texts share a journal.
        """
        folder = cache_folder()
        name = f"{hashlib.sha256(what.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.journal"
        path = None if folder is None else folder / "validate" / name
        fd = None if path is None else _locked(path)
        if fd is None:
            with tempfile.TemporaryFile(prefix="vladata-") as file:
                return cls(os.dup(file.fileno()), None)
        journal = cls(fd, path)
        journal._take_up()
        return journal

    def __contains__(self, key: bytes) -> bool:
        """Whether there is a line of this key."""
        return key in self._places

    def _take_up(self) -> None:
        """Find the whole lines; what a crash cut off, and all behind it, is cut away."""
        end = 0
        with os.fdopen(os.dup(self._fd), "rb") as lines:
            for line in lines:
                head, _, rest = line.partition(b"\t")
                name, _, count = head.partition(b" ")
                count, _, check = count.partition(b" ")
                findings, tab, facts = rest.rstrip(b"\n").partition(b"\t")
                if not (line.endswith(b"\n") and tab and check == _check(name, count, rest)):
                    break
                if name != NOT_FINAL:
                    start = end + len(head) + 1
                    self._places[bytes.fromhex(name.decode())] = _Place(start, int(count), len(findings), len(facts))
                end += len(line)
        os.ftruncate(self._fd, end)
        self._end = end

    def add(self, key: bytes, line: Line, *, is_final: bool = True) -> None:
        """Add the line of an episode; one that is not final is judged anew by the next run."""
        rest = b"".join((line.findings, b"\t", line.facts, b"\n"))
        name = key.hex().encode() if is_final else NOT_FINAL
        number = b"%d" % line.num_findings
        head = b"%b %b %b\t" % (name, number, _check(name, number, rest))
        start, end = self._end + len(head), self._end
        data = memoryview(head + rest)
        while data:  # a part only may be written
            try:
                count = os.pwrite(self._fd, data, end)
            except OSError as error:  # which disk is full should be told
                raise OSError(error.errno, error.strerror, str(self._path or tempfile.gettempdir())) from error
            data = data[count:]
            end += count
        self._end = end
        self._places[key] = _Place(start, line.num_findings, len(line.findings), len(line.facts))

    def read(self, key: bytes) -> tuple[bytes, bytes]:
        """Findings and facts of an episode, as they were added."""
        place = self._places[key]
        data = os.pread(self._fd, place.findings_bytes + 1 + place.facts_bytes, place.start)
        return data[: place.findings_bytes], data[place.findings_bytes + 1 :]

    def num_findings(self, key: bytes) -> int:
        """Number of an episode's findings."""
        return self._places[key].num_findings

    def findings(
        self, keys: Sequence[bytes], others: Sequence[Finding], knows: Callable[[Finding], bool] | None
    ) -> "SpooledFindings":
        """All findings: of the episodes in this order, then others."""
        return SpooledFindings(self, keys, others, knows)

    def facts(self, keys: Sequence[bytes]) -> "SpooledFacts":
        """What is known of the episodes, in this order."""
        return SpooledFacts(self, keys)

    def finish(self) -> None:
        """The work is complete: the next run begins anew. The lines can be read as long as this object lives."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def __del__(self) -> None:
        """Give the space back."""
        os.close(self._fd)


def _locked(path: Path) -> int | None:
    """The file, held against other processes; None where that can't be had."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_old(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == path.stat().st_ino:  # else its owner has finished in this moment
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _remove_old(folder: Path) -> None:
    for path in folder.glob("*.journal"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > KEEP_DAYS * 86400:
                path.unlink()


class SpooledFindings(Sequence[Finding]):
    """Findings that are read when they are asked for."""

    def __init__(
        self,
        journal: Journal,
        keys: Sequence[bytes],
        others: Sequence[Finding],
        knows: Callable[[Finding], bool] | None,
    ) -> None:
        """Use `Journal.findings`."""
        self._journal, self._keys, self._others, self._knows = journal, keys, others, knows
        self._ends = list(itertools.accumulate(journal.num_findings(k) for k in keys))

    def __len__(self) -> int:
        """Of all episodes and the dataset."""
        return (self._ends[-1] if self._ends else 0) + len(self._others)

    def __iter__(self) -> Iterator[Finding]:
        """In order, each episode's line read once."""
        for key in self._keys:
            yield from self._of(key)
        yield from map(self._marked, self._others)

    def __getitem__(self, index: int) -> Finding:  # type: ignore[override]  # nobody slices them
        """One finding."""
        total = len(self)
        if not -total <= index < total:
            raise IndexError(f"finding {index}; there are {total}")
        index %= total
        row = bisect_right(self._ends, index)
        if row == len(self._keys):
            return self._marked(self._others[index - (self._ends[-1] if self._ends else 0)])
        first = self._ends[row] - self._journal.num_findings(self._keys[row])
        return self._of(self._keys[row])[index - first]

    def _of(self, key: bytes) -> list[Finding]:
        if not self._journal.num_findings(key):
            return []
        return [self._marked(_finding(v)) for v in json.loads(self._journal.read(key)[0])]

    def _marked(self, finding: Finding) -> Finding:
        if self._knows is None or not self._knows(finding):
            return finding
        return dataclasses.replace(finding, is_known=True)


def _finding(values: dict[str, object]) -> Finding:
    made = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    made["severity"] = Severity(made.get("severity", Severity.WARNING))  # type: ignore[arg-type]  # an int
    made["magnitude"] = float(made.get("magnitude", 0.0))  # type: ignore[arg-type]  # a number or its name
    return Finding(**made)  # type: ignore[arg-type]  # as `encode_line` wrote them


class SpooledFacts(Sequence[EpisodeFacts]):
    """What is known of episodes, read when it is asked for."""

    def __init__(self, journal: Journal, keys: Sequence[bytes]) -> None:
        """Use `Journal.facts`."""
        self._journal, self._keys = journal, keys

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._keys)

    def __getitem__(self, index: int) -> EpisodeFacts:  # type: ignore[override]  # nobody slices them
        """One episode."""
        values = json.loads(self._journal.read(self._keys[index])[1])
        return EpisodeFacts(**{**values, "features": _Features(values["features"])})
