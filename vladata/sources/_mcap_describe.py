"""Fields of a message that a mapping can name, found by looking at one."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from ..images import probe
from ..text import clip, printable
from ._field_paths import Tree, TreePath, parse_path
from ._field_times import time_ns_of
from ._foxglove import JsonImages, ProtobufImages, cdr_image, cdr_raw_image
from ._mcap_frames import DEPTH_HEADER
from ._mcap_json import JsonTree, document
from ._mcap_protobuf import ProtobufTree
from ._mcap_types import MessageType, numeric_paths
from ._raw_images import raw_channels, raw_problem
from ._ros2 import (
    JOINT_FIELDS,
    MULTI_ARRAYS,
    CdrError,
    ImagePlace,
    JointStates,
    MultiArrays,
    RawImage,
    compressed_image,
    raw_image,
)
from ._ros2_fields import MAX_MESSAGE, FieldValues
from ._ros2_tree import CdrTree

__all__ = ["Found", "describe"]

MAX_FIELDS = 32
"""Fields of one topic that are shown."""
MAX_NAMES = 256
MAX_DEPTH = 6
_CHILD = "child_frame_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One field of a topic, as its first message has it."""

    field: str | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    kind: str = "other"
    codec: str = ""
    element_names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def describe(type_: MessageType, payload: memoryview) -> list[Found]:
    """Fields of a message that a mapping can name.

    Args:
        type_: Of the message.
        payload: The message, of ROS 1 rewritten as CDR.

    Raises:
        CdrError: It can't be decoded.
    """
    if type_.is_image:
        return [_describe_image(type_, payload)]
    if type_.tree is not None:
        return _typed(type_.tree, _tree_fields(type_.tree.of(payload), "", 0))
    if type_.known == "joint_state":
        return _describe_joints(payload)
    if type_.known == "multi_array":
        reader = MultiArrays(MULTI_ARRAYS[type_.short])
        reader.add(payload)
        size, number = reader.vectors.lengths[0], str(reader.vectors.dtype)
        return [Found(field="data", shape=(size,), dtype=number, kind="numeric")]
    if type_.known == "string" and type_.definition is None:
        return [Found(field="data", kind="text")]
    return _describe_fields(type_, payload)


def _describe_joints(payload: memoryview) -> list[Found]:
    joints = JointStates(frozenset(JOINT_FIELDS))
    joints.add(payload)
    names = joints.names[0]
    found = []
    for field, vectors in joints.fields.items():
        size = vectors.lengths[0]
        if size:
            element_names = names if len(names) == size else ()
            found.append(
                Found(field=field, shape=(size,), dtype="float64", kind="numeric", element_names=element_names)
            )
    return found or [Found(problems=("position, velocity and effort of the first message are empty",))]


def _describe_image(type_: MessageType, payload: memoryview) -> Found:
    """The image of a message, encoded, raw or a packet of a video."""
    if type_.known == "image":
        return _describe_raw(_raw_reader(type_)(payload))
    form, data = _encoded(type_, payload)
    shown = clip(printable(form), 60)
    if type_.known == "video":
        return Found(kind="video", codec=shown, dtype="uint8")
    if "compressedDepth" in form:
        data = data[DEPTH_HEADER:]
    try:
        info = probe(data)
    except ImageError as error:
        return Found(kind="image", problems=(f"the first image ({shown}) is not read: {error}",))
    shape = (info.height, info.width, info.channels)
    return Found(shape=shape, dtype="uint8" if info.bit_depth <= 8 else "uint16", kind="image", codec=info.codec)


def _encoded(type_: MessageType, payload: memoryview) -> tuple[str, memoryview]:
    """What a message calls its data, and the data."""
    if isinstance(type_.tree, JsonTree):
        images = JsonImages(type_.tree, "data")
        return images.form(payload), memoryview(images.data(payload))
    locate: Callable[[memoryview], ImagePlace] = cdr_image if type_.is_foxglove else compressed_image
    if isinstance(type_.tree, ProtobufTree):
        locate = ProtobufImages(type_.tree, "data").locate
    form, at, size = locate(payload)
    return form, payload[at : at + size]


def _raw_reader(type_: MessageType) -> Callable[[memoryview], RawImage]:
    if isinstance(type_.tree, JsonTree):
        return JsonImages(type_.tree, "data").raw
    if isinstance(type_.tree, ProtobufTree):
        return ProtobufImages(type_.tree, "data").raw
    return cdr_raw_image if type_.is_foxglove else raw_image


def _describe_raw(image: RawImage) -> Found:
    problem = raw_problem(image.encoding)
    shape = (image.height, image.width, raw_channels(image.encoding))
    dtype = clip(printable(image.encoding), 40)
    return Found(shape=shape, dtype=dtype, kind="image", problems=(problem,) if problem else ())


def _describe_fields(type_: MessageType, payload: memoryview) -> list[Found]:
    if type_.definition is None:
        return []
    found = []
    for path in numeric_paths(type_.definition)[:MAX_FIELDS]:
        reader = FieldValues(type_.definition, path)
        reader.add(payload)
        size, dtype = reader.vectors.lengths[0], str(reader.vectors.dtype)
        names = reader.element_names
        found.append(Found(field=path, shape=(size,), dtype=dtype, kind="numeric", element_names=names))
    texts = [f.name for f in type_.definition.fields if f.type == "string" and f.length is None]
    known = {f.field for f in found} | set(texts)
    found += [Found(field=name, kind="text") for name in texts]
    if len(payload) > MAX_MESSAGE:
        return found
    tree = CdrTree(type_.definition)
    inner = (f for f in _tree_fields(tree.of(payload), "", 0) if f.field not in known)
    return [*found, *_typed(tree, inner)][:MAX_FIELDS]


def _typed(tree: Tree, fields: Iterator[Found]) -> list[Found]:
    """The first of the fields, with the number types that the definition says."""
    typed = []
    for found in itertools.islice(fields, MAX_FIELDS):
        is_numeric = found.kind == "numeric"
        dtype = str(np.dtype(tree.number_type(parse_path(found.field)))) if is_numeric else found.dtype
        typed.append(dataclasses.replace(found, dtype=dtype))
    return typed


def _tree_fields(tree: object, path: str, depth: int, *, is_shown: bool = False) -> Iterator[Found]:
    """Fields of a struct: numbers, lists of them, elements with names, texts, and what is in JSON.

    Single numbers are left out where they are shown already, as those of an outer struct.
    """
    if not isinstance(tree, Mapping):
        if not path:
            yield from _numbers_at(tree, "")
        return
    child = tree.get(_CHILD)
    if isinstance(child, str) and _is_quotable(child):
        yield from _numbers_at(tree, f"{path}[{_CHILD}={child}]")
        return
    for name, member in tree.items():
        if name == "header" or time_ns_of(member) is not None or depth > MAX_DEPTH:
            continue
        shown = f'"{name}"' if set(name) & set(".[]") else name
        at = f"{path}.{shown}" if path else shown
        if not (is_shown and isinstance(member, int | float)):
            yield from _member_fields(member, at, depth, is_shown=is_shown)


def _member_fields(member: object, path: str, depth: int, *, is_shown: bool) -> Iterator[Found]:
    if isinstance(member, str | bytes) and member.strip()[:1] in {"{", "[", b"{", b"["}:
        try:
            member = document(member)
        except CdrError:
            pass
    if isinstance(member, str):
        yield Found(field=path, kind="text")
    elif isinstance(member, bytes):
        yield from _image_at(member, path)
    elif isinstance(member, list) and member and isinstance(member[0], Mapping):
        yield from _element_fields(member, path)
    elif isinstance(member, Mapping):
        found = [] if is_shown else list(_numbers_at(member, path))
        yield from found
        yield from _tree_fields(member, path, depth + 1, is_shown=is_shown or bool(found))
    else:
        yield from _numbers_at(member, path)


def _numbers_at(value: object, path: str) -> Iterator[Found]:
    try:
        values, names = TreePath(None).numbers(value)
    except CdrError:
        return
    if values:
        yield Found(field=path or None, shape=(len(values),), kind="numeric", element_names=names)


def _element_fields(elements: list[object], path: str) -> Iterator[Found]:
    """Elements that say which frame they are about one by one; others member by member."""
    first = elements[0]
    if isinstance(first, Mapping) and isinstance(first.get(_CHILD), str):
        for element in elements:
            child = element.get(_CHILD) if isinstance(element, Mapping) else None
            if isinstance(child, str) and _is_quotable(child) and isinstance(element, Mapping):
                inner = "transform" if isinstance(element.get("transform"), Mapping) else ""
                found = _numbers_at(element[inner] if inner else element, "")
                at = f"{path}[{_CHILD}={child}]" + (f".{inner}" if inner else "")
                yield from (dataclasses.replace(f, field=at) for f in found)
        return
    for name in first if isinstance(first, Mapping) else ():
        if name == "name" or not isinstance(name, str) or set(name) & set('.[]"'):
            continue
        try:
            values, names = TreePath(f"elements[].{name}").numbers({"elements": elements})
        except CdrError:
            continue
        if values:
            yield Found(
                field=f"{path}[].{name}",
                shape=(len(values),),
                kind="numeric",
                element_names=names if len(names) <= MAX_NAMES else (),
            )


def _is_quotable(text: str) -> bool:
    """Whether a path can ask for an element by this text."""
    return bool(text) and not set(text) & set('[]",=')


def _image_at(data: bytes, path: str) -> Iterator[Found]:
    try:
        info = probe(data)
    except ImageError:
        return
    shape = (info.height, info.width, info.channels)
    yield Found(
        field=path, shape=shape, dtype="uint8" if info.bit_depth <= 8 else "uint16", kind="image", codec=info.codec
    )
