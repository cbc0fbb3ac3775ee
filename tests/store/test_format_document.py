"""A reader written from docs/format.md alone: h5py, hashlib and json, nothing of vladata."""

import hashlib
import json
import re
from pathlib import Path

import h5py
import numpy as np
import xxhash

from vladata.store import layout
from vladata.store.writer import write_episode

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "format.md"


def canonical(array):
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    return f"{little.dtype.str}{list(little.shape)}\n".encode() + little.tobytes()


def arrays_digest(facts, arrays):
    sha = hashlib.sha256("\n".join(facts).encode() + b"\n")
    for name in sorted(arrays):
        sha.update(name.encode() + b" " + canonical(arrays[name]))
    return sha.hexdigest()


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def test_the_document_is_enough_to_read_an_episode(tmp_path, draft):
    path = tmp_path / "episode.h5"
    write_episode(path, draft)
    with h5py.File(path) as file:
        assert text(file.attrs["format"]) == "vladata-episode"
        assert int(file.attrs["format_version"]) == 1
        schema = json.loads(file["embodiment"][()])
        assert [s["name"] for s in schema["proprioception"]] == ["state"]
        digests = {}
        for name, group in file["streams"].items():
            facts = [name, text(group.attrs["clock"])]
            if "values" in group:
                arrays = {"time_ns": group["time_ns"][()], "values": group["values"][()]}
            else:
                facts += [text(group.attrs["codec"]), str(group.attrs["height"]), str(group.attrs["width"])]
                arrays = {"time_ns": group["time_ns"][()], "digests": group["digests"][()]}
                offsets, place = group["offsets"][()], group["frames"].id.get_offset()
                raw = path.read_bytes()
                for i, digest in enumerate(arrays["digests"]):
                    frame = raw[place + int(offsets[i]) : place + int(offsets[i + 1])]
                    assert frame.startswith(b"\xff\xd8")
                    assert xxhash.xxh3_64_intdigest(frame) == int(digest)
            digests[name] = arrays_digest(facts, arrays)
        lines = ["content 1", *(f"{n} {digests[n]}" for n in sorted(digests))]
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == text(file.attrs["content_digest"])
        assert envelope(file) == text(file.attrs["envelope_digest"])
        assert [t.decode() for t in file["instructions/text"][()]] == ["pick up the cüp", "reach"]
        assert file["instructions/time_ns"][0] == -(2**63)


def envelope(file):
    names = ("recording_id", "episode_id", "embodiment", "embodiment_digest")
    sha = hashlib.sha256("\n".join(["envelope 1", *(text(file.attrs[n]) for n in names)]).encode() + b"\n")
    sha.update(canonical(file["steps/time_ns"][()]))
    for part in ("proprioception", "action", "images", "age_ns", "valid"):
        for name in sorted(file["steps"][part]):
            sha.update(name.encode() + b" " + canonical(file["steps"][part][name][()]))
    for table in ("instructions", "outcomes"):
        columns = {n: d[()] for n, d in file[table].items()}
        for name in sorted(n for n, c in columns.items() if c.dtype.kind == "S"):
            values = json.dumps([v.decode() for v in columns[name]], separators=(",", ":"), ensure_ascii=False)
            sha.update(f"{name} {values}\n".encode())
        for name in sorted(n for n, c in columns.items() if c.dtype.kind != "S"):
            sha.update(name.encode() + b" " + canonical(columns[name]))
    for name in ("embodiment", "metadata", "provenance"):
        sha.update(f"{name} ".encode() + file[name][()] + b"\n")
    return sha.hexdigest()


def test_the_document_names_every_attribute_and_dataset():
    document = DOCUMENT.read_text()
    words = set(re.findall(r"[a-z_0-9]+", document))
    names = {v for k, v in vars(layout).items() if k.isupper() and isinstance(v, str)}
    names |= set(layout.ATTRIBUTES) | set(layout.INSTRUCTION_TEXTS) | set(layout.OUTCOME_NUMBERS)
    missing = {n for n in names if not set(n.split("-")) <= words}
    assert not missing
