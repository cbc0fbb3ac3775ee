"""What is done to a stream's stamps on the way to the steps, and what is kept of its time as data.

In this order: the clock's fit (where the mapping's `correct` asks for it), minus the declared latency, plus the
declared offset. Stored stamps stay as recorded, so all of it can be undone: without these options the steps are those
of the recorded stamps. Design: docs/time.md.
"""

import dataclasses
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SyncError
from ..mapping import Mapping, StreamMapping
from ..recording import AnyStream, Recording
from ..units import Clock
from .clock import clock_problems, is_unix
from .fit import ClockFit, fit_clock

__all__ = [
    "LABELS_MOVED",
    "Correction",
    "as_json",
    "compare_clocks",
    "correction_of",
    "fit_as_json",
    "fit_of",
    "is_receipt",
    "labels_on_steps",
]

Int64Array = NDArray[np.int64]

HOUR_NS = 3_600_000_000_000

LABELS_MOVED = "labels were brought onto the recorder's"
"""How the note begins that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What is done to the stamps of one stream."""

    mode: Literal["none", "offset", "drift"] = "none"
    """Whether the fit is applied: not, its offset only, or offset and drift."""
    at_ns: int = 0
    fit_offset_ns: int = 0
    drift_ppm: float = 0.0
    """0 where only the offset is applied."""
    latency_ns: int = 0
    """Taken off after the fit."""
    offset_ns: int = 0
    """Added at last."""

    @classmethod
    def from_policy(cls, policy: MappingType[str, object]) -> "Correction":
        """Build from what `as_policy` gave, as the provenance keeps it."""
        fit = policy.get("correct")
        fit = fit if isinstance(fit, dict) else {}
        drift = fit.get("drift_ppm")
        return cls(
            mode=next((m for m in ("offset", "drift") if fit.get("mode") == m), "none"),
            at_ns=_whole(fit.get("at_ns")),
            fit_offset_ns=_whole(fit.get("fit_offset_ns")),
            drift_ppm=drift if isinstance(drift, float) else 0.0,
            latency_ns=_whole(policy.get("latency_ns")),
            offset_ns=_whole(policy.get("offset_ns")),
        )

    def as_policy(self) -> dict[str, object]:
        """What decides the steps; without what is not used."""
        policy: dict[str, object] = {"latency_ns": self.latency_ns} if self.latency_ns else {}
        if self.mode != "none":
            policy["correct"] = {
                "mode": self.mode,
                "at_ns": self.at_ns,
                "fit_offset_ns": self.fit_offset_ns,
                "drift_ppm": self.drift_ppm,
            }
        return policy

    def fitted(self, time_ns: Int64Array) -> Int64Array:
        """Stamps on the recorder's clock, in exact integers but for the drift's share; [N]."""
        moved = time_ns + self.fit_offset_ns
        if self.drift_ppm:
            moved = moved + np.round((time_ns - self.at_ns) * (self.drift_ppm * 1e-6)).astype(np.int64)
        return moved

    def times(self, time_ns: Int64Array) -> Int64Array:
        """Stamps as synchronization uses them, [N]."""
        return self.fitted(time_ns) + (self.offset_ns - self.latency_ns)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def is_receipt(stream: AnyStream) -> bool:
    """Whether a stream's stamps are the recorder's own times of receipt."""
    return stream.receive_time_ns is None and stream.clock_choice.startswith("log")


def fit_of(stream: AnyStream) -> ClockFit | None:
    """The fit of a stream's clock against the recorder's; None where there is nothing to fit."""
    if stream.clock is Clock.NOMINAL or stream.receive_time_ns is None:
        return None
    return fit_clock(stream.time_ns, stream.receive_time_ns)


def correction_of(name: str, stream: AnyStream, mapping: StreamMapping) -> Correction:
    """What the mapping wants done to a stream's stamps.

    Raises:
        SyncError: The clock can't be corrected as asked; with the reason.
    """
    declared = Correction(latency_ns=mapping.latency_ns or 0, offset_ns=mapping.offset_ns)
    if mapping.correct == "none" or is_receipt(stream):
        return declared
    asked = f"{name}: correct is {mapping.correct}"
    if stream.clock is Clock.NOMINAL:
        raise SyncError(f"{asked}, but no time was recorded")
    if stream.receive_time_ns is None:
        raise SyncError(f"{asked}, but the recording does not say when its samples were received")
    fit = fit_clock(stream.time_ns, stream.receive_time_ns)
    if fit is None:
        problems = clock_problems(stream.time_ns) or ("there are too few",)
        raise SyncError(f"{asked}, but its stamps say nothing of the time: {problems[0]}")
    if fit.jumps:
        raise SyncError(f"{asked}, but {fit.problems[0]}; one line must fit all of it, or set clock to log")
    if mapping.correct == "drift" and fit.drift_ppm is None:
        raise SyncError(f"{asked}, but {fit.statement}; it can be offset")
    return dataclasses.replace(
        declared,
        mode=mapping.correct,
        at_ns=fit.at_ns,
        fit_offset_ns=fit.offset_ns,
        drift_ppm=fit.drift_ppm or 0.0 if mapping.correct == "drift" else 0.0,
    )


def fit_as_json(fit: ClockFit) -> dict[str, object]:
    """A fit as JSON values; without its residuals."""
    left_out = ("residual_ns", "rows", "jumps", "problems")
    plain = {f.name: getattr(fit, f.name) for f in dataclasses.fields(fit) if f.name not in left_out}
    return {**plain, "jumps": [dataclasses.asdict(j) for j in fit.jumps], "expected": fit.statement}


def as_json(recording: Recording, mapping: Mapping, policy: MappingType[str, object]) -> dict[str, object]:
    """The time of every stream as data: clock, fit, what was declared, what was applied, what is odd.

    Args:
        recording: As it was synchronized.
        mapping: Of its streams.
        policy: As synchronization gave it.
    """
    rules = policy.get("streams")
    found: dict[str, object] = {}
    for name, stream in sorted(recording.streams.items()):
        declared = mapping.streams.get(name)
        fit = fit_of(stream)
        problems = () if stream.clock is Clock.NOMINAL else _problems(stream)
        rule = rules.get(name) if isinstance(rules, dict) else None
        applied = Correction.from_policy(rule).as_policy() if isinstance(rule, dict) else {}
        found[name] = {
            "clock": str(stream.clock),
            "clock_choice": stream.clock_choice,
            "is_receipt": is_receipt(stream),
            "fit": None if fit is None else fit_as_json(fit),
            "declared": {}
            if declared is None
            else declared.model_dump(
                mode="json",
                include={"offset_ns", "latency_ns", "latency_uncertainty_ns", "correct"},
                exclude_defaults=True,
            ),
            "applied": applied | ({"offset_ns": rule["offset_ns"]} if isinstance(rule, dict) else {}),
            "problems": [*problems, *(fit.problems if fit is not None else ())],
        }
    return found


def _problems(stream: AnyStream) -> tuple[str, ...]:
    return clock_problems(stream.time_ns, stream.receive_time_ns, stream.clock_choice.partition(".")[0])


def labels_on_steps(recording: Recording, mapping: Mapping) -> Recording:
    """A recording with its texts and markers on the clock of the steps, where streams were brought onto another.

    A source gives labels in the streams' time. Where a stream counts from another start than the recorder and its clock
    is corrected onto the recorder's, labels that lie in the stream's time go the same way.
    """
    moved = {
        n: (s, correction_of(n, s, mapping.streams[n]))
        for n, s in recording.streams.items()
        if n in mapping.streams and mapping.streams[n].correct != "none" and len(s.time_ns)
    }
    moved = {n: (s, c) for n, (s, c) in moved.items() if abs(c.fit_offset_ns) > HOUR_NS}
    if not moved or not (recording.instructions or recording.outcomes) or recording.is_stepped:
        return recording

    def shifted(time_ns: int | None) -> int | None:
        for stream, correction in moved.values() if time_ns is not None else ():
            low, high = int(stream.time_ns.min()), int(stream.time_ns.max())
            if time_ns is not None and low - HOUR_NS // 2 <= time_ns <= high + HOUR_NS // 2:
                return int(correction.fitted(np.array([time_ns]))[0])
        return time_ns

    instructions = tuple(
        dataclasses.replace(x, time_ns=shifted(x.time_ns), end_ns=shifted(x.end_ns)) for x in recording.instructions
    )
    outcomes = tuple(
        dataclasses.replace(x, time_ns=shifted(x.time_ns), end_ns=shifted(x.end_ns)) for x in recording.outcomes
    )
    if (instructions, outcomes) == (recording.instructions, recording.outcomes):
        return recording
    note = f"{LABELS_MOVED} clock with {', '.join(moved)}"
    return dataclasses.replace(recording, instructions=instructions, outcomes=outcomes, notes=(*recording.notes, note))


def compare_clocks(place: str, streams: MappingType[str, AnyStream], corrections: MappingType[str, Correction]) -> None:
    """Streams must count the same time, once their clocks are corrected.

    Raises:
        SyncError: Two do not.
    """
    # Where the recorder's clock is no Unix time, its kind is that of a stream stamped by it.
    own = next((s.clock for s in streams.values() if is_receipt(s)), Clock.MONOTONIC)
    clocks = {}
    for name, stream in streams.items():
        clocks[name] = stream.clock
        if corrections[name].mode != "none" and stream.receive_time_ns is not None:
            clocks[name] = Clock.UNIX if is_unix(stream.receive_time_ns) else own
    if len(set(clocks.values())) > 1:
        first = next(iter(clocks))
        other = next(n for n, c in clocks.items() if c is not clocks[first])
        raise SyncError(
            f"{place}: {first} counts {clocks[first]} time, {other} {clocks[other]} time; streams on different clocks "
            "can't be aligned: choose `clock` in the mapping, or set `correct` to bring them onto the recorder's"
        )
