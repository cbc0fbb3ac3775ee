"""Cameras: frames can be decoded, have the right size, show something, and change."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..episode import Episode
from ..finding import Finding, Severity
from ._check import check
from ._frames import CameraScan, Picture, scan
from ._look import listed, place, runs, share, steps_between

__all__ = ["black", "black_frames", "frame_size", "frozen", "undecodable"]

BLACK = 8.0
"""A frame of at most this mean and spread (of 255) is black: a covered lens gives 0 to 5 with its noise."""
PLAIN_SPREAD = 1.5
"""A frame whose pixels vary less than this is of one colour: what a dead driver or a missing plane gives."""
FROZEN_FRAMES = 5
"""Fewer equal frames in a row are not worth a word."""
FROZEN_SHARE = 0.05
"""Nor are runs of less than this share of the episode."""
MIN_PICTURES = 3
"""So many decoded frames of a video must be alike to call it frozen."""
ALIKE = 8.0
"""Frames of a video are alike where nearly all values differ by less than this (of 255): encoding a still picture as
H.264 or AV1 gave at most 3, a robot in the picture 80 and more."""
ALIKE_PERCENTILE = 99.9
"""How many of the values are nearly all."""


def _steps(episode: Episode, scanned: CameraScan, first: int, last: int) -> tuple[int, int] | None:
    """Steps at the time of the frames first to last."""
    time = scanned.stream.time_ns
    if not 0 <= first <= last < len(time):
        return None
    return steps_between(episode, scanned.stream, int(time[first]), int(time[last]))


@check(Severity.ERROR)
def undecodable(episode: Episode) -> Iterator[Finding]:
    """Every header can be read, and every frame that is looked at can be decoded."""
    for scanned in scan(episode):
        if scanned.damaged:
            index, reason = scanned.damaged[0]
            is_video = scanned.stream.video is not None
            total = len(scanned.stream.frames.sizes) if is_video else scanned.stop - scanned.start
            first = f"frame {index:,}" if is_video else place(episode, scanned.stream, index).removeprefix("at ")
            count = share(len(scanned.damaged), total, "frames")
            yield Finding(
                message=f"{scanned.stream.name} has {count} that can't be read, first {first}: {reason}",
                location=scanned.location,
                steps=None if is_video else _steps(episode, scanned, index, index),
                magnitude=len(scanned.damaged) / max(total, 1),
            )


@check(Severity.ERROR)
def frame_size(episode: Episode) -> Iterator[Finding]:
    """Frames are as large as their header, their stream and the schema say."""
    for scanned in scan(episode):
        stream, schema = scanned.stream, scanned.schema
        declared = (stream.height, stream.width)
        wanted = (schema.height, schema.width) if schema else declared
        if declared != wanted:
            yield Finding(
                message=f"{stream.name} is declared {_size(declared)}; the schema says {_size(wanted)} pixels",
                location=f"/streams/{stream.name}",
            )
        # Headers first; a video has none, so that its decoded pictures count.
        found = [(scanned.start + i, (int(h), int(w))) for i, (h, w) in enumerate(scanned.sizes)] or [
            (p.index, (p.height, p.width)) for p in scanned.pictures
        ]
        wrong = [(i, size) for i, size in found if size not in {declared, (0, 0)}]
        if wrong:
            index, size = wrong[0]
            yield Finding(
                message=f"{stream.name} is {_size(size)} {place(episode, stream, index)}; the stream is declared "
                f"{_size(declared)} (height x width), and {share(len(wrong), len(found), 'frames')} differ",
                location=scanned.location,
                steps=_steps(episode, scanned, index, index),
                magnitude=len(wrong) / len(found),
            )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _is_blank(picture: Picture, scanned: CameraScan) -> bool:
    if scanned.schema is not None and scanned.schema.depth is not None:
        return picture.spread == 0.0
    return _is_black(picture) or picture.spread < PLAIN_SPREAD


def _is_black(picture: Picture) -> bool:
    """Dark all over: a dark scene with something bright in it is none."""
    return picture.mean < BLACK and picture.spread < BLACK


def _blank(scanned: CameraScan) -> list[Picture]:
    return [p for p in scanned.pictures if _is_blank(p, scanned)]


def _is_required(episode: Episode, scanned: CameraScan) -> bool:
    return scanned.schema is not None and episode.embodiment.rule(scanned.stream.name).required


def _describe(pictures: Sequence[Picture]) -> str:
    return "black" if any(_is_black(p) for p in pictures) else "of one colour"


@check(Severity.ERROR)
def black(episode: Episode) -> Iterator[Finding]:
    """A camera that the schema requires shows something."""
    for scanned in scan(episode):
        blank = _blank(scanned)
        if blank and len(blank) == len(scanned.pictures) and _is_required(episode, scanned):
            yield _all_blank(scanned, blank)


@check(Severity.WARNING)
def black_frames(episode: Episode) -> Iterator[Finding]:
    """No frame is black or of one colour."""
    for scanned in scan(episode):
        blank = _blank(scanned)
        if not blank:
            continue
        if len(blank) == len(scanned.pictures):
            if not _is_required(episode, scanned):  # a required camera is an error: `black`
                yield _all_blank(scanned, blank)
            continue
        shown = listed([f"{p.index:,}" for p in blank])
        yield Finding(
            message=f"{scanned.stream.name} is {_describe(blank)} in {len(blank)} of {len(scanned.pictures)} frames "
            f"that were decoded: {shown}; frames must show something",
            location=scanned.location,
            steps=_steps(episode, scanned, blank[0].index, blank[0].index),
            magnitude=len(blank) / len(scanned.pictures),
        )


def _all_blank(scanned: CameraScan, blank: Sequence[Picture]) -> Finding:
    mean, spread = max(p.mean for p in blank), max(p.spread for p in blank)
    return Finding(
        message=f"{scanned.stream.name} is {_describe(blank)} in all {len(blank)} frames that were decoded (mean "
        f"{mean:.1f}, spread {spread:.1f} or less); it must show something",
        location=scanned.location,
        magnitude=1.0,
    )


@check(Severity.WARNING)
def frozen(episode: Episode) -> Iterator[Finding]:
    """A camera does not repeat the same frame for a long part of an episode."""
    for scanned in scan(episode):
        if scanned.pictures and len(_blank(scanned)) == len(scanned.pictures):
            continue  # black frames are equal by nature; once is enough
        if scanned.stream.video is not None:
            yield from _frozen_video(scanned)
            continue
        digests = scanned.digests
        found = runs((digests[1:] == digests[:-1]) & (digests[1:] != 0))  # 0: could not be read
        start, stop = max(found, key=lambda r: r[1] - r[0], default=(0, 0))
        count, total = stop - start + 1, len(scanned.digests)
        if count > max(FROZEN_FRAMES, FROZEN_SHARE * total):
            first = scanned.start + start
            yield Finding(
                message=f"{scanned.stream.name} repeats the same frame {count:,} times from "
                f"{place(episode, scanned.stream, first).removeprefix('at ')}, {share(count, total, 'frames')}; "
                "a live camera never gives the same bytes twice",
                location=scanned.location,
                steps=_steps(episode, scanned, first, first + count - 1),
                magnitude=count / total,
            )


def _frozen_video(scanned: CameraScan) -> Iterator[Finding]:
    """Packets of a video differ even where the picture stands: the decoded frames must be compared."""
    pictures = scanned.pictures
    if len(pictures) >= MIN_PICTURES and all(_are_alike(pictures[0], p) for p in pictures[1:]):
        yield Finding(
            message=f"{scanned.stream.name} shows the same picture in all {len(pictures)} frames that were decoded, "
            f"{pictures[0].index:,} to {pictures[-1].index:,}; a live camera never does",
            location=scanned.location,
            magnitude=1.0,
        )


def _are_alike(first: Picture, second: Picture) -> bool:
    if first.reduced.shape != second.reduced.shape:
        return False
    difference = np.abs(first.reduced.astype(np.float64) - second.reduced.astype(np.float64))
    return float(np.percentile(difference, ALIKE_PERCENTILE)) < ALIKE
