"""What a schema may say of a robot."""

import copy

import pytest

from vladata.documents import parse
from vladata.embodiment import Embodiment, StreamRule
from vladata.errors import SchemaError
from vladata.units import UNITS_OF_KIND, Kind, Mode, Unit

GOOD = {
    "name": "arm",
    "rate_hz": 10,
    "proprioception": [{"name": "state", "dimensions": [{"name": "j0", "kind": "joint_position", "unit": "rad"}]}],
    "action": [
        {
            "name": "command",
            "dimensions": [
                {"name": "j0", "kind": "joint_position", "unit": "rad", "mode": "absolute", "limits": [-1, 1]},
                {"name": "grip", "kind": "gripper_command", "unit": "1", "mode": "absolute", "open_value": 1},
            ],
        }
    ],
    "cameras": [{"name": "front", "height": 48, "width": 64}],
    "streams": {"front": {"rate_hz": 30, "required": False}},
}


def changed(path, value):
    """GOOD with the value at a path of keys replaced."""
    made = copy.deepcopy(GOOD)
    target = made
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return made


def test_a_good_schema_is_what_it_says():
    arm = parse(Embodiment, GOOD, "arm.yaml")
    assert arm.stream_names == ("state", "command", "front")
    assert [s.name for s in arm.signals] == ["state", "command"]
    assert arm.signal("command").names == ("j0", "grip")
    assert arm.signal("command").dimensions[0].limits == (-1.0, 1.0)
    assert arm.signal("command").dimensions[0].mode is Mode.ABSOLUTE
    assert arm.camera("front").width == 64
    assert arm.rule("front") == StreamRule(rate_hz=30, required=False)
    assert arm.rule("state") == StreamRule()
    for lookup in (arm.signal, arm.camera):
        with pytest.raises(KeyError):
            lookup("nosuch")


SIGNAL = ("action", 0, "dimensions")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("rate_hz",), 0, "rate_hz: input should be greater than 0"),
        (("version",), 0, "version: input should be greater than or equal to 1"),
        (("name",), "../arm", "name: string should match pattern"),
        (("name",), "", "name: string should match pattern"),
        (("name",), "x" * 65, "name: string should match pattern"),
        ((*SIGNAL, 0, "unit"), "deg", "unit: input should be"),
        ((*SIGNAL, 0, "kind"), "joint", "kind: input should be"),
        ((*SIGNAL, 0, "unit"), "m/s", "j0 is a joint_position in m/s; its unit must be one of 1, m, rad"),
        ((*SIGNAL, 0, "limits"), [1, -1], "j0 has limits [1.0, -1.0]; the first must be less than the second"),
        ((*SIGNAL, 0, "limits"), [1, 1], "the first must be less"),
        ((*SIGNAL, 0, "limits"), [1], "limits"),
        ((*SIGNAL, 0, "limits"), [0, float("inf")], "finite"),
        ((*SIGNAL, 0, "max_velocity"), -1, "greater than 0"),
        ((*SIGNAL, 0, "mode"), None, "action command.j0 has no mode; it must say absolute, delta"),
        ((*SIGNAL, 0, "mode"), "relative", "mode: input should be"),
        ((*SIGNAL, 1, "name"), "j0", "signal command names j0 more than once"),
        (SIGNAL, [], "dimensions"),
        (("proprioception", 0, "dimensions", 0, "mode"), "absolute", "state.j0 has a mode; only actions have one"),
        (("proprioception", 0, "name"), "command", "streams are named command more than once"),
        (("cameras", 0, "name"), "state", "streams are named state more than once"),
        (("cameras", 0, "height"), 0, "height: input should be greater than 0"),
        (("cameras", 0, "height"), 30000, "height: input should be less than or equal to 16384"),
        (("cameras", 0, "height"), 48.5, "height: input should be a valid integer"),
        (("cameras", 0, "role"), "left", "role: input should be"),
        (("streams",), {"frnt": {}}, "rules for unknown streams frnt; there are state, command, front"),
        (("streams", "front"), {"rate": 3}, "streams.front.rate: extra inputs are not permitted"),
    ],
)
def test_what_can_not_be_is_named_with_the_key(path, value, message):
    with pytest.raises(SchemaError) as caught:
        parse(Embodiment, changed(path, value), "arm.yaml")
    assert str(caught.value).startswith("arm.yaml: ")
    assert message in str(caught.value)


def test_rotations_must_name_their_convention():
    turn = {"name": "yaw", "kind": "rotation", "unit": "rad", "mode": "delta"}
    with pytest.raises(SchemaError, match="command has rotation dimensions; rotation must name their convention"):
        parse(Embodiment, changed((*SIGNAL, 0), turn), "arm.yaml")


def test_every_kind_has_units():
    assert set(UNITS_OF_KIND) == set(Kind)
    assert UNITS_OF_KIND[Kind.OTHER] == frozenset(Unit)
    assert all(UNITS_OF_KIND.values())


def test_the_digest_follows_the_values_and_nothing_else():
    arm = parse(Embodiment, GOOD, "arm.yaml")
    spelled_out = changed(("description",), "")
    spelled_out["rate_hz"] = 10.0
    spelled_out["action"][0]["dimensions"][0]["normalized"] = False
    assert parse(Embodiment, spelled_out, "other.yaml").digest == arm.digest
    assert parse(Embodiment, changed((*SIGNAL, 0, "limits"), [-1, 1.1]), "arm.yaml").digest != arm.digest
    swapped = copy.deepcopy(GOOD)
    swapped["action"][0]["dimensions"].reverse()
    assert parse(Embodiment, swapped, "arm.yaml").digest != arm.digest


def test_a_schema_goes_through_json_unchanged():
    arm = parse(Embodiment, GOOD, "arm.yaml")
    again = Embodiment.model_validate_json(arm.model_dump_json(by_alias=True, exclude_defaults=True))
    assert (again, again.digest) == (arm, arm.digest)
