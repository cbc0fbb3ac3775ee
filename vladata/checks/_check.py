"""What a check is: a rule for one episode or for all of them, with name, severity and thresholds.

The keyword-only parameters of a check's function are its thresholds, their defaults the values that hold where neither
the embodiment's schema nor the command line says otherwise.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ..finding import Finding, Severity

__all__ = [
    "Check",
    "CheckFunction",
    "DatasetCheck",
    "DatasetCheckFunction",
    "EpisodeFacts",
    "Feature",
    "check",
    "dataset_check",
    "feature",
]


class CheckFunction(Protocol):
    """Judges one episode."""

    def __call__(self, episode: Episode, /, **thresholds: float) -> Iterator[Finding]:
        """Yield what is wrong."""


FeatureFunction = Callable[[Episode], NDArray[np.generic] | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Feature:
    """What is measured of each episode, in its worker, for checks of the whole dataset."""

    name: str
    """`topic.function`."""
    function: FeatureFunction
    """Gives a small array (a few kilobytes at most), or None where there is nothing to measure."""
    dtype: str = ""
    """Type of its numbers; empty: any."""
    shape: tuple[int, ...] | None = None
    """-1 is any length; None: any shape."""

    def of(self, facts: "EpisodeFacts") -> NDArray[np.generic] | None:
        """What was measured of an episode; None where there was nothing, or an array of another form."""
        values = facts.features.get(self.name)
        if values is None or (self.dtype and values.dtype != self.dtype):
            return None
        if self.shape is None:
            return values
        fits = values.ndim == len(self.shape) and all(
            a in {-1, n} for a, n in zip(self.shape, values.shape, strict=True)
        )
        return values if fits else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeFacts:
    """What dataset checks know of each episode, small enough for a million of them on a disk."""

    episode_id: str
    recording_id: str = ""
    content_digest: str
    place: str
    source: str = ""
    split: str = ""
    """Split that the source declares; empty where it has none."""
    embodiment: str = ""
    embodiment_version: int = 1
    embodiment_digest: str = ""
    instruction: str
    outcome: str
    num_steps: int
    duration_s: float = 0.0
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Operator, session, scene, …, as the episode has them."""
    rules: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    """The `checks` section of the episode's schema."""
    features: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """By name of the feature; those that could be measured."""


class DatasetCheckFunction(Protocol):
    """Judges all episodes of a dataset together.

    The facts may lie on a disk: they can be gone through several times, and must not be collected.
    """

    def __call__(self, facts: Sequence[EpisodeFacts], /, **thresholds: float) -> Iterator[Finding]:
        """Yield what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A rule for one episode."""

    name: str
    """`topic.rule`, for instance `timing.gaps`."""
    severity: Severity
    function: CheckFunction
    summary: str
    """First line of the function's docstring: the rule."""
    needs_time: bool = False
    """True where nominal clocks can't be judged: `timing.not_measured` speaks for them."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By name, the values that hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCheck:
    """A rule for all episodes of a dataset together."""

    name: str
    severity: Severity
    function: DatasetCheckFunction
    summary: str
    features: tuple[Feature, ...] = ()
    """What must be measured of each episode."""
    thresholds: Mapping[str, float] = field(default_factory=dict)


def _name(function: Callable[..., object]) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


def _summary(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]


def _thresholds(function: Callable[..., object]) -> dict[str, float]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: float(p.default) for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def check(severity: Severity, *, needs_time: bool = False) -> Callable[[Callable[..., Iterator[Finding]]], Check]:
    """Make a function a check of this severity, named `module.function`; its keyword-only numbers are thresholds."""

    def wrap(function: Callable[..., Iterator[Finding]]) -> Check:
        return Check(
            name=_name(function),
            severity=severity,
            function=function,
            summary=_summary(function),
            needs_time=needs_time,
            thresholds=_thresholds(function),
        )

    return wrap


def dataset_check(
    severity: Severity, *, features: Sequence[Feature] = ()
) -> Callable[[Callable[..., Iterator[Finding]]], DatasetCheck]:
    """Make a function a check over all episodes, named `module.function`; its keyword-only numbers are thresholds."""

    def wrap(function: Callable[..., Iterator[Finding]]) -> DatasetCheck:
        return DatasetCheck(
            name=_name(function),
            severity=severity,
            function=function,
            summary=_summary(function),
            features=tuple(features),
            thresholds=_thresholds(function),
        )

    return wrap


def feature(*, dtype: str = "", shape: tuple[int, ...] | None = None) -> Callable[[FeatureFunction], Feature]:
    """Make a function a feature, named `module.function`; it is measured only where a check needs it.

    Args:
        dtype: Of its arrays; those of another type are no measurements.
        shape: The same; -1 is any length.
    """

    def wrap(function: FeatureFunction) -> Feature:
        return Feature(name=_name(function), function=function, dtype=dtype, shape=shape)

    return wrap
