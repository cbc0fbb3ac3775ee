"""How many threads linear algebra takes: one, wherever vladata runs as a command or as a worker.

Its matrices are small, and sums in another order give other last bits. On a machine that does something else as well,
the threads of OpenBLAS wait for each other by spinning: a decomposition of milliseconds took seconds, once minutes.
"""

from collections.abc import Mapping

__all__ = ["ONE_THREAD"]

ONE_THREAD: Mapping[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"
)
"""Environment variables; they are read when numpy is imported."""
