"""Fill templates: prompts and targets as text or messages, and, with a base tokenizer, ids with a loss mask.

Ids of actions are put in as ids and never pass through text. Text of the template and of the dataset is encoded piece
by piece, as the template says; a text that would be read as a special token is refused.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from ..text import printable
from ..tokenizers import TokenRows
from ..tokenizers._base import BaseTokenizer
from ..vocabulary import CodeText, Vocabulary
from ._base import BaseHandle, encoder_of, refuse_tokens
from ._template import PLACEHOLDER, PromptTemplate, Segment

__all__ = ["IGNORED", "Message", "Rendered", "Renderer"]

BoolArray = NDArray[np.bool_]
Part = dict[str, str | None]
Message = dict[str, str | list[Part]]
"""`role`, and `content`: a list of {"type": "image"} and {"type": "text", "text": …}."""
IGNORED = -100
"""Label of ids that carry no loss."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """Filled templates, N rows."""

    prompt: list[str]
    """What the model is given, as text; of messages: the texts of all but the last, one line each."""
    target: list[str] | None
    """What it gives, as text, without the end of text; None where the codes have no text (vocabulary `tail`)."""
    messages_prompt: list[list[Message]] | None = None
    """Templates of messages: all but the last."""
    messages_completion: list[list[Message]] | None = None
    """The last message; None as well where the codes have no text."""
    action_ids: TokenRows | None = None
    """The codes as ids; None without a vocabulary."""
    input_ids: TokenRows | None = None
    """Prompt, target and end of text; None without a base tokenizer, and for messages."""
    labels: TokenRows | None = None
    """As `input_ids`, -100 where there is no loss."""
    loss_mask: BoolArray | None = None
    """Of each value of `input_ids`, [M]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Actions:
    """What stands in for `put: actions`."""

    texts: list[str] | None
    ids: TokenRows | None
    loss: BoolArray | None
    """Of each id, [M]; None: as the template says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """A template, bound to a vocabulary and a base tokenizer; picklable, and light."""

    template: PromptTemplate
    code_text: CodeText | None
    vocabulary: Vocabulary | None
    base: BaseHandle | None
    end: tuple[int, ...]
    """Ids of the end of text; empty: rows end with the last segment before."""
    reserved: tuple[str, ...] = ()
    """Tokens of the base tokenizer that no field may hold: special ones, and added ones that stand for codes."""

    @classmethod
    def build(
        cls,
        template: PromptTemplate,
        base: BaseTokenizer | None = None,
        vocabulary: Vocabulary | None = None,
        end: Sequence[int] = (),
        code_text: CodeText | None = None,
    ) -> Self:
        """Bind a template.

        Args:
            template: What to fill.
            base: The language model's tokenizer, with or without the new tokens of the vocabulary; None: no ids.
            vocabulary: Ids and texts of the codes; None: the codes have no ids.
            end: Ids of the end of text.
            code_text: Texts of the codes where there is no vocabulary.

        Raises:
            TokenizeError: The map does not fit the tokenizer, or the template needs what the vocabulary or the
                tokenizer has not.
        """
        if vocabulary is not None:
            _check(template, vocabulary, base)
            code_text = vocabulary.text()
        if template.is_chat and template.puts("actions") and code_text is None:
            raise TokenizeError(
                f"prompt {template.name} gives messages, and the codes have no text that stands for them; "
                "must be used with a vocabulary of kind added, reserved or text"
            )
        if base is not None and not template.is_chat:
            _check_state(template, base)
        handle = None if base is None or template.is_chat else BaseHandle.of(base)
        reserved = () if base is None else _reserved(base, vocabulary)
        return cls(
            template=template,
            code_text=code_text,
            vocabulary=vocabulary,
            base=handle,
            end=tuple(end),
            reserved=reserved,
        )

    def texts(
        self, fields: Sequence[Mapping[str, str]], targets: Sequence[str], images: Sequence[str] = ()
    ) -> Rendered:
        """Fill a template whose target is text: a planner's, or of questions.

        Args:
            fields: Texts by field, see `FIELDS`, N of them.
            targets: What is learned, N texts.
            images: Names of the cameras, one part of a message each.

        Raises:
            TokenizeError: A field is missing, a text holds a special token, or the template has no place for a target.
        """
        if not self.template.puts("target"):
            raise TokenizeError(f"prompt {self.template.name} has no text as its target; must be given codes")
        if len(targets) != len(fields):
            raise TokenizeError(f"there are {len(targets)} targets; must be {len(fields)}, one for each row")
        refuse_tokens("the target", targets, self._tokens())
        return self._fill(fields, list(targets), _Actions(texts=None, ids=None, loss=None), images)

    def actions(
        self,
        fields: Sequence[Mapping[str, str]],
        codes: TokenRows,
        loss: BoolArray | None = None,
        images: Sequence[str] = (),
    ) -> Rendered:
        """Fill a template whose target is actions.

        Args:
            fields: Texts by field, see `FIELDS`, N of them.
            codes: N rows.
            loss: Of each code, [M]: False for targets that are padded; None: all carry loss.
            images: Names of the cameras, one part of a message each.

        Raises:
            TokenizeError: A field is missing, a text holds a special token, or a code is none.
        """
        if self.template.kind != "executor":
            raise TokenizeError(f"prompt {self.template.name} is a {self.template.kind}'s; must be given texts")
        if len(codes) != len(fields) or (loss is not None and loss.shape != codes.values.shape):
            raise TokenizeError(
                f"there are {len(codes)} rows of codes; must be {len(fields)}, and one loss for each code"
            )
        ids = None if self.vocabulary is None else self.vocabulary.encode(codes)
        if loss is not None and self.vocabulary is not None:
            loss = np.repeat(loss, self.vocabulary.num_ids(codes))
        words = None if self.code_text is None else self.code_text.render(codes)
        return self._fill(fields, None, _Actions(texts=words, ids=ids, loss=loss), images)

    def given(self, fields: Sequence[Mapping[str, str]]) -> TokenRows:
        """The ids that a model is given to go on from: all before the first that carries loss.

        For OpenVLA's template they end with the id of the lone space, as its inference has it.

        Args:
            fields: Texts by field, see `FIELDS`, N of them.

        Raises:
            TokenizeError: There is no base tokenizer, or the template gives messages; a field is missing.
        """
        rendered = self._fill(
            fields, [""] * len(fields), _Actions(texts=None, ids=_no_rows(len(fields)), loss=None), ()
        )
        if rendered.input_ids is None or rendered.loss_mask is None:
            raise TokenizeError(
                f"prompt {self.template.name} gives no ids here; must have a base tokenizer and no messages"
            )
        ids = rendered.input_ids
        mask = TokenRows(values=rendered.loss_mask.astype(np.int64), offsets=ids.offsets)
        ends = [int(np.argmax(mask[n])) if mask[n].any() else len(mask[n]) for n in range(len(fields))]
        return TokenRows.of([ids[n][:end] for n, end in enumerate(ends)])

    def _fill(
        self,
        fields: Sequence[Mapping[str, str]],
        targets: list[str] | None,
        actions: _Actions,
        images: Sequence[str],
    ) -> Rendered:
        rows = [self._values(f) for f in fields]
        for name in sorted(self.template.fields - {"state"}):
            refuse_tokens(f"the {name}", (row[name] for row in rows), self._tokens())
        fill = _Fill(rows=rows, targets=targets, actions=actions, renderer=self)
        if self.template.is_chat:
            return fill.messages(images)
        rendered = fill.texts()
        return rendered if self.base is None else fill.ids(self.base, rendered)

    def _values(self, fields: Mapping[str, str]) -> dict[str, str]:
        if "instruction" in self.template.fields and "instruction" not in fields:
            subtask = fields.get("subtask", "")
            fields = {**fields, "instruction": subtask if subtask.strip() else fields.get("task", "")}
        missing = sorted(self.template.fields - fields.keys())
        if missing:
            raise TokenizeError(f"prompt {self.template.name} needs {{{missing[0]}}}; it was not given")
        return {n: self.template.transformed(n, fields[n]) for n in self.template.fields}

    def _tokens(self) -> tuple[str, ...]:
        """Texts that must not stand in a field: they would become tokens."""
        text = self.code_text
        if text is None or text.glue:
            return self.reserved
        return (*self.reserved, text.start, text.end, *text.tokens)


def _check_state(template: PromptTemplate, base: BaseTokenizer) -> None:
    if template.state is None or template.state.format != "tokens":
        return
    missing = [t for t in template.state.tokens if t not in base.vocabulary]
    if missing:
        raise TokenizeError(
            f"the base tokenizer has not {len(missing)} of the state tokens of prompt {template.name}, the first: "
            f"{printable(missing[0])}; must have all"
        )


def _reserved(base: BaseTokenizer, vocabulary: Vocabulary | None) -> tuple[str, ...]:
    is_tail = vocabulary is not None and vocabulary.kind == "tail"
    used = {p[0] for p in vocabulary.ids} if vocabulary is not None and is_tail else set[int]()
    return tuple(content for i, (content, is_special) in base.added.items() if is_special or i in used)


def _check(template: PromptTemplate, vocabulary: Vocabulary, base: BaseTokenizer | None) -> None:
    if base is not None and (vocabulary.base is None or vocabulary.base.sha256 != base.facts.sha256):
        moved = vocabulary.check(base)
        if moved:
            more = f" (and {len(moved) - 1} more)" if len(moved) > 1 else ""
            raise TokenizeError(f"the ids of the codes do not fit the base tokenizer: {moved[0]}{more}")
    if vocabulary.kind == "text" and template.puts("actions") and template.space_before != vocabulary.space_before:
        own, other = ("a", "none") if template.space_before else ("no", "one")
        raise TokenizeError(
            f"prompt {template.name} puts {own} space before its actions; the vocabulary is for {other} (space_before)"
        )
    has = {"start": vocabulary.start, "end": vocabulary.end}
    delimiters: tuple[Literal["start", "end"], ...] = ("start", "end")
    for what in delimiters:
        if template.puts(what) and has[what] is None and vocabulary.kind in {"added", "reserved"}:
            raise TokenizeError(f"prompt {template.name} puts a {what} token; the vocabulary must have one (start_end)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fill:
    """One filling of a template."""

    rows: list[dict[str, str]]
    targets: list[str] | None
    actions: _Actions
    renderer: Renderer

    def messages(self, images: Sequence[str]) -> Rendered:
        turns = self.renderer.template.messages
        filled = [self._message(turn.role, turn.content, images) for turn in turns]
        by_row = [list(row) for row in zip(*filled, strict=True)] if self.rows else []
        return Rendered(
            prompt=["\n".join(_text(m) for m in row[:-1]) for row in by_row],
            target=[_text(row[-1]) for row in by_row],
            messages_prompt=[row[:-1] for row in by_row],
            messages_completion=[row[-1:] for row in by_row],
            action_ids=self.actions.ids,
        )

    def _message(self, role: str, content: Sequence[Segment], images: Sequence[str]) -> list[Message]:
        """One turn, of all rows; neighbouring texts are one part."""
        runs: list[Segment | list[Segment]] = []
        for segment in content:
            if segment.put == "images":
                runs.append(segment)
            elif runs and isinstance(runs[-1], list):
                runs[-1].append(segment)
            else:
                runs.append([segment])
        texts = [None if isinstance(run, Segment) else self._joined(run) for run in runs]
        messages: list[Message] = []
        for row in range(len(self.rows)):
            parts: list[Part] = []
            for words in texts:
                if words is None:
                    parts += [{"type": "image", "text": None} for _ in images]
                elif words[row]:
                    parts.append({"type": "text", "text": words[row]})
            messages.append({"role": role, "content": parts})
        return messages

    def texts(self) -> Rendered:
        template = self.renderer.template
        has_text = not template.puts("actions") or self.actions.texts is not None
        return Rendered(
            prompt=self._joined(template.prompt),
            target=self._joined(template.target) if has_text else None,
            action_ids=self.actions.ids,
        )

    def _joined(self, segments: Sequence[Segment]) -> list[str]:
        columns = [self._words(s) for s in segments]
        return ["".join(words) for words in zip(*columns, strict=True)] if columns else [""] * len(self.rows)

    def _words(self, segment: Segment) -> list[str]:
        """The text of a segment in each row; nothing for the end of text."""
        count, code_text = len(self.rows), self.renderer.code_text
        if segment.text is not None:
            return self._replaced(segment.text)
        if segment.put == "target":
            return list(self.targets or [""] * count)
        if segment.put == "actions":
            return list(self.actions.texts or [""] * count)
        if segment.put in {"start", "end"} and code_text is not None:
            return [code_text.start if segment.put == "start" else code_text.end] * count
        return [""] * count

    def _replaced(self, text: str) -> list[str]:
        """By replacement and not by formatting, and once: braces in an instruction are text."""
        pieces = PLACEHOLDER.split(text)
        if len(pieces) == 1:
            return [text] * len(self.rows)
        return ["".join(piece if i % 2 == 0 else row[piece] for i, piece in enumerate(pieces)) for row in self.rows]

    def ids(self, base: BaseHandle, rendered: Rendered) -> Rendered:
        """Add ids, labels and loss mask."""
        encoder, count = encoder_of(base), len(self.rows)
        parts: list[TokenRows] = []
        losses: list[BoolArray] = []
        for run, carries in _runs(self.renderer.template):
            own_loss = None
            if isinstance(run, list):
                if run[0].begin:
                    parts.append(_repeated(encoder.beginning, count))
                    losses.append(np.zeros(len(parts[-1].values), dtype=np.bool_))
                rows: TokenRows = _rows(encoder.encode(self._joined(run)))
            elif run.put == "actions":
                if self.actions.ids is None:
                    return rendered
                rows, own_loss = self.actions.ids, self.actions.loss
            else:
                rows = _repeated(self._ids(run), count)
            parts.append(rows)
            mask = np.full(len(rows.values), carries, dtype=np.bool_)
            losses.append(mask if own_loss is None else mask & own_loss)
        ids = _side_by_side(parts)
        masks = [TokenRows(values=m.astype(np.int64), offsets=p.offsets) for m, p in zip(losses, parts, strict=True)]
        loss = _side_by_side(masks).values.astype(np.bool_)
        labels = TokenRows(values=np.where(loss, ids.values, IGNORED), offsets=ids.offsets)
        return dataclasses.replace(rendered, input_ids=ids, labels=labels, loss_mask=loss)

    def _ids(self, segment: Segment) -> tuple[int, ...]:
        vocabulary = self.renderer.vocabulary
        if segment.put == "end_of_text":
            return self.renderer.end
        delimiter = None if vocabulary is None else vocabulary.start if segment.put == "start" else vocabulary.end
        return () if delimiter is None else (delimiter.id,)


def _text(message: Message) -> str:
    content = message["content"]
    return "".join(part["text"] or "" for part in content if isinstance(part, dict))


def _runs(template: PromptTemplate) -> list[tuple[list[Segment] | Segment, bool]]:
    """Segments, those that are encoded together as a list, and whether each carries loss."""
    runs: list[tuple[list[Segment] | Segment, bool]] = []
    for segment, carries in template.with_loss():
        before = runs[-1][0] if runs else None
        if not segment.is_text:
            runs.append((segment, carries))
        elif isinstance(before, list) and not segment.apart:
            before.append(segment)
        else:
            runs.append(([segment], carries))
    return runs


def _rows(rows: Sequence[tuple[int, ...]]) -> TokenRows:
    lengths = np.fromiter((len(r) for r in rows), dtype=np.int64, count=len(rows))
    values = np.fromiter((i for r in rows for i in r), dtype=np.int64, count=int(lengths.sum()))
    return TokenRows(values=values, offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _no_rows(count: int) -> TokenRows:
    return TokenRows(values=np.empty(0, dtype=np.int64), offsets=np.zeros(count + 1, dtype=np.int64))


def _repeated(ids: tuple[int, ...], count: int) -> TokenRows:
    return TokenRows.of(np.tile(np.array(ids, dtype=np.int64), (count, 1)))


def _side_by_side(parts: Sequence[TokenRows]) -> TokenRows:
    """Rows of several ones, each behind the other."""
    lengths = np.stack([p.lengths for p in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths.sum(axis=0))]).astype(np.int64)
    values = np.empty(int(offsets[-1]), dtype=np.int64)
    starts = offsets[:-1].copy()
    for part, own in zip(parts, lengths, strict=True):
        values[np.repeat(starts - part.offsets[:-1], own) + np.arange(len(part.values))] = part.values
        starts += own
    return TokenRows(values=values, offsets=offsets)
