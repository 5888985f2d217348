"""Find every key of an authorized_keys file: each lets its holder in for as long as the line stands.

A line is `[options] type base64 [comment]` (sshd(8)). As sshd does, a key is looked for at the line's beginning, and then behind
its options, which end at the first blank outside of quotes: what looks like a key inside of options or a comment is none. A line
in which sshd finds no key opens nothing, and is passed over.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

from keyturn.standing.closing import typed
from keyturn.standing.finding import Finding, found

__all__ = ["KEYS_MAX", "keys_in"]

KEYS_MAX = 1000
"""Of one file that are named; more of them are one finding."""

_BLOB = re.compile(
    r"((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+)[ \t]+(AAAA[A-Za-z0-9+/]{20,}={0,2})(?=[ \t]|\Z)", re.ASCII
)
_COMMAND = re.compile(r'command="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


def keys_in(raw: bytes, *, where: str, file: str, user: str, root: bool, area: str) -> Iterator[Finding]:
    """The findings of one file, `file` as it is typed, which lets its keys in as `user`."""
    known: set[tuple[str, str]] = set()  # the same key with other options opens otherwise
    lines = raw.decode("utf-8", "surrogateescape").split("\n")
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        begin = 0
        key = _BLOB.match(text)
        if key is None:
            begin = _end_of_options(text)
            key = _BLOB.match(text, begin)
        if key is None:
            continue
        kind, blob = key[1], key[2]
        options = text[:begin].strip()
        if (options, blob) in known or not _is_key(kind, blob):
            continue
        known.add((options, blob))
        if len(known) > KEYS_MAX:
            yield found(
                "ssh-keys-too-many",
                area,
                where,
                opens=f"`{user}`, by more than {KEYS_MAX} keys",
                to="whoever holds one",
                severity="high",
                close=typed("rm", "-f", "--", file),  # nothing is emptied by a link
                mark=(raw,),
            )
            return
        comment = text[key.end(2) :].strip()
        authority = bool(re.search(r"(?:^|,)cert-authority(?:,|$)", options, re.IGNORECASE))
        command = _COMMAND.search(options)
        fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")
        what = (
            f"`{user}`, by ssh"
            + (f", to run `{command[1]}`" if command else "")
            + (f"; options: {options}" if options else "")
        )
        yield found(
            "ssh-authority" if authority else "ssh-key",
            area,
            where,
            opens=what,
            to=("whoever has a certificate of " if authority else "") + f"{fingerprint} {comment}",
            severity="high" if root or authority else "medium",
            close=typed("sed", "-i", f"\\|{blob}|d", file),
            mark=(options, kind, blob),
        )


def _end_of_options(text: str) -> int:
    """Where what follows the options begins."""
    quoted = False
    at = 0
    while at < len(text) and (quoted or text[at] not in " \t"):
        if text[at : at + 2] == '\\"':
            at += 1
        elif text[at] == '"':
            quoted = not quoted
        at += 1
    while at < len(text) and text[at] in " \t":
        at += 1
    return at


def _is_key(kind: str, blob: str) -> bool:
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    size = int.from_bytes(raw[:4])
    return raw[4 : 4 + size].decode("ascii", "replace").partition("-cert-")[0] == kind.partition("-cert-")[0]
