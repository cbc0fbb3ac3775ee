"""What was found out about an episode is kept for the next check, and only for that episode."""

import dataclasses

import numpy as np

from vladata.checks import _look
from vladata.testing.builders import build_episode


def test_a_stream_of_another_episode_or_of_the_same_name_is_looked_at_anew():
    episode = build_episode(duration_s=1.0)
    arm = episode.streams["arm"]
    cut = _look.part(episode, arm)
    assert (cut.start, cut.stop) == (10, 131)
    assert _look.part(episode, arm) is cut
    late = dataclasses.replace(arm, time_ns=arm.time_ns + 50_000_000)
    assert _look.part(episode, late).start == 5
    longer = dataclasses.replace(episode, steps=dataclasses.replace(episode.steps, time_ns=episode.steps.time_ns))
    assert _look.part(longer, arm) == cut


def test_a_correction_is_that_of_the_episode():
    episode = build_episode(duration_s=1.0)
    policy = {"streams": {"front": {"offset_ns": -7}}}
    shifted = dataclasses.replace(episode, provenance={"sync": {"policy": policy}})
    for _ in range(2):
        assert _look.correction(episode, "front").offset_ns == 0
        assert _look.correction(shifted, "front").offset_ns == -7
    assert np.array_equal(_look.correction(shifted, "arm").times(np.arange(3)), np.arange(3))
