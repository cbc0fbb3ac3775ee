"""The columns of the config `executor`: one description for `datasets` and for Parquet."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..documents import canonical_json
from ._prompts import Prompts, prompt_features
from ._rows import Layout

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["IMAGES", "arrow_schema", "image_columns"]

IMAGES = "observation.images."


def image_columns(layout: Layout) -> list[str]:
    """Columns of encoded images, in the schema's order."""
    return [IMAGES + c.name for c in layout.cameras]


def arrow_schema(layout: Layout, prompts: Prompts, facts: Mapping[str, object]) -> "pa.Schema":
    """The Arrow schema of a shard, with the features in its metadata as `datasets` reads them.

    Args:
        layout: What the columns are made of.
        prompts: What the columns of prompts and ids are made of.
        facts: Further metadata under the key `vladata`, so that a shard alone says what its numbers are.
    """
    # Loading it takes more than a second; workers get the schema as bytes.
    from datasets import Features, Image, List, Value

    dims, horizon = len(layout.representation.dimensions), layout.rule.horizon
    columns: dict[str, object] = {
        "episode_index": Value("int64"),
        "episode_id": Value("string"),
        "step_index": Value("int64"),
        "timestamp": Value("float64"),
        "task": Value("string"),
        "subtask": Value("string"),
    }
    columns |= {name: Image() for name in image_columns(layout)}
    if layout.state_names:
        columns["observation.state"] = List(Value("float32"), length=len(layout.state_names))
    columns |= {
        "action": List(Value("float32"), length=dims),
        "action_chunk": List(List(Value("float32"), length=dims), length=horizon),
        "action_is_pad": List(Value("bool"), length=horizon),
        "action_codes": List(Value("int32")),
    }
    columns |= prompt_features(prompts)
    schema: pa.Schema = Features(columns).arrow_schema
    return schema.with_metadata({**(schema.metadata or {}), b"vladata": canonical_json(facts).encode()})
