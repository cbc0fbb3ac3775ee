"""Several demonstrations in one recording: cut at marks, or where time goes backward."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SyncError
from ..mapping import Mapping, SplitMapping
from ..recording import AnyStream, FrameStream, Instruction, Mark, Outcome, Recording
from ..text import clip, printable
from ._cut import cut_stream

__all__ = ["split_backward", "split_marks", "split_recording"]

Int64Array = NDArray[np.int64]
_Label = TypeVar("_Label", Instruction, Outcome)


def split_recording(recording: Recording, mapping: Mapping) -> list[Recording]:
    """Cut a recording as its mapping says; itself where it says nothing.

    Raises:
        SyncError: There is nothing to cut by, or a stream can't be cut.
    """
    if mapping.on_backward_time != "split" and mapping.split is None:
        return [recording]
    parts = split_backward(recording) if mapping.on_backward_time == "split" else [recording]
    if mapping.split is not None:
        return [part for whole in parts for part in split_marks(whole, mapping.split)]
    if len(parts) > 1:
        return parts
    once = _once(recording.instructions), _once(recording.outcomes)  # sources keep repeats, which may begin a part
    return [dataclasses.replace(recording, instructions=once[0], outcomes=once[1])]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """One demonstration: from a time of receipt on, to another; None: to the end."""

    start_ns: int
    end_ns: int | None
    includes_end: bool
    """Whether a label that was received at the very end belongs to it."""

    def holds(self, receive_ns: int) -> bool:
        """Whether a label belongs to it."""
        if self.end_ns is None or receive_ns < self.end_ns:
            return receive_ns >= self.start_ns
        return self.includes_end and receive_ns == self.end_ns


@dataclass(slots=True, kw_only=True)
class _Spans:
    """What the marks say."""

    spans: list[_Span] = dataclasses.field(default_factory=list)
    num_discarded: int = 0
    num_ignored: int = 0
    """Marks that change nothing: a start in a demonstration, a stop outside of one."""
    unknown: list[str] = dataclasses.field(default_factory=list)
    is_open: bool = False
    """Whether the last demonstration has no end."""


def split_marks(recording: Recording, split: SplitMapping) -> list[Recording]:
    """Cut a recording between its marks, by the time of receipt.

    A part has the samples that were received from its start on and before its end. Labels go with the part in which
    they were received, a label at the very stop too; an instruction that was received outside of all parts holds for
    those after it that have none of their own, until the next one. What lies outside of all parts is counted in the
    notes of each.

    Raises:
        SyncError: There are no marks, none begins a demonstration, or a stream has no increasing time of receipt.
    """
    marks = recording.marks
    where = f"{recording.place}: split by {printable(split.source)}"
    if not marks:
        raise SyncError(f"{where}: there are no marks")
    found = _each(marks, split) if split.kind == "each" else _start_stop(marks, split)
    receipts = {n: _increasing(recording, n) for n in recording.streams}
    spans = [s for s in found.spans if any(_inside(r, s) != (0, 0) for r in receipts.values())]
    if not spans:
        texts = ", ".join(dict.fromkeys(m.text for m in marks))
        raise SyncError(f"{where}: no demonstration in {len(marks)} marks ({clip(printable(texts), 120)})")
    notes = [*_mark_notes(found, split, len(found.spans) - len(spans)), *_outside(recording, receipts, spans)]
    return [_marked(recording, k, spans, receipts, notes) for k in range(len(spans))]


def _start_stop(marks: Sequence[Mark], split: SplitMapping) -> _Spans:
    start, stop, discard = ({t.casefold() for t in texts} for texts in (split.start, split.stop, split.discard))
    found = _Spans()
    begun: int | None = None
    for mark in marks:
        text = mark.text.strip().casefold()
        if text in start and begun is None:
            begun = mark.receive_time_ns
        elif text in stop and begun is not None:
            found.spans.append(_Span(start_ns=begun, end_ns=mark.receive_time_ns, includes_end=True))
            begun = None
        elif text in discard and begun is not None:
            found.num_discarded += 1
            begun = None
        elif text in start | stop | discard:
            found.num_ignored += 1
        else:
            found.unknown.append(mark.text)
    if begun is not None:
        found.spans.append(_Span(start_ns=begun, end_ns=None, includes_end=False))
        found.is_open = True
    return found


def _each(marks: Sequence[Mark], split: SplitMapping) -> _Spans:
    discard = {t.casefold() for t in split.discard}
    found = _Spans(is_open=True)
    ends: list[int | None] = [*(m.receive_time_ns for m in marks[1:]), None]
    is_discard = [m.text.strip().casefold() in discard for m in marks]
    for i, mark in enumerate(marks):
        if is_discard[i]:
            found.num_ignored += i == 0 or is_discard[i - 1]
        elif i + 1 < len(marks) and is_discard[i + 1]:
            found.num_discarded += 1
        else:
            found.spans.append(_Span(start_ns=mark.receive_time_ns, end_ns=ends[i], includes_end=False))
    return found


def _mark_notes(found: _Spans, split: SplitMapping, num_empty: int) -> list[str]:
    notes = []
    if found.num_discarded:
        notes.append(f"split: {found.num_discarded} demonstrations were discarded by a mark")
    if found.num_ignored:
        notes.append(f"split: {found.num_ignored} marks change nothing (a start after a start, a stop without one)")
    if found.unknown:
        texts = clip(printable(", ".join(dict.fromkeys(found.unknown))), 100)
        notes.append(f"split: {len(found.unknown)} marks are none of those that the mapping lists ({texts})")
    if found.is_open and split.kind == "start_stop":
        notes.append("split: the last demonstration has no stop; it lasts to the end of the recording")
    if num_empty:
        notes.append(f"split: {num_empty} demonstrations have no sample in them")
    return notes


def _inside(receipt: Int64Array, span: _Span) -> tuple[int, int]:
    """First sample of a span and the one behind its last; zeros where there is none."""
    first = int(np.searchsorted(receipt, span.start_ns, side="left"))
    end = len(receipt) if span.end_ns is None else int(np.searchsorted(receipt, span.end_ns, side="left"))
    return (first, end) if end > first else (0, 0)


def _outside(recording: Recording, receipts: dict[str, Int64Array], spans: Sequence[_Span]) -> list[str]:
    """How much lies outside of all demonstrations."""
    counts = []
    for name, receipt in receipts.items():
        left = len(receipt) - sum(end - first for first, end in (_inside(receipt, s) for s in spans))
        if left:
            counts.append(f"{left:,} of {len(receipt):,} samples of {name}")
    given: tuple[Instruction | Outcome, ...] = (*recording.instructions, *recording.outcomes)
    labels = [i for i in given if not any(_is_of(i, s) for s in spans)]
    if labels:
        counts.append(f"{len(labels)} labels")
    return [f"split: outside of the {len(spans)} demonstrations lie {', '.join(counts)}"] if counts else []


def _is_of(label: Instruction | Outcome, span: _Span) -> bool:
    received = label.time_ns if label.receive_time_ns is None else label.receive_time_ns
    return received is None or span.holds(received)


def _marked(
    recording: Recording, k: int, spans: Sequence[_Span], receipts: dict[str, Int64Array], notes: Sequence[str]
) -> Recording:
    span = spans[k]
    instructions = [i for i in recording.instructions if _is_of(i, span)]
    has_own = any(i.kind == "task" for i in instructions)
    before, said = ([], []) if has_own else _before(recording.instructions, spans, span)
    until = "the end" if span.end_ns is None else f"{span.end_ns} ns"
    return _part(
        recording,
        k,
        {n: cut_stream(s, *_inside(receipts[n], span)) for n, s in recording.streams.items()},
        _Labels(
            instructions=(*before, *instructions),
            outcomes=tuple(o for o in recording.outcomes if _is_of(o, span)),
            notes=(
                *notes,
                *said,
                f"part {k + 1} of {len(spans)}: received from {span.start_ns} ns to {until}, split by marks",
            ),
        ),
    )


def _before(
    instructions: Sequence[Instruction], spans: Sequence[_Span], span: _Span
) -> tuple[list[Instruction], list[str]]:
    """The last task that was received before a demonstration, where that was outside of all of them."""
    tasks = [i for i in instructions if i.kind == "task" and i.receive_time_ns is not None]
    earlier = [i for i in tasks if i.receive_time_ns is not None and i.receive_time_ns < span.start_ns]
    if not earlier or any(_is_of(earlier[-1], s) for s in spans):
        return [], []
    held = dataclasses.replace(earlier[-1], time_ns=None)
    return [held], [f"split: the instruction was received before the part, at {held.receive_time_ns} ns"]


def split_backward(recording: Recording) -> list[Recording]:
    """Cut at each backward jump; one recording where there is none.

    Streams that jump are cut at their own jumps; streams that don't, labels and marks are cut by the time of receipt.

    Raises:
        SyncError: Streams jump a different number of times, or one that must be cut has no time of receipt.
    """
    jumps = {n: np.flatnonzero(np.diff(s.time_ns) < 0) + 1 for n, s in recording.streams.items()}
    jumping = [n for n in jumps if len(jumps[n])]
    if not jumping:
        return [recording]
    first = jumping[0]
    other = next((n for n in jumping if len(jumps[n]) != len(jumps[first])), None)
    if other is not None:
        raise SyncError(
            f"{recording.place}: {first} goes backward {len(jumps[first])} times, {other} {len(jumps[other])} times; "
            "to split, streams must jump together"
        )
    cuts_ns = _receipt(recording, first)[jumps[first]]
    bounds = {}
    for name, stream in recording.streams.items():
        at = jumps[name] if len(jumps[name]) else np.searchsorted(_receipt(recording, name), cuts_ns, side="left")
        bounds[name] = np.concatenate([[0], at, [len(stream.time_ns)]]).astype(int)
    return [_backward_part(recording, k, bounds, cuts_ns) for k in range(len(cuts_ns) + 1)]


def _receipt(recording: Recording, name: str) -> Int64Array:
    stream = recording.streams[name]
    if stream.receive_time_ns is not None:
        return stream.receive_time_ns
    if stream.clock_choice == "log":
        return stream.time_ns
    raise SyncError(f"{recording.place}: {name} has no time of receipt; the recording can't be split by it")


def _increasing(recording: Recording, name: str) -> Int64Array:
    stream, receipt = recording.streams[name], _receipt(recording, name)
    if isinstance(stream, FrameStream) and stream.video is not None:
        receipt = np.maximum.accumulate(receipt)  # of reordered frames, the packets lie a few places off
    back = np.flatnonzero(np.diff(receipt) < 0)
    if len(back):
        raise SyncError(
            f"{recording.place}: {name} was received at {receipt[back[0]]} ns and then at {receipt[back[0] + 1]} ns; "
            "to split by marks, receipt must not go backward: set on_backward_time to split as well"
        )
    return receipt


def _backward_part(recording: Recording, k: int, bounds: dict[str, NDArray[np.int_]], cuts_ns: Int64Array) -> Recording:
    low = int(cuts_ns[k - 1]) if k else None
    high = int(cuts_ns[k]) if k < len(cuts_ns) else None

    def inside(time_ns: int | None) -> bool:
        return time_ns is None or ((low is None or time_ns >= low) and (high is None or time_ns < high))

    def is_of(label: Instruction | Outcome) -> bool:
        return inside(label.time_ns if label.receive_time_ns is None else label.receive_time_ns)

    return _part(
        recording,
        k,
        {n: cut_stream(s, int(bounds[n][k]), int(bounds[n][k + 1])) for n, s in recording.streams.items()},
        _Labels(
            instructions=tuple(i for i in recording.instructions if is_of(i)),
            outcomes=tuple(o for o in recording.outcomes if is_of(o)),
            notes=(f"part {k + 1} of {len(cuts_ns) + 1}: split where time goes backward",),
            marks=_marks_of(recording.marks, k, cuts_ns),
        ),
    )


def _marks_of(marks: Sequence[Mark], k: int, cuts_ns: Int64Array) -> tuple[Mark, ...]:
    """Marks of a part: cut at their own jumps where they jump as often, else by the time of receipt."""
    received = np.array([m.receive_time_ns for m in marks], dtype=np.int64)
    jumps = np.flatnonzero(np.diff(received) < 0) + 1
    at = jumps if len(jumps) == len(cuts_ns) else np.searchsorted(received, cuts_ns, side="left")
    bounds = [0, *at.tolist(), len(marks)]
    return tuple(marks[bounds[k] : bounds[k + 1]])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    """What a part has beside its streams."""

    instructions: tuple[Instruction, ...]
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]
    marks: tuple[Mark, ...] = ()


def _part(recording: Recording, k: int, streams: dict[str, AnyStream], labels: _Labels) -> Recording:
    return dataclasses.replace(
        recording,
        recording_id=hashlib.sha256(f"{recording.recording_id} part {k}".encode()).hexdigest(),
        place=f"{recording.place}#{k}",
        streams=streams,
        instructions=_from_the_start(_once(labels.instructions), streams),
        outcomes=_once(labels.outcomes),
        marks=labels.marks,
        notes=(*recording.notes, *labels.notes),
    )


def _once(labels: Sequence[_Label]) -> tuple[_Label, ...]:
    """Labels without those that repeat the one before of their kind."""
    kept: list[_Label] = []
    for label in labels:
        before = next((k for k in reversed(kept) if _lane(k) == _lane(label)), None)
        if before is None or _said(before) != _said(label):
            kept.append(label)
    return tuple(kept)


def _lane(label: Instruction | Outcome) -> str:
    """What a label can repeat: instructions of its kind; an outcome, any other."""
    return label.kind if isinstance(label, Instruction) else "outcome"


def _said(label: Instruction | Outcome) -> tuple[object, ...]:
    if isinstance(label, Instruction):
        return label.kind, label.text
    return label.kind, label.value, label.reason


def _from_the_start(instructions: Sequence[Instruction], streams: dict[str, AnyStream]) -> tuple[Instruction, ...]:
    """Let an instruction that was there before the first sample hold from the first step on.

    The sample's own clock may be a little behind the recorder's.
    """
    received_ns = [s.receive_time_ns for s in streams.values() if s.receive_time_ns is not None]
    first_ns = min((int(r[0]) for r in received_ns if len(r)), default=None)
    early: dict[str, int] = {}
    for i, instruction in enumerate(instructions):
        received = instruction.receive_time_ns
        if first_ns is not None and received is not None and received <= first_ns:
            early[instruction.kind] = i
    return tuple(
        dataclasses.replace(instruction, time_ns=None) if early.get(instruction.kind) == i else instruction
        for i, instruction in enumerate(instructions)
    )
