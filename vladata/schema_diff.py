"""What differs between two schemas in meaning, and whether episodes of the one can be read as the other.

Order of keys, comments and descriptions mean nothing. Dimensions are told apart by name: one that is at another place
has moved, and reading by name still finds it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .documents import Document
from .embodiment import Camera, Dimension, Kinematics, Signal, StreamRule
from .mapping import Mapping, SchemaFile

__all__ = ["Difference", "Effect", "SchemaDiff", "diff_schemas"]


class Effect(StrEnum):
    """What a difference does to episodes of the first schema that are read as the second."""

    NOTHING = "nothing"
    """They can be read: something is there that the second does not ask for, or another number of the checks."""
    ORDER = "order"
    """They can be read by name, not by index."""
    BREAKS = "breaks"
    """They can't be read: what the second asks for is not there, or means something else."""
    MAPPING = "mapping"
    """It is about how recordings are read, not about episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference."""

    place: str
    """Dotted path: `state.elbow.unit`, `cameras.front`, `mappings.mcap.streams.front.offset_ns`."""
    change: str
    """`added`, `removed`, `moved`, `renamed?` or `changed`, seen from the first schema."""
    effect: Effect
    before: str = ""
    """As the first schema has it; empty where it has nothing."""
    after: str = ""

    def __str__(self) -> str:
        """One line."""
        values = " → ".join(v for v in (self.before, self.after) if v)
        return f"{self.place}: {self.change}{f' {values}' if values else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaDiff:
    """All differences of two schemas."""

    differences: tuple[Difference, ...]

    @property
    def is_equal(self) -> bool:
        """Whether they mean the same."""
        return not self.differences

    @property
    def is_compatible(self) -> bool:
        """Whether episodes of the first can be read as the second, dimensions by name."""
        return all(d.effect is not Effect.BREAKS for d in self.differences)

    @property
    def is_ordered(self) -> bool:
        """Whether dimensions that both have are at the same places, so that indices mean the same too."""
        return all(d.effect is not Effect.ORDER for d in self.differences)


def diff_schemas(first: SchemaFile, second: SchemaFile) -> SchemaDiff:
    """Compare two schemas in meaning."""
    found = [
        *_values("", first, second, {"name": Effect.NOTHING, "version": Effect.NOTHING, "rate_hz": Effect.BREAKS}),
        *_signals("proprioception", first.proprioception, second.proprioception, second),
        *_signals("action", first.action, second.action, second),
        *_cameras(first, second),
        *_kinematics(first, second),
        *_rules(first, second),
        *_mappings(first, second),
    ]
    return SchemaDiff(differences=tuple(found))


_DIMENSION = {
    "kind": Effect.BREAKS,
    "unit": Effect.BREAKS,
    "mode": Effect.BREAKS,
    "normalized": Effect.BREAKS,
    "open_value": Effect.BREAKS,
    "closed_value": Effect.BREAKS,
    "limits": Effect.NOTHING,
    "max_velocity": Effect.NOTHING,
    "max_acceleration": Effect.NOTHING,
}
_SIGNAL = {"rotation": Effect.BREAKS, "reference_frame": Effect.BREAKS}
_CAMERA = {
    "height": Effect.BREAKS,
    "width": Effect.BREAKS,
    "color_order": Effect.BREAKS,
    "depth": Effect.BREAKS,
    "role": Effect.NOTHING,
    "rate_hz": Effect.NOTHING,
    "mount": Effect.NOTHING,
    "intrinsics": Effect.NOTHING,
}


def _values(place: str, first: Document, second: Document, keys: dict[str, Effect]) -> Iterator[Difference]:
    """Compare plain values of two documents."""
    for key, effect in keys.items():
        before, after = getattr(first, key), getattr(second, key)
        if before != after:
            where = f"{place}.{key}" if place else key
            yield Difference(place=where, change="changed", effect=effect, before=_shown(before), after=_shown(after))


def _shown(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    if isinstance(value, Document):
        value = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_shown(v) for v in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_shown(v)}" for k, v in value.items()) + "}"
    return str(value)


def _signals(role: str, first: Sequence[Signal], second: Sequence[Signal], schema: SchemaFile) -> Iterator[Difference]:
    ours, theirs = {s.name: s for s in first}, {s.name: s for s in second}
    gone = [s for s in first if s.name not in theirs]
    new = [s for s in second if s.name not in ours]
    for signal in gone:
        twin = next((s for s in new if s.dimensions == signal.dimensions), None)
        if twin is not None:
            new.remove(twin)
            yield _renamed(role, signal.name, twin.name)
        else:
            yield Difference(
                place=f"{role}.{signal.name}", change="removed", effect=Effect.NOTHING, before=_size(signal)
            )
    for signal in new:
        effect = Effect.BREAKS if schema.rule(signal.name).required else Effect.NOTHING
        yield Difference(place=f"{role}.{signal.name}", change="added", effect=effect, after=_size(signal))
    for name in (n for n in ours if n in theirs):
        yield from _values(name, ours[name], theirs[name], _SIGNAL)
        yield from _dimensions(name, ours[name].dimensions, theirs[name].dimensions)


def _size(signal: Signal) -> str:
    return f"({len(signal.dimensions)} dimensions)"


def _renamed(place: str, before: str, after: str) -> Difference:
    """One left and one that means the same came: perhaps only the name is another; by name it is not found."""
    return Difference(place=place, change="renamed?", effect=Effect.BREAKS, before=before, after=after)


def _dimensions(signal: str, first: Sequence[Dimension], second: Sequence[Dimension]) -> Iterator[Difference]:
    ours = {d.name: i for i, d in enumerate(first)}
    theirs = {d.name: i for i, d in enumerate(second)}
    gone = [n for n in ours if n not in theirs]
    new = [n for n in theirs if n not in ours]
    for name in list(gone):
        i = ours[name]
        twin = second[i].name if i < len(second) else ""
        if twin in new and _is_alike(first[i], second[i]):
            gone.remove(name)
            new.remove(twin)
            yield _renamed(signal, name, twin)
    for name in gone:
        yield Difference(
            place=f"{signal}.{name}", change="removed", effect=Effect.ORDER, before=f"(was number {ours[name]})"
        )
    for name in new:
        yield Difference(
            place=f"{signal}.{name}", change="added", effect=Effect.BREAKS, after=f"(is number {theirs[name]})"
        )
    yield from _moved(signal, [n for n in ours if n in theirs], ours, theirs)
    for name in (n for n in ours if n in theirs):
        yield from _values(f"{signal}.{name}", first[ours[name]], second[theirs[name]], _DIMENSION)


def _is_alike(first: Dimension, second: Dimension) -> bool:
    """Whether two dimensions differ in their names only."""
    keys = ("kind", "unit", "mode", "limits", "normalized", "open_value", "closed_value")
    return all(getattr(first, k) == getattr(second, k) for k in keys)


def _moved(signal: str, shared: Sequence[str], ours: dict[str, int], theirs: dict[str, int]) -> Iterator[Difference]:
    """Those whose order among the shared ones is another; one that was only pushed on by a new one has not moved."""
    before = {n: i for i, n in enumerate(sorted(shared, key=lambda n: ours[n]))}
    after = {n: i for i, n in enumerate(sorted(shared, key=lambda n: theirs[n]))}
    for name in shared:
        if before[name] != after[name]:
            yield Difference(
                place=f"{signal}.{name}",
                change="moved",
                effect=Effect.ORDER,
                before=str(ours[name]),
                after=str(theirs[name]),
            )


def _cameras(first: SchemaFile, second: SchemaFile) -> Iterator[Difference]:
    ours, theirs = {c.name: c for c in first.cameras}, {c.name: c for c in second.cameras}
    for name, camera in ours.items():
        if name not in theirs:
            yield Difference(place=f"cameras.{name}", change="removed", effect=Effect.NOTHING, before=_frame(camera))
    for name, camera in theirs.items():
        if name not in ours:
            effect = Effect.BREAKS if second.rule(name).required else Effect.NOTHING
            yield Difference(place=f"cameras.{name}", change="added", effect=effect, after=_frame(camera))
        else:
            yield from _values(f"cameras.{name}", ours[name], camera, _CAMERA)


def _frame(camera: Camera) -> str:
    return f"({camera.height} x {camera.width})"


def _kinematics(first: SchemaFile, second: SchemaFile) -> Iterator[Difference]:
    """Chains of joints by the pose that they are about; only checks look at them."""
    ours, theirs = {k.pose: k for k in first.kinematics}, {k.pose: k for k in second.kinematics}
    for name in dict.fromkeys((*ours, *theirs)):
        before, after = ours.get(name), theirs.get(name)
        if before != after:
            change = "added" if before is None else "removed" if after is None else "changed"
            yield Difference(
                place=f"kinematics.{name}",
                change=change,
                effect=Effect.NOTHING,
                before=_joints(before),
                after=_joints(after),
            )


def _joints(chain: Kinematics | None) -> str:
    return "" if chain is None else f"({len(chain.chain)} joints)"


def _rules(first: SchemaFile, second: SchemaFile) -> Iterator[Difference]:
    """Rules of the streams that both have; rates and ages are what checks and synchronization look at."""
    shared = [n for n in first.stream_names if n in second.stream_names]
    for name in shared:
        ours, theirs = first.rule(name), second.rule(name)
        yield from _values(f"streams.{name}", ours, theirs, dict.fromkeys(_RULE, Effect.NOTHING))
        if ours.required != theirs.required:
            effect = Effect.BREAKS if theirs.required else Effect.NOTHING
            yield Difference(
                place=f"streams.{name}.required",
                change="changed",
                effect=effect,
                before=_shown(ours.required),
                after=_shown(theirs.required),
            )


_RULE = tuple(k for k in StreamRule.model_fields if k != "required")


def _mappings(first: SchemaFile, second: SchemaFile) -> Iterator[Difference]:
    for source in sorted({*first.mappings, *second.mappings}):
        place = f"mappings.{source}"
        ours, theirs = first.mapping_for(source), second.mapping_for(source)
        if ours is None or theirs is None:
            yield Difference(place=place, change="added" if ours is None else "removed", effect=Effect.MAPPING)
            continue
        before, after = dict(_leaves("", ours)), dict(_leaves("", theirs))
        for key in dict.fromkeys((*before, *after)):
            if before.get(key) != after.get(key):
                change = "added" if key not in before else "removed" if key not in after else "changed"
                yield Difference(
                    place=f"{place}.{key}",
                    change=change,
                    effect=Effect.MAPPING,
                    before=before.get(key, ""),
                    after=after.get(key, ""),
                )


def _leaves(place: str, value: object) -> Iterator[tuple[str, str]]:
    """All values of a mapping by their dotted paths, those at their defaults left out."""
    if isinstance(value, Mapping):
        value = value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{place}.{key}" if place else str(key), inner)
    elif place:
        yield place, _shown(value)
