"""Faults of labels, of copies, and of the dataset as a whole."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from vladata.checks import EpisodeFacts
from vladata.recording import Instruction, Outcome, Recording
from vladata.units import Kind

from .case import Case
from .fault import Injection, fault, group_fault
from .tools import ALL, GENERATED, columns, cut, moving, one_of, repainted, stretched

__all__ = [
    "empty_instruction",
    "exact_copy",
    "imbalance",
    "leakage",
    "missing_outcome",
    "mixed_versions",
    "near_copy",
    "no_instruction",
    "no_variance",
    "odd_characters",
    "open_intervention",
    "outlier",
    "outside",
    "placeholder",
    "session_drift",
    "shared_instruction",
    "similar_instruction",
    "success_with_reason",
]

PLACEHOLDERS = ("TODO", "task", "{task}", "test", "n/a", "do the task", "<instruction>", "tbd", "xxx", "...", "task 3")
GROUPED = (*GENERATED, "g1")


def _told(case: Case, text: str) -> Case:
    """The same with another task instruction."""
    kept = [i for i in case.recording.instructions if i.kind != "task"]
    return case.with_recording(instructions=(Instruction(text=text), *kept))


def _text(case: Case) -> str:
    return next((i.text for i in case.recording.instructions if i.kind == "task"), "")


@fault("labels.instruction", (1, 1, 1), ALL)
def no_instruction(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """There is no task instruction."""
    return case.with_recording(instructions=tuple(i for i in case.recording.instructions if i.kind != "task"))


@fault("labels.instruction", (1, 3, 8), ALL)
def empty_instruction(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The instruction is so many blanks."""
    return _told(case, "".join(one_of((" ", "\t", "\n", "\u00a0"), rng) for _ in range(int(level))))


@fault("labels.placeholder", (1, 1, 1), ALL)
def placeholder(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """What people write where nobody wrote an instruction."""
    return _told(case, one_of(PLACEHOLDERS, rng))


@fault("labels.odd_characters", (1, 2, 3), ALL)
def odd_characters(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many control characters, or UTF-8 that was read as Latin-1."""
    text = _text(case)
    for _ in range(int(level)):
        at = int(rng.integers(1, max(2, len(text))))
        odd = one_of(("\x00", "\x1b", "\x07", "é".encode().decode("latin-1"), "’".encode().decode("latin-1")), rng)
        text = text[:at] + odd + text[at:]
    return _told(case, text)


def _typing_error(text: str, rng: np.random.Generator) -> str:
    letters = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
    at = one_of(letters, rng)
    other = text[at + 1] + text[at] if text[at] != text[at + 1] else text[at]
    return one_of(
        (text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:], text[:at] + other + text[at + 2 :]), rng
    )


@group_fault("labels.similar_spellings", (1, 2, 3), GROUPED, num_tasks=1)
def similar_instruction(group: Sequence[Case], index: int, level: float, rng: np.random.Generator) -> Injection | None:
    """One instruction has so many typing errors; others of the group have it without."""
    text = _text(group[index])
    if sum(_text(c) == text for c in group) < 3:
        return None
    for _ in range(int(level)):
        text = _typing_error(text, rng)
    return {index: _told(group[index], text)} if text != _text(group[index]) else None


@group_fault("labels.many_behaviours", (1, 1, 1), GENERATED, is_whole=True, num_tasks=2)
def shared_instruction(
    group: Sequence[Case],
    index: int,
    level: float,
    rng: np.random.Generator,
) -> Injection | None:
    """Two behaviours have the same instruction."""
    text = _text(group[index])
    return {i: _told(c, text) for i, c in enumerate(group) if _text(c) != text}


@fault("labels.contradiction", (1, 1, 1), ALL)
def success_with_reason(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Success, with a reason of failure."""
    reason = one_of(("dropped the object", "missed the grasp", "the gripper slipped", "timeout", "collision"), rng)
    kept = tuple(o for o in case.recording.outcomes if o.kind not in {"success", "failure"})
    return case.with_recording(outcomes=(*kept, Outcome(kind="success", reason=reason)))


def _last_ns(case: Case) -> int:
    """The last stamp that can be a step's."""
    return max(int(s.time_ns[-1]) + case.mapping.streams[n].offset_ns for n, s in case.recording.streams.items())


@fault("labels.outside", (0.5, 5, 3600), ALL)
def outside(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """A marker begins so many s after the episode's end."""
    begin = _last_ns(case) + round(level * 1e9)
    if rng.random() < 0.5:
        extra = Outcome(kind="intervention", time_ns=begin, end_ns=begin + 10**9)
        return case.with_recording(outcomes=(*case.recording.outcomes, extra))
    late = Instruction(text="move away", kind="subtask", time_ns=begin)
    return case.with_recording(instructions=(*case.recording.instructions, late))


@fault("labels.open_intervention", (1, 2, 3), ALL)
def open_intervention(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many interventions begin and never end."""
    stream = case.recording.streams[case.measured[0]]
    begins = [int(stream.time_ns[int(rng.uniform(0.2, 0.8) * len(stream.time_ns))]) for _ in range(int(level))]
    extra = [Outcome(kind="intervention", time_ns=t) for t in sorted(begins)]
    return case.with_recording(outcomes=(*case.recording.outcomes, *extra))


@fault("labels.missing_outcome", (1, 1, 1), GENERATED)
def missing_outcome(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """No outcome, where all others have one."""
    kept = tuple(o for o in case.recording.outcomes if o.kind not in {"success", "failure"})
    return case.with_recording(outcomes=kept)


def _renamed(recording: Recording, place: str) -> Recording:
    return dataclasses.replace(
        recording, recording_id=hashlib.sha256(f"{recording.recording_id} {place}".encode()).hexdigest(), place=place
    )


@group_fault("duplicates.equal_content", (1, 1, 1), ALL)
def exact_copy(
    group: Sequence[Case],
    index: int,
    level: float,
    rng: np.random.Generator,
) -> Injection | None:
    """An episode is there twice, under two names."""
    case = group[index]
    return {len(group): dataclasses.replace(case, recording=_renamed(case.recording, f"copy of {index}"))}


def _copy(case: Case, steps: int, place: str, metadata: dict[str, str]) -> Case:
    """A copy without the first steps, its frames encoded anew."""
    first = max(int(s.time_ns[0]) for s in case.recording.streams.values()) + steps * case.step_ns
    copy = cut(case, lambda time: time >= first)
    for camera in copy.cameras:
        if copy.camera(camera).video is None:
            copy = repainted(copy, camera, lambda image, _: image, quality=80)
    recording = dataclasses.replace(_renamed(copy.recording, place), metadata={**copy.recording.metadata, **metadata})
    return dataclasses.replace(copy, recording=recording)


COPIED = (*GENERATED, "sample", "g1")


@group_fault("duplicates.near_content", (3, 2, 1), COPIED)
def near_copy(
    group: Sequence[Case],
    index: int,
    level: float,
    rng: np.random.Generator,
) -> Injection | None:
    """A copy with so many steps cut off and its frames encoded anew."""
    return {len(group): _copy(group[index], int(level), f"near copy of {index}", {})}


@group_fault("duplicates.across_splits", (3, 2, 0), COPIED)
def leakage(
    group: Sequence[Case],
    index: int,
    level: float,
    rng: np.random.Generator,
) -> Injection | None:
    """Such a copy in another split."""
    case = group[index]
    split = "val" if case.recording.metadata.get("split", "train") != "val" else "train"
    own = case.recording.metadata.get("split", "train")
    changed: dict[int, Case] = {len(group): _copy(case, int(level), f"leaked copy of {index}", {"split": split})}
    if "split" not in case.recording.metadata:
        changed[index] = case.with_recording(metadata={**case.recording.metadata, "split": own})
    return changed


@fault("dataset.outliers", (3, 4, 6), GROUPED, num_tasks=1)
def outlier(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many times as long as the others of its task."""
    return stretched(case, int(level), rng) if all(case.camera(c).video is None for c in case.cameras) else None


@group_fault("dataset.versions", (1, 3, 5), ALL, is_whole=True)
def mixed_versions(
    group: Sequence[Case],
    index: int,
    level: float,
    rng: np.random.Generator,
) -> Injection | None:
    """So many episodes were recorded with the next version of the schema."""
    return {
        i: group[i].with_schema(version=group[i].embodiment.version + 1)
        for i in {(index + k) % len(group) for k in range(min(int(level), len(group) - 1))}
    }


@group_fault("dataset.session_drift", (0.05, 0.1, 0.2), ("joint", "stepped"), is_whole=True)
def session_drift(group: Sequence[Case], index: int, level: float, rng: np.random.Generator) -> Injection | None:
    """A joint's zero is off by so many rad in one of the two sessions."""
    session = group[index].recording.metadata["session"]
    name = group[index].measured[0]
    column, sign = one_of(columns(group[index], name), rng), one_of((-1.0, 1.0), rng)
    changed = {}
    for i, case in enumerate(group):
        if case.recording.metadata["session"] == session:
            values = case.numbers(name)
            values[:, column] += sign * level
            changed[i] = case.with_values(name, values)
    return changed


def _more(facts: Sequence[EpisodeFacts], level: float) -> list[EpisodeFacts]:
    """So many episodes of one task for each of another."""
    texts = sorted({f.instruction for f in facts})
    rare = [f for f in facts if f.instruction != texts[0]][:1]
    many = [f for f in facts if f.instruction == texts[0]]
    copies = [
        dataclasses.replace(
            many[k % len(many)],
            episode_id=hashlib.sha256(f"{k}".encode()).hexdigest()[:32],
            recording_id=hashlib.sha256(f"r{k}".encode()).hexdigest(),
            content_digest=hashlib.sha256(f"c{k}".encode()).hexdigest(),
            place=f"demo_{k:04d}.mcap",
        )
        for k in range(int(level) * len(rare))
    ]
    return [*rare, *copies]


@group_fault("dataset.imbalance", (20, 50, 200), GENERATED, is_whole=True, num_tasks=2, repeat=_more)
def imbalance(
    group: Sequence[Case],
    index: int,
    level: float,
    rng: np.random.Generator,
) -> Injection | None:
    """One task has so many times as many episodes as another."""
    return {}


@group_fault("dataset.no_variance", (1, 2, 3), ("joint", "stepped", "pose"), is_whole=True)
def no_variance(group: Sequence[Case], index: int, level: float, rng: np.random.Generator) -> Injection | None:
    """So many dimensions have one and the same value in all episodes."""
    case = group[index]
    name = one_of([*case.measured, *case.commands], rng)
    can = moving(case, name, 0.01, (Kind.JOINT_POSITION, Kind.POSITION))
    dead = [int(c) for c in rng.permutation(can)[: int(level)]]
    changed = {}
    for i, other in enumerate(group):
        values = other.numbers(name)
        values[:, dead] = case.stream(name).values[0, dead]
        changed[i] = other.with_values(name, values)
    return changed
