"""LIBERO datasets: robomimic's layout with images that may be upside down and observations one step late.

Neither is changed unless an option says so. No times are recorded: stamps are step / 20 Hz on a nominal clock.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..errors import SourceError
from ..recording import Instruction, Recording, SourceFile
from ..text import clip, printable
from . import Inspection, Place, Request
from ._hdf5_demos import has_layout, list_demos
from ._hdf5_env import attribute_notes, declared_rate, demo_metadata, inspect_demos, open_demo
from ._hdf5_labels import json_object
from ._hdf5_steps import Demo, StepReader, checked_rate
from ._join import recording_id
from ._options import take_options

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = ()
IS_GENERAL = False

RATE_HZ = 20.0
"""The control frequency that LIBERO's script sets."""

_OPTIONS = {"rate_hz": 0.0, "flip_images": False, "shift_observations": False}
_UPSIDE_DOWN = "opengl"


def can_read(path: Path) -> bool:
    """Tell whether /data has the attributes of LIBERO: its image convention, its problem or its BDDL file."""
    return has_layout(path, "libero")


def places(path: Path) -> list[Place]:
    """List the demonstrations by their names, numbers in numeric order.

    Raises:
        SourceError: There are none, or the file is damaged.
        GateError: The file breaks a limit.
    """
    return list_demos(path).places(path)


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read one demonstration.

    Raises:
        SourceError: A dataset is missing, damaged or of another length, the mapping does not fit, or images that are
            not upside down shall be turned.
        GateError: The file breaks a limit.
        SchemaError: An option is unknown, or is no rate.
    """
    options = take_options(request.mapping, _OPTIONS)
    is_flipped, is_shifted = bool(options["flip_images"]), bool(options["shift_observations"])
    with ExitStack() as stack:
        demo = open_demo(path, place.name, stack)
        convention = demo.file.text("data", "macros_image_convention")
        if is_flipped and convention not in {"", _UPSIDE_DOWN}:
            shown = clip(printable(convention), 40)
            raise SourceError(
                f"{place.name}: images are in convention {shown}; options.flip_images is for {_UPSIDE_DOWN} only"
            )
        rate_hz, rate_from = _rate(demo, float(options["rate_hz"]))
        reader = StepReader(demo, request, stack, rate_hz=rate_hz, rate_from=rate_from, is_flipped=is_flipped)
        if is_shifted:
            reader.window = _shifted
        streams = reader.streams()
        instructions, outcomes = reader.labels()
        instructions, label_notes = _unquoted(instructions)
        size, digest = demo.digest()
        yield Recording(
            recording_id=recording_id("libero_hdf5", place.name, [digest]),
            source="libero_hdf5",
            place=place.name,
            files=(SourceFile(name=place.name, size=size, sha256=digest),),
            streams=streams,
            is_stepped=True,
            instructions=instructions,
            outcomes=outcomes,
            metadata=_metadata(demo),
            notes=(
                *reader.notes,
                *_image_notes(request, convention, is_flipped=is_flipped),
                _shift_note(reader.num_rows, is_shifted=is_shifted),
                *label_notes,
                *attribute_notes(demo, reader.num_rows),
                *reader.left_out(),
            ),
        )


def _rate(demo: Demo, option: float) -> tuple[float, str]:
    """Rate of the steps, and who says so."""
    if option:
        return checked_rate(option, "options.rate_hz"), "as options.rate_hz says"
    declared, field = declared_rate(demo)
    if declared:
        return declared, f"as env_args declares ({field})"
    return RATE_HZ, "LIBERO's usual rate: the file declares none (options.rate_hz can)"


def _is_after(source: str) -> bool:
    """Whether a dataset was read after the action of its row was carried out."""
    source = source.strip("/")
    return source.startswith("obs/") or source == "robot_states"


def _shifted(source: str, count: int) -> range:
    """Rows that pair what was seen with the action that followed it."""
    return range(count - 1) if _is_after(source) else range(1, count)


def _shift_note(count: int, *, is_shifted: bool) -> str:
    if is_shifted:
        return (
            f"obs[t] is paired with actions[t + 1], as shift_observations asks: the first action and the last "
            f"observation are left out, {count} rows become {count - 1} steps"
        )
    return (
        "obs[t] was read after actions[t] was carried out; rows are kept as they are, options.shift_observations pairs "
        "obs[t] with actions[t + 1]"
    )


def _image_notes(request: Request, convention: str, *, is_flipped: bool) -> list[str]:
    cameras = [c.name for c in request.embodiment.cameras if c.name in request.mapping.streams]
    if not cameras:
        return []
    names = ", ".join(cameras)
    if is_flipped:
        return [] if convention else [f"{names}: turned although the file declares no image convention"]
    if convention == _UPSIDE_DOWN:
        return [f"{names}: images are upside down (macros_image_convention is opengl); options.flip_images turns them"]
    if not convention:
        return [f"{names}: the file declares no image convention; images may be upside down"]
    return []


def _unquoted(instructions: tuple[Instruction, ...]) -> tuple[tuple[Instruction, ...], list[str]]:
    """Instructions without the quotation marks that some files have around them."""
    found = []
    for instruction in instructions:
        text = instruction.text
        is_quoted = len(text) > 2 and text.startswith('"') and text.endswith('"')
        found.append(replace(instruction, text=text[1:-1]) if is_quoted else instruction)
    count = sum(a is not b for a, b in zip(found, instructions, strict=True))
    return tuple(found), ["instruction: quotation marks around it were left out"] if count else []


def _metadata(demo: Demo) -> dict[str, str]:
    found = demo_metadata(demo)
    problem = json_object(demo.file.text("data", "problem_info"))
    for name in ("problem_name", "domain_name"):
        if isinstance(problem.get(name), str):
            found[name] = clip(printable(str(problem[name])), 200)
    for name in ("env_name", "bddl_file_name", "macros_image_convention"):
        text = demo.file.text("data", name)
        if text:
            found[name] = clip(printable(text), 200)
    return found


def inspect(path: Path) -> Inspection:
    """Describe a file by its first readable demonstration.

    Raises:
        SourceError: As `places`, or no demonstration can be read.
        GateError: The file breaks a limit.
    """
    return inspect_demos(path, "libero_hdf5", _facts)


def _facts(demo: Demo) -> dict[str, str]:
    facts = {k: v for k, v in _metadata(demo).items() if k not in {"demo", "filter_keys", "seed", "success"}}
    problems = ["observations were read after the action of their row (options.shift_observations)"]
    if facts.get("macros_image_convention") == _UPSIDE_DOWN:
        problems.append("images are upside down (options.flip_images)")
    return {**facts, "problem": "; ".join(problems)}
