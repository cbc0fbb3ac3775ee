"""From what a row says to the text that a model is given: prompt, target and messages; ids where there is a tokenizer.

A conversation of several turns keeps them all in its messages; prompt, target and ids are about the last one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ..errors import ExportError
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
    """What a row holds."""

    prompt: str
    target: str
    messages: list[Message]
    input_ids: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()


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

    def word(self, rows: Sequence[Spoken]) -> list[Worded]:
        """Fill the template.

        Raises:
            TokenizeError: The template needs a field that there is not, or a text would be read as a token.
        """
        turns = [(n, t) for n, row in enumerate(rows) for t in range(len(row.turns))]
        batches: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for n, t in turns:
            batches.setdefault(rows[n].images if t == 0 else (), []).append((n, t))
        said: dict[tuple[int, int], _Turn] = {}
        for images, batch in batches.items():
            pairs = [rows[n].turns[t] for n, t in batch]
            rendered = self.renderer.texts([f for f, _ in pairs], [answer for _, answer in pairs], images)
            said |= {place: _turn(rendered, k) for k, place in enumerate(batch)}
        return [_joined([said[n, t] for t in range(len(row.turns))]) for n, row in enumerate(rows)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    prompt: str
    target: str
    messages: list[Message]
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


def _turn(rendered: Rendered, row: int) -> _Turn:
    prompt, target = rendered.prompt[row], "" if rendered.target is None else rendered.target[row]
    if rendered.messages_prompt is not None and rendered.messages_completion is not None:
        messages = [*rendered.messages_prompt[row], *rendered.messages_completion[row]]
    else:
        messages = list(_plain(prompt, target))
    ids = () if rendered.input_ids is None else tuple(rendered.input_ids[row].tolist())
    labels = () if rendered.labels is None else tuple(rendered.labels[row].tolist())
    return _Turn(prompt=prompt, target=target, messages=messages, input_ids=ids, labels=labels)


def _plain(prompt: str, target: str) -> Iterator[Message]:
    """Messages of a template that has none of its own: what it gives as text."""
    for role, text in (("user", prompt), ("assistant", target)):
        yield {"role": role, "content": [{"type": "text", "text": text}]}


def _joined(turns: Sequence[_Turn]) -> Worded:
    last = turns[-1]
    return Worded(
        prompt=last.prompt,
        target=last.target,
        messages=[m for turn in turns for m in turn.messages],
        input_ids=last.input_ids,
        labels=last.labels,
    )
