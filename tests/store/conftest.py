"""A small episode, made without any source."""

import hashlib

import numpy as np
import pytest

from vladata import images
from vladata.embodiment import Camera, Dimension, Embodiment, Signal
from vladata.mapping import Mapping, StreamMapping
from vladata.recording import BytesFrames, FrameStream, Instruction, Outcome, Recording, Stream
from vladata.store.catalog import entry_of
from vladata.store.dataset import hash_file
from vladata.store.dataset_writer import episode_file
from vladata.store.reader import read_episode
from vladata.store.writer import EpisodeDraft, write_episode
from vladata.sync.align import synchronize
from vladata.units import Clock, Kind, Mode, Unit

MS = 1_000_000


def make_draft(seed=0, num_frames=12, place="demo.mcap", text="pick up the cüp", outcome="success"):
    rng = np.random.default_rng(seed)
    joint = {"kind": Kind.JOINT_POSITION, "unit": Unit.RADIAN}
    embodiment = Embodiment(
        name="robot",
        rate_hz=10,
        proprioception=(Signal(name="state", dimensions=tuple(Dimension(name=f"j{i}", **joint) for i in range(3))),),
        action=(
            Signal(
                name="command", dimensions=tuple(Dimension(name=f"j{i}", mode=Mode.ABSOLUTE, **joint) for i in range(3))
            ),
        ),
        cameras=(Camera(name="front", height=24, width=32),),
    )
    frame_ns = np.arange(num_frames, dtype=np.int64) * 100 * MS + 1_700_000_000_000_000_000
    dense_ns = np.arange(num_frames * 10, dtype=np.int64) * 10 * MS + frame_ns[0]
    encoded = [images.encode_jpeg(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)) for _ in range(num_frames)]
    streams = {
        "state": Stream(name="state", clock=Clock.UNIX, time_ns=dense_ns, values=rng.normal(size=(len(dense_ns), 3))),
        "command": Stream(
            name="command",
            clock=Clock.UNIX,
            time_ns=dense_ns,
            receive_time_ns=dense_ns + 5,
            values=rng.normal(size=(len(dense_ns), 3)).astype(np.float32),
        ),
        "front": FrameStream(
            name="front",
            clock=Clock.UNIX,
            time_ns=frame_ns,
            frames=BytesFrames(encoded),
            codec="jpeg",
            height=24,
            width=32,
        ),
    }
    recording = Recording(
        recording_id=hashlib.sha256(f"{seed} {place}".encode()).hexdigest(),
        source="mcap",
        place=place,
        files=(),
        streams=streams,
        is_stepped=False,
    )
    mapping = Mapping(source="mcap", streams={n: StreamMapping(source=f"/{n}") for n in streams})
    done = synchronize(recording, embodiment, mapping)
    return EpisodeDraft(
        episode_id=hashlib.sha256(f"e {seed} {place}".encode()).hexdigest()[:32],
        recording_id=recording.recording_id,
        embodiment=embodiment,
        streams=streams,
        steps=done.steps,
        instructions=(
            Instruction(text=text, language="en"),
            Instruction(text="reach", kind="subtask", time_ns=int(frame_ns[0]), end_ns=int(frame_ns[5])),
        ),
        outcomes=(Outcome(kind=outcome, time_ns=int(frame_ns[-1])), Outcome(kind="reward", value=0.5)),
        metadata={"operator": "p7"},
        provenance={"source": "mcap", "place": place, "files": [], "notes": []},
    )


@pytest.fixture
def draft():
    return make_draft()


@pytest.fixture
def add_episode():
    """Commit an episode file as a worker does, without telling the dataset."""

    def add(folder, seed):
        made = make_draft(seed=seed, num_frames=12, place=f"demo_{seed}.mcap")
        name = episode_file(made.episode_id)
        write_episode(folder / name, made)
        size, sha256 = hash_file(folder / name)
        return entry_of(read_episode(folder / name), file=name, num_bytes=size, sha256=sha256)

    return add
