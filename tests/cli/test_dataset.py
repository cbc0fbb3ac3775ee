"""`ls`, `show`, `edit`, `validate`, `verify`: a dataset from the user's view."""

import json
import re

import cv2
import pytest

import vladata
from vladata.checks import check_names

LS_HEAD = "#  id        recording      steps     s  outcome  instruction"


def rows(cli, dataset, *options):
    done = cli("ls", dataset, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestLs:
    def test_it_lists_every_episode_and_their_sum(self, cli, sample_dataset):
        done = cli("ls", sample_dataset)
        lines = done.stdout.splitlines()
        assert lines[0] == LS_HEAD
        assert [line.split()[2] for line in lines[1:-1]] == [f"demo_00{i}.mcap" for i in range(6)]
        assert lines[4].split()[5] == "failure"
        assert lines[-1].startswith("6 episodes · 448 steps · ")

    def test_json_carries_what_the_catalog_knows(self, cli, sample_dataset):
        found = rows(cli, sample_dataset)
        assert set(found[0]) == {
            *("episode_id", "recording_id", "content_digest", "embodiment", "embodiment_digest", "source", "place"),
            *("split", "num_steps", "duration_s", "num_bytes", "instruction", "outcome", "num_invalid", "file"),
            *("sha256", "in_quarantine"),
        }
        assert [r["num_invalid"] for r in found] == [0, 0, 2, 0, 0, 0]

    def test_an_export_or_a_recording_is_not_listed_but_named(self, cli, sample_recordings):
        done = cli("ls", sample_recordings)
        assert done.returncode == 1
        assert "not a dataset folder; it must hold manifest.json" in done.stderr


class TestShow:
    def test_it_tells_streams_labels_and_origin(self, cli, sample_dataset):
        done = cli("show", sample_dataset, "3")
        assert done.returncode == 0
        text = done.stdout
        assert "recording    demo_003.mcap (mcap)" in text
        assert "steps        57 in 5.60 s" in text
        assert "outcome      failure: the cube slipped out of the gripper at" in text
        assert text.count("\nsubtask ") == 4
        for name in ("joint_position", "joint_velocity", "joint_command", "front", "wrist"):
            assert f"\n{name}" in text

    def test_json_says_the_same(self, cli, sample_dataset):
        facts = json.loads(cli("show", sample_dataset, "demo_002.mcap", "--json").stdout)
        assert set(facts) == {
            *("episode_id", "recording_id", "content_digest", "embodiment", "source", "place", "steps", "duration_s"),
            *("streams", "derived_actions", "instructions", "outcomes", "metadata", "notes"),
        }
        wrist = next(s for s in facts["streams"] if s["name"] == "wrist")
        assert wrist["invalid"] == 2

    @pytest.mark.parametrize("name", ["0", "demo_000.mcap", "id"])
    def test_an_episode_is_found_by_number_recording_and_id(self, cli, sample_dataset, name):
        first = rows(cli, sample_dataset)[0]["episode_id"]
        done = cli("show", sample_dataset, first[:6] if name == "id" else name)
        assert done.stdout.splitlines()[0] == f"episode      {first}"

    def test_an_unknown_episode_is_an_error_that_tells_how(self, cli, sample_dataset):
        for name in ("17", "demo_9", "zz"):
            done = cli("show", sample_dataset, name)
            assert done.returncode == 1
            assert f"no episode {name!r}" in done.stderr
            assert "vladata ls shows them" in done.stderr

    def test_the_contact_sheet_shows_six_moments_of_each_camera(self, cli, sample_dataset, tmp_path):
        path = tmp_path / "sheet.png"
        done = cli("show", sample_dataset, "0", "--contact-sheet", path)
        assert done.returncode == 0
        assert f"wrote {path}" in done.stderr
        sheet = cv2.imread(str(path))
        assert sheet.shape[1] >= 6 * 160
        assert sheet.shape[0] >= 2 * 120
        # Each tile is the camera's frame of its moment, enlarged.
        episode = vladata.open(sample_dataset)[0]
        height, width = sheet.shape[0] // 2, sheet.shape[1] // 6
        for row, camera in enumerate(("front", "wrist")):
            for column in range(6):
                tile = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
                frame = episode[round(column * (len(episode) - 1) / 5)].images[camera]
                middle = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), (213, 160))[30:-30, 30:-30]
                assert cv2.minMaxLoc(cv2.matchTemplate(tile, middle, cv2.TM_CCOEFF_NORMED))[1] > 0.95


class TestEdit:
    def test_a_relabel_is_seen_everywhere_and_undone_without_trace(self, cli, dataset, digest_of_tree):
        before = rows(cli, dataset)
        files = digest_of_tree(dataset)
        done = cli("edit", "relabel", dataset, "0", "lift the red cube", "--author", "anna")
        assert done.returncode == 0
        assert "undo: vladata edit undo" in done.stdout
        assert rows(cli, dataset)[0]["instruction"] == "lift the red cube"
        assert "lift the red cube" in cli("show", dataset, "0").stdout
        assert vladata.open(dataset)[0].instruction == vladata.open(dataset)[0][0].instruction == "lift the red cube"
        assert {k: v for k, v in digest_of_tree(dataset).items() if k != "edits.jsonl"} == files
        assert cli("edit", "undo", dataset, "1").returncode == 0
        assert rows(cli, dataset) == before
        assert cli("edit", "undo", dataset, "2").returncode == 0  # an undo can be undone
        assert rows(cli, dataset)[0]["instruction"] == "lift the red cube"

    def test_a_mark_replaces_the_outcome(self, cli, dataset):
        assert cli("edit", "mark", dataset, "0", "failure", "--reason", "too slow").returncode == 0
        assert rows(cli, dataset)[0]["outcome"] == "failure"
        assert "outcome      failure: too slow" in cli("show", dataset, "0").stdout
        assert cli("edit", "mark", dataset, "0", "reward", "--value", "0.5", "--start", "1").returncode == 0
        assert "outcome      reward 0.5 at 1.00 s" in cli("show", dataset, "0").stdout
        assert rows(cli, dataset)[0]["outcome"] == "failure"

    def test_a_trim_cuts_steps_and_keeps_the_file(self, cli, dataset):
        full = vladata.open(dataset)[0]
        done = cli("edit", "trim", dataset, "0", "--start", "1.0", "--end", "5.05")
        assert done.returncode == 0
        trimmed = vladata.open(dataset)[0]
        seconds = (full.steps.time_ns - full.steps.time_ns[0]) / 1e9
        kept = [t for t, s in zip(full.steps.time_ns, seconds, strict=True) if 1.0 <= s < 5.05]
        assert trimmed.steps.time_ns.tolist() == kept
        assert rows(cli, dataset)[0]["num_steps"] == len(kept)
        # A second trim counts from the first step that is left.
        assert cli("edit", "trim", dataset, "0", "--start", "1.0").returncode == 0
        assert vladata.open(dataset)[0].steps.time_ns[0] >= kept[0] + 10**9
        assert cli("verify", dataset).returncode == 0

    def test_a_trim_that_leaves_nothing_is_refused_and_not_noted(self, cli, dataset):
        done = cli("edit", "trim", dataset, "0", "--start", "99")
        assert done.returncode == 1
        assert "leaves no step" in done.stderr
        assert cli("edit", "trim", dataset, "0").returncode == 1
        assert not (dataset / "edits.jsonl").exists()

    def test_a_drop_leaves_the_episode_out_and_its_file_there(self, cli, dataset):
        assert cli("edit", "drop", dataset, "demo_003.mcap", "--reason", "cube fell").returncode == 0
        assert len(rows(cli, dataset)) == len(vladata.open(dataset)) == 5
        assert [r["place"] for r in rows(cli, dataset, "--dropped")] == ["demo_003.mcap"]
        assert cli("ls", dataset).stdout.splitlines()[-1].startswith("5 episodes, 1 dropped · ")
        report = json.loads(cli("validate", dataset, "--fail-on", "never", "--json").stdout)
        assert len(report["episodes"]) == 5
        assert json.loads(cli("verify", dataset, "--json").stdout)["files"] == 6
        assert cli("edit", "undo", dataset, "1").returncode == 0
        assert len(rows(cli, dataset)) == 6

    def test_the_log_tells_who_changed_what(self, cli, dataset):
        cli("edit", "relabel", dataset, "0", "lift the red cube", "--author", "anna")
        cli("edit", "drop", dataset, "1", "--author", "bert")
        cli("edit", "undo", dataset, "1", "--author", "carla")
        lines = cli("edit", "log", dataset).stdout.splitlines()
        assert lines[0].split() == ["#", "edit", "recording", "what", "author", "time", "counts"]
        assert [line.split()[1] for line in lines[1:]] == ["relabel", "drop", "undo"]
        assert [line.split()[-1] for line in lines[1:]] == ["undone", "yes", "yes"]
        assert [line.split()[-3] for line in lines[1:]] == ["anna", "bert", "carla"]
        found = json.loads(cli("edit", "log", dataset, "--json").stdout)
        assert found[0]["previous"] == "put the red cube into the blue bin"

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (["mark", "0", "splendid"], "kind"),
            (["undo", "7"], "no edit 7 to undo"),
            (["relabel", "17", "x"], "no episode '17'"),
        ],
    )
    def test_a_wrong_edit_is_refused_also_when_it_is_only_tried(self, cli, dataset, words, reason):
        for more in ([], ["--dry-run"]):
            done = cli("edit", words[0], dataset, *words[1:], *more)
            assert done.returncode == 1
            assert reason in done.stderr
        assert not (dataset / "edits.jsonl").exists() or not (dataset / "edits.jsonl").read_text()

    def test_what_is_undone_can_not_be_undone_again(self, cli, dataset):
        cli("edit", "relabel", dataset, "0", "x")
        assert cli("edit", "undo", dataset, "1").returncode == 0
        done = cli("edit", "undo", dataset, "1")
        assert done.returncode == 1
        assert "no edit 1 to undo; those that count: 2" in done.stderr

    def test_a_dry_run_writes_nothing(self, cli, dataset, digest_of_tree):
        before = digest_of_tree(dataset)
        for words in (["relabel", "0", "x"], ["mark", "0", "failure"], ["trim", "0", "--start", "1"], ["drop", "0"]):
            done = cli("edit", words[0], dataset, *words[1:], "--dry-run")
            assert done.returncode == 0
            assert done.stdout.startswith(f"would {words[0]}")
        assert digest_of_tree(dataset) == before

    def test_edits_survive_a_new_ingest(self, cli, dataset, sample_recordings):
        assert cli("edit", "relabel", dataset, "0", "lift the red cube").returncode == 0
        assert cli("ingest", sample_recordings, "-s", "sample_arm", "-o", dataset).returncode == 0
        assert rows(cli, dataset)[0]["instruction"] == "lift the red cube"


class TestChecks:
    def test_they_are_listed_with_their_thresholds(self, cli):
        lines = cli("checks").stdout.splitlines()
        assert len(lines) == len(check_names()) + 2
        assert re.search(r"^timing.gaps +warning +periods=1.5", "\n".join(lines), re.MULTILINE)
        assert lines[-1] == f"{len(check_names())} checks; why, how, what to do: docs/checks/"

    def test_a_topic_a_pattern_and_one_check(self, cli):
        rows = json.loads(cli("checks", "timing", "*.finite", "--json").stdout)
        assert {r["check"].partition(".")[0] for r in rows} == {"timing", "values"}
        shown = cli("checks", "timing.gaps").stdout
        assert "A stream's samples follow each other without gaps." in shown
        done = cli("checks", "timing.gap")
        assert (done.returncode, done.stderr) == (
            1,
            "vladata: no check named 'timing.gap'; did you mean 'timing.gaps'?\n",
        )


class TestValidate:
    def test_the_findings_of_the_sample_are_its_dropped_frames(self, cli, sample_dataset):
        done = cli("validate", sample_dataset)
        assert done.returncode == 0
        assert "demo_002.mcap" in done.stdout
        assert done.stdout.splitlines()[-1] == f"6 episodes, {len(check_names())} checks: 0 errors, 3 warnings, 0 info"
        report = json.loads(cli("validate", sample_dataset, "--json").stdout)
        assert {f["check"] for f in report["findings"]} == {"timing.gaps", "structure.invalid_steps"}
        assert set(report) == {"schema_version", "checks", "counts", "episodes", "findings", "thresholds"}

    @pytest.mark.parametrize(("level", "code"), [("info", 4), ("warning", 4), ("error", 0), ("never", 0)])
    def test_the_exit_code_follows_the_level(self, cli, sample_dataset, level, code):
        assert cli("validate", sample_dataset, "--fail-on", level, "--select", "timing").returncode == code

    def test_checks_are_selected_and_ignored_by_name_topic_and_pattern(self, cli, sample_dataset):
        for words, expected in (
            (["--select", "timing.gaps"], {"timing.gaps"}),
            (["--ignore", "timing"], {"structure.invalid_steps"}),
            (["--select", "timing.*", "--ignore", "timing.gaps"], set()),
        ):
            report = json.loads(cli("validate", sample_dataset, "--json", *words).stdout)
            assert {f["check"] for f in report["findings"]} == expected
            assert expected <= set(report["checks"])

    def test_the_number_of_workers_does_not_matter(self, cli, sample_dataset):
        one = cli("validate", sample_dataset, "--json", "--workers", "1").stdout
        assert one == cli("validate", sample_dataset, "--json", "--workers", "3").stdout


class TestVerify:
    def test_a_whole_dataset_is_as_it_was_written(self, cli, sample_dataset):
        done = cli("verify", sample_dataset)
        assert done.returncode == 0
        assert "6 files" in done.stdout
        assert done.stdout.rstrip().endswith("all as it was written")
        found = json.loads(cli("verify", sample_dataset, "--json").stdout)
        assert set(found) == {"files", "bytes", "rows", "problems", "notes"}

    def test_a_flipped_bit_is_4_and_named(self, cli, dataset):
        path = next(dataset.glob("episodes/*/*.h5"))
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 8
        path.write_bytes(data)
        done = cli("verify", dataset)
        assert done.returncode == 4
        assert f"{path.parent.name}/{path.name}: SHA-256 differs" in done.stderr
        assert "problems" in done.stdout
