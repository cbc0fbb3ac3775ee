"""Judging an episode by one check."""

from collections.abc import Callable
from typing import Protocol

import pytest

from vladata.checks import run_checks
from vladata.episode import Episode
from vladata.finding import Finding


class Judge(Protocol):
    """Findings of one check about an episode."""

    def __call__(self, episode: Episode, check: str) -> list[Finding]: ...


@pytest.fixture
def judge() -> Callable[[Episode, str], list[Finding]]:
    def run(episode: Episode, check: str) -> list[Finding]:
        return [f for f in run_checks(episode, select=[check]) if f.check == check]

    return run
