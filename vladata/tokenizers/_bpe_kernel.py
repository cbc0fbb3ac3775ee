"""Byte-pair encoding of many words at once, equal to applying the merges one by one in the order of their ranks.

What was never merged across splits the merging in two that do not know of each other. So a row of tokens is the
encoding of its text exactly when each token encodes to itself and each two neighbours encode to themselves, and every
beginning of a word has one last token: the only one that ends there and fits the last token of what is before it. That
is looked up for all words together, symbol by symbol: an automaton knows the longest token that ends here, a table
which tokens fit side by side.

Source: the greedy merging of Sennrich et al., arXiv:1508.07909, section 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BoolArray", "Int64Array", "Kernel", "SymbolArray", "build_kernel"]

Int64Array = NDArray[np.int64]
SymbolArray = NDArray[np.uint16]
BoolArray = NDArray[np.bool_]

MAX_IDS = 4096
"""The table of pairs has this many rows and columns at most."""
MAX_EDGES = 1 << 21
"""States times symbols of the automaton, at most."""
BLOCK = 1 << 20
"""Symbols at a time."""
MAX_WORDS = 4096
"""Words at a time: rows of this length stay in the cache."""

Rule = tuple[int, int, int]
"""Left token, right token and what they become."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """The first rules of a vocabulary as far as they double one symbol: they are applied to whole runs of it.

    Most coefficients are zero, so that training begins with these rules, and they leave a tenth of the symbols.
    """

    pair: tuple[int, int] | None
    """The two symbols that the first rule makes the symbol of, where it is none itself."""
    symbol: int
    """What is doubled."""
    doubled: tuple[int, ...]
    """New symbols: twice the one before each."""

    def merge(self, symbols: SymbolArray, offsets: Int64Array) -> tuple[SymbolArray, Int64Array]:
        """Apply the rules to words, see `Kernel.encode`."""
        if self.pair is not None:
            is_hit = (symbols[:-1] == self.pair[0]) & (symbols[1:] == self.pair[1])
            is_hit[offsets[1:-1] - 1] = False
            is_kept = np.ones(len(symbols), dtype=np.bool_)
            np.logical_not(is_hit, out=is_kept[1:])
            symbols = symbols.copy()
            symbols[:-1][is_hit] = self.symbol
            symbols = symbols[is_kept]
            offsets = _places(is_kept)[offsets]
        if not self.doubled:
            return symbols, offsets
        is_run = symbols == self.symbol
        is_unit = np.ones(len(symbols), dtype=np.bool_)
        is_unit[1:] = ~(is_run[1:] & is_run[:-1])
        is_unit[offsets[:-1]] = True
        units = np.flatnonzero(is_unit)
        sizes = np.diff(units, append=len(symbols))
        table, starts, lengths = self._table(sizes)
        starts_at, counts = starts[sizes], lengths[sizes]
        plain = ~is_run[units]
        counts[plain] = 1
        ends = np.cumsum(counts)
        source = np.repeat(starts_at - (ends - counts), counts)
        source += np.arange(len(source))
        merged = table[source]
        merged[(ends - counts)[plain]] = symbols[units[plain]]
        places = np.concatenate([[0], ends])
        return merged, places[_places(is_unit)[offsets]]

    def _table(self, sizes: Int64Array) -> tuple[SymbolArray, Int64Array, Int64Array]:
        """What runs of these sizes become, end to end; where that begins and how long it is, by size."""
        most = len(self.doubled)
        present = np.bincount(sizes)
        runs = np.flatnonzero(present)
        powers = np.array([(self.symbol, *self.doubled)[k] for k in range(most, -1, -1)], dtype=np.uint16)
        counts = np.array([runs >> most, *((runs >> k) & 1 for k in range(most - 1, -1, -1))])
        starts, lengths = np.zeros_like(present), np.zeros_like(present)
        lengths[runs] = counts.sum(axis=0)
        starts[runs] = np.cumsum(lengths[runs]) - lengths[runs]
        return np.repeat(np.tile(powers, len(runs)), counts.T.reshape(-1)), starts, lengths


def _places(is_kept: BoolArray) -> Int64Array:
    """How many are kept before each, [M + 1]."""
    places = np.zeros(len(is_kept) + 1, dtype=np.int64)
    np.cumsum(is_kept, out=places[1:])
    return places


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """The tables of one vocabulary; V is its number of ids."""

    runs: Runs | None
    """What is merged beforehand."""
    columns: Int64Array
    """Column of each symbol in the automaton; symbols that nothing merges with share the last one."""
    symbol_ids: Int64Array
    """Token of each symbol alone."""
    edges: Int64Array
    """Next state of each state and column, as the state's first place in here."""
    longest: Int64Array
    """Longest token that ends behind each state and column; V at a symbol that nothing merges with."""
    shorter: Int64Array
    """Longest token that each token ends with, other than itself, [V + 1]."""
    lengths: Int64Array
    """Symbols of each token, [V + 1]."""
    fits: BoolArray
    """Whether two tokens stay two, [(V + 1) * (V + 1)]; V is a wall, which fits everything."""

    @property
    def wall(self) -> int:
        """V."""
        return len(self.lengths) - 1

    def encode(self, symbols: SymbolArray, offsets: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Encode words.

        Args:
            symbols: Of all words, end to end, [M].
            offsets: Word n is symbols[offsets[n]:offsets[n + 1]], [N + 1]; no word is empty.

        Returns:
            Tokens of all words, end to end, and where those of each begin and end, [N + 1].
        """
        if not len(symbols):
            return np.zeros(0, dtype=np.int64), np.zeros(len(offsets), dtype=np.int64)
        if self.runs is not None:
            symbols, offsets = self.runs.merge(symbols, offsets)
        tokens = np.zeros(len(symbols), dtype=np.int64)
        is_end = np.zeros(len(symbols), dtype=np.bool_)
        columns = self.columns[symbols]
        lengths = np.diff(offsets)
        # Longest first, so that the words that go on are always the first ones.
        order = np.argsort(-lengths, kind="stable")
        first = 0
        while first < len(order):
            count = min(MAX_WORDS, max(64, BLOCK // int(lengths[order[first]])))
            words = order[first : first + count]
            self._block(columns, offsets[words], lengths[words], tokens, is_end)
            first += count
        alone = is_end & (tokens == self.wall)
        tokens[alone] = self.symbol_ids[symbols[alone]]
        return tokens[is_end], _places(is_end)[offsets]

    def _block(
        self, columns: Int64Array, starts: Int64Array, lengths: Int64Array, tokens: Int64Array, is_end: BoolArray
    ) -> None:
        last = self._last_tokens(columns, starts, lengths)
        left = lengths.copy()
        words = np.arange(len(starts))
        while len(words):
            found = last[left, words]
            ends = starts[words] + left - 1
            tokens[ends] = found
            is_end[ends] = True
            left -= self.lengths[found]
            go_on = left > 0
            if not go_on.all():
                words, left = words[go_on], left[go_on]

    def _last_tokens(self, columns: Int64Array, starts: Int64Array, lengths: Int64Array) -> Int64Array:
        """The last token of every beginning of every word, [L + 1, N]; words are sorted, longest first."""
        count, longest = len(starts), int(lengths[0])
        active = np.searchsorted(-lengths, -np.arange(longest), side="left")
        last = np.empty((longest + 1, count), dtype=np.int64)
        last[0] = self.wall
        flat, width = last.reshape(-1), self.wall + 1
        steps_back = self.lengths * count
        state = np.zeros(count, dtype=np.int64)
        here = np.arange(count)
        edge, prior = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
        is_right = np.empty(count, dtype=np.bool_)
        for step in range(longest):
            if active[step] < len(state):
                keep = int(active[step])
                state, here, edge, prior = state[:keep], here[:keep], edge[:keep], prior[:keep]
                starts, is_right = starts[:keep], is_right[:keep]
            here += count
            # All indices are in range; "clip" only spares a copy of what is written.
            columns.take(starts + step, out=edge, mode="clip")
            edge += state
            self.edges.take(edge, out=state, mode="clip")
            found = last[step + 1, : len(state)]
            self.longest.take(edge, out=found, mode="clip")
            steps_back.take(found, out=prior, mode="clip")
            np.subtract(here, prior, out=prior)
            flat.take(prior, out=edge, mode="clip")
            edge *= width
            edge += found
            self.fits.take(edge, out=is_right, mode="clip")
            if is_right.all():
                continue
            wrong = np.flatnonzero(~is_right)
            while len(wrong):
                other = self.shorter[found[wrong]]
                found[wrong] = other
                before = flat[here[wrong] - steps_back[other]]
                wrong = wrong[~self.fits[before * width + other]]
        return last


def build_kernel(symbol_ids: Sequence[int], rules: Sequence[Rule], num_ids: int) -> Kernel | None:
    """The tables of a vocabulary.

    Args:
        symbol_ids: Token of each symbol alone; -1 where it has none and does not occur.
        rules: In the order of their ranks.
        num_ids: V.

    Returns:
        None where a table would be too large, or where a rule is not as training makes them: of tokens that came
        before it, to a token of its own, and really used.
    """
    if not 0 < num_ids <= MAX_IDS:
        return None
    runs, count = _leading_runs(symbol_ids, rules)
    symbol_ids = [*symbol_ids, *(whole for _, _, whole in rules[:count])]
    rules = rules[count:]
    rank = dict.fromkeys((i for i in symbol_ids if i >= 0), -1)
    for number, (left, right, whole) in enumerate(rules):
        if left not in rank or right not in rank or whole in rank:
            return None
        rank[whole] = number
    crossing = _crossing_ranks(rules, rank, num_ids)
    if any(crossing[left, right] != number for number, (left, right, _) in enumerate(rules)):
        return None
    trie = _Trie(symbol_ids, rules, num_ids)
    if trie.num_edges > MAX_EDGES:
        return None
    edges, longest, shorter = trie.automaton()
    fits = np.ones((num_ids + 1, num_ids + 1), dtype=np.bool_)
    fits[:-1, :-1] = crossing == len(rules)
    return Kernel(
        runs=runs,
        columns=trie.columns,
        symbol_ids=np.array(symbol_ids, dtype=np.int64),
        edges=edges,
        longest=longest,
        shorter=shorter,
        lengths=trie.lengths,
        fits=fits.reshape(-1),
    )


def _leading_runs(symbol_ids: Sequence[int], rules: Sequence[Rule]) -> tuple[Runs | None, int]:
    """The rules at the beginning that double one symbol, and how many they are; their wholes become symbols."""
    symbols = {token: symbol for symbol, token in enumerate(symbol_ids) if token >= 0}
    new = len(symbol_ids)
    pair, count = None, 0
    if rules and rules[0][0] != rules[0][1] and rules[0][0] in symbols and rules[0][1] in symbols:
        pair, count = (symbols[rules[0][0]], symbols[rules[0][1]]), 1
        symbols[rules[0][2]] = new
    token = rules[count - 1][2] if count else (rules[0][0] if rules else -1)
    if token not in symbols:
        return None, 0
    symbol, doubled = symbols[token], []
    while count < len(rules) and rules[count][:2] == (token, token):
        token = rules[count][2]
        doubled.append(new + count)
        count += 1
    return (Runs(pair=pair, symbol=symbol, doubled=tuple(doubled)) if count else None), count


def _crossing_ranks(rules: Sequence[Rule], rank: dict[int, int], num_ids: int) -> NDArray[np.int16]:
    """Rank of the first merge across the border of two tokens, [V, V]; the number of rules where there is none.

    A rule (x, y) merges across where x ends the left token and y begins the right one at the rule's turn: neither may
    be a part of something larger by then. Equal pairs are merged from the left, so a tie goes to what is further left.
    Tokens that end with x in this way stand side by side when tokens are sorted as trees, each below its right part.
    """
    right_order, right_size = _tree(num_ids, [(whole, right) for _, right, whole in rules], rank)
    left_order, left_size = _tree(num_ids, [(whole, left) for left, _, whole in rules], rank)
    right_parts: dict[int, list[int]] = {}
    left_parts: dict[int, list[int]] = {}
    for left, right, whole in rules:
        right_parts.setdefault(right, []).append(whole)
        left_parts.setdefault(left, []).append(whole)
    ranks = np.full((num_ids, num_ids), len(rules), dtype=np.int16)
    for number in range(len(rules) - 1, -1, -1):
        left, right, _ = rules[number]
        rows = 1 + sum(right_size[p] for p in right_parts.get(left, ()) if rank[p] > number)
        columns = 1 + sum(left_size[p] for p in left_parts.get(right, ()) if rank[p] >= number)
        row, column = right_order[left], left_order[right]
        ranks[row : row + rows, column : column + columns] = number
    return ranks[np.ix_(right_order, left_order)]


def _tree(num_ids: int, parts: Sequence[tuple[int, int]], rank: dict[int, int]) -> tuple[Int64Array, list[int]]:
    """Place of each token when each stands before those that it is a part of, latest rules first; and sizes."""
    children: list[list[int]] = [[] for _ in range(num_ids)]
    is_root = [True] * num_ids
    for whole, part in parts:
        children[part].append(whole)
        is_root[whole] = False
    size = [1] * num_ids
    # A whole has a later rank than its part.
    for whole, part in sorted(parts, key=lambda p: -rank[p[0]]):
        size[part] += size[whole]
    place = np.zeros(num_ids, dtype=np.int64)
    stack = [i for i in range(num_ids) if is_root[i]]
    number = 0
    while stack:
        token = stack.pop()
        place[token] = number
        number += 1
        # In the order of their ranks, so that the latest one is taken from the end first.
        stack.extend(sorted(children[token], key=lambda c: rank[c]))
    return place, size


class _Trie:
    """The tokens as words of an alphabet, and the automaton that finds them."""

    def __init__(self, symbol_ids: Sequence[int], rules: Sequence[Rule], num_ids: int) -> None:
        texts: dict[int, tuple[int, ...]] = {i: (s,) for s, i in enumerate(symbol_ids) if i >= 0}
        used: set[int] = set()
        for left, right, whole in rules:
            texts[whole] = texts[left] + texts[right]
            used.update(s for part in (left, right) if len(texts[part]) == 1 for s in texts[part])
        self.num_ids = num_ids
        self.columns = np.full(len(symbol_ids), len(used), dtype=np.int64)
        self.columns[sorted(used)] = np.arange(len(used))
        self.num_columns = len(used) + 1
        self.lengths = np.ones(num_ids + 1, dtype=np.int64)
        self.children: list[dict[int, int]] = [{}]
        self.tokens = [-1]
        self.levels: list[list[tuple[int, int, int]]] = []
        ends: dict[int, int] = {}
        for symbol in sorted(used):
            ends[symbol_ids[symbol]] = self._walk(0, 0, (symbol,))
        for left, right, whole in rules:
            ends[whole] = self._walk(ends[left], len(texts[left]), texts[right])
            self.lengths[whole] = len(texts[whole])
        for token, node in ends.items():
            self.tokens[node] = token
        self.ends = ends

    @property
    def num_edges(self) -> int:
        return len(self.tokens) * self.num_columns

    def _walk(self, node: int, depth: int, symbols: Sequence[int]) -> int:
        for place, symbol in enumerate(symbols, depth):
            column = int(self.columns[symbol])
            found = self.children[node].get(column)
            if found is None:
                found = len(self.tokens)
                self.children[node][column] = found
                self.children.append({})
                self.tokens.append(-1)
                while len(self.levels) <= place:
                    self.levels.append([])
                self.levels[place].append((node, column, found))
            node = found
        return node

    def automaton(self) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Edges and longest tokens by edge, and the next shorter token of each."""
        tokens = np.array(self.tokens, dtype=np.int64)
        following = np.zeros((len(tokens), self.num_columns), dtype=np.int64)
        fallback = np.zeros(len(tokens), dtype=np.int64)
        shorter = np.full(self.num_ids + 1, self.num_ids, dtype=np.int64)
        for depth, level in enumerate(self.levels):
            parents, columns, nodes = np.array(level, dtype=np.int64).T
            # Edges of the parents are those of where they fall back to so far.
            if depth:
                fallback[nodes] = following[parents, columns]
            following[parents, columns] = nodes
            following[nodes] = following[fallback[nodes]]
            inner = tokens[nodes] >= 0
            shorter[tokens[nodes[inner]]] = tokens[fallback[nodes[inner]]]
            tokens[nodes[~inner]] = tokens[fallback[nodes[~inner]]]
        tokens[0] = self.num_ids
        shorter[shorter < 0] = self.num_ids
        longest = tokens[following]
        longest[following == 0] = self.num_ids
        return (following * self.num_columns).reshape(-1), longest.reshape(-1), shorter
