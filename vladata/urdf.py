"""Joints out of a URDF: names, types, limits, highest speeds, mimics, places. No mesh is loaded, no other file is read.

Source: wiki.ros.org/urdf/XML/joint.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from .errors import GateError, SchemaError
from .text import clip, printable

__all__ = ["Joint", "JointMatch", "PlacedJoint", "Urdf", "chain_between", "match_joints", "read_urdf"]

MAX_BYTES = 5_000_000
MAX_DEPTH = 64
MAX_JOINTS = 2000
MAX_PLACED = 10_000
MAX_CHAIN = 200

_MOVING = ("revolute", "continuous", "prismatic", "planar", "floating")
_NOISE = {"joint", "link", "pos", "position", "angle", "motor", "servo", "k", "deg", "rad"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """A joint that moves."""

    name: str
    type: str
    """`revolute`, `continuous`, `prismatic`, `planar` or `floating`."""
    limits: tuple[float, float] | None = None
    """Lowest and highest position, in rad (prismatic: m); None where the URDF has none."""
    max_velocity: float | None = None
    """Highest speed, in rad/s (prismatic: m/s)."""
    max_effort: float | None = None
    """Highest effort, in N·m (prismatic: N)."""
    mimics: str | None = None
    """The joint that it follows; it has no drive of its own."""

    @property
    def is_sliding(self) -> bool:
        """Whether its position is a length."""
        return self.type == "prismatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedJoint:
    """A joint of any type with the links that it joins; its numbers are as the file has them."""

    name: str
    type: str
    parent: str
    child: str
    xyz: str = "0 0 0"
    """Of its frame in the parent's, in m."""
    rpy: str = "0 0 0"
    """Roll, pitch, yaw about the parent's fixed axes, in rad."""
    axis: str = "1 0 0"
    """That it turns about or slides along, in its own frame."""
    mimics: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Urdf:
    """What a URDF says about joints."""

    file: str
    """Its file's name."""
    robot: str
    joints: tuple[Joint, ...]
    """Those that move, in the file's order."""
    notes: tuple[str, ...] = ()
    """What is odd, one line each."""
    placed: tuple[PlacedJoint, ...] = ()
    """All joints, the fixed ones too, with their links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointMatch:
    """Joints of a URDF for the names of a recording."""

    joints: dict[str, Joint]
    """By recorded name."""
    remarks: dict[str, str]
    """By recorded name: how it was matched, where not by the very name; or why it was not."""
    unused: tuple[str, ...]
    """Joints that no name is about."""


def read_urdf(path: Path) -> Urdf:
    """Read the joints of a URDF.

    Raises:
        GateError: The file is larger than 5 MB, too deep, or declares entities or a document type.
        SchemaError: It is no XML, or not of a robot.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser, ParseError

    if not path.is_file():
        raise SchemaError(f"{path}: no such URDF file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise GateError(f"{path.name}: more than {MAX_BYTES:,} bytes; a URDF must have at most as many")
    found = _Joints(path.name)
    parser = DefusedXMLParser(target=found, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(data)
        parser.close()
    except DefusedXmlException as error:
        raise GateError(f"{path.name}: has a document type, entities or external references; must have none") from error
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that there is not
        raise SchemaError(f"{path.name}: not XML: {clip(printable(str(error)), 200)}") from error
    if found.root != "robot":
        root = clip(printable(found.root), 60)
        raise SchemaError(f"{path.name}: its root element is <{root}>; must be <robot>, as a URDF has it")
    return Urdf(
        file=path.name,
        robot=printable(found.robot),
        joints=tuple(found.joints.values()),
        notes=(*found.notes,),
        placed=tuple(found.placed),
    )


class _Joints:
    """Takes the joints out of the elements as they come, so that no tree is built."""

    def __init__(self, file: str) -> None:
        self.root, self.robot = "", ""
        self.joints: dict[str, Joint] = {}
        self.notes: list[str] = []
        self.placed: list[PlacedJoint] = []
        self._file = file
        self._depth = 0
        self._joint: dict[str, str] | None = None
        self._children: dict[str, dict[str, str]] = {}

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise GateError(f"{self._file}: nested deeper than {MAX_DEPTH} levels")
        if self._depth == 1:
            self.root, self.robot = tag, attributes.get("name", "")
        elif self._depth == 2 and tag == "joint":  # elsewhere, as in <transmission>, a joint is named only
            self._joint, self._children = attributes, {}
        elif self._depth == 3 and self._joint is not None:
            self._children.setdefault(tag, attributes)

    def end(self, tag: str) -> None:  # noqa: ARG002
        """An element ends."""
        if self._depth == 2 and self._joint is not None:
            self._add(self._joint, self._children)
            self._joint = None
        self._depth -= 1

    def data(self, text: str) -> None:
        """Text between elements means nothing here."""

    def close(self) -> None:
        """The document ends."""

    def _add(self, attributes: dict[str, str], children: dict[str, dict[str, str]]) -> None:
        name, type_ = attributes.get("name", ""), attributes.get("type", "")
        self._place(name, type_, children)
        if type_ not in _MOVING:
            if type_ != "fixed":
                self._note(name, f"has the type {type_!r}, which a URDF does not know; it is left out")
            return
        if not name:
            raise SchemaError(f"{self._file}: a joint of type {type_} has no name; every joint must have one")
        if name in self.joints:
            raise SchemaError(f"{self._file}: joint {clip(printable(name), 60)} comes twice; names must be unique")
        if len(self.joints) == MAX_JOINTS:
            raise GateError(f"{self._file}: more than {MAX_JOINTS} joints that move")
        limit = children.get("limit", {})
        mimic = children.get("mimic")
        self.joints[name] = Joint(
            name=name,
            type=type_,
            limits=self._limits(name, type_, limit),
            max_velocity=self._highest(name, limit, "velocity"),
            max_effort=self._highest(name, limit, "effort"),
            mimics=None if mimic is None else mimic.get("joint", ""),
        )

    def _place(self, name: str, type_: str, children: dict[str, dict[str, str]]) -> None:
        if len(self.placed) == MAX_PLACED:
            raise GateError(f"{self._file}: more than {MAX_PLACED:,} joints")
        origin, mimic = children.get("origin", {}), children.get("mimic")
        self.placed.append(
            PlacedJoint(
                name=name,
                type=type_,
                parent=children.get("parent", {}).get("link", ""),
                child=children.get("child", {}).get("link", ""),
                xyz=origin.get("xyz", "0 0 0"),
                rpy=origin.get("rpy", "0 0 0"),
                axis=children.get("axis", {}).get("xyz", "1 0 0"),
                mimics=None if mimic is None else mimic.get("joint", ""),
            )
        )

    def _limits(self, name: str, type_: str, limit: dict[str, str]) -> tuple[float, float] | None:
        if type_ not in {"revolute", "prismatic"}:
            if "lower" in limit or "upper" in limit:
                self._note(name, f"is {type_} and has limits; they are not used")
            return None
        # A missing bound is 0 by the specification; where both are missing, nobody meant a joint that can't move.
        lower, upper = (self._number(name, limit, key, default=0.0) for key in ("lower", "upper"))
        if "lower" not in limit and "upper" not in limit:
            self._note(name, f"is {type_} and has no limits")
            return None
        if lower is None or upper is None:
            return None
        if not lower < upper:
            self._note(name, f"has limits {lower:g} to {upper:g}; the first must be less, so they are not used")
            return None
        return lower, upper

    def _highest(self, name: str, limit: dict[str, str], key: str) -> float | None:
        value = self._number(name, limit, key, default=None)
        return value if value is not None and value > 0 else None

    def _number(self, name: str, limit: dict[str, str], key: str, *, default: float | None) -> float | None:
        text = limit.get(key)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return value
        hint = "; expand the file with xacro first" if "$" in text else ""
        self._note(name, f"has {key} {text!r}, which is no number{hint}")
        return None

    def _note(self, name: str, text: str) -> None:
        if len(self.notes) < 100:
            self.notes.append(clip(printable(f"joint {name} {text}"), 200))


def chain_between(urdf: Urdf, tip: str, base: str | None = None) -> tuple[PlacedJoint, ...]:
    """The joints from a base link to a tip link, in this order.

    Args:
        urdf: The robot.
        tip: Link whose pose is recorded.
        base: Link that it is recorded in; None: the root, which no joint moves.

    Raises:
        SchemaError: A link is not there, the base is not above the tip, a joint between them is planar, floating or
            follows another one, or links are joined in a circle.
    """
    above = {j.child: j for j in urdf.placed}
    links = {j.parent for j in urdf.placed} | set(above)
    for link in (tip, *([base] if base is not None else [])):
        if link not in links:
            close = get_close_matches(link, sorted(links), n=1)
            hint = f"; did you mean {clip(printable(close[0]), 60)!r}?" if close else ""
            raise SchemaError(f"{urdf.file}: no joint has a link {clip(printable(link), 60)!r}{hint}")
    chain: list[PlacedJoint] = []
    link = tip
    while link != base and link in above:
        joint = above[link]
        shown = clip(printable(joint.name), 60)
        if len(chain) == MAX_CHAIN:
            raise SchemaError(
                f"{urdf.file}: more than {MAX_CHAIN} joints up from {clip(printable(tip), 60)}; is it a ring?"
            )
        if joint.type not in {"revolute", "continuous", "prismatic", "fixed"}:
            raise SchemaError(
                f"{urdf.file}: joint {shown} is {clip(printable(joint.type), 20)!r}; its motion is no one number"
            )
        if joint.mimics is not None:
            raise SchemaError(f"{urdf.file}: joint {shown} follows another joint; a chain must not have such")
        chain.append(joint)
        link = joint.parent
    if base is not None and link != base:
        raise SchemaError(
            f"{urdf.file}: {clip(printable(base), 60)} is not between the root and {clip(printable(tip), 60)}"
        )
    if not chain:
        raise SchemaError(f"{urdf.file}: there is no joint above {clip(printable(tip), 60)}")
    return tuple(reversed(chain))


def match_joints(names: Sequence[str], urdf: Urdf) -> JointMatch:
    """Find the joint that each recorded name is about: the very name, else words that fit one joint only.

    Args:
        names: Of a recording's elements. `left_elbow` is about left_elbow_joint, kLeftElbow too; joint1 about
            panda_joint1; gripper about neither left_gripper nor right_gripper where there are both.
        urdf: The joints.
    """
    by_name = {j.name: j for j in urdf.joints}
    joints = {n: by_name[n] for n in names if n in by_name}
    remarks: dict[str, str] = {}
    for rule in (_is_same, _is_part):
        while True:
            found, unsure = _fitting(names, urdf, joints, rule)
            joints |= found
            remarks |= {n: f"urdf: {j.name}, by its words" for n, j in found.items()} | unsure
            if not found:
                break
    taken = {j.name for j in joints.values()}
    unused = [j.name for j in urdf.joints if j.name not in taken]
    for name in names:
        if name not in joints and name not in remarks:
            close = get_close_matches(name, unused, n=1, cutoff=0.8)
            if close and _numbers(name) == _numbers(close[0]):
                remarks[name] = f"urdf: not joined; is it {close[0]}, misspelt?"
    return JointMatch(joints=joints, remarks=remarks, unused=tuple(unused))


_Rule = Callable[[tuple[str, ...], tuple[str, ...]], bool]


def _fitting(
    names: Sequence[str], urdf: Urdf, joints: Mapping[str, Joint], rule: _Rule
) -> tuple[dict[str, Joint], dict[str, str]]:
    """Names that fit one joint only, which no other name fits as well; and why others are unsure."""
    taken = {j.name for j in joints.values()}
    free = [j for j in urdf.joints if j.name not in taken]
    fits = {n: [j for j in free if rule(_tokens(n), _tokens(j.name))] for n in names if n not in joints}
    found, unsure = {}, {}
    for name, candidates in fits.items():
        if not candidates:
            continue
        joint = candidates[0]
        # finger_joint1 shares more words with panda_finger_joint1 than joint1 does.
        shared = _num_shared(name, joint)
        rivals = [n for n in fits if n != name and joint in fits[n] and _num_shared(n, joint) >= shared]
        if len(candidates) == 1 and not rivals:
            found[name] = joint
        else:
            more = (
                f"{joint.name}, as {rivals[0]} is"
                if len(candidates) == 1
                else ", ".join(j.name for j in candidates[:4])
            )
            unsure[name] = f"urdf: unsure, could be {more}"
    return found, unsure


def _num_shared(name: str, joint: Joint) -> int:
    return min(len(_tokens(name)), len(_tokens(joint.name)))


def _numbers(name: str) -> list[str]:
    return re.findall(r"[0-9]+", name)


def _tokens(name: str) -> tuple[str, ...]:
    """Words of a joint's name without those that say nothing; a number keeps the word before it."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    parts = re.findall(r"[a-z]+|[0-9]+", spaced.lower())
    numbered = {i for i, after in enumerate(parts[1:]) if after.isdecimal()}
    return tuple(p for i, p in enumerate(parts) if p not in _NOISE or i in numbered)


def _is_same(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    return bool(ours) and ours == theirs and not ours[0].isdecimal()


def _is_part(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether one is the beginning or the end of the other."""
    short, long = sorted((ours, theirs), key=len)
    if not short or all(p.isdecimal() for p in short):
        return False
    return long[: len(short)] == short or long[-len(short) :] == short
