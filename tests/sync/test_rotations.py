"""Rotations between samples, and decimated deltas of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from vladata.embodiment import Camera, Dimension, Embodiment, Signal
from vladata.errors import SyncError
from vladata.mapping import Mapping, StepClock, StreamMapping
from vladata.recording import Recording, Stream
from vladata.sync.align import synchronize
from vladata.sync.rotations import slerp
from vladata.units import Clock, Kind, Mode, RotationConvention, Unit

MS = 1_000_000
XYZW, WXYZ = RotationConvention.QUATERNION_XYZW, RotationConvention.QUATERNION_WXYZ
EULER, VECTOR = RotationConvention.EULER_XYZ, RotationConvention.ROTATION_VECTOR
SIX = RotationConvention.ROTATION_6D
SIZES = {XYZW: 4, WXYZ: 4, EULER: 3, VECTOR: 3, SIX: 6}


def numbers_of(rotation, convention):
    """A rotation in a convention, written here without the code under test."""
    if convention is EULER:
        return rotation.as_euler("xyz")
    if convention is VECTOR:
        return rotation.as_rotvec()
    if convention is SIX:
        return np.concatenate([rotation.as_matrix()[..., 0], rotation.as_matrix()[..., 1]], axis=-1)
    quaternion = rotation.as_quat()
    return quaternion if convention is XYZW else np.roll(quaternion, 1, axis=-1)


def rotation_of(numbers, convention):
    if convention is EULER:
        return Rotation.from_euler("xyz", numbers)
    if convention is VECTOR:
        return Rotation.from_rotvec(numbers)
    if convention is SIX:
        a, b = numbers[..., :3], numbers[..., 3:]
        return Rotation.from_matrix(np.stack([a, b, np.cross(a, b)], axis=-1))
    return Rotation.from_quat(numbers if convention is XYZW else np.roll(numbers, -1, axis=-1))


def pose(name, convention, mode=None):
    """Three positions, a rotation and a gripper."""
    dims = [Dimension(name=n, kind=Kind.POSITION, unit=Unit.METRE, mode=mode) for n in "xyz"]
    dims += [Dimension(name=f"r{i}", kind=Kind.ROTATION, unit=Unit.ONE, mode=mode) for i in range(SIZES[convention])]
    dims.append(Dimension(name="gripper", kind=Kind.GRIPPER_COMMAND, unit=Unit.ONE, mode=mode and Mode.ABSOLUTE))
    return Signal(name=name, dimensions=tuple(dims), rotation=convention)


def robot(convention, mode=Mode.DELTA, rate_hz=10.0):
    return Embodiment(
        name="robot",
        rate_hz=rate_hz,
        proprioception=(pose("state", convention),),
        action=(pose("command", convention, mode),),
    )


def stream(name, time_ms, rotations, convention, clock=Clock.UNIX):
    rows = len(time_ms)
    rest = np.arange(rows)[:, None] * [1.0, 2.0, 3.0]
    gripper = np.arange(rows)[:, None] / 10
    values = np.hstack([rest, numbers_of(rotations, convention).reshape(rows, -1), gripper])
    return Stream(name=name, clock=clock, time_ns=np.asarray(time_ms, dtype=np.int64) * MS, values=values)


def recording(*streams, is_stepped=False):
    return Recording(
        recording_id="r" * 64,
        source="mcap",
        place="demo",
        files=(),
        streams={s.name: s for s in streams},
        is_stepped=is_stepped,
    )


def mapping(sync="hold", **changes):
    return Mapping(
        source="mcap",
        streams={"state": StreamMapping(source="/s", sync=sync), "command": StreamMapping(source="/c")},
        step_clock=StepClock(kind="grid"),
        **changes,
    )


@pytest.mark.parametrize("convention", SIZES)
def test_slerp_goes_the_shortest_way_at_constant_speed_and_the_rest_straight(convention):
    rotations = Rotation.random(8, random_state=3)
    made = recording(
        stream("state", range(0, 1200, 150), rotations, convention),
        stream("command", range(0, 1200, 150), rotations, convention),
    )
    steps = synchronize(made, robot(convention, Mode.ABSOLUTE), mapping("slerp")).steps
    values = steps.proprioception["state"].astype(np.float64)
    size = SIZES[convention]
    expected = Slerp(np.arange(0, 1200, 150), rotations)(steps.time_ns / MS)
    turned = rotation_of(values[:, 3 : 3 + size], convention)
    assert (turned.inv() * expected).magnitude().max() < 1e-5
    np.testing.assert_allclose(values[:, 0], steps.time_ns / MS / 150, atol=1e-5)
    np.testing.assert_allclose(values[:, -1], steps.time_ns / MS / 1500, atol=1e-6)
    assert steps.valid["state"].all()


@pytest.mark.parametrize("convention", [XYZW, WXYZ])
def test_a_quaternion_whose_sign_flips_does_not_turn_the_long_way(convention):
    first = numbers_of(Rotation.from_euler("xyz", [[0, 0, 10]], degrees=True), convention)
    second = -numbers_of(Rotation.from_euler("xyz", [[0, 0, 30]], degrees=True), convention)
    half = slerp(first, second, np.array([0.5]), convention)
    np.testing.assert_allclose(
        half, numbers_of(Rotation.from_euler("xyz", [[0, 0, 20]], degrees=True), convention), atol=1e-12
    )
    # Samples themselves are as they were recorded, sign and all.
    np.testing.assert_array_equal(slerp(first, second, np.array([1.0]), convention), second)
    np.testing.assert_array_equal(slerp(-first, second, np.array([0.0]), convention), -first)


def test_angles_go_on_as_recorded_beyond_half_a_turn():
    half = slerp(np.array([[0.0, 0.0, 3.1]]), np.array([[0.0, 0.0, 3.3]]), np.array([0.5]), EULER)
    np.testing.assert_allclose(half, [[0, 0, 3.2]], atol=1e-12)
    wrapped = slerp(np.array([[0.0, 0.0, 3.1]]), np.array([[0.0, 0.0, 3.3 - 2 * np.pi]]), np.array([0.5]), EULER)
    np.testing.assert_allclose(wrapped, [[0, 0, 3.2]], atol=1e-12)
    tilted = slerp(np.array([[0.0, 1.7, 0.0]]), np.array([[0.0, 1.9, 0.0]]), np.array([0.5]), EULER)
    np.testing.assert_allclose(tilted, [[0, 1.8, 0]], atol=1e-9)
    vector = slerp(np.array([[0.0, 0.0, 3.1]]), np.array([[0.0, 0.0, 3.3]]), np.array([0.5]), VECTOR)
    np.testing.assert_allclose(vector, [[0, 0, 3.2]], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 0.99), convention=st.sampled_from(list(SIZES)))
def test_slerp_is_a_rotation_on_the_arc_between_its_ends(seed, share, convention):
    ends = Rotation.random(2, random_state=seed)
    a, b = (numbers_of(ends[i : i + 1], convention) for i in (0, 1))
    between = rotation_of(slerp(a, b, np.array([share]), convention), convention)
    whole = (ends[0].inv() * ends[1]).magnitude()
    assert (ends[0].inv() * between[0]).magnitude() == pytest.approx(share * whole, abs=1e-6)
    assert (between[0].inv() * ends[1]).magnitude() == pytest.approx((1 - share) * whole, abs=1e-6)


def test_numbers_that_are_no_rotation_do_not_count():
    rotations = Rotation.random(5, random_state=1)
    state = stream("state", range(0, 500, 100), rotations, XYZW)
    values = state.values.copy()
    values[2, 3:7] = 0
    made = recording(
        Stream(name="state", clock=Clock.UNIX, time_ns=state.time_ns + 50 * MS, values=values),
        stream("command", range(0, 500, 100), rotations, XYZW),
    )
    changed = mapping("slerp").model_copy(update={"step_clock": StepClock(stream="command")})
    steps = synchronize(made, robot(XYZW, Mode.ABSOLUTE), changed).steps
    assert (steps.time_ns // MS).tolist() == [100, 200, 300, 400]
    assert steps.valid["state"].tolist() == [True, False, False, True]
    assert np.isnan(steps.proprioception["state"][1:3]).all()


def test_linear_on_a_quaternion_is_refused_with_the_way_out():
    rotations = Rotation.random(5, random_state=1)
    made = recording(*(stream(n, range(0, 500, 100), rotations, WXYZ) for n in ("state", "command")))
    with pytest.raises(SyncError, match="state turns as quaternion_wxyz; its sync must be slerp, not linear"):
        synchronize(made, robot(WXYZ), mapping("linear"))


def test_slerp_needs_a_rotation_and_a_camera_has_none():
    joint = Signal(name="state", dimensions=(Dimension(name="j", kind=Kind.JOINT_POSITION, unit=Unit.RADIAN),))
    rotations = Rotation.random(5, random_state=1)
    plain = Stream(
        name="state", clock=Clock.UNIX, time_ns=np.arange(5) * 100 * MS, values=np.zeros((5, 1), dtype=np.float64)
    )
    arm = robot(XYZW).model_copy(update={"proprioception": (joint,)})
    made = recording(plain, stream("command", range(0, 500, 100), rotations, XYZW))
    with pytest.raises(SyncError, match="state has no rotation; its sync must be linear, not slerp"):
        synchronize(made, arm, mapping("slerp"))
    broken = pose("state", XYZW)
    short = Signal(name="state", dimensions=broken.dimensions[:6], rotation=XYZW)
    cut = Stream(
        name="state", clock=Clock.UNIX, time_ns=np.arange(5) * 100 * MS, values=np.zeros((5, 6), dtype=np.float64)
    )
    arm = robot(XYZW).model_copy(update={"proprioception": (short,), "cameras": (Camera(name="f", height=1, width=1),)})
    made = recording(cut, stream("command", range(0, 500, 100), rotations, XYZW))
    arm = arm.model_copy(update={"cameras": ()})
    with pytest.raises(SyncError, match="r0, r1, r2 are 3 rotation dimensions; side by side they must make whole"):
        synchronize(made, arm, mapping("slerp"))


@pytest.mark.parametrize("convention", SIZES)
@pytest.mark.parametrize("is_stepped", [False, True], ids=["timed", "nominal rows"])
def test_a_50_hz_delta_at_10_hz_is_the_sum_and_the_rotations_composed(convention, is_stepped):
    """Rows of a dataset at 50 Hz on a nominal clock, or commands with stamps: five deltas become one."""
    turns = Rotation.from_rotvec(np.random.default_rng(5).normal(0, 0.3, (50, 3)))
    clock = Clock.NOMINAL if is_stepped else Clock.UNIX
    made = recording(
        stream("state", range(0, 1000, 20), turns, convention, clock),
        stream("command", range(0, 1000, 20), turns, convention, clock),
        is_stepped=is_stepped,
    )
    steps = synchronize(made, robot(convention), mapping()).steps
    assert (steps.time_ns // MS).tolist() == list(range(0, 1000, 100))
    action = steps.action["command"].astype(np.float64)
    size = SIZES[convention]
    for k in range(10):
        rows = range(5 * k, 5 * k + 5)
        total = Rotation.identity()
        for row in rows:
            total = turns[row] * total
        got = rotation_of(action[k, 3 : 3 + size], convention)
        assert (got.inv() * total).magnitude() < 1e-5
        assert action[k, :3].tolist() == pytest.approx([sum(rows), 2 * sum(rows), 3 * sum(rows)])
        assert action[k, -1] == pytest.approx(5 * k / 10)  # the gripper is absolute: the first command counts
    assert steps.valid["command"].all()


@pytest.mark.parametrize("kind", ["grid", "stream"])
def test_rows_at_50_hz_come_at_a_fifth_of_the_rate_where_the_mapping_asks_for_it(kind):
    turns = Rotation.from_rotvec(np.random.default_rng(5).normal(0, 0.3, (53, 3)))
    streams = [stream(n, range(0, 1060, 20), turns, VECTOR, Clock.NOMINAL) for n in ("state", "command")]
    clock = StepClock(kind=kind, stream="state" if kind == "stream" else None)
    asked = mapping().model_copy(update={"step_clock": clock})
    steps = synchronize(recording(*streams, is_stepped=True), robot(VECTOR), asked).steps
    assert len(steps) == 11
    # An absolute signal is sampled, a delta is the whole way.
    assert steps.proprioception["state"][:, 0].tolist() == list(range(0, 53, 5))
    assert steps.action["command"][0, 0] == sum(range(5))
    assert steps.action["command"][-1, 0] == sum(range(50, 53))  # the last step is cut short, as the recording is
    passed = synchronize(
        recording(*streams, is_stepped=True), robot(VECTOR), mapping().model_copy(update={"step_clock": StepClock()})
    ).steps
    assert len(passed) == 53


def test_deltas_that_are_no_rotation_give_none():
    turns = Rotation.identity(10)
    command = stream("command", range(0, 200, 20), turns, XYZW)
    command.values[3, 3:7] = 0
    made = recording(stream("state", range(0, 200, 20), turns, XYZW), command)
    action = synchronize(made, robot(XYZW), mapping()).steps.action["command"]
    assert np.isnan(action[0, 3:7]).all()
    assert np.isfinite(action[1]).all()


def test_a_rotation_of_mixed_modes_is_refused():
    turns = Rotation.identity(10)
    signal = pose("command", EULER, Mode.DELTA)
    dims = list(signal.dimensions)
    dims[4] = dims[4].model_copy(update={"mode": Mode.ABSOLUTE})
    arm = robot(EULER).model_copy(update={"action": (signal.model_copy(update={"dimensions": tuple(dims)}),)})
    made = recording(*(stream(n, range(0, 200, 20), turns, EULER) for n in ("state", "command")))
    with pytest.raises(SyncError, match="r0, r1, r2 are one rotation; all of them must be deltas, or none"):
        synchronize(made, arm, mapping())


def test_how_six_numbers_are_read_stands_in_the_policy():
    turns = Rotation.identity(10)
    made = recording(*(stream(n, range(0, 200, 20), turns, SIX) for n in ("state", "command")))
    assert synchronize(made, robot(SIX), mapping()).policy["streams"]["command"]["rotation_6d"] == "columns"
    assert "rotation_6d" not in synchronize(made, robot(SIX, Mode.ABSOLUTE), mapping()).policy["streams"]["command"]
