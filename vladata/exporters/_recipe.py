"""A recipe: what an export is made of, as a YAML file that stays with the project. Described in docs/recipe.md."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from ..documents import Document, parse, read_yaml
from ..errors import ExportError
from ._groups import CATALOG_STRATA, NEAR_DUPLICATE
from ._options import ExportOptions, ExternalData, IdleOptions, PlannerOptions, VqaOptions
from ._selection import Selection

__all__ = ["RecipeDocument", "json_schema", "read_recipe"]

Crossable = Literal["interventions", "failed_segments", "cuts"]
Representation = Literal["recorded", "absolute", "delta", "chunk_relative"]
Normalization = Literal["quantile", "min_max", "mean_std", "none"]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

_SIZE = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")


class IdlePart(Document):
    """Steps at which nothing moves, and which are no rows."""

    drop: tuple[Literal["head", "tail", "middle"], ...] = IdleOptions().drop
    seconds: Annotated[Positive, Field(description="Shorter runs stay.")] = IdleOptions().seconds
    limit: Annotated[float, Field(ge=0, le=1, description="Share of all steps above which the export is refused.")] = (
        IdleOptions().limit
    )
    angle: Annotated[Positive | None, Field(description="What is no motion, rad; null: as the checks have it.")] = None
    length: Annotated[Positive | None, Field(description="In m.")] = None
    part: Annotated[Positive | None, Field(description="Of the range, for grippers and pure numbers.")] = None


class SplitPart(Document):
    """Shares of the splits, and what keeps episodes in one of them."""

    shares: Annotated[
        dict[Name, Share], Field(min_length=1, description="The first is what statistics are made of.")
    ] = Field(default_factory=lambda: dict(ExportOptions().splits))
    seed: int = 0
    group_by: Annotated[
        tuple[Name, ...], Field(description=f"Names of metadata, and {NEAR_DUPLICATE}; equal content always.")
    ] = ExportOptions().group_by
    stratify_by: Annotated[
        tuple[Name, ...], Field(description=f"Of {', '.join(CATALOG_STRATA)}, and names of metadata.")
    ] = ExportOptions().stratify_by


class ActionPart(Document):
    """What chunks hold."""

    signals: Annotated[tuple[Name, ...] | None, Field(description="null: all.")] = None
    representation: Representation = "recorded"
    horizon: Annotated[int | None, Field(ge=1, le=1000, description="Actions per chunk.")] = None
    horizon_s: Annotated[float | None, Field(gt=0, le=3600, description="The same in seconds; without both 1 s.")] = (
        None
    )
    chunk_end: Literal["pad", "drop"] = "pad"
    normalization: Normalization = "quantile"

    @model_validator(mode="after")
    def _one_horizon(self) -> Self:
        if self.horizon is not None and self.horizon_s is not None:
            raise ValueError("horizon and horizon_s are both given; only one of them must be")
        return self


class StatePart(Document):
    """What `observation.state` holds."""

    signals: Annotated[tuple[Name, ...] | None, Field(description="null: all.")] = None


class ImagesPart(Document):
    """Which cameras, and how their frames are written."""

    cameras: Annotated[tuple[Name, ...] | None, Field(description="null: all.")] = None
    size: Annotated[str | None, Field(description="HEIGHTxWIDTH; null: as stored, byte for byte.")] = None
    resize: Literal["letterbox", "stretch"] = "letterbox"
    quality: Annotated[int, Field(ge=1, le=100, description="Of JPEG, where frames are encoded anew.")] = 95

    @field_validator("size")
    @classmethod
    def _is_size(cls, value: str | None) -> str | None:
        if value is not None and not _SIZE.fullmatch(value):
            raise ValueError("must be HEIGHTxWIDTH, for instance 224x224")
        return value


class EmbodimentPart(Document):
    """What is otherwise for the episodes of one embodiment; keys that are not there stay as they are."""

    normalization: Annotated[Normalization | None, Field(description="Short for action.normalization.")] = None
    action: ActionPart | None = None
    state: StatePart | None = None
    images: ImagesPart | None = None


class TokenizerPart(Document):
    """The codec; keys beside `scheme` are its options."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int | float | str] = Field(init=False)

    scheme: Name


class VocabularyPart(Document):
    """How codes become ids of a language model."""

    kind: Literal["added", "tail", "text", "reserved"] = "added"
    base: Annotated[Name | None, Field(description="Folder with a tokenizer.json, seen from the recipe.")] = None
    tail_skip: Annotated[int, Field(ge=0, description="tail: ids left alone at the end.")] = 0
    reuse_added: Annotated[bool, Field(description="tail: use added tokens that are not special again.")] = False
    pattern: Annotated[str | None, Field(description="reserved: name of the tokens, {n} for the number.")] = None
    max_tokens: Annotated[int | None, Field(ge=1, description="Most ids of a row; a longer one is an error.")] = None


class ExternalPart(Document):
    """Image-text data of others."""

    name: Name
    path: Annotated[Name, Field(description="Seen from the recipe.")]
    format: Literal["llava", "folder"]
    share: Annotated[float, Field(gt=0, lt=1, description="Of the rows of the config.")]


class ExecutorPart(Document):
    """The config `executor` is always written; it has no settings of its own."""


class PlannerPart(Document):
    """The config `planner`."""

    every_s: Positive = PlannerOptions().every_s
    prompt: Name = PlannerOptions().prompt


class VqaPart(Document):
    """The config `vqa`."""

    per_episode: Annotated[int, Field(ge=1)] = VqaOptions().per_episode
    kinds: Annotated[tuple[Name, ...] | None, Field(description="null: all.")] = None
    prompt: Name = VqaOptions().prompt
    seed: int = 0
    external: tuple[ExternalPart, ...] = ()


class ConfigsPart(Document):
    """Kinds of rows beside those of the executor; one that is not there is not written."""

    executor: ExecutorPart | None = None
    planner: PlannerPart | None = None
    vqa: VqaPart | None = None


class RecipeDocument(Document):
    """A recipe; keys that are not there are as without a recipe."""

    recipe: Annotated[Literal[1], Field(description="Version of the recipe's form.")]
    select: Annotated[str | None, Field(description="Which episodes: docs/recipe.md has the language.")] = None
    idle: Annotated[IdlePart | None, Field(description="null: steps at which nothing moves are rows.")] = None
    split: SplitPart | None = None
    cross: Annotated[tuple[Crossable, ...], Field(description="What chunks may cross and rows may lie in.")] = ()
    embodiment: Annotated[Name | None, Field(description="Needed where the dataset holds several.")] = None
    action: ActionPart = ActionPart()
    state: StatePart = StatePart()
    embodiments: dict[Name, EmbodimentPart] = Field(default_factory=dict)
    tokenizer: TokenizerPart | None = None
    vocabulary: VocabularyPart = VocabularyPart()
    prompt: Annotated[Name | None, Field(description="Name of a prompt, or its .yaml, seen from the recipe.")] = None
    images: ImagesPart = ImagesPart()
    configs: ConfigsPart = ConfigsPart()
    shard_mb: Annotated[int, Field(ge=1)] = 500
    quarantined: Literal["leave_out", "include"] = "leave_out"

    @field_validator("select")
    @classmethod
    def _can_be_read(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                Selection.parse(value)
            except ExportError as error:
                raise ValueError(str(error).removeprefix("select: ")) from error
        return value

    def content(self) -> dict[str, object]:
        """What was written, as JSON values without paths: equal on every machine."""
        plain: dict[str, object] = self.model_dump(mode="json", exclude_unset=True)
        _without(plain, "vocabulary", "base")
        if self.prompt is not None:
            plain["prompt"] = Path(self.prompt).name
        configs = plain.get("configs")
        vqa = configs.get("vqa") if isinstance(configs, dict) else None
        for external in vqa.get("external", []) if isinstance(vqa, dict) else []:
            external.pop("path", None)
        return plain


def _without(plain: dict[str, object], part: str, key: str) -> None:
    inner = plain.get(part)
    if isinstance(inner, dict):
        inner.pop(key, None)


def json_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of recipes, published as docs/recipe.schema.json."""
    schema = RecipeDocument.model_json_schema(mode="validation", by_alias=True)
    schema["title"] = "vladata recipe"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def read_recipe(path: Path) -> ExportOptions:
    """Read a recipe; paths in it are seen from its folder.

    Raises:
        SchemaError: The file is no YAML, or no recipe; with the key's path.
        ExportError: A value is out of range.
        OSError: The file can't be read.
    """
    return options_of(parse(RecipeDocument, read_yaml(path), path.name), path.parent)


def options_of(recipe: RecipeDocument, folder: Path) -> ExportOptions:
    """The options that a recipe stands for.

    Args:
        recipe: As it was read.
        folder: What paths in it are seen from.
    """
    vocabulary = recipe.vocabulary
    values: dict[str, object] = {
        **_split(recipe.split),
        **_action(recipe.action),
        **_images(recipe.images),
        **_tokenizer(recipe.tokenizer),
        "select": recipe.select,
        "idle": None if recipe.idle is None else IdleOptions(**recipe.idle.model_dump()),
        "cross": recipe.cross,
        "embodiment": recipe.embodiment,
        "proprioception": recipe.state.signals,
        "embodiments": {name: _changes(part) for name, part in recipe.embodiments.items()},
        "base_tokenizer": None if vocabulary.base is None else folder / vocabulary.base,
        "vocabulary": vocabulary.kind,
        "tail_skip": vocabulary.tail_skip,
        "tail_reuse_added": vocabulary.reuse_added,
        "reserved_pattern": vocabulary.pattern,
        "max_tokens": vocabulary.max_tokens,
        "prompt": _prompt(recipe.prompt, folder),
        "planner": _planner(recipe.configs.planner, folder),
        "vqa": _vqa(recipe.configs.vqa, folder),
        "shard_bytes": recipe.shard_mb * 1_000_000,
        "quarantined": recipe.quarantined,
        "recipe": recipe.content(),
    }
    return ExportOptions(**values)  # type: ignore[arg-type]  # each by its field's name


def _prompt(name: str | None, folder: Path) -> str:
    """The name of a prompt, or the place of its file."""
    if name is None:
        return ExportOptions().prompt
    return str(folder / name) if Path(name).suffix in {".yaml", ".yml"} else name


def _split(part: SplitPart | None) -> dict[str, object]:
    found = {} if part is None else _given(part)
    if "shares" in found:
        found["splits"] = found.pop("shares")
    return found


def _tokenizer(part: TokenizerPart | None) -> dict[str, object]:
    if part is None:
        return {}
    return {"tokenizer": part.scheme, "codec_options": dict(part.__pydantic_extra__ or {})}


def _given(part: Document) -> dict[str, object]:
    """The keys that were written, by name."""
    return {name: getattr(part, name) for name in part.model_fields_set}


def _action(part: ActionPart) -> dict[str, object]:
    """Options that a part of a recipe sets; what it does not say is not there."""
    found = _given(part)
    if "signals" in found:
        found["action"] = found.pop("signals")
    if found.get("horizon", 1) is None:
        del found["horizon"]
    elif "horizon" in found:
        found["horizon_s"] = None
    return found


def _images(part: ImagesPart) -> dict[str, object]:
    names = {"size": "image_size", "quality": "jpeg_quality"}
    found = {names.get(name, name): value for name, value in _given(part).items()}
    size = _SIZE.fullmatch(part.size or "")
    if size is not None:
        found["image_size"] = (int(size[1]), int(size[2]))
    return found


def _changes(part: EmbodimentPart) -> Mapping[str, object]:
    found: dict[str, object] = {} if part.normalization is None else {"normalization": part.normalization}
    found |= {} if part.action is None else _action(part.action)
    found |= {} if part.images is None else _images(part.images)
    return {**found, **({"proprioception": part.state.signals} if part.state is not None else {})}


def _planner(part: PlannerPart | None, folder: Path) -> PlannerOptions | None:
    return None if part is None else PlannerOptions(every_s=part.every_s, prompt=_prompt(part.prompt, folder))


def _vqa(part: VqaPart | None, folder: Path) -> VqaOptions | None:
    if part is None:
        return None
    external = tuple(
        ExternalData(name=e.name, path=folder / e.path, format=e.format, share=e.share) for e in part.external
    )
    return VqaOptions(
        per_episode=part.per_episode,
        kinds=part.kinds,
        prompt=_prompt(part.prompt, folder),
        seed=part.seed,
        external=external,
    )
