"""Footers of Parquet files: equal bytes after a round trip, new places for columns, and nothing grows on damage."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.errors import ExportError
from vladata.exporters._footer import (
    NUM_CHILDREN,
    SCHEMA,
    Listed,
    Struct,
    footer_bytes,
    leaves,
    parse,
    read_footer,
    serialize,
    stored_bytes,
    with_columns,
)
from vladata.exporters._parquet import MAGIC, ShardWriter, list_array

NUMBERS, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = (4, 5, 6), 3, 7, 8, 9, 10, 12
plain = st.one_of(
    st.tuples(st.just(5), st.integers(-(1 << 31), (1 << 31) - 1)),
    st.tuples(st.just(6), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.tuples(st.just(BYTE), st.integers(0, 255)),
    st.tuples(st.just(DOUBLE), st.floats(allow_nan=False)),
    st.tuples(st.just(BINARY), st.binary(max_size=40)),
    st.tuples(st.just(1), st.booleans()),
)


def listed(kinds: "st.SearchStrategy[tuple[int, object]]") -> "st.SearchStrategy[tuple[int, object]]":
    @st.composite
    def make(draw: st.DrawFn) -> tuple[int, object]:
        kind, value = draw(kinds)
        count = draw(st.integers(0, 20))
        return draw(st.sampled_from([LIST, SET])), (kind, [value] * count)

    return make().map(lambda m: (m[0], Listed(kind=m[1][0], items=m[1][1], is_set=m[0] == SET)))


def structs(values: "st.SearchStrategy[tuple[int, object]]") -> "st.SearchStrategy[tuple[int, object]]":
    fields = st.dictionaries(st.integers(1, 200), st.one_of(values, listed(values)), max_size=4)
    return fields.map(lambda f: (STRUCT, Struct({k: (1 if kind <= 2 else kind, v) for k, (kind, v) in f.items()})))


def plainly(value: object) -> object:
    if isinstance(value, Struct):
        return {k: (min(kind, 1) if kind <= 2 else kind, plainly(v)) for k, (kind, v) in sorted(value.fields.items())}
    return [plainly(v) for v in value.items] if isinstance(value, Listed) else value


@given(structs(structs(structs(plain))))
@settings(max_examples=150, deadline=None)
def test_any_struct_comes_back(given_struct: tuple[int, Struct]) -> None:
    data = serialize(given_struct[1])
    assert serialize(parse(data)) == data
    found = parse(data)
    assert found.fields.keys() == given_struct[1].fields.keys()


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    schema = pa.schema(
        [
            ("task.name", pa.string()),
            ("chunk", pa.list_(pa.list_(pa.float32(), 2), 3)),
            ("codes", pa.list_(pa.int32())),
        ]
    )
    path = tmp_path_factory.mktemp("footer") / "a.parquet"
    with ShardWriter(path, schema, []) as writer:
        for start in (0, 20):
            values = np.arange(start * 6, (start + 20) * 6, dtype=np.float32)
            chunk = pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(pa.array(values), 2), 3)
            codes = list_array([np.arange(k % 4, dtype=np.int32) for k in range(20)])
            writer.write({"task.name": pa.array(["pick"] * 20), "chunk": chunk, "codes": codes})
        writer.close()
    return path


def test_a_real_footer_is_written_again_byte_by_byte(shard: Path) -> None:
    data = read_footer(shard, shard.stat().st_size)
    assert serialize(parse(data)) == data
    assert leaves(parse(data))[0] == (b"task.name",)
    metadata = pq.ParquetFile(shard).metadata
    assert len(leaves(parse(data))) == metadata.num_columns
    total = sum(metadata.row_group(g).column(2).total_compressed_size for g in range(2))
    assert stored_bytes(parse(data))[leaves(parse(data))[2]] == total


def test_a_column_behind_the_file_takes_the_place_of_the_old_one(shard: Path, tmp_path: Path) -> None:
    old = shard.read_bytes()
    schema = pa.schema([("codes", pa.list_(pa.int32()))])
    tail = tmp_path / "tail"
    with ShardWriter(tail, schema, [], start=len(old)) as writer:
        for start in (0, 20):
            writer.write({"codes": list_array([np.array([start + k], dtype=np.int32) for k in range(20)])})
        writer.close()
    new = tail.read_bytes()
    assert new[:4] != MAGIC
    footer = read_footer(tail, len(new))
    whole = parse(read_footer(shard, len(old)))
    blank = Struct({k: v for k, v in whole.fields.items() if k != 4})
    joined = footer_bytes(with_columns(blank, leaves(whole), [whole, parse(footer)]))
    path = tmp_path / "joined.parquet"
    path.write_bytes(old + new[: len(new) - len(footer) - 8] + joined)
    table, before = pq.read_table(path), pq.read_table(shard)
    assert table["codes"].to_pylist() == [[k] for k in range(40)]
    assert table["chunk"].equals(before["chunk"])
    assert pq.read_table(path, filters=[("task.name", "==", "pick")]).num_rows == 40


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_footer_is_an_error_or_another_struct(shard: Path, data: st.DataObject) -> None:
    bad = bytearray(read_footer(shard, shard.stat().st_size))
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(bad)))
    for text in (bytes(bad), bytes(bad[:cut])):
        try:
            found = parse(text)
            with_columns(found, leaves(found), [found])
            stored_bytes(found)
        except ExportError:
            continue


@pytest.mark.parametrize("num_columns", [0, -1])
def test_a_schema_without_columns_is_an_error(shard: Path, num_columns: int) -> None:
    footer = parse(read_footer(shard, shard.stat().st_size))
    footer.structs(SCHEMA)[0].fields[NUM_CHILDREN] = (5, num_columns)
    with pytest.raises(ExportError, match="the schema has no columns"):
        leaves(parse(serialize(footer)))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"\x19\xfc\xff\xff\xff\xff\x0f", "a list of"),
        (b"\x18\xff\xff\xff\xff\x0f", "bytes are announced"),
        (b"\x1c" * 100, "levels deep"),
        (b"\x16" + b"\xff" * 12, "more than ten bytes"),
        (b"\x1d\x00", "a value of kind 13"),
        (b"", "bytes are announced"),
    ],
)
def test_what_a_footer_announces_is_not_believed(text: bytes, error: str) -> None:
    tracemalloc.start()
    with pytest.raises(ExportError, match=error):
        parse(text)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_where_no_file_ends_is_said(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no Parquet file ends at byte 100"):
        read_footer(shard, 100)
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1" + (1 << 30).to_bytes(4, "little") + MAGIC)
    with pytest.raises(ExportError, match="no room"):
        read_footer(bad, 12)
