"""Checks judge episodes; a module here is a topic, and each decorated function in it is a check.

A check yields findings with message, place and steps; the runner adds its name, its severity and the episode.
"""

from ._check import Check, DatasetCheck, EpisodeFacts, Feature, check, dataset_check, feature
from ._runner import (
    CheckSettings,
    check_names,
    find_check,
    matching_names,
    measure,
    rule_problems,
    run_checks,
    run_dataset_checks,
    selected_names,
)

__all__ = [
    "Check",
    "CheckSettings",
    "DatasetCheck",
    "EpisodeFacts",
    "Feature",
    "check",
    "check_names",
    "dataset_check",
    "feature",
    "find_check",
    "matching_names",
    "measure",
    "rule_problems",
    "run_checks",
    "run_dataset_checks",
    "selected_names",
]
