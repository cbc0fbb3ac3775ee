"""Cameras: frames can be decoded, have the right size, show something, change with the robot, and look like others."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ..finding import Finding, Severity
from ..recording import FrameStream
from ..units import Clock
from . import _camera_compare as compare
from . import _camera_repeats as repeating
from ._camera_signature import batches, pack
from ._camera_twins import twins
from ._check import EpisodeFacts, check, dataset_check, feature
from ._frames import BLACK, PLAIN, CameraScan, Picture, scan
from ._look import listed, place, share, spot, steps_between

__all__ = [
    "black",
    "black_frames",
    "blurred",
    "color_order",
    "exposure",
    "few_frames",
    "frame_size",
    "frozen",
    "latency",
    "orientation",
    "signature",
    "swapped",
    "undecodable",
]

MIN_PICTURES = 3
"""So many decoded frames of a video must be alike to call it frozen."""
ALIKE_PERCENTILE = 99.9
"""How many of the values are nearly all."""
CONTRAST = "of the contrast"
MOST_SHOWN = 4
"""Frames that a finding names."""
MOST_OTHERS = 16
"""Episodes that a finding names."""


def _steps(episode: Episode, scanned: CameraScan, first: int, last: int) -> tuple[int, int] | None:
    """Steps at the time of the frames first to last."""
    time = scanned.stream.time_ns
    if not 0 <= first <= last < len(time):
        return None
    return steps_between(episode, scanned.stream, int(time[first]), int(time[last]))


@check(Severity.ERROR)
def undecodable(episode: Episode) -> Iterator[Finding]:
    """Every frame has a header and an end, and every frame that is looked at can be decoded."""
    for scanned in scan(episode):
        if scanned.damaged:
            index, reason = scanned.damaged[0]
            is_video = scanned.stream.video is not None
            total = len(scanned.stream.frames.sizes) if is_video else scanned.stop - scanned.start
            first = f"frame {index:,}" if is_video else spot(episode, scanned.stream, index)
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
        found = [(scanned.start + i, (int(h), int(w))) for i, (h, w) in enumerate(scanned.sizes.tolist())] or [
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
                frames=tuple(i for i, _ in wrong[:MOST_SHOWN]),
            )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _is_required(episode: Episode, scanned: CameraScan) -> bool:
    return scanned.schema is not None and episode.embodiment.rule(scanned.stream.name).required


def _describe(pictures: Sequence[Picture], mean: float) -> str:
    return "black" if any(p.is_black(mean) for p in pictures) else "of one colour"


@check(Severity.ERROR)
def black(episode: Episode, *, mean: float = BLACK, plain: float = PLAIN) -> Iterator[Finding]:
    """A camera that the schema requires shows something."""
    for scanned in scan(episode):
        blank = scanned.blank(mean, plain)
        if blank and len(blank) == len(scanned.pictures) and _is_required(episode, scanned):
            yield _all_blank(scanned, blank, mean)


@check(Severity.WARNING)
def black_frames(episode: Episode, *, mean: float = BLACK, plain: float = PLAIN) -> Iterator[Finding]:
    """No frame is black or of one colour."""
    for scanned in scan(episode):
        blank = scanned.blank(mean, plain)
        if not blank:
            continue
        if len(blank) == len(scanned.pictures):
            if not _is_required(episode, scanned):  # a required camera is an error: `black`
                yield _all_blank(scanned, blank, mean)
            continue
        shown = listed([f"{p.index:,}" for p in blank])
        yield Finding(
            message=f"{scanned.stream.name} is {_describe(blank, mean)} in {len(blank)} of {len(scanned.pictures)} "
            f"frames that were decoded: {shown}; frames must show something",
            location=scanned.location,
            steps=_steps(episode, scanned, blank[0].index, blank[0].index),
            magnitude=len(blank) / len(scanned.pictures),
            frames=_some(blank),
        )


def _all_blank(scanned: CameraScan, blank: Sequence[Picture], limit: float) -> Finding:
    mean, spread = max(p.mean for p in blank), max(p.spread for p in blank)
    return Finding(
        message=f"{scanned.stream.name} is {_describe(blank, limit)} in all {len(blank)} frames that were decoded "
        f"(mean {mean:.1f}, spread {spread:.1f} or less); it must show something",
        location=scanned.location,
        magnitude=1.0,
        frames=_some(blank),
    )


def _some(pictures: Sequence[Picture]) -> tuple[int, ...]:
    return tuple(p.index for p in pictures[:MOST_SHOWN])


@check(Severity.WARNING)
def exposure(episode: Episode, *, white: float = 0.4, dark: float = 40.0, frames: float = 0.5) -> Iterator[Finding]:
    """A camera is neither overexposed nor underexposed in most of an episode."""
    for scanned in scan(episode):
        blank = {p.index for p in scanned.blank()}
        pictures = [p for p in scanned.samples if p.index not in blank]
        if scanned.is_depth or len(pictures) < MIN_PICTURES:
            continue
        over = [p for p in pictures if p.white >= white]
        under = [p for p in pictures if p.brightest < dark]
        if len(over) >= frames * len(pictures):
            found = float(np.median([p.white for p in over]))
            what = f"overexposed: {100 * found:.0f} % of the pixels are white"
            wanted, magnitude, shown = f"it must be less than {100 * white:.0f} %", found, over
        elif len(under) >= frames * len(pictures):
            found = float(np.median([p.brightest for p in under]))
            what = f"underexposed: 99 of 100 pixels are darker than {found:.0f} of 255"
            wanted, magnitude, shown = f"one in 100 must be brighter than {dark:.0f}", 1 - found / 255, under
        else:
            continue
        yield Finding(
            message=f"{scanned.stream.name} is {what} in {len(shown)} of {len(pictures)} frames that were decoded; "
            f"{wanted}",
            location=scanned.location,
            magnitude=magnitude,
            frames=_some(shown),
        )


@check(Severity.WARNING)
def frozen(
    episode: Episode, *, frames: float = 3.0, still_frames: float = 6.0, still_share: float = 0.05
) -> Iterator[Finding]:
    """A camera does not repeat the same frame while the robot moves, nor for a long part of an episode."""
    for scanned in scan(episode):
        if scanned.pictures and len(scanned.blank()) == len(scanned.pictures):
            continue  # black frames are equal by nature; once is enough
        is_video = scanned.stream.video is not None
        if is_video and _is_one_picture(scanned.samples):
            yield _one_picture(scanned)
            continue
        total = scanned.stop - scanned.start
        # A video of a scene at rest may well repeat itself: encoding takes the noise away.
        longest = np.inf if is_video else max(still_frames, still_share * total)
        found = repeating.stands(repeating.repeats_of(scanned), frames)
        odd = [s for s in found if s.is_in_motion or (s.count >= longest and not s.is_at_rest)]
        if odd:
            yield _stands(episode, scanned, odd, total)


def _stands(episode: Episode, scanned: CameraScan, odd: Sequence[repeating.Stand], total: int) -> Finding:
    worst, more = odd[0], len(odd) - 1
    where = spot(episode, scanned.stream, worst.first)
    motion = " while the robot moves" if worst.is_in_motion else ""
    places = f", and in {more:,} more place{'s' * (more > 1)}" if more else ""
    return Finding(
        message=f"{scanned.stream.name} repeats the same frame {worst.count:,} times from {where}{motion}, "
        f"{share(worst.count, total, 'frames')}{places}; a live camera never gives the same bytes twice",
        location=scanned.location,
        steps=_steps(episode, scanned, worst.first, worst.first + worst.count - 1),
        magnitude=worst.count / max(total, 1),
        frames=tuple(s.first for s in odd[:MOST_SHOWN]),
    )


def _one_picture(scanned: CameraScan) -> Finding:
    """Packets of a video differ even where the picture stands: the decoded frames must be compared."""
    pictures = scanned.samples
    return Finding(
        message=f"{scanned.stream.name} shows the same picture in all {len(pictures)} frames that were decoded, "
        f"{pictures[0].index:,} to {pictures[-1].index:,}; a live camera never does",
        location=scanned.location,
        magnitude=1.0,
        frames=(pictures[0].index, pictures[-1].index),
    )


def _is_one_picture(pictures: Sequence[Picture]) -> bool:
    return len(pictures) >= MIN_PICTURES and all(_are_alike(pictures[0], p) for p in pictures[1:])


def _are_alike(first: Picture, second: Picture) -> bool:
    if first.reduced.shape != second.reduced.shape:
        return False
    difference = np.abs(first.reduced.astype(np.float64) - second.reduced.astype(np.float64))
    return float(np.percentile(difference, ALIKE_PERCENTILE)) < repeating.ALIKE


@check(Severity.WARNING)
def few_frames(episode: Episode, *, rate: float = 0.65) -> Iterator[Finding]:
    """A camera gives new pictures as often as its schema and its steps want them."""
    for scanned in scan(episode):
        wanted = repeating.wanted_rate(episode, scanned)
        if wanted is None or (scanned.pictures and len(scanned.blank()) == len(scanned.pictures)):
            continue
        repeats = repeating.repeats_of(scanned)
        real = repeating.real_rate(scanned, repeats, wanted)
        shown = repeating.shown_share(episode, scanned, repeats)
        usual = min(1.0, wanted / episode.embodiment.rate_hz)
        if real is not None and real < rate * wanted:
            per = "" if scanned.stream.clock is Clock.NOMINAL else " a second"
            says = f"gives {real:.3g} different frames{per}" if per else f"gives {100 * real / wanted:.0f} % new frames"
            must = f"it must give {wanted:.3g}{per}" if per else f"it must give one every 1/{wanted:.3g} s"
            yield _few(scanned, f"{says} while the robot moves; {must}", wanted / max(real, 1e-3))
        elif shown is not None and shown < rate * usual:
            says = f"shows a new picture at {100 * shown:.0f} % of the steps in which the robot moves; "
            says += f"it must at {100 * usual:.0f} %"
            yield _few(scanned, says, usual / max(shown, 1e-3))


def _few(scanned: CameraScan, says: str, magnitude: float) -> Finding:
    return Finding(message=f"{scanned.stream.name} {says}", location=scanned.location, magnitude=magnitude)


@check(Severity.WARNING)
def same(episode: Episode, *, most: float = 8.0) -> Iterator[Finding]:
    """No two cameras show the same."""
    for pair in twins(scan(episode), most):
        first, second = pair.first.stream.name, pair.second.stream.name
        yield Finding(
            message=f"{first} and {second} show the same picture at {len(pair.frames)} of {pair.compared} moments that "
            "were compared; two cameras must show two views",
            location=pair.first.location,
            magnitude=len(pair.frames) / pair.compared,
            frames=pair.frames[:4],
        )


@feature()
def signature(episode: Episode) -> NDArray[np.uint8] | None:
    """What each camera looks like: coarse colours, sharpness, delay; [cameras, bytes]."""
    return pack(episode) if any(isinstance(s, FrameStream) for s in episode.streams.values()) else None


def _finding(odd: compare.Odd, message: str, magnitude: float) -> Finding:
    return Finding(
        message=f"{odd.camera} {message}",
        location=f"/streams/{odd.camera}/frames",
        episode_id=odd.episode_id,
        others=odd.others[:MOST_OTHERS],
        magnitude=magnitude,
    )


def _voices(odd: compare.Odd) -> str:
    return f"{len(odd.others):,} of {odd.number:,} other episodes"


@dataset_check(Severity.WARNING, features=(signature,))
def orientation(facts: Sequence[EpisodeFacts], *, ratio: float = 1.7, votes: float = 4.0) -> Iterator[Finding]:
    """A camera stands the same way up as in the other episodes."""
    for batch in batches(facts, signature):
        for odd in compare.turned(batch, ratio=ratio, votes=votes):
            says = f"is {odd.what}: turned back, it looks like that of {_voices(odd)} "
            yield _finding(odd, f"{says}{_apart(odd, CONTRAST)}; it must stand as it does there", odd.ratio)


@dataset_check(Severity.WARNING, features=(signature,))
def color_order(facts: Sequence[EpisodeFacts], *, ratio: float = 1.7, votes: float = 4.0) -> Iterator[Finding]:
    """A camera's red and blue are not exchanged against the other episodes."""
    for batch in batches(facts, signature):
        for odd in compare.exchanged_colors(batch, ratio=ratio, votes=votes):
            says = f"has red and blue exchanged: put right, it has the colours of {_voices(odd)} "
            yield _finding(odd, f"{says}{_apart(odd, 'of 255')}; it must have them as there", odd.ratio)


@dataset_check(Severity.WARNING, features=(signature,))
def swapped(facts: Sequence[EpisodeFacts], *, ratio: float = 1.7, votes: float = 4.0) -> Iterator[Finding]:
    """Two cameras are not exchanged against the other episodes."""
    for batch in batches(facts, signature):
        for odd in compare.swapped_cameras(batch, ratio=ratio, votes=votes):
            says = f"and {odd.what} are exchanged: each looks like the other one of {_voices(odd)} "
            yield _finding(odd, f"{says}{_apart(odd, CONTRAST)}; each must show what it shows there", odd.ratio)


def _apart(odd: compare.Odd, unit: str) -> str:
    return f"({odd.undone:.2g} {unit} apart; as it is {odd.found:.2g})"


@dataset_check(Severity.WARNING, features=(signature,))
def blurred(facts: Sequence[EpisodeFacts], *, factor: float = 2.0) -> Iterator[Finding]:
    """A camera is as sharp as in the other episodes."""
    for batch in batches(facts, signature):
        for odd in compare.blurred(batch, float(np.log2(max(factor, 1.0)))):
            weaker = 2.0 ** (odd.undone - odd.found)
            says = f"is blurred: its fine details are {weaker:.1f} times weaker than in the median of {odd.number:,} "
            says += f"other episodes; they must be at most {factor:.3g} times weaker"
            yield _finding(odd, says, weaker)


@dataset_check(Severity.WARNING, features=(signature,))
def latency(facts: Sequence[EpisodeFacts], *, limit_ms: float = 40.0) -> Iterator[Finding]:
    """A camera shows the robot's motion as late as in the other episodes."""
    for batch in batches(facts, signature):
        for odd in compare.late(batch, limit_ms):
            late = odd.found - odd.undone
            says = f"shows motion {abs(late):.0f} ms {'later' if late > 0 else 'earlier'} than in the median of "
            says += f"{odd.number:,} other episodes ({odd.found:.0f} ms after the robot; {odd.undone:.0f} ms there, "
            says += f"spread {odd.spread:.0f} ms); it must be at most {limit_ms:.3g} ms"
            yield _finding(odd, says, abs(late))
