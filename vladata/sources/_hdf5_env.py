"""What files of many demonstrations say of them: robomimic's, Isaac Lab's and LIBERO's attributes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from ..errors import SourceError, VladataError
from ..text import clip, printable
from . import Inspection, Place
from ._hdf5 import open_hdf5
from ._hdf5_demos import filter_keys, find_demo, list_demos
from ._hdf5_inspect import step_infos
from ._hdf5_labels import json_object
from ._hdf5_steps import Demo

__all__ = ["attribute_notes", "declared_rate", "demo_metadata", "inspect_demos", "open_demo"]

_SEEN_FOR_KEYS = 20
"""Demonstrations whose datasets are compared by `inspect`."""


def open_demo(path: Path, place: str, stack: ExitStack) -> Demo:
    """Open what belongs to one demonstration."""
    found, is_flat = find_demo(path, place)
    if is_flat:
        suffix = f"_{found.key}"
        with open_hdf5(path, only=()) as file:
            names = [n for n in file.members() if n.endswith(suffix)]
        return Demo(file=stack.enter_context(open_hdf5(path, only=names)), name=place, suffix=suffix)
    group = f"data/{found.key}"
    file = stack.enter_context(open_hdf5(path, only=(group, "mask")))
    if file.kind(group) != "group":
        raise SourceError(f"{printable(place)}: {printable(group)} is a dataset; a demonstration must be a group")
    return Demo(file=file, name=place, group=group, owners=(group, "data", ""))


def declared_rate(demo: Demo) -> tuple[float, str]:
    """Rate by env_args: robosuite's control frequency, or Isaac Lab's time step and decimation; 0 where neither is."""
    args = json_object(demo.file.text("data", "env_args")) if demo.group else {}
    for place, name in ((args.get("env_kwargs"), "env_kwargs.control_freq"), (args, "control_freq")):
        rate = _number(place, "control_freq")
        if 0 < rate <= 1e6:
            return rate, name
    step = _number(args.get("sim_args"), "dt") * _number(args.get("sim_args"), "decimation")
    if step >= 1e-6:
        return float(f"{1 / step:.9g}"), "sim_args.dt · sim_args.decimation"
    return 0.0, ""


def _number(found: object, key: str) -> float:
    value = found.get(key) if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        return 0.0
    return float(value)


def demo_metadata(demo: Demo) -> dict[str, str]:
    found = {"demo": demo.group.rpartition("/")[2] or f"demo{demo.suffix}"}
    if not demo.group:
        return found
    args = json_object(demo.file.text("data", "env_args"))
    for name in ("env_name", "env_version"):
        if isinstance(args.get(name), str) and args[name]:
            found[name] = clip(printable(str(args[name])), 200)
    for name in ("seed", "success"):
        value = demo.file.attribute(demo.group, name)
        if value is not None and not isinstance(value, tuple):
            found[name] = clip(printable(str(value)), 200)
    masks = list(filter_keys(demo.file, demo.group.rpartition("/")[2]))
    return {**found, "filter_keys": ", ".join(masks)} if masks else found


def attribute_notes(demo: Demo, count: int) -> list[str]:
    """What the demonstration's attributes say otherwise, and those that are not kept."""
    notes = []
    declared = demo.file.attribute(demo.group, "num_samples") if demo.group else None
    if declared is not None and declared != count:
        notes.append(f"num_samples is {clip(printable(str(declared)), 40)}; the datasets have {count} rows")
    left = [n for n in demo.file.attribute_names(demo.group) if n not in {"num_samples", "seed", "success"}]
    if demo.group and left:
        notes.append(
            f"attributes not kept, apart from what labels take of them: {clip(printable(', '.join(left)), 500)}"
        )
    return notes


def inspect_demos(path: Path, source: str, facts_of: Callable[[Demo], Mapping[str, str]]) -> Inspection:
    """Describe a file by its first readable demonstration, and say which others have other datasets.

    Args:
        path: The file.
        source: Name of the source plugin.
        facts_of: Facts of the file, and problems under the name `problem`.

    Raises:
        SourceError: There are no demonstrations, or none can be read.
        GateError: The file breaks a limit.
    """
    found = list_demos(path).places(path)
    problems: list[str] = []
    for place in found[:_SEEN_FOR_KEYS]:
        try:
            with ExitStack() as stack:
                demo = open_demo(path, place.name, stack)
                streams = step_infos(demo)
                rate_hz, _ = declared_rate(demo)
                facts = dict(facts_of(demo))
        except VladataError as error:
            problems.append(str(error))
            continue
        problems += [facts.pop("problem")] if "problem" in facts else []
        problems += _other_keys(path, found, {s.name for s in streams if s.type == "dataset"})
        return Inspection(
            source=source,
            places=tuple(found),
            looked_at=place.name,
            streams=streams,
            rate_hz=rate_hz or None,
            facts=tuple(facts.items()),
            problems=tuple(problems),
        )
    raise SourceError(f"{printable(path.name)}: no demonstration can be read: {problems[0]}")


def _other_keys(path: Path, found: list[Place], names: set[str]) -> Iterator[str]:
    """Demonstrations with other datasets than the one that is shown."""
    step = max(1, len(found) // _SEEN_FOR_KEYS)
    for place in found[::step]:
        try:
            with ExitStack() as stack:
                demo = open_demo(path, place.name, stack)
                there = {demo.source(i.path) for i in demo.datasets()}
        except VladataError as error:
            yield str(error)
            continue
        for verb, other in (("lacks", names - there), ("has also", there - names)):
            if other:
                yield f"{place.name} {verb} {clip(printable(', '.join(sorted(other))), 200)}"
