"""ALOHA and ACT episodes: one HDF5 file with observations, actions and cameras, whose rows are steps.

No times are recorded: stamps are step / 50 Hz on a nominal clock. Whether images are JPEG is told by their shape.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..errors import SourceError
from ..recording import AnyStream, FrameStream, Recording
from ..text import clip, printable
from . import Inspection, Place, Request
from ._hdf5 import Hdf5File, open_hdf5
from ._hdf5_demos import has_layout
from ._hdf5_images import is_encoded
from ._hdf5_inspect import step_infos
from ._hdf5_steps import Demo, StepReader, checked_rate
from ._join import hash_file, recording_id
from ._options import take_options

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = ()
IS_GENERAL = False

RATE_HZ = 50.0
"""The recorders' time step is 0.02 s."""

_IMAGES = "observations/images"
_LENGTHS = "compress_len"


def can_read(path: Path) -> bool:
    """Tell whether a file has the array /action and /observations/qpos."""
    return has_layout(path, "aloha")


def places(path: Path) -> list[Place]:
    """The file is one demonstration.

    Raises:
        GateError: The file is damaged or breaks a limit.
    """
    with open_hdf5(path):
        return [Place(name=path.name, size=path.stat().st_size)]


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read the episode.

    Raises:
        SourceError: A dataset is missing, damaged or of another length, or the mapping does not fit.
        GateError: The file breaks a limit.
        SchemaError: An option is unknown, or is no rate.
    """
    rate_hz = checked_rate(float(take_options(request.mapping, {"rate_hz": RATE_HZ})["rate_hz"]), "options.rate_hz")
    rate_from = "the recorders' rate" if "rate_hz" not in request.mapping.options else "as options.rate_hz says"
    with ExitStack() as stack:
        file = stack.enter_context(open_hdf5(path))
        reader = StepReader(Demo(file=file, name=place.name), request, stack, rate_hz=rate_hz, rate_from=rate_from)
        streams = reader.streams()
        instructions, outcomes = reader.labels()
        reader.used.add(_LENGTHS)
        source_file = hash_file(path, path.name)
        yield Recording(
            recording_id=recording_id("aloha_hdf5", place.name, [source_file.sha256]),
            source="aloha_hdf5",
            place=place.name,
            files=(source_file,),
            streams=streams,
            is_stepped=True,
            instructions=instructions,
            outcomes=outcomes,
            metadata={k: v for k in ("sim", "compress") if (v := file.text("", k))},
            notes=(*reader.notes, *_compression_notes(file, request, streams), *reader.left_out()),
        )


def _compression_notes(file: Hdf5File, request: Request, streams: dict[str, AnyStream]) -> list[str]:
    """What the file says of its compression otherwise than its images do."""
    notes = []
    declared = file.attribute("", "compress")
    cameras = {n: s for n, s in streams.items() if isinstance(s, FrameStream)}
    encoded = {n: s for n, s in cameras.items() if is_encoded(file.info(request.mapping.streams[n].source))}
    if isinstance(declared, bool) and cameras and declared is not bool(encoded):
        there = "encoded" if encoded else "raw"
        notes.append(f"the attribute compress is {declared}; images are {there} by their shape")
    if file.kind(_LENGTHS) != "dataset":
        return notes
    try:
        lengths = file.numbers(_LENGTHS)
    except SourceError as error:
        return [*notes, f"{error}; it is not needed"]
    for name, stream in encoded.items():
        sizes = stream.frames.sizes
        is_fitting = lengths.ndim == 2 and lengths.shape[1] == len(sizes)
        if not is_fitting or not np.any(np.all(lengths == sizes, axis=1)):
            notes.append(
                f"{name}: no row of {_LENGTHS} holds the lengths of its images; they are cut at their end mark"
            )
    return notes


def inspect(path: Path) -> Inspection:
    """Describe the episode.

    Raises:
        SourceError: The file is damaged.
        GateError: The file breaks a limit.
    """
    found = places(path)
    with open_hdf5(path) as file:
        streams = tuple(s for s in step_infos(Demo(file=file, name=path.name)) if s.name != _LENGTHS)
        facts = tuple((k, v) for k in ("sim", "compress") if (v := file.text("", k)))
        cameras = ", ".join(file.members(_IMAGES)) or "none"
    return Inspection(
        source="aloha_hdf5",
        places=tuple(found),
        looked_at=path.name,
        streams=streams,
        rate_hz=RATE_HZ,
        facts=(*facts, ("cameras", clip(printable(cameras), 200))),
    )
