"""Several demonstrations in one recording: cut at marks, and where time goes backward."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.errors import SyncError
from vladata.mapping import Mapping, SplitMapping
from vladata.recording import BytesFrames, FrameStream, Instruction, Mark, Outcome, Recording, Stream
from vladata.sync.split import split_backward, split_marks, split_recording
from vladata.units import Clock

SPLIT = SplitMapping.model_validate({"from": "/episode"})
EACH = SplitMapping.model_validate({"from": "/episode", "kind": "each"})


def recording(marks, times=range(100), instructions=(), outcomes=()):
    """State at each of some times, stamped 3 before it was received; a camera at every fifth."""
    receive = np.array(times, dtype=np.int64)
    state = Stream(
        name="state",
        clock=Clock.UNIX,
        time_ns=receive - 3,
        values=receive[:, None].astype(float),
        receive_time_ns=receive,
        clock_choice="header",
    )
    camera = FrameStream(
        name="camera",
        clock=Clock.UNIX,
        time_ns=receive[::5],
        frames=BytesFrames([str(t).encode() for t in receive[::5]]),
        codec="jpeg",
        height=1,
        width=1,
        clock_choice="log",
    )
    return Recording(
        recording_id="ab",
        source="mcap",
        place="demo.mcap",
        files=(),
        streams={"state": state, "camera": camera},
        is_stepped=False,
        marks=tuple(Mark(receive_time_ns=t, text=text) for t, text in marks),
        instructions=tuple(Instruction(text=x, time_ns=t, receive_time_ns=t) for t, x in instructions),
        outcomes=tuple(Outcome(kind=k, time_ns=t, receive_time_ns=t) for t, k in outcomes),
    )


def ranges(parts):
    return [(int(p.streams["state"].values[0, 0]), int(p.streams["state"].values[-1, 0])) for p in parts]


def test_each_start_and_stop_is_a_demonstration():
    parts = split_marks(recording([(10, "start"), (30, "stop"), (50, "Start "), (61, "END")]), SPLIT)
    assert ranges(parts) == [(10, 29), (50, 60)]
    assert [p.place for p in parts] == ["demo.mcap#0", "demo.mcap#1"]
    assert len({p.recording_id for p in parts} | {"ab"}) == 3
    frames = parts[1].streams["camera"].frames
    assert [frames.read(i) for i in range(3)] == [b"50", b"55", b"60"]
    assert (parts[0].streams["state"].time_ns + 3).tolist() == list(range(10, 30))
    for k, part in enumerate(parts):
        assert "split: outside of the 2 demonstrations lie 69 of 100 samples of state, 13 of 20 samples of camera" in (
            part.notes
        )
        assert any(f"part {k + 1} of 2" in n for n in part.notes)


def test_ids_do_not_depend_on_what_else_is_cut():
    one = split_marks(recording([(10, "start"), (30, "stop")]), SPLIT)[0]
    two = split_marks(recording([(10, "start"), (30, "stop"), (50, "start"), (60, "stop")]), SPLIT)[0]
    assert one.recording_id == two.recording_id


def test_marks_that_change_nothing_are_counted():
    marks = [(5, "stop"), (10, "start"), (12, "start"), (30, "stop"), (31, "stop"), (40, "pause")]
    (part,) = split_marks(recording(marks), SPLIT)
    assert ranges([part]) == [(10, 29)]
    assert any(n.startswith("split: 3 marks change nothing") for n in part.notes)
    assert any("1 marks are none of those that the mapping lists (pause)" in n for n in part.notes)


def test_a_discarded_demonstration_is_left_out_and_said():
    marks = [(10, "start"), (20, "discard"), (30, "start"), (40, "stop")]
    parts = split_marks(recording(marks), SPLIT)
    assert ranges(parts) == [(30, 39)]
    assert "split: 1 demonstrations were discarded by a mark" in parts[0].notes


def test_a_start_without_a_stop_lasts_to_the_end_and_is_said():
    parts = split_marks(recording([(90, "start")]), SPLIT)
    assert ranges(parts) == [(90, 99)]
    assert "split: the last demonstration has no stop; it lasts to the end of the recording" in parts[0].notes


def test_each_mark_begins_a_demonstration():
    parts = split_marks(recording([(10, "1"), (30, "2"), (31, "discard"), (50, "3")]), EACH)
    assert ranges(parts) == [(10, 29), (50, 99)]
    assert "split: 1 demonstrations were discarded by a mark" in parts[0].notes


def test_own_words_for_the_marks():
    split = SplitMapping.model_validate({"from": "/e", "start": ["go"], "stop": ["success", "failure"]})
    made = recording([(10, "go"), (30, "success")], outcomes=[(30, "success")])
    (part,) = split_marks(made, split)
    assert [o.kind for o in part.outcomes] == ["success"]  # received at the very stop


def test_labels_go_with_the_part_in_which_they_were_received():
    marks = [(10, "start"), (30, "stop"), (50, "start"), (60, "stop")]
    made = recording(
        marks,
        instructions=[(15, "fold"), (55, "fold")],
        outcomes=[(29, "success"), (58, "failure"), (80, "success")],
    )
    one, two = split_marks(made, SPLIT)
    assert [i.text for i in one.instructions] == ["fold"]
    assert [i.text for i in two.instructions] == ["fold"]
    assert [o.kind for o in one.outcomes] == ["success"]
    assert [o.kind for o in two.outcomes] == ["failure"]
    assert any(n.endswith("1 labels") for n in one.notes)


def test_the_label_s_own_time_does_not_decide():
    made = recording([(10, "start"), (30, "stop"), (50, "start"), (60, "stop")])
    late = Instruction(text="fold", time_ns=999, receive_time_ns=12)
    one, two = split_marks(dataclasses.replace(made, instructions=(late,)), SPLIT)
    assert [i.text for i in one.instructions] == ["fold"]
    assert two.instructions == ()
    made = dataclasses.replace(made, instructions=(dataclasses.replace(late, receive_time_ns=None, time_ns=52),))
    one, two = split_marks(made, SPLIT)
    assert one.instructions == ()
    assert [i.text for i in two.instructions] == ["fold"]


def test_an_instruction_between_the_parts_holds_for_those_after_it():
    marks = [(10, "start"), (20, "stop"), (30, "start"), (40, "stop"), (50, "start"), (60, "stop")]
    one, two, three = split_marks(recording(marks, instructions=[(5, "fold"), (45, "stack")]), SPLIT)
    assert [(i.text, i.time_ns) for i in one.instructions] == [("fold", None)]
    assert [(i.text, i.time_ns) for i in two.instructions] == [("fold", None)]
    assert [(i.text, i.time_ns) for i in three.instructions] == [("stack", None)]
    assert any("was received before the part, at 5 ns" in n for n in two.notes)


def test_an_instruction_of_its_own_goes_before_one_from_outside():
    marks = [(10, "start"), (20, "stop")]
    (part,) = split_marks(recording(marks, instructions=[(5, "fold"), (13, "stack")]), SPLIT)
    assert [(i.text, i.time_ns) for i in part.instructions] == [("stack", 13)]
    assert any(n.endswith("1 labels") for n in part.notes)


def test_repeated_labels_come_once_in_each_part():
    marks = [(10, "start"), (20, "stop"), (30, "start"), (40, "stop")]
    said = [(t, "fold") for t in (11, 12, 13, 31, 32)]
    one, two = split_marks(recording(marks, instructions=said), SPLIT)
    assert [i.receive_time_ns for i in one.instructions] == [11]
    assert [i.receive_time_ns for i in two.instructions] == [31]


def test_an_instruction_before_the_first_sample_of_a_part_holds_from_the_first_step():
    (part,) = split_marks(recording([(10, "start"), (20, "stop")], instructions=[(10, "a"), (14, "b")]), SPLIT)
    assert [(i.text, i.time_ns) for i in part.instructions] == [("a", None), ("b", 14)]


@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        ([], "there are no marks"),
        ([(10, "stop"), (20, "what")], r"no demonstration in 2 marks \(stop, what\)"),
        ([(1000, "start")], "no demonstration in 1 marks"),
    ],
)
def test_marks_that_give_nothing_say_why(marks, reason):
    with pytest.raises(SyncError, match=reason):
        split_marks(recording(marks), SPLIT)


def test_a_stream_without_a_time_of_receipt_can_t_be_cut():
    made = recording([(10, "start")])
    state = dataclasses.replace(made.streams["state"], receive_time_ns=None)
    with pytest.raises(SyncError, match="state has no time of receipt"):
        split_marks(dataclasses.replace(made, streams={**made.streams, "state": state}), SPLIT)


def test_receipt_that_goes_backward_asks_for_the_other_rule():
    made = recording([(10, "start")], times=[*range(50), *range(50)])
    with pytest.raises(SyncError, match=r"state was received at 49 ns and then at 0 ns.*on_backward_time"):
        split_marks(made, SPLIT)


def test_marks_within_restarts():
    made = recording([(10, "start"), (20, "stop"), (5, "start"), (15, "stop")], times=[*range(50), *range(50)])
    mapping = Mapping.model_validate(
        {"source": "mcap", "streams": {}, "on_backward_time": "split", "split": {"from": "/episode"}}
    )
    parts = split_recording(made, mapping)
    assert [p.place for p in parts] == ["demo.mcap#0#0", "demo.mcap#1#0"]
    assert ranges(parts) == [(10, 19), (5, 14)]
    assert len({p.recording_id for p in parts}) == 2


def test_without_a_rule_a_recording_is_left_alone():
    made = recording([(10, "start")], times=[*range(50), *range(50)])
    assert split_recording(made, Mapping.model_validate({"source": "mcap", "streams": {}})) == [made]


def test_labels_of_restarts_are_cut_by_receipt_too():
    made = recording([], times=[*range(50), *range(50)])
    receive = np.concatenate([np.arange(50), np.arange(1000, 1050)])
    streams = {
        n: dataclasses.replace(s, receive_time_ns=receive[:: 5 if n == "camera" else 1], clock_choice="header")
        for n, s in made.streams.items()
    }
    labels = tuple(Instruction(text=t, time_ns=7, receive_time_ns=r) for t, r in (("a", 7), ("b", 1007)))
    one, two = split_backward(dataclasses.replace(made, streams=streams, instructions=labels))
    assert [i.text for i in one.instructions] == ["a"]
    assert [i.text for i in two.instructions] == ["b"]


@settings(max_examples=80, deadline=None)
@given(
    times=st.lists(st.integers(0, 300), min_size=1, max_size=60),
    marks=st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(["start", "stop", "discard", "x"])), min_size=1, max_size=12
    ),
    kind=st.sampled_from([SPLIT, EACH]),
)
def test_every_sample_is_in_one_part_at_most_and_the_rest_is_counted(times, marks, kind):
    made = recording(sorted(marks), times=sorted(times))
    try:
        parts = split_marks(made, kind)
    except SyncError:
        return
    kept = [t for p in parts for t in p.streams["state"].values[:, 0].astype(int).tolist()]
    assert kept == sorted(kept)
    outside = len(times) - len(kept)
    assert outside >= 0
    assert any(f"{outside} of {len(times)} samples of state" in n for n in parts[0].notes) == (outside > 0)
    for value in set(kept):
        assert kept.count(value) == times.count(value)
    for part in parts:
        stream = part.streams["state"]
        assert len(stream.time_ns) == len(stream.values) == len(stream.receive_time_ns)
