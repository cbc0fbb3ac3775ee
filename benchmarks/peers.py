"""What people write who have no vladata: the usual libraries, used as their guides show."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

from .copying import commit, sha256_of, write_index_like

__all__ = ["mcap_to_rows", "write_by_datasets"]


def mcap_to_rows(source: Path, folder: Path) -> None:
    """Decode with mcap and mcap-ros2-support, store frames as variable-length HDF5 rows, commit as vladata does.

    Nothing is synchronized or checked, which vladata does in its time.
    """
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    temporary, path = folder / ".rows.tmp", folder / "rows.h5"
    digests: dict[str, list[int]] = defaultdict(list)
    numbers: dict[str, list[Any]] = defaultdict(list)
    times: dict[str, list[int]] = defaultdict(list)
    with source.open("rb") as stream, h5py.File(temporary, "w") as file:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        frames = _frame_rows(reader.get_summary(), file)
        for schema, channel, message, decoded in reader.iter_decoded_messages():
            times[channel.topic].append(message.log_time)
            if schema.name.endswith("CompressedImage"):
                row = np.frombuffer(decoded.data, dtype=np.uint8)
                frames[channel.topic][len(digests[channel.topic])] = row
                digests[channel.topic].append(xxhash.xxh3_64_intdigest(row))
            elif schema.name.endswith("JointState"):
                numbers[channel.topic].append(decoded.position)
            elif schema.name.endswith("MultiArray"):
                numbers[channel.topic].append(decoded.data)
        for topic, rows in numbers.items():
            file.create_dataset(f"{topic}/values", data=np.array(rows))
        for topic, stamps in times.items():
            file.create_dataset(f"{topic}/time_ns", data=np.array(stamps))
    with h5py.File(temporary, "r") as file:
        for topic, expected in digests.items():
            rows = file[f"{topic}/frames"]
            assert [xxhash.xxh3_64_intdigest(rows[k]) for k in range(len(rows))] == expected
    commit(temporary, path)
    sha256_of(source)
    sha256_of(path)
    write_index_like(folder)


def _frame_rows(summary: Any, file: h5py.File) -> dict[str, h5py.Dataset]:
    found = {}
    for number, count in summary.statistics.channel_message_counts.items():
        channel = summary.channels[number]
        if summary.schemas[channel.schema_id].name.endswith("CompressedImage"):
            kind = h5py.vlen_dtype(np.uint8)
            found[channel.topic] = file.create_dataset(f"{channel.topic}/frames", shape=(count,), dtype=kind)
    return found


def write_by_datasets(
    rows: Callable[[], Iterator[dict[str, Any]]], features: Any, folder: Path, *, is_committed: bool = False
) -> None:
    """Dataset.from_generator, then to_parquet.

    Nothing is hashed or synced, which vladata does in its time; with `is_committed`, what was written is.
    """
    import datasets

    datasets.disable_progress_bars()
    # A fingerprint spares it from pickling the rows to find out whether it has seen them.
    made = datasets.Dataset.from_generator(
        rows, features=features, cache_dir=str(folder / "cache"), fingerprint=folder.name
    )
    made.to_parquet(folder / ".rows.tmp")
    if is_committed:
        commit(folder / ".rows.tmp", folder / "rows.parquet")
        sha256_of(folder / "rows.parquet")
