"""All faults in the order in which docs/checks/faults.md lists them."""

import re
from functools import cache
from pathlib import Path

from . import in_cameras, in_labels, in_meaning, in_time, in_values
from .fault import Fault

__all__ = ["MARKERS", "PAGE", "documented", "faults"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "checks" / "faults.md"
MARKERS = ("<!-- table -->", "<!-- end of table -->")
"""Around the results, whose rows name faults as well."""
_ROW = re.compile(r"^\| (\w+) \| (.+) \| (\w+\.\w+) \|$")


def documented() -> dict[str, tuple[str, str]]:
    """Weakest strength in words and check by fault, as the page has them."""
    rows = (_ROW.match(line) for line in PAGE.read_text().partition(MARKERS[0])[0].splitlines())
    return {m[1]: (m[2], m[3]) for m in rows if m}


@cache
def faults() -> dict[str, Fault]:
    """By name, in the page's order."""
    modules = (in_time, in_values, in_meaning, in_cameras, in_labels)
    found = {v.name: v for m in modules for v in vars(m).values() if isinstance(v, Fault)}
    order = list(documented())
    missing, extra = sorted(set(order) - set(found)), sorted(set(found) - set(order))
    if missing or extra:
        raise ValueError(f"faults without a function: {missing}; functions without a row in {PAGE.name}: {extra}")
    return {name: found[name] for name in order}
