"""Recipes as people write them, and as they should not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vladata.errors import SchemaError
from vladata.mixtures.recipe import json_schema, read_recipe

SCHEMA_FILE = Path(__file__).resolve().parent.parent.parent / "docs" / "mixture.schema.json"
PART = {"name": "a", "export": "../a"}


def test_the_published_schema_is_the_code_s() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema()


def test_the_example_of_the_documentation_is_a_recipe(tmp_path: Path) -> None:
    text = (SCHEMA_FILE.parent / "mixtures.md").read_text()
    (tmp_path / "mixture.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    assert [p.name for p in read_recipe(tmp_path / "mixture.yaml").parts] == ["bridge", "aloha"]


def test_defaults() -> None:
    assert json_schema()["properties"]["epoch_rows"]["default"] is None  # type: ignore[index]
    required = json_schema()["required"]
    assert required == ["mixture", "parts"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mixture": 2}, "mixture: input should be 1"),
        ({"parts": []}, "parts: "),
        ({"parts": [PART, {**PART}]}, "two parts are called a"),
        ({"parts": [{**PART, "name": "../a"}]}, "parts.0.name: "),
        ({"parts": [{**PART, "name": "A b"}]}, "parts.0.name: "),
        ({"parts": [{**PART, "weight": 0}]}, "parts.0.weight: input should be greater than 0"),
        ({"parts": [{**PART, "weight": -1}]}, "parts.0.weight: "),
        ({"parts": [{**PART, "weight": "2"}]}, "parts.0.weight: "),
        ({"parts": [{**PART, "weight": True}]}, "parts.0.weight: "),
        ({"parts": [{**PART, "weight": float("nan")}]}, "parts.0.weight"),
        ({"parts": [{**PART, "max_rows": 0}]}, "parts.0.max_rows: "),
        ({"parts": [{**PART, "max_share": 1.5}]}, "parts.0.max_share: "),
        ({"parts": [{**PART, "share": 0.5, "weight": 2.0}]}, "a has a weight and a share"),
        ({"parts": [{**PART, "share": 0.5, "max_share": 0.4}]}, "share is 0.5; must be at most max_share, 0.4"),
        ({"parts": [{**PART, "share": 0.5}]}, "every part has a share, and they sum to 0.5; must be 1"),
        ({"parts": [{**PART, "share": 1.0}, {**PART, "name": "b"}]}, "leave nothing for b"),
        ({"parts": [{**PART, "share": 0.7}, {**PART, "name": "b", "share": 0.7}]}, "the shares sum to 1.4"),
        ({"parts": [{**PART, "cameras": {"x": "p", "y": "p"}}]}, "two cameras get one name"),
        ({"parts": [{**PART, "cameras": {"x": "a/b"}}]}, "parts.0.cameras.x: "),
        ({"parts": [{**PART, "speed": 1}]}, "parts.0.speed: extra inputs are not permitted"),
        ({"temperature": 0}, "temperature: "),
        ({"temperature": float("inf")}, "temperature"),
        ({"epoch_rows": 0}, "epoch_rows: "),
        ({"epoch_rows": 1.5}, "epoch_rows: "),
        ({"max_repeats": 0}, "max_repeats: "),
        ({"layout": "side"}, "layout: "),
        ({"config": "../x"}, "config: "),
        ({"seed": -1}, "seed: "),
    ],
)
def test_what_is_wrong_is_an_error_with_its_place(fields: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_text(yaml.safe_dump({"mixture": 1, "parts": [PART], **fields}))
    with pytest.raises(SchemaError) as raised:
        read_recipe(path)
    text = str(raised.value)
    assert text.startswith("mixture.yaml: ")
    assert reason in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "mixture: 1",
        "mixture: 1\nparts: &a [*a]",
        "mixture: 1\nmixture: 1\nparts: []",
        "mixture: 1\nparts: [{name: a, export: !!python/object:os.system x}]",
        "{" * 100,
        "mixture: 1\nparts: 3",
        "\x00\xff",
        "mixture: 1\nparts: [{name: a, export: 2026-01-05}]",
    ],
)
def test_hostile_files_are_errors_of_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SchemaError) as raised:
        read_recipe(path)
    assert "\n" not in str(raised.value)


def test_text_of_a_stranger_does_not_steer_the_terminal(recipe: Callable[..., Path]) -> None:
    path = recipe({"name": "a", "export": "x"}, layout="\x1b[31mred")
    with pytest.raises(SchemaError) as raised:
        read_recipe(path)
    assert "\x1b" not in str(raised.value)
