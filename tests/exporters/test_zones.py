"""Chunks end before interventions, failed segments and holes, and rows do not lie in them, unless a recipe says so."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.episode import Episode
from vladata.errors import ExportError
from vladata.exporters._options import CROSSABLE
from vladata.exporters._rows import EpisodeRows, Layout, rows_of
from vladata.exporters.huggingface import ExportOptions, export, verify
from vladata.recording import Outcome
from vladata.store.dataset import Dataset
from vladata.testing.builders import START_NS, build_embodiment, build_episode
from vladata.units import Clock

H = 4
HZ = 10.0
EMBODIMENT = build_embodiment(cameras=(), rate_hz=HZ)


def at(step: float) -> int:
    return START_NS + round(step * 1e9 / HZ)


def made(episode: Episode, **options: Any) -> EpisodeRows:
    return rows_of(episode, Layout.build(EMBODIMENT, ExportOptions(horizon=H, **options)))


def demo(*outcomes: Outcome, **knobs: Any) -> Episode:
    """Twenty steps and one."""
    return build_episode(EMBODIMENT, **{"outcomes": outcomes, "duration_s": 2.0, **knobs})


def reach(rows: EpisodeRows) -> dict[int, int]:
    """How many targets each row has that are not padding."""
    return dict(zip(rows.step.tolist(), (~rows.is_pad).sum(axis=1).tolist(), strict=True))


INTERVENTION = Outcome(kind="intervention", time_ns=at(8), end_ns=at(12))


class TestInterventions:
    def test_no_row_lies_in_one_and_no_chunk_reaches_into_it(self) -> None:
        rows = made(demo(INTERVENTION))
        assert rows.refused == {"inside an intervention": 4}
        assert reach(rows) == {
            **{s: min(H, 8 - s) for s in range(8)},
            **{s: min(H, 21 - s) for s in range(12, 21)},
        }
        assert rows.counts.num_ended_at_cut == 3 + 3  # before it, and of its own steps

    def test_a_recipe_may_cross_them(self) -> None:
        rows = made(demo(INTERVENTION), cross=("interventions",))
        assert rows.refused == {}
        assert reach(rows) == {s: min(H, 21 - s) for s in range(21)}

    def test_an_open_one_holds_to_the_end_and_one_without_time_everywhere(self) -> None:
        assert made(demo(Outcome(kind="intervention", time_ns=at(15)))).step.tolist() == list(range(15))
        assert len(made(demo(Outcome(kind="intervention")))) == 0

    def test_chunks_that_are_dropped_are_counted_by_their_own_reason(self) -> None:
        rows = made(demo(INTERVENTION), chunk_end="drop")
        assert rows.refused == {"inside an intervention": 4, "the chunk is shorter than the horizon": 3 + 3}
        assert set(reach(rows).values()) == {H}


class TestFailedSegments:
    @pytest.mark.parametrize(
        "outcome",
        [
            Outcome(kind="segment", time_ns=at(8), end_ns=at(12), value=0.0),
            Outcome(kind="segment", time_ns=at(8), end_ns=at(12), reason="Failed: slipped"),
            Outcome(kind="failure", time_ns=at(8), end_ns=at(12)),
        ],
    )
    def test_they_are_no_rows(self, outcome: Outcome) -> None:
        rows = made(demo(outcome))
        assert rows.refused == {"inside a failed segment": 4}
        assert reach(rows)[7] == 1
        assert made(demo(outcome), cross=("failed_segments",)).refused == {}

    @pytest.mark.parametrize(
        "outcome",
        [
            Outcome(kind="segment", time_ns=at(8), end_ns=at(12), value=1.0),
            Outcome(kind="segment", time_ns=at(8), end_ns=at(12), reason="grasp"),
            Outcome(kind="failure", time_ns=at(20)),
            Outcome(kind="failure"),
        ],
    )
    def test_a_judgement_of_the_whole_and_a_good_segment_cut_nothing(self, outcome: Outcome) -> None:
        rows = made(demo(outcome))
        assert reach(rows) == {s: min(H, 21 - s) for s in range(21)}


class TestHoles:
    def with_hole(self, **knobs: Any) -> Episode:
        """Steps 10 to 13 are missing."""
        episode = demo(**knobs)
        keep = np.r_[0:10, 14:21]
        steps = episode.steps
        cut = {
            name: {k: v[keep] for k, v in getattr(steps, name).items()}
            for name in ("proprioception", "action", "images", "age_ns", "valid")
        }
        return dataclasses.replace(episode, steps=dataclasses.replace(steps, time_ns=steps.time_ns[keep], **cut))

    def test_a_chunk_ends_before_missing_steps(self) -> None:
        rows = made(self.with_hole())
        assert rows.refused == {}
        assert reach(rows) == {s: min(H, (10 if s < 10 else 17) - s) for s in range(17)}
        assert made(self.with_hole(), cross=("cuts",)).is_pad[9].tolist() == [False] * H

    def test_where_no_time_was_recorded_there_are_none(self) -> None:
        rows = made(self.with_hole(clock=Clock.NOMINAL))
        assert reach(rows)[9] == H

    def test_steps_that_are_all_slow_are_no_holes(self) -> None:
        episode = demo()
        slow = dataclasses.replace(episode.steps, time_ns=START_NS + 5 * (episode.steps.time_ns - START_NS))
        assert reach(made(dataclasses.replace(episode, steps=slow)))[0] == H


spans = st.lists(
    st.tuples(st.sampled_from(["intervention", "failure", "segment"]), st.integers(-3, 23), st.integers(1, 9)),
    max_size=4,
)


@given(spans=spans, cross=st.sets(st.sampled_from(CROSSABLE)), horizon=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_no_target_of_a_chunk_lies_beyond_a_cut(
    spans: list[tuple[Any, int, int]], cross: set[str], horizon: int
) -> None:
    outcomes = [
        Outcome(kind=kind, time_ns=at(start), end_ns=at(start + size), value=0.0 if kind == "segment" else None)
        for kind, start, size in spans
    ]
    options = ExportOptions(horizon=horizon, cross=tuple(sorted(cross)))
    rows = rows_of(demo(*outcomes), Layout.build(EMBODIMENT, options))
    zone = np.zeros(21, dtype=np.int64)
    for number, (kind, start, size) in enumerate(spans, start=1):
        name = "interventions" if kind == "intervention" else "failed_segments"
        if name not in cross:
            zone[max(0, start) : max(0, start + size)] += 1 << number
    for step, count in reach(rows).items():
        assert zone[step] == 0
        assert set(zone[step : step + count].tolist()) == {0}
    assert sum(rows.refused.values()) == np.count_nonzero(zone)


def test_an_export_with_cuts_is_verified_and_counts_them(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = make_dataset({"outcomes": (Outcome(kind="success"), INTERVENTION)}, {}, cameras=())
    out = tmp_path / "out"
    result = export(dataset, out, ExportOptions(horizon=H, splits={"train": 1.0}), workers=0)
    assert result.refused == {"inside an intervention": 4}
    assert verify(out, dataset.path, workers=0).problems == ()
    steps = [r["step_index"] for r in pq.read_table(next(out.glob("data/executor/*"))).to_pylist()]
    assert steps.count(8) == 1  # of the other episode
    crossed = ExportOptions(horizon=H, splits={"train": 1.0}, cross=CROSSABLE)
    assert export(dataset, out, crossed, workers=0).refused == {}
    assert verify(out, dataset.path, workers=0).problems == ()


def test_another_name_is_refused() -> None:
    with pytest.raises(ExportError, match="cross is 'episodes'; it must be interventions or failed_segments or cuts"):
        ExportOptions(cross=("episodes",))
