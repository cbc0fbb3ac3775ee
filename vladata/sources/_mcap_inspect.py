"""What an MCAP file holds: topics, the fields of their first message, clocks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ImageError, SourceError
from ..images import probe
from ..text import clip, printable
from ..units import Clock
from . import Inspection, Place, StreamInfo
from ._mcap_file import Channel, McapWalk, Message
from ._mcap_frames import raw_problem
from ._mcap_join import bag_notes, clock_kind
from ._mcap_topics import Topic
from ._mcap_types import MessageType, message_type, numeric_paths
from ._ros2 import JOINT_FIELDS, MULTI_ARRAYS, CdrError, JointStates, MultiArrays, compressed_image, raw_image
from ._ros2_fields import FieldValues

__all__ = ["inspect_file"]

MAX_FIELDS = 32
"""Fields of one topic that are shown."""
AHEAD_NS = 100_000
"""A header stamp ahead of the log by this is another clock."""
BEHIND_NS = 200_000_000
"""A header stamp this far behind the log is worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One field of a topic, as its first message has it."""

    field: str | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    kind: str = "other"
    codec: str = ""
    element_names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class _Seen:
    """A topic while the file is walked."""

    def __init__(self, channel: Channel) -> None:
        self.type = message_type(channel)
        self.topic = Topic(channel.topic, self.type, ())
        self.found: list[_Found] = []
        self.problems: list[str] = [self.type.problem] if self.type.problem else []

    def add(self, channel: Channel, message: Message, order: int) -> None:
        if not len(self.topic) and not self.type.problem:
            try:
                self.found = _describe(self.type, message.payload)
            except CdrError as error:
                self.problems.append(f"the first message can't be decoded: {printable(str(error))}")
        if channel.schema != self.type.name and channel.schema:
            self._once(f"messages of another type, {printable(channel.schema)}, are in the same topic")
        try:
            self.topic.add(message, order)
        except SourceError as error:
            self._once(str(error))
            self._without_header()
            self.topic.add(message, order)

    def _without_header(self) -> None:
        """Go on with log times only, for there is a message without a header."""
        self.topic.forget_headers(dataclasses.replace(self.type, has_header=False))

    def _once(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def inspect_file(path: Path, places: list[Place]) -> Inspection:
    """Describe a file; the errors are those of a walk."""
    seen: dict[str, _Seen] = {}
    by_channel: dict[int, _Seen] = {}
    with path.open("rb", buffering=0) as file:
        walk = McapWalk(file, path.name, is_digested=False)
        for order, message in enumerate(walk.messages()):
            channel = walk.channels[message.channel_id]
            if message.channel_id not in by_channel:
                by_channel[message.channel_id] = seen.setdefault(channel.topic, _Seen(channel))
            by_channel[message.channel_id].add(channel, message, order)
    for channel in walk.channels.values():
        seen.setdefault(channel.topic, _Seen(channel))
    is_simulated = any(c.topic == "/clock" and c.schema.endswith("/Clock") for c in walk.channels.values())
    streams = [info for name in sorted(seen) for info in _infos(seen[name], is_simulated=is_simulated)]
    return Inspection(
        source="mcap",
        places=tuple(places),
        looked_at=path.name,
        streams=tuple(streams),
        facts=_facts(walk, [s.topic for s in seen.values() if len(s.topic)]),
        problems=(*bag_notes(path), *walk.notes),
    )


def _facts(walk: McapWalk, topics: Sequence[Topic]) -> tuple[tuple[str, str], ...]:
    facts = [("profile", walk.profile), ("library", walk.library), ("messages", f"{walk.num_messages:,}")]
    if walk.num_chunks:
        facts.append(("chunks", f"{walk.num_chunks:,} ({', '.join(c or 'none' for c in sorted(walk.compressions))})"))
    if topics:
        start, end = min(int(t.log_ns.min()) for t in topics), max(int(t.log_ns.max()) for t in topics)
        facts.append(("duration", f"{(end - start) / 1e9:.3f} s"))
    for record, values in walk.metadata:
        facts += [(f"{record}.{k}", v) for k, v in values.items() if len(v) <= 200]
    return tuple((clip(printable(n), 100), printable(v)) for n, v in dict.fromkeys(facts) if v)


def _infos(seen: _Seen, *, is_simulated: bool) -> list[StreamInfo]:
    """One for each field; where the header's stamps are not the log's, one more with the log's."""
    topic = seen.topic
    if not len(topic):
        return [StreamInfo(name=topic.name, type=seen.type.name, count=0, kind="other", problems=tuple(seen.problems))]
    log, header = topic.log_ns, topic.header_ns
    num_zero = int((header == 0).sum())
    problems = list(seen.problems)
    if len(header) and num_zero:
        problems.append("header stamps are 0" if num_zero == len(header) else f"{num_zero} header stamps are 0")
    is_header = len(header) > num_zero
    time_ns = header if is_header else log
    clock, _ = clock_kind(time_ns, is_simulated=is_simulated)
    log_clock, _ = clock_kind(log, is_simulated=is_simulated)
    if is_header:
        problems += _compare(header, log, clock, log_clock)
    problems += _backward(time_ns)
    choice = "header" if is_header else "log"
    infos = [
        StreamInfo(
            name=topic.name,
            type=seen.type.name,
            count=len(topic),
            field=found.field,
            shape=found.shape,
            dtype=found.dtype,
            kind=found.kind,
            codec=found.codec,
            element_names=found.element_names,
            clock=clock,
            clock_choice=choice,
            time_ns=time_ns,
            problems=(*problems, *found.problems) if i == 0 else found.problems,
        )
        for i, found in enumerate(seen.found or [_Found()])
    ]
    if is_header and not np.array_equal(header, log):
        other = {"clock": log_clock, "clock_choice": "log", "time_ns": log, "problems": tuple(_backward(log))}
        infos.append(dataclasses.replace(infos[0], **other))  # type: ignore[arg-type]
    return infos


def _compare(
    header: "np.ndarray[tuple[int], np.dtype[np.int64]]", log: object, clock: Clock, other: Clock
) -> list[str]:
    if clock is not other:
        return [f"header stamps are {clock} time, log times {other} time"]
    ahead = float(np.median(header - np.asarray(log)))
    if ahead > AHEAD_NS:
        return [f"header ahead of log by {ahead / 1e6:.1f} ms (median)"]
    return [f"header behind log by {-ahead / 1e6:.1f} ms (median)"] if -ahead > BEHIND_NS else []


def _backward(time_ns: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[str]:
    count = int((np.diff(time_ns) < 0).sum())
    return [f"time goes backward {count} times"] if count else []


def _describe(type_: MessageType, payload: memoryview) -> list[_Found]:
    """Fields of a message that a mapping can name."""
    if type_.known == "joint_state":
        return _describe_joints(payload)
    if type_.known == "multi_array":
        reader = MultiArrays(MULTI_ARRAYS[type_.short])
        reader.add(payload)
        size, number = reader.vectors.lengths[0], str(reader.vectors.dtype)
        return [_Found(field="data", shape=(size,), dtype=number, kind="numeric")]
    if type_.known == "string":
        return [_Found(field="data", kind="text")]
    if type_.known == "compressed_image":
        return [_describe_image(payload)]
    if type_.known == "image":
        image = raw_image(payload)
        problem = raw_problem(image.encoding)
        channels = 3 if image.encoding in {"rgb8", "bgr8"} else 1
        shape = (image.height, image.width, channels)
        dtype = clip(printable(image.encoding), 40)
        return [_Found(shape=shape, dtype=dtype, kind="image", problems=(problem,) if problem else ())]
    return _describe_fields(type_, payload)


def _describe_joints(payload: memoryview) -> list[_Found]:
    joints = JointStates(frozenset(JOINT_FIELDS))
    joints.add(payload)
    names = joints.names[0]
    found = []
    for field, vectors in joints.fields.items():
        size = vectors.lengths[0]
        if size:
            element_names = names if len(names) == size else ()
            found.append(
                _Found(field=field, shape=(size,), dtype="float64", kind="numeric", element_names=element_names)
            )
    return found or [_Found(problems=("position, velocity and effort of the first message are empty",))]


def _describe_image(payload: memoryview) -> _Found:
    place = compressed_image(payload)
    data = payload[place.offset : place.offset + place.size]
    if "compressedDepth" in place.format:
        data = data[12:]
    try:
        info = probe(data)
    except ImageError as error:
        shown = clip(printable(place.format), 60)
        return _Found(kind="image", problems=(f"the first image ({shown}) is not read: {error}",))
    shape = (info.height, info.width, info.channels)
    return _Found(shape=shape, dtype="uint8" if info.bit_depth <= 8 else "uint16", kind="image", codec=info.codec)


def _describe_fields(type_: MessageType, payload: memoryview) -> list[_Found]:
    if type_.definition is None:
        return []
    found = []
    for path in numeric_paths(type_.definition)[:MAX_FIELDS]:
        reader = FieldValues(type_.definition, path)
        reader.add(payload)
        size, dtype = reader.vectors.lengths[0], str(reader.vectors.dtype)
        names = reader.element_names
        found.append(_Found(field=path, shape=(size,), dtype=dtype, kind="numeric", element_names=names))
    texts = [f.name for f in type_.definition.fields if f.type == "string" and f.length is None]
    return [*found, *(_Found(field=name, kind="text") for name in texts)]
