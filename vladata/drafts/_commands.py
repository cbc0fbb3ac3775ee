"""Commands and the states that they drive: which, and what that says of names, units and modes."""

from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import replace

from ..sources import StreamInfo
from ..units import UNITS_OF_KIND, Clock, Kind, Mode, Unit
from ._evidence import short
from ._meaning import Meanings
from ._model import DimensionPlan, SignalPlan, Stub, lag_text
from ._pairs import MAX_ELEMENTS, Follows, Target, compare
from ._text import label, words

__all__ = ["as_partner", "leaders", "modes", "pair", "target"]

MAX_COMPARED = 600
"""Elements of all pairs that are compared; a second of work for about forty."""


def target(draft: Stub) -> Target | None:
    if draft.sample is None:
        return None
    names = draft.names if draft.is_named else ()
    return Target(sample=draft.sample, names=names, is_timed=draft.info.clock is not Clock.NOMINAL)


def pair(commands: Sequence[Stub], states: Sequence[Stub]) -> None:
    """Find the state that each command drives: exact matches first, then the best correlation."""
    room = MAX_COMPARED
    for command in commands:
        ours = target(command)
        if ours is None:
            continue
        found: list[tuple[tuple[bool, float, float, int], Stub, Follows]] = []
        for number, state in enumerate(states):
            theirs = target(state)
            if theirs is None or room <= 0:
                continue
            room -= min(MAX_ELEMENTS, len(command.names))
            follows = compare(ours, theirs)
            if follows is not None:
                alike = len(words(label(command.info)) & words(label(state.info)))
                rank = (follows.how != "driven", round(follows.correlation, 2), float(alike), -number)
                found.append((rank, state, follows))
        if found:
            _, state, follows = max(found, key=lambda f: f[0])
            command.follows = state, follows


def leaders(states: Sequence[Stub]) -> None:
    """Say where one measured stream runs ahead of another by so much alike that it may be its command."""
    room = MAX_COMPARED // 3
    for one in states:
        for other in states:
            ours, theirs = target(one), target(other)
            if one is other or ours is None or theirs is None or room <= 0:
                continue
            room -= min(MAX_ELEMENTS, len(one.names))
            follows = compare(ours, theirs)
            if follows is None or follows.clearness not in {"clear", "exact"} or follows.lag_rows <= 0:
                continue
            if all(e.how == "absolute" and 0.8 < e.slope < 1.25 for e in follows.elements):
                one.remarks.append(
                    f"runs ahead of {other.name} by {lag_text(follows, one.rate_hz)} and is alike (correlation "
                    f"{follows.correlation:.3f}, {follows.num_rows:,} rows): is it the command? Then move it to action"
                )


def as_partner(dimensions: list[DimensionPlan], draft: Stub, partner: SignalPlan | None) -> list[DimensionPlan]:
    """A command that follows a state one to one is of its kinds and units."""
    if partner is None or draft.follows is None:
        return dimensions
    found = list(dimensions)
    for e in draft.follows[1].elements:
        ours, theirs = found[e.command], partner.dimensions[e.state]
        is_said = ours.is_known or bool(ours.recorded) or theirs.kind is Kind.ROTATION
        if is_said or e.how != "absolute" or e.correlation < 0.9:
            continue
        if 0.8 < e.slope < 1.25 and not theirs.recorded:
            found[e.command] = replace(ours, kind=theirs.kind, unit=theirs.unit, is_known=theirs.is_known, remarks=())
        elif Unit.ONE in UNITS_OF_KIND[theirs.kind]:
            remark = f"unit unknown: {e.slope:.3g} times the number of {partner.name}"
            found[e.command] = replace(ours, kind=theirs.kind, remarks=(remark,))
    return found


def modes(dimensions: list[DimensionPlan], draft: Stub, meanings: Meanings) -> tuple[list[DimensionPlan], list[str]]:
    """Modes of an action: what its name says, else what its values look like, else absolute as an assumption."""
    by_name = meanings.mode
    if draft.info.type.endswith("JointState"):
        by_name = (
            Mode.VELOCITY if draft.info.field == "velocity" else Mode.ABSOLUTE if draft.info.field == "effort" else None
        )
    follows = draft.follows[1] if draft.follows is not None else None
    by_value = {e.command: Mode(e.how) for e in follows.elements if e.how} if follows is not None else {}
    if draft.follows is not None and _is_speed(draft.follows[0].info):
        by_value = {i: Mode.VELOCITY if m is Mode.ABSOLUTE else m for i, m in by_value.items()}
    fallback = by_name or _most(list(by_value.values())) or Mode.ABSOLUTE
    found, assumed = [], []
    for i, dimension in enumerate(dimensions):
        is_gripper = dimension.kind in {Kind.GRIPPER_APERTURE, Kind.GRIPPER_COMMAND}
        seen = by_value.get(i)
        mode = (seen if by_name is None or is_gripper else None) or (Mode.ABSOLUTE if is_gripper else fallback)
        found.append(replace(dimension, mode=mode))
        if by_name is None and seen is None:
            assumed.append(dimension.name)
    remarks = _said(draft, found)
    if by_name is not None and {by_name} != set(by_value.values()):
        remarks.append(f"mode: {by_name}, by its name or format{_against(by_name, by_value)}")
    elif by_name is None and len(assumed) == len(found):
        remarks.append(f"mode: {fallback} is assumed; nothing was seen that says it")
    elif assumed:
        remarks.append(f"mode of {short(assumed)} is assumed: it does not move, or nothing matches it")
    return found, remarks


def _against(by_name: Mode, by_value: MappingType[int, Mode]) -> str:
    seen = _most(list(by_value.values()))
    return f"; its values look {seen} all the same" if seen is not None and seen is not by_name else ""


def _most(modes: Sequence[Mode]) -> Mode | None:
    return max(modes, key=lambda m: (modes.count(m), m), default=None)


def _is_speed(info: StreamInfo) -> bool:
    return bool(words(label(info)) & {"velocity", "velocities", "vel", "qvel", "twist"})


def _said(draft: Stub, dimensions: Sequence[DimensionPlan]) -> list[str]:
    """What a command has to do with the state that it drives."""
    if draft.follows is None:
        return []
    state, follows = draft.follows[0].name, draft.follows[1]
    rows = f"{follows.num_rows:,} rows"
    if follows.how == "copy":
        return [f"equals {state} in the same row, in all {rows}: a copy of what was measured, not a command"]
    if follows.how == "shift":
        return [
            f"equals {state} {lag_text(follows, draft.rate_hz)} later, in all {rows}: what was measured next, not a "
            "command. To have it marked as such, see derived in the mapping"
        ]
    said = []
    for how, text in (
        ("absolute", "follows the level of"),
        ("delta", "matches the change of"),
        ("velocity", "matches the speed of"),
    ):
        mine = [e for e in follows.elements if e.how == how]
        if mine:
            r = sorted(e.correlation for e in mine)[len(mine) // 2]
            of = (
                "all that move"
                if len(mine) == len(follows.elements)
                else short([dimensions[e.command].name for e in mine])
            )
            said.append(
                f"{how}: {text} {state} ({follows.clearness}: correlation {r:.2f}, {of}, {rows}; "
                f"{_before(follows, draft.rate_hz)}){_scale([e.slope for e in mine], how)}"
            )
    unclear = [dimensions[e.command].name for e in follows.elements if not e.how]
    return [*said, f"unlike {state}: {short(unclear)}"] if unclear else said


def _before(follows: Follows, rate_hz: float | None) -> str:
    if follows.lag_rows == 0:
        return "at the same time"
    return f"it comes {lag_text(follows, rate_hz).removeprefix('-')} {'before' if follows.lag_rows > 0 else 'after'}"


def _scale(slopes: Sequence[float], how: str) -> str:
    """A clause on numbers that are not in one unit with the state's."""
    slope = sorted(slopes)[len(slopes) // 2]
    if how == "velocity" or 0.5 < slope < 2:
        return ""
    for factor, text in ((57.29578, "degrees against radians?"), (1000.0, "mm against m?"), (100.0, "percent?")):
        if abs(slope / factor - 1) < 0.1 or abs(slope * factor - 1) < 0.1:
            return f"; its numbers are {slope:.3g} times the state's: {text}"
    return f"; its numbers are {slope:.3g} times the state's"
