"""Shards as files: layout, hash, and frames that are never copied into Python objects."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vladata.exporters._frames import image_chunks
from vladata.exporters._parquet import ShardWriter, image_array, list_array, matrix_array

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class StoredFrames:
    """Frames that lie end to end."""

    def __init__(self, sizes: list[int]) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.data = np.random.default_rng(0).bytes(int(self.offsets[-1]))
        self.bytes_read = 0

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def read_range(self, start: int, stop: int) -> tuple[bytes, NDArray[np.int64]]:
        self.bytes_read += int(self.offsets[stop] - self.offsets[start])
        return self.data[self.offsets[start] : self.offsets[stop]], self.offsets[start : stop + 1] - self.offsets[start]

    def frame(self, index: int) -> bytes:
        return self.data[self.offsets[index] : self.offsets[index + 1]]


@given(data=st.data(), sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30))
@settings(max_examples=200)
def test_frames_in_any_order_are_the_frames_asked_for(data: st.DataObject, sizes: list[int]) -> None:
    frames = StoredFrames(sizes)
    index = np.array(data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=40)), dtype=np.int32)
    rows = [v for chunk in image_chunks(frames, index) for v in chunk.to_pylist()]
    assert rows == [{"bytes": frames.frame(i), "path": None} for i in index]


def test_neighbours_are_read_together_and_once() -> None:
    frames = StoredFrames([100] * 50)
    chunks = image_chunks(frames, np.array([5, 5, 6, 7, 8, 8, 9]))
    assert frames.bytes_read == 500
    assert sum(map(len, chunks)) == 7
    far = StoredFrames([100] * 50)
    image_chunks(far, np.array([0, 49]))
    assert far.bytes_read == 200


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, list[bytes]]:
    frames = [np.random.default_rng(i).bytes(40_000 + i) for i in range(60)]
    item = pa.list_(pa.list_(pa.float32(), 2), 3)
    schema = pa.schema([("task", pa.string()), ("i.image", IMAGE), ("chunk", item), ("codes", pa.list_(pa.int32()))])
    path = tmp_path / "a.parquet"
    with ShardWriter(path, schema, ["i.image"]) as writer:
        for start in (0, 30):
            own = frames[start : start + 30]
            offsets = np.cumsum([0, *map(len, own)])
            writer.write(
                {
                    "task": pa.array(["pick"] * 30),
                    "i.image": image_array(b"".join(own), offsets),
                    "chunk": matrix_array(np.arange(180, dtype=np.float32).reshape(30, 3, 2)),
                    "codes": list_array(np.arange(90, dtype=np.int32).reshape(30, 3)),
                }
            )
        written = writer.close()
    assert written.size == path.stat().st_size
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    return path, frames


def test_a_shard_reads_back(shard: tuple[Path, list[bytes]]) -> None:
    path, frames = shard
    table = pq.read_table(path)
    assert [r["bytes"] for r in table["i.image"].to_pylist()] == frames
    assert table["chunk"][1].as_py() == [[6.0, 7.0], [8.0, 9.0], [10.0, 11.0]]
    assert table["codes"][31].as_py() == [3, 4, 5]


def test_images_lie_uncompressed_without_statistics_and_the_rest_is_small(shard: tuple[Path, list[bytes]]) -> None:
    metadata = pq.ParquetFile(shard[0]).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [30, 30]
    columns = {c.path_in_schema: c for c in map(metadata.row_group(0).column, range(metadata.num_columns))}
    image = columns["i.image.bytes"]
    assert (image.compression, image.is_stats_set, image.has_dictionary_page) == ("UNCOMPRESSED", False, False)
    assert image.has_offset_index
    assert {c.compression for n, c in columns.items() if n != "i.image.bytes"} == {"ZSTD"}
    assert columns["task"].has_dictionary_page


def test_rows_of_different_lengths_are_lists() -> None:
    rows = [np.array(r, dtype=np.int32) for r in ([1, 2], [], [3])]
    assert list_array(rows).to_pylist() == [[1, 2], [], [3]]
    assert list_array([]).to_pylist() == []
