"""Checks judge episodes; a module here is a topic, and each decorated function in it is a check.

A check yields findings with message, place and steps; the runner adds its name, its severity and the episode.
"""

from ._check import Check, DatasetCheck, EpisodeFacts, check, dataset_check
from ._runner import check_names, find_check, run_checks, run_dataset_checks, selected_names

__all__ = [
    "Check",
    "DatasetCheck",
    "EpisodeFacts",
    "check",
    "check_names",
    "dataset_check",
    "find_check",
    "run_checks",
    "run_dataset_checks",
    "selected_names",
]
