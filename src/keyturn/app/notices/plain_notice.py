"""Make what somebody wrote fit for a notification, which mail programs, chats and pagers read in languages of their own.

What is left is one line of letters, digits and a little punctuation: nothing that is markup to a chat, a tag to a mail program,
an escape to a terminal or a mention of everybody; and nothing that a reader's program makes a link of. Who wants the exact
words looks at the request itself.
"""

from __future__ import annotations

import re
import unicodedata

from keyturn.formats.plain_text import plain

__all__ = ["TEXT_MAX", "plain_name", "plain_text"]

TEXT_MAX = 300
"""Characters of free text in one notification."""

_KEPT = frozenset(" .,;:!?'+-=%/()")
_KEPT_IN_NAMES = _KEPT | {"_"}


def plain_text(text: str) -> str:
    """What a person wrote, as one line without markup or links, at most `TEXT_MAX` characters.

    >>> plain_text("see <b>https://evil.example/x</b> & *run* `rm`")
    'see ?b?https:/ /evil. example/x?/b? ? ?run? ?rm?'
    >>> plain_text("loss\\n\\x1b[31m 0.5 @everyone")
    'loss ??31m 0.5 ?everyone'
    >>> plain_text("e" + "\\u0301" * 6 + "!") == "e" + "\\u0301" * 4 + "??!"
    True
    """
    return _plain(text, _KEPT)


def plain_name(text: str) -> str:
    """An identifier of the lab's, which may hold underscores."""
    return _plain(text, _KEPT_IN_NAMES)


def _plain(text: str, kept: frozenset[str]) -> str:
    line = re.sub(r"\s+", " ", text).strip()
    shown = "".join(c if c in kept or unicodedata.category(c)[0] in "LMN" else "?" for c in line)
    shown = re.sub(
        r"\\(u[0-9a-f]{4}|U[0-9a-f]{8})", "?", plain(shown)
    )  # towers of combining marks; no backslash is kept by itself
    # Programs make links of `//`, of a name with a dot before a letter, and of four numbers with dots.
    shown = re.sub(r"/(?=/)", "/ ", shown)
    shown = re.sub(r"\.(?=[^\W\d_])", ". ", shown)
    shown = re.sub(r"(?<=\d)\.(?=\d+\.\d)", ". ", shown)
    return shown if len(shown) <= TEXT_MAX else shown[: TEXT_MAX - 3] + "..."
