"""Tables of text, CSV and JSON lines: read row by row, within limits.

Cells stay as they are written until a column is asked for as numbers, texts or stamps, so that no stamp passes
through a float.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import GateError, SourceError
from ..text import clip, printable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MISSING", "CsvTable", "JsonTable", "TextTable"]

MAX_LINE = 2**20
MAX_JSON_LINE = 2**22
MAX_RECORD_LINES = 1_000
"""Lines of one row of CSV: a quote that nobody closes would take the rest of the file."""
MAX_COLUMNS = 5_000
MAX_ROWS = 20_000_000
MAX_BYTES = 2**28
"""Of the cells that are asked for, as text."""
_MAX_PENDING = 2**22
_BATCH = 4096
_NESTED = 8
_LOOK_AT = 200
"""Rows of JSON lines whose keys are the columns."""

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
MISSING = frozenset({"", "nan", "null", "none", "na", "n/a"})
_FLAGS = {"true": 1, "false": 0}
_INTEGER = r"^-?[0-9]{1,18}$"
_DECIMAL = r"^[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,3})?$"

Numbers = NDArray[np.generic]


def _quoted(cell: str) -> str:
    return repr(clip(printable(cell), 60))


class TextTable:
    """What CSV and JSON lines have in common: columns of cells that are kept as text."""

    columns: tuple[str, ...]

    def __init__(self, path: Path, name: str) -> None:
        """Remember the file; nothing stays open."""
        self.path, self.name = path, name
        self.notes: list[str] = []
        self.is_cut = False
        self._cells: dict[str, list[pa.Array]] = {}
        self._widths: dict[str, int] = {}
        self._bytes = 0
        self._pending = 0
        self._count = 0

    @property
    def count(self) -> int:
        """Rows that were read, N."""
        return self._count

    def close(self) -> None:
        """Nothing is open."""

    def load(self, columns: Iterable[str]) -> None:
        """Read columns, those that are there; once.

        Raises:
            SourceError: A row is damaged or has another number of cells than there are columns; with the row.
            GateError: A limit is broken.
        """
        wanted = set(columns)
        index = [i for i, c in enumerate(self.columns) if c in wanted]
        if len({self.columns[i] for i in index}) != len(index):
            twice = sorted(c for c in wanted if self.columns.count(c) > 1)
            raise SourceError(f"{self.name}: {self.columns.count(twice[0])} columns are named {_quoted(twice[0])}")
        self._cells = {self.columns[i]: [] for i in index}
        batch: list[list[str]] = [[] for _ in index]
        for row in self.rows():
            for cells, place in zip(batch, index, strict=True):
                cell = row[place]
                if type(cell) is str and not self._widths:
                    cells.append(cell)
                    self._pending += len(cell)
                else:
                    self._add(cells, cell, place)
            self._count += 1
            if self._count % _BATCH == 0 or self._pending > _MAX_PENDING:
                self._flush(batch, index)
                if self._count >= MAX_ROWS:
                    raise GateError(f"{self.name}: more than {MAX_ROWS:,} rows; must have at most that")
        self._flush(batch, index)

    def rows(self) -> Iterator[Sequence[object]]:
        """Cells of each row, as many as there are columns: a text, or the texts of a list.

        Raises:
            SourceError: A row is damaged; with its number.
            GateError: A line is too long.
        """
        raise NotImplementedError

    def _add(self, cells: list[str], cell: object, place: int) -> None:
        if isinstance(cell, list):
            column = self.columns[place]
            if self._widths.setdefault(column, len(cell) if self._count == 0 else -1) != len(cell):
                first = self._widths[column]
                before = f"{first} values at first" if first >= 0 else "no list at first"
                raise SourceError(f"{self.name}: {column} has {before} and {len(cell)} at row {self._count}")
            cells += cell
            self._pending += sum(map(len, cell))
        elif self.columns[place] in self._widths:
            raise SourceError(f"{self.name}: {self.columns[place]} has no list at row {self._count}; must be as before")
        else:
            cells.append(str(cell))
            self._pending += len(cells[-1])

    def _flush(self, batch: list[list[str]], index: list[int]) -> None:
        import pyarrow as pa

        workers.beat()
        self._pending = 0
        for cells, place in zip(batch, index, strict=True):
            if cells:
                try:
                    array = pa.array(cells, pa.large_string())
                except UnicodeEncodeError as error:  # half a character, which JSON can write
                    where = f"{self.name}: {self.columns[place]} before row {self._count}"
                    raise SourceError(f"{where}: a text that is not Unicode") from error
                self._bytes += array.nbytes
                self._cells[self.columns[place]].append(array)
            cells.clear()
        if self._bytes > MAX_BYTES:
            raise GateError(f"{self.name}: mapped columns of more than {MAX_BYTES:,} bytes; must have at most that")

    def cells(self, column: str) -> "list[pa.Array]":
        """The cells of a loaded column as they are written, in pieces.

        Raises:
            SourceError: There is no such column.
        """
        if column not in self._cells:
            shown = clip(printable(", ".join(self.columns)), 300)
            raise SourceError(f"{self.name}: no column {_quoted(column)}; there are {shown}")
        return self._cells[column]

    def numbers(self, column: str) -> tuple[Numbers, int]:
        """Values of a column: int64, bool or float64 by what is written; [N], or [N, D] where the cells are lists.

        Returns:
            The values, and how many cells are empty or say so (nan, null, none, na): these are NaN.

        Raises:
            SourceError: No such column, or a cell that is no number; with the row.
        """
        pieces: list[Numbers] = []
        width = self._widths.get(column)
        done = missing = 0
        for array in self.cells(column):
            values, count = self._converted(array, column, done, width or 1)
            pieces.append(values)
            missing += count
            done += len(array)
        values = np.concatenate(pieces) if pieces else np.zeros(0)
        return (values if width is None else values.reshape(self._count, width)), missing

    def _converted(self, array: "pa.Array", column: str, done: int, width: int) -> tuple[Numbers, int]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if pc.all(pc.match_substring_regex(array, _INTEGER)).as_py():
            return np.asarray(array.cast(pa.int64())), 0
        if pc.all(pc.match_substring_regex(array, _DECIMAL)).as_py():
            values = np.asarray(array.cast(pa.float64()))
            if np.isfinite(values).all():
                return values, 0
        texts = [t.strip() for t in array.to_pylist()]
        folded = [t.casefold() for t in texts]
        if all(t in _FLAGS for t in folded):
            return np.array([t == "true" for t in folded]), 0
        found = np.array([self._number(t, column, (done + i) // width) for i, t in enumerate(texts)])
        return found, int(np.isnan(found).sum())

    def _number(self, text: str, column: str, row: int) -> float:
        folded = text.casefold()
        if folded in MISSING:
            return float("nan")
        if folded in _FLAGS:
            return float(_FLAGS[folded])
        where = f"{self.name}: {printable(column)} is {_quoted(text)} at row {row}"
        try:
            value = float(text) if text.isascii() and "_" not in text and len(text) <= 400 else None
        except ValueError:
            value = None
        if value is None:
            head, comma, tail = text.partition(",")
            is_comma = bool(comma) and head.lstrip("+-").isdigit() and tail.isdigit()
            raise SourceError(f"{where}, a decimal comma; must have a point" if is_comma else f"{where}; not a number")
        if np.isinf(value) and "inf" not in folded:
            raise SourceError(f"{where}; beyond the range of numbers")
        return value

    def texts(self, column: str) -> list[str] | None:
        """Cells of a column as they are written, [N]; None where they are lists."""
        if column in self._widths:
            return None
        known: dict[str, str] = {}  # instructions repeat in every row
        return [known.setdefault(t, t) for array in self.cells(column) for t in array.to_pylist()]


def _lines(path: Path, name: str, limit: int) -> Iterator[str]:
    """Lines of a file in UTF-8 with their ends, without its byte order mark."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(limit + 1):
            number += 1
            if len(line) > limit:
                raise GateError(f"{name}: line {number} has more than {limit:,} bytes; must have at most that")
            if number == 1 and line[:2] in {b"\xff\xfe", b"\xfe\xff"}:
                raise SourceError(f"{name}: UTF-16; must be UTF-8")
            if b"\0" in line:
                raise SourceError(f"{name}: line {number} has zero bytes; must be text in UTF-8")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise SourceError(f"{name}: line {number} is not UTF-8") from error


class CsvTable(TextTable):
    """Values separated by commas, semicolons or tabs, the first line naming the columns."""

    def __init__(self, path: Path, name: str) -> None:
        """Read the line of names.

        Raises:
            SourceError: Not text in UTF-8, empty, or its first line holds numbers instead of names.
            GateError: A line is too long, or there are too many columns.
        """
        super().__init__(path, name)
        first = next(_lines(path, name, MAX_LINE), "")
        counts = {d: _outside_quotes(first).count(d) for d in DELIMITERS}
        self.delimiter = max(counts, key=lambda d: counts[d])
        columns = next(self._records(), None)
        if not columns or not any(c.strip() for c in columns):
            raise SourceError(f"{name}: its first line is empty; must name the columns")
        if all(_is_number(c) for c in columns):
            shown = clip(printable(self.delimiter.join(columns)), 60)
            raise SourceError(f"{name}: its first line holds numbers ({shown}); must name the columns")
        if len(columns) > MAX_COLUMNS:
            raise GateError(f"{name}: {len(columns):,} columns; must have at most {MAX_COLUMNS:,}")
        self.columns = tuple(c.strip() for c in columns)

    def _records(self) -> Iterator[list[str]]:
        at = [0, 0]  # lines so far, and before the record

        def counted() -> Iterator[str]:
            for line in _lines(self.path, self.name, MAX_LINE):
                at[0] += 1
                if at[0] - at[1] > MAX_RECORD_LINES:
                    raise GateError(
                        f"{self.name}: the row at line {at[1] + 1} goes on for more than {MAX_RECORD_LINES:,} lines: "
                        "a quote that is not closed?"
                    )
                yield line

        try:
            for record in csv.reader(counted(), delimiter=self.delimiter, strict=True):
                if record:
                    yield record
                at[1] = at[0]
        except csv.Error as error:
            raise SourceError(f"{self.name}: line {at[0]}: {clip(printable(str(error)), 120)}") from error

    def rows(self) -> Iterator[Sequence[object]]:
        """As `TextTable.rows`; what was decided goes into the notes."""
        self.notes.append(f"{self.name}: {len(self.columns)} columns, separated by {DELIMITERS[self.delimiter]}s")
        records = self._records()
        next(records, None)
        size, short, longer = len(self.columns), -1, 0
        for row, record in enumerate(records):
            if short >= 0:
                raise SourceError(f"{self.name}: row {row - 1} has {short} cells; there are {size} columns")
            if len(record) > size:
                if any(c.strip() for c in record[size:]):
                    raise SourceError(f"{self.name}: row {row} has {len(record)} cells; there are {size} columns")
                longer += 1
            if len(record) < size:
                short = len(record)
            else:
                yield record[:size] if len(record) > size else record
        if short >= 0:
            self.is_cut = True
            self.notes.append(f"{self.name}: the last row is cut off after {short} of {size} cells; it is left out")
        if longer:
            self.notes.append(f"{self.name}: {longer} rows end in empty cells beyond the last column")


def _outside_quotes(line: str) -> str:
    return "".join(part for i, part in enumerate(line.split('"')) if i % 2 == 0)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().casefold() not in MISSING


class _Written(str):
    """A number as JSON writes it."""

    __slots__ = ()


class JsonTable(TextTable):
    """JSON lines: an object in each; inner objects give columns `outer.inner`, lists of numbers give vectors."""

    def __init__(self, path: Path, name: str) -> None:
        """Read the keys of the first lines.

        Raises:
            SourceError: A line is not a JSON object, or there are none.
            GateError: A line is too long, or there are too many keys.
        """
        super().__init__(path, name)
        seen: dict[str, None] = {}
        for _, record in zip(range(_LOOK_AT), self._records(), strict=False):
            seen.update(dict.fromkeys(record))
            if len(seen) > MAX_COLUMNS:
                raise GateError(f"{name}: more than {MAX_COLUMNS:,} keys; must have at most that")
        if not seen:
            raise SourceError(f"{name}: no JSON objects; each line must be one")
        self.columns = tuple(seen)

    def _records(self) -> Iterator[dict[str, object]]:
        lines = _lines(self.path, self.name, MAX_JSON_LINE)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line, parse_int=_Written, parse_float=_Written, parse_constant=_Written)
                is_object = isinstance(value, dict)
            except (ValueError, RecursionError) as error:
                if next(lines, None) is None and not line.endswith("\n"):
                    self.is_cut = True
                    return
                reason = clip(printable(str(error)), 80)
                raise SourceError(f"{self.name}: line {number} is not JSON: {reason}") from error
            if not is_object:
                raise SourceError(f"{self.name}: line {number} is a {type(value).__name__}; must be an object")
            record: dict[str, object] = {}
            _flatten(value, "", record, 0)
            yield record

    def rows(self) -> Iterator[Sequence[object]]:
        """As `TextTable.rows`; a key that an object lacks gives an empty cell."""
        for record in self._records():
            yield [record.get(c, "") for c in self.columns]
        if self.is_cut:
            self.notes.append(f"{self.name}: the last line is cut off; it is left out")


def _flatten(value: dict[str, object], prefix: str, into: dict[str, object], depth: int) -> None:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict):
            if depth < _NESTED:
                _flatten(inner, f"{name}.", into, depth + 1)
        elif isinstance(inner, list):
            cells = list(_cells_of(inner, 0))
            into[name] = cells or ""
        else:
            into[name] = "" if inner is None else _cell(inner)


def _cells_of(values: list[object], depth: int) -> Iterator[str]:
    for value in values:
        if isinstance(value, list) and depth < _NESTED:
            yield from _cells_of(value, depth + 1)
        else:
            yield _cell(value)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value if isinstance(value, str) else "{}"
