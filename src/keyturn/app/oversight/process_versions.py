"""Say what is wrong with the version that a process names: it is older than the lab's targets ask for, or another than one's own.

What people signed is compared as MAJOR.MINOR.PATCH; a pre-release (`0.2.0rc1`) comes before what it precedes. A version that is
none of these, or not said, is wrong: nobody knows what such a process does. It is the process's own word, and proves nothing.
"""

from __future__ import annotations

import re

__all__ = ["wrong_version"]

_VERSION = re.compile(
    r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})((?:a|b|rc)\d{1,6})?(\.post\d{1,6})?(\.dev\d{1,6})?(\+[a-z0-9.]{1,40})?\Z"
)


def wrong_version(said: str, *, own: str, least: str | None) -> str:
    """What is wrong with a process that says it is version `said`, or an empty text; `least` is what targets ask for."""
    shown = said[:40] or "of a version that it does not say"
    if least is not None:
        found, needed = _parsed(said), _parsed(least)
        if found is None or needed is None:
            return f"runs Keyturn {shown}, and targets ask for {least} at least: whether it is, nobody can tell"
        if found < needed:
            return f"runs Keyturn {shown}, and targets ask for {least} at least: replace it"
    return "" if said == own else f"runs Keyturn {shown}, this is {own}: replace whichever is older"


def _parsed(text: str) -> tuple[int, int, int, bool] | None:
    match = _VERSION.match(text)
    if match is None:
        return None
    major, minor, patch, pre, _, dev, _ = match.groups()
    return int(major), int(minor), int(patch), pre is None and dev is None
