"""JSON written in one way only, so that equal values have equal text and one digest."""

import json

__all__ = ["canonical_json"]


def canonical_json(value: object) -> str:
    """Write JSON in one way only: sorted keys, no spaces, UTF-8; equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
