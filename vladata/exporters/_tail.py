"""New columns of tokens behind an old shard: its images stay where they are, byte for byte.

Columns of a Parquet file may lie anywhere in it, and its footer is at the end. So a shard gets another tokenizer's
columns by bytes that are added behind it: the new columns, and a footer that points to them and to the old images. What
was there stays there: cut off what was added, and the shard is what the export wrote. The next tokenizer's columns
take the place of these, so that nothing piles up.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..action_tokenizer import ActionTokenizer
from ..errors import ExportError
from ..tokenizers._bins import code_rows
from ..workers import beat
from ._compare import column_values
from ._footer import Struct, footer_bytes, leaves, parse, read_footer, stored_bytes, with_columns
from ._parquet import MAGIC, ShardWriter
from ._prompts import Prompts, RowFacts
from ._schema import IMAGES, TOKENS
from ._shard import Tally, token_columns

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["TailFacts", "TailUnit", "make_tail"]

BLOCK = 1 << 20
STATE = "observation.state"
INPUTS = ("action_chunk", "action_is_pad", "task", "subtask", STATE)
"""Columns that tokens and prompts are made of; an export may have no state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailUnit:
    """One shard that gets other tokens."""

    path: Path
    file: str
    """Its name in the export, for messages."""
    size: int
    sha256: str
    base_size: int
    """Bytes of the shard as the export wrote it; at its end lies its own footer."""
    base_sha256: str
    tail: Path
    """Where the bytes go that will lie behind these; the shard itself is only read."""
    schema: bytes
    """The Arrow schema, serialized."""
    tokenizer: ActionTokenizer
    prompts: Prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class TailFacts:
    """What a shard will be."""

    num_tail_bytes: int
    """0 where the tokens are those that the export wrote."""
    sha256: str
    """Of the whole shard."""
    num_rows: int
    num_read: int
    """Bytes read, to hash the shard and to encode its chunks."""
    num_image_bytes: int
    """Of images, which stay."""
    num_dead_bytes: int
    """Of columns and footers that nothing leads to any more."""
    num_targets: int
    num_clipped: tuple[int, ...]
    num_codes: int
    longest: int
    most_ids: int
    most_ids_row: int
    num_long: int


def make_tail(unit: TailUnit) -> TailFacts:
    """Write what a shard gets; runs in a worker.

    Raises:
        ExportError: The shard is not as the manifest says, or no Parquet file.
        TokenizeError: A chunk can't be encoded.
        OSError: The disk is full, or can't be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sha = _checked(unit)
    footer = read_footer(unit.path, unit.base_size)
    held = MAGIC + footer + len(footer).to_bytes(4, "little") + MAGIC
    schema = pa.ipc.read_schema(pa.py_buffer(unit.schema))
    tally = Tally(unit.tokenizer.dims)
    try:
        metadata = pq.read_metadata(pa.BufferReader(held))
        with pq.ParquetFile(unit.path, metadata=metadata) as file:
            is_same = _write_tokens(unit, file, schema, tally)
    except (pa.ArrowException, KeyError) as error:
        raise ExportError(f"{unit.file}: can't be read: {error}") from error
    base = parse(footer)
    sizes = stored_bytes(base)
    num_read = sum(size for path, size in sizes.items() if _top(path) in INPUTS)
    dead = 0
    if is_same:
        unit.tail.write_bytes(b"")
    else:
        dead = len(footer) + sum(size for path, size in sizes.items() if _top(path) in TOKENS)
        _finish_tail(unit, base, schema)
    with unit.tail.open("rb") as tail:
        while block := tail.read(BLOCK):
            sha.update(block)
    return TailFacts(
        num_tail_bytes=unit.tail.stat().st_size,
        sha256=sha.hexdigest(),
        num_rows=metadata.num_rows,
        num_read=unit.size + num_read,
        num_image_bytes=sum(size for path, size in sizes.items() if _top(path).startswith(IMAGES)),
        num_dead_bytes=dead,
        num_targets=tally.num_targets,
        num_clipped=tuple(int(n) for n in tally.num_clipped),
        num_codes=tally.num_codes,
        longest=tally.longest,
        most_ids=tally.most_ids,
        most_ids_row=tally.most_ids_row,
        num_long=tally.num_long,
    )


def _checked(unit: TailUnit) -> "hashlib._Hash":
    """The hash of the shard as the export wrote it, once all of it was compared."""
    if unit.path.stat().st_size != unit.size or not 0 < unit.base_size <= unit.size:
        raise ExportError(f"{unit.file}: {unit.path.stat().st_size:,} bytes; the manifest says {unit.size:,}")
    whole = hashlib.sha256()
    with unit.path.open("rb") as file:
        left = unit.base_size
        while left and (block := file.read(min(BLOCK, left))):
            whole.update(block)
            left -= len(block)
            beat()
        base = whole.copy()
        while block := file.read(BLOCK):
            whole.update(block)
            beat()
    if base.hexdigest() != unit.base_sha256 or whole.hexdigest() != unit.sha256:
        raise ExportError(f"{unit.file}: its SHA-256 differs from the manifest's; it was altered, export it again")
    return base


def _write_tokens(unit: TailUnit, file: "pq.ParquetFile", schema: "pa.Schema", tally: Tally) -> bool:
    """Write the columns of tokens as a Parquet file; whether they and the schema are those of the export."""
    import pyarrow as pa

    names = [n for n in schema.names if n in TOKENS]
    old = file.schema_arrow
    is_same = bool(old.equals(schema) and old.metadata == schema.metadata)
    tokens = pa.schema([schema.field(n) for n in names])
    with ShardWriter(unit.tail, tokens, (), start=unit.base_size) as writer:
        for index in range(file.num_row_groups):
            wanted = [*INPUTS, *(names if is_same else ())]
            table = file.read_row_group(index, columns=wanted, use_threads=False)
            columns = _tokens(unit, table, tokens, tally)
            is_same = is_same and all(table.column(n).combine_chunks().equals(columns[n]) for n in names)
            writer.write(columns)
            beat()
        writer.close()
    return is_same


def _tokens(unit: TailUnit, table: "pa.Table", schema: "pa.Schema", tally: Tally) -> "Mapping[str, pa.Array]":
    tokenizer = unit.tokenizer
    chunks = column_values(table, "action_chunk", (tokenizer.horizon, tokenizer.dims)).astype(np.float64)
    is_pad = column_values(table, "action_is_pad", (tokenizer.horizon,)).astype(np.bool_)
    state = None
    if STATE in table.column_names:
        state = column_values(table, STATE, (table.schema.field(STATE).type.list_size,)).astype(np.float32)
    codes = code_rows(tokenizer.encode_represented(chunks))
    tally.add(tokenizer, chunks, is_pad, codes)
    rows = RowFacts(
        tasks=table.column("task").to_pylist(),
        subtasks=table.column("subtask").to_pylist(),
        state=state,
        is_pad=is_pad,
        codes=codes,
    )
    return token_columns(unit.prompts, rows, schema, tally)


def _finish_tail(unit: TailUnit, base: Struct, schema: "pa.Schema") -> None:
    """Give the new columns a footer that leads to the old ones as well."""
    size = unit.tail.stat().st_size
    length = len(read_footer(unit.tail, size))
    tokens = parse(read_footer(unit.tail, size))
    blank = unit.tail.with_suffix(".blank")
    images = [n for n in schema.names if n.startswith(IMAGES)]
    with ShardWriter(blank, schema, images) as writer:
        written = writer.close()
    template = parse(read_footer(blank, written.size))
    blank.unlink()
    with unit.tail.open("r+b") as file:
        file.truncate(size - length - 8)
        file.seek(0, 2)
        file.write(footer_bytes(with_columns(template, leaves(template), [base, tokens])))


def _top(path: tuple[bytes, ...]) -> str:
    return path[0].decode(errors="replace")
