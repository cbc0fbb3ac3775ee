"""Meaning: what the numbers do must be what the schema says that they are."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ..finding import Finding, Severity
from ._check import EpisodeFacts, check, dataset_check, feature
from ._columns import deviation
from ._lag import Lag, estimate
from ._look import excess, listed, quantity
from ._mode import OtherMode, other_modes
from ._order import follow, inverted_grippers, mirrored, swapped
from ._pairs import Pairs, paired
from ._poses import compare_poses
from ._quaternions import negated, reordered
from ._scale import Scaled, scaled
from ._shifted import copies

__all__ = [
    "causality",
    "gripper_polarity",
    "joint_order",
    "kinematics",
    "lag",
    "measured_lag",
    "mode",
    "shifted_state",
    "units",
]

FloatArray = NDArray[np.float64]

FEWEST_EPISODES = 5
"""Fewer of an embodiment don't show what is usual."""
CLEAR = 0.9
"""A second peak of the correlation that is so high beside the first one makes a lag ambiguous."""


@check(Severity.WARNING)
def shifted_state(episode: Episode, *, share: float = 0.9, steps: float = 5.0) -> Iterator[Finding]:
    """Commands are not copies of the measured states."""
    pairs = paired(episode)
    for action in dict.fromkeys(p.action for p in pairs.items):
        found = copies(pairs, action, share=share, steps=steps)
        if found is None:
            continue
        chosen = [pairs.items[i] for i in found.pairs]
        when = {0: "the same step", 1: "the next step"}.get(found.shift, f"{found.shift} steps later")
        what = "the change of" if chosen[0].is_rate else "the state of"
        source = listed(list(dict.fromkeys(p.state for p in chosen)))
        yield Finding(
            message=f"{action} is {what} {source} of {when} in {100 * found.share:.3g} % of the "
            f"{found.count:,} steps with motion ({_named(pairs, found.pairs)}); commands must be what was sent, "
            "not what was measured",
            location=chosen[0].location,
            magnitude=found.share,
            dimensions=tuple(p.command.name for p in chosen),
        )


def _named(pairs: Pairs, chosen: Sequence[int]) -> str:
    return listed([pairs.items[i].command.name for i in chosen])


def _is_sure(lag: Lag, height: float) -> bool:
    """Whether a lag is one that can be relied on: commands and states go together, at one lag only."""
    return lag.height >= height and lag.other <= CLEAR * lag.height


@feature(dtype="float64", shape=(2,))
def measured_lag(episode: Episode) -> FloatArray | None:
    """Lag of the states behind their commands in steps, and its correlation, [2]; None where it is not known."""
    found = estimate(episode)
    if found is None or not np.isfinite(found.steps) or found.other > CLEAR * found.height:
        return None
    return np.array([found.steps, found.height])


@dataset_check(Severity.WARNING, features=(measured_lag,))
def lag(
    facts: Sequence[EpisodeFacts], *, steps: float = 0.6, spreads: float = 3.0, height: float = 0.5
) -> Iterator[Finding]:
    """States follow their commands after the same time in all episodes of an embodiment."""
    groups: dict[str, list[tuple[int, float]]] = {}
    for index, fact in enumerate(facts):
        value = measured_lag.of(fact)
        if value is not None and value[1] >= height and np.isfinite(value).all():
            groups.setdefault(fact.embodiment, []).append((index, float(value[0])))
    odd: dict[int, tuple[float, float, float, int]] = {}
    for members in groups.values():
        if len(members) < FEWEST_EPISODES:
            continue
        lags = np.array([v for _, v in members])
        usual = float(np.median(lags))
        spread = float(deviation(lags, usual))
        for index, found in members:
            if abs(found - usual) > max(steps, spreads * spread):
                odd[index] = (found, usual, spread, len(members) - 1)
    if not odd:
        return
    for index, fact in enumerate(facts):
        if index in odd:
            found, usual, spread, others = odd[index]
            when = "late" if found < usual else "early"
            yield Finding(
                message=f"states follow their commands after {found:.2f} steps; in the other {others:,} episodes of "
                f"{fact.embodiment} after {usual:.2f} (they vary by {spread:.2f}), so actions seem to be labelled "
                f"{abs(found - usual):.1f} steps too {when}",
                location="/steps/action",
                episode_id=fact.episode_id,
                magnitude=abs(found - usual),
            )


@check(Severity.ERROR)
def causality(episode: Episode, *, lead: float = 0.5, height: float = 0.6, share: float = 0.7) -> Iterator[Finding]:
    """States don't move before they are commanded to."""
    found = estimate(episode)
    if found is None or not found.steps < -lead or not _is_sure(found, height):
        return
    clear = found.heights >= height
    early = clear & (found.peaks < -lead)
    if not clear.any() or early.sum() < share * clear.sum() or found.steps + found.error > -lead / 2:
        return
    period = 1e3 / episode.embodiment.rate_hz
    yield Finding(
        message=f"states move {-found.steps:.2f} steps ({-found.steps * period:.0f} ms) before their commands "
        f"(correlation {found.height:.2f}, {int(early.sum())} of {int(clear.sum())} dimensions); a command must come "
        "before its effect",
        location="/steps/action",
        magnitude=-found.steps,
        dimensions=tuple(p.command.name for p, e in zip(found.pairs.items, early, strict=True) if e),
    )


@check(Severity.ERROR)
def mode(episode: Episode, *, correlation: float = 0.8) -> Iterator[Finding]:
    """Actions are absolute or changes, as the schema says."""
    pairs = paired(episode)
    for action in dict.fromkeys(p.action for p in pairs.items):
        for is_rate in (True, False):
            found = other_modes(pairs, action, is_rate=is_rate, correlation=correlation)
            if found is not None:
                yield Finding(
                    message=f"{action} {_contradiction(pairs, found)} ({len(found.pairs)} of {found.judged} dimensions "
                    f"that move: {_named(pairs, found.pairs)}); they must be what is declared",
                    location=pairs.items[found.best].location,
                    magnitude=len(found.pairs) / found.judged,
                    dimensions=tuple(pairs.items[i].command.name for i in found.pairs),
                )


def _contradiction(pairs: Pairs, found: OtherMode) -> str:
    pair = pairs.items[found.best]
    name = f"{pair.state}.{pair.measured.name}"
    if pair.is_rate:
        return (
            f"is declared {pair.command.mode} but follows the level of the state: {pair.command.name} and {name} have "
            f"a correlation of {found.level:.2f}, its sum and the motion {found.change:.2f}"
        )
    return (
        f"is declared {pair.command.mode} but its values are changes: the sum of {pair.command.name} and the motion of "
        f"{name} have a correlation of {found.change:.2f}, its values and the level {found.level:.2f}"
    )


@check(Severity.ERROR)
def units(episode: Episode, *, tolerance: float = 1.5) -> Iterator[Finding]:
    """Values are in the unit that the schema says, not in degrees or millimetres."""
    groups: dict[tuple[str, str], list[Scaled]] = {}
    for found in scaled(episode, estimate(episode), tolerance=tolerance):
        groups.setdefault((found.signal, found.unit), []).append(found)
    for (signal, unit), members in groups.items():
        first = members[0]
        yield Finding(
            message=f"{signal} seems to be in {unit} in {len(members)} dimensions "
            f"({listed([m.dimension.name for m in members])}): {first.dimension.name} has {first.reason}; the schema "
            f"says {first.dimension.unit}",
            location=f"/streams/{signal}/values",
            magnitude=float(len(members)),
            dimensions=tuple(m.dimension.name for m in members),
        )


@check(Severity.ERROR)
def gripper_polarity(episode: Episode, *, correlation: float = 0.6, motion: float = 0.3) -> Iterator[Finding]:
    """A gripper opens where its command opens."""
    pairs = paired(episode)
    found = inverted_grippers(pairs, episode.embodiment.rate_hz, correlation=correlation, motion=motion)
    for action in dict.fromkeys(pairs.items[f.pair].action for f in found):
        members = [f for f in found if pairs.items[f.pair].action == action]
        worst = min(members, key=lambda f: f.correlation)
        pair = pairs.items[worst.pair]
        yield Finding(
            message=f"{action}.{pair.command.name} closes where {pair.state}.{pair.measured.name} opens (correlation "
            f"of their openings {worst.correlation:.2f}, {worst.lag} steps later); the schema says open is "
            f"{quantity(pair.command.open_value or 0.0, pair.command.unit)} in the command and "
            f"{quantity(pair.measured.open_value or 0.0, pair.measured.unit)} in the state, and they must agree",
            location=pair.location,
            magnitude=-worst.correlation,
            dimensions=tuple(pairs.items[f.pair].command.name for f in members),
        )


@check(Severity.ERROR)
def joint_order(episode: Episode, *, correlation: float = 0.6) -> Iterator[Finding]:
    """Each joint follows its own command, in the same direction."""
    yield from _quaternions(episode)
    found = estimate(episode)
    seen = None if found is None else follow(found)
    if found is None or seen is None:
        return
    items = found.pairs.items
    crossed = swapped(found, seen, correlation=correlation)
    if crossed is not None:
        first = items[crossed.pairs[0]]
        told = [
            f"{items[a].command.name} is followed by {items[b].measured.name}"
            for a, b in zip(crossed.pairs, crossed.follows, strict=True)
        ]
        yield Finding(
            message=f"commands of {first.action} are followed by other joints than their own: {listed(told)} "
            f"(correlation of the motion at least {crossed.other:.2f}, with their own at most {crossed.own:.2f}); each "
            "joint must follow its own command",
            location=first.location,
            magnitude=float(len(crossed.pairs)),
            dimensions=tuple(items[i].command.name for i in crossed.pairs if items[i].action == first.action),
        )
    crossing = () if crossed is None else crossed.pairs
    opposite = [m for m in mirrored(found, seen, correlation=correlation) if m.pair not in crossing]
    if opposite:
        same = negated(episode)
        opposite = [m for m in opposite if (items[m.pair].action, items[m.pair].command.name) not in same]
    for action in dict.fromkeys(items[m.pair].action for m in opposite):
        members = [m for m in opposite if items[m.pair].action == action]
        worst = min(members, key=lambda m: m.correlation)
        pair = items[worst.pair]
        yield Finding(
            message=f"{action}.{pair.command.name} and {pair.state}.{pair.measured.name} move in opposite directions "
            f"(correlation {worst.correlation:.2f}), {len(members)} such dimensions "
            f"({listed([items[m.pair].command.name for m in members])}); a joint must move as it is commanded",
            location=pair.location,
            magnitude=-worst.correlation,
            dimensions=tuple(items[m.pair].command.name for m in members),
        )


def _quaternions(episode: Episode) -> Iterator[Finding]:
    """The components of a rotation have an order, as joints do."""
    for found in reordered(episode):
        yield Finding(
            message=f"the quaternion of {found.action} is {found.angle:.2f} rad away from that of {found.state} "
            f"(median) and {found.undone:.2f} rad if one of them has another order of its components; both must be "
            f"{found.declared}, as declared",
            location=f"/streams/{found.action}/values",
            magnitude=found.angle,
            dimensions=found.dimensions,
        )


@check(Severity.ERROR)
def kinematics(episode: Episode, *, distance: float = 0.02, angle: float = 0.1) -> Iterator[Finding]:
    """The recorded pose is where the joints say that it is."""
    for chain in episode.embodiment.kinematics:
        found = compare_poses(episode, chain)
        if found is None:
            continue
        is_turned = found.angle is not None and found.angle > angle
        if found.distance <= distance and not is_turned:
            continue
        turned = f" and turned by {found.angle:.3g} rad" if is_turned else ""
        limit = f"{distance:g} m{f' and {angle:g} rad' if is_turned else ''}"
        cause = f"; it would fit if {found.cause}" if found.cause and found.distance > distance else ""
        yield Finding(
            message=f"{chain.pose} is {found.distance:.4f} m away from where {chain.joints} puts it (median; "
            f"{found.worst:.4f} m at step {found.worst_step:,}){turned}; it must be at most {limit}{cause}",
            location=f"/streams/{chain.pose}/values",
            steps=(found.worst_step, found.worst_step + 1),
            magnitude=max(excess(found.distance, distance), excess(found.angle, angle) if found.angle else 0.0),
        )
