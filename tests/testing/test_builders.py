import doctest

import numpy as np
import pytest

from vladata.checks import _look
from vladata.embodiment import StreamRule
from vladata.mapping import Mapping, StepClock, StreamMapping
from vladata.sync.align import synchronize
from vladata.testing import builders
from vladata.testing.builders import START_NS, build_embodiment, build_episode, build_frames, build_recording
from vladata.units import Clock


@pytest.mark.parametrize("module", [builders, _look])
def test_examples_in_docstrings_hold(module):
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0


def test_streams_run_at_their_own_rates_around_the_steps():
    recording = build_recording(rates_hz={"arm": 200.0}, offsets_ns={"command": 5})
    assert {n: len(s.time_ns) for n, s in recording.streams.items()} == {"arm": 481, "command": 121, "front": 73}
    assert int(np.diff(recording.streams["arm"].time_ns)[0]) == 5_000_000
    assert int(recording.streams["command"].time_ns[0]) == START_NS - 200_000_000 + 5
    assert recording.streams["arm"].values.shape == (481, 4)


def test_the_same_seed_gives_the_same_episode():
    assert build_episode(seed=4).content_digest == build_episode(seed=4).content_digest
    assert build_episode(seed=4).content_digest != build_episode(seed=5).content_digest
    assert build_episode(outcomes=()).content_digest == build_episode().content_digest


def test_frames_can_be_decoded_and_shown_at_their_steps():
    episode = build_episode()
    assert episode[0].images["front"].shape == (48, 64, 3)
    # The latest frame at or before the first step: frame 6 of 30 Hz, which begins 0.2 s before.
    assert int(episode.steps.images["front"][0]) == 6
    assert len(build_frames(3, height=20, width=30)) == 3


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"offsets_ns": {"arm": -17_000_000, "command": -3_000_000}},
        {"rates_hz": {"command": 5.0, "arm": 35.0, "front": 15.0}},
    ],
)
def test_steps_are_those_that_synchronization_makes(knobs):
    rules = {"front": StreamRule(max_age_ms=40.0)}
    embodiment = build_embodiment(rules=rules)
    recording, episode = build_recording(embodiment, **knobs), build_episode(embodiment, **knobs)
    mapping = Mapping(
        source="testing",
        streams={n: StreamMapping(source=n) for n in embodiment.stream_names},
        step_clock=StepClock(kind="grid"),
    )
    made = synchronize(recording, embodiment, mapping).steps
    # Synchronization begins with the first sample of all streams, two steps before the builder.
    first = int(np.searchsorted(made.time_ns, episode.steps.time_ns[0]))
    cut = made.between(first, first + len(episode))
    np.testing.assert_array_equal(cut.time_ns, episode.steps.time_ns)
    for group in ("proprioception", "action", "images", "valid"):
        for name, array in getattr(cut, group).items():
            np.testing.assert_array_equal(array, getattr(episode.steps, group)[name])


def test_stepped_recordings_have_the_same_rows():
    recording = build_recording(is_stepped=True, clock=Clock.NOMINAL)
    assert {len(s.time_ns) for s in recording.streams.values()} == {21}
    assert all(int(s.time_ns[0]) == 0 for s in recording.streams.values())
