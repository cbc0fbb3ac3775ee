"""The recipe of a mixture: which exports, how much of each, padded to one width or kept apart; docs/mixtures.md."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from ..documents import Document, parse, read_yaml

__all__ = ["MixturePart", "MixtureRecipe", "json_schema", "read_recipe"]

MAX_PARTS = 1000
MAX_EPOCH_ROWS = 1 << 40

PartName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
Role = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]


class _Published(Document):
    """A part of the recipe; the words under its fields go into the JSON Schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class MixturePart(_Published):
    """One export."""

    name: PartName
    """What rows of it are called in column `part`, and its folder in `action_tokenizer/`."""
    export: Annotated[str, Field(min_length=1, max_length=4000)]
    """Folder that `vladata export` made, seen from the recipe."""
    weight: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    """Times the part's size: with 2, each of its rows is seen twice as often as those of a part with 1."""
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the epoch, exactly; the other parts divide what is left. Instead of a weight."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Rows that are drawn from; a larger part is thinned to so many, and counts as one of this size."""
    max_share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Largest share of the epoch; what is beyond goes to the other parts."""
    cameras: dict[str, Role] = Field(default_factory=dict)
    """New names of its cameras, so that those of one role stand in one column."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.share is not None and self.weight != 1.0:
            raise ValueError(f"{self.name} has a weight and a share; must be one of them")
        if self.share is not None and self.max_share is not None and self.share > self.max_share:
            raise ValueError(f"{self.name}: share is {self.share:g}; must be at most max_share, {self.max_share:g}")
        if len(set(self.cameras.values())) < len(self.cameras):
            raise ValueError(f"{self.name}: two cameras get one name; each must have its own")
        return self


class MixtureRecipe(_Published):
    """Several exports as one dataset."""

    mixture: Literal[1]
    """Version of this format."""
    layout: Literal["padded", "apart"] = "padded"
    """padded: one config of mixed rows of a common width; apart: a config for each part, and the epoch as a table."""
    config: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "executor"
    """Which config of the exports is mixed."""
    temperature: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    """Sizes count as size ** (1 / temperature): 1 as large as they are, above 1 small parts count for more."""
    epoch_rows: Annotated[int, Field(ge=1, le=MAX_EPOCH_ROWS)] | None = None
    """Rows of an epoch; null: those of all parts together, less where a row would come more than max_repeats times."""
    max_repeats: Annotated[int, Field(ge=1, le=1_000_000)] = 4
    """How often a row may come in an epoch."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Another seed gives another order and another choice where not all rows are taken."""
    leaks: Literal["error", "leave_out"] = "error"
    """Episodes that one part trains on and another one holds out: refused, or left out of training."""
    keep_ids: bool = True
    """False: drop the columns of language-model ids, so that parts need not agree on them."""
    drop: tuple[ColumnName, ...] = ()
    """Further columns to leave out; columns that not all parts have must be dropped."""
    parts: Annotated[tuple[MixturePart, ...], Field(min_length=1, max_length=MAX_PARTS)]
    """The exports, in the order of their columns."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [p.name for p in self.parts]
        double = next((n for i, n in enumerate(names) if n in names[:i]), None)
        if double is not None:
            raise ValueError(f"two parts are called {double}; each must have a name of its own")
        given = [p.share for p in self.parts if p.share is not None]
        if sum(given) > 1 + 1e-9:
            raise ValueError(f"the shares sum to {sum(given):g}; must be at most 1")
        if len(given) == len(self.parts) and abs(sum(given) - 1) > 1e-9:
            raise ValueError(f"every part has a share, and they sum to {sum(given):g}; must be 1")
        if len(given) < len(self.parts) and sum(given) >= 1 - 1e-9:
            rest = next(p.name for p in self.parts if p.share is None)
            raise ValueError(f"the shares sum to {sum(given):g} and leave nothing for {rest}; must be less than 1")
        return self


def read_recipe(path: Path) -> MixtureRecipe:
    """Read the YAML file of a mixture.

    Raises:
        SchemaError: It breaks a limit, is not YAML, or a value is wrong; with file and key path.
        OSError: It can't be read.
    """
    return parse(MixtureRecipe, read_yaml(path), path.name)


def json_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a recipe, for editors."""
    schema = MixtureRecipe.model_json_schema(mode="validation", by_alias=True)
    schema["title"] = "vladata mixture"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
