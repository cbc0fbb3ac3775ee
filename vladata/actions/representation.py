"""Representation: what each action dimension is relative to, converted with its types checked, and back.

Only absolute targets can be converted, with the observation of the same quantity as reference:

* `delta`: the target of a step minus the observation at the same step: action[t] - state[t].
* `chunk_relative`: each target of a chunk minus the observation at the chunk's first step: action[s + h] - state[s].

Rotations are no plain numbers: the rotation dimensions of a signal form groups (three Euler angles, three components of
a rotation vector, four of a quaternion), and their difference is the rotation that leads from the observation to the
target, expressed in the signal's reference frame: R(action) R(state)^-1, in the same convention. The way back gives the
same rotation; Euler angles come back within ±π, ±π/2, ±π, rotation vectors no longer than π, quaternions with w >= 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SchemaError, TokenizeError
from ..units import Kind, Mode, RotationConvention, Unit
from ._reference import References, check_rotation, qualified, rotation_groups, target_mode
from .chunks import ActionChunks, ChunkCounts, ChunkRule, check_modes, cut_chunks
from .plain import from_plain, to_plain
from .rotation import GROUP_SIZE, REST, relative, restored

if TYPE_CHECKING:
    from ..embodiment import Signal  # its parser is heavy, and a robot needs none

__all__ = ["ActionDimension", "Representation", "RotationGroup", "stack_signals"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_STAYS = frozenset({Kind.GRIPPER_APERTURE, Kind.GRIPPER_COMMAND, Kind.TERMINATE, Kind.PADDING})
"""Kinds that a conversion of everything leaves as they are."""
_RELATIVE = (Mode.DELTA, Mode.CHUNK_RELATIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDimension:
    """One dimension of the action vector."""

    name: str
    """`signal.dimension`."""
    kind: Kind
    unit: Unit
    recorded_mode: Mode
    """As the schema says."""
    mode: Mode
    """As models learn it."""
    reference: str | None = None
    """`signal.dimension` of the observation it is relative to; None where nothing was converted."""
    reference_frame: str | None = None
    """Of its signal."""
    open_value: float | None = None
    """Grippers: the recorded value that means open."""
    closed_value: float | None = None
    """Grippers: the recorded value that means closed."""
    normalized: bool = False
    """Whether the recorder had scaled the value, so that `unit` says nothing about its size."""

    @property
    def is_converted(self) -> bool:
        """Whether the mode was changed."""
        return self.mode is not self.recorded_mode


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationGroup:
    """Dimensions that are one rotation."""

    convention: RotationConvention
    dimensions: tuple[int, ...]
    """Places in the action vector."""


def stack_signals(signals: "Sequence[Signal]", values: Mapping[str, NDArray[np.floating]]) -> FloatArray:
    """Put the vectors of several signals side by side, in the schema's order.

    Args:
        signals: Of an embodiment.
        values: [T, D] by signal.

    Returns:
        [T, sum of D], float64.

    Raises:
        TokenizeError: A signal is missing or has another number of dimensions.
    """
    parts = []
    for signal in signals:
        if signal.name not in values:
            raise TokenizeError(f"signal {signal.name} is missing; there are {', '.join(values) or 'none'}")
        part = np.asarray(values[signal.name], dtype=np.float64)
        if part.ndim != 2 or part.shape[1] != len(signal.dimensions):
            raise TokenizeError(
                f"signal {signal.name} is {list(part.shape)}; must be [T, {len(signal.dimensions)}] as the schema says"
            )
        parts.append(part)
    return np.concatenate(parts, axis=1) if parts else np.empty((0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """The action vector as recorded and as learned."""

    dimensions: tuple[ActionDimension, ...]
    """D, in the order of the schema's action signals."""
    state_names: tuple[str, ...] = ()
    """Names of the S dimensions of the observation vector, `signal.dimension`."""
    rotations: tuple[RotationGroup, ...] = ()

    def __post_init__(self) -> None:
        observed = set(self.state_names)
        for dimension in self.dimensions:
            if dimension.is_converted and dimension.reference not in observed:
                raise TokenizeError(f"{dimension.name} refers to {dimension.reference}; there is no such observation")
        for group in self.rotations:
            dims = group.dimensions
            if len(dims) != GROUP_SIZE[group.convention] or not all(0 <= d < len(self.dimensions) for d in dims):
                raise TokenizeError(f"a rotation in {group.convention} has dimensions {list(dims)}")
            if len({self.dimensions[d].mode for d in dims}) > 1:
                raise TokenizeError(f"a rotation has dimensions {list(dims)} of different modes")

    @classmethod
    def build(
        cls,
        action: "Sequence[Signal]",
        proprioception: "Sequence[Signal]",
        target: Mode | None = None,
        overrides: Mapping[str, Mode | None] | None = None,
        pairs: Mapping[str, str] | None = None,
    ) -> Self:
        """Say what each action dimension shall be, and find what it is relative to.

        Args:
            action: The action signals.
            proprioception: The signals among which references are looked for.
            target: What all dimensions shall become, grippers, terminate flags and padding aside; None: as recorded.
            overrides: By `signal.dimension` what that one shall become; None: as recorded.
            pairs: By `signal.dimension` of an action the `signal.dimension` of its reference, where it is not the one
                observation of equal name and kind.

        Raises:
            SchemaError: A dimension is not absolute and so can't be converted, has no reference or more than one,
                differs from it in unit, scaling or reference frame, or is one part of a rotation; with its name.
        """
        names = qualified(action)
        wishes = dict(overrides or {})
        unknown = [n for n in (*wishes, *(pairs or {})) if n not in names]
        if unknown:
            raise SchemaError(f"no action dimension is named {unknown[0]!r}; there are {', '.join(names)}")
        found = References(proprioception, pairs or {})
        dimensions: list[ActionDimension] = []
        for signal, dimension in ((s, d) for s in action for d in s.dimensions):
            name = names[len(dimensions)]
            mode = target_mode(name, dimension, wishes.get(name, None if dimension.kind in _STAYS else target))
            recorded = dimension.mode or mode
            dimensions.append(
                ActionDimension(
                    name=name,
                    kind=dimension.kind,
                    unit=dimension.unit,
                    recorded_mode=recorded,
                    mode=mode,
                    reference=None if mode is recorded else found.of(signal, dimension),
                    reference_frame=signal.reference_frame,
                    open_value=dimension.open_value,
                    closed_value=dimension.closed_value,
                    normalized=dimension.normalized,
                )
            )
        return cls(
            dimensions=tuple(dimensions),
            state_names=found.names,
            rotations=_rotations(action, dimensions, proprioception),
        )

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """Build from what `to_dict` gave.

        Raises:
            TokenizeError: Something is missing, of another type or does not fit together.
        """
        return from_plain(cls, state, "representation")

    def to_dict(self) -> dict[str, object]:
        """All fields as JSON values."""
        return to_plain(self)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the D dimensions."""
        return tuple(d.name for d in self.dimensions)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Modes as learned, [D]."""
        return tuple(d.mode for d in self.dimensions)

    @property
    def needs_state(self) -> bool:
        """Whether a dimension is relative to an observation, so that encode and decode need it."""
        return any(d.is_converted for d in self.dimensions)

    @property
    def needs_every_state(self) -> bool:
        """Whether a dimension is relative to the observation at each step, not only at the first of a chunk."""
        return any(d.is_converted and d.mode is Mode.DELTA for d in self.dimensions)

    def represent(self, chunks: ArrayLike, state: ArrayLike | None = None) -> FloatArray:
        """Turn chunks as recorded into chunks as learned.

        Args:
            chunks: [N, H, D].
            state: Observations at each chunk's first step, [N, S]; or at each of its steps, [N, H, S], which deltas
                need where H > 1. Not looked at where nothing is converted.

        Returns:
            [N, H, D]; NaN where a value or its reference is not finite.

        Raises:
            TokenizeError: A shape is wrong, the state is missing, or a quaternion has not the length 1.
        """
        values = self._checked(chunks)
        return self._convert(values, self._states(state, len(values), values.shape[1]), _RELATIVE, is_back=False)

    def restore(self, chunks: ArrayLike, state: ArrayLike | None = None) -> FloatArray:
        """Turn chunks as learned back into chunks as recorded; arguments and errors as in `represent`."""
        values = self._checked(chunks)
        return self._convert(values, self._states(state, len(values), values.shape[1]), _RELATIVE, is_back=True)

    def chunk(
        self,
        actions: ArrayLike,
        state: ArrayLike | None,
        valid: BoolArray,
        rule: ChunkRule,
        cuts: Sequence[int] | NDArray[np.int64] = (),
    ) -> tuple[ActionChunks, ChunkCounts]:
        """Cut an episode into chunks as learned: deltas per step, then chunks, then what is relative to their start.

        Steps whose action, or whose observation that a delta needs, is not finite count as invalid; where only the
        observation that a chunk would be relative to is not finite, no chunk begins. All are counted.

        Args:
            actions: As recorded, [T, D].
            state: Observations, [T, S]; not looked at where nothing is converted.
            valid: Steps that count, [T].
            rule: Horizon and chunk end.
            cuts: Steps at which something new begins.

        Raises:
            ExportError: A cut is outside the episode, or a dimension is recorded relative to other chunks.
            TokenizeError: A shape is wrong, the state is missing, or a quaternion has not the length 1.
        """
        rows = np.asarray(actions, dtype=np.float64)
        usable = np.asarray(valid, dtype=np.bool_)
        if rows.ndim != 2 or usable.shape != (len(rows),):
            raise TokenizeError(
                f"actions are {list(rows.shape)} and valid {list(usable.shape)}; must be [T, D] and [T]"
            )
        check_modes([d.recorded_mode for d in self.dimensions], rule.horizon, self.names)
        states = self._states(state, len(rows), 1)
        # What stands at invalid steps is nobody's business, a quaternion of zeros for instance.
        rows = self._checked(np.where(usable[:, None], rows, np.nan)[:, None])
        if states is not None:
            states = np.where(usable[:, None, None], states, np.nan)
        rows = self._convert(rows, states, (Mode.DELTA,), is_back=False)[:, 0]
        finite = usable & np.isfinite(rows).all(axis=1)
        can_start = finite
        if states is not None:
            can_start = finite & np.isfinite(states[:, 0, self._references(Mode.CHUNK_RELATIVE)]).all(axis=1)
        chunks, counts = cut_chunks(rows, finite, can_start, replace(rule, rest=self._padding()), cuts)
        starts = None if states is None else states[chunks.start]
        values = self._convert(chunks.values, starts, (Mode.CHUNK_RELATIVE,), is_back=False)
        num_invalid = int((~usable).sum())
        counts = replace(counts, num_invalid=num_invalid, num_not_finite=counts.num_invalid - num_invalid)
        return replace(chunks, values=values), counts

    def _padding(self) -> tuple[float | None, ...]:
        """What targets after the end are, before anything is relative to a chunk's start."""
        moving = [d.recorded_mode if d.mode is Mode.CHUNK_RELATIVE else d.mode for d in self.dimensions]
        padding = [None if mode is Mode.ABSOLUTE else 0.0 for mode in moving]
        for group in self.rotations:
            for place, number in zip(group.dimensions, REST[group.convention], strict=True):
                padding[place] = None if padding[place] is None else number
        return tuple(padding)

    def _references(self, mode: Mode) -> list[int]:
        """Places in the observation vector that dimensions of a converted mode are relative to."""
        place = {name: i for i, name in enumerate(self.state_names)}
        found = [d.reference for d in self.dimensions if d.is_converted and d.mode is mode]
        return [place[name] for name in found if name is not None]

    def _checked(self, chunks: ArrayLike) -> FloatArray:
        values = np.asarray(chunks, dtype=np.float64)
        if values.ndim != 3 or values.shape[2] != len(self.dimensions):
            raise TokenizeError(f"chunks are {list(values.shape)}; must be [N, H, {len(self.dimensions)}]")
        return values

    def _states(self, state: ArrayLike | None, count: int, horizon: int) -> FloatArray | None:
        """The observations as [N, 1 or H, S]; None where nothing is relative to them."""
        if not self.needs_state:
            return None
        if state is None:
            name = next(d.name for d in self.dimensions if d.is_converted)
            raise TokenizeError(f"{name} is relative to the observation; the state must be given")
        array, size = np.asarray(state, dtype=np.float64), len(self.state_names)
        if array.shape == (count, horizon, size):
            return array
        if array.shape != (count, size):
            raise TokenizeError(
                f"state is {list(array.shape)}; must be [{count}, {size}] or [{count}, {horizon}, {size}]"
            )
        if horizon > 1 and self.needs_every_state:
            raise TokenizeError(
                f"state is [{count}, {size}]; deltas need it at each step: [{count}, {horizon}, {size}]"
            )
        return array[:, None]

    def _convert(
        self, values: FloatArray, states: FloatArray | None, modes: Sequence[Mode], *, is_back: bool
    ) -> FloatArray:
        result = values.copy()
        if states is None:
            return result
        grouped = {place for group in self.rotations for place in group.dimensions}
        for mode in modes:
            reference = states if mode is Mode.DELTA else states[:, :1]
            places = [i for i, d in enumerate(self.dimensions) if d.is_converted and d.mode is mode]
            columns = dict(zip(places, self._references(mode), strict=True))
            plain = [i for i in places if i not in grouped]
            offset = reference[:, :, [columns[i] for i in plain]]
            result[:, :, plain] += offset if is_back else -offset
            for group in self.rotations:
                members = list(group.dimensions)
                if members[0] in columns:
                    turned = np.broadcast_to(
                        reference[:, :, [columns[i] for i in members]], (*values.shape[:2], len(members))
                    )
                    combine = restored if is_back else relative
                    result[:, :, members] = combine(values[:, :, members], turned, group.convention)
        return result


def _rotations(
    action: "Sequence[Signal]", dimensions: Sequence[ActionDimension], proprioception: "Sequence[Signal]"
) -> tuple[RotationGroup, ...]:
    """The rotations of the action vector, those that are converted checked against their references."""
    names = qualified(proprioception)
    observed = {tuple(names[i] for i in places): convention for convention, places in rotation_groups(proprioception)}
    groups = []
    for convention, places in rotation_groups(action):
        members = [dimensions[i] for i in places]
        if any(d.is_converted for d in members):
            if len({(d.recorded_mode, d.mode) for d in members}) > 1:
                raise SchemaError(f"{', '.join(d.name for d in members)} are one rotation; must be converted together")
            check_rotation(convention, [d.name for d in members], [d.reference or "" for d in members], observed)
        elif len({d.mode for d in members}) > 1:
            continue
        groups.append(RotationGroup(convention=convention, dimensions=places))
    grouped = {i for group in groups for i in group.dimensions}
    for i, dimension in enumerate(dimensions):
        if dimension.is_converted and dimension.kind is Kind.ROTATION and i not in grouped:
            raise SchemaError(f"{dimension.name} is a part of no whole rotation; it can't be made {dimension.mode}")
    return tuple(groups)
