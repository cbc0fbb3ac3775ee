"""Recipes: what they stand for, errors with the key's path, and the command line that goes before them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vladata.errors import ExportError, SchemaError
from vladata.exporters._recipe import json_schema
from vladata.exporters.huggingface import ExportOptions, export, plan, read_recipe, verify
from vladata.recording import Outcome
from vladata.store.dataset import Dataset

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA_FILE = ROOT / "docs" / "recipe.schema.json"
SAMPLE = ROOT / "sample_data" / "recipe.yaml"

WHOLE = """
recipe: 1
select: 'success and quality >= 3 and not intervention and task ~ "cup"'
idle: {drop: [head, tail], seconds: 0.7, limit: 0.4, angle: 0.02}
split:
  shares: {train: 0.8, test: 0.2}
  seed: 3
  group_by: [session, operator, scene, near_duplicate]
  stratify_by: [task]
cross: [interventions]
embodiment: test_arm
action: {signals: [command], representation: delta, horizon_s: 0.5, chunk_end: drop, normalization: mean_std}
state: {signals: [arm]}
embodiments:
  test_arm: {normalization: min_max, action: {horizon: 7}, images: {quality: 80}, state: {signals: null}}
tokenizer: {scheme: uniform_bins, num_codes: 64}
vocabulary: {kind: tail, base: models/base, tail_skip: 128, reuse_added: true}
prompt: prompts/do.yaml
images: {cameras: [front], size: 224x320, resize: stretch, quality: 90}
configs:
  executor: {}
  planner: {every_s: 2.0}
  vqa: {per_episode: 4, kinds: [state], external: [{name: llava, path: ../llava, format: llava, share: 0.2}]}
shard_mb: 100
quarantined: include
"""


def read(folder: Path, text: str) -> ExportOptions:
    (folder / "recipe.yaml").write_text(text)
    return read_recipe(folder / "recipe.yaml")


class TestReading:
    def test_every_key_is_an_option(self, tmp_path: Path) -> None:
        options = read(tmp_path, WHOLE)
        assert options.select is not None
        assert (options.splits, options.seed) == ({"train": 0.8, "test": 0.2}, 3)
        assert options.group_by == ("session", "operator", "scene", "near_duplicate")
        assert (options.stratify_by, options.cross, options.embodiment) == (("task",), ("interventions",), "test_arm")
        assert options.idle is not None
        assert (options.idle.drop, options.idle.seconds, options.idle.angle) == (("head", "tail"), 0.7, 0.02)
        assert (options.action, options.proprioception, options.cameras) == (("command",), ("arm",), ("front",))
        assert (options.representation, options.normalization, options.chunk_end) == ("delta", "mean_std", "drop")
        assert (options.image_size, options.resize, options.jpeg_quality) == ((224, 320), "stretch", 90)
        assert (options.tokenizer, options.codec_options) == ("uniform_bins", {"num_codes": 64})
        assert (options.vocabulary, options.tail_skip, options.tail_reuse_added) == ("tail", 128, True)
        assert (options.shard_bytes, options.quarantined) == (100_000_000, "include")
        assert options.planner is not None
        assert (options.planner.every_s, options.planner.prompt) == (2.0, "planner_chat")
        assert options.vqa is not None
        assert (options.vqa.per_episode, options.vqa.kinds) == (4, ("state",))

    def test_paths_are_seen_from_the_recipe_and_stay_out_of_what_is_stored(self, tmp_path: Path) -> None:
        options = read(tmp_path, WHOLE)
        assert options.base_tokenizer == tmp_path / "models/base"
        assert options.prompt == str(tmp_path / "prompts/do.yaml")
        assert options.vqa is not None
        assert options.vqa.external[0].path == tmp_path / "../llava"
        stored = json.dumps(options.to_dict())
        assert "models/base" not in stored
        assert "../llava" not in stored
        assert str(tmp_path) not in stored
        assert options.recipe is not None
        assert options.recipe["tokenizer"] == {"scheme": "uniform_bins", "num_codes": 64}

    def test_what_a_recipe_does_not_say_is_as_without_one(self, tmp_path: Path) -> None:
        assert dataclasses.replace(read(tmp_path, "recipe: 1"), recipe=None) == ExportOptions()

    def test_an_embodiment_can_have_values_of_its_own(self, tmp_path: Path) -> None:
        options = read(tmp_path, WHOLE)
        own = options.resolved("test_arm", 10.0)
        assert (own.normalization, own.horizon, own.jpeg_quality, own.proprioception) == ("min_max", 7, 80, None)
        other = options.resolved("other", 10.0)
        assert (other.normalization, other.horizon, other.jpeg_quality) == ("mean_std", 5, 90)

    @pytest.mark.parametrize(("horizon_s", "rate_hz", "steps"), [(1.0, 5.0, 5), (0.5, 5.0, 2), (0.01, 5.0, 1)])
    def test_a_horizon_in_seconds_is_steps_of_the_rate(self, horizon_s: float, rate_hz: float, steps: int) -> None:
        assert ExportOptions(horizon_s=horizon_s).resolved("arm", rate_hz).horizon == steps

    @pytest.mark.parametrize(("rate_hz", "steps"), [(0.5, 1), (10.0, 10), (50.0, 50), (1000.0, 1000)])
    def test_without_a_horizon_it_is_one_second(self, rate_hz: float, steps: int) -> None:
        options = ExportOptions().resolved("arm", rate_hz)
        assert (options.tokenizer, options.horizon, options.horizon_s) == ("fast_safe", steps, 1.0)
        assert ExportOptions(horizon=3).resolved("arm", rate_hz).horizon == 3

    def test_more_than_a_thousand_steps_are_refused_with_the_way_out(self) -> None:
        message = "horizon_s is 1, 2,000 steps at 2000 Hz; it must be at most 0.5, 1,000 steps: set --horizon-s"
        with pytest.raises(ExportError, match=message):
            ExportOptions().resolved("arm", 2000.0)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"recipe": 2}, "recipe.yaml: recipe: input should be 1, found 2"),
            ({"selection": "success"}, "selection: extra inputs are not permitted"),
            ({"idle": {"parts": ["head"]}}, "idle.parts: extra inputs are not permitted"),
            ({"idle": {"drop": ["top"]}}, "idle.drop.0: input should be 'head', 'tail' or 'middle'"),
            ({"idle": {"limit": 2}}, "idle.limit: input should be less than or equal to 1"),
            ({"select": "success and qualty > 3"}, "select: column 13: no field 'qualty'; did you mean quality?"),
            ({"cross": ["episodes"]}, "cross.0: input should be 'interventions', 'failed_segments' or 'cuts'"),
            ({"action": {"horizon": 3, "horizon_s": 1.0}}, "action: horizon and horizon_s are both given"),
            ({"action": {"horizon": "3"}}, "action.horizon: input should be a valid integer, found '3'"),
            ({"images": {"size": "224"}}, "images.size: must be HEIGHTxWIDTH, for instance 224x224, found '224'"),
            ({"split": {"shares": {"train": "all"}}}, "split.shares.train: input should be a valid number"),
            ({"tokenizer": {"scheme": "fast", "scale": [10]}}, "tokenizer.scale"),
            ({"vocabulary": {"kind": "head"}}, "vocabulary.kind"),
            ({"configs": {"critic": {}}}, "configs.critic: extra inputs are not permitted"),
            ({"embodiments": {"arm": {"horizon": 3}}}, "embodiments.arm.horizon: extra inputs are not permitted"),
        ],
    )
    def test_an_error_names_the_key(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        with pytest.raises(SchemaError) as caught:
            read(tmp_path, yaml.safe_dump({"recipe": 1, **change}))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_values_that_the_export_refuses_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="split 'tr/ain'"):
            read(tmp_path, "recipe: 1\nsplit: {shares: {tr/ain: 1.0}}")


def test_the_published_schema_is_the_one_in_use() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema()


def test_the_examples_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "recipe.md").read_text()
    examples = [part.partition("\n```")[0] for part in text.split("```yaml\n")[1:]]
    assert examples
    for example in examples:
        assert read(tmp_path, example).recipe


class TestExport:
    def test_selected_episodes_are_exported_and_the_others_counted(
        self, make_dataset: Callable[..., Dataset], tmp_path: Path
    ) -> None:
        grades = [1.0, 3.0, 4.0, 5.0, None, 5.0]
        outcomes = [
            (Outcome(kind="success"), *((Outcome(kind="quality", value=g),) if g is not None else ())) for g in grades
        ]
        dataset = make_dataset(*({"outcomes": o} for o in outcomes), cameras=())
        options = read(tmp_path, "recipe: 1\nselect: quality >= 3\naction: {horizon_s: 0.25}")
        out = tmp_path / "out"
        result = export(dataset, out, options, workers=0)
        manifest = json.loads((out / "manifest.json").read_text())
        assert [e["place"][5:8] for e in manifest["episodes"]] == ["001", "002", "003", "005"]
        assert manifest["left_out"] == {"not selected by quality >= 3": 2}
        assert manifest["not_said"] == {"quality": 1}
        assert manifest["options"]["recipe"] == options.recipe
        assert manifest["options"]["horizon"] == 2
        assert "horizon: 0.25 s are 2 steps at 10 Hz, 0.2 s" in result.notes
        card = (out / "README.md").read_text()
        assert "quality not said: 1 episodes" in card
        assert "## Recipe" in card
        assert yaml.safe_load(card.split("```yaml\n")[1].split("```")[0]) == options.recipe
        assert verify(out, dataset.path, workers=0).problems == ()

    def test_nothing_selected_is_an_error_that_says_what_was_not_said(self, dataset: Dataset) -> None:
        with pytest.raises(ExportError, match=r"not selected by quality >= 3: 6 \(quality not said: 6\)"):
            plan(dataset, ExportOptions(select="quality >= 3"), workers=0)

    def test_values_of_one_embodiment_hold_for_its_episodes(
        self, make_dataset: Callable[..., Dataset], tmp_path: Path
    ) -> None:
        text = "recipe: 1\naction: {horizon: 2}\nembodiments: {test_arm: {action: {horizon: 3}}}"
        made = plan(make_dataset({}, {}, cameras=()), read(tmp_path, text), workers=0)
        assert made.horizon == 3
        assert not any("embodiments" in note for note in made.notes)

    def test_values_for_embodiments_of_another_name_are_noted(self, dataset: Dataset, tmp_path: Path) -> None:
        options = read(tmp_path, "recipe: 1\nembodiments: {tset_arm: {normalization: min_max}}")
        said = "embodiments: what the recipe sets for tset_arm is not used; episodes are of test_arm"
        assert said in plan(dataset, options, workers=0).notes
        assert said in export(dataset, tmp_path / "out", options, workers=0).notes

    def test_equal_recipes_give_equal_bytes_with_any_number_of_workers(
        self, dataset: Dataset, tmp_path: Path, digest_of_tree: Callable[[Path], dict[str, str]]
    ) -> None:
        text = "recipe: 1\nselect: success\nidle: {}\nsplit: {group_by: [near_duplicate], stratify_by: [outcome]}"
        options = read(tmp_path, text)
        for workers in (0, 2):
            export(dataset, tmp_path / f"out{workers}", options, workers=workers)
        assert digest_of_tree(tmp_path / "out0") == digest_of_tree(tmp_path / "out2")


class TestCommand:
    def test_the_sample_recipe(self, cli: Any, sample_dataset: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        done = cli("export", sample_dataset, "-o", out, "--recipe", SAMPLE)
        assert done.returncode == 0, done.stderr
        manifest = json.loads((out / "manifest.json").read_text())
        successes = [e.episode_id for e in Dataset.open(sample_dataset).entries if e.outcome == "success"]
        assert [e["episode_id"] for e in manifest["episodes"]] == successes
        assert manifest["options"]["horizon"] == 8
        assert manifest["options"]["recipe"] == yaml.safe_load(SAMPLE.read_text())
        assert manifest["columns"]["cameras"] == ["front"]
        assert cli("verify", out).returncode == 0
        assert "Given beside it" not in (out / "README.md").read_text()
        assert cli("export", sample_dataset, "-o", out, "--recipe", SAMPLE, "--horizon", 2).returncode == 0
        assert "Given beside it, and before what it says: `horizon`, `horizon_s`." in (out / "README.md").read_text()
        assert "session not said: 5 episodes, each a group of its own" in done.stderr

    def test_what_is_given_goes_before_the_recipe(self, cli: Any, sample_dataset: Path, tmp_path: Path) -> None:
        words = ["export", sample_dataset, "-o", tmp_path / "out", "--recipe", SAMPLE, "--dry-run", "--json"]
        by_recipe = json.loads(cli(*words).stdout)
        assert (by_recipe["horizon"], by_recipe["tokens"]["longest"]) == (8, 8 * 7)
        given = json.loads(cli(*words, "--horizon", 2, "--tokenizer", "openvla_bins", "--select", "failure").stdout)
        assert (given["horizon"], given["tokenizer"], given["episodes"]) == (2, "openvla_bins", 1)
        # Also where it is the default of the option.
        given = json.loads(cli(*words, "--horizon", 1, "--split", "train=1").stdout)
        assert (given["horizon"], list(given["splits"])) == (1, ["train"])

    def test_the_dry_run_says_what_would_be_written(self, cli: Any, sample_dataset: Path, tmp_path: Path) -> None:
        words = ["export", sample_dataset, "-o", tmp_path / "out", "--recipe", SAMPLE, "--dry-run"]
        done = cli(*words)
        assert done.returncode == 0, done.stderr
        for text in ("train: ", "tokens: 56.0 per chunk", "task: ", "idle: ", "groups that never part", "stratum: "):
            assert any(line.startswith(text) for line in done.stdout.splitlines()), text
        assert not (tmp_path / "out").exists()
        found = json.loads(cli(*words, "--json").stdout)
        assert sum(found["tasks"].values()) == sum(s["rows"] for s in found["splits"].values())
        assert sum(found["refused"].values()) + sum(found["tasks"].values()) == found["steps"]
        assert found["tokens"]["counted"] == found["tokens"]["chunks"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--select", "succes"], "select: column 1: no field 'succes'; did you mean success?"),
            (["--horizon", 2, "--horizon-s", 1.0], "--horizon and --horizon-s are both given"),
            (["--recipe", "nowhere.yaml"], "nowhere.yaml"),
        ],
    )
    def test_what_can_not_be_is_one_line(
        self, cli: Any, sample_dataset: Path, tmp_path: Path, words: list[Any], message: str
    ) -> None:
        done = cli("export", sample_dataset, "-o", tmp_path / "out", *words)
        assert done.returncode in {1, 2}
        assert len(done.stderr.splitlines()) == 1
        assert message in done.stderr
