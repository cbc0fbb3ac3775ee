"""What drafts say about values: which command drives which state, how, and what units the numbers could be in."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vladata.drafts import Key, Sample, draft_mapping, draft_schema
from vladata.embodiment import Embodiment
from vladata.mapping import Mapping, SchemaFile, load_mapping, load_schema
from vladata.sources import Inspection, Place, StreamInfo
from vladata.units import Clock, Kind, Mode, RotationConvention, Unit
from vladata.urdf import Joint, Urdf

Floats = NDArray[np.float64]
MS = 1_000_000
Drafted = tuple[SchemaFile, str]


class Robot:
    """A recording in memory: streams with their values, as a source would describe them."""

    def __init__(self, source: str = "lerobot_v2", rate_hz: float | None = 30.0) -> None:
        self.source, self.rate_hz = source, rate_hz
        self.infos: list[StreamInfo] = []
        self.samples: dict[Key, Sample] = {}

    def add(
        self,
        name: str,
        values: Floats,
        names: Sequence[str] = (),
        *,
        field: str | None = None,
        type: str = "float32",  # noqa: A002
        time_ns: NDArray[np.int64] | None = None,
    ) -> "Robot":
        values = np.asarray(values, dtype=np.float64)
        times = np.arange(len(values), dtype=np.int64) if time_ns is None else time_ns
        info = StreamInfo(
            name=name,
            field=field,
            type=type,
            count=len(values),
            shape=values.shape[1:],
            dtype="float32",
            element_names=tuple(names),
            clock=Clock.NOMINAL if time_ns is None else Clock.UNIX,
            time_ns=times[:0] if time_ns is None else times,
        )
        part = np.zeros(len(values), dtype=np.int64)
        self.infos.append(info)
        self.samples[name, field] = Sample(values=values, time_ns=times, part=part, is_stepped=time_ns is None)
        return self

    @property
    def inspection(self) -> Inspection:
        return Inspection(
            source=self.source,
            places=(Place(name="a"),),
            looked_at="a",
            streams=tuple(self.infos),
            rate_hz=self.rate_hz,
        )

    def schema(self, folder: Path, urdf: Urdf | None = None) -> Drafted:
        text = draft_schema(self.inspection, "robot", samples=self.samples, urdf=urdf)
        return loaded(text, folder), text

    def mapping(self, folder: Path, embodiment: Embodiment) -> tuple[Mapping, str]:
        text = draft_mapping(self.inspection, embodiment, samples=self.samples)
        (folder / "mapping.yaml").write_text(text, "utf-8")
        return load_mapping(folder / "mapping.yaml", embodiment), text


def loaded(text: str, folder: Path) -> SchemaFile:
    (folder / "draft.yaml").write_text(text, "utf-8")
    return load_schema(folder / "draft.yaml")


def one_line(text: str) -> str:
    """A draft without the line breaks of its comments."""
    return re.sub(r"\n *#   (?=\S)", " ", text)


def walk(rows: int, columns: int, seed: int = 0, scale: float = 1.0) -> Floats:
    """Smooth motion within about ± scale."""
    rng = np.random.default_rng(seed)
    time = np.arange(rows)[:, None] / 30
    phase, speed = rng.uniform(0, 6, (3, 1, columns)), rng.uniform(0.5, 3, (3, 1, columns))
    return sum((np.sin(speed[i] * time + phase[i]) for i in range(3)), np.zeros((rows, columns))) * scale / 3


JOINTS = [f"joint{i}" for i in range(1, 7)]


class TestCommands:
    def test_action_that_is_the_next_state_is_no_command_and_can_be_marked_as_derived(self, tmp_path: Path) -> None:
        state = walk(300, 6)
        action = np.vstack([state[1:], state[-1:]])
        schema, text = Robot().add("observation.state", state, JOINTS).add("action", action, JOINTS).schema(tmp_path)
        assert "equals state 1 row (33 ms at 30 Hz) later, in all 300 rows: what was measured next" in one_line(text)
        assert [s.name for s in schema.action] == ["action"]
        marked = re.sub(r"\n      action: \{from: action\}", "", text)
        marked = marked.replace("    # derived:\n    #   action:", "    derived:\n      action:")
        assert marked != text
        mapping = loaded(marked, tmp_path).mapping_for("lerobot_v2")
        assert mapping is not None
        assert mapping.derived["action"].source == "state"

    def test_action_that_is_the_state_of_its_row_is_called_a_copy(self, tmp_path: Path) -> None:
        state = walk(100, 6)
        text = Robot().add("observation.state", state, JOINTS).add("action", state, JOINTS).schema(tmp_path)[1]
        assert "equals state in the same row, in all 100 rows: a copy of what was measured" in one_line(text)

    def test_targets_are_absolute_and_give_their_order_to_unnamed_elements(self, tmp_path: Path) -> None:
        order = walk(400, 6)
        state = np.vstack([order[:1].repeat(5, axis=0), order[:-5]])
        state += np.random.default_rng(1).normal(0, 0.005, state.shape)
        robot = Robot("rlds").add("observation/state", state, JOINTS).add("action", order)
        schema, text = robot.schema(tmp_path)
        assert schema.signal("action").names == tuple(JOINTS)
        assert {d.kind for d in schema.signal("action").dimensions} == {Kind.JOINT_POSITION}
        assert {d.mode for d in schema.signal("action").dimensions} == {Mode.ABSOLUTE}
        expected = (
            "absolute: follows the level of state (clear: correlation 1.00, all that move, 400 rows; it comes 5 rows"
        )
        assert expected in one_line(text)

    def test_changes_are_deltas_and_a_gripper_beside_them_is_absolute(self, tmp_path: Path) -> None:
        state = walk(400, 7)
        gripper = (np.arange(400) // 40 % 2).astype(float)
        state[:, 6] = np.concatenate([gripper[:1], gripper[:-1]])
        action = np.vstack([np.diff(state, axis=0), np.zeros((1, 7))]) * 20
        action[:, 6] = gripper
        schema, text = Robot("rlds").add("observation/state", state).add("action", action).schema(tmp_path)
        assert [d.mode for d in schema.signal("action").dimensions] == [Mode.DELTA] * 6 + [Mode.ABSOLUTE]
        assert "delta: matches the change of state (clear" in one_line(text)
        assert "its numbers are 20 times the state's" in one_line(text)
        assert "two values only, 0 and 1: a gripper's command?" in text

    def test_rates_of_change_are_velocities(self, tmp_path: Path) -> None:
        time_ns = np.arange(900, dtype=np.int64) * 20 * MS
        state = walk(900, 3)
        rate = np.gradient(state, 0.02, axis=0)
        robot = Robot("csv_video", None).add("pos_*", state, ["pos_a", "pos_b", "pos_c"], time_ns=time_ns)
        schema, text = robot.add("cmd_*", rate, ["cmd_a", "cmd_b", "cmd_c"], time_ns=time_ns).schema(tmp_path)
        assert {d.mode for d in schema.signal("cmd").dimensions} == {Mode.VELOCITY}
        assert "velocity: matches the speed of pos" in one_line(text)

    def test_command_in_degrees_for_a_state_in_radians_is_pointed_out(self, tmp_path: Path) -> None:
        state = walk(300, 6)
        action = np.rad2deg(state) + np.random.default_rng(0).normal(0, 0.2, state.shape)
        text = Robot().add("observation.state", state).add("action", action).schema(tmp_path)[1]
        assert "its numbers are 57.3 times the state's: degrees against radians?" in one_line(text)

    def test_noise_drives_nothing_and_its_mode_is_an_assumption(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).normal(size=(300, 6))
        _, text = Robot().add("observation.state", walk(300, 6)).add("action", noise).schema(tmp_path)
        assert "mode: absolute is assumed; nothing was seen that says it" in text
        assert "follows" not in text

    @settings(deadline=None, max_examples=15)
    @given(lag_ms=st.integers(0, 400), rate=st.sampled_from([20, 50, 100]), seed=st.integers(0, 99))
    def test_lag_of_a_state_behind_its_command_is_found_on_true_time(
        self, tmp_path_factory: pytest.TempPathFactory, lag_ms: int, rate: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        fine = np.arange(0, 20_000)
        motion = np.stack([np.interp(fine, np.arange(0, 20_001, 500), rng.normal(size=41)) for _ in range(3)], axis=1)
        ordered = np.arange(0, 20_000, 1000 // rate)
        measured = np.arange(3, 20_000, 10)
        robot = Robot("mcap", None)
        start = 1_700_000_000_000
        robot.add(
            "/joint_states",
            motion[np.clip(measured - lag_ms, 0, None)],
            ["a", "b", "c"],
            field="position",
            type="sensor_msgs/msg/JointState",
            time_ns=(measured + start).astype(np.int64) * MS,
        )
        robot.add(
            "/command",
            motion[ordered],
            field="data",
            type="std_msgs/msg/Float64MultiArray",
            time_ns=(ordered + start).astype(np.int64) * MS,
        )
        text = one_line(robot.schema(tmp_path_factory.mktemp("lag"))[1])
        found = re.search(
            r"follows the level of joint_states_position .*(at the same time|it comes ([0-9]+) ms (before|after))", text
        )
        assert found is not None
        sign = -1 if found.group(3) == "after" else 1
        assert abs(sign * int(found.group(2) or 0) - lag_ms) <= 10

    def test_command_of_the_right_arm_is_found_by_what_it_drives(self, tmp_path: Path) -> None:
        left, right = walk(500, 3, 1), walk(500, 3, 2)
        time_ns = (np.arange(500, dtype=np.int64) + 85_000_000_000) * 20 * MS
        kind = {"field": "position", "type": "sensor_msgs/msg/JointState", "time_ns": time_ns}
        order = {"field": "data", "type": "std_msgs/msg/Float64MultiArray", "time_ns": time_ns - 60 * MS}
        robot = Robot("mcap", None)
        robot.add("/left/joint_states", left, ["la", "lb", "lc"], **kind)  # type: ignore[arg-type]
        robot.add("/right/joint_states", right, ["ra", "rb", "rc"], **kind)  # type: ignore[arg-type]
        robot.add("/cmd_0", right, **order)  # type: ignore[arg-type]
        robot.add("/cmd_1", left, **order)  # type: ignore[arg-type]
        position = "kind: joint_position, unit: rad"
        schema = "name: two\nrate_hz: 10\nproprioception:\n"
        for side in ("left", "right"):
            dims = ", ".join(f"{{name: {side[0]}{c}, {position}}}" for c in "abc")
            schema += f"  - {{name: {side}_position, dimensions: [{dims}]}}\n"
        schema += "action:\n"
        for side in ("left", "right"):
            dims = ", ".join(f"{{name: {side[0]}{c}, {position}, mode: absolute}}" for c in "abc")
            schema += f"  - {{name: {side}_command, dimensions: [{dims}]}}\n"
        embodiment = loaded(schema, tmp_path).embodiment
        mapping, text = robot.mapping(tmp_path, embodiment)
        assert {n: s.source for n, s in mapping.streams.items()} == {
            "left_position": "/left/joint_states",
            "right_position": "/right/joint_states",
            "left_command": "/cmd_1",
            "right_command": "/cmd_0",
        }
        assert "drives left_position (clear: correlation" in one_line(text)

    def test_measured_stream_that_runs_ahead_is_asked_about(self, tmp_path: Path) -> None:
        leader = walk(400, 6)
        follower = np.vstack([leader[:1].repeat(4, axis=0), leader[:-4]]) + 0.001 * walk(400, 6, 5)
        robot = Robot("hdf5_columns").add("leader", leader, JOINTS).add("follower", follower, JOINTS)
        text = one_line(robot.schema(tmp_path)[1])
        assert "runs ahead of follower by 4 rows (133 ms at 30 Hz) and is alike" in text
        assert "is it the command? Then move it to action" in text
        assert "runs ahead of leader" not in text


class TestNoCommand:
    def test_next_state_actions_are_there_as_comments_that_work(self, tmp_path: Path) -> None:
        robot = Robot().add("observation.state", walk(50, 2), ["elbow", "wrist"])
        schema, text = robot.schema(tmp_path)
        assert schema.action == ()
        lines = []
        for line in text.splitlines():
            if re.match(r"action: \[\]", line):
                continue
            is_block = re.match(r"# (action:|  )|    # (derived:|  next_)", line)
            lines.append(line.replace("# ", "", 1) if is_block else line)
        taken = loaded("\n".join(lines), tmp_path)
        assert [s.name for s in taken.action] == ["next_state"]
        assert {d.mode for d in taken.action[0].dimensions} == {Mode.ABSOLUTE}
        mapping = taken.mapping_for("lerobot_v2")
        assert mapping is not None
        assert mapping.derived["next_state"].source == "state"


ARM = Urdf(
    file="arm.urdf",
    robot="arm",
    joints=tuple(Joint(name=n, type="revolute", limits=(-2.0, 2.0), max_velocity=3.0, max_effort=9.0) for n in JOINTS),
)


class TestUnits:
    def test_degrees_are_a_line_where_the_urdf_says_so(self, tmp_path: Path) -> None:
        robot = Robot().add("observation.state", np.rad2deg(walk(200, 6, scale=1.9)), JOINTS)
        schema, text = robot.schema(tmp_path, ARM)
        assert {(d.unit, d.limits, d.max_velocity) for d in schema.signal("state").dimensions} == {
            (Unit.RADIAN, (-2.0, 2.0), 3.0)
        }
        mapping = schema.mapping_for("lerobot_v2")
        assert mapping is not None
        assert mapping.streams["state"].units == "deg"
        assert "lies within its limits as degrees, not as radians" in text
        assert "# urdf: arm.urdf" in text

    def test_degrees_are_a_question_where_nobody_says_so(self, tmp_path: Path) -> None:
        schema, text = Robot().add("observation.state", walk(200, 6, scale=170), JOINTS).schema(tmp_path)
        mapping = schema.mapping_for("lerobot_v2")
        assert mapping is not None
        assert mapping.streams["state"].units is None
        assert {d.unit for d in schema.signal("state").dimensions} == {Unit.ONE}
        assert "beyond 2π: degrees? If so: units: deg, and unit: rad in the schema" in one_line(text)

    def test_degrees_of_some_dimensions_are_declared_for_those_only(self, tmp_path: Path) -> None:
        values = np.hstack([np.rad2deg(walk(200, 6, scale=1.9)), 50 + walk(200, 1, scale=49)])
        robot = Robot().add("observation.state", values, [*JOINTS, "gripper"])
        schema, text = robot.schema(tmp_path, ARM)
        mapping = schema.mapping_for("lerobot_v2")
        assert mapping is not None
        assert mapping.streams["state"].units == dict.fromkeys(JOINTS, "deg")
        assert "seen: percent? which is open?" in text

    def test_name_that_says_degrees_is_believed(self, tmp_path: Path) -> None:
        names = ["elbow_deg", "wrist_deg"]
        schema, _ = Robot("csv_video", None).add("*_deg", walk(50, 2, scale=30), names).schema(tmp_path)
        mapping = schema.mapping_for("csv_video")
        assert mapping is not None
        (stream,) = mapping.streams.values()
        assert stream.units == "deg"
        assert {(d.kind, d.unit) for d in schema.signals[0].dimensions} == {(Kind.JOINT_POSITION, Unit.RADIAN)}

    def test_values_that_fit_the_urdf_in_no_unit_take_no_limits(self, tmp_path: Path) -> None:
        schema, text = Robot().add("observation.state", walk(200, 6, scale=900), JOINTS).schema(tmp_path, ARM)
        assert {(d.unit, d.limits) for d in schema.signal("state").dimensions} == {(Unit.ONE, None)}
        assert "neither as radians nor as degrees; limits are left out" in one_line(text)

    def test_speeds_and_efforts_of_joint_states_take_the_urdfs(self, tmp_path: Path) -> None:
        robot = Robot("mcap", None)
        time_ns = np.arange(200, dtype=np.int64) * 10 * MS
        for field in ("position", "velocity", "effort"):
            robot.add(
                "/joint_states", walk(200, 6), JOINTS, field=field, type="sensor_msgs/msg/JointState", time_ns=time_ns
            )
        schema, _ = robot.schema(tmp_path, ARM)
        assert schema.signal("joint_states_velocity").dimensions[0].limits == (-3.0, 3.0)
        assert schema.signal("joint_states_effort").dimensions[0].limits == (-9.0, 9.0)
        assert schema.signal("joint_states_position").dimensions[0].limits == (-2.0, 2.0)

    def test_fingers_of_franka_slide_and_its_joints_are_found_by_their_ends(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        from vladata.urdf import read_urdf

        franka = read_urdf(shared_data / "urdf" / "lula_franka_gen.urdf")
        names = [f"joint{i}" for i in range(1, 8)] + ["finger_joint1"]
        middle = np.array([0, 0, 0, -1.5, 0, 1.8, 0, 0.02])
        values = middle + walk(100, 8) * np.array([1] * 7 + [0.01])
        schema, text = Robot().add("observation.state", values, names).schema(tmp_path, franka)
        finger = schema.signal("state").dimensions[7]
        assert (finger.unit, finger.limits, finger.kind) == (Unit.METRE, (0.0, 0.04), Kind.GRIPPER_APERTURE)
        assert schema.signal("state").dimensions[3].limits == (-3.0718, -0.0698)
        assert "# urdf: panda_joint4" in text
        assert "urdf: unsure, could be panda_joint2, panda_finger_joint2" in text
        assert schema.signal("state").dimensions[1].limits is None
        assert "joints that no dimension is about: panda_joint2, panda_finger_joint2" in text

    def test_encoder_ticks_are_a_question(self, tmp_path: Path) -> None:
        ticks = np.round(2048 + walk(200, 6, scale=1500))
        text = one_line(Robot().add("observation.state", ticks, JOINTS).schema(tmp_path)[1])
        assert "ticks of an encoder? Which tick is 0 rad is not known" in text
        assert "If so: units: {ticks_per_turn: 4096, zero: 2048}, and unit: rad in the schema" in text

    def test_ranges_of_hundred_may_be_degrees_or_a_calibrated_range(self, tmp_path: Path) -> None:
        text = one_line(Robot().add("observation.state", walk(200, 6, scale=99), JOINTS).schema(tmp_path)[1])
        assert "beyond 2π: degrees, or -100 to 100 of a calibrated range?" in text

    def test_radians_by_type_that_are_none_are_pointed_out(self, tmp_path: Path) -> None:
        robot = Robot("mcap", None)
        robot.add(
            "/joint_states",
            walk(200, 6, scale=170),
            JOINTS,
            field="position",
            type="sensor_msgs/msg/JointState",
            time_ns=np.arange(200, dtype=np.int64) * 10 * MS,
        )
        schema, text = robot.schema(tmp_path)
        assert "beyond 2π: degrees, though its type says radians" in one_line(text)
        mapping, text = robot.mapping(tmp_path, schema.embodiment)
        assert "beyond 2π: degrees, though its type says radians" in one_line(text)
        assert mapping.streams["joint_states_position"].units is None


class TestPlaceholdersAndRotations:
    def test_arm_that_is_minus_one_throughout_is_asked_about(self, tmp_path: Path) -> None:
        values = np.hstack([walk(100, 6), np.full((100, 6), -1.0)])
        names = [*JOINTS, *(f"other_joint{i}" for i in range(1, 7))]
        text = one_line(Robot().add("observation.state", values, names).schema(tmp_path)[1])
        assert "are -1 in all 100 rows: an arm that is not connected?" in text
        assert "If so: select: [6, 7, 8, 9, 10, 11], placeholder: -1" in text
        whole = one_line(Robot().add("observation.state", np.full((100, 6), -1.0)).schema(tmp_path)[1])
        assert "-1 in all 100 rows: not connected?" in whole
        assert "If so: placeholder: -1" in whole

    def test_elements_that_never_change_are_named(self, tmp_path: Path) -> None:
        values = walk(100, 3)
        values[:, 1] = 0.25
        text = Robot().add("observation.state", values, ["a", "b", "c"]).schema(tmp_path)[1]
        assert "# never changes in 100 rows: b = 0.25" in text

    def test_quaternion_is_found_by_its_length_and_its_order_left_open(self, tmp_path: Path) -> None:
        turn = walk(100, 4) + 0.1
        turn /= np.linalg.norm(turn, axis=1, keepdims=True)
        values = np.hstack([walk(100, 3), turn, walk(100, 1, 9)])
        schema, text = Robot().add("observation.state", values).schema(tmp_path)
        assert "dim_3 to dim_6 are length 1 in 100 rows: a quaternion? Of xyzw and wxyz, values can't tell" in text
        assert schema.signal("state").rotation is None

    @pytest.mark.parametrize(
        ("order", "convention"),
        [("xyzw", RotationConvention.QUATERNION_XYZW), ("wxyz", RotationConvention.QUATERNION_WXYZ)],
    )
    def test_names_of_a_quaternion_say_its_order(
        self, tmp_path: Path, order: str, convention: RotationConvention
    ) -> None:
        turn = walk(100, 4) / np.linalg.norm(walk(100, 4), axis=1, keepdims=True)
        names = ["x", "y", "z", *(f"q{c}" for c in order)]
        values = np.hstack([walk(100, 3), turn])
        schema, text = Robot().add("observation.state", values, names).schema(tmp_path)
        assert schema.signal("state").rotation is convention
        assert [d.kind for d in schema.signal("state").dimensions] == [Kind.POSITION] * 3 + [Kind.ROTATION] * 4
        assert "a quaternion?" not in text

    def test_six_numbers_of_a_rotation_are_found(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        frames = np.linalg.qr(rng.normal(size=(100, 3, 3)))[0]
        values = np.hstack([frames[:, :, 0], frames[:, :, 1]])
        text = Robot().add("observation.state", values).schema(tmp_path)[1]
        assert "dim_0 to dim_5 are orthogonal unit vectors in 100 rows: a 6D rotation?" in text

    def test_unix_time_in_single_precision_is_found(self, tmp_path: Path) -> None:
        values = np.hstack([walk(100, 2), np.full((100, 1), np.float32(1.7e9))])
        text = one_line(Robot().add("observation.state", values, ["a", "b", "when"]).schema(tmp_path)[1])
        assert "when looks like Unix time in seconds, and never changes: float32 has no room" in text

    def test_pose_of_a_message_is_metres_and_a_quaternion(self, tmp_path: Path) -> None:
        turn = walk(100, 4) / np.linalg.norm(walk(100, 4), axis=1, keepdims=True)
        names = [*(f"position.{c}" for c in "xyz"), *(f"orientation.{c}" for c in "xyzw")]
        schema, _ = (
            Robot("ros_bag", None)
            .add(
                "/tool",
                np.hstack([walk(100, 3), turn]),
                names,
                field="pose",
                type="geometry_msgs/msg/PoseStamped",
                time_ns=np.arange(100, dtype=np.int64) * 10 * MS,
            )
            .schema(tmp_path)
        )
        (signal,) = schema.signals
        assert signal.rotation is RotationConvention.QUATERNION_XYZW
        assert [d.unit for d in signal.dimensions] == [Unit.METRE] * 3 + [Unit.ONE] * 4


@pytest.mark.parametrize(
    ("source", "sizes", "expected"),
    [
        (
            "aloha_hdf5",
            {"observations/qpos": 14, "observations/qvel": 14, "action": 14, "base_action": 2},
            "left_waist",
        ),
        ("robomimic_hdf5", {"obs/robot0_eef_pos": 3, "obs/robot0_eef_quat": 4, "actions": 7}, "qw"),
        ("libero_hdf5", {"obs/ee_states": 6, "obs/joint_states": 7, "actions": 7}, "joint7"),
        (
            "droid",
            {"observation/robot_state/cartesian_position": 6, "action/joint_position": 7, "action/gripper_position": 1},
            "roll",
        ),
        ("umi_zarr", {"robot0_eef_pos": 3, "robot0_eef_rot_axis_angle": 3, "robot0_gripper_width": 1}, "rx"),
    ],
)
def test_formats_give_names_kinds_and_units_to_their_own_fields(
    tmp_path: Path, source: str, sizes: dict[str, int], expected: str
) -> None:
    robot = Robot(source)
    for i, (name, size) in enumerate(sizes.items()):
        robot.add(name, walk(60, size, i))
    schema, text = robot.schema(tmp_path)
    names = [n for s in schema.signals for n in s.names]
    assert len(names) == sum(sizes.values())
    assert expected in names
    assert not [n for n in names if n.startswith("dim_")]
    assert "names are the format's" in text
    mapping = schema.mapping_for(source)
    assert mapping is not None
    assert {m.join for m in mapping.streams.values()} == {"index"}


def test_backward_time_and_marks_call_for_a_rule_that_is_there_as_a_comment(tmp_path: Path) -> None:
    time_ns = np.arange(100, dtype=np.int64) * 10 * MS
    time_ns[50:] -= 400 * MS
    robot = Robot("mcap", None)
    kind = {"field": "position", "type": "sensor_msgs/msg/JointState"}
    robot.add("/joint_states", walk(100, 2), ["a", "b"], time_ns=time_ns, **kind)  # type: ignore[arg-type]
    robot.infos.append(
        StreamInfo(name="/record_trigger", type="std_msgs/msg/String", count=4, kind="text", field="data")
    )
    _, text = robot.schema(tmp_path)
    assert "# on_backward_time: split   # /joint_states.position goes backward 1 time" in text
    assert "# split: {from: /record_trigger, field: data}   # 4 messages: marks of demonstrations?" in text
    mapping = loaded(text.replace("# on_backward", "on_backward").replace("# split", "split"), tmp_path).mapping_for(
        "mcap"
    )
    assert mapping is not None
    assert mapping.on_backward_time == "split"
    assert mapping.split is not None


@pytest.mark.parametrize(
    ("name", "type_", "is_proposed"),
    [
        ("/arm/state", "acme_msgs/msg/ArmState", True),
        ("gripper_state", "acme.Gripper", True),
        ("/arm/scan", "sensor_msgs/msg/LaserScan", False),
        ("/weather", "acme_msgs/msg/Weather", False),
        ("/arm/diagnostics", "acme_msgs/msg/Load", False),
    ],
)
def test_messages_of_own_packages_are_proposed_where_they_speak_of_a_robot(
    tmp_path: Path, name: str, type_: str, is_proposed: bool
) -> None:
    robot = Robot("mcap", None)
    robot.add(name, walk(60, 4), field="values", type=type_, time_ns=np.arange(60, dtype=np.int64) * 10 * MS)
    schema, text = robot.schema(tmp_path)
    assert bool(schema.signals) is is_proposed
    assert ("# Left out:" in text) is not is_proposed
