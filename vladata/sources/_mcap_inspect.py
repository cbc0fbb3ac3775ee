"""What an MCAP file holds: topics, the fields of their first message, clocks."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import SourceError
from ..text import clip, printable
from ..units import Clock
from . import Inspection, Place, StreamInfo
from ._mcap_describe import MAX_FIELDS, Found, describe
from ._mcap_file import Channel, McapWalk, Message
from ._mcap_join import bag_notes, clock_kind
from ._mcap_topics import Topic
from ._mcap_types import MessageType, Types, message_type
from ._ros2 import CdrError

__all__ = ["SeenTopic", "inspect_file", "stream_infos"]

MAX_CHILDREN = 200
"""First messages of a topic that are asked which frames they are about."""
AHEAD_NS = 100_000
"""A header stamp ahead of the log by this is another clock."""
BEHIND_NS = 200_000_000
"""A header stamp this far behind the log is worth a word."""


class SeenTopic:
    """A topic while the file is walked."""

    def __init__(self, name: str, type_: MessageType) -> None:
        """Begin without messages."""
        self.type = type_
        self.topic = Topic(name, type_, ())
        self.found: list[Found] = []
        self._has_children = False
        self.problems: list[str] = [self.type.problem] if self.type.problem else []

    def add(self, channel: Channel, message: Message, order: int) -> None:
        """Look at the next message."""
        if not self.type.problem and (not len(self.topic) or (self._has_children and len(self.topic) < MAX_CHILDREN)):
            self._describe(message)
        if channel.schema != self.type.name and channel.schema:
            self.once(f"messages of another type, {printable(channel.schema)}, are in the same topic")
        try:
            self.topic.add(message, order)
        except SourceError as error:
            self.once(str(error))
            self._without_header()
            self.topic.add(message, order)

    def _describe(self, message: Message) -> None:
        try:
            shown = message if self.type.rewrite is None else self.type.rewrite(message)
            found = describe(self.type, shown.payload)
        except CdrError as error:
            if not len(self.topic):
                self.problems.append(f"the first message can't be decoded: {printable(str(error))}")
            return
        known = {f.field for f in self.found}
        self.found += [f for f in found if f.field not in known][: MAX_FIELDS - len(self.found)]
        self._has_children = any("child_frame_id=" in (f.field or "") for f in self.found)

    def _without_header(self) -> None:
        """Go on with log times only, for there is a message without a header."""
        self.topic.forget_headers(dataclasses.replace(self.type, has_header=False, rewrite=None))

    def once(self, problem: str) -> None:
        """Say what is odd, but not twice."""
        if problem not in self.problems:
            self.problems.append(problem)


def inspect_file(path: Path, places: list[Place]) -> Inspection:
    """Describe a file; the errors are those of a walk."""
    seen: dict[str, SeenTopic] = {}
    by_channel: dict[int, SeenTopic] = {}
    types: Types = {}
    with path.open("rb", buffering=0) as file:
        walk = McapWalk(file, path.name, is_digested=False)
        for order, message in enumerate(walk.messages()):
            channel = walk.channels[message.channel_id]
            if message.channel_id not in by_channel:
                if channel.topic not in seen:
                    seen[channel.topic] = SeenTopic(channel.topic, message_type(channel, types))
                by_channel[message.channel_id] = seen[channel.topic]
            by_channel[message.channel_id].add(channel, message, order)
    for channel in walk.channels.values():
        if channel.topic not in seen:
            seen[channel.topic] = SeenTopic(channel.topic, message_type(channel, types))
    is_simulated = any(c.topic == "/clock" and c.schema.endswith("/Clock") for c in walk.channels.values())
    streams = [info for name in sorted(seen) for info in stream_infos(seen[name], is_simulated=is_simulated)]
    return Inspection(
        source="mcap",
        places=tuple(places),
        looked_at=path.name,
        streams=tuple(streams),
        facts=_facts(walk, [s.topic for s in seen.values() if len(s.topic)]),
        problems=(*bag_notes(path), *walk.losses, *walk.notes),
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


def stream_infos(seen: SeenTopic, *, is_simulated: bool) -> list[StreamInfo]:
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
            receive_time_ns=log if is_header else None,
            problems=(*problems, *found.problems) if i == 0 else found.problems,
        )
        for i, found in enumerate(seen.found or [Found()])
    ]
    if is_header and not np.array_equal(header, log):
        by_log = dataclasses.replace(infos[0], clock=log_clock, clock_choice="log", time_ns=log, receive_time_ns=None)
        infos.append(dataclasses.replace(by_log, problems=tuple(_backward(log))))
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
