"""Instructions, outcomes and facts of an RLDS episode."""

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..mapping import LabelMapping, OutcomeMapping
from ..recording import Instruction, Outcome
from ..text import clip, printable
from ._rlds_record import EpisodeRecord
from ._row_labels import as_text, row_instructions, row_outcome
from ._tfds import Dataset
from ._tfds_features import class_names

__all__ = ["LabelReader", "element_of", "facts", "flag_notes"]

MAX_FACTS = 100
MAX_FACT_VALUES = 16
MAX_FACT = 1000
MAX_ELEMENT_DIGITS = 6

_FLAGS = ("is_first", "is_last", "is_terminal")

Int64Array = NDArray[np.int64]


def element_of(field: str | None, name: str) -> int | None:
    """The `field` of a mapping: which of a step's values; None: not said.

    Raises:
        SourceError: It is no whole number from 0 on.
    """
    if field is None:
        return None
    if not (field.isascii() and field.isdecimal() and len(field) <= MAX_ELEMENT_DIGITS):
        raise SourceError(
            f"{name} maps field {clip(printable(field), 80)!r}; a field of RLDS is which value of each step: a number "
            "from 0 on"
        )
    return int(field)


class LabelReader:
    """Reads what is said of an episode, once its steps are known."""

    def __init__(self, episode: EpisodeRecord, dataset: Dataset, time_ns: Int64Array, num_steps: int) -> None:
        """Read labels of an episode of so many steps, the first of which have these stamps and are kept, [T]."""
        self._episode = episode
        self._dataset = dataset
        self._time_ns = time_ns
        self._num_steps = num_steps
        self._where = episode.where
        self.notes: list[str] = []
        self.used: set[str] = set()

    def instructions(self, label: LabelMapping, *, is_task: bool, has_paraphrases: bool) -> Iterator[Instruction]:
        """Texts of a feature; further texts of a task are its paraphrases.

        Raises:
            SourceError: The feature is no text, or does not fit the steps.
        """
        element = element_of(label.field, "an instruction")
        rows = self._texts(label.source)
        first = element or 0
        short = [k for k, row in enumerate(rows) if element is not None and len(row) <= element]
        if short:
            raise SourceError(
                f"{self._where}: {label.source} has {len(rows[short[0]])} texts at step {short[0]}; there is no "
                f"[{element}]"
            )
        texts = [r[first] if len(r) > first else "" for r in rows]
        found, notes = row_instructions(texts, self._time_ns, "task" if is_task else "subtask")
        self.notes += notes
        yield from found
        others = max((len(r) for r in rows), default=0)
        further = [[r[k] if len(r) > k else "" for r in rows] for k in range(others) if k != first]
        if not is_task or not has_paraphrases or element is not None:
            if further:
                self.notes.append(f"{printable(label.source)}: {len(further)} further texts of each step are not kept")
            return
        yield from self._paraphrases([*further, *self._numbered(label.source)])

    def _numbered(self, path: str) -> Iterator[list[str]]:
        """Texts of the features named alike with a number from 2 on, as DROID has them."""
        number = 2
        while self._episode.has(f"{path}_{number}") and self._episode.info(f"{path}_{number}").kind == "text":
            texts = [row[0] if row else "" for row in self._texts(f"{path}_{number}")]
            what = "read as a paraphrase (options.paraphrases)" if any(t.strip() for t in texts) else "has no text"
            self.notes.append(f"{printable(path)}_{number}: {what}")
            yield texts
            number += 1

    def _paraphrases(self, columns: list[list[str]]) -> Iterator[Instruction]:
        for texts in columns:
            found, _ = row_instructions(texts, self._time_ns, "task")  # many have no paraphrase: no note on empty ones
            yield from (dataclasses.replace(i, kind="paraphrase") for i in found)

    def _texts(self, path: str) -> list[tuple[str, ...]]:
        """One row of texts for each kept step; the same at each where they belong to the episode."""
        texts, is_replaced = self._episode.texts(path)
        self.used.add(path)
        if is_replaced:
            self.notes.append(f"{printable(path)}: bytes that are not UTF-8 became replacement characters")
        if self._episode.info(path).kind != "text":
            self.notes.append(f"{printable(path)}: numbers read as the bytes of a text")
        if not self._episode.info(path).is_step:
            if len(texts) != 1:
                raise SourceError(f"{self._where}: {path} has {len(texts)} texts; an episode must have one")
            return texts
        if len(texts) != self._num_steps:
            raise SourceError(
                f"{self._where}: {path} has {len(texts)} steps, the streams have {self._num_steps}; must be as many"
            )
        return texts[: len(self._time_ns)]

    def outcome(self, mapping: OutcomeMapping) -> tuple[Outcome, ...]:
        """The last value of a step feature, or the value of an episode feature.

        Raises:
            SourceError: It has no values, or not one at a step.
        """
        self.used.add(mapping.source)
        info = self._episode.info(mapping.source)
        if info.kind == "text":
            written: tuple[str, ...] = self._episode.texts(mapping.source)[0][-1][:1]
        else:
            value = self._single(mapping.source)[-1:]
            if len(value) == 0:
                raise SourceError(f"{self._where}: {mapping.source} has no values; an outcome must be one value")
            written = as_text(value[0].item())
            names = class_names(self._dataset.folder, info)
            index = int(value[0]) if info.type == "ClassLabel" else -1
            written += names[index : index + 1] if index >= 0 else ()
        is_end = info.path.rpartition("/")[2] == "is_terminal" and "failure" not in mapping.model_fields_set
        if is_end and "false" in written:
            self.notes.append(
                f"outcome: {printable(info.path)} is false at the last step: the episode was cut off, which is no "
                "failure; no outcome (list false under failure to count it)"
            )
            return ()
        outcomes, notes = row_outcome(written, mapping)
        self.notes += notes
        return outcomes

    def rewards(self, path: str) -> Iterator[Outcome]:
        """Rewards other than 0 as outcomes on the time axis.

        Raises:
            SourceError: They are not one number at each step.
        """
        self.used.add(path)
        values = self._single(path)
        if not self._episode.info(path).is_step or len(values) != self._num_steps:
            raise SourceError(f"{self._where}: {path} has {len(values)} values; a reward must have one at each step")
        numbers = values[: len(self._time_ns)].astype(np.float64)
        finite = np.isfinite(numbers)
        if not finite.all():
            self.notes.append(f"{printable(path)}: {int((~finite).sum())} rewards are not finite; left out")
        kept = np.flatnonzero(finite & (numbers != 0))
        self.notes.append(f"{printable(path)}: {len(kept)} of {len(numbers)} rewards are other than 0 and kept")
        for k in kept.tolist():
            yield Outcome(kind="reward", time_ns=int(self._time_ns[k]), value=float(numbers[k]))

    def _single(self, path: str) -> NDArray[np.generic]:
        values = self._episode.numbers(path)
        if values[:1].size > 1 or (len(values) and values.size == 0):
            raise SourceError(f"{self._where}: {path} has shape {list(values.shape[1:])}; an outcome must be one value")
        return values.reshape(len(values))


def facts(episode: EpisodeRecord, dataset: Dataset, used: set[str]) -> tuple[dict[str, str], list[str]]:
    """Short facts of the episode: single numbers, few numbers, and texts; those that are given go into `used`."""
    found: dict[str, str] = {}
    notes = []
    for path, info in dataset.features.items():
        if info.is_step or info.kind not in {"numeric", "text"} or not episode.has(path) or path in used:
            continue
        if len(found) >= MAX_FACTS:
            notes.append(f"metadata: only the first {MAX_FACTS} facts are kept")
            break
        try:
            value = _fact(episode, path)
        except SourceError as error:
            notes.append(f"metadata: {error}")
            continue
        if value is None:
            continue
        if len(value) > MAX_FACT:
            notes.append(f"metadata: {printable(path)} has {len(value):,} characters; cut after {MAX_FACT:,}")
        found[clip(printable(path), 200)] = clip(printable(value), MAX_FACT)
        used.add(path)
    return found, notes


def _fact(episode: EpisodeRecord, path: str) -> str | None:
    if episode.info(path).kind == "text":
        texts, _ = episode.texts(path)
        row = list(texts[0]) if len(texts) == 1 else [t for row in texts for t in row]
        if not row:
            return None
        is_one = len(row) == 1 and episode.info(path).levels == 0
        return row[0] if is_one else json.dumps(row[:MAX_FACT_VALUES], ensure_ascii=False)
    if episode.info(path).is_pixels or episode.stored_values(path) > MAX_FACT_VALUES:
        return None
    values = episode.numbers(path)
    if values.size == 0:
        return None
    texts_of = [str(v).lower() if values.dtype.kind == "b" else str(v) for v in values.ravel()]
    return texts_of[0] if values.size == 1 else f"[{', '.join(texts_of)}]"


def flag_notes(episode: EpisodeRecord) -> list[str]:
    """What the flags of the steps say that should be known."""
    notes = []
    unset = []
    for flag in _FLAGS:
        if not episode.has(flag) or episode.info(flag).kind != "numeric":
            continue
        places = np.flatnonzero(episode.numbers(flag).reshape(-1))
        count = episode.count(flag)
        expected = 0 if flag == "is_first" else count - 1
        if len(places) == 0:
            unset.append(flag)
        elif places.tolist() != [expected]:
            notes.append(f"{flag} is set at step {int(places[0])} and {len(places) - 1} others of {count}")
    if unset:
        notes.append(f"never set: {', '.join(unset)}")
    return notes
