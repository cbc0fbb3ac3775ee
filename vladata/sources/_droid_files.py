"""What lies in the folder of a DROID demonstration beside its numbers: videos, metadata, and what they say."""

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SourceError
from ..gate import inside
from ..text import clip, printable
from ._hdf5 import Hdf5File
from ._hdf5_types import Value
from ._json_files import read_json

__all__ = ["ROLES", "TRAJECTORY", "DroidFiles", "find_files"]

TRAJECTORY = "trajectory.h5"
ROLES = ("wrist", "ext1", "ext2")
_MP4, _SVO = "recordings/MP4", "recordings/SVO"
_MAX_FILES = 1_000
_STEREO = "-stereo"

_FACTS = {
    "lab": "lab",
    "building": "building",
    "scene_id": "scene_id",
    "robot_serial": "robot_serial",
    "robot_serial_number": "robot_serial",
    "droid_version": "droid_version",
    "version_number": "droid_version",
    **{f"{role}_cam_serial": f"{role}_cam_serial" for role in ROLES},
    **{f"{role}_cam_extrinsics": f"{role}_cam_extrinsics" for role in ROLES},
}
"""What is copied, and under which name; whatever else there is stays out, for names of people stand in it."""
_LABELS = {"current_task", "success", "failure"}
_PERSONAL = ("user", "user_id", "uuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class DroidFiles:
    """A demonstration's folder."""

    folder: Path
    metadata_name: str
    """Of metadata_<uuid>.json; empty where there is none."""
    said: dict[str, object]
    """What it holds."""
    videos: tuple[str, ...]
    """Names of the MP4 files, relative to the folder, sorted."""
    svo: tuple[str, ...]
    problems: tuple[str, ...] = field(default=())

    def serial(self, role: str, file: Hdf5File) -> str:
        """The serial number of a camera by its role, or the serial itself.

        Args:
            role: wrist, ext1 or ext2; or a serial number.
            file: The trajectory: it says which camera is at the wrist where the metadata does not.

        Raises:
            SourceError: Nothing says which camera has that role; with those there are.
        """
        if role not in ROLES:
            return role
        said = self.said.get(f"{role}_cam_serial")
        if isinstance(said, str | int) and not isinstance(said, bool) and str(said):
            return str(said)
        at_wrist = [s for s in file.members("observation/camera_type") if _is_wrist(file, s)] if role == "wrist" else []
        if len(at_wrist) == 1:
            return at_wrist[0]
        known = ", ".join(self.serials(file)) or "none"
        raise SourceError(
            f"nothing says which camera is {role}: there is no {role}_cam_serial; name a serial, there are "
            f"{clip(printable(known), 200)}"
        )

    def serials(self, file: Hdf5File) -> list[str]:
        """Serial numbers of the cameras that the trajectory or a file names, sorted."""
        files = {Path(n).stem.removesuffix(_STEREO) for n in (*self.videos, *self.svo)}
        return sorted({*file.members("observation/camera_type"), *files})

    def video(self, source: str, file: Hdf5File) -> tuple[str, str]:
        """The video of a mapping's `from`, and the camera's serial number.

        Args:
            source: A role or a serial number, `-stereo` behind it for both eyes; or the name of a file.
            file: The trajectory.

        Raises:
            SourceError: There is no such video; with what there is.
            GateError: The name leaves the folder.
        """
        if source.endswith(".mp4"):
            name = source if "/" in source else f"{_MP4}/{source}"
            inside(self.folder, name)
            serial = Path(name).stem.removesuffix(_STEREO)
        else:
            serial = self.serial(source.removesuffix(_STEREO), file)
            name = f"{_MP4}/{serial}{_STEREO if source.endswith(_STEREO) else ''}.mp4"
        if name in self.videos:
            return name, serial
        if any(Path(n).stem == serial for n in self.svo):
            raise SourceError(
                f"{printable(name)} is not there, only {_SVO}/{printable(serial)}.svo: SVO is not read; convert it to "
                "MP4 with the camera's own tool"
            )
        shown = clip(printable(", ".join(self.videos)), 300) or "none"
        raise SourceError(f"{printable(name)} is not there; there are {shown}")

    def facts(self, file: Hdf5File) -> tuple[dict[str, str], str]:
        """Facts that are copied, and a note on what is not.

        Args:
            file: The trajectory, whose attributes count where the metadata is silent.
        """
        found: dict[str, str] = {}
        left: set[str] = set()
        said: dict[str, object] = {n: file.attribute("", n) for n in file.attribute_names()}
        for name, value in (*said.items(), *self.said.items()):
            if name in _FACTS and isinstance(value, str | int | float | list | tuple) and value not in ("", []):
                found[_FACTS[name]] = clip(printable(str(value)), 500)
            elif name not in _LABELS and name not in _FACTS:
                left.add(name)
        lab = self._lab()
        if lab and "lab" not in found:
            found["lab"] = lab
        people = [n for n in _PERSONAL if n in left]
        others = sorted(left - set(people))
        notes = []
        if people:
            notes.append(f"not copied, for they say who recorded: {', '.join(people)}")
        if others:
            notes.append(f"not copied: {clip(printable(', '.join(others)), 500)}")
        return found, "; ".join(notes)

    def _lab(self) -> str:
        """The folder above success or failure."""
        parts = self.folder.resolve().parts
        return printable(parts[-4]) if len(parts) >= 5 and parts[-3] in {"success", "failure"} else ""

    @property
    def outcome(self) -> str:
        """`success` or `failure` where the folder lies in one of that name; else empty."""
        parts = self.folder.resolve().parts
        return parts[-3] if len(parts) >= 3 and parts[-3] in {"success", "failure"} else ""

    def label(self, name: str, file: Hdf5File) -> Value | None:
        """What the trajectory or the metadata says under a name."""
        value = file.attribute("", name)
        if value is None or isinstance(value, tuple):
            said = self.said.get(name)
            return said if isinstance(said, str | bool | int | float) else None
        return value


def _is_wrist(file: Hdf5File, serial: str) -> bool:
    values = file.numbers(f"observation/camera_type/{serial}").ravel()
    return len(values) > 0 and bool((values == 0).all())


def find_files(folder: Path) -> DroidFiles:
    """Look at what lies in the folder of a demonstration.

    Raises:
        SourceError: There is no trajectory, or the metadata is not JSON.
        GateError: The metadata is too large.
        OSError: The folder can't be read.
    """
    if not (folder / TRAJECTORY).is_file():
        raise SourceError(f"{printable(folder.name)}: {TRAJECTORY} is not there")
    names = sorted(p.name for p in folder.iterdir() if p.name.startswith("metadata_") and p.suffix == ".json")
    problems = [f"{len(names)} files of metadata: none is used"] if len(names) > 1 else []
    said = read_json(folder, names[0]) if len(names) == 1 else {}
    return DroidFiles(
        folder=folder,
        metadata_name=names[0] if len(names) == 1 else "",
        said=said,
        videos=_names(folder, _MP4, ".mp4"),
        svo=_names(folder, _SVO, ".svo"),
        problems=tuple(problems),
    )


def _names(folder: Path, inner: str, suffix: str) -> tuple[str, ...]:
    path = folder / inner
    if not path.is_dir():
        return ()
    names = sorted(p.name for p in path.iterdir() if p.suffix == suffix and p.is_file())
    return tuple(f"{inner}/{n}" for n in names[:_MAX_FILES])
