"""What is kept of a mapped topic while an MCAP file is walked: stamps, numbers, texts, images."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..text import printable
from ._field_paths import Tree, parse_path
from ._field_values import TreeNumbers, TreeTexts
from ._mcap_file import Message
from ._mcap_types import MessageType
from ._ros2 import JOINT_FIELDS, MULTI_ARRAYS, CdrError, JointStates, MultiArrays, Vectors, header_stamp, string
from ._ros2_fields import FieldValues
from ._ros2_tree import CdrTree, is_plain
from ._topic_images import Images, image_reader

__all__ = ["Numbers", "Texts", "Topic", "Want"]

Int64Array = NDArray[np.int64]

JOINT_LIST_FIELDS = (*JOINT_FIELDS, "acceleration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """One thing that is wanted of a topic."""

    name: str
    """Stream of the embodiment, or `instruction`, `subtask`, `outcome`."""
    kind: Literal["numbers", "images", "texts"]
    field: str | None = None
    names_field: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Numbers:
    """Vectors of one field, and the names that came with them."""

    vectors: Vectors
    names: list[tuple[str, ...]]
    """All lists of names that occur."""
    names_of: "array[int] | None" = None
    """Which of them each message has; None: the first."""
    names_reader: FieldValues | None = None
    """Where the names come from a field of their own: its texts, per message."""
    layout: MultiArrays | None = None
    samples: TreeNumbers | None = None
    """Where not every message gives one: which do."""


@dataclass(slots=True, kw_only=True, eq=False)
class Texts:
    """One text per message."""

    texts: list[str]


class Topic:
    """A topic's stamps in the order of the file, and what is wanted of its messages."""

    def __init__(self, name: str, type_: MessageType, wants: Sequence[Want]) -> None:
        """Prepare the readers.

        Args:
            name: Of the topic.
            type_: Of its messages.
            wants: What is to be kept.

        Raises:
            SourceError: The messages can't be decoded, or have no such field.
        """
        self.name = name
        self.type = type_
        self.numbers: dict[str, Numbers] = {}
        self.texts: dict[str, Texts] = {}
        self.images: dict[str, Images] = {}
        self._readers: list[Callable[[Message], None]] = []
        self._log, self._publish = array("Q"), array("Q")
        self._header, self._order = array("q"), array("q")
        self._rewrite, self._stamp = type_.rewrite, type_.stamp
        self._begins_with_stamp = type_.has_header and type_.stamp is None
        self._num_unstamped = 0
        self._tree: Tree | None = None
        for want in wants:
            if type_.problem:
                raise SourceError(f"{self._of(want)} can't be read: {type_.problem}")
            try:
                self._prepare(want, wants)
            except CdrError as error:
                raise SourceError(f"{self._of(want)}: {printable(str(error))}") from error

    def _of(self, want: Want) -> str:
        return f"{want.name} is mapped to {printable(self.name)} ({printable(self.type.name)}), which"

    def _prepare(self, want: Want, wants: Sequence[Want]) -> None:
        if want.kind == "images":
            self._prepare_images(want)
        elif want.kind == "texts":
            self._prepare_texts(want)
        elif self.type.known == "joint_state" and (want.field or "position") in JOINT_FIELDS:
            if want.names_field not in {None, "name"}:
                raise CdrError(f"has no names in {want.names_field!r}; a JointState has them in 'name'")
            self._prepare_joints(want, wants)
        elif self._path_of(want) is not None or self.type.tree is not None:
            self._prepare_tree(want)
        elif self.type.known == "multi_array" and want.field in {None, "data"}:
            reader = MultiArrays(MULTI_ARRAYS[self.type.short])
            self._readers.append(lambda m: reader.add(m.payload))
            self.numbers[want.name] = Numbers(vectors=reader.vectors, names=[()], layout=reader)
        else:
            self._prepare_fields(want)

    def _prepare_joints(self, want: Want, wants: Sequence[Want]) -> None:
        """One reader for all fields of a JointState that are wanted."""
        if want.name in self.numbers:
            return
        wanted = {w.name: w.field or "position" for w in wants if w.kind == "numbers"}
        fields = {n: f for n, f in wanted.items() if f in JOINT_FIELDS}
        reader = JointStates(frozenset(fields.values()))
        self._readers.append(lambda m: reader.add(m.payload))
        for name, field in fields.items():
            self.numbers[name] = Numbers(vectors=reader.fields[field], names=reader.names, names_of=reader.names_of)

    def _path_of(self, want: Want) -> tuple[str, str | None] | None:
        """The paths of numbers and names where they are found in trees; None: by fixed places."""
        field, known = want.field, self.type.known
        if known == "joint_list" and (field is None or field in JOINT_LIST_FIELDS):
            return f"joints[].{field or 'position'}", want.names_field
        if known == "joint_arrays" and (field is None or field in JOINT_FIELDS):
            return field or "position", want.names_field or "name"
        definition = self.type.definition
        if field is None or definition is None:
            return None
        for path in (field, want.names_field):
            if path is not None and not is_plain(definition, parse_path(path)):
                return field, want.names_field
        return None

    def _tree_of(self) -> Tree:
        """Trees of the messages, one for all that is wanted of them."""
        if self._tree is None:
            if self.type.tree is None and self.type.definition is None:
                raise CdrError("has no definition in the file; its fields can't be found")
            self._tree = self.type.tree or CdrTree(self.type.definition)  # type: ignore[arg-type]
        return self._tree

    def _prepare_tree(self, want: Want) -> None:
        if self.type.is_image and want.field is None:
            raise CdrError("is an image; a signal needs numbers")
        path, names_path = self._path_of(want) or (want.field, want.names_field)
        reader = TreeNumbers(self._tree_of(), path, names_path)
        self._readers.append(lambda m: reader.add(m.payload))
        self.numbers[want.name] = Numbers(
            vectors=reader.vectors, names=reader.names, names_of=reader.names_of, samples=reader
        )

    def _prepare_fields(self, want: Want) -> None:
        if self.type.is_image and want.field is None:
            raise CdrError("is an image; a signal needs numbers")
        reader = self._fields(want.field)
        if reader.is_text:
            raise CdrError(f"has text in {want.field!r}; a signal needs numbers")
        numbers = Numbers(vectors=reader.vectors, names=[reader.element_names])
        if want.names_field is not None:
            numbers.names_reader = self._fields(want.names_field)
            if not numbers.names_reader.is_text:
                raise CdrError(f"has no texts in {want.names_field!r} to name the elements")
        self.numbers[want.name] = numbers

    def _prepare_texts(self, want: Want) -> None:
        kept = self.texts[want.name] = Texts(texts=[])
        if self.type.known == "string" and want.field in {None, "data"}:
            self._readers.append(lambda m: kept.texts.append(string(m.payload)))
            return
        path = want.field or ("message" if self.type.known == "log" else "data")
        if self.type.definition is None or not is_plain(self.type.definition, parse_path(path)):
            texts = TreeTexts(self._tree_of(), path)
            self._readers.append(lambda m: kept.texts.append(texts.of(m.payload) or ""))
            return
        reader = self._fields(path)

        def take(_: Message) -> None:
            values = reader.texts.pop() if reader.is_text else [_shown(v) for v in reader.vectors.flat().tolist()]
            if not reader.is_text:
                reader.vectors.clear()
            if len(values) != 1:
                raise CdrError(f"{want.field or 'data'} has {len(values)} values; must be one text or number")
            kept.texts.append(values[0])

        self._readers.append(take)

    def _fields(self, path: str | None) -> FieldValues:
        if self.type.definition is None:
            raise CdrError(f"has no definition in the file; {path or 'its numbers'} can't be found")
        reader = FieldValues(self.type.definition, path)
        self._readers.append(lambda m: reader.add(m.payload))
        return reader

    def _prepare_images(self, want: Want) -> None:
        images = self.images[want.name] = image_reader(self.type, want.field)
        self._readers.append(images.add)

    def add(self, message: Message, order: int) -> None:
        """Take the next message.

        Args:
            message: The message.
            order: Its number in the file.

        Raises:
            SourceError: It can't be decoded; with its index.
        """
        try:
            if self._rewrite is not None:
                message = self._rewrite(message)
            if self._begins_with_stamp:
                self._header.append(header_stamp(message.payload))
            elif self._stamp is not None:
                stamp = self._stamp(message.payload)
                self._num_unstamped += stamp is None
                self._header.append(stamp or 0)
            for read in self._readers:
                read(message)
        except CdrError as error:
            raise SourceError(
                f"message {len(self)} of {printable(self.name)} ({printable(self.type.name)}): {printable(str(error))}"
            ) from error
        self._log.append(message.log_time)
        self._publish.append(message.publish_time)
        self._order.append(order)

    def forget_headers(self, type_: MessageType) -> None:
        """Go on with a type that has no header, without the stamps so far."""
        self.type = type_
        self._rewrite, self._stamp, self._begins_with_stamp = type_.rewrite, None, False
        del self._header[:]

    def __len__(self) -> int:
        """Number of messages."""
        return len(self._log)

    @property
    def log_ns(self) -> Int64Array:
        """When the recorder received each message, [N]."""
        return self._signed(self._log, "log_time")

    @property
    def publish_ns(self) -> Int64Array:
        """When each message was published, as the recorder knew it, [N]."""
        return self._signed(self._publish, "publish_time")

    @property
    def header_ns(self) -> Int64Array:
        """Stamps of the headers, [N], 0 where a message has none; empty where the type has none."""
        return np.array(self._header if self._num_unstamped < len(self._header) else (), dtype=np.int64)

    @property
    def order(self) -> Int64Array:
        """Number of each message in the file, [N]."""
        return np.array(self._order, dtype=np.int64)

    def _signed(self, stamps: "array[int]", what: str) -> Int64Array:
        values = np.array(stamps, dtype=np.uint64)
        beyond = np.flatnonzero(values >= 1 << 63)
        if len(beyond):
            raise SourceError(
                f"message {beyond[0]} of {printable(self.name)} has {what} {values[beyond[0]]}; "
                "must be less than 2^63 ns (the year 2262)"
            )
        return values.astype(np.int64)


def _shown(value: object) -> str:
    return str(value).lower()
