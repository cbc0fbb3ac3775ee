"""Steps at which nothing moves are no rows, but stay in the chunks before them; too many of them are an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vladata.episode import Episode
from vladata.errors import ExportError
from vladata.exporters._options import IdleOptions
from vladata.exporters._rows import EpisodeRows, Layout, rows_of
from vladata.exporters.huggingface import ExportOptions, export, plan, verify
from vladata.recording import Instruction
from vladata.store.dataset import Dataset
from vladata.testing.builders import MARGIN_S, RATES_HZ, build_embodiment, build_episode
from vladata.units import Mode

H = 4
EMBODIMENT = build_embodiment(cameras=())
ALL = IdleOptions()


def hold(rate_hz: float, *spans: tuple[float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """Values that stay as they are at the begin of each span of seconds, and run on from there."""

    def change(values: np.ndarray) -> np.ndarray:
        index = np.arange(len(values))
        for start, stop in spans:
            a, b = (round((s + MARGIN_S) * rate_hz) for s in (start, stop))
            index[a:b] = index[a]
            index[b:] -= b - a  # no leap where the motion goes on
        return values[np.maximum(index, 0)]

    return change


def pausing(*spans: tuple[float, float], signals: tuple[str, ...] = ("arm", "command"), **knobs: Any) -> dict[str, Any]:
    """An episode of 5 s; a span that begins before 0 takes what was recorded before the first step as well."""
    changes = {name: hold(RATES_HZ[name], *spans) for name in signals}
    return {"values": changes, "duration_s": 5.0, **knobs}


def made(episode: Episode, idle: IdleOptions | None = ALL, **options: Any) -> EpisodeRows:
    return rows_of(episode, Layout.build(episode.embodiment, ExportOptions(horizon=H, idle=idle, **options)))


def missing(rows: EpisodeRows) -> list[int]:
    return sorted(set(range(51)) - set(rows.step.tolist()))


HEAD, MIDDLE, TAIL = (-MARGIN_S, 1.0), (2.0, 3.0), (4.2, 5.0 + MARGIN_S)


def test_head_middle_and_tail_are_no_rows() -> None:
    rows = made(build_episode(EMBODIMENT, **pausing(HEAD, MIDDLE, TAIL)))
    assert set(rows.refused) == {f"nothing moves ({part})" for part in ("head", "middle", "tail")}
    steps = missing(rows)
    # The last tenth of a second before a motion stays, for it may hold its onset.
    assert set(steps) <= {*range(11), *range(20, 31), *range(41, 51)}
    assert set(steps) >= {*range(8), *range(22, 28), *range(44, 51)}
    assert rows.idle == {"put the cube into the bin": len(steps)}


@pytest.mark.parametrize("part", ["head", "middle", "tail"])
def test_each_part_can_be_dropped_by_itself(part: Any) -> None:
    episode = build_episode(EMBODIMENT, **pausing(HEAD, MIDDLE, TAIL))
    assert set(made(episode, IdleOptions(drop=(part,))).refused) == {f"nothing moves ({part})"}


def test_short_pauses_stay() -> None:
    episode = build_episode(EMBODIMENT, **pausing(MIDDLE))
    assert missing(made(episode, IdleOptions(seconds=0.9)))
    assert missing(made(episode, IdleOptions(seconds=1.5))) == []
    assert missing(made(episode, None)) == []


def test_time_is_not_cut_out_of_chunks() -> None:
    """A row before a pause has the pause as its targets."""
    episode = build_episode(EMBODIMENT, **pausing(MIDDLE))
    with_idle, without = made(episode), made(episode, None)
    assert len(with_idle) < len(without)
    rows = [without.step.tolist().index(s) for s in with_idle.step.tolist()]
    np.testing.assert_array_equal(with_idle.chunks, without.chunks[rows])
    np.testing.assert_array_equal(with_idle.is_pad, without.is_pad[rows])


def test_a_robot_that_is_told_to_move_or_moves_untold_does_not_rest() -> None:
    for name in ("arm", "command"):
        assert missing(made(build_episode(EMBODIMENT, **pausing(MIDDLE, signals=(name,))))) == []


def test_deltas_rest_where_they_are_zero() -> None:
    (command,) = EMBODIMENT.action
    dimensions = tuple(
        d.model_copy(update={"mode": Mode.DELTA, "limits": None}) if d.name != "gripper" else d
        for d in command.dimensions
    )
    embodiment = EMBODIMENT.model_copy(update={"action": (command.model_copy(update={"dimensions": dimensions}),)})

    def deltas(values: np.ndarray) -> np.ndarray:
        held = hold(RATES_HZ["command"], MIDDLE)(values)
        joints = np.diff(held[:, :-1], axis=0, append=held[-1:, :-1])
        return np.column_stack([joints, held[:, -1]])

    knobs = pausing(MIDDLE)
    knobs["values"]["command"] = deltas
    steps = missing(made(build_episode(embodiment, **knobs)))
    assert set(steps) <= set(range(20, 31))
    assert set(steps) >= set(range(22, 28))


def test_thresholds_are_those_of_the_schema_s_checks_or_the_recipe_s() -> None:
    rules = {"motion.idle_share": {"angle": 5.0, "part": 5.0}}
    lax = EMBODIMENT.model_copy(update={"checks": rules})
    moving = pausing()
    assert missing(made(build_episode(EMBODIMENT, **moving))) == []
    assert len(missing(made(build_episode(lax, **moving)))) == 51
    assert missing(made(build_episode(lax, **moving), IdleOptions(angle=0.01, part=0.02))) == []


def test_an_episode_too_short_to_judge_loses_nothing() -> None:
    rows = made(build_episode(EMBODIMENT, duration_s=0.5))
    assert (rows.idle, rows.refused) == (None, {})


class TestExport:
    def dataset(self, make_dataset: Callable[..., Dataset]) -> Dataset:
        still = pausing((1.0, 4.0), instructions=(Instruction(text="wait"),))
        return make_dataset(still, pausing(MIDDLE), pausing(), cameras=())

    def options(self, **idle: Any) -> ExportOptions:
        return ExportOptions(horizon=H, splits={"train": 1.0}, idle=IdleOptions(**idle))

    def test_the_plan_shows_what_goes_by_task_and_episode(self, make_dataset: Callable[..., Dataset]) -> None:
        planned = plan(self.dataset(make_dataset), self.options(), workers=0)
        preview = planned.idle
        assert preview is not None
        assert list(preview.tasks) == ["wait", "put the cube into the bin"]
        assert [place for place, _, _ in preview.episodes] == ["demo_000.mcap", "demo_001.mcap"]
        assert preview.steps == sum(planned.refused.values()) == sum(preview.tasks.values())
        assert preview.of == 153
        assert planned.to_dict()["idle"] == {**preview.to_dict(), "share": preview.steps / 153, "is_beyond": False}
        lines = planned.lines()
        assert f"idle: {preview.steps} of 153 steps ({preview.share:.1%}) are no rows" in lines
        assert not any(line.startswith("would be refused") for line in lines)

    def test_more_than_the_limit_is_refused_with_numbers(
        self, make_dataset: Callable[..., Dataset], tmp_path: Path
    ) -> None:
        dataset, out = self.dataset(make_dataset), tmp_path / "out"
        pattern = r"takes \d+ of 153 steps \(2\d\.\d%\); it may take at most 10.0%; the most idle is demo_000.mcap"
        with pytest.raises(ExportError, match=pattern):
            export(dataset, out, self.options(limit=0.1), workers=0)
        assert not out.exists()
        assert any(li.startswith("would be refused: ") for li in plan(dataset, self.options(limit=0.1)).lines())

    def test_what_was_left_out_is_verified(self, make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
        dataset, out = self.dataset(make_dataset), tmp_path / "out"
        result = export(dataset, out, self.options(), workers=0)
        assert result.refused == {"nothing moves (middle)": result.idle}
        assert not result.is_lossy  # it was asked for
        assert verify(out, dataset.path, workers=0).problems == ()
        # Other thresholds are other rows: nothing of the first export is kept.
        again = export(dataset, out, self.options(seconds=1.5), workers=0)
        assert again.kept == 0
        assert sum(again.refused.values()) < sum(result.refused.values())
        assert verify(out, dataset.path, workers=0).problems == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seconds": 0.0}, "idle.seconds is 0; it must be more than 0"),
        ({"limit": 1.5}, "idle.limit is 1.5; it must be a share"),
        ({"angle": float("nan")}, "idle.angle is nan"),
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        IdleOptions(**wrong)  # type: ignore[arg-type]
