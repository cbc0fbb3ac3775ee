"""Datasets of small episodes, made without any source."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read by `datasets` when it is imported

from vladata.embodiment import Embodiment
from vladata.episode import Episode
from vladata.exporters.huggingface import ExportOptions, export
from vladata.store.catalog import entry_of
from vladata.store.dataset import Dataset, hash_file
from vladata.store.dataset_writer import episode_file, writing
from vladata.store.reader import read_episode
from vladata.store.writer import EpisodeDraft, write_episode
from vladata.testing.builders import build_embodiment, build_episode


def draft_of(episode: Episode, **changes: Any) -> EpisodeDraft:
    content = {"files": [{"name": "demo.mcap", "size": 7, "sha256": episode.content_digest}], "notes": []}
    return EpisodeDraft(
        episode_id=episode.episode_id,
        recording_id=episode.recording_id,
        embodiment=episode.embodiment,
        streams=episode.streams,
        steps=episode.steps,
        instructions=episode.instructions,
        outcomes=episode.outcomes,
        metadata=changes.pop("metadata", episode.metadata),
        provenance={**episode.provenance, **content, **changes},
    )


def write_dataset(folder: Path, drafts: Sequence[EpisodeDraft]) -> Dataset:
    with writing(folder) as writer:
        for draft in drafts:
            name = episode_file(draft.episode_id)
            write_episode(folder / name, draft)
            size, sha256 = hash_file(folder / name)
            entry = entry_of(read_episode(folder / name), file=name, num_bytes=size, sha256=sha256)
            writer.committed(entry)
    return Dataset.open(folder)


def build_dataset(folder: Path, episodes: Sequence[dict[str, Any]], embodiment: Embodiment) -> Dataset:
    drafts = []
    for number, knobs in enumerate(episodes):
        given = dict(knobs)
        changes = given.pop("draft", {})
        defaults = {"place": f"demo_{number:03d}.mcap", "seed": number, "duration_s": 1.5}
        drafts.append(draft_of(build_episode(embodiment, **{**defaults, **given}), **changes))
    return write_dataset(folder, drafts)


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """Write episodes of `build_episode`, one for each dictionary of its arguments; equal seeds have equal content."""

    def make(
        *episodes: dict[str, Any], name: str = "dataset", embodiment_name: str = "test_arm", **embodiment: Any
    ) -> Dataset:
        return build_dataset(tmp_path / name, episodes, build_embodiment(name=embodiment_name, **embodiment))

    return make


@pytest.fixture(scope="session")
def six_episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("six") / "dataset"
    build_dataset(folder, [{}] * 6, build_embodiment(cameras=("front", "wrist")))
    return folder


@pytest.fixture
def dataset(six_episodes: Path) -> Dataset:
    """Six episodes of 16 steps with two cameras; only to be read."""
    return Dataset.open(six_episodes)


@pytest.fixture
def own_dataset(six_episodes: Path, tmp_path: Path) -> Dataset:
    """The same six episodes, to be changed."""
    return Dataset.open(shutil.copytree(six_episodes, tmp_path / "dataset"))


@pytest.fixture(scope="session")
def one_export(six_episodes: Path) -> Path:
    """An export of the six episodes beside them, chunks of 4; only to be read."""
    out = six_episodes.parent / "out"
    export(Dataset.open(six_episodes), out, ExportOptions(tokenizer="openvla_bins", horizon=4), workers=0)
    return out


@pytest.fixture
def own_export(one_export: Path, own_dataset: Dataset, tmp_path: Path) -> Path:
    """The same, to be changed, beside `own_dataset`."""
    return Path(shutil.copytree(one_export, tmp_path / "out"))
