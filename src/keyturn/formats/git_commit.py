"""Parse a git commit object, and name git objects: what a commit's author signed, and what it says of itself.

Follows git's gitformat-signature(5) and the object format of git-cat-file(1): headers, each one line with continuation lines
that begin with a space, an empty line, the message. A signature stands in the header `gpgsig` (of an object named by
SHA-256: `gpgsig-sha256`) and covers the object without any header of the two. SSH signatures alone are looked at.

This is NOT verification: see `custody.sources`. Names of authors are whatever somebody typed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from keyturn.errors import Malformed

__all__ = ["COMMIT_BYTES_MAX", "GitCommit", "is_object_id", "object_id", "parse"]

COMMIT_BYTES_MAX = 64 * 1024
"""A commit beyond it is refused: what a record carries is bounded."""

_OBJECT_ID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_SIGNATURES = {40: b"gpgsig", 64: b"gpgsig-sha256"}
_SSH = b"-----BEGIN SSH SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class GitCommit:
    """`tree` and `parents` are object ids, `author` and `committer` what the commit says, `signed` the bytes that `signature`,
    an armoured SSH signature, covers. Without one, or with one of another kind, both are empty."""

    tree: str
    parents: tuple[str, ...]
    author: str
    committer: str
    signed: bytes
    signature: bytes


def is_object_id(text: str) -> bool:
    """Whether `text` is a whole object id in lower-case hex: 40 digits (SHA-1) or 64 (SHA-256)."""
    return _OBJECT_ID.match(text) is not None


def object_id(kind: str, content: bytes, *, digits: int) -> str:
    """The id of the object of `kind` with this content, of 40 (SHA-1) or 64 (SHA-256) hex digits.

    >>> object_id("blob", b"", digits=40)
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    made = hashlib.sha1(usedforsecurity=False) if digits == 40 else hashlib.sha256()
    made.update(b"%s %d\0" % (kind.encode("ascii"), len(content)))
    made.update(content)
    return made.hexdigest()


def parse(raw: bytes, *, commit: str) -> GitCommit:
    """Parse the commit object `raw`, whose id must be `commit`; or raise `Malformed`."""
    if len(raw) > COMMIT_BYTES_MAX:
        raise Malformed("git-commit", f"git commit: expected at most {COMMIT_BYTES_MAX} bytes, got {len(raw)}")
    if not is_object_id(commit) or object_id("commit", raw, digits=len(commit)) != commit:
        raise Malformed("git-commit", f"git commit: expected the object `{commit[:64]}`, got another one")
    head, blank, message = raw.partition(b"\n\n")
    if not blank:
        raise _wrong("an empty line behind the headers")
    headers = _headers(head)
    tree = _ids(headers, b"tree", len(commit))
    if len(tree) != 1:
        raise _wrong("one tree")
    armoured = [value for name, value in headers if name == _SIGNATURES[len(commit)]]
    signature = armoured[0] if len(armoured) == 1 and armoured[0].startswith(_SSH) else b""
    kept = [b"%s %s" % (name, value.replace(b"\n", b"\n ")) for name, value in headers if not _is_signature(name)]
    return GitCommit(
        tree=tree[0],
        parents=_ids(headers, b"parent", len(commit)),
        author=_said(headers, b"author"),
        committer=_said(headers, b"committer"),
        signed=b"\n".join(kept) + blank + message if signature else b"",
        signature=signature,
    )


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\n"):
        name, space, value = line.partition(b" ")
        if not space:
            raise _wrong("headers of a name and a value")
        if name:
            found.append((name, value))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + b"\n" + value)
        else:
            raise _wrong("a header before it goes on")
    return found


def _is_signature(name: bytes) -> bool:
    return name in _SIGNATURES.values()


def _ids(headers: list[tuple[bytes, bytes]], name: bytes, digits: int) -> tuple[str, ...]:
    found = tuple(value.decode("ascii", "replace") for key, value in headers if key == name)
    if not all(is_object_id(one) and len(one) == digits for one in found):
        raise _wrong(f"object ids of {digits} digits in `{name.decode()}`")
    return found


def _said(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    found = [value for key, value in headers if key == name]
    if len(found) != 1:
        raise _wrong(f"one {name.decode()}")
    return found[0].decode("utf-8", "replace")


def _wrong(expected: str) -> Malformed:
    return Malformed("git-commit", f"git commit: expected {expected}")
