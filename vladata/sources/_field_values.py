"""What a path gives of message after message: numbers with their names, or texts."""

from array import array
from collections.abc import Sequence

import numpy as np

from ._field_paths import AbsentError, Tree, TreePath
from ._ros2 import CdrError, Vectors

__all__ = ["TreeNumbers", "TreeTexts"]

MAX_NAME_LISTS = 1 << 16
_NO_STAMP = -(1 << 63)
_EXACT = 1 << 53


class TreeNumbers:
    """Numbers at a path of trees; messages that have nothing there give no sample."""

    def __init__(self, tree: Tree, path: str | None, names_path: str | None = None) -> None:
        """Prepare for a path, and for the one that names its elements.

        Raises:
            CdrError: The messages can't have such a path.
        """
        self._tree = tree
        self._path = TreePath(path)
        self._names_path = TreePath(names_path) if names_path else None
        if self._names_path is not None:
            tree.number_type(self._names_path.steps)
        self.vectors = Vectors(tree.number_type(self._path.steps))
        self.names: list[tuple[str, ...]] = []
        """All lists of names that occur."""
        self.names_of = array("I")
        """Which of them each sample has."""
        self.rows = array("q")
        """Which message each sample comes from."""
        self._stamps = array("q")
        self._known: dict[tuple[str, ...], int] = {}
        self._count = 0
        self._first_absence = ""
        self.num_inexact = 0
        """Whole numbers that double precision does not hold."""

    def add(self, payload: memoryview) -> None:
        """Read one message.

        Raises:
            CdrError: The payload is no such message, or the path does not fit it.
        """
        tree = self._tree.of(payload)
        self._count += 1
        try:
            values, names = self._path.numbers(tree)
            if self._names_path is not None:
                names = self._names_path.texts(tree)
        except AbsentError as error:
            self._first_absence = self._first_absence or str(error)
            return
        if names not in self._known:
            if len(self.names) >= MAX_NAME_LISTS:
                raise CdrError(f"more than {MAX_NAME_LISTS:,} different lists of names")
            self._known[names] = len(self.names)
            self.names.append(names)
        self._append(values)
        self.names_of.append(self._known[names])
        self.rows.append(self._count - 1)
        self._stamps.append(_NO_STAMP if self._path.stamp is None else self._path.stamp)

    def _append(self, values: Sequence[int | float]) -> None:
        dtype = self.vectors.dtype
        try:
            if dtype.kind == "f":
                self.num_inexact += sum(type(v) is int and abs(v) > _EXACT and int(float(v)) != v for v in values)
            data = np.array(values, dtype=dtype)
        except (OverflowError, ValueError) as error:
            raise CdrError(f"{self._path.path}: a number is no {dtype}: {error}") from error
        self.vectors.append(data.tobytes())

    @property
    def own_stamps(self) -> "np.ndarray[tuple[int], np.dtype[np.int64]] | None":
        """Stamps of the elements that were chosen, one per sample; None where they have none of their own."""
        stamps = np.array(self._stamps, dtype=np.int64)
        return stamps if len(stamps) and bool((stamps != _NO_STAMP).all()) else None

    @property
    def absence(self) -> str:
        """Why messages gave no sample: the first reason; empty where all gave one."""
        return self._first_absence

    def notes(self, where: str) -> list[str]:
        """What is to be said of the samples.

        Args:
            where: The topic and field.
        """
        found = []
        missing = self._count - len(self.rows)
        if missing:
            found.append(f"{where}: {missing} of {self._count} messages have nothing there ({self._first_absence})")
        if self._path.num_several:
            found.append(f"{where}: {self._path.num_several} messages have it several times; the last was taken")
        if self.num_inexact:
            found.append(f"{where}: {self.num_inexact} whole numbers beyond 2^53 were rounded to double precision")
        return found


class TreeTexts:
    """Texts at a path of trees: one per message."""

    def __init__(self, tree: Tree, path: str) -> None:
        """Prepare for a path.

        Raises:
            CdrError: The messages can't have such a path.
        """
        self._tree = tree
        self._path = TreePath(path)
        tree.number_type(self._path.steps)

    def of(self, payload: memoryview) -> str | None:
        """The text of a message; None where it has none.

        Raises:
            CdrError: The payload is no such message, or there are several values.
        """
        try:
            found = self._path.texts(self._tree.of(payload))
        except AbsentError:
            return None
        if len(found) != 1:
            raise CdrError(f"{self._path.path} has {len(found)} values; must be one text or number")
        return found[0]
