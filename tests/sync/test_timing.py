"""Clocks corrected onto the recorder's, declared latencies, and what is kept of both as data."""

import json

import numpy as np
import pytest

from vladata.embodiment import Camera, Dimension, Embodiment, Signal
from vladata.errors import SyncError
from vladata.mapping import Mapping, StepClock, StreamMapping
from vladata.recording import BytesFrames, FrameStream, Instruction, Outcome, Recording, Stream
from vladata.sync.align import synchronize
from vladata.sync.timing import Correction, as_json, labels_on_steps
from vladata.units import Clock, Kind, Mode, Unit

MS = 1_000_000
UNIX = 1_700_000_000_000_000_000
JOINT = {"kind": Kind.JOINT_POSITION, "unit": Unit.RADIAN}
ARM = Embodiment(
    name="robot",
    rate_hz=10,
    proprioception=(Signal(name="state", dimensions=(Dimension(name="j", **JOINT),)),),
    action=(Signal(name="command", dimensions=(Dimension(name="j", mode=Mode.ABSOLUTE, **JOINT),)),),
    cameras=(Camera(name="front", height=2, width=2),),
)


def mapping(*, step_clock=None, **streams):
    streams = {"state": {"sync": "linear"}, **streams}
    sources = {n: StreamMapping(source=f"/{n}", **streams.get(n, {})) for n in ("state", "command", "front")}
    return Mapping(source="mcap", streams=sources, step_clock=step_clock or StepClock())


def recorded(seed=0, *, duration_s=60, offset_s=0.15, drift_ppm=300.0, base=UNIX, zero=False):
    """A camera on a clock of its own; joints and commands stamped by the recorder. Values are the true time in s."""
    rng = np.random.default_rng(seed)
    true = np.arange(0, duration_s, 0.1)
    stamp = true * (1 - drift_ppm * 1e-6) - offset_s
    late = true + 0.002 + rng.uniform(0, 4e-3, len(true))

    def ns(seconds, start=UNIX):
        return start + np.round(seconds * 1e9).astype(np.int64)

    fast = np.arange(-1, duration_s + 1, 0.01)
    front = FrameStream(
        name="front",
        clock=Clock.UNIX if base == UNIX else Clock.MONOTONIC,
        time_ns=np.zeros(len(true), dtype=np.int64) if zero else ns(stamp, base),
        frames=BytesFrames([b"frame %d" % i for i in range(len(true))]),
        codec="jpeg",
        height=2,
        width=2,
        receive_time_ns=ns(late),
        clock_choice="header",
    )
    numbers = [
        Stream(name=n, clock=Clock.UNIX, time_ns=ns(fast), values=fast[:, None], clock_choice="log")
        for n in ("state", "command")
    ]
    return recording(front, *numbers), true


def recording(*streams, **fields):
    return Recording(
        recording_id="r" * 64,
        source="mcap",
        place="demo.mcap",
        files=(),
        streams={s.name: s for s in streams},
        is_stepped=fields.pop("is_stepped", False),
        **fields,
    )


def error_of(synchronized, true):
    """Largest difference between what a step shows of the state and the time of its frame, in ms."""
    steps = synchronized.steps
    frame = steps.images["front"]
    return float(np.abs(steps.proprioception["state"][frame >= 0, 0] - true[frame[frame >= 0]]).max()) * 1e3


def test_a_drifting_camera_clock_is_brought_onto_the_recorders():
    made, true = recorded()
    plain = synchronize(made, ARM, mapping())
    offset = synchronize(made, ARM, mapping(front={"correct": "offset"}))
    drift = synchronize(made, ARM, mapping(front={"correct": "drift"}))
    assert error_of(plain, true) > 140
    assert 9 < error_of(offset, true) < 15  # half a minute of 300 ppm are 9 ms
    assert error_of(drift, true) < 5
    applied = drift.policy["streams"]["front"]["correct"]
    assert abs(applied["drift_ppm"] - 300.09) < 20
    assert set(offset.policy["streams"]["front"]["correct"]) == {"mode", "at_ns", "fit_offset_ns", "drift_ppm"}
    assert "correct" not in drift.policy["streams"]["state"]


def test_a_declared_latency_is_taken_off_after_the_fit():
    made, true = recorded()
    late = synchronize(made, ARM, mapping(front={"correct": "drift", "latency_ns": round(3.4 * MS)}))
    assert error_of(synchronize(made, ARM, mapping(front={"correct": "drift"})), true) > 3
    assert error_of(late, true) < 0.8
    assert late.policy["streams"]["front"]["latency_ns"] == round(3.4 * MS)
    plain = synchronize(made, ARM, mapping()).steps
    moved = synchronize(made, ARM, mapping(front={"latency_ns": 30 * MS, "offset_ns": 10 * MS})).steps
    assert (moved.time_ns == plain.time_ns[: len(moved)] - 20 * MS).all()


def test_the_order_is_fit_then_latency_then_offset():
    correction = Correction(mode="drift", at_ns=UNIX, fit_offset_ns=1000, drift_ppm=1.0, latency_ns=70, offset_ns=5)
    stamp = np.array([UNIX + 10**9], dtype=np.int64)
    assert correction.fitted(stamp).tolist() == [UNIX + 10**9 + 1000 + 1000]
    assert correction.times(stamp).tolist() == [UNIX + 10**9 + 2000 - 70 + 5]
    policy = {"offset_ns": 5, **json.loads(json.dumps(correction.as_policy()))}
    assert Correction.from_policy(policy) == correction


def test_it_can_be_undone():
    """Stored stamps are what was recorded; with the options off the steps are those of before, to the byte."""
    made, _ = recorded()
    stamps = {n: s.time_ns.copy() for n, s in made.streams.items()}
    before = synchronize(made, ARM, mapping())
    synchronize(made, ARM, mapping(front={"correct": "drift", "latency_ns": 9 * MS, "offset_ns": -MS}))
    after = synchronize(made, ARM, mapping(front={"correct": "none", "latency_ns": None, "offset_ns": 0}))
    for name, stream in made.streams.items():
        np.testing.assert_array_equal(stream.time_ns, stamps[name])
        np.testing.assert_array_equal(after.steps.age_ns[name], before.steps.age_ns[name])
    np.testing.assert_array_equal(after.steps.time_ns, before.steps.time_ns)
    np.testing.assert_array_equal(after.steps.images["front"], before.steps.images["front"])
    np.testing.assert_array_equal(after.steps.proprioception["state"], before.steps.proprioception["state"])
    assert after.policy == before.policy


def test_without_options_the_policy_is_what_it_was_so_that_ids_stay():
    made, _ = recorded()
    assert synchronize(made, ARM, mapping()).policy == {
        "version": 1,
        "step_clock": "front",
        "rate_hz": 10.0,
        "streams": {
            "front": {"rule": "hold", "offset_ns": 0, "max_age_ms": None},
            "state": {"rule": "linear", "offset_ns": 0, "max_age_ms": None},
            "command": {"rule": "from the step on", "offset_ns": 0, "max_age_ms": None},
        },
    }


def test_a_clock_of_another_start_can_be_aligned_once_it_is_corrected():
    made, true = recorded(base=5_000_000_000_000)
    with pytest.raises(SyncError, match=r"front counts monotonic time, state unix time.*or set `correct`"):
        synchronize(made, ARM, mapping())
    done = synchronize(made, ARM, mapping(front={"correct": "drift"}))
    assert error_of(done, true) < 5
    assert done.steps.time_ns[0] > UNIX


def test_labels_in_a_corrected_streams_time_go_with_it():
    made, _ = recorded(base=5_000_000_000_000)
    second = 5_000_000_000_000 + 10**9
    labelled = recording(
        *made.streams.values(),
        instructions=(Instruction(text="pick", time_ns=second), Instruction(text="all of it")),
        outcomes=(Outcome(kind="success", time_ns=UNIX + 5 * 10**9),),
    )
    moved = labels_on_steps(labelled, mapping(front={"correct": "drift"}))
    assert abs(moved.instructions[0].time_ns - (UNIX + 1_150 * MS)) < 10 * MS
    assert moved.instructions[1].time_ns is None
    assert moved.outcomes == labelled.outcomes
    assert "labels were brought onto the recorder's clock with front" in moved.notes
    assert labels_on_steps(labelled, mapping()) is labelled
    same, _ = recorded()
    assert labels_on_steps(same, mapping(front={"correct": "drift"})) is same


def test_a_clock_that_can_not_be_corrected_is_refused_with_the_reason():
    made, _ = recorded(zero=True)
    asked = mapping(front={"correct": "drift"}, step_clock=StepClock(kind="grid"))
    with pytest.raises(SyncError, match=r"demo.mcap: front: correct is drift, but its stamps say nothing.*are 0"):
        synchronize(made, ARM, asked)
    made, _ = recorded()
    front = made.streams["front"]
    jumped = front.time_ns.copy()
    jumped[300:] -= 100 * MS
    fields = {"frames": front.frames, "codec": "jpeg", "height": 2, "width": 2, "clock": Clock.UNIX, "name": "front"}
    others = [made.streams["state"], made.streams["command"]]
    broken = FrameStream(time_ns=jumped, receive_time_ns=front.receive_time_ns, **fields)
    with pytest.raises(SyncError, match=r"receive - stamp jumps by \+(99|100)\.\d ms at 29\.9. s"):
        synchronize(recording(broken, *others), ARM, mapping(front={"correct": "offset"}))
    lost = FrameStream(time_ns=front.time_ns, **fields)
    with pytest.raises(SyncError, match="the recording does not say when its samples were received"):
        synchronize(recording(lost, *others), ARM, mapping(front={"correct": "offset"}))
    few = recorded(duration_s=1)[0]
    with pytest.raises(SyncError, match=r"the drift can't be measured; it can be offset"):
        synchronize(few, ARM, mapping(front={"correct": "drift"}))
    assert len(synchronize(few, ARM, mapping(front={"correct": "offset"})).steps)


def test_a_stream_stamped_by_the_recorder_is_correct_as_it_is():
    made, true = recorded()
    every = {n: {"correct": "drift"} for n in ("front", "state", "command")}
    done = synchronize(made, ARM, mapping(**every | {"state": {"correct": "drift", "sync": "linear"}}))
    assert error_of(done, true) < 5
    assert "correct" not in done.policy["streams"]["state"]


def test_rows_shift_by_whole_rows_of_latency_and_are_not_corrected():
    rows = np.arange(5) * 100 * MS
    streams = [
        Stream(name=n, clock=Clock.NOMINAL, time_ns=rows, values=np.arange(5.0)[:, None]) for n in ("state", "command")
    ]
    arm = ARM.model_copy(update={"cameras": ()})
    made = recording(*streams, is_stepped=True)
    late = synchronize(made, arm, mapping(state={"latency_ns": 200 * MS}))
    assert late.steps.proprioception["state"][:3, 0].tolist() == [2, 3, 4]
    assert late.policy == {"version": 1, "step_clock": "rows", "offset_ns": {}, "latency_ns": {"state": 200 * MS}}
    assert synchronize(made, arm, mapping()).policy == {"version": 1, "step_clock": "rows", "offset_ns": {}}
    with pytest.raises(SyncError, match="rows that are steps are not aligned by their clocks"):
        synchronize(made, arm, mapping(state={"correct": "drift"}))
    grid = mapping(state={"correct": "drift"}, step_clock=StepClock(kind="grid"))
    with pytest.raises(SyncError, match="correct is drift, but no time was recorded"):
        synchronize(made, arm, grid)


def test_the_time_of_every_stream_is_kept_as_plain_data_and_is_the_same_each_time():
    made, _ = recorded()
    asked = mapping(front={"correct": "drift", "latency_ns": 4 * MS, "latency_uncertainty_ns": MS})
    policy = synchronize(made, ARM, asked).policy
    kept = as_json(made, asked, policy)
    text = json.dumps(kept, allow_nan=False, sort_keys=True)
    assert text == json.dumps(as_json(*[recorded()[0], asked, policy]), sort_keys=True)
    front = json.loads(text)["front"]
    assert front["clock"] == "unix"
    assert front["clock_choice"] == "header"
    assert abs(front["fit"]["drift_ppm"] - 300.09) < 2 * front["fit"]["drift_uncertainty_ppm"]
    assert front["fit"]["expected"].startswith("only 59.9 s: drift within ±")
    assert front["declared"] == {"correct": "drift", "latency_ns": 4 * MS, "latency_uncertainty_ns": MS}
    assert front["applied"]["correct"]["drift_ppm"] == front["fit"]["drift_ppm"]
    assert front["applied"]["latency_ns"] == 4 * MS
    state = json.loads(text)["state"]
    assert state["is_receipt"]
    assert state["fit"] is None
    assert state["applied"] == {"offset_ns": 0}
    assert "front" not in as_json(recording(made.streams["state"]), asked, {})
