"""Datasets of built episodes, written without a recording."""

import pytest

from vladata.store.catalog import entry_of
from vladata.store.dataset import Dataset, write_index
from vladata.store.dataset_writer import episode_file
from vladata.store.reader import read_episode
from vladata.store.writer import EpisodeDraft, write_episode

PARTS = (
    "episode_id", "recording_id", "embodiment", "streams", "steps", "instructions", "outcomes", "metadata",
    "provenance",
)  # fmt: skip


@pytest.fixture(scope="session")
def put():
    """Write episodes as a dataset; they come back in its order."""

    def write(folder, episodes):
        entries = []
        for episode in episodes:
            name = episode_file(episode.episode_id)
            draft = EpisodeDraft(**{n: getattr(episode, n) for n in PARTS})
            size, sha256 = write_episode(folder / name, draft)
            read = read_episode(folder / name, is_trusted=True)
            entries.append(entry_of(read, file=name, num_bytes=size, sha256=sha256))
        folder.mkdir(exist_ok=True)
        write_index(folder, entries)
        return Dataset.open(folder)

    return write
