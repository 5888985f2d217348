"""Parse and render signed notes: a text, a blank line, and signature lines `— <key name> <base64>`.

Follows C2SP signed-note v1.0.0. A key is named by its name and a 4-byte key id, which is an identifier and no proof:
the verifier holds the whole key. `text` keeps the bytes that were signed, final newline included. A note is at most
`SIZE_BYTES_MAX` bytes and `SIGNATURES_MAX` signatures; everything else the specification accepts is accepted.

This is NOT verification: a parsed note has not been signed by anybody. See `tlog.verify_checkpoint`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from keyturn.errors import Malformed
from keyturn.formats import base64_text

__all__ = [
    "COSIGNATURE_V1",
    "ED25519",
    "Note",
    "NoteSignature",
    "check_key_name",
    "key_id",
    "parse",
    "parse_signature_lines",
    "render",
    "render_signature_line",
    "verifier_key",
]

SIZE_BYTES_MAX = 256 * 1024
SIGNATURES_MAX = 64
KEY_NAME_BYTES_MAX = 255

ED25519: Final = 0x01
"""Signature type: Ed25519 over the note's text."""
COSIGNATURE_V1: Final = 0x04
"""Signature type: timestamped Ed25519 cosignature (`formats.cosignature`)."""

_DASH = "— "


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who is said to have signed, and the signature without the key id."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.key_id) != 4 or not self.signature:
            raise Malformed("note-signature", "note: expected a 4-byte key id and a signature that is not empty")


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and the signatures under it."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        _check_text(self.text)
        if not self.text.endswith(b"\n"):
            raise Malformed("note-text", "note: expected the text to end in a newline")
        if not 1 <= len(self.signatures) <= SIGNATURES_MAX:
            raise Malformed(
                "note-signature-count", f"note: expected 1 to {SIGNATURES_MAX} signatures, got {len(self.signatures)}"
            )

    def with_signatures(self, *more: NoteSignature) -> Note:
        """The same text with `more` signatures after its own."""
        return Note(self.text, self.signatures + more)


def key_id(name: str, signature_type: int, public_key: bytes) -> bytes:
    """Compute the 4-byte key id of a raw public key used under `name` for one type of signature.

    >>> key_id("example.com/foo", ED25519, bytes(32)).hex()
    'ae0599c0'
    """
    return hashlib.sha256(name.encode("utf-8") + b"\n" + bytes((signature_type,)) + public_key).digest()[:4]


def verifier_key(name: str, signature_type: int, public_key: bytes) -> str:
    """Render a C2SP verifier key (vkey) `<name>+<key id>+<base64>`, as other tools are configured with."""
    identifier = key_id(check_key_name(name), signature_type, public_key).hex()
    return f"{name}+{identifier}+{base64_text.encode(bytes((signature_type,)) + public_key)}"


def parse(raw: bytes) -> Note:
    """Parse the signed note `raw`, or raise `Malformed`."""
    if len(raw) > SIZE_BYTES_MAX:
        raise Malformed("note-too-large", f"note: expected at most {SIZE_BYTES_MAX} bytes, got {len(raw)}")
    text, blank, lines = raw.rpartition(b"\n\n")
    if not blank:
        raise Malformed("note-form", "note: expected a text, a blank line and signature lines")
    return Note(text + b"\n", parse_signature_lines(lines))


def parse_signature_lines(raw: bytes) -> tuple[NoteSignature, ...]:
    """Parse signature lines alone, each ending in a newline: what a witness answers."""
    if len(raw) > SIZE_BYTES_MAX:
        raise Malformed("note-too-large", f"note: expected at most {SIZE_BYTES_MAX} bytes, got {len(raw)}")
    lines = _check_text(raw).split("\n")
    if lines.pop() != "" or not 1 <= len(lines) <= SIGNATURES_MAX:
        raise Malformed(
            "note-signature-count", f"note: expected 1 to {SIGNATURES_MAX} signature lines, each ending in a newline"
        )
    return tuple(_parse_line(line) for line in lines)


def render(note: Note) -> bytes:
    """Render `note`; `parse` gives it back."""
    return note.text + b"\n" + b"".join(render_signature_line(signature) for signature in note.signatures)


def render_signature_line(signature: NoteSignature) -> bytes:
    """Render one signature line, newline included."""
    return f"{_DASH}{signature.name} {base64_text.encode(signature.key_id + signature.signature)}\n".encode()


def check_key_name(name: str) -> str:
    """Accept a key name: not empty, without spaces, plus signs or control characters, at most 255 bytes."""
    if not name or "+" in name or any(c.isspace() or c < " " for c in name):
        raise Malformed("note-key-name", "note: expected a key name without spaces, plus signs and control characters")
    if len(name.encode("utf-8", "surrogatepass")) > KEY_NAME_BYTES_MAX:
        raise Malformed("note-key-name", f"note: expected a key name of at most {KEY_NAME_BYTES_MAX} bytes")
    return name


def _parse_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise Malformed("note-signature", f"note: expected a line `— <key name> <base64>`, got `{line[:80]}`")
    raw = base64_text.decode(encoded, what="note signature")
    if len(raw) < 5:
        raise Malformed("note-signature", f"note: expected a signature of at least 5 bytes, got {len(raw)}")
    return NoteSignature(name, raw[:4], raw[4:])


def _check_text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise Malformed("note-text", "note: expected UTF-8") from err
    if any(character < " " and character != "\n" for character in text):
        raise Malformed("note-text", "note: expected no control characters but newline")
    return text
