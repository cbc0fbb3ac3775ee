"""What a check is: a rule for one episode or for all of them, with name and severity."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..episode import Episode
from ..finding import Finding, Severity

__all__ = ["Check", "CheckFunction", "DatasetCheck", "DatasetCheckFunction", "EpisodeFacts", "check", "dataset_check"]

CheckFunction = Callable[[Episode], Iterator[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeFacts:
    """What dataset checks know of each episode, small enough for a million of them."""

    episode_id: str
    content_digest: str
    place: str
    instruction: str
    outcome: str
    num_steps: int


DatasetCheckFunction = Callable[[Sequence[EpisodeFacts]], Iterator[Finding]]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCheck:
    """A rule for all episodes of a dataset together."""

    name: str
    severity: Severity
    function: DatasetCheckFunction
    summary: str


def _named(function: Callable[..., object]) -> tuple[str, str]:
    topic = function.__module__.rpartition(".")[2]
    summary = (function.__doc__ or "").strip().partition("\n")[0]
    return f"{topic}.{function.__name__}", summary


def check(severity: Severity, *, needs_time: bool = False) -> Callable[[CheckFunction], Check]:
    """Make a function a check of this severity, named `module.function`."""

    def wrap(function: CheckFunction) -> Check:
        name, summary = _named(function)
        return Check(name=name, severity=severity, function=function, summary=summary, needs_time=needs_time)

    return wrap


def dataset_check(severity: Severity) -> Callable[[DatasetCheckFunction], DatasetCheck]:
    """Make a function a check over all episodes, named `module.function`."""

    def wrap(function: DatasetCheckFunction) -> DatasetCheck:
        name, summary = _named(function)
        return DatasetCheck(name=name, severity=severity, function=function, summary=summary)

    return wrap
