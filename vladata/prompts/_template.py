"""Prompt templates: YAML that is parsed once and checked, so that rendering meets no surprise."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..documents import Document, parse, parse_yaml
from ..errors import SchemaError
from ..text import printable

__all__ = [
    "FIELDS",
    "PLACEHOLDER",
    "Kind",
    "MessageTemplate",
    "PromptTemplate",
    "Segment",
    "StateFormat",
    "TemplateFile",
    "json_schema",
    "parse_template",
    "read_template",
    "template_names",
]

Kind = Literal["executor", "planner", "vqa"]
Put = Literal["actions", "target", "start", "end", "end_of_text", "images"]
Transformation = Literal["lower", "strip", "underscores", "newlines"]

FIELDS = {
    "task": "the task instruction of the step",
    "subtask": "the subtask of the step",
    "instruction": "the subtask where there is one, else the task",
    "goal": "what a planner is asked to reach",
    "question": "what is asked about the images",
    "state": "the proprioception as text; the template says how",
    "done": "what is done already",
    "setup": "the embodiment's description, or its name",
    "control_mode": "what the actions are, from the embodiment",
}
"""What `{…}` in a template can stand for."""
INSTRUCTIONS = ("task", "subtask", "instruction", "goal")
"""Fields that a template's transformations apply to."""
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")

MAX_SEGMENTS = 50


class Segment(Document):
    """A piece of a prompt: text, or something that is put in."""

    text: str | None = None
    """With placeholders such as `{task}`; other braces are text."""
    put: Put | None = None
    """`actions`: the codes. `target`: the text that is learned. `start`, `end`: the vocabulary's own tokens, nothing
    where its kind has none. `end_of_text`: the tokenizer's. `images`: one part for each camera, in messages only."""
    begin: bool = False
    """Text that is encoded with what the tokenizer puts before a text, for instance `<s>`."""
    apart: bool = False
    """Text that is encoded by itself; otherwise together with the text before it."""
    space: bool = False
    """Actions as integers have a space before the first one."""
    loss: bool | None = None
    """Whether it is learned; by default all of the target is, and nothing of the prompt."""

    @model_validator(mode="after")
    def _check(self) -> "Segment":
        if (self.text is None) == (self.put is None):
            raise ValueError("a segment must have either text or put")
        if self.text == "":
            raise ValueError("text is empty; must have a character")
        if self.text is None and (self.begin or (self.apart and self.put != "target")):
            raise ValueError(f"put {self.put}: begin and apart are for text; must be left out")
        if self.space and self.put != "actions":
            raise ValueError("space is for put actions; must be left out")
        unknown = [n for n in PLACEHOLDER.findall(self.text or "") if n not in FIELDS]
        if unknown:
            raise ValueError(f"{{{unknown[0]}}} is unknown; must be one of {', '.join(FIELDS)}")
        return self

    @property
    def is_text(self) -> bool:
        """Whether it is encoded: text of the template, or the target."""
        return self.text is not None or self.put == "target"


class MessageTemplate(Document):
    """One turn of a conversation; the last one is what is learned."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[tuple[Segment, ...], Field(min_length=1, max_length=MAX_SEGMENTS)]


class StateFormat(Document):
    """How the proprioception becomes text."""

    format: Literal["pi", "tokens"]
    """`pi`: bins of the normalized state as integers, -1 below the range. `tokens`: the nearest of evenly spaced
    values as one token each."""
    bins: Annotated[int, Field(ge=2, le=65536)] = 256
    token: str = "<state_{n}>"
    """Tokens only; `{n}` is the number."""
    start: str = ""
    end: str = ""

    @model_validator(mode="after")
    def _check(self) -> "StateFormat":
        if "{n}" not in self.token:
            raise ValueError("token must hold {n}, the number")
        return self

    @property
    def tokens(self) -> tuple[str, ...]:
        """All that a text is made of: start, the number of each bin as a token, end."""
        numbers = (self.token.replace("{n}", str(k)) for k in range(self.bins))
        return tuple(text for text in (self.start, *numbers, self.end) if text)


class TemplateFile(Document):
    """A prompt template as it is written."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    kind: Kind
    description: str
    source: str = ""
    """Where it comes from."""
    instruction: tuple[Transformation, ...] = ()
    """What is done to instructions, in this order. `lower`: lower case. `strip`: no white space around.
    `underscores`, `newlines`: a space each."""
    state: StateFormat | None = None
    prompt: Annotated[tuple[Segment, ...], Field(max_length=MAX_SEGMENTS)] = ()
    """What the model is given."""
    target: Annotated[tuple[Segment, ...], Field(max_length=MAX_SEGMENTS)] = ()
    """What it gives."""
    messages: Annotated[tuple[MessageTemplate, ...], Field(max_length=MAX_SEGMENTS)] = ()
    """Instead of prompt and target, for trainers that apply the chat template of their model."""

    @model_validator(mode="after")
    def _check(self) -> "TemplateFile":
        segments = [*self.prompt, *self.target, *(s for m in self.messages for s in m.content)]
        fields = {n for s in segments for n in PLACEHOLDER.findall(s.text or "")}
        puts = [s.put for s in segments if s.put]
        if bool(self.messages) == bool(self.prompt):
            raise ValueError("there must be either prompt (and target) or messages")
        self._check_kind(puts, fields)
        if ("state" in fields) != (self.state is not None):
            raise ValueError("{state} and the key state belong together; there must be both or none")
        if self.messages:
            self._check_messages()
        else:
            self._check_segments()
        return self

    def _check_kind(self, puts: Sequence[str], fields: set[str]) -> None:
        needed = {"executor": INSTRUCTIONS, "planner": ("goal", "task"), "vqa": ("question",)}[self.kind]
        if not fields & set(needed):
            raise ValueError(f"kind {self.kind} must hold {' or '.join(f'{{{n}}}' for n in needed)}")
        wanted, other = ("actions", "target") if self.kind == "executor" else ("target", "actions")
        if other in puts:
            raise ValueError(f"kind {self.kind} puts {wanted}; must not put {other}")
        if puts.count(wanted) > 1 or (wanted == "target" and not puts.count(wanted)):
            raise ValueError(f"{wanted} is put {puts.count(wanted)} times; must be put once")
        if wanted == "target" and {"start", "end"} & set(puts):
            raise ValueError("start and end belong to actions; must be left out")

    def _check_messages(self) -> None:
        if self.target or len(self.messages) < 2 or self.messages[-1].role != "assistant":
            raise ValueError("messages must be two or more, the last one of the assistant, and no target beside them")
        for message in self.messages:
            for segment in message.content:
                if segment.begin or segment.apart or segment.loss is not None or segment.put == "end_of_text":
                    raise ValueError("begin, apart, loss and end_of_text belong to the model's own chat template")
                is_last = message is self.messages[-1]
                if segment.put and (segment.put == "images") == is_last:
                    where = "not in the last one" if is_last else "in the last one"
                    raise ValueError(f"put {segment.put} in a message; must stand {where}")

    def _check_segments(self) -> None:
        if any(s.put == "images" for s in (*self.prompt, *self.target)):
            raise ValueError("put images is for messages; models put image tokens in themselves")
        if any(s.put for s in self.prompt):
            raise ValueError("put is for the target; a prompt holds text only")
        before: tuple[Segment, bool] | None = None
        for segment, carries in _with_loss(self.prompt, self.target):
            if segment.begin and before is not None:
                raise ValueError("begin must stand at the first segment")
            joins = before is not None and before[0].is_text and segment.is_text and not segment.apart
            if joins and before is not None and before[1] != carries:
                raise ValueError("segments that are encoded together must both carry loss or none; set apart: true")
            before = (segment, carries)


def _with_loss(prompt: Sequence[Segment], target: Sequence[Segment]) -> Iterator[tuple[Segment, bool]]:
    for segments, default in ((prompt, False), (target, True)):
        for segment in segments:
            yield segment, default if segment.loss is None else segment.loss


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """A prompt template, checked."""

    name: str
    kind: Kind
    description: str
    instruction: tuple[Transformation, ...]
    state: StateFormat | None
    prompt: tuple[Segment, ...]
    target: tuple[Segment, ...]
    messages: tuple[MessageTemplate, ...]
    yaml: str
    """The file's text, verbatim."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All of them, in order."""
        return (*self.prompt, *self.target, *(s for m in self.messages for s in m.content))

    @property
    def fields(self) -> frozenset[str]:
        """Fields that must be given."""
        return frozenset(n for s in self.segments for n in PLACEHOLDER.findall(s.text or ""))

    def puts(self, what: Put) -> bool:
        """Whether something is put in."""
        return any(s.put == what for s in self.segments)

    @property
    def is_chat(self) -> bool:
        """Whether it gives messages."""
        return bool(self.messages)

    @property
    def has_delimiters(self) -> bool:
        """Whether it asks the vocabulary for start and end tokens."""
        return self.puts("start") or self.puts("end")

    @property
    def space_before(self) -> bool:
        """Whether integers have a space before the first one."""
        return any(s.space for s in self.segments)

    def with_loss(self) -> Iterator[tuple[Segment, bool]]:
        """Segments of prompt and target, and whether each carries loss."""
        return _with_loss(self.prompt, self.target)

    def transformed(self, field: str, text: str) -> str:
        """What stands in the prompt for a field's text."""
        if field not in INSTRUCTIONS:
            return text
        for step in self.instruction:
            if step == "lower":
                text = text.lower()
            elif step == "strip":
                text = text.strip()
            else:
                text = text.replace("_" if step == "underscores" else "\n", " ")
        return text


def template_names() -> list[str]:
    """Names of the templates that come with vladata, sorted."""
    folder = resources.files("vladata.prompts")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def read_template(name_or_path: str) -> PromptTemplate:
    """Read a template by name (one that comes with vladata) or by path (.yaml, .yml).

    Raises:
        SchemaError: There is none of that name, or the file is wrong; with the key path.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        known = template_names()
        if name_or_path not in known:
            shown = printable(repr(name_or_path))
            raise SchemaError(
                f"no prompt named {shown}; there are {', '.join(known)}, or give the path of a .yaml file"
            )
        path = Path(str(resources.files("vladata.prompts") / f"{name_or_path}.yaml"))
    elif not path.is_file():
        raise SchemaError(f"{path}: no such prompt file")
    return parse_template(path.read_bytes(), path.name)


def parse_template(data: bytes, where: str) -> PromptTemplate:
    """Parse the content of a template's file.

    Raises:
        SchemaError: It is wrong; with `where` and the key path.
    """
    file = parse(TemplateFile, parse_yaml(data, where), where)
    return PromptTemplate(
        name=file.name,
        kind=file.kind,
        description=file.description,
        instruction=file.instruction,
        state=file.state,
        prompt=file.prompt,
        target=file.target,
        messages=file.messages,
        yaml=data.decode(),
    )


def json_schema() -> dict[str, object]:
    """JSON Schema of a template's file, for completion in editors: docs/prompt.schema.json."""
    schema = TemplateFile.model_json_schema(mode="validation", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
