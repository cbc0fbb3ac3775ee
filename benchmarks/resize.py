"""Export at 224x224, beside bare decoding, resizing and encoding of the same frames."""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.pool import Pool
from pathlib import Path

import cv2
import numpy as np

from vladata.exporters.huggingface import ExportOptions, export
from vladata.recording import FrameStream
from vladata.store.reader import read_episode

from .context import Context
from .export import ONE_SPLIT
from .measure import Goal, Side, heading, interleave, print_ratio, print_times

__all__ = ["run"]

SIZE = 224
QUALITY = 95
BATCH = 50

_frames: list[bytes] = []


def run(context: Context) -> None:
    dataset = context.small_dataset
    path = dataset.path / dataset.entries[0].file
    load(path)
    heading("resize", f"{len(_frames)} frames of 640x480 to {SIZE}x{SIZE} (letterbox), JPEG quality {QUALITY}")
    options = ExportOptions(splits=ONE_SPLIT, horizon=8, image_size=(SIZE, SIZE), jpeg_quality=QUALITY)
    bare, bare_two = "bare decode + resize + encode out of memory, one core", "the same, two processes"
    here, one, two = "vladata, in this process", "vladata, one worker process", "vladata, two worker processes"
    batches = [range(k, min(k + BATCH, len(_frames))) for k in range(0, len(_frames), BATCH)]
    with _pool(path) as pool:
        sides = [
            Side(bare, lambda _: [render(batch) for batch in batches]),
            Side(here, lambda folder: export(dataset, folder / "out", options, workers=0)),
            Side(one, lambda folder: export(dataset, folder / "out", options, workers=1)),
            Side(two, lambda folder: export(dataset, folder / "out", options, workers=2)),
            Side(bare_two, lambda _: pool.map(render, batches, chunksize=1)),
        ]
        times = interleave(sides, context.rounds, context.folder)
    print_times(times)
    print_ratio("speed, in this process / bare", times[bare], times[here], Goal(0.85, is_upper=False))
    print_ratio("speed, one worker / bare", times[bare], times[one], Goal(0.85, is_upper=False))
    print_ratio("speed, two workers / one", times[one], times[two], Goal(1.7, is_upper=False))
    print_ratio("what the machine gives: bare, two processes / one", times[bare], times[bare_two], None)


def _pool(path: Path) -> Pool:
    return multiprocessing.get_context("spawn").Pool(2, initializer=load, initargs=(path,))


def load(path: Path) -> None:
    """Take all frames of an episode into memory."""
    cv2.setNumThreads(1)
    streams = read_episode(path).streams.values()
    _frames[:] = [bytes(s.frames.read(k)) for s in streams if isinstance(s, FrameStream) for k in range(s.num_frames)]


def render(indices: Sequence[int]) -> int:
    """Decode, resize and encode; the size of what comes out."""
    return sum(len(_rendered(_frames[k])) for k in indices)


def _rendered(data: bytes) -> bytes:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    height = SIZE * image.shape[0] // image.shape[1]
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    top = (SIZE - height) // 2
    canvas[top : top + height] = cv2.resize(image, (SIZE, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
