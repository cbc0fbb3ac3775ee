"""Episodes of every format version stay readable: the file was written once and is only ever read."""

import os
from pathlib import Path

import pytest

from vladata.store.reader import read_episode, verify_episode
from vladata.store.writer import write_episode

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "episode_v1.h5"


def test_golden_episode_of_version_1_reads_as_it_was_written(draft):
    if os.environ.get("VLADATA_WRITE_GOLDEN"):
        write_episode(GOLDEN, draft)
    assert verify_episode(GOLDEN) == []
    episode = read_episode(GOLDEN)
    assert episode.instruction == "pick up the cüp"
    assert episode.outcome == "success"
    assert len(episode) == 12
    assert episode.steps.action["command"][3].tolist() == pytest.approx(draft.steps.action["command"][3].tolist())
    assert episode[5].images["front"].shape == (24, 32, 3)
    assert episode.content_digest == "d183f2ff5636edf0070ae0ca9090da4a0c32b394e36b0e7c672553b5b7bb6074"
