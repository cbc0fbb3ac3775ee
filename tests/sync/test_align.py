"""Which sample each step gets."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import SyncError
from vladata.mapping import Mapping, StepClock, StreamMapping
from vladata.recording import BytesFrames, FrameStream, Recording, Stream
from vladata.sync.align import synchronize
from vladata.sync.split import split_backward
from vladata.units import Clock, Kind, Mode, RotationConvention, Unit

MS = 1_000_000


def embodiment(rate_hz=10.0, mode=Mode.ABSOLUTE, rules=None, cameras=("front",)):
    joint = {"kind": Kind.JOINT_POSITION, "unit": Unit.RADIAN}
    return Embodiment(
        name="robot",
        rate_hz=rate_hz,
        proprioception=(Signal(name="state", dimensions=(Dimension(name="j", **joint),)),),
        action=(Signal(name="command", dimensions=(Dimension(name="j", mode=mode, **joint),)),),
        cameras=tuple(Camera(name=c, height=2, width=2) for c in cameras),
        streams=rules or {},
    )


def mapping(**changes):
    streams = {n: StreamMapping(source=f"/{n}") for n in ("state", "command", "front")}
    streams |= changes.pop("streams", {})
    return Mapping(source="mcap", streams=streams, **changes)


def numbers(name, time_ms, values=None, clock=Clock.UNIX):
    time_ns = np.round(np.asarray(time_ms, dtype=np.float64) * MS).astype(np.int64)
    values = np.arange(len(time_ns), dtype=np.float64) if values is None else np.asarray(values, dtype=np.float64)
    return Stream(
        name=name, clock=clock, time_ns=time_ns, values=values.reshape(len(time_ns), -1), receive_time_ns=time_ns
    )


def camera(name, time_ms, clock=Clock.UNIX):
    time_ns = np.round(np.asarray(time_ms, dtype=np.float64) * MS).astype(np.int64)
    frames = BytesFrames([b"frame %d" % i for i in range(len(time_ns))])
    return FrameStream(
        name=name, clock=clock, time_ns=time_ns, frames=frames, codec="jpeg", height=2, width=2, receive_time_ns=time_ns
    )


def recording(*streams, is_stepped=False):
    return Recording(
        recording_id="r" * 64,
        source="mcap",
        place="demo.mcap",
        files=(),
        streams={s.name: s for s in streams},
        is_stepped=is_stepped,
    )


def test_each_step_observes_the_latest_sample_at_or_before_it():
    made = recording(
        camera("front", [0, 100, 200, 300]),
        numbers("state", [-10, 95, 100, 205, 310]),
        numbers("command", np.arange(0, 400, 20)),
    )
    steps = synchronize(made, embodiment(), mapping()).steps
    assert (steps.time_ns // MS).tolist() == [0, 100, 200, 300]
    assert steps.proprioception["state"][:, 0].tolist() == [0, 2, 2, 3]
    assert (steps.age_ns["state"] // MS).tolist() == [10, 0, 100, 95]
    assert steps.images["front"].tolist() == [0, 1, 2, 3]


def test_known_command_delay_labels_each_step_with_the_command_that_follows_it():
    """Commands leave 15 ms after each frame: the step's action is that command, not the one before."""
    frames = np.arange(0, 1000, 100)
    made = recording(
        camera("front", frames),
        numbers("state", np.arange(-5, 1000, 10)),
        numbers("command", frames + 15, values=frames / 100),
    )
    steps = synchronize(made, embodiment(), mapping()).steps
    assert len(steps) == 9  # the first frame lies before the first command
    assert steps.action["command"][:, 0].tolist() == (steps.time_ns / (100 * MS)).tolist()
    assert (steps.age_ns["command"] == -15 * MS).all()


def test_known_camera_delay_is_undone_by_its_offset():
    """The camera's clock is 37 ms ahead: with the offset each step sees the state at the moment of the exposure."""
    exposure = np.arange(0, 1000, 100)
    made = recording(
        camera("front", exposure + 37), numbers("state", np.arange(-50, 1100, 10)), numbers("command", exposure)
    )
    plain = synchronize(made, embodiment(), mapping()).steps
    shift = {"front": StreamMapping(source="/front", offset_ns=-37 * MS)}
    steps = synchronize(made, embodiment(), mapping(streams=shift)).steps
    assert (steps.time_ns // MS).tolist() == exposure.tolist()
    assert (made.streams["front"].time_ns // MS).tolist() == (exposure + 37).tolist()  # stamps stay as recorded
    # The state's values count its samples: 5 samples lie before time 0, then one each 10 ms.
    assert steps.proprioception["state"][:, 0].tolist() == [5 + t / 10 for t in exposure]
    assert plain.proprioception["state"][0, 0] == 8


def test_action_offset_shifts_actions_against_observations():
    frames = np.arange(0, 500, 100)
    made = recording(camera("front", frames), numbers("state", frames), numbers("command", frames))
    shift = {"command": StreamMapping(source="/command", offset_ns=-100 * MS)}
    steps = synchronize(made, embodiment(), mapping(streams=shift)).steps
    assert steps.action["command"][:, 0].tolist() == [1, 2, 3, 4]


def test_step_without_a_command_is_invalid_and_not_filled():
    frames = np.arange(0, 400, 100)
    made = recording(camera("front", frames), numbers("state", frames), numbers("command", [0, 210, 399]))
    steps = synchronize(made, embodiment(), mapping()).steps
    assert steps.valid["command"].tolist() == [True, False, True, True]
    assert np.isnan(steps.action["command"][1, 0])


def test_deltas_of_a_step_are_composed():
    frames = np.arange(0, 400, 100)
    commands = np.arange(0, 400, 50)
    made = recording(
        camera("front", frames), numbers("state", frames), numbers("command", commands, values=2.0 ** np.arange(8))
    )
    steps = synchronize(made, embodiment(mode=Mode.DELTA), mapping()).steps
    assert steps.action["command"][:, 0].tolist() == [1 + 2, 4 + 8, 16 + 32, 64 + 128]


def test_rotation_deltas_are_composed_as_rotations():
    from scipy.spatial.transform import Rotation

    dims = tuple(
        Dimension(name=n, kind=Kind.ROTATION, unit=Unit.RADIAN, mode=Mode.DELTA) for n in ("roll", "pitch", "yaw")
    )
    turned = embodiment().model_copy(
        update={"action": (Signal(name="command", dimensions=dims, rotation=RotationConvention.EULER_XYZ),)}
    )
    first, second = [0.0, 0.5, 0.0], [0.4, 0.0, 0.0]
    made = recording(
        camera("front", [0, 100]),
        numbers("state", [0, 100]),
        numbers("command", [0, 50, 100, 150], [first, second] * 2),
    )
    action = synchronize(made, turned, mapping()).steps.action["command"]
    expected = (Rotation.from_euler("xyz", second) * Rotation.from_euler("xyz", first)).as_euler("xyz")
    np.testing.assert_allclose(action[0], expected, atol=1e-6)
    assert not np.allclose(action[0], np.add(first, second), atol=1e-3)


def test_samples_older_than_the_schema_allows_do_not_count():
    frames = np.arange(0, 500, 100)
    made = recording(camera("front", frames), numbers("state", [0, 100, 400]), numbers("command", frames))
    rules = {"state": StreamRule(max_age_ms=50)}
    steps = synchronize(made, embodiment(rules=rules), mapping()).steps
    assert steps.valid["state"].tolist() == [True, True, False, False, True]
    assert np.isnan(steps.proprioception["state"][2:4]).all()


def test_frame_too_old_gives_minus_one():
    clock = StepClock(stream="state")
    made = recording(
        camera("front", [0, 30, 400]), numbers("state", np.arange(0, 401, 100)), numbers("command", range(0, 401, 50))
    )
    rules = {"front": StreamRule(max_age_ms=80)}
    steps = synchronize(made, embodiment(rules=rules), mapping(step_clock=clock)).steps
    assert steps.images["front"].tolist() == [0, 1, -1, -1, 2]


def test_equal_stamps_the_last_wins_and_is_counted():
    frames = np.arange(0, 400, 100)
    made = recording(
        camera("front", frames),
        numbers("state", [0, 100, 100, 200, 300], values=[1, 2, 3, 4, 5]),
        numbers("command", frames),
    )
    done = synchronize(made, embodiment(), mapping())
    assert done.steps.proprioception["state"][:, 0].tolist() == [1, 3, 4, 5]
    assert done.counts["state"]["equal_stamps"] == 1


def test_backward_stamps_are_an_error_that_names_stream_and_stamp():
    frames = np.arange(0, 400, 100)
    made = recording(camera("front", frames), numbers("state", [0, 100, 50, 300]), numbers("command", frames))
    with pytest.raises(SyncError, match=r"state goes back from 100000000 to 50000000 ns at sample 2.*split"):
        synchronize(made, embodiment(), mapping())


def test_backward_stamps_split_into_episodes():
    def twice(start_ms):
        return np.concatenate([start_ms, start_ms])

    frames, state, command = np.arange(0, 400, 100), np.arange(0, 400, 50), np.arange(0, 400, 20)
    parts = []
    for name, time_ms in (("front", frames), ("state", state), ("command", command)):
        made = (camera if name == "front" else numbers)(name, twice(time_ms))
        receive = np.concatenate([time_ms * MS, time_ms * MS + 1000 * MS]).astype(np.int64)
        parts.append(dataclasses.replace(made, receive_time_ns=receive))
    first, second = split_backward(recording(*parts))
    assert first.recording_id != second.recording_id
    assert (first.place, second.place) == ("demo.mcap#0", "demo.mcap#1")
    one, two = (synchronize(r, embodiment(), mapping()).steps for r in (first, second))
    assert one.time_ns.tolist() == two.time_ns.tolist()
    assert second.streams["front"].frames.read(0) == b"frame 4"


def test_steps_run_where_all_required_streams_run_and_the_rest_is_counted():
    made = recording(
        camera("front", np.arange(0, 1000, 100)),
        numbers("state", range(150, 700, 10)),
        numbers("command", range(0, 900, 10)),
    )
    done = synchronize(made, embodiment(), mapping())
    assert (done.steps.time_ns // MS).tolist() == [200, 300, 400, 500, 600]
    assert done.counts["front"]["samples_before_steps"] == 2
    assert done.counts["front"]["samples_after_steps"] == 3


def test_streams_that_share_no_time_are_named():
    made = recording(camera("front", [0, 100]), numbers("state", [500, 600]), numbers("command", [0, 600]))
    with pytest.raises(SyncError, match=r"state starts at 500000000 ns, front ends at 100000000 ns"):
        synchronize(made, embodiment(), mapping())


def test_streams_on_different_clocks_are_refused():
    made = recording(
        camera("front", [0, 100]), numbers("state", [0, 100], clock=Clock.MONOTONIC), numbers("command", [0, 100])
    )
    with pytest.raises(SyncError, match="front counts unix time, state monotonic time"):
        synchronize(made, embodiment(), mapping())


def test_fast_step_clock_is_decimated_to_the_schemas_rate_despite_jitter():
    rng = np.random.default_rng(3)
    frames = np.arange(0, 10_000, 100 / 3) + rng.uniform(-4, 4, 300)
    made = recording(
        camera("front", frames), numbers("state", range(-20, 10_100, 10)), numbers("command", range(-20, 10_100, 20))
    )
    steps = synchronize(made, embodiment(), mapping()).steps
    intervals = np.diff(steps.time_ns) / MS
    assert abs(len(steps) - 100) <= 1
    assert intervals.min() > 90
    assert intervals.max() < 110


def test_grid_steps_are_rounded_from_the_first_to_the_last():
    made = recording(
        camera("front", np.arange(0, 1001, 33)),
        numbers("state", range(0, 1001, 10)),
        numbers("command", range(0, 1001, 5)),
    )
    steps = synchronize(made, embodiment(rate_hz=30), mapping(step_clock=StepClock(kind="grid"))).steps
    expected = [round(k * 1e9 / 30) for k in range(len(steps))]
    assert steps.time_ns.tolist() == expected
    assert len(steps) == 30  # 0 … 990 ms: the camera's last frame ends it


def test_rows_that_are_steps_pass_through_index_by_index():
    rows = [0, 100, 200]
    made = recording(
        camera("front", rows, Clock.NOMINAL),
        numbers("state", rows, clock=Clock.NOMINAL),
        numbers("command", rows, clock=Clock.NOMINAL),
        is_stepped=True,
    )
    steps = synchronize(made, embodiment(), mapping()).steps
    assert steps.images["front"].tolist() == [0, 1, 2]
    assert steps.action["command"][:, 0].tolist() == [0, 1, 2]
    assert all(v.all() for v in steps.valid.values())


def test_rows_with_an_offset_shift_by_whole_rows():
    rows = [0, 100, 200]
    made = recording(
        camera("front", rows, Clock.NOMINAL),
        numbers("state", rows, clock=Clock.NOMINAL),
        numbers("command", rows, clock=Clock.NOMINAL),
        is_stepped=True,
    )
    shift = {"command": StreamMapping(source="/command", offset_ns=-100 * MS)}
    steps = synchronize(made, embodiment(), mapping(streams=shift)).steps
    assert steps.action["command"][:2, 0].tolist() == [1, 2]
    assert steps.valid["command"].tolist() == [True, True, False]
    half = {"command": StreamMapping(source="/command", offset_ns=-50 * MS)}
    with pytest.raises(SyncError, match=r"0\.50 rows at 10 Hz"):
        synchronize(made, embodiment(), mapping(streams=half))


def test_streams_of_steps_with_different_lengths_are_refused():
    made = recording(
        camera("front", [0, 1], Clock.NOMINAL),
        numbers("state", [0, 1, 2], clock=Clock.NOMINAL),
        numbers("command", [0, 1], clock=Clock.NOMINAL),
        is_stepped=True,
    )
    with pytest.raises(SyncError, match="front has 2, state has 3"):
        synchronize(made, embodiment(), mapping())


def test_linear_interpolation_lies_between_its_neighbours():
    frames = np.arange(0, 400, 100)
    made = recording(
        camera("front", frames), numbers("state", [0, 150, 310], values=[0, 1.5, 3.1]), numbers("command", frames)
    )
    linear = {"state": StreamMapping(source="/state", sync="linear")}
    steps = synchronize(made, embodiment(), mapping(streams=linear)).steps
    np.testing.assert_allclose(steps.proprioception["state"][:, 0], [0, 1, 2, 3], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    state=st.lists(st.integers(0, 2000), min_size=2, max_size=60, unique=True),
    command=st.lists(st.integers(0, 2000), min_size=2, max_size=60, unique=True),
    frames=st.lists(st.integers(0, 2000), min_size=2, max_size=30, unique=True),
)
def test_no_observation_comes_from_the_future_and_no_action_from_the_past(state, command, frames):
    made = recording(
        camera("front", sorted(frames)), numbers("state", sorted(state)), numbers("command", sorted(command))
    )
    try:
        steps = synchronize(made, embodiment(rate_hz=1000.0), mapping()).steps
    except SyncError:
        return
    assert (steps.age_ns["state"][steps.valid["state"]] >= 0).all()
    assert (steps.age_ns["command"][steps.valid["command"]] <= 0).all()
    known = dict(zip(sorted(state), range(len(state)), strict=True))
    for t, value in zip(steps.time_ns // MS, steps.proprioception["state"][:, 0], strict=True):
        assert known[max(s for s in state if s <= t)] == value
