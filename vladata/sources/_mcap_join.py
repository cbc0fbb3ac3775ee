"""From what was kept of a topic to a stream: one matrix, one clock, one order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Signal
from ..errors import SourceError
from ..mapping import StreamMapping
from ..text import clip, printable
from ..units import Clock
from ._join import join_columns
from ._mcap_topics import Numbers, Topic

__all__ = ["Columns", "Stamps", "bag_notes", "clock_kind", "columns", "file_order", "stamps"]

Int64Array = NDArray[np.int64]

RESTART_NS = 1_000_000_000
"""A recorder may write messages out of order; a topic that goes back further than this begins anew."""

_YEAR_2000_NS = 946_684_800 * 1_000_000_000
_YEAR_2100_NS = 4_102_444_800 * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """A signal's values."""

    values: NDArray[np.generic]
    """[M, D]"""
    rows: Int64Array
    """Which messages they are, [M]."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stamps:
    """A stream's time."""

    time_ns: Int64Array
    receive_time_ns: Int64Array | None
    choice: str
    """The stamp in words."""
    clock: str
    """header, log or publish."""
    notes: tuple[str, ...]


def bag_notes(path: Path) -> list[str]:
    """Say where a file is one of several that a recorder split one bag into."""
    if not (path.parent / "metadata.yaml").is_file() or len(list(path.parent.glob("*.mcap"))) < 2:
        return []
    return ["the file is one of several of a ROS 2 bag; each of them is read as a recording of its own"]


def file_order(topics: Sequence[Topic]) -> tuple[dict[str, Int64Array], list[str]]:
    """Which message comes when, by topic: in order of log time, as far as the file is only a little disordered.

    Where a topic goes back by more than a second the file holds a restart, which is left as it is recorded.
    """
    restarts = {t.name: int(-np.diff(t.log_ns).min(initial=0)) for t in topics}
    as_recorded = {t.name: np.arange(len(t), dtype=np.int64) for t in topics}
    longest = max(restarts, key=lambda n: restarts[n], default=None)
    if longest is not None and restarts[longest] > RESTART_NS:
        note = (
            f"log time of {printable(longest)} goes back by {restarts[longest] / 1e9:.3f} s: "
            "messages are left in the order of the file"
        )
        return as_recorded, [note]
    orders, notes = as_recorded, []
    for topic in topics:
        order = np.argsort(topic.log_ns, kind="stable")
        moved = int((order != orders[topic.name]).sum())
        if moved:
            notes.append(
                f"{printable(topic.name)}: {moved} messages were not in order of log time and were put into it"
            )
            orders[topic.name] = order.astype(np.int64)
    return orders, notes


def clock_kind(time_ns: Int64Array, *, is_simulated: bool) -> tuple[Clock, str]:
    """What stamps count, by their size, and the rule in words."""
    if len(time_ns) and _YEAR_2000_NS <= int(np.median(time_ns)) < _YEAR_2100_NS:
        return Clock.UNIX, "between the years 2000 and 2100"
    if is_simulated:
        return Clock.SIMULATED, "not Unix time, and the file has a simulator's /clock"
    return Clock.MONOTONIC, "not between the years 2000 and 2100"


def stamps(topic: Topic, mapping: StreamMapping, name: str) -> Stamps:
    """Choose a topic's stamps as the mapping says, in the order of the file.

    Raises:
        SourceError: The mapping asks for header stamps and there are none.
    """
    log = topic.log_ns
    header, counted, of_element = _headers(topic, name)
    num_zero = int((counted == 0).sum())
    notes = []
    choice: str = mapping.clock
    if choice == "auto":
        choice = "header" if len(counted) and num_zero < len(counted) else "log"
        if len(counted) and choice == "log":
            notes.append(f"{name}: all header stamps are 0; time is log_time")
    if choice == "header":
        if not len(counted) or num_zero == len(counted):
            reason = "all header stamps are 0" if len(counted) else "its messages have no header"
            raise SourceError(
                f"{name}: clock is header, but {printable(topic.name)} ({printable(topic.type.name)}): {reason}"
            )
        if num_zero:
            notes.append(f"{name}: {num_zero} of {len(counted)} header stamps are 0")
        choice_shown = "the stamp of the element" if of_element else "header.stamp"
        return Stamps(time_ns=header, receive_time_ns=log, choice=choice_shown, clock="header", notes=tuple(notes))
    if choice == "publish":
        return Stamps(time_ns=topic.publish_ns, receive_time_ns=log, choice="publish_time", clock="publish", notes=())
    return Stamps(time_ns=log, receive_time_ns=None, choice="log_time", clock="log", notes=tuple(notes))


def _headers(topic: Topic, name: str) -> tuple[Int64Array, Int64Array, bool]:
    """Header stamps of all messages, those that count, and whether they are of an element that a path chose."""
    numbers = topic.numbers.get(name)
    samples = numbers.samples if numbers is not None else None
    own = samples.own_stamps if samples is not None else None
    if samples is not None and own is not None:
        header = np.zeros(len(topic), dtype=np.int64)
        header[np.array(samples.rows, dtype=np.int64)] = own
        return header, own, True
    header = topic.header_ns
    counted = header[np.array(samples.rows, dtype=np.int64)] if samples is not None and len(header) else header
    return header, counted, False


def columns(numbers: Numbers, topic: Topic, signal: Signal, mapping: StreamMapping) -> Columns:
    """Bring a topic's vectors into a signal's order, joined message by message where names change.

    Raises:
        SourceError: Lengths, names or shapes don't fit; with both.
    """
    where = printable(topic.name) + (f".{mapping.field}" if mapping.field else "")
    messages, notes = _messages(numbers, topic, where)
    names, names_of = _names(numbers, len(topic))
    lengths = np.array(numbers.vectors.lengths, dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    flat = numbers.vectors.flat()
    used = np.unique(names_of).tolist()
    parts: list[tuple[Int64Array, NDArray[np.generic]]] = []
    hows, num_foreign = set[str](), 0
    for k in used:
        rows = np.flatnonzero(names_of == k).astype(np.int64)
        if len(used) > 1 and _is_foreign(names, k, used, signal, mapping):
            num_foreign += len(rows)
            continue
        length = _one_length(lengths, rows, messages, where)
        is_whole = len(used) == 1
        values = flat.reshape(len(rows), length) if is_whole else flat[starts[rows][:, None] + np.arange(length)]
        if length and names[k] and len(names[k]) != length:
            notes.append(f"{where}: messages have {len(names[k])} names and {length} values")
        if parts and names[k] and not set(mapping.names or signal.names) <= set(names[k]):
            _refuse_other_names(where, signal, mapping, int(messages[rows[0]]), (names[used[0]], names[k]))
        joined, how = join_columns(values, names[k], signal, mapping)
        parts.append((rows, joined))
        hows.add(how)
    is_by_index = any(h.endswith("by index") for h in hows)
    if len(parts) > 1 and is_by_index:
        i = int(parts[1][0][0])
        pair = names[used[0]], names[int(names_of[i])]
        _refuse_other_names(where, signal, mapping, int(messages[i]), pair)
    notes += [*sorted(hows), *_hints(numbers, where)]
    if num_foreign:
        notes.append(f"{signal.name}: {num_foreign} messages of {where} name none of its dimensions; they are left out")
    if is_by_index and not any(names):
        notes.append(f"{signal.name}: the messages of {where} have no names")
    rows = np.concatenate([r for r, _ in parts])
    order = np.argsort(rows, kind="stable")
    values = np.concatenate([v for _, v in parts])[order]
    return Columns(values=values, rows=messages[rows[order]], notes=tuple(notes))


def _messages(numbers: Numbers, topic: Topic, where: str) -> tuple[Int64Array, list[str]]:
    """Which message each sample comes from, and why some give none."""
    samples = numbers.samples
    if samples is None:
        return np.arange(len(topic), dtype=np.int64), []
    if not samples.rows:
        raise SourceError(f"{where}: none of {len(topic)} messages gives a sample: {printable(samples.absence)}")
    return np.array(samples.rows, dtype=np.int64), [printable(n) for n in samples.notes(where)]


def _hints(numbers: Numbers, where: str) -> list[str]:
    if numbers.layout is None or not numbers.layout.num_offset:
        return []
    return [f"{where}: {numbers.layout.num_offset} messages have a layout.data_offset; it was not applied"]


def _refuse_other_names(
    where: str, signal: Signal, mapping: StreamMapping, row: int, names: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    """Refuse names that change within a topic, where elements could mean other joints from there on."""
    if mapping.join != "index":
        raise SourceError(
            f"{where}: names change at message {row} from {_shown(names[0])} to {_shown(names[1])}; "
            f"{signal.name} must be joined by name, or set join to index in the mapping"
        )


def _names(numbers: Numbers, count: int) -> tuple[list[tuple[str, ...]], Int64Array]:
    """All lists of names, and which each message has."""
    if numbers.names_reader is not None:
        names = list(dict.fromkeys(numbers.names_reader.texts))
        number = {n: k for k, n in enumerate(names)}
        return names, np.array([number[t] for t in numbers.names_reader.texts], dtype=np.int64)
    if numbers.names_of is None:
        return numbers.names, np.zeros(count, dtype=np.int64)
    return numbers.names, np.array(numbers.names_of, dtype=np.int64)


def _is_foreign(
    names: Sequence[tuple[str, ...]], k: int, used: Sequence[int], signal: Signal, mapping: StreamMapping
) -> bool:
    """Whether messages with these names are about something else, as when two nodes publish on one topic."""
    wanted = set(mapping.names or signal.names)
    is_by_name = mapping.join != "index" and mapping.select is None and any(wanted <= set(names[j]) for j in used)
    return is_by_name and bool(names[k]) and not wanted & set(names[k])


def _one_length(lengths: Int64Array, rows: Int64Array, messages: Int64Array, where: str) -> int:
    first = int(lengths[rows[0]])
    other = np.flatnonzero(lengths[rows] != first)
    if len(other):
        i = int(rows[other[0]])
        raise SourceError(
            f"{where}: message {messages[i]} has {lengths[i]} values, message {messages[rows[0]]} has {first}; "
            "all must have as many"
        )
    return first


def _shown(names: Sequence[str]) -> str:
    return f"({clip(printable(', '.join(names)), 120)})" if names else "(no names)"
