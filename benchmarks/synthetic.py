"""Datasets of synthetic episodes, committed as ingest commits them but without recordings to read; from a seed."""

import dataclasses
from pathlib import Path

import numpy as np

from vladata.commit import Target, commit
from vladata.conversion import Converted
from vladata.embodiment import Embodiment, StreamRule
from vladata.mapping import Mapping, StepClock, StreamMapping
from vladata.recording import AnyStream, BytesFrames, FrameStream, Instruction, Recording
from vladata.store.dataset_writer import writing
from vladata.testing.builders import START_NS, build_embodiment, build_recording
from vladata.units import Clock

from .scenes import HEIGHT, WIDTH, frame_pool

__all__ = ["grow"]

NUM_JOINTS = 13
"""And a gripper: 14 dimensions, as two arms of seven."""
SIGNAL_HZ, CAMERA_HZ = 50.0, 30.0
CAMERAS = ("front", "wrist")
JPEG_QUALITY = 75
"""Frames of about 40 KB, as USB cameras make them."""
DELAY_S = 0.002
"""Mean delay of the transport to the recorder."""
COMMAND_NS = 1_000_000
"""From a state to the command that answers it."""
TASKS = ("put the cube into the bin", "open the drawer", "fold the towel", "press the button")


def grow(folder: Path, count: int, *, duration_s: float, has_images: bool = False) -> None:
    """Add episodes until a dataset has so many, each with its own values, jitter and delays.

    14 dimensions of state and of action at 50 Hz; with images, two cameras of 640x480 at 30 Hz.
    """
    embodiment = _embodiment(has_images=has_images)
    mapping = Mapping(
        source="synthetic",
        streams={n: StreamMapping(**{"from": n}) for n in embodiment.stream_names},
        step_clock=StepClock(kind="stream", stream=CAMERAS[0] if has_images else "arm"),
    )
    pools = {name: frame_pool(k, JPEG_QUALITY) for k, name in enumerate(CAMERAS)} if has_images else {}
    with writing(folder) as writer:
        target = Target(embodiment=embodiment, mapping=mapping, folder=folder, recordings=frozenset())
        for seed in range(len(writer.entries), count):
            recording = _recording(embodiment, seed, duration_s)
            cameras = {name: _camera(name, seed, duration_s, pool) for name, pool in pools.items()}
            recording = dataclasses.replace(recording, streams={**recording.streams, **cameras})
            writer.committed(commit(Converted(recording=recording, lines={}), target, {}).entry)


def _embodiment(*, has_images: bool) -> Embodiment:
    rules = {
        "arm": StreamRule(rate_hz=SIGNAL_HZ, jitter_ms=5.0, max_age_ms=60.0),
        "command": StreamRule(rate_hz=SIGNAL_HZ, jitter_ms=5.0, max_age_ms=60.0),
    }
    return build_embodiment(
        num_joints=NUM_JOINTS,
        rate_hz=CAMERA_HZ if has_images else SIGNAL_HZ,
        cameras=CAMERAS if has_images else (),
        size=(HEIGHT, WIDTH),
        rules=rules,
        name="synthetic_arms",
    )


def _recording(embodiment: Embodiment, seed: int, duration_s: float) -> Recording:
    recording = build_recording(
        embodiment,
        duration_s=duration_s,
        rates_hz={"arm": SIGNAL_HZ, "command": SIGNAL_HZ},
        jitter_ns={"arm": 300_000, "command": 300_000},
        without=CAMERAS,
        instructions=(Instruction(text=TASKS[seed % len(TASKS)]),),
        place=f"{seed:06d}.mcap",
        seed=seed,
    )
    streams = dict(recording.streams)
    # One loop reads and commands, so that each state has its command.
    streams["command"] = dataclasses.replace(streams["command"], time_ns=streams["arm"].time_ns + COMMAND_NS)
    return dataclasses.replace(recording, streams={n: _received(s, seed) for n, s in streams.items()})


def _received(stream: AnyStream, seed: int) -> AnyStream:
    delay = np.random.default_rng(seed).exponential(DELAY_S, len(stream.time_ns))
    return dataclasses.replace(stream, receive_time_ns=stream.time_ns + np.round(delay * 1e9).astype(np.int64))


def _camera(name: str, seed: int, duration_s: float, pool: list[bytes]) -> AnyStream:
    count = round(duration_s * CAMERA_HZ)
    jitter = np.random.default_rng(seed).normal(0, 2e-3, count)
    time_ns = START_NS + np.round((np.arange(count) / CAMERA_HZ + jitter) * 1e9).astype(np.int64)
    stream = FrameStream(
        name=name,
        clock=Clock.UNIX,
        time_ns=time_ns,
        frames=BytesFrames([pool[k % len(pool)] for k in range(count)]),
        codec="jpeg",
        height=HEIGHT,
        width=WIDTH,
    )
    return _received(stream, seed)
