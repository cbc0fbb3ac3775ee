"""Faults of cameras."""

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

from vladata import images
from vladata.units import Kind

from .case import Case
from .fault import fault
from .tools import GENERATED, brightest, columns, cut, inner, one_of, repainted, speed_of

__all__ = [
    "bgr_as_rgb",
    "black_camera",
    "black_frames",
    "blurred",
    "camera_late",
    "cameras_swapped",
    "few_frames",
    "frame_size",
    "frozen_camera",
    "overexposed",
    "undecodable",
    "underexposed",
    "upside_down",
]

Image = NDArray[np.uint8]

SEEN = (*GENERATED, "sample", "bridge")
LIVE = (*GENERATED, "sample")
FULL = 255.0
GAMMA = 2.2
"""Of sRGB, about: light to numbers."""


def _places(case: Case, camera: str, count: int, rng: np.random.Generator) -> list[int]:
    """So many frames, anywhere."""
    total = len(case.recording.streams[camera].time_ns)
    low, high = (1, total - 1) if total < 40 else (total // 8, total - total // 8)
    return [int(i) for i in rng.choice(np.arange(low, high), size=min(count, high - low), replace=False)]


@fault("camera.undecodable", (1, 5, 20), SEEN)
def undecodable(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many frames are cut off."""
    camera = one_of(brightest(case), rng)
    frames = case.frames(camera)
    for i in _places(case, camera, int(level), rng):
        frames[i] = frames[i][: round(len(frames[i]) * rng.uniform(0.3, 0.8))]
    return case.with_frames(camera, frames)


@fault("camera.frame_size", (1, 5, 20), SEEN)
def frame_size(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many frames are of another size."""
    camera = one_of(brightest(case), rng)
    frames = case.frames(camera)
    for i in _places(case, camera, int(level), rng):
        image = images.decode(frames[i])
        size = (image.shape[1] // 2, image.shape[0] // 2)
        frames[i] = images.encode_jpeg(np.asarray(cv2.resize(image, size), dtype=np.uint8), 85)
    return case.with_frames(camera, frames)


def _dark(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    return np.abs(rng.normal(0, 1.2, shape)).astype(np.uint8)


@fault("camera.black", (1, 1, 1), SEEN)
def black_camera(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """All frames are black, but for the sensor's noise."""
    return repainted(case, one_of(brightest(case), rng), lambda image, _: _dark(image.shape, rng))


@fault("camera.black_frames", (3, 10, 30), LIVE)
def black_frames(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many frames in a row are black."""
    camera = one_of(brightest(case), rng)
    frames = case.frames(camera)
    first = inner(len(frames), int(level), rng)
    for i in range(first, first + int(level)):
        frames[i] = images.encode_jpeg(_dark(images.decode(frames[i]).shape, rng), 85)
    return case.with_frames(camera, frames)


@fault("camera.frozen", (3, 6, 15), LIVE)
def frozen_camera(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many frames in a row are the same bytes, while the robot moves."""
    camera = one_of(brightest(case), rng)
    frames = case.frames(camera)
    state = case.stream(case.measured[0])
    pace = speed_of(state, columns(case, case.measured[0], (Kind.JOINT_POSITION, Kind.POSITION)))
    time = case.recording.streams[camera].time_ns + case.mapping.streams[camera].offset_ns
    at = np.interp(time - state.time_ns[0], state.time_ns - state.time_ns[0], pace)
    at[: len(at) // 8] = at[len(at) - len(at) // 8 - int(level) :] = 0
    first = one_of([int(i) for i in np.flatnonzero(at >= np.quantile(at, 0.8))], rng)
    frames[first : first + int(level)] = [frames[first]] * int(level)
    return case.with_frames(camera, frames)


@fault("camera.blurred", (3, 6, 12), GENERATED)
def blurred(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The lens is out of focus: a gaussian of so many pixels at a width of 640, in proportion, at least one."""
    camera = one_of(brightest(case), rng)
    sigma = max(level / 3, level * case.camera(camera).width / 640)
    return repainted(case, camera, lambda image, _: np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8))


def _exposed(case: Case, camera: str, factor: float) -> Case:
    """So many times the light."""
    table = np.clip(FULL * factor ** (1 / GAMMA) * (np.arange(256) / FULL), 0, FULL).round().astype(np.uint8)
    return repainted(case, camera, lambda image, _: table[image])


@fault("camera.exposure", (3, 4, 5), LIVE)
def overexposed(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many stops brighter, and more until half of the pixels are white."""
    camera = one_of(brightest(case), rng)
    frames = case.frames(camera)
    middle = images.decode(frames[len(frames) // 2])
    # White is where all three channels are full.
    needed = (FULL / max(1.0, float(np.median(middle.min(axis=2))))) ** GAMMA
    return _exposed(case, camera, max(2.0**level, needed * 1.05 * 2 ** (level - 3)))


@fault("camera.exposure", (0.1, 0.08, 0.06), LIVE)
def underexposed(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So small a part of the brightness."""
    camera = one_of(brightest(case), rng)
    return repainted(case, camera, lambda image, _: (image * level + rng.random(image.shape)).astype(np.uint8))


@fault("camera.few_frames", (2, 3, 5), ("joint", "pose", "sample"))
def few_frames(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Only every so manieth frame is there."""
    can = [c for c in case.cameras if c != case.mapping.step_clock.stream]
    clock_is_camera = case.mapping.step_clock.kind is None
    camera = one_of(can[1:] if clock_is_camera else can, rng)

    def keep(time: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(np.arange(len(time)) % int(level) == 0)

    return cut(case, keep, [camera])


@fault("camera.color_order", (1, 1, 1), GENERATED)
def bgr_as_rgb(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Red and blue are exchanged."""
    camera = one_of(brightest(case), rng)
    return repainted(case, camera, lambda image, _: np.ascontiguousarray(image[..., ::-1]))


@fault("camera.orientation", (1, 1, 1), GENERATED)
def upside_down(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Turned by 180 degrees."""
    camera = one_of(brightest(case), rng)
    return repainted(case, camera, lambda image, _: np.ascontiguousarray(image[::-1, ::-1]))


@fault("camera.swapped", (1, 1, 1), GENERATED)
def cameras_swapped(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Two cameras are exchanged."""
    first, second = case.cameras[:2]
    one, other = case.camera(first), case.camera(second)
    return case.with_streams(
        dataclasses.replace(other, name=first, height=one.height, width=one.width),
        dataclasses.replace(one, name=second, height=other.height, width=other.width),
    )


@fault("camera.latency", (0.07, 0.14, 0.3), ("joint", "pose"))
def camera_late(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The images of a camera are stamped so many s late."""
    stream = case.camera(one_of(brightest(case), rng))
    late = round(level * 1e9)
    received = None if stream.receive_time_ns is None else stream.receive_time_ns + late
    return case.with_streams(dataclasses.replace(stream, time_ns=stream.time_ns + late, receive_time_ns=received))
