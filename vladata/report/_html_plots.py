"""Pictures of the page as inline SVG: curves with their limits, bars; styled by the page's one style sheet.

Coordinates are written with one decimal and nothing depends on the machine, so that equal data gives equal text.
"""

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ..text import clip, printable
from ._shown import Evidence, FloatArray, Panel

__all__ = ["bar", "curves", "histogram", "number", "strip", "text"]

WIDTH, LEFT, RIGHT = 720, 64, 10
HEAD, BODY, ALONE, FOOT = 19, 66, 120, 34
"""Heights in a plot: of a panel's label, of a panel, of a panel that is alone, of the axis below all."""
MANY_DOTS = 90
"""Samples of a curve are marked up to this many."""
SMALLEST = 1e-300
"""What differs by less is one number."""
LARGEST = 1e300
"""What is larger is drawn there: differences of larger numbers overflow."""


def text(value: str, most: int = 2_000) -> str:
    """Text of strangers for the page: no control characters, no markup, not without end."""
    return escape(clip(printable(value), most))


def number(value: float) -> str:
    """A number for an axis."""
    return f"{value:.4g}" if abs(value) < 1e5 or not math.isfinite(value) else f"{value:.3g}"


def curves(evidence: Evidence, about: str) -> str:
    """Panels of a finding, one above the other, on one axis."""
    if not evidence.panels:
        return ""
    body = ALONE if len(evidence.panels) == 1 else BODY
    height = len(evidence.panels) * (HEAD + body) + FOOT
    low, high = evidence.span
    scale = _Axis(low, high, LEFT, WIDTH - RIGHT)
    parts = [
        f'<svg class="plot" role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f"<title>{text(about, 300)}</title>"
    ]
    shade = _shade(evidence, scale)
    for k, panel in enumerate(evidence.panels):
        parts.append(_panel(panel, scale, (k * (HEAD + body) + HEAD, body), shade))
    parts.append(_ticks(scale, height - FOOT, evidence.x_label))
    return "".join(parts) + "</svg>"


class _Axis:
    """Numbers to places."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        if not high - low > SMALLEST:
            room = max(0.5, 1e-6 * abs(low))  # half of nothing beside a huge number
            low, high = low - room, high + room
        self.low, self.high, self._first, self._last = low, high, first, last

    def at(self, value: float) -> float:
        return self._first + (value - self.low) / (self.high - self.low) * (self._last - self._first)

    def many(self, values: FloatArray) -> FloatArray:
        placed: FloatArray = self._first + (values - self.low) / (self.high - self.low) * (self._last - self._first)
        return placed

    def ticks(self, most: int) -> list[float]:
        """Round numbers between the ends."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
        step = next((power * f for f in (1, 2, 2.5, 5) if power * f >= rough), power * 10)
        first = math.ceil(self.low / step)
        return [k * step for k in range(first, first + most + 2) if k * step <= self.high + step * 1e-9]


def _ticks(scale: _Axis, top: int, label: str) -> str:
    marks = "".join(
        f'<text x="{scale.at(v):.1f}" y="{top + 14}" text-anchor="middle">{number(v)}</text>'
        f'<path class="grid" d="M{scale.at(v):.1f} {top}v3"/>'
        for v in scale.ticks(8)
    )
    return f'{marks}<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{top + 29}" text-anchor="middle">{text(label)}</text>'


def _shade(evidence: Evidence, scale: _Axis) -> tuple[float, float] | None:
    """Left end and width of what is shaded; at least wide enough to be seen."""
    if evidence.shaded is None:
        return None
    start, stop = (min(max(scale.at(v), LEFT), WIDTH - RIGHT) for v in evidence.shaded)
    x = max(start - 1, LEFT)
    return x, max(min(stop + 1, WIDTH - RIGHT) - x, 2.0)


def _panel(panel: Panel, scale: _Axis, rows: tuple[int, int], shade: tuple[float, float] | None) -> str:
    """One curve in its frame; `rows` are top and height."""
    top, body = rows
    y = np.clip(panel.y, -LARGEST, LARGEST)
    is_number = np.isfinite(panel.y)
    low, high, drawn = _range(y[is_number], [v for v, _ in panel.levels])
    axis = _Axis(low, high, top + body - 3, top + 3)
    unit = f" [{panel.unit}]" if panel.unit else ""
    parts = [
        f'<rect class="frame" x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{body}"/>'
        f'<text class="name" x="{LEFT}" y="{top - 5}">{text(panel.label + unit, 80)}</text>'
    ]
    if shade is not None:
        parts.append(f'<rect class="shade" x="{shade[0]:.1f}" y="{top}" width="{shade[1]:.1f}" height="{body}"/>')
    parts += [
        f'<path class="grid" d="M{LEFT} {axis.at(value):.1f}h{WIDTH - LEFT - RIGHT}"/>'
        f'<text x="{LEFT - 5}" y="{axis.at(value) + 4:.1f}" text-anchor="end">{number(value)}</text>'
        for value in axis.ticks(4)
    ]
    parts.append(_levels(panel, axis, drawn, top))
    x = scale.many(panel.x)
    if is_number.any():
        points = axis.many(y)
        if not panel.is_dotted:
            parts.append(f'<path class="line" d="{_line(x, points, is_number)}"/>')
        if panel.is_dotted or len(x) <= MANY_DOTS:
            parts.append(f'<path class="dots" d="{_dots(x[is_number], points[is_number])}"/>')
    lost = x[~is_number]
    if len(lost):
        marks = "".join(f"M{a:.1f} {top + 1}v{body - 2}" for a in lost[:200])
        parts.append(f'<path class="lost" d="{marks}"/>')
        parts.append(
            f'<text class="said" x="{WIDTH - RIGHT}" y="{top - 5}" text-anchor="end">{len(lost):,} not finite</text>'
        )
    return "".join(parts)


def _range(y: FloatArray, levels: Sequence[float]) -> tuple[float, float, list[float]]:
    """Smallest and largest of what is drawn, with some room; limits that are far away are left out."""
    low, high = (float(y.min()), float(y.max())) if len(y) else (0.0, 1.0)
    size = max(abs(low), abs(high))
    wide = high - low if high - low > 1e-9 * size else 0.1 * (size or 1.0)
    near = [v for v in levels if low - 1.5 * wide <= v <= high + 1.5 * wide]
    low, high = min([low, *near]), max([high, *near])
    room = 0.06 * max(high - low, wide)
    return low - room, high + room, near


def _levels(panel: Panel, axis: _Axis, drawn: Sequence[float], top: int) -> str:
    parts = [
        f'<path class="limit" d="M{LEFT} {axis.at(v):.1f}h{WIDTH - LEFT - RIGHT}"/>'
        for v, _ in panel.levels
        if v in drawn
    ]
    if panel.levels and np.isfinite(panel.y).all():
        unit = f" {panel.unit}" if panel.unit else ""
        values = " to ".join(number(v) for v, _ in panel.levels)
        words = f"{panel.levels[0][1]} {values}{unit}"
        parts.append(
            f'<text class="said" x="{WIDTH - RIGHT}" y="{top - 5}" text-anchor="end">{text(words, 100)}</text>'
        )
    return "".join(parts)


def _line(x: FloatArray, y: FloatArray, is_number: NDArray[np.bool_]) -> str:
    """A path that stops where there is no number."""
    words, is_down = [], False
    for a, b, is_there in zip(x.tolist(), y.tolist(), is_number.tolist(), strict=True):
        if is_there:
            words.append(f"{'L' if is_down else 'M'}{a:.1f} {b:.1f}")
        is_down = is_there
    return "".join(words)


def _dots(x: FloatArray, y: FloatArray) -> str:
    """Round caps on paths without length: one element for all samples."""
    return "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def histogram(values: FloatArray, label: str, noun: str = "episodes") -> str:
    """How often each value comes, at most 24 bars."""
    values = np.clip(values[np.isfinite(values)], -LARGEST, LARGEST)
    if not len(values):
        return ""
    low, high = float(values.min()), float(values.max())
    axis = _Axis(low, high, LEFT, 350)
    counts, edges = np.histogram(
        values, bins=min(24, max(4, round(math.sqrt(len(values))) * 2)), range=(axis.low, axis.high)
    )
    top = _Axis(0.0, float(counts.max()), 110.0, 8.0)
    bars = "".join(
        f'<rect class="bar" x="{axis.at(float(a)) + 0.5:.1f}" y="{top.at(float(n)):.1f}" '
        f'width="{max(axis.at(float(b)) - axis.at(float(a)) - 1, 1):.1f}" height="{110 - top.at(float(n)):.1f}">'
        f"<title>{number(float(a))} to {number(float(b))}: {int(n):,} {noun}</title></rect>"
        for n, a, b in zip(counts, edges[:-1], edges[1:], strict=True)
        if n
    )
    ticks = "".join(
        f'<text x="{axis.at(v):.1f}" y="125" text-anchor="middle">{number(v)}</text>' for v in axis.ticks(5)
    )
    return (
        f'<svg class="small" role="img" viewBox="0 0 360 145" width="360" height="145"><title>{text(label)}</title>'
        f'{bars}<path class="grid" d="M{LEFT} 110.5h{350 - LEFT}"/>{ticks}'
        f'<text x="{LEFT - 5}" y="14" text-anchor="end">{int(counts.max()):,}</text>'
        f'<text x="{LEFT - 5}" y="112" text-anchor="end">0</text>'
        f'<text x="{(LEFT + 350) / 2:.0f}" y="141" text-anchor="middle">{text(label)}</text></svg>'
    )


def bar(share: float) -> str:
    """A bar beside a number in a table, for 0 to 1."""
    wide = max(1.0, 120 * min(max(share, 0.0), 1.0))
    return (
        '<svg class="row" viewBox="0 0 120 10" width="120" height="10" aria-hidden="true">'
        f'<rect class="bar" x="0" y="0" width="{wide:.1f}" height="10"/></svg>'
    )


def strip(errors: NDArray[np.bool_], warnings: NDArray[np.bool_]) -> str:
    """The dataset from its first episode to its last: which share of them has errors, and warnings at most.

    Args:
        errors: Whether each episode has an error, [N].
        warnings: Whether it has warnings and no error, [N].
    """
    count = len(errors)
    num = min(120, count)
    edges = np.linspace(0, count, num + 1).astype(np.int64)
    axis = _Axis(0.0, float(count), LEFT, WIDTH - RIGHT)
    parts = []
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        x, wide = axis.at(a) + 0.3, max(axis.at(b) - axis.at(a) - 0.6, 0.6)
        bad, odd = float(errors[a:b].mean()), float(warnings[a:b].mean())
        for kind, share, below in (("error", bad, 0.0), ("warning", odd, bad)):
            if share:
                parts.append(
                    f'<rect class="{kind}" x="{x:.1f}" y="{50 - 44 * (below + share):.1f}" width="{wide:.1f}" '
                    f'height="{44 * share:.1f}"/>'
                )
    ticks = "".join(
        f'<text x="{axis.at(v):.1f}" y="64" text-anchor="middle">{number(v)}</text>'
        for v in axis.ticks(8)
        if v == round(v)
    )
    return (
        f'<svg class="plot" role="img" viewBox="0 0 {WIDTH} 80" width="{WIDTH}" height="80">'
        f"<title>Share of episodes with errors and with warnings along the dataset</title>"
        f'<rect class="frame" x="{LEFT}" y="6" width="{WIDTH - LEFT - RIGHT}" height="44"/>{"".join(parts)}{ticks}'
        f'<text x="{LEFT - 5}" y="14" text-anchor="end">100 %</text>'
        f'<text x="{LEFT - 5}" y="52" text-anchor="end">0</text>'
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="78" text-anchor="middle">'
        "episode, in the dataset's order</text></svg>"
    )
