"""Parse and render an offline proof that a leaf is in the log: index, inclusion proof and cosigned checkpoint, as text.

Follows C2SP tlog-proof v1. In Keyturn's own proofs `extra` is the leaf itself (docs/formats/tlog-proof.md); it is not
authenticated, and a verifier computes the leaf from the record it holds.

This is NOT verification; see `tlog.proof`.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.errors import Malformed
from keyturn.formats import base64_text
from keyturn.formats.checkpoint import SIZE_MAX, parse_size

__all__ = ["HASHES_MAX", "TlogProof", "parse", "parse_hashes", "render"]

SIZE_BYTES_MAX = 512 * 1024
HASHES_MAX = 63
EXTRA_BYTES_MAX = 64 * 1024

_FIRST = b"c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """`hashes` go from the leaf's sibling up to the root's child; `note` is the signed checkpoint, byte for byte."""

    index: int
    hashes: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= SIZE_MAX:
            raise Malformed("tlog-proof-index", f"tlog proof: expected an index of 0 to {SIZE_MAX}, got {self.index}")
        if len(self.hashes) > HASHES_MAX or any(len(found) != 32 for found in self.hashes):
            raise Malformed("tlog-proof-hashes", f"tlog proof: expected at most {HASHES_MAX} hashes of 32 bytes")
        if not self.note:
            raise Malformed("tlog-proof-form", "tlog proof: expected a checkpoint after the empty line")
        if self.extra is not None and not 1 <= len(self.extra) <= EXTRA_BYTES_MAX:
            raise Malformed("tlog-proof-extra", f"tlog proof: expected extra data of 1 to {EXTRA_BYTES_MAX} bytes")


def parse(raw: bytes) -> TlogProof:
    """Parse the proof `raw`, or raise `Malformed`."""
    if len(raw) > SIZE_BYTES_MAX:
        raise Malformed("tlog-proof-too-large", f"tlog proof: expected at most {SIZE_BYTES_MAX} bytes, got {len(raw)}")
    head, blank, note = raw.partition(b"\n\n")
    if not blank or not head.isascii():
        raise Malformed("tlog-proof-form", "tlog proof: expected lines of ASCII, an empty line and a checkpoint")
    first, *lines = head.split(b"\n")
    if first != _FIRST:
        raise Malformed("tlog-proof-form", f"tlog proof: expected the first line `{_FIRST.decode()}`")
    extra = None
    if lines and lines[0].startswith(b"extra "):
        extra = base64_text.decode(lines.pop(0).removeprefix(b"extra ").decode(), what="tlog proof extra")
    if not lines or not lines[0].startswith(b"index "):
        raise Malformed("tlog-proof-form", "tlog proof: expected a line `index <decimal>`")
    index = parse_size(lines.pop(0).removeprefix(b"index ").decode(), what="tlog proof index")
    return TlogProof(index, parse_hashes(lines, what="tlog proof"), note, extra)


def render(proof: TlogProof) -> bytes:
    """Render `proof`; `parse` gives it back."""
    lines = [_FIRST.decode()]
    if proof.extra is not None:
        lines.append(f"extra {base64_text.encode(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines.extend(base64_text.encode(found) for found in proof.hashes)
    return "\n".join([*lines, "", ""]).encode("ascii") + proof.note


def parse_hashes(lines: list[bytes], *, what: str) -> tuple[bytes, ...]:
    """Parse lines of ASCII of one base64 SHA-256 hash each, at most 63."""
    if len(lines) > HASHES_MAX:
        raise Malformed("tlog-proof-hashes", f"{what}: expected at most {HASHES_MAX} hashes, got {len(lines)}")
    hashes = tuple(base64_text.decode(line.decode("ascii"), what=what) for line in lines)
    if any(len(found) != 32 for found in hashes):
        raise Malformed("tlog-proof-hashes", f"{what}: expected hashes of 32 bytes")
    return hashes
