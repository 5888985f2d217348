"""Spell out what could act on a terminal or pass for another line: text of others, before people see it.

Records refuse such characters when they are parsed (`formats.text`); this is for what is no record. It imports next to nothing,
since the command line needs it before it does anything.
"""

from __future__ import annotations

import unicodedata

__all__ = ["plain"]

_LINE_ENDS = "\u2028\u2029"


def plain(text: str) -> str:
    """Replace control and formatting characters (terminal escapes, direction overrides, line ends but `\\n`) by visible escapes.

    >>> plain("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return "".join(
        c
        if c == "\n" or (unicodedata.category(c)[0] != "C" and c not in _LINE_ENDS)
        else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
