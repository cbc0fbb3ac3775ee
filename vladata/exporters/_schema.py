"""The columns of each config: one description for `datasets` and for Parquet."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..documents import canonical_json
from ._prompts import Prompts, prompt_features
from ._rows import Layout
from ._wording import Wording

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["IMAGES", "TOKENS", "arrow_schema", "image_columns", "retokenized_schema", "text_schema"]

IMAGES = "observation.images."
TOKENS = (
    *("action_codes", "action_loss_mask", "prompt", "completion", "target"),
    *("action_token_ids", "input_ids", "labels", "loss_mask"),
)
"""Columns that follow from tokenizer and prompt; they come last."""


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


def retokenized_schema(schema: "pa.Schema", prompts: Prompts, tokenizer_digest: str) -> "pa.Schema":
    """The schema of a shard with the columns of another tokenizer: as `arrow_schema` gives it for that one.

    Args:
        schema: As read from the shard, with its metadata.
        prompts: What the columns of prompts and ids are made of.
        tokenizer_digest: Of the other tokenizer.
    """
    from datasets import Features, List, Value

    columns = {n: f for n, f in Features.from_arrow_schema(schema).items() if n not in TOKENS}
    facts = json.loads((schema.metadata or {}).get(b"vladata", b"{}"))
    columns |= {"action_codes": List(Value("int32")), **prompt_features(prompts)}
    made: pa.Schema = Features(columns).arrow_schema
    facts = canonical_json({**facts, "tokenizer_digest": tokenizer_digest})
    return made.with_metadata({**(made.metadata or {}), b"vladata": facts.encode()})


def text_schema(config: str, layout: Layout, wording: Wording, facts: Mapping[str, object]) -> "pa.Schema":
    """The Arrow schema of a shard of `planner` or `vqa`.

    Args:
        config: Which of them.
        layout: Cameras and state.
        wording: Whether prompts are text or messages, and have ids.
        facts: Further metadata under the key `vladata`.
    """
    from datasets import Features, Image, List, Value

    text = Value("string")
    columns: dict[str, object] = {} if config == "planner" else {"source": text}
    columns |= {
        "episode_index": Value("int64"),
        "episode_id": text,
        "step_index": Value("int64"),
        "timestamp": Value("float64"),
    }
    if config == "planner":
        columns |= {"decision": text, "goal": text, "history": List(text), "subtask": text, "next_subtask": text}
        columns |= {"is_done": Value("bool"), "outcome": text}
        columns |= {name: Image() for name in image_columns(layout)}
        if layout.state_names:
            columns["observation.state"] = List(Value("float32"), length=len(layout.state_names))
    else:
        columns |= dict.fromkeys(("kind", "question", "answer", "evidence"), text)
        columns |= {"images": List(Image()), "cameras": List(text)}
    messages = List({"role": text, "content": List({"type": text, "text": text})})
    columns |= {"prompt": messages, "completion": messages} if wording.is_chat else {"prompt": text}
    columns["target"] = text
    if wording.has_ids:
        columns |= {"input_ids": List(Value("int32")), "labels": List(Value("int32")), "loss_mask": List(Value("bool"))}
    schema: pa.Schema = Features(columns).arrow_schema
    return schema.with_metadata({**(schema.metadata or {}), b"vladata": canonical_json(facts).encode()})
