"""Spell out what could act on a terminal or pass for another line: text of others, before people see it.

Records refuse such characters when they are parsed (`formats.text`); this is for what is no record. It imports next to nothing,
since the command line needs it before it does anything.
"""

from __future__ import annotations

import unicodedata

__all__ = ["MARKS_MAX", "plain"]

MARKS_MAX = 4
"""Combining marks on one character: what languages write needs fewer, and a tower of them covers the lines above and below it."""

_LINE_ENDS = "\u2028\u2029"


def plain(text: str) -> str:
    """Replace control and formatting characters (terminal escapes, direction overrides, line ends but `\\n`) by visible escapes.

    So are combining marks without a character to stand on, and on one from the fifth on. The signing page does the same.

    >>> plain("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    >>> plain("e" + "\\u0301" * 6).count("\\u0301")
    4
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = MARKS_MAX  # as if there were that many: nothing stands before the text
    for c in text:
        category = unicodedata.category(c)[0]
        marks = marks + 1 if category == "M" else MARKS_MAX if c == "\n" else 0
        hidden = category == "C" or c in _LINE_ENDS or marks > MARKS_MAX
        shown.append(c.encode("unicode_escape").decode("ascii") if hidden and c != "\n" else c)
    return "".join(shown)
