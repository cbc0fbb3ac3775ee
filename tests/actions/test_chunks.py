"""Chunks: against a slow and plain count, and the cases that a person would ask about."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.actions.chunks import ActionChunks, ChunkCounts, ChunkEnd, make_chunks
from vladata.errors import ExportError
from vladata.units import Mode

MODES = [Mode.ABSOLUTE, Mode.DELTA, Mode.VELOCITY]


def numbered(num_steps: int) -> np.ndarray:
    """Each value says its step and dimension: 10 * step + dimension + 1."""
    return 10.0 * np.arange(num_steps)[:, None] + np.arange(1, 4)


def slow_chunks(
    actions: np.ndarray, valid: np.ndarray, horizon: int, chunk_end: str, cuts: list[int]
) -> tuple[list[int], list[list[list[float]]], list[list[bool]], dict[str, int]]:
    starts: list[int] = []
    values: list[list[list[float]]] = []
    pads: list[list[bool]] = []
    counts = {"invalid": 0, "end": 0, "bad": 0, "cut": 0, "dropped": 0, "padded": 0}
    for start in range(len(actions)):
        if not valid[start]:
            counts["invalid"] += 1
            continue
        chunk = [list(actions[start])]
        reason = ""
        for step in range(start + 1, start + horizon):
            if step == len(actions):
                reason = "end"
            elif not valid[step]:
                reason = "bad"
            elif step in cuts:
                reason = "cut"
            if reason:
                break
            chunk.append(list(actions[step]))
        if reason:
            counts[reason] += 1
            if chunk_end == "drop":
                counts["dropped"] += 1
                continue
        missing = horizon - len(chunk)
        counts["padded"] += missing
        last = chunk[-1]
        starts.append(start)
        pads.append([False] * len(chunk) + [True] * missing)
        values.append(chunk + [[last[0], 0.0, 0.0]] * missing)
    return starts, values, pads, counts


@settings(max_examples=300)
@given(st.data())
def test_chunks_equal_the_slow_way(data: st.DataObject) -> None:
    num_steps = data.draw(st.integers(0, 14))
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=num_steps, max_size=num_steps)), dtype=bool)
    horizon = data.draw(st.integers(1, 6))
    chunk_end = data.draw(st.sampled_from(["pad", "drop"]))
    cuts = data.draw(st.lists(st.integers(0, num_steps), max_size=4))
    actions = numbered(num_steps)
    actions[~valid] = np.nan

    chunks, counts = make_chunks(actions, valid, horizon, chunk_end, MODES, cuts)

    starts, values, pads, expected = slow_chunks(actions, valid, horizon, chunk_end, cuts)
    assert chunks.start.tolist() == starts
    np.testing.assert_array_equal(chunks.values, np.array(values).reshape(-1, horizon, 3))
    np.testing.assert_array_equal(chunks.is_pad, np.array(pads, dtype=bool).reshape(-1, horizon))
    assert counts == ChunkCounts(
        num_steps=num_steps,
        num_chunks=len(starts),
        num_invalid=expected["invalid"],
        num_ended_at_end=expected["end"],
        num_ended_at_invalid=expected["bad"],
        num_ended_at_cut=expected["cut"],
        num_dropped=expected["dropped"],
        num_padded_targets=expected["padded"],
    )


def test_absolute_dimensions_repeat_their_last_target_and_the_others_hold_still() -> None:
    chunks, _ = make_chunks(numbered(3), np.ones(3, dtype=bool), 3, "pad", MODES)

    assert chunks.values[1].tolist() == [[11, 12, 13], [21, 22, 23], [21, 0, 0]]
    assert chunks.is_pad[1].tolist() == [False, False, True]
    assert chunks.values[2].tolist() == [[21, 22, 23], [21, 0, 0], [21, 0, 0]]


def test_dropping_leaves_only_whole_chunks() -> None:
    chunks, counts = make_chunks(numbered(5), np.ones(5, dtype=bool), 3, ChunkEnd.DROP, MODES)

    assert chunks.start.tolist() == [0, 1, 2]
    assert not chunks.is_pad.any()
    assert (counts.num_dropped, counts.num_padded) == (2, 0)


def test_an_episode_shorter_than_the_horizon_gives_nothing_when_dropping_and_padded_chunks_otherwise() -> None:
    valid = np.ones(2, dtype=bool)

    assert len(make_chunks(numbered(2), valid, 5, "drop", MODES)[0]) == 0
    assert len(make_chunks(numbered(2), valid, 5, "pad", MODES)[0]) == 2


def test_a_chunk_does_not_reach_over_an_invalid_step_or_a_cut() -> None:
    valid = np.array([True, True, False, True, True, True])

    chunks, counts = make_chunks(numbered(6), valid, 3, "pad", MODES, cuts=[5])

    assert chunks.start.tolist() == [0, 1, 3, 4, 5]
    assert chunks.is_pad.sum(axis=1).tolist() == [1, 2, 1, 2, 2]
    assert (counts.num_ended_at_invalid, counts.num_ended_at_cut, counts.num_ended_at_end) == (2, 2, 1)


def test_counts_of_episodes_add_up() -> None:
    _, first = make_chunks(numbered(4), np.ones(4, dtype=bool), 2, "pad", MODES)
    _, second = make_chunks(numbered(3), np.zeros(3, dtype=bool), 2, "pad", MODES)

    total = first + second

    assert (total.num_steps, total.num_chunks, total.num_invalid, total.num_padded) == (7, 4, 3, 1)


def test_a_valid_step_with_nan_is_refused_with_its_place() -> None:
    actions = numbered(4)
    actions[2, 1] = np.nan

    with pytest.raises(ExportError, match=r"action\[2, 1\] is nan at a valid step; must be finite"):
        make_chunks(actions, np.ones(4, dtype=bool), 2, "pad", MODES)


def test_actions_recorded_relative_to_other_chunks_are_refused() -> None:
    modes = [Mode.ABSOLUTE, Mode.CHUNK_RELATIVE, Mode.DELTA]
    valid = np.ones(4, dtype=bool)

    with pytest.raises(ExportError, match="action dimension 1 was recorded relative to the start of its chunk"):
        make_chunks(numbered(4), valid, 2, "pad", modes)
    assert len(make_chunks(numbered(4), valid, 1, "pad", modes)[0]) == 4


@pytest.mark.parametrize(
    ("horizon", "chunk_end", "cuts", "message"),
    [
        (0, "pad", [], "horizon is 0; must be 1 to 4096"),
        (5000, "pad", [], "horizon is 5000; must be 1 to 4096"),
        (2, "wrap", [], "chunk end is 'wrap'; must be pad or drop"),
        (2, "pad", [5], "a cut is at step 5; must be 0 to 4"),
        (2, "pad", [-1], "a cut is at step -1; must be 0 to 4"),
    ],
)
def test_wrong_options_are_refused(horizon: int, chunk_end: str, cuts: list[int], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        make_chunks(numbered(4), np.ones(4, dtype=bool), horizon, chunk_end, MODES, cuts)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ExportError, match=r"actions are \[4, 3\]; must be \[5, 3\]"):
        make_chunks(numbered(4), np.ones(5, dtype=bool), 2, "pad", MODES)


def test_chunks_know_their_number() -> None:
    chunks = ActionChunks(start=np.arange(3), values=np.zeros((3, 2, 1)), is_pad=np.zeros((3, 2), dtype=bool))

    assert len(chunks) == 3
