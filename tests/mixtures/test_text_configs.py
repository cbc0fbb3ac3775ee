"""Mixtures of exports that have planner and vqa rows, before and after another tokenizer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vladata.errors import ExportError
from vladata.exporters._options import PlannerOptions, VqaOptions
from vladata.exporters._retokenize import retokenize
from vladata.exporters.huggingface import ExportOptions
from vladata.exporters.huggingface import verify as verify_export
from vladata.mixtures.mix import mix, plan
from vladata.mixtures.verify import verify_mixture as verify
from vladata.testing.builders import build_instructions

SUBTASKS = build_instructions("put the cube into the bin", {"reach": 0.0, "grasp": 0.5, "lift": 1.0})


@pytest.fixture
def lines(make_part: Callable[..., Path]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for name, cameras in (("one", ("front",)), ("two", ("top",))):
        options = ExportOptions(
            tokenizer="openvla_bins", horizon=2, planner=PlannerOptions(), vqa=VqaOptions(per_episode=4)
        )
        episodes = [{"seed": 10 * len(cameras[0]) + i, "instructions": SUBTASKS} for i in range(3)]
        part = make_part(name, episodes, options, cameras=cameras, size=(24, 32))
        found.append({"name": name, "export": str(part), "cameras": {cameras[0]: "primary"}})
    return found


def test_rows_of_other_configs_are_named_and_can_be_mixed(
    lines: list[dict[str, object]], recipe: Callable[..., Path], tmp_path: Path
) -> None:
    noted = plan(recipe(*lines), workers=0).notes
    for config in ("planner", "vqa"):
        assert (
            f"rows of config {config} of one, two are not mixed; config: {config} in a recipe makes a mixture of them"
        ) in noted
    plain = [{k: v for k, v in line.items() if k != "cameras"} for line in lines]
    assert "executor" in "".join(plan(recipe(*plain, config="vqa"), workers=0).notes)
    made = mix(recipe(*plain, config="vqa"), tmp_path / "vqa", workers=0)
    assert made.plan.hours is None  # questions are not steps
    assert {p.hours for p in made.plan.parts} == {None}
    assert plan(recipe(*lines), workers=0).hours
    assert list(made.splits) == ["vqa"]
    assert verify(tmp_path / "vqa", workers=0).problems == ()


@pytest.mark.slow
def test_parts_that_got_another_tokenizer_are_mixed_anew(
    lines: list[dict[str, object]], recipe: Callable[..., Path], tmp_path: Path
) -> None:
    path, apart = recipe(*lines), recipe(*lines, layout="apart", name="apart.yaml")
    mix(path, tmp_path / "out", workers=0)
    mix(apart, tmp_path / "apart", workers=0)
    before = [p.read_bytes() for p in sorted((tmp_path / "apart").glob("data/*/*"))]
    for line in lines:
        folder = Path(str(line["export"]))
        done = retokenize(folder, ExportOptions(tokenizer="uniform_bins"), keep_prompt=True, workers=0)
        assert done.copied == 2
        assert f'"content_digest":"{done.content_digest}"' in (folder / "manifest.json").read_text()
        assert verify_export(folder, workers=0).problems == ()
    assert [p.read_bytes() for p in sorted((tmp_path / "apart").glob("data/*/*"))] == before
    assert any("was changed since" in p for p in verify(tmp_path / "apart", workers=0).problems)
    assert mix(path, tmp_path / "out", workers=0).kept == 0
    assert mix(apart, tmp_path / "apart", workers=0).kept == 0
    for name in ("out", "apart"):
        assert verify(tmp_path / name, workers=0).problems == ()
        with pytest.raises(ExportError, match="a mixture; must be an export: retokenize its parts"):
            retokenize(tmp_path / name, ExportOptions(tokenizer="rt1_bins"), workers=0)
