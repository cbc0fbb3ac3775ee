"""Texts and markers of one LeRobot episode: tasks and subtasks by number, language columns, outcomes."""

from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..mapping import LabelMapping, Mapping, OutcomeMapping
from ..recording import Instruction, Outcome
from ..text import clip, printable
from ._lerobot_dataset import Dataset
from ._lerobot_info import episode_name
from ._lerobot_language import is_language, read_language
from ._lerobot_rows import Rows
from ._row_labels import as_text, row_instructions, row_intervals, row_outcome

__all__ = ["Labels"]

Kind = Literal["task", "subtask"]

_MAX_SHOWN = 5


class Labels:
    """Reads what a mapping names of an episode's texts and markers."""

    def __init__(
        self,
        dataset: Dataset,
        index: int,
        rows: Rows,
        time_ns: NDArray[np.int64],
        options: MappingType[str, bool | float | str],
    ) -> None:
        """Nothing is read yet.

        Args:
            dataset: The episode's dataset.
            index: Its number.
            rows: Its rows.
            time_ns: Of the rows, [N].
            options: Of the source.
        """
        self._dataset, self._index, self._rows, self._time_ns = dataset, index, rows, time_ns
        self._options = options
        self._where = episode_name(index)
        self.notes: list[str] = []
        self.used: set[str] = set()

    def read(self, mapping: Mapping) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and outcomes, those that are mapped."""
        instructions: list[Instruction] = []
        for label, kind in ((mapping.instruction, "task"), (mapping.subtask, "subtask")):
            if label is not None:
                label = self._named(label)
                self.used.add(label.source)
                instructions += self._instructions(label, "task" if kind == "task" else "subtask")
        outcomes = [*self._outcome(mapping.outcome)] if mapping.outcome is not None else []
        for kind in ("intervention", "reward"):
            if column := str(self._options[kind]):
                outcomes += self._intervals(column, "intervention" if kind == "intervention" else "reward")
        return tuple(instructions), tuple(outcomes)

    def _named(self, label: LabelMapping) -> LabelMapping:
        """With the column in the place of a name that only modality.json has."""
        part = self._dataset.info.slices.get(label.source)
        if part is None or label.source in self._rows.columns:
            return label
        return label.model_copy(update={"source": part.column})

    def _instructions(self, label: LabelMapping, kind: Kind) -> list[Instruction]:
        if label.source in self._rows.columns and is_language(self._rows, label.source):
            found, notes = read_language(self._rows, label, self._time_ns)
            self.notes += notes
            return found
        if label.field is not None:
            raise SourceError(f"{printable(label.source)} has no field {printable(label.field)!r}")
        if label.source == "tasks" and label.source not in self._rows.columns:
            return self._listed(kind)
        instructions, notes_ = row_instructions(self._texts(label), self._time_ns, kind)
        self.notes += notes_
        return [*instructions]

    def _listed(self, kind: Kind) -> list[Instruction]:
        """The texts that the table of episodes lists."""
        listed = self._dataset.fact(self._index, "tasks")
        texts = [t for t in listed if isinstance(t, str) and t.strip()] if isinstance(listed, list) else []
        if not texts:
            self.notes.append(f"{self._dataset.tables[0]} lists no task")
        if len(texts) > 1:
            self.notes.append(f"{self._dataset.tables[0]} lists {len(texts)} tasks, without times")
        return [Instruction(text=t, kind=kind) for t in texts]

    def _texts(self, label: LabelMapping) -> Sequence[str]:
        """The text at each row: a column of texts, or of numbers of tasks."""
        texts = self._rows.texts(label.source)
        if texts is not None:
            return texts
        numbers = self._rows.numbers(label.source)[0].reshape(self._rows.count, -1)
        if numbers.shape[1] != 1:
            raise SourceError(f"{self._where}: {label.source} has {numbers.shape[1]} values in a row; must have one")
        is_subtask = label.source == "subtask_index"
        table = self._dataset.subtasks if is_subtask else self._dataset.tasks
        name = "meta/subtasks.parquet" if is_subtask else self._dataset.tables[1]
        found = [table.get(int(n), "") if np.isfinite(n) else "" for n in numbers[:, 0]]
        unknown = sorted({str(n) for n, text in zip(numbers[:, 0], found, strict=True) if not text})
        if unknown:
            shown = ", ".join(unknown[:_MAX_SHOWN])
            self.notes.append(f"{label.source}: {shown} not in {name}, or without a text")
        return found

    def _outcome(self, mapping: OutcomeMapping) -> tuple[Outcome, ...]:
        """The last value of a column, else what the table of episodes says of the episode."""
        self.used.add(mapping.source)
        said = self._dataset.fact(self._index, mapping.source)
        if mapping.source in self._rows.columns:
            texts = self._rows.texts(mapping.source)
            written = (texts or [""])[-1:] if texts is not None else self._last(mapping)
        elif isinstance(said, str | bool | int | float):
            written = as_text(said)
        else:
            table = self._dataset.tables[0]
            self.notes.append(f"outcome: neither a column nor {table} has {printable(mapping.source)}")
            return ()
        outcomes, notes = row_outcome(written, mapping)
        self.notes += notes
        return outcomes

    def _last(self, mapping: OutcomeMapping) -> tuple[str, ...]:
        """The last value of a column of numbers, and a note where an earlier one meant success."""
        values = self._one_each(mapping.source)
        wanted = {v.casefold() for v in mapping.success}
        last = as_text(values[-1].item())
        if not {w.casefold() for w in last} & wanted:
            for value in np.unique(values[:-1]):
                if {w.casefold() for w in as_text(value.item())} & wanted:
                    row = int(np.flatnonzero(values == value)[0])
                    self.notes.append(
                        f"outcome: {mapping.source} is {as_text(value.item())[0]} at row {row} and {last[0]} at the "
                        "last, which counts"
                    )
        return last

    def _one_each(self, column: str) -> NDArray[np.generic]:
        values = self._rows.numbers(column)[0].reshape(self._rows.count, -1)
        if values.shape[1] != 1:
            raise SourceError(f"{self._where}: {column} has {values.shape[1]} values in a row; must have one")
        return values[:, 0]

    def _intervals(self, column: str, kind: Literal["intervention", "reward"]) -> Sequence[Outcome]:
        """Runs of rows with a value other than 0."""
        self.used.add(column)
        if column not in self._rows.columns:
            self.notes.append(f"{kind}: the episode has no column {clip(printable(column), 80)}")
            return ()
        outcomes, notes = row_intervals(self._one_each(column), self._time_ns, kind)
        self.notes += notes
        return outcomes
