"""Finds what action dimensions can be relative to, and which of them are one rotation."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ..errors import SchemaError
from ..units import Kind, Mode, RotationConvention
from .rotation import CONVERTIBLE, GROUP_SIZE

if TYPE_CHECKING:
    from ..embodiment import Dimension, Signal  # its parser is heavy, and a robot needs none

__all__ = ["References", "check_rotation", "qualified", "rotation_groups", "target_mode"]

_IN_FRAME = frozenset({Kind.POSITION, Kind.ROTATION, Kind.LINEAR_VELOCITY, Kind.ANGULAR_VELOCITY})
"""Kinds that mean something only in their reference frame."""


def qualified(signals: "Sequence[Signal]") -> tuple[str, ...]:
    """Names of all dimensions, `signal.dimension`, in order.

    Raises:
        SchemaError: Two are the same.
    """
    names = tuple(f"{s.name}.{d.name}" for s in signals for d in s.dimensions)
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise SchemaError(f"dimensions are named {', '.join(twice)} more than once; signal and name must be unique")
    return names


def target_mode(name: str, dimension: "Dimension", wish: Mode | None) -> Mode:
    """The mode that a dimension gets.

    Raises:
        SchemaError: It can't have that one.
    """
    recorded = dimension.mode
    if recorded is None:
        raise SchemaError(f"{name} has no mode; an action dimension must have one")
    if wish is None or (wish is recorded and recorded is Mode.ABSOLUTE):
        return recorded
    if recorded is not Mode.ABSOLUTE:
        raise SchemaError(f"{name} is {recorded}; only absolute dimensions can be made {wish}")
    if wish is Mode.VELOCITY:
        raise SchemaError(f"{name} can't be made a velocity; must be absolute, delta or chunk_relative")
    return wish


class References:
    """The observations that actions can be relative to."""

    def __init__(self, signals: "Sequence[Signal]", pairs: Mapping[str, str]) -> None:
        """Look among these signals; pairs name the reference of an action where it is not found by itself."""
        self.names = qualified(signals)
        self._pairs = dict(pairs)
        self._all = [(f"{s.name}.{d.name}", s, d) for s in signals for d in s.dimensions]

    def of(self, signal: "Signal", dimension: "Dimension") -> str:
        """Name of the reference of an action dimension.

        Raises:
            SchemaError: There is none, more than one, or one of another unit, scaling or reference frame.
        """
        name = f"{signal.name}.{dimension.name}"
        asked = self._pairs.get(name)
        if asked is None:
            found = [r for r in self._all if r[2].name == dimension.name and r[2].kind is dimension.kind]
            wanted = f"named {dimension.name!r} of kind {dimension.kind}"
        else:
            found = [r for r in self._all if r[0] == asked]
            wanted = f"named {asked!r}"
        if len(found) != 1:
            several = f"; there are {', '.join(r[0] for r in found)}: name one as its pair" if found else ""
            raise SchemaError(f"{name} must have one observation {wanted} that it is relative to{several}")
        reference, other, observed = found[0]
        if observed.unit is not dimension.unit:
            raise SchemaError(f"{name} is in {dimension.unit}, {reference} in {observed.unit}; units must be equal")
        if observed.normalized is not dimension.normalized:
            scaled = name if dimension.normalized else reference
            raise SchemaError(f"{scaled} was scaled by the recorder; {name} and {reference} must be scaled alike")
        if dimension.kind in _IN_FRAME and signal.reference_frame != other.reference_frame:
            raise SchemaError(
                f"{name} is in the reference frame {signal.reference_frame or '(none)'}, {reference} in "
                f"{other.reference_frame or '(none)'}; must be the same"
            )
        return reference


def rotation_groups(signals: "Sequence[Signal]") -> Iterator[tuple[RotationConvention, tuple[int, ...]]]:
    """The rotations among the dimensions of signals: convention and places in the stacked vector.

    Neighbouring rotation dimensions of one signal are cut into groups of their convention's size; those whose number
    does not fit make no group.
    """
    offset = 0
    for signal in signals:
        places = range(len(signal.dimensions))
        for kind, run in groupby(places, key=lambda place, signal=signal: signal.dimensions[place].kind):  # type: ignore[misc]
            members = [offset + place for place in run]
            size = GROUP_SIZE[signal.rotation] if signal.rotation is not None else 0
            if kind is not Kind.ROTATION or signal.rotation is None or len(members) % size:
                continue
            for first in range(0, len(members), size):
                yield signal.rotation, tuple(members[first : first + size])
        offset += len(signal.dimensions)


def check_rotation(
    convention: RotationConvention,
    names: Sequence[str],
    references: Sequence[str],
    rotations: Mapping[tuple[str, ...], RotationConvention],
) -> None:
    """Check that a converted rotation is relative to a whole rotation.

    Raises:
        SchemaError: It is not.
    """
    if convention not in CONVERTIBLE:
        raise SchemaError(f"{names[0]} is part of a rotation in {convention}, which can't be converted")
    if rotations.get(tuple(references)) is not convention:
        raise SchemaError(
            f"{', '.join(names)} are a rotation in {convention}; {', '.join(references)} must be one as well"
        )
