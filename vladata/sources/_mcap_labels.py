"""Instructions, subtasks and outcomes out of text topics of an MCAP file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..mapping import LabelMapping, OutcomeMapping
from ..recording import AnyStream, Instruction, Outcome
from ..text import clip, printable
from ._mcap_join import clock_kind

__all__ = ["LabelReader", "Labels"]

Int64Array = NDArray[np.int64]

MAX_LABELS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a recording says of itself."""

    instructions: tuple[Instruction, ...]
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]


class LabelReader:
    """Puts texts, which have log time only, onto the time of the streams."""

    def __init__(
        self, streams: Mapping[str, AnyStream], *, first_log_ns: int, is_simulated: bool, is_split: bool = False
    ) -> None:
        """Read labels beside these streams.

        Args:
            streams: Of the recording, by name.
            first_log_ns: When the first sample of any of them was received.
            is_simulated: Whether the file has a simulator's clock.
            is_split: Whether the recording is to be split: then what repeats the text before may begin a part.
        """
        self._streams = streams
        self._first_log_ns = first_log_ns
        self._is_simulated = is_simulated
        self._is_split = is_split
        self._instructions: list[Instruction] = []
        self._outcomes: list[Outcome] = []
        self.notes: list[str] = []

    def labels(self) -> Labels:
        """All that was added."""
        return Labels(instructions=tuple(self._instructions), outcomes=tuple(self._outcomes), notes=tuple(self.notes))

    def add(self, name: str, mapping: LabelMapping, texts: Sequence[str], log_ns: Int64Array) -> None:
        """Add the texts of a topic.

        Args:
            name: `instruction`, `subtask` or `outcome`.
            mapping: Of the label.
            texts: [N]
            log_ns: When each was received, [N].

        Raises:
            SourceError: There are too many.
        """
        changed = [i for i in range(len(texts)) if i == 0 or self._is_split or texts[i] != texts[i - 1]]
        if len(changed) > MAX_LABELS:
            raise SourceError(f"{name}: {len(changed):,} texts in {printable(mapping.source)}; at most {MAX_LABELS:,}")
        if len(changed) < len(texts):
            self.notes.append(f"{name}: {len(texts) - len(changed)} of {len(texts)} messages repeat the one before")
        times = self._times(name, log_ns)
        for k, i in enumerate(changed):
            text = texts[i].strip()
            if isinstance(mapping, OutcomeMapping):
                self._add_outcome(mapping, text, int(times[i]), int(log_ns[i]))
            elif text:
                # One that was there before the first sample holds from the first step on, also where the sample's own
                # clock is a little behind the log's.
                is_next_later = k + 1 == len(changed) or log_ns[changed[k + 1]] > self._first_log_ns
                is_early = log_ns[i] <= self._first_log_ns and is_next_later
                kind: Literal["task", "subtask"] = "task" if name == "instruction" else "subtask"
                time_ns = None if is_early and not self._is_before_all(int(times[i])) else int(times[i])
                self._instructions.append(
                    Instruction(text=text, kind=kind, time_ns=time_ns, receive_time_ns=int(log_ns[i]))
                )
            else:
                self.notes.append(f"{name}: an empty text at {times[i]} ns is left out")

    def _is_before_all(self, time_ns: int) -> bool:
        """Whether a time is before or at the first stamp of every stream."""
        return all(time_ns <= int(s.time_ns[0]) for s in self._streams.values() if len(s.time_ns))

    def _times(self, name: str, log_ns: Int64Array) -> Int64Array:
        """Log time on the clock of the streams: as it is, or where they count otherwise, by what was received then."""
        log_clock, _ = clock_kind(log_ns, is_simulated=self._is_simulated)
        other = next((s for s in self._streams.values() if s.clock is not log_clock and len(s.time_ns)), None)
        if other is None or other.receive_time_ns is None:
            return log_ns
        self.notes.append(
            f"{name}: received at {log_clock} time; each text has the {other.clock} time of the sample of {other.name} "
            "that was received next"
        )
        index = np.searchsorted(other.receive_time_ns, log_ns, side="left")
        return other.time_ns[np.minimum(index, len(other.time_ns) - 1)]

    def _add_outcome(self, mapping: OutcomeMapping, text: str, time_ns: int, log_ns: int) -> None:
        value, _, reason = (part.strip() for part in text.partition(":"))
        kinds: dict[str, Literal["success", "failure"]] = {}
        kinds.update({v.casefold(): "success" for v in mapping.success})
        kinds.update({v.casefold(): "failure" for v in mapping.failure})
        kind = kinds.get(value.casefold())
        if kind is None:
            known = ", ".join((*mapping.success, *mapping.failure))
            self.notes.append(f"outcome {clip(printable(text), 80)!r} is left out; it must be one of {known}")
        else:
            self._outcomes.append(Outcome(kind=kind, time_ns=time_ns, receive_time_ns=log_ns, reason=reason))
