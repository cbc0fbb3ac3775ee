"""Forward kinematics against closed forms and another program's numbers, and chains out of URDFs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vladata.documents import parse
from vladata.embodiment import ChainJoint, Embodiment, Kinematics
from vladata.errors import SchemaError
from vladata.kinematics import angle_between, chain_yaml, forward, rotation_matrices
from vladata.units import RotationConvention
from vladata.urdf import chain_between, read_urdf

ODD = """<robot name="odd">
<joint name="turn" type="revolute"><parent link="base"/><child link="l1"/>
  <origin xyz="0.1 -0.2 0.3" rpy="0.4 -0.5 0.6"/><axis xyz="0 0 1"/><limit lower="-2" upper="2"/></joint>
<joint name="slide" type="prismatic"><parent link="l1"/><child link="l2"/>
  <origin xyz="0 0.05 0.2" rpy="1.1 0 -0.3"/><axis xyz="0 1 0"/><limit lower="-1" upper="1"/></joint>
<joint name="skew" type="continuous"><parent link="l2"/><child link="l3"/>
  <origin xyz="0.3 0 0" rpy="0 0.7 0"/><axis xyz="0.6 0 0.8"/></joint>
<joint name="flange" type="fixed"><parent link="l3"/><child link="l4"/><origin xyz="0 0 0.15" rpy="0 0 0.785"/></joint>
<joint name="bend" type="revolute"><parent link="l4"/><child link="tip"/>
  <origin xyz="0.02 0.03 0.04"/><limit lower="-2" upper="2"/></joint>
<joint name="finger" type="prismatic"><parent link="tip"/><child link="jaw"/><mimic joint="bend"/></joint>
<joint name="float" type="floating"><parent link="tip"/><child link="loose"/></joint>
</robot>"""
ODD_POSE = np.array(
    [
        [0.343747654822, -0.856586964586, 0.384832849306, 0.26064032918],
        [0.854428074565, 0.455319729682, 0.250273069183, 0.093233592464],
        [-0.389602637568, 0.242781209865, 0.888407040121, 0.599044471272],
    ]
)
"""Of the tip at 0.7, -0.25, -1.9, 0.4, as yourdfpy 0.0.60 gives it."""

PLANAR = (
    ChainJoint(name="j0", type="revolute", axis=(0.0, 0.0, 2.0), dimension="j0"),
    ChainJoint(name="j1", type="revolute", xyz=(0.3, 0.0, 0.0), axis=(0.0, 0.0, 2.0), dimension="j1"),
    ChainJoint(name="tool", type="fixed", xyz=(0.2, 0.0, 0.05)),
)


def written(folder: Path, text: str) -> Path:
    path = folder / "arm.urdf"
    path.write_text(text, "utf-8")
    return path


def test_a_planar_arm_is_where_the_closed_form_says():
    first, second = np.array([0.0, 0.4, -1.2]), np.array([0.0, 1.0, 2.5])
    found = forward(PLANAR, {"j0": first, "j1": second})
    x = 0.3 * np.cos(first) + 0.2 * np.cos(first + second)
    y = 0.3 * np.sin(first) + 0.2 * np.sin(first + second)
    np.testing.assert_allclose(found.position, np.stack([x, y, np.full(3, 0.05)], axis=1), atol=1e-15)
    wanted = rotation_matrices(np.stack([0 * x, 0 * x, first + second], axis=1), RotationConvention.EULER_XYZ)
    assert wanted is not None
    assert angle_between(found.rotation, wanted).max() < 1e-14
    np.testing.assert_allclose(found.axes, np.broadcast_to([0.0, 0.0, 1.0], (2, 3, 3)), atol=1e-15)
    np.testing.assert_allclose(found.origins[1, :, 0], 0.3 * np.cos(first))


def test_an_odd_chain_is_where_another_program_puts_it(tmp_path):
    text = chain_yaml(chain_between(read_urdf(written(tmp_path, ODD)), "tip"), joints="arm", pose="pose")
    (document,) = yaml.safe_load(text)["kinematics"]
    chain = parse(Kinematics, document, "test").chain
    assert [j.dimension for j in chain] == ["turn", "slide", "skew", None, "bend"]
    at = {"turn": 0.7, "slide": -0.25, "skew": -1.9, "bend": 0.4}
    found = forward(chain, {n: np.array([v]) for n, v in at.items()})
    np.testing.assert_allclose(found.position[0], ODD_POSE[:, 3], atol=1e-11)
    np.testing.assert_allclose(found.rotation[0], ODD_POSE[:, :3], atol=1e-11)


def test_unknown_positions_give_unknown_poses_and_none_give_none():
    found = forward(PLANAR, {"j0": np.array([0.0, np.nan]), "j1": np.zeros(2)})
    assert np.isfinite(found.position).all(axis=1).tolist() == [True, False]
    assert forward(PLANAR, {"j0": np.zeros(0), "j1": np.zeros(0)}).position.shape == (0, 3)


def test_conventions_of_rotations_agree():
    roll, pitch, yaw = 0.3, -0.4, 1.2
    euler = rotation_matrices(np.array([[roll, pitch, yaw]]), RotationConvention.EULER_XYZ)
    half = [(math.cos(a / 2), math.sin(a / 2)) for a in (roll, pitch, yaw)]
    (cr, sr), (cp, sp), (cy, sy) = half
    wxyz = np.array(
        [[
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ]]
    )  # fmt: skip
    angle = 2 * math.acos(wxyz[0, 0])
    vector = wxyz[:, 1:] / np.linalg.norm(wxyz[:, 1:]) * angle
    others = [
        rotation_matrices(wxyz, RotationConvention.QUATERNION_WXYZ),
        rotation_matrices(-2 * wxyz[:, [1, 2, 3, 0]], RotationConvention.QUATERNION_XYZW),
        rotation_matrices(vector, RotationConvention.ROTATION_VECTOR),
    ]
    assert euler is not None
    for other in others:
        assert other is not None
        np.testing.assert_allclose(other, euler, atol=1e-14)
    assert rotation_matrices(np.zeros((1, 6)), RotationConvention.ROTATION_6D) is None
    assert rotation_matrices(np.zeros((1, 4)), RotationConvention.EULER_XYZ) is None
    nothing = rotation_matrices(np.zeros((1, 4)), RotationConvention.QUATERNION_XYZW)
    assert nothing is not None
    assert np.isnan(nothing).all()


class TestChain:
    def test_a_base_further_up_is_where_the_chain_begins(self, tmp_path):
        odd = read_urdf(written(tmp_path, ODD))
        assert [j.name for j in chain_between(odd, "l4", "l1")] == ["slide", "skew", "flange"]
        assert [j.name for j in odd.joints] == ["turn", "slide", "skew", "bend", "finger", "float"]

    @pytest.mark.parametrize(
        ("tip", "base", "message"),
        [
            ("tipp", None, "arm.urdf: no joint has a link 'tipp'; did you mean 'tip'?"),
            ("tip", "nowhere", "arm.urdf: no joint has a link 'nowhere'"),
            ("l1", "l3", "arm.urdf: l3 is not between the root and l1"),
            ("base", None, "arm.urdf: there is no joint above base"),
            ("jaw", None, "arm.urdf: joint finger follows another joint; a chain must not have such"),
            ("loose", None, "arm.urdf: joint float is 'floating'; its motion is no one number"),
        ],
    )
    def test_links_that_make_no_chain_are_refused(self, tmp_path, tip, base, message):
        with pytest.raises(SchemaError) as caught:
            chain_between(read_urdf(written(tmp_path, ODD)), tip, base)
        assert str(caught.value).startswith(message)

    def test_a_ring_of_links_ends(self, tmp_path):
        ring = "".join(
            f'<joint name="{a}" type="fixed"><parent link="{a}"/><child link="{b}"/></joint>' for a, b in ("xy", "yx")
        )
        with pytest.raises(SchemaError, match="is it a ring"):
            chain_between(read_urdf(written(tmp_path, f'<robot name="r">{ring}</robot>')), "x")

    @pytest.mark.parametrize("xyz", ["1 2", "a b c", "nan 0 0", "${x} 0 0", ""])
    def test_numbers_that_are_none_are_refused(self, tmp_path, xyz):
        joint = f'<joint name="j" type="fixed"><parent link="a"/><child link="b"/><origin xyz="{xyz}"/></joint>'
        chain = chain_between(read_urdf(written(tmp_path, f'<robot name="r">{joint}</robot>')), "b")
        with pytest.raises(SchemaError, match=r"joint j has xyz .*; it must be three numbers"):
            chain_yaml(chain, joints="arm", pose="pose")

    def test_names_and_small_numbers_survive_yaml(self, tmp_path):
        joint = (
            '<joint name="a &quot;b&quot;: #" type="fixed"><parent link="a"/><child link="b"/>'
            '<origin xyz="1e-05 -7.849E-06 0"/></joint>'
        )
        chain = chain_between(read_urdf(written(tmp_path, f'<robot name="r">{joint}</robot>')), "b")
        (document,) = yaml.safe_load(chain_yaml(chain, joints="arm", pose="pose"))["kinematics"]
        assert document["chain"] == [
            {"name": 'a "b": #', "type": "fixed", "xyz": [1e-05, -7.849e-06, 0], "rpy": [0, 0, 0]}
        ]

    def test_the_command_prints_the_section(self, cli, tmp_path):
        done = cli("schema", "kinematics", written(tmp_path, ODD), "--tip", "l2", "--joints", "arm", "--pose", "hand")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            "kinematics:  # from base to l2; each dimension must be one of arm",
            "  - joints: arm",
            "    pose: hand",
            "    chain:",
            '      - {name: "turn", type: revolute, xyz: [0.1, -0.2, 0.3], rpy: [0.4, -0.5, 0.6], axis: [0, 0, 1], '
            'dimension: "turn"}',
            '      - {name: "slide", type: prismatic, xyz: [0, 0.05, 0.2], rpy: [1.1, 0, -0.3], axis: [0, 1, 0], '
            'dimension: "slide"}',
        ]
        failed = cli("schema", "kinematics", written(tmp_path, ODD), "--tip", "nothing")
        assert failed.returncode == 1
        assert "no joint has a link 'nothing'" in failed.stderr

    def test_a_real_arm_has_its_flange(self, shared_data):
        franka = read_urdf(shared_data / "urdf" / "lula_franka_gen.urdf")
        chain = chain_between(franka, "panda_link8", "panda_link0")
        assert [j.name for j in chain] == [f"panda_joint{i}" for i in range(1, 9)]


def schema(**changes: Any) -> dict[str, Any]:
    joint = {"kind": "joint_position", "unit": "rad"}
    place = {"kind": "position", "unit": "m"}
    section = {
        "joints": "arm",
        "pose": "hand",
        "chain": [{"name": "j", "type": "revolute", "axis": [0, 0, 1], "dimension": "j0"}],
    }
    return {
        "name": "x",
        "rate_hz": 10,
        "proprioception": [
            {"name": "arm", "dimensions": [{"name": "j0", **joint}, {"name": "j1", **joint, "normalized": True}]},
            {"name": "hand", "dimensions": [{"name": n, **place} for n in "xyz"]},
        ],
        "kinematics": [section | changes],
    }


class TestSchema:
    def test_the_section_is_part_of_the_meaning_and_of_the_digest(self):
        document = schema()
        full = parse(Embodiment, document, "x")
        assert full.kinematics[0].chain[0].dimension == "j0"
        bare = parse(Embodiment, {k: v for k, v in document.items() if k != "kinematics"}, "x")
        assert bare.digest != full.digest
        assert bare.digest == parse(Embodiment, document | {"kinematics": []}, "x").digest

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"joints": "leg"}, "kinematics names leg; it must be a proprioception signal: arm, hand"),
            (
                {"chain": [{"name": "j", "type": "fixed"}]},
                "no joint of the chain has a dimension; at least one must have",
            ),
            (
                {"chain": [{"name": "j", "type": "revolute", "dimension": "j1"}]},
                "joint j is measured by arm.j1; that must be there, in rad",
            ),
            (
                {"chain": [{"name": "j", "type": "prismatic", "dimension": "j0"}]},
                "joint j is measured by arm.j0; that must be there, in m",
            ),
            ({"position": ["x", "y"]}, "hand has 2 positions (x, y); x, y and z in m must be named"),
            ({"rotation": ["w"]}, "kinematics names hand.w, which is not there"),
            (
                {"chain": [{"name": "j", "type": "revolute", "axis": [0, 0, 0]}]},
                "joint j has the axis [0.0, 0.0, 0.0]; it must have a direction",
            ),
            (
                {"chain": [{"name": "j", "type": "fixed", "dimension": "j0"}]},
                "joint j is fixed; it must have no dimension",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(self, changes, message):
        with pytest.raises(SchemaError) as caught:
            parse(Embodiment, schema(**changes), "x.yaml")
        assert message in str(caught.value)
