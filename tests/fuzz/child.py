"""One process that runs mutated recordings, one after another; started by `run`.

A line of JSON comes in for each input, and lines go out: one when the input is written and reading begins, one with
what came of it. A process that ends or goes silent in between is the finding; the parent watches.
"""

import faulthandler
import json
import os
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TextIO

import numpy as np

from vladata import plugins
from vladata.embodiment import Embodiment
from vladata.errors import VladataError
from vladata.images import decode, decode_depth, probe
from vladata.mapping import Mapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Inspection, Place, Request, Source
from vladata.text import printable

from .mutate import mutate
from .seeds import Seed, load

MAX_PLACES = 3
MAX_STREAMS = 40
MAX_ERROR = 10_000
REDUCE_S = 3.0
VIDEO_SHAPE = (16, 32)
FOLDER_CHANGES = 0.06
"""Share of the inputs where a file is removed, replaced or linked away instead of changed."""


def request_for(inspection: Inspection, seed: Seed) -> Request:
    """Map every stream that a recording offers, under made-up names."""
    signals: dict[str, list[object]] = {"proprioception": [], "action": []}
    cameras: list[object] = []
    streams: dict[str, object] = {}
    for info in inspection.streams:
        name = f"s{len(streams)}"
        if (info.name, info.field) in {(s["from"], s.get("field")) for s in streams.values()}:  # type: ignore[index,attr-defined]
            continue
        if len(streams) >= MAX_STREAMS:
            break
        if any("belongs to the episode" in p for p in info.problems):
            continue
        shape = info.shape or (VIDEO_SHAPE if info.kind == "video" else ())  # it may be in the packets only
        if info.kind in {"image", "video"} and len(shape) >= 2 and min(shape[:2]) > 0:
            cameras.append({"name": name, "height": shape[0], "width": shape[1]})
        elif info.kind == "numeric" and min(info.shape, default=1) > 0 and np.prod(info.shape) <= 600:
            role = "action" if "action" in info.name or "command" in info.name else "proprioception"
            mode = {"mode": "absolute"} if role == "action" else {}
            size = int(np.prod(info.shape)) if info.shape else 1
            dimensions = [{"name": f"d{k}", "kind": "other", "unit": "1", **mode} for k in range(size)]
            signals[role].append({"name": name, "dimensions": dimensions})
        else:
            continue
        streams[name] = {"from": info.name, "field": info.field, "join": "index"}
    rate = inspection.rate_hz if inspection.rate_hz and 0 < inspection.rate_hz < 10_000 else 10.0
    rules = {name: {"required": False} for name in streams}
    embodiment = {"name": "fuzzed", "rate_hz": rate, **signals, "cameras": cameras, "streams": rules}
    mapping = {"source": seed.source, "streams": streams, "options": seed.options, **seed.mapping}
    return Request(embodiment=Embodiment.model_validate(embodiment), mapping=Mapping.model_validate(mapping))


def consume(recording: Recording) -> None:
    """Read everything that a store would read, and decode one frame of each camera."""
    for text in (*recording.notes, *recording.metadata.values()):
        assert len(text) < 100_000, "a text without bound"
    for note in recording.notes:
        assert printable(note) == note, f"a note has control characters: {note!r}"
    for stream in recording.streams.values():
        assert stream.time_ns.dtype == np.int64
        assert stream.time_ns.ndim == 1
        if isinstance(stream, Stream):
            assert stream.values.ndim == 2
            assert len(stream.values) == len(stream.time_ns)
            with np.errstate(all="ignore"):
                stream.values.astype(np.float64, copy=True)
        else:
            _consume_frames(stream)


def _consume_frames(stream: FrameStream) -> None:
    sizes = stream.frames.sizes
    count = len(sizes)
    assert len(stream.frames.order) == count
    if stream.video is None:
        assert count == stream.num_frames
    else:
        assert len(stream.video.pts) == len(stream.video.keyframes) == count
        assert len(np.unique(stream.video.pts)) == count
    assert stream.height > 0
    assert stream.width > 0
    for k in range(count):
        assert len(stream.frames.read(k)) == sizes[k]
    if not count:
        return
    if stream.video is not None:
        from vladata.frame_decoder import FrameDecoder

        FrameDecoder(stream).decode(stream.num_frames // 2)
        return
    data = bytes(stream.frames.read(0))
    info = probe(data)
    decode_depth(data) if info.bit_depth == 16 and info.channels == 1 else decode(data, info)


class Refusals:
    """Steps that end in an error of the library, and how it must look."""

    def __init__(self) -> None:
        self.count = 0

    def run(self, function: Callable[[], object]) -> object:
        """Call; None where the library refuses."""
        try:
            return function()
        except VladataError as error:
            refusal: Exception = error
        except OSError as error:
            if error.errno is None or error.filename is None:  # a library's own; those of the system pass (design)
                raise
            self.count += 1
            return None
        self.count += 1
        text = str(refusal)
        if not text or len(text) > MAX_ERROR or printable(text) != text:
            raise AssertionError(f"an error of {len(text)} characters: {text[:300]!r}") from refusal
        return None


class Child:
    """Runs inputs."""

    def __init__(self, folder: Path, work: Path, memory_bytes: int, trace_after_s: float, out: TextIO) -> None:
        self.folder, self.work, self.out = folder, work, out
        self.trace = (work / "trace.txt").open("w")
        self.trace_after_s = trace_after_s
        faulthandler.enable(file=self.trace)
        names = plugins.names("sources")
        self.sources: dict[str, Source] = {n: plugins.load("sources", n) for n in names}  # type: ignore[misc]
        self.requests: dict[str, tuple[Request, list[Place]]] = {}
        self.seeds: dict[str, Seed] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.memory_bytes = memory_bytes
        self.problems: dict[str, str] = {}

    def prepare(self) -> None:
        """Read every seed as it is, so that what is loaded late is loaded; then set the limit."""
        for path in sorted(self.folder.glob("*.json")):
            seed = load(self.folder, path.stem)
            if seed.source not in self.sources:
                continue
            root = self.folder / seed.name
            self.seeds[seed.name] = seed
            self.files[seed.name] = {
                p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
            }
            source = self.sources[seed.source]
            try:
                inspection = source.inspect(root / seed.path)
                request = request_for(inspection, seed)
                places = source.places(root / seed.path)
                self.requests[seed.name] = request, places[:MAX_PLACES]
                read = 0
                for place in places[:MAX_PLACES]:
                    for recording in source.read(root / seed.path, place, request):
                        consume(recording)
                        read += len(recording.streams)
                assert source.can_read(root / seed.path), "the seed is not recognized"
                assert read or not request.mapping.streams, "no stream of the seed is read"
            except Exception:  # noqa: BLE001 - whatever it is, it is reported
                self.problems[seed.name] = traceback.format_exc(limit=-4)
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + self.memory_bytes, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def send(self, **content: object) -> None:
        """One line to the parent."""
        self.out.write(json.dumps(content) + "\n")
        self.out.flush()

    def run(self, number: int, name: str, chance: str) -> None:
        """One input."""
        seed = self.seeds[name]
        rng = Random(chance)
        target = self.work / name
        self._fill(name, target)
        changed, changes = self._change(name, target, rng)
        self.send(id=number, stage="run", file=changed, changes=changes)
        self.trace.seek(0)
        self.trace.truncate()
        faulthandler.dump_traceback_later(self.trace_after_s, file=self.trace)
        result: dict[str, object] = {"outcome": "ok"}
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                refusals = self._exercise(seed, target / seed.path)
            result = {"outcome": "refused" if refusals else "ok"}
            shown = {f"{w.category.__name__}: {w.message} ({w.filename}:{w.lineno})" for w in caught}
            result["warnings"] = sorted(shown)[:5]
        except MemoryError:
            result = {"outcome": "memory", **_described(sys.exc_info()[1])}
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            result = {"outcome": "traceback", **_described(error)}
        finally:
            faulthandler.cancel_dump_traceback_later()
        if result["outcome"] == "traceback" and not any(c.startswith("folder") for c in changes):
            result["change"] = self._reduce(seed, target, changed, result)
        self.send(id=number, stage="done", rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, **result)

    def _fill(self, name: str, target: Path) -> None:
        if target.exists() or target.is_symlink():
            return
        for relative, data in self.files[name].items():
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def restore(self, name: str, changed: str, changes: list[str]) -> None:
        """Put the file back."""
        target = self.work / name
        if any(c.startswith("folder") for c in changes):
            shutil.rmtree(target)
        else:
            (target / changed).write_bytes(self.files[name][changed])

    def _change(self, name: str, target: Path, rng: Random) -> tuple[str, list[str]]:
        files = self.files[name]
        chosen = rng.choice(sorted(files))
        path = target / chosen
        if len(files) > 1 and rng.random() < FOLDER_CHANGES:
            kind = rng.choice(("remove", "empty", "folder", "link", "swap"))
            if kind == "empty":
                path.write_bytes(b"")
            elif kind == "swap":
                path.write_bytes(files[rng.choice(sorted(files))])
            else:
                path.unlink()
                if kind == "folder":
                    path.mkdir()
                elif kind == "link":
                    path.symlink_to(rng.choice(("/etc/passwd", "/dev/zero", path.name, "/")))
            return chosen, [f"folder: {kind}"]
        others = [d for n in rng.sample(sorted(self.files), min(2, len(self.files))) for d in self.files[n].values()]
        data, changes = mutate(files[chosen], chosen, rng, others)
        path.write_bytes(data)
        return chosen, changes

    def _reduce(self, seed: Seed, target: Path, changed: str, result: dict[str, object]) -> str:
        """Take back what the failure does not need, and say what is left; the file keeps the least that fails."""
        path, original = target / changed, self.files[seed.name][changed]
        data = path.read_bytes()
        until = time.monotonic() + REDUCE_S

        def fails(trial: bytes) -> bool:
            path.write_bytes(trial)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._exercise(seed, target / seed.path)
            except BaseException as error:  # noqa: BLE001 - as in `run`
                return all(_described(error)[k] == result[k] for k in ("error", "place"))
            return False

        if len(data) == len(original):
            places = [k for k, (a, b) in enumerate(zip(data, original, strict=True)) if a != b]
            size = len(places)
            while size and time.monotonic() < until:
                for begin in range(0, len(places), size):
                    trial = bytearray(data)
                    for k in places[begin : begin + size]:
                        trial[k] = original[k]
                    if time.monotonic() < until and fails(bytes(trial)):
                        data = bytes(trial)
                places = [k for k in places if data[k] != original[k]]
                size //= 2
        path.write_bytes(data)
        begin = _alike(data, original)
        end = _alike(data[begin:][::-1], original[begin:][::-1])
        new, old = data[begin : len(data) - end], original[begin : len(original) - end]
        return f"bytes {begin} to {begin + len(old)} of {changed} became {len(new)}: {new[:64].hex()}"

    def _exercise(self, seed: Seed, path: Path) -> int:
        refusals = Refusals()
        for source in self.sources.values():
            assert source.can_read(path) in {True, False}
        source = self.sources[seed.source]
        request, known = self.requests[seed.name]
        places = refusals.run(lambda: source.places(path))
        found = known if places is None else places
        assert isinstance(found, list)
        refusals.run(lambda: source.inspect(path))
        for place in found[:MAX_PLACES]:

            def read(place: Place = place) -> None:
                for recording in source.read(path, place, request):
                    refusals.run(lambda recording=recording: consume(recording))  # type: ignore[misc]

            refusals.run(read)
        return refusals.count


def _alike(first: bytes, second: bytes) -> int:
    """How many bytes at the beginning are the same."""
    return next(
        (k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _described(error: BaseException | None) -> dict[str, object]:
    assert error is not None
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/vladata/" in f.filename]
    last = own[-1] if own else frames[-1]
    place = f"{Path(last.filename).name}:{last.lineno} {last.name}"
    text = "".join(traceback.format_exception(error, limit=-12))
    return {"error": type(error).__name__, "message": ascii(str(error))[:400], "place": place, "trace": text[-6000:]}


def plant(fault: str, source: object) -> None:
    """Build a fault into a source."""

    def places(_path: Path) -> list[Place]:
        if fault == "traceback":
            raise KeyError("planted")
        if fault == "crash":
            os.abort()
        if fault == "memory":
            bytearray(3 * 2**30)
        while fault == "hang":
            pass
        return []

    source.places = places  # type: ignore[attr-defined]


def main() -> None:
    """Serve inputs until there are none."""
    folder, work, memory_bytes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    out = os.fdopen(os.dup(1), "w")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    work.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(work)
    child = Child(folder, work, memory_bytes, float(sys.argv[4]), out)
    child.prepare()
    for source in child.sources.values() if sys.argv[5] else ():
        plant(sys.argv[5], source)
    child.send(id=-1, stage="ready", problems=child.problems, seeds=sorted(child.requests))
    for line in sys.stdin:
        job = json.loads(line)
        if "restore" in job:
            child.restore(*job["restore"])
            continue
        child.run(job["id"], job["seed"], job["chance"])


if __name__ == "__main__":
    main()
