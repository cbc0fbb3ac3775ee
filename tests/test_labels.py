"""Labels given by hand."""

import pytest

from vladata.errors import SchemaError
from vladata.labels import Labels, labelled, parse_outcome, parse_set, read_labels
from vladata.recording import Instruction, Outcome


class TestOutcome:
    @pytest.mark.parametrize(
        ("text", "kind", "reason"),
        [
            ("success", "success", ""),
            ("Failure", "failure", ""),
            ("failure: cube fell: twice", "failure", "cube fell: twice"),
            ("success:", "success", ""),
        ],
    )
    def test_it_is_success_or_failure_with_a_reason(self, text, kind, reason):
        assert parse_outcome(text, "x") == Outcome(kind=kind, reason=reason, author="user")

    @pytest.mark.parametrize("text", ["", "yes", "1", "successful", ": reason"])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(SchemaError, match=r"x: outcome is .*; it must be success or failure"):
            parse_outcome(text, "x")


class TestSet:
    def test_pairs_become_names_and_values(self):
        found = parse_set(["instruction= lift = it ", "operator=p7", "outcome=success", "scene="])
        assert found == {"instruction": "lift = it", "operator": "p7", "outcome": "success", "scene": ""}

    @pytest.mark.parametrize(
        ("pairs", "reason"),
        [
            (["x"], "must be name=value"),
            (["=x"], "must be name=value"),
            ([" =x"], "must be name=value"),
            (["a=1", "a=1"], "--set a is given twice"),
            (["outcome=maybe"], "--set: outcome is 'maybe'"),
        ],
    )
    def test_wrong_pairs_are_refused(self, pairs, reason):
        with pytest.raises(SchemaError, match=reason):
            parse_set(pairs)


class TestTable:
    def read(self, tmp_path, content):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_labels(path)

    def test_rows_are_found_by_recording(self, tmp_path):
        text = 'recording, instruction ,outcome\ndemo.mcap,"lift, then\nturn",success\n other.mcap ,,\n'
        assert self.read(tmp_path, text) == {
            "demo.mcap": {"instruction": "lift, then\nturn", "outcome": "success"},
            "other.mcap": {"instruction": "", "outcome": ""},
        }

    def test_what_spreadsheets_write_is_read(self, tmp_path):
        text = "\ufeffrecording,instruction\r\ndemo.mcap,hebe den Würfel\r\n"
        assert self.read(tmp_path, text) == {"demo.mcap": {"instruction": "hebe den Würfel"}}
        assert self.read(tmp_path, "recording,instruction\ndemo.mcap\n") == {"demo.mcap": {"instruction": ""}}

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("", "columns are none; one must be 'recording'"),
            ("name,outcome\nx,success\n", "columns are name, outcome; one must be 'recording'"),
            ("recording;outcome\nx;success\n", "columns are recording;outcome; one must be"),
            ("recording,outcome,outcome\nx,success,failure\n", "each must have a name of its own"),
            ("recording,\nx,y\n", "each must have a name of its own"),
            ("recording,outcome\n,success\n", "line 2: recording is empty"),
            ("recording,outcome\nx,\nx,\n", "line 3: x comes twice"),
            ("recording,outcome\nx,success,more\n", "line 2: more cells than columns"),
            ("recording,outcome\nx,perhaps\n", "line 2: outcome is 'perhaps'"),
            (b"recording,instruction\nx,\xff\xfe\n", "is not UTF-8"),
            ('recording,instruction\nx,"open\n', "not CSV"),
            ("recording,instruction\nx," + "y" * 200_000 + "\n", "not CSV: field larger than field limit"),
        ],
    )
    def test_what_is_wrong_is_named_with_the_line(self, tmp_path, content, reason):
        with pytest.raises(SchemaError, match=r"^labels\.csv: ") as caught:
            self.read(tmp_path, content)
        assert reason in str(caught.value)


class TestLabels:
    def test_a_row_goes_before_what_is_said_of_all(self):
        labels = Labels(common={"operator": "p7", "outcome": "success"}, by_place={"a": {"outcome": "failure"}})
        assert labels.of("a") == {"operator": "p7", "outcome": "failure"}
        assert labels.of("b") == {"operator": "p7", "outcome": "success"}

    def test_an_empty_cell_leaves_what_is_said_of_all(self):
        labels = Labels(common={"operator": "p7"}, by_place={"a": {"operator": ""}})
        assert labels.of("a") == {"operator": "p7"}

    def test_they_replace_tasks_and_outcomes_and_keep_the_rest(self):
        instructions = (Instruction(text="old"), Instruction(text="reach", kind="subtask", time_ns=5))
        outcomes = (Outcome(kind="success"), Outcome(kind="reward", value=0.5))
        given = {"instruction": "new", "outcome": "failure: slow", "scene": "kitchen"}
        texts, markers, rest = labelled(given, instructions, outcomes)
        assert texts == (Instruction(text="new", author="user"), instructions[1])
        assert markers == (outcomes[1], Outcome(kind="failure", reason="slow", author="user"))
        assert rest == {"scene": "kitchen"}

    def test_without_them_nothing_changes(self):
        instructions, outcomes = (Instruction(text="old"),), (Outcome(kind="success"),)
        assert labelled({}, instructions, outcomes) == (instructions, outcomes, {})
