"""Write POSIX seconds as the RFC 3339 text that SLSA statements carry, and read that one text back.

UTC with `Z`, whole seconds, years 1970 to 9999: one time has one text. Keyturn's own records carry integers instead.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from keyturn.errors import Malformed

__all__ = ["duration", "posix", "rfc3339"]

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z", re.ASCII)


def rfc3339(at: int) -> str:
    """Render `at`.

    >>> rfc3339(1_790_000_000)
    '2026-09-21T14:13:20Z'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: int) -> str:
    """Say how long `seconds` are, exactly, as people type it.

    >>> duration(28_800), duration(5_400), duration(61)
    ('8h', '1h 30m', '1m 1s')
    """
    parts = []
    for letter, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{letter}")
    return " ".join(parts) or "0s"


@lru_cache(maxsize=4096)  # what is built together has the same times
def posix(text: str) -> int:
    """Parse `text`, or raise `Malformed`."""
    try:
        if not _FORM.match(text):
            raise ValueError(text)
        at = int(datetime.fromisoformat(text).timestamp())
    except ValueError as err:
        raise Malformed("time-invalid", f"expected a time as `2026-01-31T12:00:00Z`, got `{text[:40]}`") from err
    if at < 0:
        raise Malformed("time-invalid", f"expected a time from 1970 on, got `{text}`")
    return at
