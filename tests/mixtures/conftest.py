"""Exports of two and more embodiments, made without any source."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

os.environ["HF_HUB_OFFLINE"] = "1"  # read by `datasets` when it is imported

from vladata.embodiment import Embodiment
from vladata.exporters.huggingface import ExportOptions, export
from vladata.store.catalog import entry_of
from vladata.store.dataset import Dataset, hash_file
from vladata.store.dataset_writer import episode_file, writing
from vladata.store.reader import read_episode
from vladata.store.writer import EpisodeDraft, write_episode
from vladata.testing.builders import build_embodiment, build_episode


def write_dataset(folder: Path, episodes: Sequence[dict[str, Any]], embodiment: Embodiment) -> Dataset:
    with writing(folder) as writer:
        for number, knobs in enumerate(episodes):
            defaults = {"place": f"demo_{number:03d}.mcap", "seed": number, "duration_s": 1.5}
            episode = build_episode(embodiment, **{**defaults, **knobs})
            files = [{"name": "demo.mcap", "size": 7, "sha256": episode.content_digest}]
            draft = EpisodeDraft(
                episode_id=episode.episode_id,
                recording_id=episode.recording_id,
                embodiment=episode.embodiment,
                streams=episode.streams,
                steps=episode.steps,
                instructions=episode.instructions,
                outcomes=episode.outcomes,
                metadata=episode.metadata,
                provenance={**episode.provenance, "files": files, "notes": []},
            )
            name = episode_file(draft.episode_id)
            write_episode(folder / name, draft)
            size, sha256 = hash_file(folder / name)
            writer.committed(entry_of(read_episode(folder / name), file=name, num_bytes=size, sha256=sha256))
    return Dataset.open(folder)


def make_export(
    folder: Path, episodes: Sequence[dict[str, Any]], options: ExportOptions | None = None, **embodiment: Any
) -> Path:
    dataset = write_dataset(folder / "dataset", episodes, build_embodiment(**embodiment))
    export(dataset, folder / "shards", options or ExportOptions(tokenizer="openvla_bins", horizon=2), workers=0)
    return folder / "shards"


@pytest.fixture
def make_part(tmp_path: Path) -> Callable[..., Path]:
    """Write an export under a name: an episode for each dictionary, then options, then the embodiment's knobs."""

    def make(name: str, episodes: Sequence[dict[str, Any]], options: ExportOptions | None = None, **knobs: Any) -> Path:
        return make_export(tmp_path / name, episodes, options, name=f"{name}_robot", **knobs)

    return make


@pytest.fixture(scope="session")
def three_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of three exports, to be read only.

    arm: 7 dimensions, two cameras, chunks of 2, 10 Hz, 80 rows of train; aloha: 14, one camera, chunks of 4, 20 Hz,
    93; small: 4, no camera, 10 Hz, 22. Of each, one episode is held out.
    """
    folder = tmp_path_factory.mktemp("parts")
    seeds = [{"seed": 100 + i} for i in range(6)]
    make_export(folder / "arm", seeds, name="arm_robot", num_joints=6, cameras=("front", "wrist"))
    seeds = [{"seed": 200 + i} for i in range(4)]
    make_export(
        folder / "aloha",
        seeds,
        ExportOptions(tokenizer="openvla_bins", horizon=4),
        name="aloha_robot",
        num_joints=13,
        cameras=("top",),
        rate_hz=20.0,
    )
    seeds = [{"seed": 300 + i, "duration_s": 1.0} for i in range(3)]
    make_export(folder / "small", seeds, name="small_robot", cameras=())
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """Write a recipe; parts are names of `three_parts`, or dictionaries."""

    def write(*parts: dict[str, Any], name: str = "mixture.yaml", **fields: Any) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump({"mixture": 1, **fields, "parts": list(parts)}))
        return path

    return write


@pytest.fixture
def parts(three_parts: Path) -> Callable[..., list[dict[str, Any]]]:
    """Lines of a recipe for some of the three parts: `parts("arm", aloha={"weight": 2.0})`."""

    def make(*names: str, **more: dict[str, Any]) -> list[dict[str, Any]]:
        lines = {**{n: {} for n in names}, **more}
        return [{"name": n, "export": str(three_parts / n / "shards"), **knobs} for n, knobs in lines.items()]

    return make
