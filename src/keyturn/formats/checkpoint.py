"""Parse and render the body of a checkpoint: three lines with a log's origin, its size and its root hash.

Follows C2SP tlog-checkpoint, restricted (docs/formats/checkpoint.md): the origin is printable ASCII without spaces and
plus signs, the size is at most 2^53 - 1, the root has 32 bytes, and there are no extension lines.

    acme.example/log
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

This is NOT verification: whoever wants to believe a checkpoint asks `tlog.verify_checkpoint`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from keyturn.errors import Malformed
from keyturn.formats import base64_text

__all__ = ["SIZE_MAX", "Checkpoint", "parse_body", "parse_size", "render_body"]

SIZE_MAX = 2**53 - 1
"""Leaves that a log may have; sizes in Keyturn's JSON records have the same bound."""

_ORIGIN = re.compile(r"[!-*,-~]{1,255}\Z")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,15})\Z")
_BODY_BYTES_MAX = 512


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree head: `root` is the RFC 6962 hash of its first `size` leaves."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _ORIGIN.match(self.origin):
            raise Malformed("checkpoint-origin", f"checkpoint: expected a printable origin, got `{self.origin[:80]}`")
        if not 0 <= self.size <= SIZE_MAX:
            raise Malformed("checkpoint-size", f"checkpoint: expected a size of 0 to {SIZE_MAX}, got {self.size}")
        if len(self.root) != 32:
            raise Malformed("checkpoint-root", f"checkpoint: expected a root of 32 bytes, got {len(self.root)}")


def parse_body(text: bytes) -> Checkpoint:
    """Parse the text of a checkpoint's note, final newline included, or raise `Malformed`."""
    if len(text) > _BODY_BYTES_MAX or not text.endswith(b"\n") or not text.isascii():
        raise Malformed(
            "checkpoint-form", f"checkpoint: expected at most {_BODY_BYTES_MAX} bytes of ASCII ending in a newline"
        )
    lines = text.decode("ascii").split("\n")
    if len(lines) != 4:
        raise Malformed(
            "checkpoint-form", f"checkpoint: expected three lines (origin, size, root), got {len(lines) - 1}"
        )
    origin, size, root, _ = lines
    return Checkpoint(
        origin, parse_size(size, what="checkpoint size"), base64_text.decode(root, what="checkpoint root")
    )


def render_body(checkpoint: Checkpoint) -> bytes:
    """Render the text that the log signs.

    >>> render_body(Checkpoint("acme.example/log", 1, bytes(32)))
    b'acme.example/log\\n1\\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\\n'
    """
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64_text.encode(checkpoint.root)}\n".encode("ascii")


def parse_size(text: str, *, what: str) -> int:
    """Parse a decimal without leading zeroes, 0 to 2^53 - 1; never reads a long text as a number."""
    if not _DECIMAL.match(text) or int(text) > SIZE_MAX:
        raise Malformed("checkpoint-size", f"{what}: expected a decimal of 0 to {SIZE_MAX}, got `{text[:40]}`")
    return int(text)
