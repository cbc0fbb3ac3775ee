"""Prompts and ids of rows: what follows from the template, the vocabulary and the base tokenizer.

Written by the shards and made again by verification, out of what the rows hold: texts, state, padding and codes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..action_tokenizer import ActionTokenizer
from ..actions.statistics import Statistics
from ..errors import ExportError, SchemaError, TokenizeError
from ..prompts import Message, PromptTemplate, Renderer, StateText, parse_template, read_template
from ..tokenizers import TokenRows
from ..tokenizers._base import BaseTokenizer
from ..vocabulary import (
    Vocabulary,
    VocabularyKind,
    added_vocabulary,
    code_text,
    reserved_vocabulary,
    tail_vocabulary,
    text_vocabulary,
)
from ._folder import TEXT_TOKENIZER
from ._options import ExportOptions
from ._rows import Layout

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Ground",
    "Prompts",
    "RowFacts",
    "bind_prompts",
    "build_prompts",
    "end_id",
    "make_vocabulary",
    "prompt_columns",
    "prompt_features",
    "refuse_long",
    "stored_prompts",
    "to_arrow",
]

BoolArray = NDArray[np.bool_]
Column = TokenRows | list[str] | list[list[Message]]
MASKS = ("action_loss_mask", "loss_mask")
IDS = ("input_ids", "labels", "loss_mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """How rows become prompts; picklable, and light."""

    renderer: Renderer
    state: StateText | None
    """None where the template does not show the state."""
    words: Mapping[str, str]
    """Fields that are the same in all rows, by name."""
    cameras: tuple[str, ...]
    is_stepwise: bool
    """Whether each code stands for one target, so that padded ones can be left out of the loss."""
    max_tokens: int | None = None
    """Most ids that a row may have."""

    @property
    def template(self) -> PromptTemplate:
        """What is filled."""
        return self.renderer.template

    @property
    def has_target(self) -> bool:
        """Whether the target has a text."""
        return self.renderer.code_text is not None or not self.template.puts("actions")

    @property
    def has_action_ids(self) -> bool:
        """Whether the codes have ids."""
        return self.renderer.vocabulary is not None

    @property
    def has_ids(self) -> bool:
        """Whether whole rows are ids."""
        return self.renderer.base is not None

    def to_dict(self) -> dict[str, object]:
        """What the manifest says, as JSON values: enough to make the prompts of rows again."""
        return {
            "name": self.template.name,
            "template": self.template.yaml,
            "end": list(self.renderer.end),
            "words": dict(self.words),
            "state": None if self.state is None else self.state.to_dict(),
            "has_base": self.has_ids,
            "max_tokens": self.max_tokens,
        }

    def facts(self, has_base: bool) -> list[str]:
        """What a user should know, one line each."""
        facts = []
        if self.template.puts("end_of_text") and self.has_ids and not self.renderer.end:
            facts.append("the base tokenizer's settings name no end of text; rows end with the action")
        if has_base and not self.has_ids:
            facts.append(f"prompt {self.template.name} gives messages: the model's chat template decides their ids")
        if not self.template.puts("actions"):
            facts.append(f"prompt {self.template.name} has no actions: no id carries loss, action_chunk is the target")
        return facts

    def padding_fact(self) -> str | None:
        """What becomes of padded targets, where they can't be left out of the loss."""
        if not self.template.puts("actions"):
            return None
        if not self.is_stepwise:
            return "codes stand for whole chunks, so padded targets carry loss; chunk_end drop leaves such chunks out"
        if self.template.is_chat:
            return "messages can't leave padded targets out of the loss; chunk_end drop leaves such chunks out"
        return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowFacts:
    """What rows hold that prompts and ids are made of, R rows."""

    tasks: Sequence[str]
    subtasks: Sequence[str]
    state: NDArray[np.floating] | None
    """As stored, [R, S]; None where rows have no state."""
    is_pad: BoolArray
    """[R, H]."""
    codes: TokenRows


def make_vocabulary(
    num_codes: int, options: ExportOptions, base: BaseTokenizer, template: PromptTemplate | None = None
) -> Vocabulary:
    """Ids of codes as an export asks for them, with what its prompt needs.

    Args:
        num_codes: Number of codes.
        options: What is asked for.
        base: The language model's tokenizer.
        template: The prompt; None: the one that the options name.

    Raises:
        SchemaError: There is no such prompt.
        TokenizeError: The codes don't fit into the vocabulary.
    """
    template = template or read_template(options.prompt)
    if options.vocabulary == "tail":
        return tail_vocabulary(num_codes, base, skip=options.tail_skip, reuse_added=options.tail_reuse_added)
    if options.vocabulary == "text":
        return text_vocabulary(num_codes, base, space_before=template.space_before)
    if options.vocabulary == "reserved":
        pattern = options.reserved_pattern
        return reserved_vocabulary(num_codes, base, pattern=pattern, start_end=template.has_delimiters)
    return added_vocabulary(num_codes, base, start_end=template.has_delimiters)


def build_prompts(
    layout: Layout,
    options: ExportOptions,
    tokenizer: ActionTokenizer,
    base: BaseTokenizer | None,
    state: Statistics | None,
) -> Prompts:
    """Bind the prompt that an export asks for.

    Args:
        layout: What the columns are made of.
        options: What is asked for.
        tokenizer: The codes, and their ids where there is a base tokenizer.
        base: The language model's tokenizer; None: prompts are text alone.
        state: Of the first split, to show the state as text; None where there is none.

    Raises:
        ExportError: The prompt is not one of an executor, needs a state, leaves the end of the codes open, or gives no
            ids to count.
        SchemaError: There is no such prompt.
        TokenizeError: The vocabulary does not fit the prompt.
    """
    ground = Ground(words=_words(layout), cameras=tuple(c.name for c in layout.cameras), state=state)
    return bind_prompts(read_template(options.prompt), options, tokenizer, base, ground)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What prompts say of the robot, whatever the template."""

    words: Mapping[str, str]
    """Fields that are the same in all rows, by name."""
    cameras: tuple[str, ...]
    state: Statistics | None
    """Of the first split; None where there is no state."""


def bind_prompts(
    template: PromptTemplate, options: ExportOptions, tokenizer: ActionTokenizer, base: BaseTokenizer | None, on: Ground
) -> Prompts:
    """Bind a template to tokenizers and robot.

    Raises:
        ExportError: The prompt is not one of an executor, needs a state, or leaves the end of the codes open.
        TokenizeError: The vocabulary does not fit the prompt.
    """
    state = on.state
    if template.kind != "executor":
        raise ExportError(f"prompt {template.name} is a {template.kind}'s; must be an executor's")
    if template.state is not None and state is None:
        raise ExportError(f"prompt {template.name} shows the state; the export must have proprioception")
    if base is None and (options.max_tokens is not None or options.vocabulary in {"tail", "reserved"}):
        asked = "max_tokens" if options.max_tokens is not None else f"vocabulary {options.vocabulary}"
        raise ExportError(f"{asked} needs a base tokenizer; it must be given")
    if options.max_tokens is not None and template.is_chat:
        raise ExportError(f"max_tokens counts ids, and prompt {template.name} gives messages; must be left out")
    kind = VocabularyKind(options.vocabulary)
    words = code_text(kind, tokenizer.codec.num_codes, space_before=template.space_before)
    end = () if base is None else end_id(base)
    prompts = Prompts(
        renderer=Renderer.build(template, base, tokenizer.vocabulary, end, words),
        state=None if template.state is None or state is None else StateText.fit(template.state, state),
        words=on.words,
        cameras=on.cameras,
        is_stepwise=tokenizer.codec.is_stepwise,
        max_tokens=options.max_tokens,
    )
    _require_end(prompts, tokenizer)
    return prompts


def _words(layout: Layout) -> dict[str, str]:
    signals = [f"{s.name} ({', '.join(sorted({str(d.mode) for d in s.dimensions if d.mode}))})" for s in layout.action]
    setup = layout.embodiment.description or layout.embodiment.name
    return {"setup": setup, "control_mode": ", ".join(signals).replace(" ()", "")}


def _require_end(prompts: Prompts, tokenizer: ActionTokenizer) -> None:
    """A model that can't know how many codes follow must be told where they end."""
    template = prompts.template
    is_fixed = tokenizer.codec.length(tokenizer.horizon, tokenizer.dims) is not None
    if is_fixed or template.is_chat or not template.puts("actions"):
        return
    at = next(i for i, s in enumerate(template.target) if s.put == "actions")
    vocabulary = prompts.renderer.vocabulary
    for segment in template.target[at + 1 :]:
        has_end = segment.put == "end" and (vocabulary is None or vocabulary.end is not None)
        has_end_of_text = segment.put == "end_of_text" and (not prompts.has_ids or prompts.renderer.end)
        if segment.text is not None or has_end or has_end_of_text:
            return
    raise ExportError(
        f"codes of {tokenizer.scheme} are of different numbers, and prompt {template.name} leaves their end open; a "
        "text, an end token or an end of text must follow them: name an eos_token in tokenizer_config.json beside the "
        "base tokenizer, or choose another prompt or a codec of fixed length"
    )


def stored_prompts(
    out: Path, stored: Mapping[str, object], cameras: Sequence[str], tokenizer: ActionTokenizer, vocabulary: str
) -> Prompts:
    """The prompts of an export, out of its manifest and its own tokenizer.

    Args:
        out: The export.
        stored: What the manifest says, see `Prompts.to_dict`.
        cameras: Those of the export.
        tokenizer: Of the export.
        vocabulary: Its kind, as the manifest's options name it.

    Raises:
        ExportError: The manifest or the tokenizer is damaged.
    """
    yaml, end, words, state = (stored.get(k) for k in ("template", "end", "words", "state"))
    if not isinstance(yaml, str) or not isinstance(end, list) or not isinstance(words, dict):
        raise ExportError("manifest: prompt must have template, end and words")
    try:
        template = parse_template(yaml.encode(), "manifest: prompt")
        base = BaseTokenizer.read(out / TEXT_TOKENIZER) if stored.get("has_base") else None
        kind = VocabularyKind(vocabulary)
        texts = code_text(kind, tokenizer.codec.num_codes, space_before=template.space_before)
        has_state = template.state is not None and isinstance(state, dict)
        return Prompts(
            renderer=Renderer.build(template, base, tokenizer.vocabulary, [int(i) for i in end], texts),
            state=StateText.from_dict(template.state, state) if has_state else None,  # type: ignore[arg-type]
            words={str(k): str(v) for k, v in words.items()},
            cameras=tuple(cameras),
            is_stepwise=tokenizer.codec.is_stepwise,
        )
    except (SchemaError, TokenizeError, ValueError) as error:
        raise ExportError(f"the prompt can't be made again: {error}") from error


def prompt_columns(prompts: Prompts, rows: RowFacts) -> dict[str, Column]:
    """The columns of rows, by name.

    Raises:
        TokenizeError: A text of the dataset would be read as a token, or a state is not finite.
    """
    loss = np.ones(len(rows.codes.values), dtype=np.bool_)
    if prompts.is_stepwise and rows.is_pad.size:
        per_target = len(rows.codes.values) // rows.is_pad.size
        loss = np.repeat(~rows.is_pad.ravel(), per_target)
    fields: list[dict[str, str]] = [{"task": t, "subtask": s} for t, s in zip(rows.tasks, rows.subtasks, strict=True)]
    if prompts.state is not None and rows.state is not None:
        for field, text in zip(fields, prompts.state.texts(rows.state), strict=True):
            field["state"] = text
    fields = [{**prompts.words, **f} for f in fields]
    rendered = prompts.renderer.actions(fields, rows.codes, loss, prompts.cameras)
    columns: dict[str, Column] = {"action_loss_mask": _mask(loss, rows.codes)}
    if rendered.messages_prompt is not None and rendered.messages_completion is not None:
        columns |= {"prompt": rendered.messages_prompt, "completion": rendered.messages_completion}
    else:
        columns["prompt"] = rendered.prompt
        if rendered.target is not None:
            columns["target"] = rendered.target
    if rendered.action_ids is not None:
        columns["action_token_ids"] = rendered.action_ids
    if rendered.input_ids is not None and rendered.labels is not None and rendered.loss_mask is not None:
        masks = _mask(rendered.loss_mask, rendered.input_ids)
        columns |= dict(zip(IDS, (rendered.input_ids, rendered.labels, masks), strict=True))
    return columns


def _mask(values: BoolArray, rows: TokenRows) -> TokenRows:
    return TokenRows(values=values.astype(np.int64), offsets=rows.offsets)


def prompt_features(prompts: Prompts) -> dict[str, object]:
    """The same columns, as `datasets` describes them."""
    from datasets import List, Value

    ids, mask = List(Value("int32")), List(Value("bool"))
    part = {"type": Value("string"), "text": Value("string")}
    messages = List({"role": Value("string"), "content": List(part)})
    features: dict[str, object] = {"action_loss_mask": mask}
    if prompts.template.is_chat:
        features |= {"prompt": messages, "completion": messages}
    else:
        features["prompt"] = Value("string")
        if prompts.has_target:
            features["target"] = Value("string")
    if prompts.has_action_ids:
        features["action_token_ids"] = ids
    if prompts.has_ids:
        features |= {"input_ids": ids, "labels": ids, "loss_mask": mask}
    return features


def to_arrow(columns: Mapping[str, Column], schema: "pa.Schema") -> "dict[str, pa.Array]":
    """Columns as Arrow arrays of the schema's types."""
    import pyarrow as pa

    arrays = {}
    for name, column in columns.items():
        if isinstance(column, TokenRows):
            values = column.values.astype(np.bool_ if name in MASKS else np.int32)
            arrays[name] = pa.ListArray.from_arrays(pa.array(column.offsets.astype(np.int32)), pa.array(values))
        else:
            arrays[name] = pa.array(column, type=schema.field(name).type)
    return arrays


def refuse_long(longest: Sequence[tuple[str, int, int, int]], max_tokens: int | None) -> None:
    """Refuse an export with rows of too many ids; nothing is ever cut.

    Args:
        longest: Of each shard its file, the ids of its longest row, that row, and how many rows have too many.
        max_tokens: Most ids of a row; None: any number.

    Raises:
        ExportError: A row has more.
    """
    over = sum(count for *_, count in longest)
    if max_tokens is None or not over:
        return
    file, length, row, _ = max(longest, key=lambda shard: shard[1])
    raise ExportError(
        f"rows with more than {max_tokens} tokens: {over:,}; the longest has {length} ({file}, row {row}). Raise "
        "max_tokens, shorten the horizon, or choose a codec with fewer codes"
    )


def end_id(base: BaseTokenizer) -> tuple[int, ...]:
    """Id of the token that ends a text, as the settings beside the tokenizer name it; empty where they don't."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = None if base.path is None else base.path.with_name(name)
        if path is None or not path.is_file() or path.stat().st_size > 1 << 24:
            continue
        try:
            settings = json.loads(path.read_bytes())
        except ValueError as error:
            raise ExportError(f"{name} of the base tokenizer is not JSON") from error
        token = settings.get("eos_token") if isinstance(settings, dict) else None
        token = token.get("content") if isinstance(token, dict) else token
        found = base.tokenizer.token_to_id(token) if isinstance(token, str) else None
        if found is not None:
            return (int(found),)
    return ()
