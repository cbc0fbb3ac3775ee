"""Instructions and outcomes out of HDF5: texts, numbers and attributes, also inside JSON."""

import json
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..mapping import LabelMapping, Mapping
from ..recording import Instruction, Outcome
from ..text import clip, printable
from ._hdf5 import Hdf5File
from ._hdf5_types import Value
from ._row_labels import as_text, row_instructions, row_outcome

__all__ = ["LabelReader", "json_field", "json_list", "json_object"]

Int64Array = NDArray[np.int64]


class LabelReader:
    """Finds what a mapping says of labels: a dataset, else an attribute of the demonstration or of what holds it."""

    def __init__(self, file: Hdf5File, resolve: Callable[[str], str], owners: Sequence[str]) -> None:
        """Read from a file.

        Args:
            file: Open.
            resolve: The path of the dataset that a mapping's `from` names.
            owners: Groups whose attributes count, the demonstration's first.
        """
        self._file, self._resolve, self._owners = file, resolve, owners
        self.notes: list[str] = []
        self.used: set[str] = set()

    def read(self, mapping: Mapping, time_ns: Int64Array) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and the outcome, where they are mapped; what is not there is a note.

        Args:
            mapping: Of the recording.
            time_ns: Of the steps, [T].

        Raises:
            SourceError: A label is damaged, or has another number of rows than the steps.
        """
        instructions: list[Instruction] = []
        for label, kind in ((mapping.instruction, "task"), (mapping.subtask, "subtask")):
            if label is not None:
                instructions += self._instructions(label, "task" if kind == "task" else "subtask", time_ns)
        outcomes: tuple[Outcome, ...] = ()
        if mapping.outcome is not None:
            values = self.values(mapping.outcome)
            if values:
                outcomes, notes = row_outcome(as_text(values[-1]), mapping.outcome)
                self.notes += notes
            else:
                self._missing("outcome", mapping.outcome)
        return tuple(instructions), outcomes

    def _instructions(
        self, label: LabelMapping, kind: Literal["task", "subtask"], time_ns: Int64Array
    ) -> tuple[Instruction, ...]:
        values = self.values(label)
        if not values:
            self._missing(kind, label)
            return ()
        texts = [v for v in values if isinstance(v, str)]
        if len(texts) != len(values):
            raise SourceError(f"{self._file.name}: {printable(label.source)} holds numbers; a {kind} must be a text")
        if len(texts) not in {1, len(time_ns)}:
            raise SourceError(
                f"{self._file.name}: {printable(label.source)} has {len(texts)} texts; must have one, or one for each "
                f"of {len(time_ns)} steps"
            )
        found, notes = row_instructions(texts, time_ns, kind)
        self.notes += notes
        return found

    def _missing(self, what: str, label: LabelMapping) -> None:
        shown = label.source + (f".{label.field}" if label.field else "")
        self.notes.append(f"{what}: there is no {clip(printable(shown), 120)}")

    def values(self, label: LabelMapping) -> tuple[Value, ...]:
        """The values of a label, one or one for each row; empty where it is not there."""
        group, sign, attribute = label.source.rpartition("@")
        if sign:
            found = self._attribute((self._resolve(group) if group else self._owners[0],), attribute)
        elif self._file.kind(self._resolve(label.source)) == "dataset":
            found = self._dataset(self._resolve(label.source))
        else:
            found = self._attribute(self._owners, label.source)
        if label.field is None:
            return found
        texts = [json_field(v, label.field) for v in found if isinstance(v, str)]
        if any(is_joined for _, is_joined in texts):
            self.notes.append(f"{printable(label.source)}.{printable(label.field)}: a list of words, joined by spaces")
        return tuple(v for v, _ in texts if v is not None)

    def _attribute(self, owners: Sequence[str], name: str) -> tuple[Value, ...]:
        for owner in owners:
            value = self._file.attribute(owner, name)
            if value is not None:
                return value if isinstance(value, tuple) else (value,)
        return ()

    def _dataset(self, path: str) -> tuple[Value, ...]:
        self.used.add(path)
        info = self._file.info(path)
        if info.kind == "text":
            texts, is_replaced = self._file.texts(path)
            if is_replaced:
                self.notes.append(f"{printable(path)}: bytes that are not UTF-8 became replacement characters")
            return tuple(texts)
        values = self._file.numbers(path)
        # A size can't be worked out where there is no row.
        values = values.reshape(len(values), -1) if len(values) else np.zeros((0, 1))
        if values.shape[1] != 1:
            raise SourceError(
                f"{self._file.name}: {printable(path)} has {values.shape[1]} values in a row; a label must have one"
            )
        return tuple(values[:, 0].tolist())


def json_object(text: str) -> dict[str, object]:
    """An object out of a JSON text; empty where it is none."""
    found = _parsed(text)
    return found if isinstance(found, dict) else {}


def json_list(text: str) -> tuple[object, ...]:
    """A list out of a JSON text; empty where it is none."""
    found = _parsed(text)
    return tuple(found) if isinstance(found, list) else ()


def _parsed(text: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def json_field(text: str, field: str) -> tuple[Value | None, bool]:
    """A value inside a JSON text by its dotted path, and whether it is a list of words that were joined by spaces."""
    found: object = json_object(text)
    for part in field.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, list) and found and all(isinstance(w, str) for w in found):
        return " ".join(found), len(found) > 1
    return (found, False) if isinstance(found, str | bool | int | float) else (None, False)
