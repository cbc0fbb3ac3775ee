"""`vladata doctor`."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ._console import FAILED, human_bytes, out, out_json

Line = tuple[str, str]
"""ok, warn or fail, and a text."""


def doctor(
    folder: Annotated[Path, typer.Argument(help="A folder that datasets shall be written to.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell whether this machine has what vladata needs.

    Example: vladata doctor
    """
    lines = [*_packages(), *_opencv(), *_extras(), *_machine(folder), *_schemas()]
    if as_json:
        out_json([{"state": state, "text": text} for state, text in lines])
    else:
        for state, text in lines:
            out(f"{state:<5} {text}")
    if any(state == "fail" for state, _ in lines):
        raise typer.Exit(FAILED)


def _packages() -> Iterator[Line]:
    import platform

    import h5py
    import numpy
    import pyarrow

    import vladata

    python = f"python {platform.python_version()} on {platform.system().lower()} {platform.machine()}"
    yield "ok", f"vladata {vladata.__version__}, {python}"
    state = "ok" if tuple(map(int, h5py.version.hdf5_version.split(".")[:2])) >= (2, 0) else "warn"
    yield state, f"h5py {h5py.__version__} with HDF5 {h5py.version.hdf5_version} (2.0 closes known holes of older ones)"
    yield "ok", f"numpy {numpy.__version__}, pyarrow {pyarrow.__version__}"


def _opencv() -> Iterator[Line]:
    installed = [n for n in ("opencv-python", "opencv-python-headless", "opencv-contrib-python") if _version(n)]
    if len(installed) > 1:
        yield (
            "fail",
            f"{' and '.join(installed)} share one folder and break each other: pip uninstall {' '.join(installed)}; "
            "pip install opencv-python-headless",
        )
        return
    try:
        import cv2
    except ImportError as error:
        yield "fail", f"opencv does not import: {error}; pip install opencv-python-headless"
        return
    yield "ok", f"opencv {cv2.__version__} ({', '.join(installed) or 'not from pip'})"


def _version(name: str) -> str:
    from importlib import metadata  # a sixth of the start-up of every command

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _extras() -> Iterator[Line]:
    for module, extra, what in (
        ("av", "video", "videos (LeRobot, DROID, CompressedVideo, MP4 beside tables)"),
        ("rosbags", "ros", "message types of bags that hold no definitions"),
        ("imagecodecs", "umi", "UMI's images"),
        ("numcodecs", "umi", "zarr stores packed with Blosc"),
        ("matplotlib", "plot", "plots: vladata timing, tokenizer report"),
    ):
        if importlib.util.find_spec(module) is None:
            yield "warn", f"no {module}: without {what}; pip install 'vladata[{extra}]'"
        else:
            yield "ok", f"{module} {_version(module)}: {what}"


def _machine(folder: Path) -> Iterator[Line]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "ok", f"{cores} cores"
    if not folder.exists():
        yield "fail", f"{folder}: no such folder"
        return
    free = shutil.disk_usage(folder).free
    yield ("ok" if free > 10e9 else "warn"), f"{human_bytes(free)} free at {folder.absolute().name or '/'}"
    yield (
        ("ok", "folder can be written")
        if os.access(folder, os.W_OK)
        else ("fail", f"{folder} can't be written by this user")
    )


def _schemas() -> Iterator[Line]:
    from vladata import plugins
    from vladata.mapping import load_schema, schema_names

    yield "ok", f"sources: {', '.join(plugins.names('sources'))}"
    yield "ok", f"tokenizers: {', '.join(plugins.names('tokenizers'))}"
    names = schema_names()
    for name in names:
        load_schema(name)
    yield "ok", f"schemas: {', '.join(names)}"
