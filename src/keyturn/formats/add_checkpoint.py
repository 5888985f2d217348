"""Parse and render what a log sends to a witness: the size it believes the witness has seen, a proof, and a checkpoint.

Follows C2SP tlog-witness, `add-checkpoint`. This is NOT the witness's decision; see `tlog.witness`.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.errors import Malformed
from keyturn.formats import base64_text
from keyturn.formats.checkpoint import SIZE_MAX, parse_size
from keyturn.formats.note import Note
from keyturn.formats.note import parse as parse_note
from keyturn.formats.note import render as render_note
from keyturn.formats.tlog_proof import HASHES_MAX, parse_hashes

__all__ = ["SIZE_BYTES_MAX", "AddCheckpoint", "parse", "render"]

SIZE_BYTES_MAX = 300 * 1024


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """`proof` is the consistency proof from `old_size` to the checkpoint in `note`."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def __post_init__(self) -> None:
        if not 0 <= self.old_size <= SIZE_MAX:
            raise Malformed("add-checkpoint-form", f"add-checkpoint: expected an old size of 0 to {SIZE_MAX}")
        if len(self.proof) > HASHES_MAX or any(len(found) != 32 for found in self.proof):
            raise Malformed("add-checkpoint-form", f"add-checkpoint: expected at most {HASHES_MAX} hashes of 32 bytes")


def parse(raw: bytes) -> AddCheckpoint:
    """Parse a request body, or raise `Malformed`."""
    if len(raw) > SIZE_BYTES_MAX:
        raise Malformed("add-checkpoint-too-large", f"add-checkpoint: expected at most {SIZE_BYTES_MAX} bytes")
    head, blank, note = raw.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    if not blank or not head.isascii() or not first.startswith(b"old "):
        raise Malformed(
            "add-checkpoint-form", "add-checkpoint: expected `old <size>`, hashes, an empty line and a checkpoint"
        )
    old_size = parse_size(first.removeprefix(b"old ").decode("ascii"), what="add-checkpoint old size")
    return AddCheckpoint(old_size, parse_hashes(lines, what="add-checkpoint"), parse_note(note))


def render(request: AddCheckpoint) -> bytes:
    """Render the request body; `parse` gives it back."""
    lines = [f"old {request.old_size}", *(base64_text.encode(found) for found in request.proof), "", ""]
    return "\n".join(lines).encode("ascii") + render_note(request.note)
