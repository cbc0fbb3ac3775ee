"""Joints out of URDFs: the public ones, small ones with every oddity, and hostile ones."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.errors import GateError, SchemaError, VladataError
from vladata.urdf import Joint, Urdf, match_joints, read_urdf


def written(folder: Path, inner: str, head: str = '<robot name="arm">') -> Path:
    path = folder / "arm.urdf"
    path.write_text(f"{head}{inner}</robot>", "utf-8")
    return path


def urdf(*names: str) -> Urdf:
    joints = tuple(Joint(name=n, type="revolute", limits=(-1.0, 1.0)) for n in names)
    return Urdf(file="arm.urdf", robot="arm", joints=joints)


class TestPublic:
    def test_franka_has_its_limits_speeds_and_a_mimic(self, shared_data: Path) -> None:
        found = {j.name: j for j in read_urdf(shared_data / "urdf" / "lula_franka_gen.urdf").joints}
        assert len(found) == 9
        assert found["panda_joint4"] == Joint(
            name="panda_joint4", type="revolute", limits=(-3.0718, -0.0698), max_velocity=2.175, max_effort=87.0
        )
        finger = found["panda_finger_joint2"]
        assert finger.is_sliding
        assert finger.limits == (0.0, 0.04)
        assert finger.mimics == "panda_finger_joint1"

    def test_g1_has_43_joints_and_no_note(self, shared_data: Path) -> None:
        found = read_urdf(shared_data / "urdf" / "g1_29dof_with_hand.urdf")
        assert (found.robot, len(found.joints), found.notes) == ("g1_29dof_with_hand", 43, ())
        elbow = next(j for j in found.joints if j.name == "left_elbow_joint")
        assert (elbow.limits, elbow.max_velocity, elbow.max_effort) == ((-1.0472, 2.0944), 37.0, 25.0)

    def test_continuous_joints_of_so_arm100_have_no_limits(self, shared_data: Path) -> None:
        found = read_urdf(shared_data / "urdf" / "so_arm100_5dof.urdf")
        names = ["Rotation", "Pitch", "Elbow", "Wrist_Pitch", "Wrist_Roll", "Jaw"]
        assert [(j.name, j.type, j.limits, j.max_velocity) for j in found.joints] == [
            (n, "continuous", None, None) for n in names
        ]

    def test_misspelt_joint_of_rebot_is_not_joined_but_named(self, shared_data: Path) -> None:
        found = read_urdf(shared_data / "urdf" / "reBot-DevArm_fixend.urdf")
        assert [j.name for j in found.joints] == ["joint1", "joint2", "join3", "joint4", "joint5", "joint6"]
        match = match_joints([f"joint{i}" for i in range(1, 7)], found)
        assert sorted(match.joints) == ["joint1", "joint2", "joint4", "joint5", "joint6"]
        assert match.remarks == {"joint3": "urdf: not joined; is it join3, misspelt?"}
        assert match.unused == ("join3",)

    def test_hobby_arm_has_a_joint_that_mimics_its_gripper(self, shared_data: Path) -> None:
        found = read_urdf(shared_data / "urdf" / "robot_arm_6dof.urdf")
        assert [j.name for j in found.joints if j.mimics == "gripper"] == ["follower-gear"]
        assert len(found.joints) == 7


class TestReading:
    def test_joints_of_transmissions_are_no_joints(self, tmp_path: Path) -> None:
        inner = '<joint name="a" type="continuous"/><transmission><joint name="a" type="revolute"/></transmission>'
        assert [j.type for j in read_urdf(written(tmp_path, inner)).joints] == ["continuous"]

    def test_missing_lower_limit_is_zero_as_the_specification_says(self, tmp_path: Path) -> None:
        path = written(
            tmp_path, '<joint name="a" type="prismatic"><limit upper="0.1" effort="1" velocity="0"/></joint>'
        )
        (joint,) = read_urdf(path).joints
        assert joint.limits == (0.0, 0.1)
        assert joint.max_velocity is None  # 0 would be a joint that can't move

    @pytest.mark.parametrize(
        ("limit", "note"),
        [
            ('<limit effort="1"/>', "joint a is revolute and has no limits"),
            ('<limit lower="1" upper="1"/>', "joint a has limits 1 to 1; the first must be less, so they are not used"),
            ('<limit lower="nan" upper="1"/>', "joint a has lower 'nan', which is no number"),
            (
                '<limit lower="${-pi}" upper="1"/>',
                "joint a has lower '${-pi}', which is no number; expand the file with xacro first",
            ),
        ],
    )
    def test_limits_that_say_nothing_are_noted(self, tmp_path: Path, limit: str, note: str) -> None:
        found = read_urdf(written(tmp_path, f'<joint name="a" type="revolute">{limit}</joint>'))
        assert found.joints[0].limits is None
        assert found.notes == (note,)

    def test_type_that_no_urdf_knows_is_noted(self, tmp_path: Path) -> None:
        found = read_urdf(written(tmp_path, '<joint name="a" type="hinge"/><joint name="b" type="fixed"/>'))
        assert found.joints == ()
        assert found.notes == ("joint a has the type 'hinge', which a URDF does not know; it is left out",)


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('<!DOCTYPE robot [<!ENTITY a "b">]><robot>&a;</robot>', "document type, entities"),
            ('<!DOCTYPE robot SYSTEM "file:///etc/passwd"><robot/>', "document type, entities"),
            ("<robot>" + "<a>" * 70 + "</a>" * 70 + "</robot>", "nested deeper than 64"),
            ("<robot>" + '<joint name="a{}" type="floating"/>' * 0 + " " * 5_000_001 + "</robot>", "5,000,000 bytes"),
            (
                "<robot>" + "".join(f'<joint name="{i}" type="planar"/>' for i in range(2001)) + "</robot>",
                "2000 joints",
            ),
        ],
        ids=["entity", "external", "deep", "large", "many"],
    )
    def test_what_breaks_a_limit(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "a.urdf"
        path.write_text(text)
        with pytest.raises(GateError, match=message):
            read_urdf(path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "not XML"),
            ("<robot><joint>", "not XML"),
            ('<?xml version="1.0" encoding="klingon"?><robot/>', "not XML"),
            ("<mujoco/>", "root element is <mujoco>"),
            ('<robot><joint type="revolute"/></robot>', "has no name"),
            ('<robot><joint name="a" type="planar"/><joint name="a" type="planar"/></robot>', "joint a comes twice"),
        ],
    )
    def test_what_is_no_urdf(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "a.urdf"
        path.write_text(text)
        with pytest.raises(SchemaError, match=message):
            read_urdf(path)

    def test_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SchemaError, match="no such URDF file"):
            read_urdf(tmp_path / "none.urdf")

    @given(st.integers(0, 10_000), st.integers(1, 255))
    def test_flipped_bytes_give_a_urdf_or_an_error_of_ours(
        self, tmp_path_factory: pytest.TempPathFactory, place: int, flip: int
    ) -> None:
        data = bytearray(
            b'<?xml version="1.0"?><robot name="r">'
            b'<joint name="a" type="revolute"><limit lower="-1" upper="1" velocity="2" effort="3"/></joint>'
            b'<joint name="b" type="prismatic"><limit lower="0" upper="1e-1"/><mimic joint="a"/></joint></robot>'
        )
        data[place % len(data)] ^= flip
        path = tmp_path_factory.mktemp("urdf") / "a.urdf"
        path.write_bytes(data)
        with contextlib.suppress(VladataError):
            assert len(read_urdf(path).joints) <= 2


class TestMatching:
    @pytest.mark.parametrize(
        ("recorded", "joint"),
        [
            ("left_elbow", "left_elbow_joint"),
            ("kLeftElbow", "left_elbow_joint"),
            ("left_elbow.pos", "left_elbow_joint"),
            ("joint1", "panda_joint1"),
            ("lwr_arm_0_joint", "arm_0"),
            ("wrist_roll.pos", "Wrist_Roll"),
        ],
    )
    def test_words_that_fit_one_joint_only_join_it(self, recorded: str, joint: str) -> None:
        match = match_joints([recorded], urdf(joint, "something_else_9"))
        assert match.joints[recorded].name == joint
        assert match.remarks[recorded] == f"urdf: {joint}, by its words"

    def test_the_very_name_needs_no_remark_and_goes_first(self) -> None:
        match = match_joints(["elbow", "left_elbow"], urdf("left_elbow", "elbow"))
        assert {n: j.name for n, j in match.joints.items()} == {"elbow": "elbow", "left_elbow": "left_elbow"}
        assert match.remarks == {}

    def test_name_that_fits_two_joints_joins_none(self) -> None:
        match = match_joints(["gripper"], urdf("left_gripper", "right_gripper"))
        assert match.joints == {}
        assert match.remarks == {"gripper": "urdf: unsure, could be left_gripper, right_gripper"}

    def test_two_names_that_fit_one_joint_join_none(self) -> None:
        match = match_joints(["left_wrist", "right_wrist"], urdf("wrist"))
        assert match.joints == {}
        assert "as left_wrist is" in match.remarks["right_wrist"]

    @pytest.mark.parametrize("name", ["1", "joint2", "", "é", "pos"])
    def test_numbers_and_empty_words_join_nothing(self, name: str) -> None:
        assert match_joints([name], urdf("joint1", "arm_1_joint")).joints == {}

    @given(st.lists(st.text(max_size=12), max_size=6), st.lists(st.text(max_size=12), max_size=6, unique=True))
    def test_no_joint_is_joined_twice(self, names: list[str], joints: list[str]) -> None:
        match = match_joints(names, urdf(*joints))
        used = [j.name for j in match.joints.values()]
        assert len(used) == len(set(used))
        assert set(match.unused) == set(joints) - set(used)
