"""What a bag holds: topics, the fields of their first messages, clocks."""

from ..text import clip, printable
from . import Inspection, Place
from ._mcap_file import Message
from ._mcap_inspect import SeenTopic, stream_infos
from ._mcap_topics import Topic
from ._ros2 import CdrError
from ._ros_bag_files import Bag
from ._ros_bag_walk import BagWalk

__all__ = ["inspect_bag"]

MAX_WHOLE = 200
"""First messages of a topic that are looked at as a whole; of the others the stamp is enough."""


def inspect_bag(bag: Bag, places: list[Place]) -> Inspection:
    """Describe a bag; the errors are those of a walk."""
    walk = BagWalk(bag, is_digested=False)
    seen: dict[str, SeenTopic] = {}
    try:
        for order, message in enumerate(walk.messages()):
            opened = walk.opened[message.channel_id]
            name = opened.channel.topic
            if name not in seen:
                seen[name] = SeenTopic(name, opened.type)
            seen[name].add(opened.channel, _readable(walk, message, seen[name]), order)
        for opened in walk.opened.values():
            name = opened.channel.topic
            if name not in seen:
                seen[name] = SeenTopic(name, opened.type)
        for name, type_ in bag.metadata.topics.items():
            if name not in seen:
                where = f"is listed in metadata.yaml ({clip(printable(type_), 80)}), but in none of the files"
                walk.more_notes.append(f"{clip(printable(name), 100)} {where}")
    finally:
        walk.close()
    streams = [info for name in sorted(seen) for info in stream_infos(seen[name], is_simulated=walk.is_simulated)]
    return Inspection(
        source="ros_bag",
        places=tuple(places),
        looked_at=bag.name,
        streams=tuple(streams),
        facts=_facts(bag, walk, [s.topic for s in seen.values() if len(s.topic)]),
        problems=(*(["the bag is empty: it has no message"] if not walk.num_messages else []), *walk.notes()),
    )


def _readable(walk: BagWalk, message: Message, seen: SeenTopic) -> Message:
    """A message as far as it is looked at; empty where it can't be read, and said."""
    try:
        return walk.ready(message) if len(seen.topic) < MAX_WHOLE else walk.head(message)
    except CdrError as error:
        seen.once(f"message {len(seen.topic)}: {printable(str(error))}")
        return message._replace(payload=memoryview(b""))


def _facts(bag: Bag, walk: BagWalk, topics: list[Topic]) -> tuple[tuple[str, str], ...]:
    facts = [("storage", walk.storage), ("files", f"{len(bag.files):,}"), ("messages", f"{walk.num_messages:,}")]
    if walk.compressions:
        facts.append(("compression", ", ".join(sorted(walk.compressions))))
    if topics:
        start, end = min(int(t.log_ns.min()) for t in topics), max(int(t.log_ns.max()) for t in topics)
        facts.append(("duration", f"{(end - start) / 1e9:.3f} s"))
    return (*facts, *bag.metadata.facts.items())
