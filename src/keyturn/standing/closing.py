"""Write commands that close a door, so that what others named can be typed as it is: quoted, and never read as an option.

A name with control characters or bytes that are no text is quoted as bash reads it (`$'...'`), so that the command shows what
it does and contains no escape of its own.

Whoever types them is root, and what they touch belongs to somebody who may have put a link there, also after the scan: so nothing
is written, emptied or given to anybody else but root by a path that another may turn elsewhere.
"""

from __future__ import annotations

import re
import shlex

from keyturn.formats.text import is_printable

__all__ = ["comment_out", "delete_line", "give_to_root", "quoted", "typed", "url_part"]

_LINE_MAX = 2000
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quoted(text: str) -> str:
    """One word of a command.

    >>> quoted("/home/ada/a b"), quoted("a\\x1b[31m'")
    ("'/home/ada/a b'", "$'a\\\\x1b[31m\\\\x27'")
    """
    if is_printable(text):
        return shlex.quote(text)
    raw = text.encode("utf-8", "surrogateescape")
    shown = "".join(chr(b) if 0x20 <= b < 0x7F and b not in b"\\'" else f"\\x{b:02x}" for b in raw)
    return f"$'{shown}'"


def typed(*words: str) -> str:
    """A command of these words."""
    return " ".join(map(quoted, words))


def delete_line(path: str, line: str, *, number: int) -> str:
    """Take each line that is exactly `line` out of the file; a very long one is named by its number."""
    if len(line) > _LINE_MAX:
        return typed("sed", "-i", f"{number}d", "--", path)
    pattern = re.sub(r"([][\\.*^$|])", r"\\\1", line)
    return "LC_ALL=C " + typed("sed", "-i", rf"\|^{pattern}$|d", "--", path)


def comment_out(path: str, first: int, last: int) -> str:
    """Make the lines `first` to `last` comments."""
    lines = str(first) if first == last else f"{first},{last}"
    return typed("sed", "-i", f"{lines}s/^/# /", "--", path)


def give_to_root(path: str) -> str:
    """Make root the owner, and nobody else a writer."""
    return f"{typed('chown', '--no-dereference', 'root:root', '--', path)} && {typed('chmod', 'go-w', '--', path)}"


def url_part(text: str) -> str:
    """One part of a URL's path.

    >>> url_part("a/b c")
    'a%2Fb%20c'
    """
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(b) if chr(b) in _UNRESERVED else f"%{b:02X}" for b in raw)
