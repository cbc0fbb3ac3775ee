"""Prompt templates: what is shipped, and what is refused with its place."""

import json
from pathlib import Path

import numpy as np
import pytest

from vladata.actions.statistics import StatisticsAccumulator
from vladata.errors import SchemaError, TokenizeError
from vladata.prompts import FIELDS, StateText, json_schema, parse_template, read_template, template_names

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def test_these_are_shipped() -> None:
    assert template_names() == [
        *("chat", "molmoact", "openvla", "pi05", "pi0_fast", "planner_chat", "planner_history", "rt2", "vqa_chat")
    ]


@pytest.mark.parametrize("name", template_names())
def test_a_shipped_template_is_called_as_its_file_and_is_documented(name: str) -> None:
    template = read_template(name)

    assert template.name == name
    assert template.fields <= FIELDS.keys()
    assert parse_template(template.yaml.encode(), "again") == template
    assert f"`{name}`" in (DOCS / "prompts.md").read_text()


def test_every_field_is_documented() -> None:
    text = (DOCS / "prompts.md").read_text()

    assert [n for n in FIELDS if f"`{{{n}}}`" not in text] == []


def test_the_published_json_schema_is_that_of_the_code() -> None:
    published = json.loads((DOCS / "prompt.schema.json").read_text())

    assert published == json_schema()


def test_a_wrong_name_lists_those_that_are_shipped(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"no prompt named 'openvlaa'; there are chat, .*, or give the path of a"):
        read_template("openvlaa")
    with pytest.raises(SchemaError, match="no such prompt file"):
        read_template(str(tmp_path / "mine.yaml"))


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, kind: executor, description: x, prompt: [{text: 'Do {task}'}]}")

    assert read_template(str(path)).name == "mine"


HEAD = "{name: x, kind: executor, description: x, "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "prompt: [{text: 'Do {tsk}'}]}", r"prompt\.0: {tsk} is unknown; must be one of task, subtask"),
        (HEAD + "prompt: [{text: 'Do it'}]}", r"kind executor must hold {task} or {subtask}"),
        (HEAD + "prompt: [{text: '{task}', put: actions}]}", "must have either text or put"),
        (HEAD + "prompt: [{text: '{task}'}], target: [{put: target}]}", "puts actions; must not put target"),
        (HEAD + "prompt: [{text: '{task}'}], target: [{put: actions}, {put: actions}]}", "actions is put 2 times"),
        (HEAD + "prompt: [{text: '{task} {state}'}]}", "{state} and the key state belong together"),
        (HEAD + "prompt: [{text: '{task}'}], target: [{text: 'A: '}, {put: actions}]}", "set apart: true"),
        (HEAD + "prompt: [{text: '{task}'}, {put: images}]}", "put images is for messages"),
        (HEAD + "prompt: [{text: '{task}'}, {text: a, begin: true}]}", "begin must stand at the first segment"),
        (HEAD + "prompt: [{text: '{task}', colour: red}]}", r"prompt\.0\.colour: extra inputs"),
        (HEAD + "messages: [{role: user, content: [{text: '{task}'}]}]}", "messages must be two or more"),
        (
            HEAD + "messages: [{role: user, content: [{text: '{task}'}, {put: actions}]},"
            " {role: assistant, content: [{text: a}]}]}",
            "put actions in a message; must stand in the last one",
        ),
        (HEAD + "instruction: [upper], prompt: [{text: '{task}'}]}", r"instruction\.0"),
        ("{name: x, kind: vqa, description: x, prompt: [{text: '{question}'}]}", "target is put 0 times"),
        ("[1, 2]", "test.yaml: the document"),
    ],
)
def test_a_wrong_template_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        parse_template(text.encode(), "test.yaml")


class TestState:
    def text(self, name: str) -> StateText:
        accumulator = StatisticsAccumulator(["a", "b"])
        accumulator.add(np.stack([np.linspace(-1, 1, 101), np.linspace(0, 10, 101)], axis=1))
        while accumulator.next_pass():
            pass
        template = read_template(name)
        assert template.state is not None
        return StateText.fit(template.state, accumulator.finish())

    def test_bins_are_those_of_the_normalized_state(self) -> None:
        text = self.text("pi0_fast")

        low, high = text.normalization.low, text.normalization.high
        middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
        assert text.texts([low, high, middle]) == ["0 0", "255 255", "128 128"]
        assert text.texts([[-5.0, 50.0]]) == ["-1 255"]

    def test_tokens_are_the_nearest_ones(self) -> None:
        text = self.text("molmoact")

        assert text.texts([text.normalization.low, [9.0, 99.0]]) == [
            "<state_start><state_0><state_0><state_end>",
            "<state_start><state_255><state_255><state_end>",
        ]

    def test_it_comes_back_from_its_json(self) -> None:
        text = self.text("pi0_fast")

        assert StateText.from_dict(text.format, json.loads(json.dumps(text.to_dict()))) == text

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_is_refused(self, value: float) -> None:
        with pytest.raises(TokenizeError, match=r"state\[1, 0\] is (nan|inf); must be finite"):
            self.text("pi0_fast").texts([[0.0, 1.0], [value, 1.0]])
