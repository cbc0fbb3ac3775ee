"""Representation: typed conversions and their way back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vladata.actions.chunks import ChunkCounts, ChunkEnd, ChunkRule
from vladata.actions.representation import Representation, stack_signals
from vladata.embodiment import Signal
from vladata.errors import ExportError, SchemaError, TokenizeError
from vladata.units import Kind, Mode, RotationConvention, Unit

SIZES = {
    RotationConvention.EULER_XYZ: 3,
    RotationConvention.ROTATION_VECTOR: 3,
    RotationConvention.QUATERNION_XYZW: 4,
    RotationConvention.QUATERNION_WXYZ: 4,
}


def dim(name: str, kind: Kind, unit: Unit, mode: Mode | None = None, **more: object) -> dict[str, object]:
    return {"name": name, "kind": kind, "unit": unit, "mode": mode, **more}


def signal(name: str, *dimensions: dict[str, object], **more: object) -> Signal:
    return Signal.model_validate({"name": name, "dimensions": list(dimensions), **more})


def joints(name: str, mode: Mode | None = None, count: int = 2, **more: object) -> Signal:
    dims = [dim(f"j{i}", Kind.JOINT_POSITION, Unit.RADIAN, mode) for i in range(count)]
    return signal(name, *dims, dim("gripper", Kind.GRIPPER_APERTURE, Unit.ONE, mode), **more)


def pose(name: str, convention: RotationConvention, mode: Mode | None = None, frame: str | None = "base") -> Signal:
    unit = Unit.ONE if SIZES[convention] == 4 else Unit.RADIAN
    turns = [dim(f"r{i}", Kind.ROTATION, unit, mode) for i in range(SIZES[convention])]
    return signal(name, dim("x", Kind.POSITION, Unit.METRE, mode), *turns, rotation=convention, reference_frame=frame)


ARM = [joints("command", Mode.ABSOLUTE)]
STATE = [joints("joints")]


def test_delta_is_the_target_minus_the_observation_of_the_same_step() -> None:
    representation = Representation.build(ARM, STATE, Mode.DELTA)
    chunks = np.array([[[1.0, 2.0, 0.5], [1.5, 2.5, 0.6]]])
    state = np.array([[[0.9, 1.8, 0.4], [1.1, 2.1, 0.4]]])

    deltas = representation.represent(chunks, state)

    np.testing.assert_allclose(deltas, [[[0.1, 0.2, 0.5], [0.4, 0.4, 0.6]]])
    assert representation.modes == (Mode.DELTA, Mode.DELTA, Mode.ABSOLUTE)


def test_chunk_relative_is_the_target_minus_the_observation_at_the_start() -> None:
    representation = Representation.build(ARM, STATE, Mode.CHUNK_RELATIVE)
    chunks = np.array([[[1.0, 2.0, 0.5], [1.5, 2.5, 0.6]]])

    relative = representation.represent(chunks, np.array([[0.9, 1.8, 0.4]]))

    np.testing.assert_allclose(relative, [[[0.1, 0.2, 0.5], [0.6, 0.7, 0.6]]])
    whole = np.array([[[0.9, 1.8, 0.4], [7.0, 7.0, 7.0]]])
    np.testing.assert_array_equal(representation.represent(chunks, whole), relative)


def test_chunk_relative_equals_the_delta_actions_of_openpi(shared_golden: Path) -> None:
    with np.load(shared_golden / "openpi_normalization.npz", allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    assert data["delta_mask"].tolist() == [True] * 6 + [False]
    representation = Representation.build(
        [joints("command", Mode.ABSOLUTE, 6)], [joints("joints", None, 6)], Mode.CHUNK_RELATIVE
    )

    relative = representation.represent(data["delta_actions"][None], data["delta_state"][None])

    np.testing.assert_array_equal(relative[0], data["delta_out"])
    np.testing.assert_array_equal(representation.restore(relative, data["delta_state"][None])[0], data["absolute_back"])


def test_nothing_is_converted_unless_asked() -> None:
    representation = Representation.build(ARM, STATE)
    chunks = np.arange(12.0).reshape(2, 2, 3)

    assert not representation.needs_state
    np.testing.assert_array_equal(representation.represent(chunks), chunks)
    np.testing.assert_array_equal(representation.restore(chunks), chunks)


def test_single_dimensions_can_be_chosen() -> None:
    chosen = {"command.j0": None, "command.gripper": Mode.DELTA}

    representation = Representation.build(ARM, STATE, Mode.CHUNK_RELATIVE, chosen)

    assert representation.modes == (Mode.ABSOLUTE, Mode.CHUNK_RELATIVE, Mode.DELTA)
    assert [d.reference for d in representation.dimensions] == [None, "joints.j1", "joints.gripper"]


numbers = st.floats(-100, 100)


@given(st.data(), st.sampled_from([Mode.DELTA, Mode.CHUNK_RELATIVE]))
def test_the_way_back_gives_the_values_again(data: st.DataObject, mode: Mode) -> None:
    size = data.draw(st.tuples(st.integers(0, 4), st.integers(1, 5)))
    count = size[0] * size[1] * 3
    draw = st.lists(numbers, min_size=count, max_size=count)
    chunks = np.array(data.draw(draw)).reshape(*size, 3)
    state = np.array(data.draw(draw)).reshape(*size, 3)
    representation = Representation.build(ARM, STATE, mode)

    back = representation.restore(representation.represent(chunks, state), state)

    np.testing.assert_allclose(back, chunks, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(back[..., 2], chunks[..., 2])


def turned(convention: RotationConvention, vectors: np.ndarray) -> np.ndarray:
    rotation = Rotation.from_rotvec(vectors)
    if convention is RotationConvention.EULER_XYZ:
        return rotation.as_euler("xyz")
    if convention is RotationConvention.ROTATION_VECTOR:
        return rotation.as_rotvec()
    quaternion = rotation.as_quat(canonical=True)
    return quaternion[:, [3, 0, 1, 2]] if convention is RotationConvention.QUATERNION_WXYZ else quaternion


def rotation_of(convention: RotationConvention, rows: np.ndarray) -> Rotation:
    if convention is RotationConvention.EULER_XYZ:
        return Rotation.from_euler("xyz", rows)
    if convention is RotationConvention.ROTATION_VECTOR:
        return Rotation.from_rotvec(rows)
    return Rotation.from_quat(rows[:, [1, 2, 3, 0]] if convention is RotationConvention.QUATERNION_WXYZ else rows)


angles = st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3)


@given(
    st.lists(angles, min_size=2, max_size=6), st.sampled_from(list(SIZES)), st.sampled_from(["delta", "chunk_relative"])
)
def test_the_way_back_gives_the_same_rotations(
    vectors: list[list[float]], convention: RotationConvention, mode: str
) -> None:
    rows = turned(convention, np.array(vectors))
    chunks = np.concatenate([np.linspace(0, 1, len(rows))[:, None], rows], axis=1)[None]
    state = chunks[:, ::-1]
    representation = Representation.build(
        [pose("target", convention, Mode.ABSOLUTE)], [pose("seen", convention)], Mode(mode)
    )

    learned = representation.represent(chunks, state)
    back = representation.restore(learned, state)

    np.testing.assert_allclose(back[..., 0], chunks[..., 0], atol=1e-14)
    wanted, found = rotation_of(convention, rows), rotation_of(convention, back[0, :, 1:])
    assert (wanted * found.inv()).magnitude().max() < 1e-6
    reference = rotation_of(convention, state[0, :, 1:])
    if mode == "chunk_relative":
        reference = reference[[0] * len(rows)]
    expected = wanted * reference.inv()
    assert (rotation_of(convention, learned[0, :, 1:]) * expected.inv()).magnitude().max() < 1e-6


@given(st.lists(angles, min_size=1, max_size=5))
def test_canonical_rotation_vectors_and_quaternions_come_back_as_the_same_numbers(vectors: list[list[float]]) -> None:
    for convention in set(SIZES) - {RotationConvention.EULER_XYZ}:
        rows = turned(convention, np.array(vectors))
        chunks = np.concatenate([np.zeros((len(rows), 1)), rows], axis=1)[None]
        representation = Representation.build(
            [pose("target", convention, Mode.ABSOLUTE)], [pose("seen", convention)], Mode.CHUNK_RELATIVE
        )

        back = representation.restore(representation.represent(chunks, chunks), chunks)

        np.testing.assert_allclose(back, chunks, atol=1e-12)


def test_euler_angles_are_not_subtracted() -> None:
    euler = RotationConvention.EULER_XYZ
    representation = Representation.build([pose("target", euler, Mode.ABSOLUTE)], [pose("seen", euler)], Mode.DELTA)
    target, seen = np.array([[[0.0, 0.0, 0.0, 3.1]]]), np.array([[0.0, 0.0, 0.0, -3.1]])

    delta = representation.represent(target, seen)[0, 0]

    # From -3.1 to 3.1 rad about z it is a short way back over π, not 6.2 rad forward.
    np.testing.assert_allclose(delta, [0.0, 0.0, 0.0, 6.2 - 2 * np.pi], atol=1e-12)


def test_a_pitch_of_ninety_degrees_keeps_the_rotation() -> None:
    euler = RotationConvention.EULER_XYZ
    representation = Representation.build([pose("target", euler, Mode.ABSOLUTE)], [pose("seen", euler)], Mode.DELTA)
    target, seen = np.array([[[0.0, 0.3, np.pi / 2, 0.2]]]), np.array([[0.0, 0.1, 0.2, 0.3]])

    back = representation.restore(representation.represent(target, seen), seen)

    wanted, found = (Rotation.from_euler("xyz", a[0, :, 1:]) for a in (target, back))
    assert (wanted * found.inv()).magnitude().max() < 1e-6


def test_a_quaternion_of_another_length_is_refused() -> None:
    quaternion = RotationConvention.QUATERNION_XYZW
    representation = Representation.build(
        [pose("target", quaternion, Mode.ABSOLUTE)], [pose("seen", quaternion)], Mode.DELTA
    )
    whole = np.array([[[0.0, 0.0, 0.0, 0.0, 1.0]]])

    with pytest.raises(TokenizeError, match=r"quaternion \[0, 0\] has the length 0.5; must be 1"):
        representation.represent(whole * 0.5, whole)
    with pytest.raises(TokenizeError, match=r"a quaternion is 0; must have a direction"):
        representation.restore(whole * 0.0, whole)


def test_a_delta_of_a_delta_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match=r"command.j0 is delta; only absolute dimensions can be made delta"):
        Representation.build([joints("command", Mode.DELTA)], STATE, Mode.DELTA)
    with pytest.raises(
        SchemaError, match=r"command.j0 is velocity; only absolute dimensions can be made chunk_relative"
    ):
        Representation.build([joints("command", Mode.VELOCITY)], STATE, Mode.CHUNK_RELATIVE)
    with pytest.raises(SchemaError, match=r"command.j0 is delta; only absolute dimensions can be made absolute"):
        Representation.build([joints("command", Mode.DELTA)], STATE, Mode.ABSOLUTE)


def test_a_velocity_is_not_made_of_targets() -> None:
    with pytest.raises(SchemaError, match=r"command.j0 can't be made a velocity"):
        Representation.build(ARM, STATE, Mode.VELOCITY)


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        ([joints("joints", None, 1)], "command.j1 must have one observation named 'j1' of kind joint_position"),
        (
            [joints("joints"), joints("more")],
            "that it is relative to; there are joints.j0, more.j0: name one as its pair",
        ),
        (
            [signal("s", dim("j0", Kind.JOINT_POSITION, Unit.METRE), dim("j1", Kind.JOINT_POSITION, Unit.RADIAN))],
            "command.j0 is in rad, s.j0 in m; units must be equal",
        ),
        (
            [signal("s", *(dim(n, Kind.JOINT_POSITION, Unit.RADIAN, normalized=True) for n in ("j0", "j1")))],
            "s.j0 was scaled by the recorder",
        ),
        ([signal("s", dim("j0", Kind.JOINT_VELOCITY, Unit.RADIAN_PER_SECOND))], "command.j0 must have one observation"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused_by_name(observed: list[Signal], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Representation.build(ARM, observed, Mode.DELTA)


def test_a_pair_can_be_named() -> None:
    observed = [joints("joints"), joints("more")]
    pairs = {"command.j0": "more.j0", "command.j1": "joints.j0"}

    representation = Representation.build(ARM, observed, Mode.DELTA, pairs=pairs)

    assert [d.reference for d in representation.dimensions] == ["more.j0", "joints.j0", None]
    state = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    assert representation.represent(np.zeros((1, 1, 3)), state).tolist() == [[[-4.0, -1.0, 0.0]]]


@pytest.mark.parametrize(
    ("overrides", "pairs", "message"),
    [
        ({"command.j9": Mode.DELTA}, {}, "no action dimension is named 'command.j9'; there are command.j0"),
        ({}, {"j0": "joints.j0"}, "no action dimension is named 'j0'"),
        ({}, {"command.j0": "joints.j7"}, "command.j0 must have one observation named 'joints.j7'"),
    ],
)
def test_names_that_are_not_there_are_refused(
    overrides: dict[str, Mode | None], pairs: dict[str, str], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        Representation.build(ARM, STATE, Mode.DELTA, overrides, pairs)


def test_another_reference_frame_is_refused() -> None:
    vector = RotationConvention.ROTATION_VECTOR

    with pytest.raises(
        SchemaError, match=r"target.x is in the reference frame base, seen.x in camera; must be the same"
    ):
        Representation.build(
            [pose("target", vector, Mode.ABSOLUTE)], [pose("seen", vector, None, "camera")], Mode.DELTA
        )


def test_a_rotation_is_converted_as_a_whole_or_not_at_all() -> None:
    euler = RotationConvention.EULER_XYZ
    target, seen = [pose("target", euler, Mode.ABSOLUTE)], [pose("seen", euler)]
    lone = [signal("target", dim("yaw", Kind.ROTATION, Unit.RADIAN, Mode.ABSOLUTE), rotation=euler)]
    observed = [signal("seen", dim("yaw", Kind.ROTATION, Unit.RADIAN), rotation=euler)]

    with pytest.raises(
        SchemaError, match=r"target.r0, target.r1, target.r2 are one rotation; must be converted together"
    ):
        Representation.build(target, seen, overrides={"target.r1": Mode.DELTA})
    with pytest.raises(SchemaError, match=r"target.yaw is a part of no whole rotation"):
        Representation.build(lone, observed, Mode.DELTA)
    with pytest.raises(
        SchemaError, match=r"are a rotation in euler_xyz; seen.r0, seen.r1, seen.r2 must be one as well"
    ):
        Representation.build(target, [pose("seen", RotationConvention.ROTATION_VECTOR)], Mode.DELTA)
    turns = {f"target.r{i}": None for i in range(3)}
    assert Representation.build(target, seen, Mode.DELTA, turns).modes == (Mode.DELTA, *[Mode.ABSOLUTE] * 3)


def test_rotations_of_two_arms_in_one_signal_are_two_rotations() -> None:
    euler = RotationConvention.EULER_XYZ
    names = [f"{side}_{axis}" for side in ("left", "right") for axis in ("roll", "pitch", "yaw")]
    target = signal("t", *(dim(n, Kind.ROTATION, Unit.RADIAN, Mode.ABSOLUTE) for n in names), rotation=euler)
    seen = signal("s", *(dim(n, Kind.ROTATION, Unit.RADIAN) for n in names), rotation=euler)

    representation = Representation.build([target], [seen], Mode.DELTA)

    assert [g.dimensions for g in representation.rotations] == [(0, 1, 2), (3, 4, 5)]


def test_six_numbers_of_undeclared_order_are_not_converted() -> None:
    convention = RotationConvention.ROTATION_6D
    target = signal("t", *(dim(f"r{i}", Kind.ROTATION, Unit.ONE, Mode.ABSOLUTE) for i in range(6)), rotation=convention)
    seen = signal("s", *(dim(f"r{i}", Kind.ROTATION, Unit.ONE) for i in range(6)), rotation=convention)

    with pytest.raises(SchemaError, match=r"t.r0 is part of a rotation in rotation_6d, which can't be converted"):
        Representation.build([target], [seen], Mode.DELTA)


def test_a_missing_or_short_state_is_refused() -> None:
    representation = Representation.build(ARM, STATE, Mode.DELTA)
    chunks = np.zeros((2, 4, 3))

    with pytest.raises(TokenizeError, match=r"command.j0 is relative to the observation; the state must be given"):
        representation.represent(chunks)
    with pytest.raises(TokenizeError, match=r"state is \[2, 3\]; deltas need it at each step: \[2, 4, 3\]"):
        representation.represent(chunks, np.zeros((2, 3)))
    with pytest.raises(TokenizeError, match=r"state is \[2, 5\]; must be \[2, 3\] or \[2, 4, 3\]"):
        representation.represent(chunks, np.zeros((2, 5)))
    with pytest.raises(TokenizeError, match=r"chunks are \[2, 4\]; must be \[N, H, 3\]"):
        representation.represent(np.zeros((2, 4)), np.zeros((2, 3)))


def chunked(
    mode: Mode | None, actions: np.ndarray, state: np.ndarray, valid: np.ndarray, horizon: int
) -> tuple[list[int], np.ndarray, ChunkCounts]:
    representation = Representation.build(ARM, STATE, mode)
    rule = ChunkRule(horizon=horizon, chunk_end=ChunkEnd.PAD)
    chunks, counts = representation.chunk(actions, state, valid, rule)
    return chunks.start.tolist(), chunks.values, counts


def episode(num_steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(6)
    state = generator.normal(0, 1, (num_steps, 3))
    return state + 0.1, state, np.ones(num_steps, dtype=bool)


def test_padding_of_deltas_is_no_motion_and_of_relative_targets_the_last_one() -> None:
    actions, state, valid = episode(4)

    _, deltas, _ = chunked(Mode.DELTA, actions, state, valid, 3)
    _, relative, _ = chunked(Mode.CHUNK_RELATIVE, actions, state, valid, 3)

    np.testing.assert_allclose(deltas[3][:, :2], np.array([[0.1, 0.1], [0, 0], [0, 0]]), atol=1e-12)
    np.testing.assert_array_equal(deltas[3][:, 2], actions[3, 2])
    last = np.append((actions[3] - state[2])[:2], actions[3, 2])
    np.testing.assert_allclose(relative[2][2], last, atol=1e-12)


def test_padding_of_a_quaternion_delta_is_the_quaternion_of_no_rotation() -> None:
    quaternion = RotationConvention.QUATERNION_XYZW
    representation = Representation.build([pose("target", quaternion, Mode.DELTA)], [])
    actions = np.tile([0.1, 0.6, 0.0, 0.0, 0.8], (2, 1))

    chunks, _ = representation.chunk(actions, None, np.ones(2, dtype=bool), ChunkRule(horizon=2))

    assert chunks.values[1].tolist() == [[0.1, 0.6, 0.0, 0.0, 0.8], [0.0, 0.0, 0.0, 0.0, 1.0]]


def test_chunks_equal_conversion_after_cutting() -> None:
    actions, state, valid = episode(7)
    window = np.arange(5)[:, None] + np.arange(3)
    for mode in (Mode.DELTA, Mode.CHUNK_RELATIVE, None):
        starts, values, _ = chunked(mode, actions, state, valid, 3)
        representation = Representation.build(ARM, STATE, mode)

        assert starts == list(range(7))
        np.testing.assert_array_equal(values[:5], representation.represent(actions[window], state[window]))


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    actions, state, valid = episode(8)
    actions[2, 0] = np.nan
    state[5, 1] = np.inf
    valid[7] = False
    actions[7] = np.nan

    as_recorded = chunked(None, actions, state, valid, 2)
    deltas = chunked(Mode.DELTA, actions, state, valid, 2)
    relative = chunked(Mode.CHUNK_RELATIVE, actions, state, valid, 2)

    assert as_recorded[0] == [0, 1, 3, 4, 5, 6]
    assert deltas[0] == [0, 1, 3, 4, 6]
    assert relative[0] == [0, 1, 3, 4, 6]
    assert [c[2].num_not_finite for c in (as_recorded, deltas, relative)] == [1, 2, 1]
    assert [c[2].num_without_reference for c in (as_recorded, deltas, relative)] == [0, 0, 1]
    assert [c[2].num_invalid for c in (as_recorded, deltas, relative)] == [1, 1, 1]
    # Step 5 ends the chunk of step 4 as a delta; relative to step 4 it is a target like any other.
    np.testing.assert_allclose(deltas[1][3][:, 0], [0.1, 0.0], atol=1e-12)
    assert relative[1][3][1, 0] == actions[5, 0] - state[4, 0]
    assert all(np.isfinite(c[1]).all() for c in (as_recorded, deltas, relative))


def test_an_invalid_step_may_hold_anything() -> None:
    quaternion = RotationConvention.QUATERNION_XYZW
    representation = Representation.build(
        [pose("target", quaternion, Mode.ABSOLUTE)], [pose("seen", quaternion)], Mode.DELTA
    )
    actions = np.zeros((2, 5))
    actions[1] = [0.0, 0.0, 0.0, 0.0, 1.0]

    chunks, _ = representation.chunk(actions, actions, np.array([False, True]), ChunkRule(horizon=1))

    assert chunks.start.tolist() == [1]


def test_actions_recorded_relative_to_other_chunks_are_refused_by_name() -> None:
    representation = Representation.build([joints("command", Mode.CHUNK_RELATIVE)], STATE)

    with pytest.raises(ExportError, match=r"command.j0 was recorded relative to the start of its chunk"):
        representation.chunk(np.zeros((3, 3)), None, np.ones(3, dtype=bool), ChunkRule(horizon=2))


def test_a_representation_comes_back_from_its_dictionary() -> None:
    euler = RotationConvention.EULER_XYZ
    representation = Representation.build(
        [*ARM, pose("target", euler, Mode.ABSOLUTE)], [*STATE, pose("seen", euler)], Mode.CHUNK_RELATIVE
    )

    assert Representation.from_dict(representation.to_dict()) == representation


def test_a_dictionary_with_a_reference_that_is_not_there_is_refused() -> None:
    state = Representation.build(ARM, STATE, Mode.DELTA).to_dict()

    with pytest.raises(TokenizeError, match=r"command.j0 refers to joints.j0; there is no such observation"):
        Representation.from_dict({**state, "state_names": ["joints.j1"]})
    with pytest.raises(TokenizeError, match=r"^representation: dimensions: missing; must be there$"):
        Representation.from_dict({})


def test_signals_are_put_side_by_side() -> None:
    values: dict[str, np.ndarray] = {"joints": np.ones((2, 3), dtype=np.float32), "more": np.zeros((2, 3))}

    stacked = stack_signals([joints("more"), joints("joints")], values)

    assert stacked.tolist() == [[0, 0, 0, 1, 1, 1]] * 2
    assert stacked.dtype == np.float64
    with pytest.raises(TokenizeError, match=r"signal arm is missing; there are joints, more"):
        stack_signals([joints("arm")], values)
    with pytest.raises(TokenizeError, match=r"signal joints is \[2, 3\]; must be \[T, 5\]"):
        stack_signals([joints("joints", None, 4)], values)
