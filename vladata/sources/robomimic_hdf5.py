"""robomimic datasets: one HDF5 file, /data/demo_i is a demonstration; also as Isaac Lab writes them, and flat files.

Rows are steps and pass through one by one. No times are recorded, so stamps are step / rate on a nominal clock.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from ..recording import Recording, SourceFile
from . import Inspection, Place, Request
from ._hdf5_demos import has_layout, list_demos
from ._hdf5_env import attribute_notes, declared_rate, demo_metadata, inspect_demos, open_demo
from ._hdf5_steps import Demo, StepReader, checked_rate
from ._join import recording_id
from ._options import take_options

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = ()
IS_GENERAL = False

_OPTIONS = {"rate_hz": 0.0}


def can_read(path: Path) -> bool:
    """Tell whether a file has demonstrations under /data, or arrays `actions_0`, `actions_1`, … at its root."""
    return has_layout(path, "robomimic", "flat")


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
        SourceError: A dataset is missing, damaged or of another length, or the mapping does not fit.
        GateError: The file breaks a limit.
        SchemaError: An option is unknown, or is no rate.
    """
    with ExitStack() as stack:
        demo = open_demo(path, place.name, stack)
        option = take_options(request.mapping, _OPTIONS)["rate_hz"]
        rate_hz, rate_from = _rate(demo, request, float(option))
        reader = StepReader(demo, request, stack, rate_hz=rate_hz, rate_from=rate_from)
        streams = reader.streams()
        instructions, outcomes = reader.labels()
        size, digest = demo.digest()
        yield Recording(
            recording_id=recording_id("robomimic_hdf5", place.name, [digest]),
            source="robomimic_hdf5",
            place=place.name,
            files=(SourceFile(name=place.name, size=size, sha256=digest),),
            streams=streams,
            is_stepped=True,
            instructions=instructions,
            outcomes=outcomes,
            metadata=demo_metadata(demo),
            notes=(*reader.notes, *attribute_notes(demo, reader.num_rows), *reader.left_out()),
        )


def _rate(demo: Demo, request: Request, option: float) -> tuple[float, str]:
    """Rate of the steps, and who says so."""
    if option:
        return checked_rate(option, "options.rate_hz"), "as options.rate_hz says"
    declared, field = declared_rate(demo)
    if declared:
        return declared, f"as env_args declares ({field})"
    rate = request.embodiment.rate_hz
    return rate, f"the rate of {request.embodiment.name}: the file declares none (options.rate_hz can)"


def inspect(path: Path) -> Inspection:
    """Describe a file by its first readable demonstration.

    Raises:
        SourceError: As `places`, or no demonstration can be read.
        GateError: The file breaks a limit.
    """
    return inspect_demos(
        path, "robomimic_hdf5", lambda demo: {k: v for k, v in demo_metadata(demo).items() if k.startswith("env_")}
    )
