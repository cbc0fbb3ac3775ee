"""Random steps (two decoded images, state and action), beside bare decoding out of memory."""

import time
from pathlib import Path

import cv2
import numpy as np

from vladata.episode import Episode
from vladata.recording import FrameStream

from .context import Context
from .measure import Goal, Side, heading, interleave, print_ratio, print_times

__all__ = ["run"]

NUM_STEPS = 400
FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def run(context: Context) -> None:
    dataset = context.dataset
    episodes = list(dataset)
    random = np.random.default_rng(0)
    chosen = [(e := random.integers(len(episodes)), random.integers(len(episodes[e]))) for _ in range(NUM_STEPS)]
    heading("random_read", f"{NUM_STEPS} random steps of {len(episodes)} episodes: 2 images of 640x480, state, action")
    encoded = [_encoded(episodes[e], int(step)) for e, step in chosen]
    cv2.setNumThreads(1)

    def decode(_: Path) -> None:
        for pair in encoded:
            images = [cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS) for data in pair]
            assert len(images) == 2

    def read(_: Path) -> None:
        for e, index in chosen:
            step = episodes[e][int(index)]
            # Held until the next pair is there, as above: what is freed at once goes back to the kernel page by page.
            images = step.images
            assert len(images) == 2
            assert step.proprioception
            assert step.action

    bare, ours = "bare decoding out of memory", "vladata, open episodes"
    times = interleave([Side(bare, decode), Side(ours, read)], max(context.rounds, 5), context.folder)
    print_times(times, scale=1000 / NUM_STEPS, unit="ms per step")
    print_ratio("speed, vladata / bare", times[bare], times[ours], Goal(0.85, is_upper=False))
    start = time.perf_counter()
    dataset[0]
    print(f"  opening an episode takes {1000 * (time.perf_counter() - start):.1f} ms")


def _encoded(episode: Episode, step: int) -> list[bytes]:
    streams = [s for s in episode.streams.values() if isinstance(s, FrameStream)]
    return [bytes(s.frames.read(int(episode.steps.images[s.name][step]))) for s in streams]
