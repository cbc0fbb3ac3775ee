"""From what a row says to the text that a model is given: prompt, target and messages; ids where there is a tokenizer.

A conversation of several turns needs a template of messages: all of them but the last answer are its prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ..errors import ExportError, TokenizeError
from ..prompts import Message, Rendered, Renderer, read_template
from ..tokenizers._base import BaseTokenizer

__all__ = ["Spoken", "Worded", "Wording"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What is to be said in one row."""

    turns: tuple[tuple[Mapping[str, str], str], ...]
    """Fields of the template and the answer, one pair for each turn; the last one is the row's own."""
    images: tuple[str, ...]
    """Names of the images, which stand before the first turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded:
    """What a row holds, named as the executor's columns are."""

    prompt: str | list[Message]
    """What the model is given; of a template of messages, all of them but the last."""
    target: str
    """What it gives, as text."""
    completion: list[Message] | None
    """The last message; None where the template gives text."""
    input_ids: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    loss_mask: tuple[bool, ...] = ()

    @property
    def columns(self) -> dict[str, object]:
        """By name; lists as JSON has them."""
        found: dict[str, object] = {"prompt": self.prompt, "target": self.target, "completion": self.completion}
        return found | {n: list(getattr(self, n)) for n in ("input_ids", "labels", "loss_mask")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A prompt template in use; picklable, and light."""

    renderer: Renderer

    @classmethod
    def build(cls, prompt: str, kind: str, base: BaseTokenizer | None, end: Sequence[int] = ()) -> Self:
        """Read a template by name or path.

        Args:
            prompt: Name of a template that comes with vladata, or path of a .yaml file.
            kind: What it must be for: `planner` or `vqa`.
            base: The language model's tokenizer; None: rows have no ids.
            end: Ids of the end of text.

        Raises:
            ExportError: The template is for something else.
            SchemaError: There is none of that name, or the file is wrong.
        """
        template = read_template(prompt)
        if template.kind != kind:
            raise ExportError(f"prompt {template.name} is for {template.kind}; the config {kind} needs one of its own")
        return cls(renderer=Renderer.build(template, base, end=end))

    @property
    def has_ids(self) -> bool:
        """Whether rows have ids of a language model: templates of messages leave them to the trainer."""
        return self.renderer.base is not None

    def facts(self) -> dict[str, object]:
        """Everything that decides what a row says, as JSON values."""
        base = self.renderer.base
        return {
            "template": self.renderer.template.yaml,
            "base_sha256": None if base is None else base.sha256,
            "end": list(self.renderer.end),
        }

    @property
    def is_chat(self) -> bool:
        """Whether rows hold messages, and so can hold several turns."""
        return self.renderer.template.is_chat

    def word(self, rows: Sequence[Spoken]) -> list[Worded]:
        """Fill the template.

        Raises:
            TokenizeError: The template needs a field that there is not, or a text would be read as a token; or a row
                has several turns, and the template gives text.
        """
        batches: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for n, row in enumerate(rows):
            if len(row.turns) > 1 and not self.is_chat:
                raise TokenizeError(f"prompt {self.renderer.template.name} gives text; several turns need messages")
            for t in range(len(row.turns)):
                batches.setdefault(row.images if t == 0 else (), []).append((n, t))
        said: dict[tuple[int, int], Worded] = {}
        for images, batch in batches.items():
            pairs = [rows[n].turns[t] for n, t in batch]
            rendered = self.renderer.texts([f for f, _ in pairs], [answer for _, answer in pairs], images)
            said |= {place: _worded(rendered, k) for k, place in enumerate(batch)}
        return [_joined([said[n, t] for t in range(len(row.turns))]) for n, row in enumerate(rows)]


def _worded(rendered: Rendered, row: int) -> Worded:
    target = "" if rendered.target is None else rendered.target[row]
    if rendered.messages_prompt is not None and rendered.messages_completion is not None:
        return Worded(prompt=rendered.messages_prompt[row], target=target, completion=rendered.messages_completion[row])
    if rendered.input_ids is None or rendered.labels is None or rendered.loss_mask is None:
        return Worded(prompt=rendered.prompt[row], target=target, completion=None)
    start, stop = rendered.input_ids.offsets[row : row + 2]
    return Worded(
        prompt=rendered.prompt[row],
        target=target,
        completion=None,
        input_ids=tuple(rendered.input_ids[row].tolist()),
        labels=tuple(rendered.labels[row].tolist()),
        loss_mask=tuple(rendered.loss_mask[start:stop].tolist()),
    )


def _joined(turns: Sequence[Worded]) -> Worded:
    """The turns of one row: what was said before the last answer is its prompt."""
    last = turns[-1]
    before = [m for turn in turns[:-1] for said in (turn.prompt, turn.completion) for m in said or () if m]
    messages = [m for m in (*before, *last.prompt) if isinstance(m, dict)]
    return replace(last, prompt=messages) if before else last
