"""From topics that were read to what a recording holds: streams, labels and marks, for files and bags alike."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..mapping import LabelMapping, StreamMapping
from ..recording import AnyStream, FrameStream, Mark, Stream
from ..text import clip, printable
from ..units import Clock
from . import Request
from ._foxglove_video import video_order
from ._mcap_blocks import BlockReader
from ._mcap_file import Channel
from ._mcap_join import Stamps, clock_kind, columns, file_order, stamps
from ._mcap_labels import LabelReader, Labels
from ._mcap_topics import Topic, Want

__all__ = ["MARKS", "TopicStreams", "label_mappings", "wants_of"]

Int64Array = NDArray[np.int64]

MARKS = "split"
"""Under this name a topic keeps the texts of the marks."""
MAX_MARKS = 100_000


def wants_of(request: Request) -> dict[str, list[Want]]:
    """What the mapping wants of each topic."""
    wants: dict[str, list[Want]] = {}
    cameras = {c.name for c in request.embodiment.cameras}
    for name, mapping in request.mapping.streams.items():
        kind = Want(
            name=name,
            kind="images" if name in cameras else "numbers",
            field=mapping.field,
            names_field=mapping.names_field,
        )
        wants.setdefault(mapping.source, []).append(kind)
    labels = label_mappings(request)
    if request.mapping.split is not None:
        labels[MARKS] = request.mapping.split
    for name, label in labels.items():
        wants.setdefault(label.source, []).append(Want(name=name, kind="texts", field=label.field))
    return wants


def label_mappings(request: Request) -> dict[str, LabelMapping]:
    """Where labels come from, by their name."""
    mapping = request.mapping
    found = {"instruction": mapping.instruction, "subtask": mapping.subtask, "outcome": mapping.outcome}
    return {name: label for name, label in found.items() if label is not None}


class TopicStreams:
    """Streams, labels and marks of one recording."""

    def __init__(
        self,
        request: Request,
        topics: Mapping[str, Topic],
        channels: Sequence[Channel],
        blocks: BlockReader,
        *,
        container: str = "file",
        refused: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Prepare.

        Args:
            request: What is wanted.
            topics: Those that are mapped and were read, by name.
            channels: All of the recording.
            blocks: Reads images again.
            container: What a topic is not in, in messages.
            refused: Streams and labels that were given up while the recording was read, and why.
        """
        self._request = request
        self._topics = topics
        self._channels = channels
        self._blocks = blocks
        self._container = container
        self._refused = refused
        self._orders, notes = file_order(list(topics.values()))
        self.notes: list[str] = list(notes)
        """What was decided or left out."""

    def streams(self) -> dict[str, AnyStream]:
        """All streams that are mapped and there, by name.

        Raises:
            SourceError: A required one is not there, or a mapping does not fit.
        """
        streams: dict[str, AnyStream] = {}
        for name in self._request.embodiment.stream_names:
            mapping = self._request.mapping.streams.get(name)
            topic = self._topic(name, mapping) if mapping is not None else None
            if mapping is None or topic is None:
                continue
            chosen = stamps(topic, mapping, name)
            self.notes += chosen.notes
            make = self._camera if name in topic.images else self._signal
            streams[name] = make(name, topic, chosen)
        return streams

    def _topic(self, name: str, mapping: StreamMapping) -> Topic | None:
        """The topic that feeds a stream; None where there is none and the stream is not required."""
        topic = self._topics.get(mapping.source)
        reason = self._refused.get(name, "")
        if topic is not None and not reason:
            return topic
        reason = reason or f"{name} is mapped to {printable(mapping.source)}, which {self._absence(mapping.source)}"
        if self._request.embodiment.rule(name).required:
            raise SourceError(reason)
        self.notes.append(f"{reason}; {name} is not required and left out")
        return None

    def _absence(self, source: str) -> str:
        there = sorted({c.topic for c in self._channels})
        if source in there:
            return "has no message"
        return f"is not in the {self._container}; its topics are {clip(printable(', '.join(there)), 400) or 'none'}"

    def _signal(self, name: str, topic: Topic, chosen: Stamps) -> Stream:
        mapping, order = self._request.mapping.streams[name], self._orders[topic.name]
        joined = columns(topic.numbers[name], topic, self._request.embodiment.signal(name), mapping)
        rows = order if len(joined.rows) == len(order) else order[np.isin(order, joined.rows)]
        time_ns, receive_ns, clock = self._time(name, chosen, rows)
        self.notes += joined.notes
        return Stream(
            name=name,
            clock=clock,
            time_ns=time_ns,
            values=_frozen(joined.values[np.searchsorted(joined.rows, rows)]),
            receive_time_ns=receive_ns,
            clock_choice=chosen.clock,
        )

    def _camera(self, name: str, topic: Topic, chosen: Stamps) -> FrameStream:
        order = self._orders[topic.name]
        found = topic.images[name].frame_set(name, self._blocks, order, topic.order[order])
        rows = order if found.rows is None else found.rows
        video = None
        self.notes += found.notes
        if found.keyframes is not None:
            video = video_order(name, chosen.time_ns[rows], found)
            rows = rows[video.shown]
            self.notes += video.notes
        time_ns, receive_ns, clock = self._time(name, chosen, rows)
        return FrameStream(
            name=name,
            clock=clock,
            time_ns=time_ns,
            frames=found.frames,
            codec=found.codec,
            height=found.height,
            width=found.width,
            pixel_format=found.pixel_format,
            receive_time_ns=receive_ns,
            video=None if video is None else video.track,
            clock_choice=chosen.clock,
        )

    def _time(self, name: str, chosen: Stamps, rows: Int64Array) -> tuple[Int64Array, Int64Array | None, Clock]:
        """Stamps of the messages that count, when they were received, and what the stamps count."""
        time_ns, receive_ns = _frozen(chosen.time_ns[rows]), chosen.receive_time_ns
        if receive_ns is None and self._is_split:
            receive_ns = chosen.time_ns  # the log's, by which this stream is cut
        clock, rule = clock_kind(time_ns, is_simulated=self._is_simulated)
        self.notes.append(f"{name}: time is {chosen.choice}, {clock} ({rule})")
        return time_ns, None if receive_ns is None else _frozen(receive_ns[rows]), clock

    @property
    def _is_split(self) -> bool:
        """Whether the recording is to be cut into several."""
        mapping = self._request.mapping
        return mapping.on_backward_time == "split" or mapping.split is not None

    @property
    def _is_simulated(self) -> bool:
        return any(c.topic == "/clock" and c.schema.endswith("/Clock") for c in self._channels)

    def labels(self, streams: Mapping[str, AnyStream]) -> Labels:
        """Instructions, subtasks and outcomes on the time of the streams; notes say what is missing."""
        reader = LabelReader(
            streams,
            first_log_ns=min((int(t.log_ns.min()) for t in self._topics.values() if t.numbers or t.images), default=0),
            is_simulated=self._is_simulated,
            is_split=self._is_split,
        )
        for name, label in label_mappings(self._request).items():
            topic = self._topics.get(label.source)
            if name in self._refused:
                reader.notes.append(f"no {name}: {self._refused[name]}")
            elif topic is None:
                reader.notes.append(f"no {name}: {printable(label.source)} {self._absence(label.source)}")
            else:
                order = self._orders[topic.name]
                reader.add(name, label, [topic.texts[name].texts[i] for i in order], topic.log_ns[order])
        return reader.labels()

    def marks(self) -> tuple[Mark, ...]:
        """Where demonstrations begin and end, if the mapping says what tells it.

        Raises:
            SourceError: The topic is not there, or has too many messages.
        """
        split = self._request.mapping.split
        if split is None:
            return ()
        topic = self._topics.get(split.source)
        if topic is None:
            raise SourceError(f"split is mapped to {printable(split.source)}, which {self._absence(split.source)}")
        if len(topic) > MAX_MARKS:
            raise SourceError(f"split: {len(topic):,} messages in {printable(split.source)}; at most {MAX_MARKS:,}")
        texts, log_ns = topic.texts[MARKS].texts, topic.log_ns
        return tuple(Mark(receive_time_ns=int(log_ns[i]), text=texts[i]) for i in self._orders[topic.name])


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values
