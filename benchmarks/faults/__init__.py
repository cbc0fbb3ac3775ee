"""The checks proved by injected faults: clean episodes get one fault each, and the check meant for it must speak.

Clean episodes are generated from a seed, or recorded by others; all go through synchronization as at ingest. Faults are
put into the recording before that. Thresholds are tuned on one half of the groups; the tables are of the other.
"""

from .catalogue import faults
from .command import main
from .runner import Plan, Results, run

__all__ = ["Plan", "Results", "faults", "main", "run"]
