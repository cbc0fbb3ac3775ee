"""Runs the checks over clean groups and over the same groups with one fault each."""

import dataclasses
import hashlib
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml

from vladata.checks import CheckSettings, EpisodeFacts, run_checks, run_dataset_checks
from vladata.errors import SyncError
from vladata.finding import Finding, Severity

from . import real
from .arm import VARIANTS
from .case import Case, episode_of, facts_of
from .catalogue import faults
from .fault import Fault
from .generated import GROUP_SIZE, generate, num_tasks_of, variant_of

__all__ = ["CleanEpisode", "Injected", "Plan", "Results", "known_defects", "run"]

NUM_GROUPS = 32
"""Generated ones, half of them in each half."""
ATTEMPTS = 6
"""How many episodes of a group are tried where one can't have the fault."""
Said = tuple[str, Severity, str]
"""Check, severity, message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One injection."""

    fault: str
    strength: int
    index: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One group, clean and with its injections."""

    variant: str
    number: int
    """Seed of a generated group, or a count."""
    size: int
    members: tuple[int, ...] = ()
    """Of a real family: which of its episodes."""
    dataset: Path | None = None
    jobs: tuple[Job, ...] = ()
    rules: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanEpisode:
    """What was said of an episode without an injected fault."""

    variant: str
    name: str
    said: tuple[Said, ...]
    known: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What came of one injection."""

    fault: str
    variant: str
    strength: int
    name: str
    severity: int
    """The highest at which the check that is meant for it spoke of it; 0: it did not."""
    said: tuple[Said, ...]
    """What else was said that was not said of the clean group."""
    problem: str = ""
    """Why there is no answer: synchronization refused the recording, or the injection crashed."""


@dataclass(slots=True, kw_only=True)
class Results:
    """Of all groups of a half."""

    half: str
    clean: list[CleanEpisode] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    together: dict[str, tuple[int, tuple[Said, ...]]] = field(default_factory=dict)
    """By variant: of all its clean episodes as one dataset, how many, and what the checks of a whole dataset say."""
    skipped: list[str] = field(default_factory=list)
    """Families that are not there, and why."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    half: str = "reporting"
    only: tuple[str, ...] = ()
    """Faults; none: all."""
    families: tuple[str, ...] = ("generated", "sample", "bridge", "g1")
    folder: Path = Path("/tmp")
    """Where real recordings are ingested to."""
    num_groups: int = NUM_GROUPS
    group_size: int = GROUP_SIZE
    rounds: int = 1
    """Injections of each fault and strength into each variant."""
    workers: int = 2
    rules: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _half_of(seed: int, num_groups: int) -> str:
    """By a hash, so that each way of recording has as many groups in both halves."""
    same = [s for s in range(num_groups) if _kind_of(s) == _kind_of(seed)]
    place = sorted(same, key=lambda s: _hash(f"group {s}")).index(seed)
    return "tuning" if place < len(same) // 2 else "reporting"


def _kind_of(seed: int) -> tuple[str, int]:
    return variant_of(seed), num_tasks_of(seed)


def _fits(unit: Unit, fault: Fault, variant: str) -> bool:
    """Whether a group can have a fault."""
    is_real = unit.dataset is not None
    return unit.variant == variant and (is_real or fault.num_tasks in {None, num_tasks_of(unit.number)})


def _units(plan: Plan, results: Results) -> Iterator[Unit]:
    if "generated" in plan.families:
        for seed in range(plan.num_groups):
            if plan.num_groups <= len(VARIANTS) or _half_of(seed, plan.num_groups) == plan.half:
                yield Unit(variant=variant_of(seed), number=seed, size=plan.group_size)
    for family in real.FAMILIES:
        if family.name not in plan.families:
            continue
        if not family.recordings.is_dir():
            results.skipped.append(f"{family.name}: {family.recordings} is not there")
            continue
        dataset = real.prepare(family, plan.folder)
        members = [(_key(c), i) for i, c in enumerate(real.cases(family, dataset))]
        mine = [i for key, i in members if ("tuning", "reporting")[_hash(key[1]) % 2] == plan.half]
        mine.sort(key=lambda i: (members[i][0][0], i))
        count = max(1, round(len(mine) / plan.group_size))
        for number, part in enumerate(np.array_split(mine, count)):
            yield Unit(
                variant=family.name,
                number=number,
                size=len(part),
                members=tuple(int(i) for i in part),
                dataset=dataset,
            )


def _key(case: Case) -> tuple[str, str]:
    """Instruction, and a digest of what was measured: copies of an episode are in the same half."""
    text = next((i.text for i in case.recording.instructions), "")
    return text, hashlib.sha256(case.stream(case.measured[0]).values.tobytes()).hexdigest()


def _with_jobs(units: Sequence[Unit], plan: Plan) -> list[Unit]:
    """Hand out injections to groups, evenly and the same at each run."""
    jobs: dict[int, list[Job]] = {i: [] for i in range(len(units))}
    wanted = [f for n, f in faults().items() if not plan.only or n in plan.only]
    for fault in wanted:
        for variant in fault.on:
            groups = [i for i, u in enumerate(units) if _fits(u, fault, variant)]
            for k in range(3 * plan.rounds if groups else 0):
                seed = _hash(f"{fault.name} {variant} {k} {plan.half}") % 2**32
                where = min(groups, key=lambda i: (len(jobs[i]), _hash(f"{seed} {i}")))
                jobs[where].append(Job(fault=fault.name, strength=k % 3, index=seed % units[where].size, seed=seed))
    return [dataclasses.replace(u, jobs=tuple(jobs[i]), rules=plan.rules) for i, u in enumerate(units)]


def run(plan: Plan, progress: Callable[[int, int], None] | None = None) -> Results:
    """Run all groups of a half."""
    began = time.monotonic()
    results = Results(half=plan.half)
    units = _with_jobs(list(_units(plan, results)), plan)
    facts: dict[str, list[EpisodeFacts]] = {}
    for done, answer in enumerate(_answers(units, plan.workers), start=1):
        results.clean += answer.clean
        results.injected += answer.injected
        facts.setdefault(answer.variant, []).extend(answer.facts)
        if progress is not None:
            progress(done, len(units))
    results.together = {variant: _together(variant, found, plan) for variant, found in facts.items()}
    order = {name: i for i, name in enumerate(faults())}
    results.clean.sort(key=lambda c: (c.variant, c.name))
    results.injected.sort(key=lambda i: (order[i.fault], i.strength, i.variant, i.name))
    results.seconds = time.monotonic() - began
    return results


def _together(variant: str, facts: Sequence[EpisodeFacts], plan: Plan) -> tuple[int, tuple[Said, ...]]:
    ordered = sorted(facts, key=lambda f: f.place)
    said = [_said(f) for f in run_dataset_checks(ordered, settings=CheckSettings(rules=plan.rules))]
    known = known_defects()
    return len(facts), tuple(s for s in said if not _is_known(s, variant, known))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one group."""

    variant: str
    clean: list[CleanEpisode]
    injected: list[Injected]
    facts: list[EpisodeFacts]


def _answers(units: Sequence[Unit], workers: int) -> Iterator[Answer]:
    if workers == 0:
        yield from map(run_unit, units)
        return
    largest_first = sorted(units, key=lambda u: -len(u.jobs))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_unit, u) for u in largest_first]):
            yield future.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One episode that went through the checks."""

    facts: EpisodeFacts
    findings: tuple[Finding, ...]


def _judge(case: Case, settings: CheckSettings) -> _Judged:
    episode = episode_of(case)
    findings = run_checks(episode, settings=settings)
    facts, crashed = facts_of(case, episode, settings)
    return _Judged(facts=facts, findings=(*findings, *crashed))


def run_unit(unit: Unit) -> Answer:
    """Judge a group as it is, then with each of its injections."""
    settings = CheckSettings(rules=unit.rules)
    group = _group(unit)
    judged = [_judge(case, settings) for case in group]
    together = run_dataset_checks([j.facts for j in judged], settings=settings)
    known = known_defects()
    clean = []
    for case, one in zip(group, judged, strict=True):
        said = [_said(f) for f in one.findings]
        said += [_said(f) for f in together if _concerns(f, one.facts.episode_id)]
        expected = [s for s in said if _is_known(s, unit.variant, known)]
        clean.append(
            CleanEpisode(
                variant=unit.variant,
                name=case.name,
                said=tuple(s for s in said if s not in expected),
                known=tuple(expected),
            )
        )
    place = _Place(unit=unit, group=group, judged=judged, together=together, settings=settings)
    injected = [i for job in unit.jobs if (i := place.inject(job)) is not None]
    return Answer(variant=unit.variant, clean=clean, injected=injected, facts=[j.facts for j in judged])


def _group(unit: Unit) -> list[Case]:
    if unit.dataset is None:
        return generate(unit.number, unit.size)
    family = next(f for f in real.FAMILIES if f.name == unit.variant)
    wanted = set(unit.members)
    by_place = {i: c for i, c in enumerate(real.cases(family, unit.dataset)) if i in wanted}
    return [by_place[i] for i in unit.members]


def _said(finding: Finding) -> Said:
    return finding.check, finding.severity, finding.message


def _concerns(finding: Finding, episode_id: str) -> bool:
    """Whether a finding about the group blames an episode; one that names none blames all."""
    if finding.episode_id:
        return finding.episode_id == episode_id
    return not finding.others or episode_id in finding.others


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A group that faults are put into."""

    unit: Unit
    group: list[Case]
    judged: list[_Judged]
    together: list[Finding]
    settings: CheckSettings

    def inject(self, job: Job) -> Injected | None:
        fault = faults()[job.fault]
        try:
            return self._inject(fault, job)
        except SyncError as error:
            return self._answer(fault, job, problem=f"refused: {error}")
        except Exception as error:  # noqa: BLE001 - one injection that crashes must not end the others
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"crashed: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            return self._answer(fault, job, problem=text)

    def _answer(self, fault: Fault, job: Job, problem: str) -> Injected:
        return Injected(
            fault=fault.name,
            variant=self.unit.variant,
            strength=job.strength,
            name=self.group[job.index].name,
            severity=0,
            said=(),
            problem=problem,
        )

    def _inject(self, fault: Fault, job: Job) -> Injected | None:
        changed, index = None, job.index
        for attempt in range(min(ATTEMPTS, len(self.group))):
            index = (job.index + attempt) % len(self.group)
            rng = np.random.default_rng([job.seed, attempt])
            changed = fault.inject(self.group, index, fault.levels[job.strength], rng)
            if changed is not None:
                break
        if changed is None:
            return None
        return self._result(fault, job, index, {i: _judge(c, self.settings) for i, c in changed.items()})

    def _result(self, fault: Fault, job: Job, index: int, new: Mapping[int, _Judged]) -> Injected:
        total = max([len(self.group), *(i + 1 for i in new)])
        judged = [new.get(i) or self.judged[i] for i in range(total)]
        facts: Sequence[EpisodeFacts] = [j.facts for j in judged]
        if fault.repeat is not None:
            facts = fault.repeat(facts, fault.levels[job.strength])
        same = [self.judged[i if i < len(self.group) else index] for i in new]
        before = {_said(f) for j in same for f in j.findings} | {_said(f) for f in self.together}
        culprits = {j.facts.episode_id for j in new.values()}
        found = [f for j in new.values() for f in j.findings]
        found += run_dataset_checks(facts, settings=self.settings)
        fresh = [f for f in found if _said(f) not in before]
        hits = [f for f in fresh if f.check == fault.check and (fault.is_whole or _names(f, culprits))]
        others = sorted({_said(f) for f in fresh if f.check != fault.check}, key=lambda s: (-s[1], s[0], s[2]))
        mine = sorted({_said(f) for f in fresh if f.check == fault.check})
        return Injected(
            fault=fault.name,
            variant=self.unit.variant,
            strength=job.strength,
            name=self.group[index].name,
            severity=max((int(f.severity) for f in hits), default=0),
            said=(*mine, *others),
        )


def _names(finding: Finding, culprits: set[str]) -> bool:
    if finding.episode_id:
        return finding.episode_id in culprits
    return bool(culprits & set(finding.others))


Known = Sequence[Mapping[str, str]]


def known_defects() -> Known:
    """Defects that clean recordings really have."""
    loaded = yaml.safe_load(Path(__file__).with_name("known.yaml").read_text())
    return [{str(k): str(v) for k, v in entry.items()} for entry in loaded]


def _is_known(said: Said, variant: str, known: Known) -> bool:
    return any(
        entry["variant"] == variant and entry["check"] == said[0] and re.search(entry["message"], said[2])
        for entry in known
    )
