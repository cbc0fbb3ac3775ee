"""One set of columns for rows of several embodiments: images by role, vectors padded to a common width with a mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..documents import canonical_json
from ..errors import ExportError
from ..exporters._parquet import matrix_array
from ..exporters._schema import IMAGES
from ._parts import Part, Scanned
from .recipe import MixtureRecipe

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ID_COLUMNS",
    "MASKS",
    "PART",
    "Columns",
    "Shape",
    "Tokens",
    "Widths",
    "build_columns",
    "pad",
    "picture_columns",
    "tokens_of",
]

PART, EMBODIMENT = "part", "embodiment"
STATE, ACTION, CHUNK, IS_PAD = "observation.state", "action", "action_chunk", "action_is_pad"
MASKS = {STATE: "state_mask", ACTION: "action_mask"}
VECTORS = (STATE, ACTION, CHUNK, IS_PAD)
OURS = (PART, EMBODIMENT, *MASKS.values())
ID_COLUMNS = ("action_token_ids", "input_ids", "labels", "attention_mask", "loss_mask")
"""Columns that mean nothing without the language model's tokenizer."""
ACTION_TEXT = ("target", "completion")
"""Columns that hold the codes of actions as text, where rows have codes."""
CODES = "action_codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Lengths of the vectors; 0 where there is none."""

    state: int
    """S."""
    action: int
    """D."""
    horizon: int
    """H."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How rows of one part become rows of the mixture."""

    part: str
    embodiment: str
    images: Mapping[str, str]
    """Its own column of each image column of the mixture that it has."""
    own: Widths


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a mixture."""

    schema: bytes
    """The Arrow schema, serialized, with the features that `datasets` reads."""
    kept: tuple[str, ...]
    """Columns that all parts have in one type; passed through."""
    images: tuple[str, ...]
    vectors: tuple[str, ...]
    """Those of observation.state, action, action_chunk and action_is_pad that there are."""
    common: Widths
    shapes: tuple[Shape, ...]
    """Of each part."""
    dropped: tuple[str, ...]

    def source_columns(self, part: int) -> list[str]:
        """The columns of a part that are read, without its images."""
        has_state = (STATE,) if self.shapes[part].own.state else ()
        return [*self.kept, *has_state, *(v for v in self.vectors if v != STATE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What the columns of a mixture hold of a language model."""

    has_ids: bool
    has_codes: bool
    """Whether the ids, or the text, stand for codes of actions."""
    has_text: bool
    """Whether there are codes as text."""


def tokens_of(recipe: MixtureRecipe, scanned: Mapping[str, Sequence[Scanned]]) -> Tokens:
    """What of a language model would be in the mixture."""
    import pyarrow as pa

    schemas = [pa.ipc.read_schema(pa.py_buffer(found[0].schema)) for found in scanned.values()]
    names = {n for s in schemas for n in s.names}
    kept = names - set(recipe.drop) if recipe.keep_ids else set()
    return Tokens(
        has_ids=bool(kept & set(ID_COLUMNS)),
        has_codes=CODES in names,
        has_text=CODES in names and bool(kept & set(ACTION_TEXT)),
    )


def build_columns(recipe: MixtureRecipe, parts: Sequence[Part], scanned: Mapping[str, Sequence[Scanned]]) -> Columns:
    """Decide the columns of a padded mixture.

    Raises:
        ExportError: Parts can't be brought into one set of columns; with the column and how to go on.
    """
    import pyarrow as pa

    schemas = [_schema_of(p, scanned[p.name]) for p in parts]
    everywhere = {n for s in schemas for n in s.names}
    unknown = [n for n in recipe.drop if n not in everywhere]
    if unknown:
        raise ExportError(
            f"drop: no part has a column {unknown[0]!r}; it must be one of {', '.join(sorted(everywhere))}"
        )
    dropped = set(recipe.drop)
    if not recipe.keep_ids:
        dropped |= {*ID_COLUMNS, *(ACTION_TEXT if CODES in everywhere else ())}
    dropped &= everywhere
    schemas = [pa.schema([f for f in s if f.name not in dropped], metadata=s.metadata) for s in schemas]
    for part, schema in zip(parts, schemas, strict=True):
        taken = [n for n in OURS if n in schema.names]
        if taken:
            raise ExportError(f"part {part.name} has a column {taken[0]!r}, which the mixture writes; drop it")
    images = [_images(p, s) for p, s in zip(parts, schemas, strict=True)]
    special = [{*own.values(), *VECTORS} for own in images]
    kept = _kept(parts, schemas, special)
    if not kept:
        raise ExportError("no column but images and vectors would be left; drop fewer")
    own = [_widths(p, s) for p, s in zip(parts, schemas, strict=True)]
    common = Widths(
        state=max(w.state for w in own), action=max(w.action for w in own), horizon=max(w.horizon for w in own)
    )
    vectors = _vectors(parts, schemas)
    names = tuple(dict.fromkeys(n for found in images for n in found))
    shapes = tuple(
        Shape(part=p.name, embodiment=p.embodiment, images=i, own=w) for p, i, w in zip(parts, images, own, strict=True)
    )
    schema = _target(parts, schemas[0], (kept, names, vectors), common)
    return Columns(
        schema=schema.serialize().to_pybytes(),
        kept=kept,
        images=names,
        vectors=vectors,
        common=common,
        shapes=shapes,
        dropped=tuple(sorted(dropped)),
    )


def _schema_of(part: Part, scanned: Sequence[Scanned]) -> "pa.Schema":
    import pyarrow as pa

    schemas = [pa.ipc.read_schema(pa.py_buffer(s.schema)) for s in scanned]
    for shard, schema in zip(part.shards, schemas, strict=True):
        if not schema.equals(schemas[0], check_metadata=False):
            raise ExportError(
                f"part {part.name}: {shard.file} has other columns than {part.shards[0].file}; they must be the same"
            )
    return schemas[0]


def _is_image(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(kind == pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def picture_columns(schema: "pa.Schema") -> list[str]:
    """Columns of images, and of lists of images: what is not compressed once more."""
    import pyarrow as pa

    return [f.name for f in schema if _is_image(f.type.value_type if pa.types.is_list(f.type) else f.type)]


def _images(part: Part, schema: "pa.Schema") -> dict[str, str]:
    """The part's own column of each image column of the mixture."""
    own = [f.name for f in schema if f.name.startswith(IMAGES) and _is_image(f.type)]
    cameras = [n.removeprefix(IMAGES) for n in own]
    unknown = [c for c in part.asked.cameras if c not in cameras]
    if unknown:
        raise ExportError(
            f"part {part.name} has no camera {unknown[0]!r} to rename; there are {', '.join(cameras) or 'none'}"
        )
    named = [IMAGES + part.asked.cameras.get(c, c) for c in cameras]
    double = next((n for i, n in enumerate(named) if n in named[:i]), None)
    if double is not None:
        raise ExportError(f"part {part.name}: two cameras would be {double}; each must have a name of its own")
    return dict(zip(named, own, strict=True))


def _kept(parts: Sequence[Part], schemas: Sequence["pa.Schema"], special: Sequence[set[str]]) -> tuple[str, ...]:
    """Columns of no special meaning; all parts must have them, in one type."""
    names = dict.fromkeys(n for s, known in zip(schemas, special, strict=True) for n in s.names if n not in known)
    for name in names:
        kinds = {p.name: s.field(name).type if name in s.names else None for p, s in zip(parts, schemas, strict=True)}
        first = next(iter(kinds.values()))
        other = next(((n, k) for n, k in kinds.items() if k != first), None)
        if other is not None:
            shown = [f"{'not there' if k is None else k} in {n}" for n, k in ((parts[0].name, first), other)]
            ids = " or keep_ids: false" if name in (*ID_COLUMNS, *ACTION_TEXT) else ""
            raise ExportError(
                f"column {name!r} is {shown[0]} and {shown[1]}; it must be the same in all parts (drop: [{name}]{ids})"
            )
    return tuple(names)


def _vectors(parts: Sequence[Part], schemas: Sequence["pa.Schema"]) -> tuple[str, ...]:
    """Vectors of the mixture; a part may lack a state, but not one of the others that another one has."""
    found = tuple(v for v in VECTORS if any(v in s.names for s in schemas))
    for name in found:
        lacking = [p.name for p, s in zip(parts, schemas, strict=True) if name not in s.names]
        if name != STATE and lacking:
            raise ExportError(f"column {name!r} is not there in {lacking[0]}; it must be in all parts (drop: [{name}])")
    if IS_PAD not in found and CHUNK in found:
        raise ExportError(f"column {IS_PAD!r} is dropped and {CHUNK!r} is not; padded targets must stay marked")
    return found


def _widths(part: Part, schema: "pa.Schema") -> Widths:
    """Lengths of the vectors of a part, which must be of one length in all its rows."""
    sizes = {name: _sizes(part, schema, name) for name in VECTORS if name in schema.names}
    state, action = sizes.get(STATE, (0,)), sizes.get(ACTION)
    chunk, is_pad = sizes.get(CHUNK), sizes.get(IS_PAD)
    dims = (action or chunk or (0,))[-1]
    horizon = (chunk or is_pad or (0,))[0]
    expected = {STATE: (state[0],), ACTION: (dims,), CHUNK: (horizon, dims), IS_PAD: (horizon,)}
    for name, size in sizes.items():
        if size != expected[name]:
            raise ExportError(f"part {part.name}: {name} is {list(size)}; must be {list(expected[name])}")
    return Widths(state=state[0], action=dims, horizon=horizon)


def _sizes(part: Part, schema: "pa.Schema", name: str) -> tuple[int, ...]:
    import pyarrow as pa

    kind, sizes = schema.field(name).type, []
    while pa.types.is_fixed_size_list(kind):
        sizes.append(kind.list_size)
        kind = kind.value_type
    leaf = pa.bool_() if name == IS_PAD else pa.float32()
    if kind != leaf or not sizes:
        raise ExportError(
            f"part {part.name}: {name} is {schema.field(name).type}; must be lists of {leaf} of one length"
        )
    return tuple(sizes)


def _target(
    parts: Sequence[Part],
    first: "pa.Schema",
    names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
    common: Widths,
) -> "pa.Schema":
    from datasets import Features, Image, List, Value

    kept, images, vectors = names
    given = Features.from_arrow_schema(first)
    vector = {
        STATE: List(Value("float32"), length=common.state),
        ACTION: List(Value("float32"), length=common.action),
        CHUNK: List(List(Value("float32"), length=common.action), length=common.horizon),
        IS_PAD: List(Value("bool"), length=common.horizon),
    }
    columns: dict[str, object] = {PART: Value("string"), EMBODIMENT: Value("string")}
    columns |= {name: given[name] for name in kept}
    columns |= {name: Image() for name in images}
    for name in vectors:
        columns[name] = vector[name]
        if name in MASKS:
            columns[MASKS[name]] = List(Value("bool"), length=common.state if name == STATE else common.action)
    facts = {
        "parts": {
            p.name: {
                "embodiment": p.embodiment,
                "action_names": p.columns.get("action"),
                "state_names": p.columns.get("state"),
                "tokenizer_digest": p.tokenizer.digest,
            }
            for p in parts
        }
    }
    schema: pa.Schema = Features(columns).arrow_schema
    return schema.with_metadata({**(schema.metadata or {}), b"vladata": canonical_json(facts).encode()})


def pad(table: "pa.Table", columns: Columns, part: int) -> "pa.Table":
    """Rows of a part as rows of the mixture, all columns but images.

    Args:
        table: The part's own columns, without its images.
        columns: Of the mixture.
        part: Its number.
    """
    import pyarrow as pa

    shape, common, count = columns.shapes[part], columns.common, table.num_rows
    schema = pa.ipc.read_schema(pa.py_buffer(columns.schema))
    made: dict[str, pa.Array | pa.ChunkedArray] = {
        PART: pa.array([shape.part] * count, type=pa.string()),
        EMBODIMENT: pa.array([shape.embodiment] * count, type=pa.string()),
    }
    made |= {name: table.column(name) for name in columns.kept}
    own_w, all_w = shape.own, common
    sizes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        STATE: ((own_w.state,), (all_w.state,)),
        ACTION: ((own_w.action,), (all_w.action,)),
        CHUNK: ((own_w.horizon, own_w.action), (all_w.horizon, all_w.action)),
        IS_PAD: ((own_w.horizon,), (all_w.horizon,)),
    }
    for name in columns.vectors:
        own_size, size = sizes[name]
        # What is padding is zero and masked; targets beyond the own horizon are padding as well.
        values = np.full((count, *size), name == IS_PAD, dtype=np.bool_ if name == IS_PAD else np.float32)
        if name in table.column_names:
            values[:, *(slice(0, n) for n in own_size)] = numbers(table, name, own_size)
        made[name] = matrix_array(values)
        if name in MASKS:
            mask = np.zeros((count, *size), dtype=np.bool_)
            mask[:, : own_size[0]] = True
            made[MASKS[name]] = matrix_array(mask)
    own_schema = pa.schema([f for f in schema if f.name in made])
    return pa.table([made[n] for n in own_schema.names], schema=own_schema)


def numbers(table: "pa.Table", name: str, size: tuple[int, ...]) -> NDArray[np.generic]:
    """A column of nested lists of fixed size as an array, [R, *size].

    Raises:
        ExportError: There is a null, or a list of another length.
    """
    array = table.column(name).combine_chunks()
    count = len(array)
    for _ in size:
        if array.null_count:
            raise ExportError(f"{name} has a null; must hold numbers")
        array = array.flatten()
    if len(array) != count * int(np.prod(size)) or array.null_count:
        raise ExportError(f"{name} is not [{count}, {', '.join(map(str, size))}]")
    values: NDArray[np.generic] = array.to_numpy(zero_copy_only=False)
    return values.reshape(count, *size)
