"""Clock fits and latencies against simulated truth: median, 95th percentile and largest error by kind of jitter."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vladata.sync.fit import fit_clock
from vladata.sync.latency import estimate_latency, speed_of

from .context import Context
from .measure import Goal, heading, verdict

__all__ = ["run"]

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]

START = 1_700_000_000_000_000_000
CONSTANT_S = 0.004
"""Transport delay that stamps alone can't show; errors are beyond it."""
KINDS = ("uniform", "gaussian", "exponential", "bursts", "queue")
RATES_HZ = (10, 30, 100)


def run(context: Context) -> None:
    num = 8 if context.is_quick else 100
    heading(
        "timing", f"{num} simulated recordings a line: offset ±200 ms, drift ±500 ppm, jitter 5 ms, 0 to 30 % drops"
    )
    for duration_s in (60, 20):
        drifts, offsets = [], []
        for kind in KINDS:
            for rate_hz in RATES_HZ:
                found = _errors(kind, rate_hz, duration_s, num)
                drifts.append(found[:, 0])
                offsets.append(found[:, 1])
                _line(f"{duration_s} s, {kind}, {rate_hz} Hz", found)
        goal = Goal(20) if duration_s == 60 else None
        _together(f"{duration_s} s: drift error, ppm", np.concatenate(drifts), goal)
        _together(f"{duration_s} s: offset error, ms", np.concatenate(offsets), Goal(5) if duration_s == 60 else None)
    _others(num)
    _latencies(num)
    _speed()


def _jitter(kind: str, rng: np.random.Generator, count: int, rate_hz: int) -> Floats:
    if kind == "uniform":
        return rng.uniform(0, 5e-3, count)
    if kind == "gaussian":
        drawn = rng.normal(0, 2.5e-3, 2 * count + 100)
        return drawn[np.abs(drawn) <= 5e-3][:count]
    if kind == "exponential":
        return rng.exponential(2.5e-3, count)
    if kind == "bursts":
        late = rng.uniform(0, 1e-3, count)
        for start in rng.integers(0, count, max(1, count // (10 * rate_hz))):
            late[start : start + int(rng.uniform(0.2, 1.5) * rate_hz)] += rng.uniform(0, 50e-3)
        return late
    # A queue: delays remember half a second.
    memory, level, late = np.exp(-2 / rate_hz), 0.0, np.empty(count)
    for k in range(count):
        level = memory * level + np.sqrt(1 - memory**2) * (rng.exponential(2.5e-3) - 2.5e-3)
        late[k] = abs(level) + rng.exponential(0.5e-3)
    return late


def _simulated(
    kind: str, rng: np.random.Generator, rate_hz: int, duration_s: float
) -> tuple[Stamps, Stamps, float, float]:
    """Stamps, times of receipt, the drift, and the offset in s at stamp 0."""
    count = int(rate_hz * duration_s)
    drift, offset = rng.uniform(-500e-6, 500e-6), rng.uniform(-0.2, 0.2)
    true = np.arange(count) / rate_hz + rng.normal(0, 0.02 / rate_hz, count)
    receive = true + CONSTANT_S + _jitter(kind, rng, count, rate_hz)
    stamp = (true - offset) / (1 + drift)
    kept = rng.random(count) > rng.choice([0, 0.05, 0.3])
    hole = int(rng.integers(0, count))
    kept[hole : hole + count // 20] = False
    whole = [START + np.round(t[kept] * 1e9).astype(np.int64) for t in (stamp, receive)]
    return whole[0], whole[1], drift * 1e6, offset


def _errors(kind: str, rate_hz: int, duration_s: float, num: int) -> Floats:
    """Of the drift in ppm and of the offset in ms, and whether the drift's stated interval holds, [num, 3]."""
    rows = []
    for seed in range(num):
        rng = np.random.default_rng([seed, rate_hz, int(duration_s), KINDS.index(kind)])
        stamps, receive, drift, offset = _simulated(kind, rng, rate_hz, duration_s)
        fit = fit_clock(stamps, receive)
        if fit is None or fit.drift_ppm is None or fit.drift_uncertainty_ppm is None:
            raise RuntimeError(f"no fit of {kind} at {rate_hz} Hz")
        truth = offset + CONSTANT_S + drift * 1e-6 * (fit.at_ns - START) / 1e9
        error = abs(fit.drift_ppm - drift)
        rows.append([error, abs(fit.offset_ns / 1e6 - truth * 1e3), error <= fit.drift_uncertainty_ppm])
    return np.array(rows)


def _line(what: str, found: Floats) -> None:
    drift, offset = (np.quantile(found[:, k], [0.5, 0.95, 1]) for k in (0, 1))
    print(
        f"  {what:<28} drift {drift[0]:6.1f} {drift[1]:6.1f} {drift[2]:6.1f} ppm   "
        f"offset {offset[0]:5.2f} {offset[1]:5.2f} {offset[2]:5.2f} ms   within its interval {found[:, 2].mean():.0%}"
    )


def _together(what: str, errors: Floats, goal: Goal | None) -> None:
    middle, most, worst = np.quantile(errors, [0.5, 0.95, 1])
    said = "" if goal is None else f"  {goal}  {verdict(goal, float(worst))}"
    print(f"  {what:<28} median {middle:.2f}, 95th percentile {most:.2f}, largest {worst:.2f}{said}", flush=True)


def _least_squares(x: Floats, y: Floats) -> float:
    return float(np.polyfit(x, y, 1)[0])


def _blocks(x: Floats, y: Floats, figure: Callable[..., Floats]) -> float:
    size = max(8, -(-len(x) // 64))
    count = len(x) // size * size
    middles, values = x[:count].reshape(-1, size).mean(axis=1), figure(y[:count].reshape(-1, size), axis=1)
    i, j = np.triu_indices(len(middles), 1)
    return float(np.median((values[j] - values[i]) / (middles[j] - middles[i])))


def _others(num: int) -> None:
    """Why the fit is what it is: other estimators of the drift on the same recordings, 60 s at 10 and 100 Hz."""
    ways: dict[str, Callable[[Floats, Floats], float]] = {
        "least squares": _least_squares,
        "Theil-Sen through medians": lambda x, y: _blocks(x, y, np.median),
        "Theil-Sen through least delays": lambda x, y: _blocks(x, y, np.min),
    }
    print("  95th percentile of the drift's error, 60 s, ppm, beside other estimators:")
    for kind in KINDS:
        shown = []
        for name, way in ways.items():
            errors = []
            for seed in range(num):
                for rate_hz in (10, 100):
                    rng = np.random.default_rng([seed, rate_hz, 60, KINDS.index(kind)])
                    stamps, receive, drift, _ = _simulated(kind, rng, rate_hz, 60)
                    x, y = (stamps - stamps[0]) / 1e9, (receive - stamps - (receive[0] - stamps[0])) / 1e9
                    errors.append(abs(way(x, y) * 1e6 - drift))
            shown.append(f"{name} {np.quantile(errors, 0.95):.1f}")
        ours = np.concatenate([_errors(kind, rate_hz, 60, num)[:, 0] for rate_hz in (10, 100)])
        print(f"    {kind:<12} vladata {np.quantile(ours, 0.95):.1f}, {', '.join(shown)}", flush=True)


def _latencies(num: int) -> None:
    """Lag of six joints after their command, 50 and 100 Hz, with noise and two gaps."""
    for duration_s in (8, 20, 60):
        errors, inside = [], []
        for seed in range(max(8, num // 4)):
            rng = np.random.default_rng([seed, duration_s])
            lag = rng.uniform(0, 0.4)
            rate, phase, size = rng.uniform(0.1, 1.2, (6, 5)), rng.uniform(0, 6, (6, 5)), rng.uniform(0.05, 0.3, (6, 5))

            def at(t: Floats, rate: Floats = rate, phase: Floats = phase, size: Floats = size) -> Floats:
                return np.asarray((size * np.sin(2 * np.pi * rate * t[:, None, None] + phase)).sum(axis=2))

            command = np.arange(0, duration_s, 0.02) + rng.normal(0, 1e-3, duration_s * 50)
            state = np.arange(0, duration_s, 0.01) + rng.normal(0, 1e-3, duration_s * 100)
            command = np.delete(command, slice(len(command) // 2, len(command) // 2 + 20))
            seen = at(state - lag) + rng.normal(0, 1e-3, (len(state), 6))
            times = [np.round(t * 1e9).astype(np.int64) for t in (command, state)]
            found = estimate_latency(speed_of(times[0], at(command)), speed_of(times[1], seen))
            if found.latency_ns is not None and found.uncertainty_ns is not None:
                errors.append(abs(found.latency_ns / 1e6 - lag * 1e3))
                inside.append(errors[-1] <= found.uncertainty_ns / 1e6)
        shown = f"error median {np.median(errors):.2f}, largest {max(errors):.2f} ms"
        held = f"{len(errors)} measured, {np.mean(inside):.0%} within their interval"
        print(f"  latency of a state, {duration_s} s: {shown}; {held}", flush=True)


def _speed() -> None:
    rng = np.random.default_rng(0)
    stamps = START + np.arange(10_000) * 10_000_000
    receive = stamps + rng.integers(0, 5_000_000, len(stamps))
    fit_clock(stamps, receive)
    rounds = []
    for _ in range(9):
        before = time.process_time()
        for _ in range(10):
            fit_clock(stamps, receive)
        rounds.append((time.process_time() - before) * 100)
    taken = float(np.median(rounds))
    print(f"  a fit of 10,000 samples: {taken:.2f} ms  {Goal(2)}  {verdict(Goal(2), taken)}")
