"""Actions that nobody recorded, made of what was measured; on request only, and marked as derived."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..actions.rotation import CONVERTIBLE, GROUP_SIZE, relative
from ..embodiment import Embodiment, Signal
from ..episode import Steps
from ..errors import SyncError, TokenizeError
from ..mapping import DerivedAction, Mapping
from ..units import Kind, Mode

__all__ = ["derive_actions", "derived_notes", "derived_policy"]


def derived_policy(mapping: Mapping) -> dict[str, dict[str, object]]:
    """What decides the derived actions; part of the episode's policy."""
    return {name: rule.model_dump(mode="json", by_alias=True) for name, rule in sorted(mapping.derived.items())}


def derived_notes(mapping: Mapping) -> list[str]:
    """One line for each derived action."""
    return [
        f"{name}: derived from {rule.source} by {rule.rule}; nobody recorded it"
        for name, rule in sorted(mapping.derived.items())
    ]


def derive_actions(steps: Steps, embodiment: Embodiment, mapping: Mapping) -> Steps:
    """Add the derived actions of a mapping to the steps.

    `next_state`: an absolute dimension is what was measured at the following step, a delta dimension the change up to
    it; the last step has none, for nothing follows.

    Raises:
        SyncError: The measured signal is not there, or an action dimension is neither absolute nor a delta.
    """
    if not mapping.derived:
        return steps
    action, age, valid = dict(steps.action), dict(steps.age_ns), dict(steps.valid)
    for signal in embodiment.action:
        rule = mapping.derived.get(signal.name)
        if rule is None:
            continue
        if rule.source not in steps.proprioception:
            raise SyncError(f"{signal.name} is derived from {rule.source}, which the recording does not have")
        action[signal.name] = _next_state(steps, embodiment.signal(rule.source), signal, rule)
        found = np.zeros(len(steps), dtype=np.bool_)
        found[:-1] = steps.valid[rule.source][1:]
        if any(d.mode is Mode.DELTA for d in signal.dimensions):
            found[:-1] &= steps.valid[rule.source][:-1]
        action[signal.name][~found] = np.nan
        ages = np.zeros(len(steps), dtype=np.int64)
        ages[:-1] = steps.age_ns[rule.source][1:] - np.diff(steps.time_ns)
        ages[~found] = 0
        age[signal.name], valid[signal.name] = ages, found
    order = {name: i for i, name in enumerate(embodiment.stream_names)}
    return dataclasses.replace(
        steps,
        action={s.name: action[s.name] for s in embodiment.action if s.name in action},
        age_ns=dict(sorted(age.items(), key=lambda item: order[item[0]])),
        valid=dict(sorted(valid.items(), key=lambda item: order[item[0]])),
    )


def _next_state(steps: Steps, measured: Signal, signal: Signal, rule: DerivedAction) -> NDArray[np.float32]:
    columns = [measured.names.index(n) for n in rule.select or signal.names]
    for dimension in signal.dimensions:
        if dimension.mode not in {Mode.ABSOLUTE, Mode.DELTA}:
            raise SyncError(
                f"{signal.name}.{dimension.name} is of mode {dimension.mode}; "
                "only absolute and delta dimensions can be derived from the next state"
            )
    state = steps.proprioception[rule.source][:, columns].astype(np.float64)
    result = np.full(state.shape, np.nan)
    result[:-1] = state[1:]
    delta = np.array([d.mode is Mode.DELTA for d in signal.dimensions])
    result[:-1, delta] -= state[:-1][:, delta]
    turning = [i for i, d in enumerate(signal.dimensions) if d.kind is Kind.ROTATION and d.mode is Mode.DELTA]
    if turning and len(state) > 1:
        result[:-1, turning] = _turns(state[:, turning], measured, signal)
    return result.astype(np.float32)


def _turns(rotation: NDArray[np.float64], measured: Signal, signal: Signal) -> NDArray[np.float64]:
    """Changes of a rotation from each step to the next, [T - 1, K]."""
    convention = signal.rotation
    if convention not in CONVERTIBLE:
        raise SyncError(f"{signal.name} turns as {convention}; a delta can't be derived of it")
    if measured.rotation is not convention or rotation.shape[1] != GROUP_SIZE[convention]:
        raise SyncError(
            f"{signal.name} turns as {signal.rotation} in {rotation.shape[1]} dimensions, {measured.name} as "
            f"{measured.rotation}; both must have one rotation of the same convention to derive a delta"
        )
    try:
        return relative(rotation[1:], rotation[:-1], convention)
    except (TokenizeError, ValueError) as error:
        raise SyncError(f"{signal.name} can't be derived from {measured.name}: {error}") from error
