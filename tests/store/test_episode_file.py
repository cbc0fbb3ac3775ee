"""What is written is what is read, whole or not at all."""

import dataclasses
import errno
import hashlib
import multiprocessing
import os
import pickle  # noqa: TID251 - episodes must survive the pickling of worker processes
import random

import h5py
import numpy as np
import pytest

from vladata.errors import EpisodeFormatError, EpisodeVersionError, GateError
from vladata.store import writer
from vladata.store.reader import read_episode, verify_episode
from vladata.store.writer import write_episode


@pytest.fixture
def path(tmp_path, draft):
    made = tmp_path / "episode.h5"
    write_episode(made, draft)
    return made


def test_everything_reads_back_equal(path, draft):
    episode = read_episode(path)
    assert episode.instructions == draft.instructions
    assert episode.outcomes == draft.outcomes
    assert episode.metadata == draft.metadata
    assert episode.provenance == draft.provenance
    assert episode.embodiment == draft.embodiment
    for name, stream in draft.streams.items():
        read = episode.streams[name]
        np.testing.assert_array_equal(read.time_ns, stream.time_ns)
        if name == "front":
            for i in range(stream.num_frames):
                assert read.frames.read(i) == stream.frames.read(i)
        else:
            np.testing.assert_array_equal(read.values, stream.values)
            assert read.values.dtype == stream.values.dtype
    np.testing.assert_array_equal(episode.streams["command"].receive_time_ns, draft.streams["command"].receive_time_ns)
    for part in ("proprioception", "action", "images", "age_ns", "valid"):
        for name, array in getattr(draft.steps, part).items():
            np.testing.assert_array_equal(getattr(episode.steps, part)[name], array)


def test_equal_content_gives_equal_bytes(path, draft, tmp_path):
    again = tmp_path / "again.h5"
    write_episode(again, draft)
    assert again.read_bytes() == path.read_bytes()


def test_labels_do_not_change_the_content_digest(path, draft, tmp_path):
    other = tmp_path / "other.h5"
    write_episode(other, dataclasses.replace(draft, instructions=(), outcomes=(), metadata={"x": "y"}))
    assert read_episode(other).content_digest == read_episode(path).content_digest
    assert verify_episode(other) == []


def test_three_lines_give_steps_and_frames(path):
    episode = read_episode(path)
    step = episode[2]
    assert step.images["front"].shape == (24, 32, 3)
    assert step.proprioception["state"].shape == (3,)
    assert step.instruction == "pick up the cüp"
    assert episode.texts_at(step.time_ns, "subtask") == ["reach"]
    assert episode.outcome == "success"
    assert len(list(episode)) == len(episode)


def test_frames_of_a_range_are_one_read(path):
    frames = read_episode(path).streams["front"].frames
    data, offsets = frames.read_range(3, 7)
    assert [data[offsets[i] : offsets[i + 1]] for i in range(4)] == [frames.read(i) for i in range(3, 7)]


def test_a_flipped_bit_never_goes_unseen_in_what_is_read(path, draft, tmp_path):
    """Flips either are found, or changed nothing that a reader gets (slack between objects)."""
    clean = path.read_bytes()
    rng = random.Random(5)
    damaged = tmp_path / "damaged.h5"
    found = 0
    for _ in range(150):
        flipped = bytearray(clean)
        flipped[rng.randrange(len(clean))] ^= 1 << rng.randrange(8)
        damaged.write_bytes(flipped)
        if verify_episode(damaged):
            found += 1
            continue
        episode = read_episode(damaged)
        np.testing.assert_array_equal(episode.steps.action["command"], draft.steps.action["command"])
        assert episode.instructions == draft.instructions
        assert episode.streams["front"].frames.read(4) == draft.streams["front"].frames.read(4)
    assert found > 120


def test_a_zeroed_block_in_the_frames_names_the_frame(path):
    with h5py.File(path) as file:
        place = file["streams/front/frames"].id.get_offset() + int(file["streams/front/offsets"][3])
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * 64)
    with pytest.raises(EpisodeFormatError, match=r"frame 3 is damaged"):
        read_episode(path).streams["front"].frames.read(3)
    assert any("frame 3 is damaged" in p for p in verify_episode(path))


def test_truncated_file_is_an_error_at_every_length(path, tmp_path):
    clean = path.read_bytes()
    cut = tmp_path / "cut.h5"
    for length in range(0, len(clean), max(1, len(clean) // 40)):
        cut.write_bytes(clean[:length])
        assert verify_episode(cut), length


def test_other_hdf5_files_and_versions_are_refused(path, tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = [1.0]
    with pytest.raises(EpisodeFormatError, match="not an episode file"):
        read_episode(other)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 7
    with pytest.raises(EpisodeVersionError, match="format version 7; this release reads 1"):
        read_episode(path)


def test_episode_with_an_external_link_is_refused(path, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = [42.0]
    with h5py.File(path, "r+") as file:
        file["streams/state/extra"] = h5py.ExternalLink(str(secret), "x")
    with pytest.raises(GateError):
        read_episode(path)


def test_nothing_is_left_when_writing_fails(tmp_path, draft):
    class Broken:
        def __init__(self, frames):
            self.sizes, self.order = frames.sizes, frames.order

        def read(self, index):
            if index == 5:
                raise KeyboardInterrupt
            return b"x" * int(self.sizes[index])

    front = draft.streams["front"]
    streams = {**draft.streams, "front": dataclasses.replace(front, frames=Broken(front.frames))}
    with pytest.raises(KeyboardInterrupt):
        write_episode(tmp_path / "ab" / "episode.h5", dataclasses.replace(draft, streams=streams))
    assert list((tmp_path / "ab").iterdir()) == []


def test_full_disk_is_told_before_writing(tmp_path, draft, monkeypatch):
    monkeypatch.setattr(writer, "SPARE_BYTES", 1 << 60)
    with pytest.raises(OSError, match="bytes, the disk has") as caught:
        write_episode(tmp_path / "episode.h5", draft)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_what_reads_back_differently_is_not_committed(tmp_path, draft, monkeypatch):
    monkeypatch.setattr("vladata.store.reader.verify_episode", lambda _path: ["a frame is damaged"])
    with pytest.raises(EpisodeFormatError, match="reads back differently"):
        write_episode(tmp_path / "episode.h5", draft)
    assert list(tmp_path.iterdir()) == []


def _sum_of_frame(episode, index, queue):
    queue.put(int(episode.frame("front", index).sum()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_frames_can_be_read_in_workers_that_were_forked_or_spawned(path, method):
    episode = read_episode(path)
    here = [int(episode.frame("front", i).sum()) for i in range(3)]
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    if method == "spawn":
        there = pickle.loads(pickle.dumps(episode))
        assert [int(there.frame("front", i).sum()) for i in range(3)] == here
        return
    workers = [context.Process(target=_sum_of_frame, args=(episode, i, queue)) for i in range(3)]
    for worker in workers:
        worker.start()
    assert sorted(queue.get(timeout=30) for _ in workers) == sorted(here)
    for worker in workers:
        worker.join()


def test_reading_leaves_no_file_open(path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        episode = read_episode(path)
        episode.frame("front", 0)
        del episode
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_many_sizes_of_text_read_back(tmp_path, draft):
    for size in (0, 1, 59_000, 61_000, 200_000):
        made = tmp_path / f"{size}.h5"
        write_episode(made, dataclasses.replace(draft, provenance={"notes": ["é" * (size // 2)]}))
        assert read_episode(made).provenance == {"notes": ["é" * (size // 2)]}
        assert hashlib.sha256(made.read_bytes()).hexdigest()
