"""Actions made of the next state: on request, marked, and nothing at the end."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vladata.embodiment import Dimension, Embodiment, Signal
from vladata.errors import SchemaError, SyncError
from vladata.mapping import DerivedAction, Mapping, StepClock, StreamMapping
from vladata.recording import Recording, Stream
from vladata.sync.align import synchronize
from vladata.units import Clock, Kind, Mode, RotationConvention, Unit

MS = 1_000_000


def pose(mode=None, rotation=RotationConvention.ROTATION_VECTOR, names=("x", "rx", "ry", "rz")):
    kinds = [(Kind.POSITION, Unit.METRE), *[(Kind.ROTATION, Unit.RADIAN)] * (len(names) - 1)]
    return tuple(Dimension(name=n, kind=k, unit=u, mode=mode) for n, (k, u) in zip(names, kinds, strict=True)), rotation


def robot(mode, action_rotation=RotationConvention.ROTATION_VECTOR):
    state, rotation = pose()
    action, _ = pose(mode)
    return Embodiment(
        name="robot",
        rate_hz=10,
        proprioception=(Signal(name="state", dimensions=state, rotation=rotation),),
        action=(Signal(name="command", dimensions=action, rotation=action_rotation),),
    )


def recorded(values, time_ms=None, *, is_stepped=True):
    values = np.asarray(values, dtype=np.float64)
    time_ns = np.asarray(time_ms if time_ms is not None else np.arange(len(values)) * 100) * MS
    stream = Stream(name="state", clock=Clock.UNIX, time_ns=time_ns.astype(np.int64), values=values)
    return Recording(
        recording_id="r" * 64,
        source="mcap",
        place="demo",
        files=(),
        streams={"state": stream},
        is_stepped=is_stepped,
    )


def mapped(**rule):
    derived = {"command": DerivedAction.model_validate({"from": "state", **rule})}
    return Mapping(source="mcap", streams={"state": StreamMapping(source="/state")}, derived=derived)


VALUES = [[0.0, 0.1, 0.0, 0.0], [0.5, 0.1, 0.2, 0.0], [1.5, 0.4, 0.2, -0.3]]


def test_an_absolute_action_is_the_state_of_the_following_step_and_the_last_step_has_none():
    done = synchronize(recorded(VALUES), robot(Mode.ABSOLUTE), mapped())
    action = done.steps.action["command"]
    np.testing.assert_array_equal(action[:2], np.float32(VALUES[1:]))
    assert np.isnan(action[2]).all()
    assert done.steps.valid["command"].tolist() == [True, True, False]
    assert done.steps.age_ns["command"].tolist() == [-100 * MS, -100 * MS, 0]
    assert done.policy["derived"] == {"command": {"from": "state", "rule": "next_state", "select": None}}


def test_a_delta_is_the_change_and_rotations_are_composed():
    steps = synchronize(recorded(VALUES), robot(Mode.DELTA), mapped()).steps
    state = Rotation.from_rotvec(np.float32(VALUES)[:, 1:])
    turns = (state[1:] * state[:-1].inv()).as_rotvec()
    np.testing.assert_allclose(steps.action["command"][:2, 0], [0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(steps.action["command"][:2, 1:], turns, atol=1e-6)


def test_steps_without_a_state_on_either_side_have_no_delta():
    values = np.array(VALUES * 2)
    made = recorded(values, [0, 100, 200, 900, 1000, 1100], is_stepped=False)
    body = robot(Mode.DELTA).model_dump()
    body["streams"] = {"state": {"max_age_ms": 50.0}}
    grid = mapped().model_copy(update={"step_clock": StepClock(kind="grid")})
    steps = synchronize(made, Embodiment.model_validate(body), grid).steps
    state = steps.valid["state"]
    assert not state.all()
    assert steps.valid["command"][:-1].tolist() == (state[:-1] & state[1:]).tolist()
    assert np.isnan(steps.action["command"][~steps.valid["command"]]).all()
    assert np.isfinite(steps.action["command"][steps.valid["command"]]).all()


def test_a_velocity_or_another_convention_is_refused():
    with pytest.raises(SyncError, match=r"command.x is of mode velocity; only absolute and delta"):
        synchronize(recorded(VALUES), _velocity(), mapped())
    with pytest.raises(SyncError, match=r"command turns as euler_xyz in 3 dimensions, state as rotation_vector"):
        synchronize(recorded(VALUES), robot(Mode.DELTA, RotationConvention.EULER_XYZ), mapped())


def _velocity():
    return Embodiment(
        name="robot",
        rate_hz=10,
        proprioception=(Signal(name="state", dimensions=(Dimension(name="x", kind=Kind.OTHER, unit=Unit.ONE),)),),
        action=(
            Signal(
                name="command", dimensions=(Dimension(name="x", kind=Kind.OTHER, unit=Unit.ONE, mode=Mode.VELOCITY),)
            ),
        ),
    )


@pytest.mark.parametrize(
    ("derived", "message"),
    [
        ({"state": {"from": "state"}}, "derived.state is no action of robot; actions are command"),
        ({"command": {"from": "command"}}, "derived.command.from is 'command'; it must be one of state"),
        ({"command": {"from": "state", "select": ["x", "y"]}}, "derived.command takes x, y of state, which has x, rx"),
    ],
)
def test_a_derivation_that_does_not_fit_is_named(derived, message):
    mapping = Mapping.model_validate({"source": "mcap", "streams": {"state": {"from": "/state"}}, "derived": derived})
    with pytest.raises(SchemaError, match=message):
        mapping.check(robot(Mode.ABSOLUTE), "m.yaml")
