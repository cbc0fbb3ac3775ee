"""Storage files of ROS 2 bags in SQLite.

The file comes from a stranger: it is opened read-only and as immutable (so that no journal beside it is looked at),
nothing but plain tables is asked, and rows are counted against the file's size.
Schema: https://github.com/ros2/rosbag2/tree/rolling/rosbag2_storage_sqlite3.
"""

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import SourceError
from ..text import clip, printable
from ..workers import beat
from ._mcap_file import Channel, Message

__all__ = ["MAGIC", "SqliteStore", "is_bag_file", "tables_problem"]

MAGIC = b"SQLite format 3\0"

MIB = 1 << 20
MAX_VALUE = 256 * MIB
"""Largest text or message."""
MAX_TOPICS = 10_000
MAX_ROWID = 1 << 38
MAX_MAIN = 1 << 20
"""Largest schema text of the tables."""

_NEEDED = {
    "topics": {"id", "name", "type", "serialization_format"},
    "messages": {"id", "topic_id", "timestamp", "data"},
}
_DAMAGE = (sqlite3.Error, UnicodeError)
"""What a damaged database raises; sqlite3 can't decode its own message where a schema's text is not UTF-8."""
_DEFINITIONS = {"topic_type", "encoding", "encoded_message_definition"}


def _connect(path: Path) -> sqlite3.Connection:
    """Open a file so that it can neither be changed nor do anything by itself."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in ("trusted_schema = 0", "cell_size_check = 1", "query_only = 1", "mmap_size = 0", "temp_store = 2"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _columns(connection: sqlite3.Connection, table: str) -> set[str] | None:
    """Columns of a plain table; None where there is none of that name, or it is no plain table with row numbers."""
    query = "SELECT type, length(sql), sql FROM sqlite_master WHERE name = ? COLLATE NOCASE"
    rows = connection.execute(query, (table,)).fetchall()
    if len(rows) != 1 or rows[0][0] != b"table" or not isinstance(rows[0][2], bytes) or rows[0][1] > MAX_MAIN:
        return None
    words = rows[0][2].upper().split()
    if words[:2] != [b"CREATE", b"TABLE"] or b"WITHOUT" in words:
        return None
    found = set()
    for _, name, type_, _, _, key, hidden in connection.execute(f"PRAGMA table_xinfo({table})"):
        column = name.decode("utf-8", "replace").lower()
        # A computed column is code out of the file; and rows are only in the order of an id that is the row's number.
        if hidden or (column == "id" and (key != 1 or type_.upper() != b"INTEGER")):
            return None
        found.add(column)
    return found


def tables_problem(connection: sqlite3.Connection) -> str:
    """Say why a database is no bag; empty where it is."""
    for table, needed in _NEEDED.items():
        columns = _columns(connection, table)
        if columns is None:
            return f"has no plain table {table!r}; a rosbag2 file has topics and messages"
        if not needed <= columns:
            return f"table {table!r} has no column {min(needed - columns)!r}; a rosbag2 file has one"
    return ""


def is_bag_file(path: Path) -> bool:
    """Whether an SQLite file has the tables of a bag."""
    try:
        with contextlib.closing(_connect(path)) as connection:
            return not tables_problem(connection)
    except (*_DAMAGE, OverflowError, MemoryError):
        return False


class SqliteStore:
    """One open storage file: its topics, one walk over its messages, and messages by their number."""

    def __init__(self, path: Path, name: str) -> None:
        """Open a file.

        Args:
            path: Of the file; it can be removed as soon as this is made.
            name: For messages.

        Raises:
            SourceError: It is no bag, or damaged.
        """
        self._name = name
        self.channels: dict[int, Channel] = {}
        self.distro = ""
        """ROS distribution of the recorder; empty where the file doesn't say."""
        self.num_messages = 0
        self.notes: list[str] = []
        self.is_lossy = False
        """Whether the walk ended at damage."""
        try:
            self._connection = _connect(path)
        except _DAMAGE as error:
            raise SourceError(f"{name}: {_shown(error)}") from error
        try:
            self._open()
        except _DAMAGE as error:
            self.close()
            raise SourceError(f"{name}: damaged database: {_shown(error)}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> None:
        problem = tables_problem(self._connection)
        if problem:
            raise SourceError(f"{self._name}: the database {problem}")
        definitions = self._definitions()
        query = "SELECT id, name, type, serialization_format FROM topics ORDER BY id LIMIT ?"
        for number, *values in self._connection.execute(query, (MAX_TOPICS + 1,)):
            topic, type_, form = (_text(v) for v in values)
            encoding, definition = definitions.get(type_, ("", b""))
            self.channels[number] = Channel(number, topic, form, type_, encoding, definition)
        if len(self.channels) > MAX_TOPICS:
            raise SourceError(f"{self._name}: more than {MAX_TOPICS:,} topics")
        if "ros_distro" in (_columns(self._connection, "schema") or ()):
            row = self._connection.execute("SELECT ros_distro FROM schema LIMIT 1").fetchone()
            self.distro = clip(printable(_text(row[0])), 40) if row else ""

    def _definitions(self) -> dict[str, tuple[str, bytes]]:
        """Language and text by type; files of ROS 2 before Iron have none."""
        if not (_columns(self._connection, "message_definitions") or set()) >= _DEFINITIONS:
            return {}
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions LIMIT ?"
        found: dict[str, tuple[str, bytes]] = {}
        for type_, encoding, text in self._connection.execute(query, (MAX_TOPICS,)):
            if isinstance(text, bytes):
                found.setdefault(_text(type_), (_text(encoding), text))
        return found

    def messages(self, wanted: Collection[int] | None = None) -> Iterator[Message]:
        """All messages in the order in which they were written.

        Args:
            wanted: Topics whose messages are read, the others come empty; None: all.

        A message's block is its row, offsets count from its first byte. Where the file turns out damaged, what was
        read up to there is all, and the notes say so.

        Raises:
            SourceError: A row is no message.
        """
        data = (
            "data"
            if wanted is None
            else f"CASE WHEN topic_id IN ({','.join(str(int(w)) for w in wanted)}) THEN data END"
        )
        query = f"SELECT id, topic_id, timestamp, {data} FROM messages NOT INDEXED ORDER BY id"
        last = None
        try:
            for row in self._connection.execute(query):
                if last is not None and row[0] <= last:
                    raise sqlite3.DatabaseError(f"row {row[0]} comes after row {last}")
                last = row[0]
                yield self._message(row, is_skipped=wanted is not None and row[1] not in wanted)
                self.num_messages += 1
                if self.num_messages % 1024 == 0:
                    beat()
        except (*_DAMAGE, OverflowError) as error:
            self.is_lossy = True
            self.notes.append(
                f"{self._name} is damaged ({_shown(error)}): {self.num_messages:,} messages up to there were read"
            )

    def _message(self, row: tuple[object, ...], *, is_skipped: bool) -> Message:
        number, topic, time_ns, data = row
        where = f"{self._name}: message {number}"
        if not isinstance(number, int) or not 0 <= number < MAX_ROWID:
            raise SourceError(f"{where}: its number must be from 0 to {MAX_ROWID:,}")
        if not isinstance(topic, int) or topic not in self.channels:
            raise SourceError(
                f"{where} is of topic {clip(printable(str(topic)), 40)}, which is not in the table topics"
            )
        if not isinstance(time_ns, int) or time_ns < 0:
            raise SourceError(f"{where} has timestamp {clip(printable(str(time_ns)), 40)}; must be ns from 0 on")
        if is_skipped:
            data = b""
        if not isinstance(data, bytes):
            raise SourceError(f"{where} has no bytes as its data")
        return Message(topic, number, time_ns, time_ns, number, 0, memoryview(data))

    def data(self, number: int) -> memoryview:
        """A message's bytes.

        Raises:
            SourceError: It is not there any more.
        """
        try:
            row = self._connection.execute("SELECT data FROM messages WHERE id = ?", (number,)).fetchone()
        except _DAMAGE as error:
            raise SourceError(f"{self._name}: message {number}: {_shown(error)}") from error
        if row is None or not isinstance(row[0], bytes):
            raise SourceError(f"{self._name}: the file was changed while it was read")
        return memoryview(row[0])


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _shown(error: Exception) -> str:
    return clip(printable(str(error)), 120)
