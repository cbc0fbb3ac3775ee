"""The time of a recording as a picture: intervals, residuals of the clocks' fits, correlations of latencies; PNG."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MissingExtraError
from ..store.writer import replace_file
from ..text import clip, printable
from ..timing import MeasuredLatency, StreamTiming, TimingReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_plot"]

MAX_STREAMS = 12
"""Of more, those with most samples are shown."""
_POINTS, _LINE, _ODD, _QUIET = "#1f6f9f", "#444444", "#c2452d", "#777777"


def write_plot(report: TimingReport, path: Path) -> None:
    """Write the picture of a report; it appears whole or not at all.

    Raises:
        MissingExtraError: The package matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("a plot", "matplotlib", "plot") from error
    streams = sorted(report.streams, key=lambda s: -s.summary.count)[:MAX_STREAMS]
    streams = [s for s in report.streams if s in streams]
    latencies = [m for m in report.latencies if len(m.latency.lags_ns)]
    num_rows, latency_rows = max(1, len(streams)), -(-len(latencies) // 2)
    # Names and notes come out of files: nothing in them is markup, and letters that the font lacks are no failure.
    with warnings.catch_warnings(), rc_context({"text.parse_math": False, "font.size": 8, "axes.titlesize": 8}):
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(11, 0.9 + 1.55 * num_rows + 1.9 * latency_rows), layout="constrained")
        FigureCanvasAgg(figure)
        heights = [1.0] * num_rows + [1.25] * latency_rows
        axes = figure.subplots(len(heights), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
        left_out = f", {len(report.streams) - len(streams)} more streams" if len(streams) < len(report.streams) else ""
        figure.suptitle(f"{report.source} · {clip(printable(report.place), 80)}{left_out}", fontsize=10)
        for row, stream in enumerate(streams):
            _intervals(axes[row, 0], stream)
            _residuals(axes[row, 1], stream)
        if not streams:
            _say(axes[0, 0], "no stream has a recorded time")
            axes[0, 1].set_axis_off()
        if streams:
            for side in (0, 1) if streams[-1].fit is not None else (0,):
                axes[num_rows - 1, side].set_xlabel("seconds since the stream's first stamp")
        for k in range(2 * latency_rows):
            panel = axes[num_rows + k // 2, k % 2]
            if k < len(latencies):
                _correlation(panel, latencies[k])
            else:
                panel.set_axis_off()
        with replace_file(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110)


def _say(panel: "Axes", text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color=_QUIET)
    panel.set_xticks([])
    panel.set_yticks([])


def _intervals(panel: "Axes", stream: StreamTiming) -> None:
    summary, curve = stream.summary, stream.intervals
    clock = f"{stream.clock}, {stream.clock_choice}" if stream.clock_choice else str(stream.clock)
    head = f"{clip(printable(stream.name), 48)} ({printable(clock)})"
    if not len(curve.x_s) or not summary.period_ns:
        panel.set_title(head, loc="left")
        _say(panel, stream.problems[0] if stream.problems else f"{summary.count} samples")
        return
    panel.set_title(f"{head}: {summary.count:,} at {summary.rate_hz:.2f} Hz, gaps: {stream.num_gaps}", loc="left")
    period = summary.period_ns / 1e6
    odd = (curve.y_ms <= 0) | (curve.y_ms > 1.5 * period)
    panel.axhline(period, color=_LINE, linewidth=0.6)
    panel.plot(curve.x_s[~odd], curve.y_ms[~odd], ".", color=_POINTS, markersize=2, rasterized=True)
    panel.plot(curve.x_s[odd], curve.y_ms[odd], "o", color=_ODD, markersize=3)
    panel.set_ylabel("interval, ms")
    highest, lowest = float(curve.y_ms.max()), float(curve.y_ms.min())
    if highest > 20 * period or lowest < -period:
        # One long gap must not press all else into a line.
        panel.set_yscale("symlog", linthresh=2 * period)
    else:
        room = max(0.15 * (highest - lowest), 0.05 * period)
        panel.set_ylim(min(lowest, period) - room, max(highest, period) + room)


def _residuals(panel: "Axes", stream: StreamTiming) -> None:
    fit, curve = stream.fit, stream.residuals
    if fit is None:
        known = "its stamps are the times of receipt" if stream.is_receipt else "no time of receipt to compare with"
        _say(panel, known)
        return
    offset = f"{fit.offset_ns / 1e6:+.1f} ± {fit.offset_uncertainty_ns / 1e6:.1f} ms"
    if abs(fit.offset_ns) >= 10_000_000_000:
        offset = f"{fit.offset_ns / 1e9:+,.3f} s"
    drift = "drift unknown"
    if fit.drift_ppm is not None and fit.drift_uncertainty_ppm is not None:
        drift = f"drift {fit.drift_ppm:+.1f} ± {fit.drift_uncertainty_ppm:.1f} ppm"
    panel.set_title(f"receive - stamp, without offset {offset} and {drift}", loc="left")
    panel.axhline(0, color=_LINE, linewidth=0.6)
    panel.plot(curve.x_s, curve.y_ms, ".", color=_POINTS, markersize=2, rasterized=True)
    first = stream.summary.start_ns
    for jump in fit.jumps:
        panel.axvline((jump.time_ns - first) / 1e9, color=_ODD, linewidth=0.8)
        panel.annotate(
            f"{jump.size_ns / 1e6:+.1f} ms",
            ((jump.time_ns - first) / 1e9, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -9),
            textcoords="offset points",
            color=_ODD,
        )
    panel.set_ylabel("residual, ms")
    low, high = np.quantile(curve.y_ms, [0.005, 0.995]) if len(curve.y_ms) else (0.0, 0.0)
    room = max(0.25 * float(high - low), 0.05)
    panel.set_ylim(float(low) - room, float(high) + room)
    beyond = int(((curve.y_ms < low - room) | (curve.y_ms > high + room)).sum())
    if beyond:
        behind: dict[str, object] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        note = panel.text(0.995, 0.95, f"{beyond} points beyond", color=_QUIET, transform=panel.transAxes, bbox=behind)
        note.set_horizontalalignment("right")
        note.set_verticalalignment("top")


def _correlation(panel: "Axes", item: MeasuredLatency) -> None:
    late, error = item.latency.latency_ns, item.latency.uncertainty_ns
    panel.plot(item.latency.lags_ns / 1e6, item.latency.profile, color=_POINTS, linewidth=1)
    panel.set_xlabel("lag, ms")
    panel.set_ylabel("correlation")
    panel.set_ylim(min(-0.1, float(item.latency.profile.min()) - 0.05), 1.05)
    what = f"{printable(item.follow)} after {printable(item.lead)}"
    if late is None or error is None:
        panel.set_title(f"{what}: not measurable", loc="left")
        panel.text(0.5, 0.93, item.latency.reason, transform=panel.transAxes, ha="center", va="top", color=_QUIET)
        return
    panel.set_title(f"{what}: {late / 1e6:+.1f} ± {error / 1e6:.1f} ms", loc="left")
    panel.axvspan((late - error) / 1e6, (late + error) / 1e6, color=_ODD, alpha=0.15, linewidth=0)
    panel.axvline(late / 1e6, color=_ODD, linewidth=0.8)
