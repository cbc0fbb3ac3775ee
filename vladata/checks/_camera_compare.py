"""Episodes whose camera is turned, has other colours, is another camera, blurred or late, against the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._camera_signature import Batch, FloatArray, distances
from ._sharpness import SCALES

__all__ = ["TURNS", "Odd", "blurred", "exchanged_colors", "late", "swapped_cameras", "turned"]

BoolArray = NDArray[np.bool_]
Layout = NDArray[np.float32]

ALIKE = 0.8
"""Two pictures show the same where they differ by less than this share of their own contrast."""
MOST_AGAINST = 3.0
"""So many voices for one against."""
MIN_COLOR = 3.0
"""Pictures whose red and blue differ less than this (of 255) are grey."""
FULL_COLOR = 12.0
"""Larger differences of red and blue count little more: a red cube is small, and lies elsewhere each time."""
KNOWN_SHARE = 0.5
"""By this share of its own uncertainty must a value be off; the spread of the others says more."""
MIN_OTHERS = 4
SPREADS = 5.0
"""Standard deviations of the others that one must be off."""

TURNS: dict[str, Callable[[Layout], Layout]] = {
    "turned by 180 degrees": lambda x: x[:, ::-1, ::-1],
    "turned left by 90 degrees": lambda x: np.rot90(x, -1, axes=(1, 2)),
    "turned right by 90 degrees": lambda x: np.rot90(x, 1, axes=(1, 2)),
    "mirrored left to right": lambda x: x[:, :, ::-1],
    "mirrored top to bottom": lambda x: x[:, ::-1],
}
QUARTERS = frozenset(w for w in TURNS if "90" in w)
QUARTER_RATIO = 1.5
"""So many times more than others must they bring: a camera is seldom mounted on its side, and what covers half of a
picture may look like that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """An episode that is unlike the others, and like them when something is undone."""

    episode_id: str
    camera: str
    what: str = ""
    """What was done to it, or the other camera."""
    found: float = 0.0
    """How far it is from the others as it is …"""
    undone: float = 0.0
    """… and when that is undone; or what the others have."""
    spread: float = 0.0
    others: tuple[str, ...] = ()
    """Episodes that say so."""
    number: int = 0
    """Of episodes that could be compared."""

    @property
    def ratio(self) -> float:
        """How much nearer it is when undone."""
        return self.found / max(self.undone, 1e-3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Voices:
    """What each reference says of each episode, [episodes, references]."""

    pro: BoolArray
    contra: BoolArray
    found: FloatArray
    undone: FloatArray

    def odd(self, row: int, votes: float) -> bool:
        pro, contra = int(self.pro[row].sum()), int(self.contra[row].sum())
        return pro >= max(votes, 1) and pro >= MOST_AGAINST * contra


def _voices(found: FloatArray, undone: FloatArray, ratio: float, alike: BoolArray) -> _Voices:
    return _Voices(pro=(undone * ratio < found) & alike, contra=found * ratio < undone, found=found, undone=undone)


def _layouts(batch: Batch, column: int) -> tuple[Layout, Layout, BoolArray]:
    """Layouts of the episodes and of the references, [n, 8, 8, 3], and which of them may be compared."""
    mine, theirs = batch.table[:, column], batch.group.table[:, column]
    may = (mine["is_seen"][:, None] > 0) & (theirs["is_seen"][None, :] > 0) & batch.is_other()
    return mine["layout"].astype(np.float32), theirs["layout"].astype(np.float32), may


def _flat(layouts: Layout) -> FloatArray:
    return layouts.reshape(len(layouts), -1)


def _shapes(layouts: Layout) -> Layout:
    """Brightness taken off, contrast made one, and large differences limited: what stands in a scene is small."""
    centred = layouts - layouts.mean(axis=(1, 2), keepdims=True)
    contrast = np.sqrt(np.square(centred).mean(axis=(1, 2, 3), keepdims=True) + 1)
    return np.asarray(np.tanh(centred / contrast), dtype=np.float32)


def _masked(voices: _Voices, may: BoolArray) -> _Voices:
    return _Voices(pro=voices.pro & may, contra=voices.contra & may, found=voices.found, undone=voices.undone)


def _odd(batch: Batch, row: int, column: int, voices: _Voices, what: str, may: BoolArray) -> Odd:
    pro = np.flatnonzero(voices.pro[row])
    return Odd(
        episode_id=batch.ids[row],
        camera=batch.group.cameras[column],
        what=what,
        found=float(np.median(voices.found[row, pro])),
        undone=float(np.median(voices.undone[row, pro])),
        others=tuple(batch.group.ids[i] for i in pro),
        number=int(may[row].sum()),
    )


def turned(batch: Batch, *, ratio: float, votes: float) -> Iterator[Odd]:
    """Cameras that look like those of others only when turned or mirrored."""
    for column in range(len(batch.group.cameras)):
        mine, theirs, may = _layouts(batch, column)
        mine, theirs = _shapes(mine), _shapes(theirs)
        found = distances(_flat(mine), _flat(theirs))
        heard = []
        for what, turn in TURNS.items():
            undone = distances(_flat(np.ascontiguousarray(turn(mine))), _flat(theirs))
            sure = QUARTER_RATIO * ratio if what in QUARTERS else ratio
            heard.append((what, _masked(_voices(found, undone, sure, undone < ALIKE), may)))
        for row in range(len(batch.ids)):
            odd = [_odd(batch, row, column, v, what, may) for what, v in heard if v.odd(row, votes)]
            if odd:
                yield min(odd, key=lambda o: (-len(o.others), o.undone))


def exchanged_colors(batch: Batch, *, ratio: float, votes: float) -> Iterator[Odd]:
    """Cameras that have the colours of others only when red and blue are exchanged."""
    for column in range(len(batch.group.cameras)):
        mine, theirs, may = _layouts(batch, column)
        # Red minus blue: exchanging them turns its sign and leaves everything else.
        own, other = (FULL_COLOR * np.tanh(_flat(x[..., :1] - x[..., 2:]) / FULL_COLOR) for x in (mine, theirs))
        strong = np.sqrt(np.square(other).mean(axis=1))
        found, undone = distances(own, other), distances(-own, other)
        voices = _voices(found, undone, ratio, undone < ALIKE * strong[None, :])
        # Another light shifts all colours alike; what differs between the parts must say the same.
        own, other = (x - x.mean(axis=1, keepdims=True) for x in (own, other))
        by_parts = distances(-own, other) < distances(own, other)
        voices = _masked(voices, may & (strong[None, :] > MIN_COLOR))
        voices = _Voices(pro=voices.pro & by_parts, contra=voices.contra, found=found, undone=undone)
        for row in range(len(batch.ids)):
            if voices.odd(row, votes):
                yield _odd(batch, row, column, voices, "", may)


def swapped_cameras(batch: Batch, *, ratio: float, votes: float) -> Iterator[Odd]:
    """Pairs of cameras each of which looks like the other one of other episodes."""
    count = len(batch.group.cameras)
    shapes = [(_shapes(mine), _shapes(theirs), may) for mine, theirs, may in (_layouts(batch, c) for c in range(count))]
    for a in range(count):
        for b in range(a + 1, count):
            (mine_a, theirs_a, may_a), (mine_b, theirs_b, may_b) = shapes[a], shapes[b]
            may = may_a & may_b
            sides = []
            for mine, own, other in ((mine_a, theirs_a, theirs_b), (mine_b, theirs_b, theirs_a)):
                found, undone = distances(_flat(mine), _flat(own)), distances(_flat(mine), _flat(other))
                sides.append(_voices(found, undone, ratio, undone < ALIKE))
            first, second = sides
            voices = _Voices(
                pro=first.pro & second.pro & may,
                contra=(first.contra | second.contra) & may,
                found=(first.found + second.found) / 2,
                undone=(first.undone + second.undone) / 2,
            )
            for row in range(len(batch.ids)):
                if voices.odd(row, votes):
                    yield _odd(batch, row, a, voices, batch.group.cameras[b], may)


def blurred(batch: Batch, limit: float) -> Iterator[Odd]:
    """Cameras whose details of some size are weaker than in the others, each at the size at which it is most so.

    Args:
        batch: Episodes to be judged.
        limit: log2 of how many times weaker.
    """
    worst: dict[tuple[str, str], Odd] = {}
    for scale in range(SCALES):
        mine, theirs = batch.table["sharpness"][..., scale], batch.group.table["sharpness"][..., scale]
        for odd in _off(batch, mine, theirs, limit, (-1,)):
            before = worst.setdefault((odd.episode_id, odd.camera), odd)
            if odd.undone - odd.found > before.undone - before.found:
                worst[odd.episode_id, odd.camera] = odd
    yield from worst.values()


def late(batch: Batch, limit_ms: float) -> Iterator[Odd]:
    """Cameras that show motion later or earlier than in the others, by more than half of what it is uncertain by."""
    known = KNOWN_SHARE * batch.table["uncertainty_ms"]
    yield from _off(batch, batch.table["delay_ms"], batch.group.table["delay_ms"], limit_ms, (-1, 1), known)


def _off(
    batch: Batch,
    mine: FloatArray,
    theirs: FloatArray,
    limit: float,
    signs: Sequence[int],
    known: FloatArray | None = None,
) -> Iterator[Odd]:
    """Cameras whose value is off the median of all by more than a limit and than what the others vary.

    Args:
        batch: Episodes to be judged.
        mine: Their values, [episodes, cameras].
        theirs: Values of the references, [references, cameras].
        limit: In the unit of the values.
        signs: 1 and -1: too much, too little.
        known: What they must be off by as well, [episodes, cameras].
    """
    for column, camera in enumerate(batch.group.cameras):
        others = theirs[:, column].astype(np.float64)
        others = others[np.isfinite(others)]
        if len(others) <= MIN_OTHERS:
            continue
        middle = float(np.median(others))
        spread = 1.4826 * float(np.median(np.abs(others - middle)))
        values = mine[:, column].astype(np.float64)
        with np.errstate(invalid="ignore"):
            off = np.abs(values - middle) > max(limit, SPREADS * spread)
            off &= np.isin(np.sign(values - middle), signs)
            if known is not None:
                off &= np.abs(values - middle) > known[:, column]
        for row in np.flatnonzero(off):
            yield Odd(
                episode_id=batch.ids[row],
                camera=camera,
                found=float(values[row]),
                undone=middle,
                spread=spread,
                others=tuple(i for i in batch.group.ids[:16] if i != batch.ids[row]),
                number=len(others) - 1,
            )
