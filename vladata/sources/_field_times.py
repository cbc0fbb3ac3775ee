"""Stamps inside messages, in every way in which encodings write them; exact to the nanosecond."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

from ._ros2 import CdrError

__all__ = ["checked_ns", "stamp_of", "time_ns_of"]

_PAIRS = (("sec", "nsec"), ("sec", "nanosec"), ("secs", "nsecs"), ("seconds", "nanos"))
"""Seconds and nanoseconds: JSON of Foxglove, ROS 2, ROS 1, protobuf."""

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_SECONDS = 9_223_372_036


def stamp_of(value: object) -> int | None:
    """The stamp that a message carries, ns: `header.stamp`, `timestamp` or `stamp`; None where it has none.

    Raises:
        CdrError: It is beyond what 64 bits of nanoseconds hold.
    """
    if not isinstance(value, Mapping):
        return None
    header = value.get("header")
    places = (header, value) if isinstance(header, Mapping) else (value,)
    for place in places:
        for name in ("stamp", "timestamp"):
            time_ns = time_ns_of(place.get(name))
            if time_ns is not None:
                return time_ns
    return None


def time_ns_of(value: object) -> int | None:
    """Nanoseconds of a time; None where a value is none.

    Raises:
        CdrError: It is beyond what 64 bits of nanoseconds hold.
    """
    if isinstance(value, str):
        return _of_text(value)
    if not isinstance(value, Mapping):
        return None
    for names in _PAIRS:
        seconds, nanoseconds = (value.get(n) for n in names)
        if type(seconds) is int and type(nanoseconds) is int:
            return checked_ns(seconds, nanoseconds)
    return None


def checked_ns(seconds: int, nanoseconds: int) -> int:
    """Nanoseconds of a time in two parts.

    Raises:
        CdrError: It is beyond what 64 bits of nanoseconds hold.
    """
    if abs(seconds) >= _MOST_SECONDS or abs(nanoseconds) >= 1 << 32:
        raise CdrError(f"a stamp of {seconds} s and {nanoseconds} ns; must be before the year 2262")
    return seconds * 1_000_000_000 + nanoseconds


def _of_text(text: str) -> int | None:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    date, time, fraction, sign, hours, minutes = match.groups()
    shift = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        zone = timezone(-shift if sign == "-" else shift)
        moment = datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=zone)
    except ValueError:
        return None
    since = moment - _EPOCH
    return checked_ns(since.days * 86400 + since.seconds, int((fraction or "").ljust(9, "0")))
