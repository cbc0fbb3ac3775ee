"""Families that others recorded: ingested once, and turned back into recordings as `vladata resync` does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vladata.mapping import SchemaFile, load_schema
from vladata.pipeline import IngestOptions, ingest
from vladata.resync import _Facts
from vladata.store.dataset import Dataset
from vladata.store.reader import read_episode

from .case import Case

__all__ = ["FAMILIES", "RealFamily", "cases", "prepare"]

ROOT = Path(__file__).resolve().parents[2]
SHARED = next((p / "shared" / "data" for p in ROOT.parents if (p / "shared" / "data").is_dir()), ROOT / "shared")
"""Beside the repository, or further up where this is a work tree of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealFamily:
    """Recordings and the schema that they are read with."""

    name: str
    recordings: Path
    schema: str
    optional: tuple[str, ...] = ()
    """Streams that most of these recordings lack."""

    def load(self) -> SchemaFile:
        """The schema, with those streams not required."""
        schema = load_schema(self.schema)
        rules = dict(schema.embodiment.streams)
        rules.update({n: schema.embodiment.rule(n).model_copy(update={"required": False}) for n in self.optional})
        return schema.model_copy(update={"embodiment": schema.embodiment.model_copy(update={"streams": rules})})


FAMILIES = (
    RealFamily(name="sample", recordings=ROOT / "sample_data" / "recordings", schema="sample_arm"),
    RealFamily(name="bridge", recordings=SHARED / "bridge_rlds_tfrecord", schema="widowx_bridge"),
    RealFamily(
        name="g1",
        recordings=SHARED / "g1_inspire_lerobot_v21",
        schema="unitree_g1_inspire",
        optional=("cam_high",),
    ),
)


def prepare(family: RealFamily, folder: Path) -> Path:
    """Ingest the recordings of a family into a folder, or find them there."""
    target = folder / family.name
    if not (target / "manifest.json").exists():
        ingest([family.recordings], target, IngestOptions(schema=family.load()), num_workers=2)
    return target


def cases(family: RealFamily, dataset: Path) -> Iterator[Case]:
    """All episodes of a family as recordings, in the order of their places."""
    for entry in sorted(Dataset.open(dataset).entries, key=lambda e: (e.place, e.episode_id)):
        episode = read_episode(dataset / entry.file)
        facts = _Facts(episode, entry.file)  # what resync makes a recording of
        yield Case(
            recording=facts.recording(episode.embodiment, facts.mapping),
            embodiment=episode.embodiment,
            mapping=facts.mapping,
            variant=family.name,
            name=f"{family.name}/{entry.place}",
        )
