"""Differences of schemas in meaning, and whether episodes of the one can be read as the other."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vladata.documents import parse
from vladata.mapping import SchemaFile, load_schema, schema_names
from vladata.schema_diff import Difference, Effect, SchemaDiff, diff_schemas

BASE: dict[str, Any] = {
    "name": "arm",
    "rate_hz": 10,
    "proprioception": [
        {
            "name": "state",
            "dimensions": [
                {"name": "a", "kind": "joint_position", "unit": "rad", "limits": [-1, 1]},
                {"name": "b", "kind": "joint_position", "unit": "rad"},
                {"name": "c", "kind": "gripper_aperture", "unit": "m"},
            ],
        }
    ],
    "action": [{"name": "command", "dimensions": [{"name": "a", "kind": "other", "unit": "1", "mode": "absolute"}]}],
    "cameras": [{"name": "front", "height": 48, "width": 64}],
    "streams": {"front": {"rate_hz": 30}},
    "mappings": {
        "mcap": {
            "source": "mcap",
            "streams": {"state": {"from": "/s"}, "command": {"from": "/c"}, "front": {"from": "/f", "offset_ns": -5}},
        }
    },
}

Change = Callable[[dict[str, Any]], object]


def schema(change: Change = lambda _: None) -> SchemaFile:
    document = copy.deepcopy(BASE)
    change(document)
    return parse(SchemaFile, document, "test")


def diff(change: Change) -> SchemaDiff:
    return diff_schemas(schema(), schema(change))


def dims(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["proprioception"][0]["dimensions"]
    return found


@pytest.mark.parametrize("name", schema_names())
def test_schema_is_equal_to_itself(name: str) -> None:
    found = diff_schemas(load_schema(name), load_schema(name))
    assert found.is_equal
    assert found.is_compatible


def test_descriptions_and_order_of_keys_mean_nothing() -> None:
    found = diff(lambda d: (d.update(description="other words"), d["streams"].update(command={})))
    assert found.is_equal


@pytest.mark.parametrize(
    ("change", "line", "effect"),
    [
        (lambda d: d.update(rate_hz=20), "rate_hz: changed 10 → 20", Effect.BREAKS),
        (lambda d: d.update(version=2), "version: changed 1 → 2", Effect.NOTHING),
        (lambda d: dims(d)[1].update(unit="1"), "state.b.unit: changed rad → 1", Effect.BREAKS),
        (lambda d: dims(d)[1].update(kind="other"), "state.b.kind: changed joint_position → other", Effect.BREAKS),
        (lambda d: dims(d)[1].update(limits=[0, 2.5]), "state.b.limits: changed nothing → [0, 2.5]", Effect.NOTHING),
        (lambda d: dims(d)[1].update(normalized=True), "state.b.normalized: changed false → true", Effect.BREAKS),
        (lambda d: dims(d)[2].update(open_value=1), "state.c.open_value: changed nothing → 1", Effect.BREAKS),
        (
            lambda d: d["action"][0]["dimensions"][0].update(mode="delta"),
            "command.a.mode: changed absolute → delta",
            Effect.BREAKS,
        ),
        (
            lambda d: d["proprioception"][0].update(reference_frame="base"),
            "state.reference_frame: changed nothing → base",
            Effect.BREAKS,
        ),
        (lambda d: dims(d).pop(2), "state.c: removed (was number 2)", Effect.ORDER),
        (
            lambda d: dims(d).append({"name": "d", "kind": "other", "unit": "1"}),
            "state.d: added (is number 3)",
            Effect.BREAKS,
        ),
        (lambda d: dims(d)[1].update(name="elbow"), "state: renamed? b → elbow", Effect.BREAKS),
        (
            lambda d: (d["proprioception"][0].update(name="joints"), d["mappings"].clear()),
            "proprioception: renamed? state → joints",
            Effect.BREAKS,
        ),
        (lambda d: d["cameras"][0].update(height=96), "cameras.front.height: changed 48 → 96", Effect.BREAKS),
        (lambda d: d["cameras"][0].update(role="head"), "cameras.front.role: changed other → head", Effect.NOTHING),
        (
            lambda d: d["cameras"][0].update(depth={"unit": "mm"}),
            "cameras.front.depth: changed nothing → {unit: mm, scale: 1}",
            Effect.BREAKS,
        ),
        (lambda d: d["streams"]["front"].update(rate_hz=15), "streams.front.rate_hz: changed 30 → 15", Effect.NOTHING),
        (
            lambda d: d["streams"]["front"].update(required=False),
            "streams.front.required: changed true → false",
            Effect.NOTHING,
        ),
        (
            lambda d: d["mappings"]["mcap"]["streams"]["front"].update(offset_ns=7),
            "mappings.mcap.streams.front.offset_ns: changed -5 → 7",
            Effect.MAPPING,
        ),
        (
            lambda d: d["mappings"]["mcap"]["streams"]["state"].update(units="deg"),
            "mappings.mcap.streams.state.units: added deg",
            Effect.MAPPING,
        ),
    ],
)
def test_one_change_is_one_line_that_says_what_it_does(change: Change, line: str, effect: Effect) -> None:
    found = diff(change)
    assert line in [str(d) for d in found.differences]
    assert {d.effect for d in found.differences if str(d) == line} == {effect}
    assert len([d for d in found.differences if d.effect is not Effect.MAPPING]) <= 1
    assert found.is_compatible == (effect is not Effect.BREAKS)


def test_dimensions_that_change_places_have_moved_and_can_be_read_by_name() -> None:
    found = diff(lambda d: dims(d).reverse())
    assert [str(d) for d in found.differences] == ["state.a: moved 0 → 2", "state.c: moved 2 → 0"]
    assert found.is_compatible
    assert not found.is_ordered


def test_dimension_that_a_new_one_pushed_on_has_not_moved() -> None:
    found = diff(lambda d: dims(d).insert(0, {"name": "base", "kind": "other", "unit": "1"}))
    assert [str(d) for d in found.differences] == ["state.base: added (is number 0)"]


def test_what_the_second_does_not_ask_for_breaks_nothing() -> None:
    def change(d: dict[str, Any]) -> None:
        d["cameras"].clear()
        d["streams"].clear()
        del d["mappings"]["mcap"]["streams"]["front"]

    found = diff(change)
    assert Difference(place="cameras.front", change="removed", effect=Effect.NOTHING, before="(48 x 64)") in (
        found.differences
    )
    assert found.is_compatible
    back = diff_schemas(schema(change), schema())
    assert not back.is_compatible
    assert "cameras.front: added (48 x 64)" in [str(d) for d in back.differences]


def test_new_camera_that_need_not_be_there_breaks_nothing() -> None:
    def change(d: dict[str, Any]) -> None:
        d["cameras"].append({"name": "wrist", "height": 8, "width": 8})
        d["streams"]["wrist"] = {"required": False}

    assert diff(change).is_compatible


def test_command_prints_a_line_each_and_a_verdict(cli: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(yaml.safe_dump(BASE))
    changed = copy.deepcopy(BASE)
    dims(changed)[1]["unit"] = "1"
    changed["version"] = 2
    second.write_text(yaml.safe_dump(changed))
    same = cli("schema", "diff", first, first)
    assert (same.returncode, same.stdout) == (0, f"{first} and {first} mean the same\n")
    done = cli("schema", "diff", first, second)
    assert done.returncode == 4
    assert done.stdout.splitlines() == [
        "version: changed 1 → 2",
        "state.b.unit: changed rad → 1   (breaks)",
        f"episodes of {first} can't be read as {second}: 1 of 2 differences break it",
    ]
    found = json.loads(cli("schema", "diff", first, second, "--json").stdout)
    assert (found["equal"], found["compatible"], found["same_order"]) == (False, False, True)
    assert found["differences"][1] == {
        "place": "state.b.unit",
        "change": "changed",
        "effect": "breaks",
        "before": "rad",
        "after": "1",
    }
    assert found["first"]["digest"] == load_schema(first).embodiment.digest


def test_command_says_when_order_only_differs(cli: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(yaml.safe_dump(BASE))
    changed = copy.deepcopy(BASE)
    dims(changed).reverse()
    second.write_text(yaml.safe_dump(changed))
    done = cli("schema", "diff", first, second)
    assert done.returncode == 4
    assert done.stdout.splitlines()[-1] == (
        f"episodes of {first} can be read as {second}, dimensions by name, not by index"
    )


def test_command_fails_with_another_code_where_a_schema_can_not_be_loaded(cli: Any) -> None:
    done = cli("schema", "diff", "sample_arm", "no_such_robot")
    assert done.returncode == 1
    assert "no schema named 'no_such_robot'" in done.stderr


def test_chains_of_joints_are_told_and_break_nothing() -> None:
    def add(document: dict[str, Any]) -> None:
        place = {"kind": "position", "unit": "m"}
        hand = {"name": "hand", "dimensions": [{"name": n, **place} for n in "xyz"]}
        document["proprioception"].append(hand)
        joint = {"name": "j", "type": "revolute", "dimension": "a"}
        document["kinematics"] = [{"joints": "state", "pose": "hand", "chain": [joint]}]

    def longer(document: dict[str, Any]) -> None:
        add(document)
        document["kinematics"][0]["chain"].append({"name": "tool", "type": "fixed"})

    added = diff_schemas(schema(add), schema(longer)).differences
    assert [(str(d), d.effect) for d in added] == [("kinematics.hand: changed (1 joints) → (2 joints)", Effect.NOTHING)]
    (gone,) = [d for d in diff_schemas(schema(add), schema()).differences if d.place.startswith("kinematics")]
    assert str(gone) == "kinematics.hand: removed (1 joints)"
