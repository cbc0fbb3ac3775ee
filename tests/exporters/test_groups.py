"""No session and no near copy on both sides of a split; verification finds where one is."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vladata.episode import Episode
from vladata.exporters._groups import Grouping, group_episodes
from vladata.exporters._labels import LabelUnit, read_labels
from vladata.exporters.huggingface import ExportOptions, export, plan, verify
from vladata.recording import Instruction, Outcome
from vladata.store.catalog import entry_of
from vladata.store.dataset import Dataset
from vladata.testing.builders import build_embodiment, build_episode

MakeDataset = Callable[..., Dataset]
HALVES = {"train": 0.5, "validation": 0.5}
SPLIT = ExportOptions(splits=HALVES, cameras=())


def split_of(out: Path) -> dict[str, str]:
    """Split of each episode by its place."""
    return {e["place"]: e["split"] for e in json.loads((out / "manifest.json").read_text())["episodes"]}


def exported(dataset: Dataset, out: Path, **options: Any) -> dict[str, str]:
    export(dataset, out, dataclasses.replace(SPLIT, **options), workers=0)
    return split_of(out)


def said(**metadata: str) -> dict[str, Any]:
    return {"draft": {"metadata": metadata}}


def sides(splits: dict[str, str], places: Sequence[str]) -> set[str]:
    return {splits[p] for p in places}


@dataclass(frozen=True)
class InMemory:
    """Stands for the file of an episode."""

    episode: Episode

    def read(self) -> Episode:
        return self.episode


def grouped(knobs: Sequence[dict[str, Any]], by: Sequence[str] = ("near_duplicate",)) -> Grouping:
    embodiment = build_embodiment(cameras=())
    made = [build_episode(embodiment, **{"place": f"demo_{n:03d}", "seed": n, **own}) for n, own in enumerate(knobs)]
    units = [LabelUnit(source=InMemory(e), wants_features=True) for e in made]  # type: ignore[arg-type]
    entries = [entry_of(e, file="", num_bytes=0, sha256="") for e in made]
    return group_episodes(entries, [read_labels(unit) for unit in units], by)


def noise(values: np.ndarray) -> np.ndarray:
    return values + np.random.default_rng(0).normal(0, 1e-3, values.shape)


COPIES: dict[str, dict[str, Any]] = {
    "noise": {"values": {"arm": noise}},
    "trimmed": {"duration_s": 2.4},
    "resampled": {"rates_hz": {"arm": 50.0}},
    "other labels": {"instructions": (Instruction(text="another one"),), "outcomes": (Outcome(kind="failure"),)},
}


class TestPlanted:
    """Thirty episodes; the fourth is planted once more."""

    @pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
    def test_a_near_copy_is_in_the_group_of_the_other(self, copy: dict[str, Any]) -> None:
        knobs: list[dict[str, Any]] = [{"duration_s": 3.0} for _ in range(30)]
        knobs = [{"seed": n, **k} for n, k in enumerate([*knobs, {"duration_s": 3.0, "seed": 3, **copy}])]
        found = grouped(knobs)
        assert found.groups[30] == found.groups[3]
        assert found.num_groups == 30
        assert grouped(knobs[::-1]).groups == found.groups[::-1]

    def test_without_the_rule_they_are_two_groups(self) -> None:
        assert grouped([{"duration_s": 3.0}, {"duration_s": 2.4, "seed": 0}], ()).num_groups == 2
        assert grouped([{"duration_s": 3.0}, {"duration_s": 2.4, "seed": 0}]).num_groups == 1

    def test_a_near_copy_is_in_the_split_of_the_other_and_counted(
        self, make_dataset: MakeDataset, tmp_path: Path
    ) -> None:
        episodes: list[dict[str, Any]] = [{"duration_s": 3.0} for _ in range(6)]
        dataset = make_dataset(*episodes, {"seed": 3, "place": "copy.mcap", "duration_s": 2.4}, cameras=())
        for seed in range(3):
            splits = exported(dataset, tmp_path / "out", seed=seed)
            assert splits["copy.mcap"] == splits["demo_003.mcap"]
            assert set(splits.values()) == set(HALVES)
        line = "groups that never part: 6 of 7 episodes, the largest of 2; joined by near_duplicate: 2 episodes"
        assert line in plan(dataset, SPLIT, workers=0).lines()
        assert line in (tmp_path / "out/README.md").read_text()
        grouping = json.loads((tmp_path / "out/manifest.json").read_text())["grouping"]
        assert grouping == {"groups": 6, "largest": 2, "joined": {"near_duplicate": 2}, "not_said": {"session": 7}}


class TestSessions:
    @pytest.mark.parametrize("seed", range(3))
    def test_a_session_is_never_on_both_sides(self, make_dataset: MakeDataset, tmp_path: Path, seed: int) -> None:
        days = [said(session=f"day {number % 5}") for number in range(15)]
        splits = exported(make_dataset(*days, {}, {}, cameras=()), tmp_path / "out", seed=seed)
        for day in range(5):
            assert len(sides(splits, [f"demo_{n:03d}.mcap" for n in range(15) if n % 5 == day])) == 1
        assert set(splits.values()) == set(HALVES)

    def test_sessions_and_scenes_join_over_each_other(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        """Monday's scene is used again on Tuesday, and Tuesday's operator comes again on Wednesday."""
        chain = [
            said(session="monday", scene="kitchen"),
            said(session="tuesday", scene="kitchen", operator="ben"),
            said(session="wednesday", operator="ben"),
        ]
        dataset = make_dataset(*chain, *(said(session=f"other {k}") for k in range(3)), cameras=())
        for seed in range(2):
            by = ("session", "scene", "operator")
            splits = exported(dataset, tmp_path / f"out{seed}", seed=seed, group_by=by)
            assert len(sides(splits, ["demo_000.mcap", "demo_001.mcap", "demo_002.mcap"])) == 1

    def test_who_does_not_say_is_a_group_of_its_own_and_counted(self, make_dataset: MakeDataset) -> None:
        dataset = make_dataset(said(session="monday"), said(session="monday"), {}, {}, cameras=())
        planned = plan(dataset, SPLIT, workers=0)
        assert planned.groups["groups"] == 3
        assert "session not said: 2 episodes, each a group of its own" in planned.lines()

    def test_one_session_is_one_split_and_the_empty_one_is_told(
        self, make_dataset: MakeDataset, tmp_path: Path
    ) -> None:
        dataset = make_dataset(*[said(session="monday")] * 4, cameras=())
        result = export(dataset, tmp_path / "out", SPLIT, workers=0)
        assert set(result.splits) == {"train"}
        assert "split validation is empty; there are 1 groups of episodes that never part" in result.notes


class TestStrata:
    def test_tasks_and_outcomes_are_on_both_sides(self, make_dataset: MakeDataset, tmp_path: Path) -> None:
        tasks = [Instruction(text=f"task {n % 3}") for n in range(12)]
        kinds = ["success" if n < 6 else "failure" for n in range(12)]
        dataset = make_dataset(
            *({"instructions": (t,), "outcomes": (Outcome(kind=k),)} for t, k in zip(tasks, kinds, strict=True)),  # type: ignore[arg-type]
            cameras=(),
        )
        planned = plan(dataset, SPLIT, workers=0)
        assert set(planned.strata) == {f"task {n} / {k}" for n in range(3) for k in ("success", "failure")}
        assert all(counts == {"train": 1, "validation": 1} for counts in planned.strata.values())
        exported(dataset, tmp_path / "out")
        card = (tmp_path / "out/README.md").read_text()
        assert "| task / outcome | `train` | `validation` |" in card
        assert "| task 0 / failure | 1 | 1 |" in card


def test_verification_finds_a_group_in_two_splits(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(*[said(session="monday")] * 2, {}, {}, cameras=())
    out = tmp_path / "out"
    exported(dataset, out)
    assert verify(out, dataset.path, workers=0).problems == ()
    manifest = json.loads((out / "manifest.json").read_text())
    by_split = {e["split"]: e for e in manifest["episodes"]}
    by_split["validation"]["group"] = by_split["train"]["group"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    (problem,) = verify(out, dataset.path, workers=0).problems
    assert by_split["train"]["group"] in problem
    assert "in train and validation" in problem or "in validation and train" in problem
