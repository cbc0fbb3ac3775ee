"""Schemes as a picture: what a second of motion costs against what is lost of it, dimension by dimension, and speed."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingExtraError
from ..store.writer import replace_file
from ..text import clip, printable
from . import TokenizerReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SUFFIXES", "write_plot"]

SUFFIXES = (".png", ".svg")
MAX_DIMENSIONS = 40
_COLORS = ("#1f6f9f", "#c2452d", "#4a8f3c", "#8a5fb0", "#c98a1b", "#3aa6a0", "#b04a7a", "#6b6b6b", "#26417d", "#7d5a26")
_MARKERS = "osD^vP*Xhp"
_QUIET = "#777777"
_SMALLEST = 1e-7
"""Of half the range: what comes back exactly is drawn there."""


def write_plot(report: TokenizerReport, path: Path) -> None:
    """Write the picture of a report as PNG or SVG, by the file's name; it appears whole or not at all.

    Raises:
        MissingExtraError: The package matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("a plot", "matplotlib", "plot") from error
    # Names come out of files: nothing in them is markup, and letters that the font lacks are no failure.
    settings: dict[Any, Any] = {"text.parse_math": False, "font.size": 9, "axes.titlesize": 10}
    settings |= {"svg.hashsalt": "vladata", "axes.spines.top": False, "axes.spines.right": False}
    dims = min(MAX_DIMENSIONS, len(report.schemes[0].loss.dimensions)) if report.schemes else 1
    with warnings.catch_warnings(), rc_context(settings):
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(11, 6.0 + 0.27 * dims), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2, 5, height_ratios=[4.2, 1.2 + 0.27 * dims])
        figure.suptitle(_title(report), fontsize=11)
        if report.schemes:
            _cost(figure.add_subplot(grid[0, :3]), report)
            _speed(figure.add_subplot(grid[0, 3:]), report)
            _dimensions(figure.add_subplot(grid[1, :]), report)
        figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
        kind = path.suffix.lower().removeprefix(".")
        with replace_file(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)


def _title(report: TokenizerReport) -> str:
    seconds = report.horizon / report.rate_hz
    title = f"{clip(printable(report.source), 60)} · chunks of {report.horizon} steps ({seconds:.3g} s)"
    if not report.schemes:
        return title
    loss = report.schemes[0].loss
    kind = "held out" if loss.is_held_out else "also fitted to"
    return f"{title} · measured on {loss.chunks:,} chunks of {', '.join(loss.splits)} ({kind})"


def _style(index: int) -> tuple[str, str]:
    return _COLORS[index % len(_COLORS)], _MARKERS[index % len(_MARKERS)]


def _log(panel: "Axes", axis: str) -> None:
    """A logarithmic axis with plain numbers: marks at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    own = panel.xaxis if axis == "x" else panel.yaxis
    (panel.set_xscale if axis == "x" else panel.set_yscale)("log")
    low, high = panel.get_xlim() if axis == "x" else panel.get_ylim()
    own.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 1e3 else (1.0,), numticks=12))
    own.set_minor_locator(NullLocator())
    own.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _apart(values: Sequence[float]) -> list[float]:
    """Values of a logarithmic axis, those that are equal side by side."""
    found = []
    for index, value in enumerate(values):
        equal = [i for i, v in enumerate(values) if abs(v - value) <= 0.02 * value]
        found.append(value * 1.06 ** (equal.index(index) - (len(equal) - 1) / 2))
    return found


def _cost(panel: "Axes", report: TokenizerReport) -> None:
    """Codes for a second against the error, in shares of half the range; a line goes up to the 99 % error."""
    places = _apart([max(s.loss.tokens_per_second, 1e-3) for s in report.schemes])
    for index, (x, scheme) in enumerate(zip(places, report.schemes, strict=True)):
        color, marker = _style(index)
        y, top = (100 * max(v, scheme.loss.rmse, _SMALLEST) for v in (scheme.loss.rmse, scheme.loss.p99))
        panel.plot([x, x], [y, top], color=color, linewidth=1.2, alpha=0.6, marker="_", markevery=[1])
        panel.plot(x, y, marker, color=color, markersize=8)
    panel.margins(x=0.1, y=0.1)
    _log(panel, "x")
    _log(panel, "y")
    panel.set_xlabel("codes for a second of motion (equal ones side by side)")
    panel.set_ylabel("error, % of half the range")
    panel.set_title("Cost and loss: rmse (mark), 99 % of the errors (end of the line)", loc="left")
    panel.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)


def _speed(panel: "Axes", report: TokenizerReport) -> None:
    places = np.arange(len(report.schemes))
    for offset, values, label, shade in (
        (-0.2, [s.encoded_per_s for s in report.schemes], "encode", 1.0),
        (0.2, [s.decoded_per_s for s in report.schemes], "decode", 0.45),
    ):
        colors = [_style(i)[0] for i in range(len(values))]
        panel.barh(places + offset, values, height=0.38, color=colors, alpha=shade, label="_")
        for place, value in zip(places, values, strict=True):
            panel.text(value, place + offset, f" {label} {_short(value)}", va="center", fontsize=7, color=_QUIET)
    panel.set_yticks([])
    panel.invert_yaxis()
    speeds = [v for s in report.schemes for v in (s.encoded_per_s, s.decoded_per_s)] or [1.0]
    panel.set_xlim(min(speeds) / 3, max(speeds) * 6)
    _log(panel, "x")
    panel.set_xlabel("chunks for a second of one core")
    panel.set_title("Speed", loc="left")


def _short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _dimensions(panel: "Axes", report: TokenizerReport) -> None:
    """The rmse of each dimension, in shares of half its range; a hollow mark is the codec without clipping."""
    own = report.schemes[0].loss.dimensions[:MAX_DIMENSIONS]
    spread = np.linspace(-0.28, 0.28, len(report.schemes)) if len(report.schemes) > 1 else np.zeros(1)
    for index, scheme in enumerate(report.schemes):
        color, marker = _style(index)
        found = scheme.loss.dimensions[:MAX_DIMENSIONS]
        values = [100 * max(d.share_rmse, _SMALLEST) for d in found]
        alone = [v * (d.codec_rmse / d.rmse if d.rmse else 1.0) for v, d in zip(values, found, strict=True)]
        places = np.arange(len(found)) + spread[index]
        bare = np.maximum(alone, 100 * _SMALLEST)
        panel.hlines(places, bare, values, color=color, linewidth=1.0, alpha=0.6)
        panel.plot(bare, places, marker, color=color, markersize=4.5, markerfacecolor="white", linestyle="none")
        panel.plot(values, places, marker, color=color, markersize=5, linestyle="none", label=clip(scheme.scheme, 40))
    for place in range(0, len(own), 2):
        panel.axhspan(place - 0.5, place + 0.5, color="#f4f4f4", zorder=0)
    panel.set_yticks(range(len(own)), [clip(printable(f"{d.name}, {d.unit}"), 40) for d in own])
    panel.set_ylim(len(own) - 0.5, -0.5)
    _log(panel, "x")
    panel.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)
    panel.set_xlabel("rmse, % of half the dimension's range; hollow: the codec alone, without clipping")
    left_out = len(report.schemes[0].loss.dimensions) - len(own)
    panel.set_title("Each dimension" + (f" ({left_out} more are left out)" if left_out else ""), loc="left")
