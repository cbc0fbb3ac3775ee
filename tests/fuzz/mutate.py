"""Seeded changes of one file: of its bytes, or of what is in it where its format is known."""

import contextlib
import io
import json
import re
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from vladata.sources._tfrecord import masked_crc32c

Change = Callable[[bytes, Random], bytes]

INTS = (
    0,
    1,
    2,
    -1,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    2**64 - 1,
)
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 1e308, -0.5, float("nan"), float("inf"),
    "", "x" * 3000, "../../etc/passwd", "/dev/zero", "\x00", "\x1b[2J", "nan", "-1", "1e999", "\ud800", "{}", [], {},
    [[]], [None], [0] * 50, {"a": {"b": []}}, [1, "a", None], "v9.9", "{episode_index:09999999d}", "a/b\\c",
)  # fmt: skip
"""What a number, text or list may be replaced by."""


def mutate(data: bytes, name: str, rng: Random, others: list[bytes]) -> tuple[bytes, list[str]]:
    """Change a file one to four times.

    Args:
        data: The whole file, valid.
        name: Of the file; its ending says which format it has.
        rng: The only source of chance.
        others: Files of other recordings, to splice from.

    Returns:
        The changed file, and the names of the changes.
    """
    done = []
    inner = structured(data, name)
    if inner is not None and rng.random() < 0.6:
        with contextlib.suppress(Exception):  # a change that does not fit this file
            changed = inner(data, rng)
            if changed != data:
                data = changed
                done.append(inner.__name__)
    if done and rng.random() < 0.8:
        return data, done
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        change = rng.choice(BYTES)
        data = splice(data, rng, others) if change is splice else change(data, rng)  # type: ignore[call-arg]
        done.append(change.__name__)
    return data, done


def structured(data: bytes, name: str) -> Change | None:
    """The change that knows a file's format; None where none does."""
    endings: dict[str, Change] = {
        ".json": change_json, ".zarray": change_json, ".zgroup": change_json, ".jsonl": change_json_lines,
        ".yaml": change_lines, ".csv": change_csv, ".parquet": change_parquet, ".db3": change_sqlite,
        ".zip": change_zip, ".h5": change_hdf5, ".hdf5": change_hdf5, ".mcap": change_mcap, ".bag": change_bag,
        ".mp4": change_boxes, ".zstd": change_zstd, ".txt": change_lines,
    }  # fmt: skip
    if ".tfrecord" in name:
        return change_tfrecord
    return next((change for ending, change in endings.items() if name.endswith(ending)), None)


# Bytes --------------------------------------------------------------------------------------------------------------


def flip_bits(data: bytes, rng: Random) -> bytes:
    """Turn a few bits."""
    octets = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if octets else 0):
        octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)
    return bytes(octets)


def set_bytes(data: bytes, rng: Random) -> bytes:
    """Write a run of one value, or of chance."""
    begin, size = _span(data, rng, 64)
    value = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b" ", b"A", None))
    run = rng.randbytes(size) if value is None else value * size
    return data[:begin] + run + data[begin + size :]


def cut(data: bytes, rng: Random) -> bytes:
    """Cut off the end, seldom the beginning."""
    place = rng.randrange(len(data) + 1)
    return data[place:] if rng.random() < 0.1 else data[:place]


def insert(data: bytes, rng: Random) -> bytes:
    """Insert chance."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 4, 8, 100))) + data[place:]


def delete(data: bytes, rng: Random) -> bytes:
    """Leave a run out."""
    begin, size = _span(data, rng, rng.choice((1, 4, 64, 4096)))
    return data[:begin] + data[begin + size :]


def repeat(data: bytes, rng: Random) -> bytes:
    """Write a run twice, or elsewhere."""
    begin, size = _span(data, rng, 512)
    place = rng.choice((begin, rng.randrange(len(data) + 1)))
    return data[:place] + data[begin : begin + size] + data[place:]


def set_number(data: bytes, rng: Random) -> bytes:
    """Write a number that may be a length, of one to eight bytes and either order."""
    size = rng.choice((1, 2, 4, 4, 8, 8))
    if len(data) < size:
        return data
    place = rng.randrange(len(data) - size + 1)
    order = rng.choice(("little", "big"))
    old = int.from_bytes(data[place : place + size], order)
    value = rng.choice((*INTS, len(data), len(data) - place, old + 1, old - 1, old * 2, old ^ 1 << (8 * size - 1)))
    return data[:place] + (value % 2 ** (8 * size)).to_bytes(size, order) + data[place + size :]


def splice(data: bytes, rng: Random, others: list[bytes]) -> bytes:
    """Put a piece of another file in."""
    other = rng.choice(others) if others else data
    begin, size = _span(other, rng, 2048)
    place = rng.randrange(len(data) + 1)
    end = min(len(data), place + (size if rng.random() < 0.5 else 0))
    return data[:place] + other[begin : begin + size] + data[end:]


BYTES: tuple[Change, ...] = (
    flip_bits, flip_bits, set_bytes, cut, insert, delete, repeat, set_number, set_number, splice,  # type: ignore[assignment]
)  # fmt: skip


def _span(data: bytes, rng: Random, most: int) -> tuple[int, int]:
    begin = rng.randrange(len(data) + 1)
    return begin, min(len(data) - begin, rng.randint(1, most))


# Texts --------------------------------------------------------------------------------------------------------------


def change_json(data: bytes, rng: Random) -> bytes:
    """Replace, remove, rename or repeat a member somewhere in a document."""
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 2))):
        document = _changed_tree(document, rng)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _changed_tree(document: object, rng: Random) -> object:
    places: list[tuple[object, object]] = []

    def walk(node: object) -> None:
        children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in children:
            places.append((node, key))
            walk(child)

    walk(document)
    if not places:
        return rng.choice(VALUES)
    parent, key = rng.choice(places)
    assert isinstance(parent, dict | list)
    kind = rng.random()
    if kind < 0.6:
        parent[key] = rng.choice(VALUES)  # type: ignore[index]
    elif kind < 0.75:
        del parent[key]  # type: ignore[arg-type]
    elif kind < 0.85:
        other, other_key = rng.choice(places)
        parent[key] = json.loads(json.dumps(other[other_key]))  # type: ignore[index]
    elif isinstance(parent, dict):
        parent[str(rng.choice((*VALUES, *(k for _, k in places))))] = parent.pop(key)
    else:
        parent.insert(0, parent[key])  # type: ignore[call-overload]
    return document


def change_json_lines(data: bytes, rng: Random) -> bytes:
    """Change a line as JSON, or the lines."""
    lines = data.split(b"\n")
    filled = [k for k, line in enumerate(lines) if line.strip()]
    if filled and rng.random() < 0.7:
        k = rng.choice(filled)
        lines[k] = change_json(lines[k], rng)
        return b"\n".join(lines)
    return change_lines(data, rng)


def change_lines(data: bytes, rng: Random) -> bytes:
    """Change a word or a number of a text, or move, repeat or remove a line."""
    lines = data.split(b"\n")
    k = rng.randrange(len(lines))
    kind = rng.random()
    if kind < 0.15:
        del lines[k]
    elif kind < 0.3:
        lines.insert(rng.randrange(len(lines) + 1), lines[k])
    elif kind < 0.4:
        lines[k] = b"  " + lines[k]
    else:
        words = list(re.finditer(rb"[\w./+-]+", lines[k]))
        if words:
            word = rng.choice(words)
            value = str(rng.choice(VALUES)).encode("utf-8", "surrogatepass")
            lines[k] = lines[k][: word.start()] + value + lines[k][word.end() :]
    return b"\n".join(lines)


def change_csv(data: bytes, rng: Random) -> bytes:
    """Change a cell, a row or a column of a table."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    k = rng.randrange(len(rows))
    column = rng.randrange(len(rows[0]))
    cells = (
        b"", b" ", b"nan", b"inf", b"-inf", b"1e400", b"9" * 400, b"0x10", b"1_000", b"\xff\xfe", b"\0", b'"', b'"\n"',
        b"1,5", b"True", b"2026-01-01T00:00:00Z", b"1700000000000000000000", b"-1e-400", b"=1+1", b"\xd9\xa1", b"1;2",
    )  # fmt: skip
    kind = rng.random()
    if kind < 0.5:
        rows[k][min(column, len(rows[k]) - 1)] = rng.choice(cells)
    elif kind < 0.6:
        for row in rows:
            row[column : column + 1] = [rng.choice(cells)] * rng.choice((0, 1, 2))
    elif kind < 0.7:
        rows[0] = [rng.choice(rows[0])] * len(rows[0])
    elif kind < 0.8:
        rows.insert(rng.randrange(len(rows) + 1), list(rng.choice(rows)))
    elif kind < 0.9:
        return data.replace(b",", rng.choice((b";", b"\t", b",,", b" , "))).replace(
            b"\n", rng.choice((b"\n", b"\r\n", b"\r"))
        )
    else:
        return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\n\n", b"# comment\n")) + data
    return b"\n".join(b",".join(row) for row in rows)


# Containers ---------------------------------------------------------------------------------------------------------


def _two_of(options: tuple[Change, ...], data: bytes, rng: Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2))):
        data = rng.choice(options)(data, rng)
    return data


_PIECE: tuple[Change, ...] = (flip_bits, set_bytes, cut, insert, delete, repeat, set_number, set_number)


def change_zip(data: bytes, rng: Random) -> bytes:
    """Change a member, its name, or the list of members."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = [(i.filename, source.read(i)) for i in source.infolist()]
    k = rng.randrange(len(members))
    name, content = members[k]
    kind = rng.random()
    if kind < 0.65:
        inner = structured(content, name)
        members[k] = name, inner(content, rng) if inner else _two_of(_PIECE, content, rng)
    elif kind < 0.75:
        del members[k]
    elif kind < 0.85:
        members[k] = rng.choice(("../x", "/x", "", "data", "a" * 500, name + "/", "meta/.zarray")), content
    else:
        members.append((name, rng.choice(members)[1]))
    target = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(target, "w", method) as out:
        for member, value in members:
            out.writestr(zipfile.ZipInfo(member or "x"), value)
    return target.getvalue()


def change_tfrecord(data: bytes, rng: Random) -> bytes:
    """Change a record and give it right checksums."""
    records, place = [], 0
    while place + 16 <= len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        records.append(data[place + 12 : place + 12 + size])
        place += size + 16
    k = rng.randrange(len(records))
    records[k] = _two_of(_PIECE, records[k], rng)
    out = b""
    for record in records:
        head = struct.pack("<Q", len(record))
        out += head + struct.pack("<I", masked_crc32c(head)) + record + struct.pack("<I", masked_crc32c(record))
    return out


def change_parquet(data: bytes, rng: Random) -> bytes:
    """Change the footer's bytes, or a column of the table."""
    if rng.random() < 0.5:
        (size,) = struct.unpack_from("<I", data, len(data) - 8)
        begin = len(data) - 8 - size
        footer = _two_of(_PIECE, data[begin:-8], rng)
        length = rng.choice((len(footer), len(footer), len(footer), size, rng.choice(INTS) % 2**32))
        return data[:begin] + footer + struct.pack("<I", length) + b"PAR1"
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    names = table.column_names
    k = rng.randrange(len(names))
    count = len(table)
    fillings: tuple[Callable[[], object], ...] = (
        lambda: pa.nulls(count),
        lambda: pa.array(["x"] * count),
        lambda: pa.array([None, *range(count - 1)]),
        lambda: pa.array([[0.5] * (i % 4) for i in range(count)]),
        lambda: pa.array([[[1]] for _ in range(count)]),
        lambda: pa.array([float("nan")] * count),
        lambda: pa.array([2**62 + i for i in range(count)]),
        lambda: pa.array([-i for i in range(count)]),
        lambda: pa.array([b"\xff\xd8\xff"] * count),
        lambda: pa.array([{"bytes": None, "path": "../../x.png"}] * count),
        lambda: pa.array([True] * count),
        lambda: pa.array([rng.choice(INTS[:12]) for _ in range(count)], type=pa.int64()),
        lambda: pa.array(["a", *["b"] * (count - 1)]).dictionary_encode(),
    )
    kind = rng.random()
    if kind < 0.6:
        table = table.set_column(k, names[k], rng.choice(fillings)())  # type: ignore[arg-type]
    elif kind < 0.7:
        table = table.drop_columns([names[k]])
    elif kind < 0.8:
        table = table.rename_columns([str(rng.choice((n, rng.choice(names)))) for n in names])
    elif kind < 0.9:
        table = table.slice(rng.randrange(count + 1), rng.randrange(count + 1))
    else:
        table = pa.concat_tables([table, table.slice(0, 1)])
    out = io.BytesIO()
    pq.write_table(table, out, compression=rng.choice(("snappy", "none", "zstd", "gzip")))
    return out.getvalue()


def change_sqlite(data: bytes, rng: Random) -> bytes:
    """Change a value, a column or a table of a database."""
    with tempfile.NamedTemporaryFile(suffix=".db3") as file:
        Path(file.name).write_bytes(data)
        database = sqlite3.connect(file.name, isolation_level=None)
        database.text_factory = bytes
        database.execute("pragma journal_mode=off")
        tables = [t[0].decode() for t in database.execute("select name from sqlite_master where type='table'")]
        table = rng.choice([*tables, "messages", "topics"])
        columns = [c[1].decode() for c in database.execute(f"pragma table_info({table})")]
        column = rng.choice(columns)
        rows = [r[0] for r in database.execute(f"select rowid from {table}")]
        kind = rng.random()
        if kind < 0.7 and rows:
            row = rng.choice(rows)
            (old,) = database.execute(f"select {column} from {table} where rowid=?", (row,)).fetchone()
            new: object
            if isinstance(old, bytes) and rng.random() < 0.8:
                new = _two_of(_PIECE, old, rng)
            else:
                new = rng.choice((None, "", "x", b"", b"\0" * 9, 0, -1, 2**62, -(2**63), 1.5, "../../x"))
            database.execute(f"update {table} set {column}=? where rowid=?", (new, row))
        elif kind < 0.8:
            database.execute(f"alter table {table} rename column {column} to x")
        elif kind < 0.9:
            database.execute(f"delete from {table}" + rng.choice(("", " where rowid % 2")))
        else:
            name = rng.choice(("messages", "topics"))
            database.execute(f"alter table {name} rename to x")
            if rng.random() < 0.5:  # a view that never ends
                endless = (
                    "with recursive r(n) as (select 1 union all select n + 1 from r) select n as id, n as topic_id, "
                )
                database.execute(
                    f"create view {name} as {endless} n as timestamp, 'x' as name, 'y' as type, x'00' as data, "
                    "'cdr' as serialization_format, '' as offered_qos_profiles from r"
                )
        database.close()
        return Path(file.name).read_bytes()


def change_hdf5(data: bytes, rng: Random) -> bytes:
    """Replace, remove or move a dataset, or change an attribute."""
    import h5py
    import numpy as np

    with tempfile.NamedTemporaryFile(suffix=".h5") as temporary:
        Path(temporary.name).write_bytes(data)
        with h5py.File(temporary.name, "r+") as file:
            groups: list[str] = []
            datasets: list[str] = []
            file.visititems(lambda n, o: (datasets if isinstance(o, h5py.Dataset) else groups).append(n))
            name = rng.choice(datasets)
            shape = file[name].shape
            count = shape[0] if shape else 1
            kind = rng.random()
            if kind < 0.55:
                del file[name]
                _odd_dataset(file, name, count, rng, np)
            elif kind < 0.65:
                del file[rng.choice([*datasets, *groups])]
            elif kind < 0.75:
                file.move(name, rng.choice((name + "_1", "x", "data/demo_99/actions", "observations/qpos/x")))
            elif kind < 0.8:
                file[name + "_link"] = rng.choice(
                    (h5py.SoftLink("/"), h5py.SoftLink("/" + name), h5py.ExternalLink("/etc/passwd", "/"))
                )
            else:
                place = file[rng.choice([*groups, name, "/"])]
                keys = list(place.attrs) or ["x"]
                value = rng.choice((0, -1, 2**62, "x", "{}", "[" * 2000, "", b"\xff", np.zeros(3), np.zeros((0,)), True,
                                    float("nan"), np.array(["a", "b"], dtype=object)))  # fmt: skip
                place.attrs[rng.choice([*keys, "num_samples", "env_args", "sim"])] = value
        return Path(temporary.name).read_bytes()


def _odd_dataset(file: object, name: str, count: int, rng: Random, np: object) -> None:
    import h5py
    import numpy

    odd: tuple[Callable[[], object], ...] = (
        lambda: numpy.zeros(0),
        lambda: numpy.zeros((count, 0)),
        lambda: 1.5,
        lambda: "text",
        lambda: numpy.full((count, 3), numpy.nan),
        lambda: numpy.zeros((count + 1, 14), numpy.float16),
        lambda: numpy.zeros((count, 2, 2, 2, 2), numpy.int8),
        lambda: numpy.array([b"\xff\xfe"] * count),
        lambda: numpy.zeros(count, dtype=[("a", "f8"), ("b", "S3")]),
        lambda: numpy.zeros(count, dtype=complex),
        lambda: numpy.arange(count)[::-1] * -(2**60),
        lambda: h5py.Empty("f4"),
        lambda: numpy.zeros((count, 4), ">u8"),
        lambda: numpy.zeros(count, bool),
    )
    kind = rng.random()
    if kind < 0.8:
        file[name] = rng.choice(odd)()  # type: ignore[index]
    elif kind < 0.9:  # declared, and nearly nothing stored
        file.create_dataset(name, shape=(count, 10 ** rng.randint(1, 9)), dtype="u1", chunks=(1, 1000))  # type: ignore[attr-defined]
    elif kind < 0.95:
        target = file.create_dataset(name, (count,), dtype=h5py.vlen_dtype(numpy.uint8))  # type: ignore[attr-defined]
        target[0] = numpy.frombuffer(rng.randbytes(5), numpy.uint8)
    else:
        file.create_group(name)  # type: ignore[attr-defined]


def change_mcap(data: bytes, rng: Random) -> bytes:
    """Write the messages anew, some changed, with right checksums."""
    from mcap.reader import make_reader
    from mcap.writer import CompressionType, Writer

    out = io.BytesIO()
    writer = Writer(out, chunk_size=4000, compression=rng.choice((CompressionType.NONE, CompressionType.ZSTD)))
    writer.start(profile=rng.choice(("", "ros2", "x")))
    messages = list(make_reader(io.BytesIO(data)).iter_messages(log_time_order=False))
    changed = set(rng.sample(range(len(messages)), min(len(messages), rng.choice((0, 1, 3, len(messages))))))
    target = rng.choice(("data", "time", "schema", "channel")) if changed else rng.choice(("schema", "channel"))
    schemas: dict[int, int] = {}
    channels: dict[int, int] = {}
    for k, (schema, channel, message) in enumerate(messages):
        if schema is not None and schema.id not in schemas:
            name, encoding, text = schema.name, schema.encoding, schema.data
            if target == "schema":
                kind = rng.random()
                if kind < 0.6:
                    text = change_lines(text, rng) if rng.random() < 0.5 else _two_of(_PIECE, text, rng)
                elif kind < 0.8:
                    name = rng.choice(("sensor_msgs/msg/Image", "sensor_msgs/msg/JointState", "", "x", name + "_Event"))
                else:
                    encoding = rng.choice(("", "ros2msg", "ros2idl", "jsonschema", "protobuf", "ros1msg"))
            schemas[schema.id] = writer.register_schema(name, encoding, text)
        if channel.id not in channels:
            topic, encoding = channel.topic, channel.message_encoding
            if target == "channel" and rng.random() < 0.5:
                topic = rng.choice(("", "/same", "\x1b[0m", topic + "/" * 500, topic))
                encoding = rng.choice(("", "cdr", "json", "protobuf", "ros1", encoding))
            channels[channel.id] = writer.register_channel(topic, encoding, schemas.get(channel.schema_id, 0))
        content, log, publish = message.data, message.log_time, message.publish_time
        if k in changed and target == "data":
            content = _two_of(_PIECE, content, rng)
        if k in changed and target == "time":
            log, publish = rng.choice((0, 1, 2**63 - 1, 2**63, 2**64 - 1, log - 10**12)), rng.choice((0, publish))
        writer.add_message(channels[channel.id], log, content, max(0, publish), k)
    writer.finish()
    return out.getvalue()


def change_bag(data: bytes, rng: Random) -> bytes:
    """Change a header's length or field in a ROS 1 bag."""
    places = [
        m.start() for m in re.finditer(rb"(op|conn|size|count|topic|type|time|compression|chunk_pos|index_pos)=", data)
    ]
    place = rng.choice(places)
    end = place + rng.choice((4, 8, 12, 24))
    piece = _two_of(_PIECE, data[place - 4 : end], rng)
    if rng.random() < 0.7:  # keep the places of the rest
        piece = piece[: end - place + 4].ljust(end - place + 4, b"\0")
    return data[: place - 4] + piece + data[end:]


def change_boxes(data: bytes, rng: Random) -> bytes:
    """Change the inside of a box of an MP4 that describes the video."""
    names = rb"mvhd|tkhd|mdhd|hdlr|stsd|avcC|stts|ctts|stsz|stsc|stco|co64|stss|elst|edts|moov|trak|minf|stbl|ftyp|mdat"
    places = [m.start() for m in re.finditer(names, data)]
    begin = rng.choice(places) - 4
    size = min(len(data) - begin, rng.choice((8, 16, 24, 64)))
    piece = _two_of(_PIECE, data[begin : begin + size], rng)
    if rng.random() < 0.7:
        piece = piece[:size].ljust(size, b"\0")
    return data[:begin] + piece + data[begin + size :]


def change_zstd(data: bytes, rng: Random) -> bytes:
    """Change what is compressed."""
    import zstandard

    plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=2**26)
    inner = change_sqlite if plain.startswith(b"SQLite") else None
    changed = inner(plain, rng) if inner and rng.random() < 0.6 else _two_of(_PIECE, plain, rng)
    return zstandard.ZstdCompressor().compress(changed)
