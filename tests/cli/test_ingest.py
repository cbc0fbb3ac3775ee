"""`ingest`, `inspect` and `schema` from the user's view."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import vladata

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.fixture(scope="module")
def recording(tmp_path_factory, write_recording):
    """A second of the sample arm, without instruction and outcome."""
    labels = {"/instruction", "/outcome", "/subtask"}
    path = tmp_path_factory.mktemp("recording") / "demo.mcap"
    return write_recording(path, lambda t, m, ns: [] if t in labels else [(t, m, ns)], seconds=1)


def ingest(cli, *words, out):
    return cli("ingest", *words, "-s", "sample_arm", "-o", out)


def only(out):
    (episode,) = vladata.open(out)
    return episode


class TestLabels:
    def test_set_gives_what_the_recording_lacks(self, cli, recording, tmp_path):
        words = ["--set", "instruction=lift the cube", "--set", "outcome=failure: too slow", "--set", "operator=p7"]
        assert ingest(cli, recording, *words, out=tmp_path / "out").returncode == 0
        episode = only(tmp_path / "out")
        assert (episode.instruction, episode.outcome) == ("lift the cube", "failure")
        assert episode.outcomes[-1].reason == "too slow"
        assert episode.metadata["operator"] == "p7"
        assert episode.provenance["labels_given"] == {
            "instruction": "lift the cube",
            "outcome": "failure: too slow",
            "operator": "p7",
        }

    def test_what_is_set_goes_before_what_the_recording_says(self, cli, write_recording, tmp_path):
        path = write_recording(tmp_path / "demo.mcap", seconds=1)
        assert ingest(cli, path, "--set", "instruction=lift the cube", out=tmp_path / "out").returncode == 0
        episode = only(tmp_path / "out")
        assert episode.instruction == "lift the cube"
        assert [i.kind for i in episode.instructions].count("subtask") == 1

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (["instruction"], "it must be name=value"),
            (["=x"], "it must be name=value"),
            (["outcome=perhaps"], "it must be success or failure"),
            (["a=1", "a=2"], "given twice"),
        ],
    )
    def test_a_wrong_set_is_refused_before_anything_is_read(self, cli, recording, tmp_path, words, reason):
        done = ingest(cli, recording, *(w for p in words for w in ("--set", p)), out=tmp_path / "out")
        assert done.returncode == 1
        assert reason in done.stderr
        assert not (tmp_path / "out").exists()

    def test_labels_of_a_table_go_to_their_recordings(self, cli, recording, tmp_path):
        other = tmp_path / "other.mcap"
        other.write_bytes(recording.read_bytes())
        table = tmp_path / "labels.csv"
        table.write_text("recording,instruction,outcome\ndemo.mcap,lift the cube,success\nother.mcap,push it,\n")
        words = ["--labels", table, "--set", "operator=p7"]
        assert ingest(cli, recording, other, *words, out=tmp_path / "out").returncode == 0
        found = [(e.instruction, e.outcome, e.metadata["operator"]) for e in vladata.open(tmp_path / "out")]
        assert found == [("lift the cube", "success", "p7"), ("push it", "", "p7")]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (
                "recording,outcome\nnosuch.mcap,success\n",
                "labels for 'nosuch.mcap' name no recording; there are demo.mcap",
            ),
            ("file,outcome\ndemo.mcap,success\n", "columns are file, outcome; one must be 'recording'"),
            ("recording,outcome\ndemo.mcap,well\n", "labels.csv: line 2: outcome is 'well'"),
            ("recording,outcome\ndemo.mcap,success\ndemo.mcap,failure\n", "line 3: demo.mcap comes twice"),
            ("", "columns are none"),
        ],
    )
    def test_a_table_that_does_not_fit_is_refused(self, cli, recording, tmp_path, text, reason):
        (tmp_path / "labels.csv").write_text(text)
        done = ingest(cli, recording, "--labels", tmp_path / "labels.csv", out=tmp_path / "out")
        assert done.returncode == 1
        assert reason in done.stderr
        assert not (tmp_path / "out").exists()

    def test_a_missing_table_is_named(self, cli, recording, tmp_path):
        done = ingest(cli, recording, "--labels", tmp_path / "nosuch.csv", out=tmp_path / "out")
        assert done.returncode == 1
        assert "nosuch.csv" in done.stderr

    def test_labels_for_a_name_that_two_recordings_have_are_refused(self, cli, recording, tmp_path):
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "demo.mcap").write_bytes(recording.read_bytes())
        (tmp_path / "labels.csv").write_text("recording,outcome\ndemo.mcap,success\n")
        words = [tmp_path / "a", tmp_path / "b", "--labels", tmp_path / "labels.csv"]
        done = ingest(cli, *words, out=tmp_path / "out")
        assert done.returncode == 1
        assert "labels for 'demo.mcap' fit 2 recordings" in done.stderr


class TestIngest:
    def test_a_dry_run_lists_and_writes_nothing(self, cli, sample_recordings, tmp_path):
        done = ingest(cli, sample_recordings, "--dry-run", out=tmp_path / "out")
        assert done.returncode == 0
        assert done.stdout.splitlines()[-1].startswith("6 demonstrations, 5.1 MB; nothing was written")
        assert not list(tmp_path.iterdir())
        found = json.loads(ingest(cli, sample_recordings, "--dry-run", "--json", out=tmp_path / "out").stdout)
        assert [d["place"] for d in found["demonstrations"]] == [f"demo_00{i}.mcap" for i in range(6)]

    def test_the_age_of_the_samples_at_the_steps_is_printed_and_stored(self, cli, sample_recordings, tmp_path):
        path = sample_recordings / "demo_003.mcap"
        done = ingest(cli, path, "--json", out=tmp_path / "out")
        (episode,) = json.loads(done.stdout)["episodes"]
        assert episode["skew_ms"]["front"] == {"p50": 0.0, "p95": 0.0, "max": 0.0}
        assert 0 < episode["skew_ms"]["joint_position"]["p50"] < 10.1
        assert -20 < episode["skew_ms"]["joint_command"]["p50"] < 0
        done = ingest(cli, path, out=tmp_path / "out2")
        headers = [line.split()[-3:] for line in done.stdout.splitlines()]
        assert ["p50", "p95", "max"] in headers

    def test_two_copies_of_one_recording_are_one_episode(self, cli, recording, tmp_path):
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "demo.mcap").write_bytes(recording.read_bytes())
        done = ingest(cli, tmp_path / "a", tmp_path / "b", "--json", out=tmp_path / "out")
        assert sorted(e["is_new"] for e in json.loads(done.stdout)["episodes"]) == [False, True]
        assert len(vladata.open(tmp_path / "out")) == 1

    def test_a_recording_that_is_named_twice_comes_once(self, cli, recording, tmp_path, monkeypatch):
        monkeypatch.chdir(recording.parent)
        done = ingest(cli, recording, "demo.mcap", recording.parent, "--json", out=tmp_path / "out")
        assert len(json.loads(done.stdout)["episodes"]) == 1

    def test_more_recordings_can_be_added_later(self, cli, dataset, recording):
        before = {p: p.stat().st_mtime_ns for p in dataset.glob("episodes/*/*.h5")}
        done = ingest(cli, recording, "--set", "instruction=lift the cube", out=dataset)
        assert done.returncode == 0
        assert len(vladata.open(dataset)) == 7
        assert {p: p.stat().st_mtime_ns for p in before} == before

    def test_a_folder_that_holds_something_else_is_not_written_to(self, cli, recording, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("x")
        done = ingest(cli, recording, out=tmp_path / "out")
        assert done.returncode == 1
        assert "holds 'thesis.tex' and is no dataset" in done.stderr
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.tex"]

    def test_an_empty_folder_is_as_good_as_a_new_one(self, cli, recording, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "bad.mcap").write_text("x")
        assert ingest(cli, tmp_path / "bad.mcap", out=tmp_path / "out").returncode == 1
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["rejected.json"]
        assert ingest(cli, recording, out=tmp_path / "out").returncode == 0
        assert len(vladata.open(tmp_path / "out")) == 1


class TestInspect:
    def test_it_names_streams_with_type_shape_clock_and_rate(self, cli, sample_recordings):
        text = cli("inspect", sample_recordings / "demo_002.mcap").stdout
        line = next(x for x in text.splitlines() if x.startswith("/joint_states.position"))
        assert line.split() == ["/joint_states.position", "float64", "616", "7", "unix", "(header)", "100.0", "0"]
        front = next(x for x in text.splitlines() if x.startswith("/cameras/wrist/compressed"))
        assert int(front.split()[-1]) == 4  # the dropped frames

    def test_its_remarks_about_time_are_on_stderr(self, cli, sample_recordings):
        done = cli("inspect", sample_recordings / "demo_002.mcap")
        assert "header ahead of log by" in done.stderr
        assert "longest gap 299 ms at" in done.stderr

    def test_json_carries_every_stream(self, cli, sample_recordings):
        found = json.loads(cli("inspect", sample_recordings / "demo_000.mcap", "--json").stdout)
        assert set(found) == {"source", "demonstrations", "shown", "rate_hz", "facts", "streams", "problems"}
        assert {s["name"] for s in found["streams"]} == {
            *("/instruction", "/subtask", "/outcome", "/joint_states", "/joint_commands"),
            *("/cameras/front/compressed", "/cameras/wrist/compressed"),
        }

    def test_a_mapping_that_it_writes_can_be_ingested_with(self, cli, recording, tmp_path):
        mapping = tmp_path / "mapping.yaml"
        done = cli("inspect", recording, "-s", "sample_arm", "--write-mapping", mapping)
        assert done.returncode == 0
        assert f"wrote {mapping}" in done.stderr
        done = ingest(cli, recording, "--mapping", mapping, out=tmp_path / "out")
        assert done.returncode == 0, done.stderr
        # The clocks of camera and robot are for people to compare; the rest is the schema's own mapping.
        assert ingest(cli, recording, out=tmp_path / "own").returncode == 0
        drafted, own = only(tmp_path / "out"), only(tmp_path / "own")
        assert drafted.content_digest == own.content_digest
        assert cli("inspect", recording, "--write-mapping", mapping).returncode == 1  # never replaced

    def test_a_schema_that_is_drafted_is_good_and_takes_the_recording_in(self, cli, recording, tmp_path):
        schema = tmp_path / "my_robot.yaml"
        assert cli("schema", "draft", recording, "--name", "my_robot", "-o", schema).returncode == 0
        assert "good" in cli("schema", "check", schema).stdout
        done = cli("ingest", recording, "-s", schema, "-o", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        episode = only(tmp_path / "out")
        assert episode.embodiment.name == "my_robot"
        assert len(episode.embodiment.cameras) == 2
        assert cli("schema", "draft", recording).stdout.replace("my_robot", "x") == schema.read_text().replace(
            "my_robot", "x"
        )


class TestSchema:
    def test_all_schemas_are_listed(self, cli):
        lines = cli("schema", "list").stdout.splitlines()
        assert [line.split()[0] for line in lines[1:]] == ["sample_arm", "unitree_g1_inspire", "widowx_bridge"]
        found = json.loads(cli("schema", "list", "--json").stdout)
        assert {s["name"]: s["sources"] for s in found}["sample_arm"] == ["mcap"]

    @pytest.mark.parametrize("name", ["sample_arm", "unitree_g1_inspire", "widowx_bridge"])
    def test_each_is_shown_and_its_json_is_a_schema_again(self, cli, name, tmp_path):
        from vladata.mapping import load_schema

        text = cli("schema", "show", name).stdout
        schema = load_schema(name)
        for signal in schema.signals:
            for dimension in signal.dimensions:
                assert dimension.name in text
        path = tmp_path / "again.yaml"
        path.write_text(yaml.safe_dump(json.loads(cli("schema", "show", name, "--json").stdout)))
        again = load_schema(path)
        assert again.embodiment == schema.embodiment
        assert again.embodiment.digest == schema.embodiment.digest
        assert again.mappings == schema.mappings

    def test_a_wrong_schema_is_named_with_key_and_values(self, cli, tmp_path):
        path = tmp_path / "arm.yaml"
        signal = "  - {name: a, dimensions: [{name: x, kind: position, unit: rad}]}"
        path.write_text(f"name: arm\nrate_hz: 10\naction:\n{signal}\n")
        done = cli("schema", "check", path)
        assert done.returncode == 1
        assert "arm.yaml: action.0.dimensions.0: x is a position in rad; its unit must be one of" in done.stderr

    @pytest.mark.parametrize(
        ("section", "problem"),
        [
            ("timing.gasp: {periods: 2}", "no check named 'timing.gasp'; did you mean 'timing.gaps'?"),
            ("timing.gaps: {period: 2}", "check timing.gaps has no threshold 'period'; it has periods"),
            ("timing.gaps: {periods: error}", "checks.timing.gaps.periods is 'error'; it must be a number"),
            (
                "timing.gaps: {severity: bad}",
                "checks.timing.gaps.severity: it must be a number, or as severity one of info, warning, error, off, "
                "found 'bad'",
            ),
        ],
    )
    def test_unknown_checks_and_thresholds_are_refused(self, cli, tmp_path, section, problem):
        path = tmp_path / "arm.yaml"
        signal = "  - {name: a, dimensions: [{name: x, kind: position, unit: m}]}"
        path.write_text(f"name: arm\nrate_hz: 10\nproprioception:\n{signal}\nchecks:\n  {section}\n")
        done = cli("schema", "check", path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"vladata: arm.yaml: {problem}\n"

    def test_thresholds_and_off_are_good(self, cli, tmp_path):
        path = tmp_path / "arm.yaml"
        signal = "  - {name: a, dimensions: [{name: x, kind: position, unit: m}]}"
        checks = "checks:\n  timing.gaps: {periods: 2, severity: error}\n  values.unused: {severity: off}\n"
        path.write_text(f"name: arm\nrate_hz: 10\nproprioception:\n{signal}\n{checks}")
        assert "good" in cli("schema", "check", path).stdout
        from vladata.mapping import load_schema

        assert load_schema(path).checks["values.unused"] == {"severity": "off"}  # no YAML boolean

    def test_the_json_schema_fits_the_shipped_files(self, cli):
        schema = json.loads(cli("schema", "json").stdout)
        assert {"name", "rate_hz", "proprioception", "action", "cameras", "streams", "mappings"} <= set(
            schema["properties"]
        )
        assert schema["additionalProperties"] is False


class TestInputs:
    def test_patterns_lists_and_folders_come_in_with_one_command_and_one_line_each(
        self, cli, write_recording, tmp_path, monkeypatch
    ):
        def about(text):
            """Each recording another instruction, for equal recordings of one name are one."""
            return lambda topic, message, ns: [] if topic == "/instruction" else [(topic, message, ns)]

        for name in ("a/one", "a/deep/two", "b/three", "c/four"):
            write_recording(tmp_path / f"in/{name}.mcap", about(name), seconds=1)
        (tmp_path / "in/list.txt").write_text(f"# the rest\n{tmp_path}/in/b\n{tmp_path}/in/c/four.mcap\n")
        monkeypatch.chdir(tmp_path)
        words = ("in/a/**/*.mcap", "in/b/three.mcap", "--list", "in/list.txt")
        done = ingest(cli, *words, out=tmp_path / "out")
        assert done.returncode == 0
        lines = [line.split()[0] for line in done.stdout.splitlines() if ".mcap" in line]
        assert lines == ["two.mcap", "one.mcap", "three.mcap", "four.mcap"]
        assert "4 new episodes" in done.stdout
        again = ingest(cli, *words, out=tmp_path / "out")
        assert "0 new episodes, 4 already there" in again.stdout
        assert "three.mcap" not in again.stdout

    def test_a_recording_of_a_format_without_mapping_costs_itself_and_a_stray_table_nothing(
        self, cli, recording, shared_data, tmp_path
    ):
        (tmp_path / "in" / "run").mkdir(parents=True)
        (tmp_path / "in" / "demo.mcap").write_bytes(recording.read_bytes())
        (tmp_path / "in" / "run" / "log.csv").write_text("t,x\n0.0,1\n0.1,2\n0.2,3\n")
        done = ingest(cli, tmp_path / "in", out=tmp_path / "out")
        assert done.returncode == 0
        assert "ignored   run: no recordings, or of a kind without a mapping" in done.stderr
        done = ingest(cli, tmp_path / "in", tmp_path / "in" / "run", out=tmp_path / "out2")
        assert done.returncode == 3
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("rejected")]
        assert "sample_arm has no mapping for csv_video recordings; draft one: vladata inspect" in line
        bag = shared_data / "kuka_joint_states_ros1_bag" / "test.bag"
        (tmp_path / "in" / "old.bag").write_bytes(bag.read_bytes())
        done = ingest(cli, tmp_path / "in", out=tmp_path / "out3")
        assert done.returncode == 3
        assert "1 new episodes, 1 rejected" in done.stdout

    def test_no_source_is_a_usage_error(self, cli, tmp_path):
        done = ingest(cli, out=tmp_path / "out")
        assert done.returncode == 2
        assert "no source; name recordings" in done.stderr

    def test_a_pattern_that_matches_nothing_is_one_line(self, cli, tmp_path):
        done = ingest(cli, tmp_path / "*.bag", out=tmp_path / "out")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "matches no file or folder" in done.stderr
        assert not (tmp_path / "out").exists()


class TestUnitsAndDerivedActions:
    def test_degrees_become_radians_and_a_derived_action_is_marked(self, cli, write_recording, tmp_path):
        schema = yaml.safe_load((SCHEMAS / "sample_arm.yaml").read_text())
        schema["mappings"]["mcap"]["streams"].pop("joint_command")
        schema["mappings"]["mcap"]["derived"] = {"joint_command": {"from": "joint_position"}}
        schema["mappings"]["mcap"]["streams"]["joint_velocity"]["units"] = {"joint1": "deg/s"}
        (tmp_path / "robot.yaml").write_text(yaml.safe_dump(schema))
        path = write_recording(tmp_path / "demo.mcap", seconds=1)
        done = cli("ingest", path, "-s", tmp_path / "robot.yaml", "-o", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        plain = cli("ingest", path, "-s", "sample_arm", "-o", tmp_path / "plain")
        assert plain.returncode == 0
        episode, other = only(tmp_path / "out"), only(tmp_path / "plain")
        np.testing.assert_allclose(
            episode.streams["joint_velocity"].values[:, 0],
            np.deg2rad(other.streams["joint_velocity"].values[:, 0]),
            rtol=1e-12,
        )
        assert episode.provenance["conversions"]["joint_velocity"]["joint1"]["recorded"] == "deg/s"
        assert episode.derived_actions == {"joint_command"}
        assert "joint_command" not in episode.streams
        np.testing.assert_array_equal(
            episode.steps.action["joint_command"][:-1], episode.steps.proprioception["joint_position"][1:]
        )
        assert not episode.steps.valid["joint_command"][-1]
        assert cli("verify", tmp_path / "out").returncode == 0
        assert cli("validate", tmp_path / "out").returncode in (0, 4)
        report = json.loads(cli("validate", tmp_path / "out", "--json").stdout)
        assert not [f for f in report["findings"] if "no stream joint_command" in f["message"]]
        export = cli("export", tmp_path / "out", "-o", tmp_path / "export", "--tokenizer", "uniform_bins")
        assert export.returncode in (0, 3), export.stderr
        assert "derived" in (tmp_path / "export" / "README.md").read_text()

    def test_a_unit_that_does_not_fit_stops_before_anything_is_read(self, cli, recording, tmp_path):
        schema = yaml.safe_load((SCHEMAS / "sample_arm.yaml").read_text())
        schema["mappings"]["mcap"]["streams"]["joint_position"]["units"] = "mm"
        (tmp_path / "robot.yaml").write_text(yaml.safe_dump(schema))
        done = cli("ingest", recording, "-s", tmp_path / "robot.yaml", "-o", tmp_path / "out")
        assert done.returncode == 1
        assert "units of joint_position.joint1 are mm, which become m; the schema has rad" in done.stderr
        assert not (tmp_path / "out").exists()


class TestSeveralDemonstrationsInOneFile:
    def test_marks_cut_a_file_into_episodes_and_a_part_that_can_t_be_aligned_costs_itself(
        self, cli, write_recording, tmp_path
    ):
        marks = {0.1: "start", 0.8: "stop", 0.85: "start", 0.851: "stop", 0.9: "start", 1.9: "stop"}

        def change(topic, message, ns):
            made = [(topic, message, ns)]
            if topic == "/instruction":
                for at, text in marks.items():
                    mark = copy.deepcopy(message)
                    mark.data = text
                    made.append(("/episode", mark, ns + round(at * 1e9)))
            return made

        path = write_recording(tmp_path / "day.mcap", change, seconds=2)
        schema = yaml.safe_load((SCHEMAS / "sample_arm.yaml").read_text())
        schema["mappings"]["mcap"]["split"] = {"from": "/episode", "field": "data"}
        (tmp_path / "robot.yaml").write_text(yaml.safe_dump(schema))
        done = cli("ingest", path, "-s", tmp_path / "robot.yaml", "-o", tmp_path / "out")
        assert done.returncode == 3, done.stderr
        (rejected,) = json.loads((tmp_path / "out" / "rejected.json").read_text())["rejected"]
        assert rejected["place"] == "day.mcap#1"
        first, last = sorted(vladata.open(tmp_path / "out"), key=lambda e: e.steps.time_ns[0])
        assert (first.provenance["place"], last.provenance["place"]) == ("day.mcap#0", "day.mcap#2")
        assert 0.4 < first.duration_s < 0.75 < last.duration_s < 1.05
        assert first.recording_id != last.recording_id
        again = cli("ingest", path, "-s", tmp_path / "robot.yaml", "-o", tmp_path / "out")
        assert "0 new episodes, 2 already there, 1 rejected" in again.stdout
