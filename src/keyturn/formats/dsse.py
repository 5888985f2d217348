"""Parse and render DSSE 1.0 envelopes with one or more signatures.

Follows secure-systems-lab/dsse (protocol.md, envelope.md). `pae` is what is signed; `keyid` is a hint that never
decides who signed. `parse_own` is for Keyturn's own records: the whole envelope must be canonical JSON, so that one
record has one text. `parse_foreign` is for what others made: strict about structure, and the bytes are kept as they came.

This is NOT verification: that a signature is there says nothing. See `crypto.keys` and `grants.verify_grant`.
"""

from __future__ import annotations

import binascii
import re

import msgspec

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.text import KeyId

__all__ = ["IN_TOTO", "Envelope", "Signature", "pae", "parse_foreign", "parse_own", "render", "require_own"]

IN_TOTO = "application/vnd.in-toto+json"

SIGNATURES_MAX = 16
PAYLOAD_BYTES_MAX = 512 * 1024

_KEYID = re.compile(r"[0-9a-f]{64}\Z")


class Signature(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One signature over `pae(payload_type, payload)`, by the key that `keyid` hints at."""

    keyid: str
    sig: bytes


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A payload with its signatures. `record_digest` names the record: SHA-256 of the payload bytes."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def record_digest(self) -> Sha256:
        return sha256(self.payload)


class _WireSignature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    keyid: KeyId
    sig: str


class _Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: tuple[_WireSignature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Give the DSSE pre-authentication encoding; lengths count bytes.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def parse_own(raw: bytes) -> Envelope:
    """Parse one of Keyturn's own envelopes: canonical JSON, canonical base64, in-toto payload type."""
    envelope = _in_one_pass(raw)
    return envelope if envelope is not None and _is_own(envelope, raw) else _own_by_field(raw)


def _is_own(envelope: Envelope, raw: bytes) -> bool:
    """Whether `raw` is the one text of `envelope`: INVARIANT: what is accepted here, `_own_by_field` reads the same."""
    if len(raw) > canonical_json.SIZE_BYTES_MAX or render(envelope) != raw:
        return False
    return all(_KEYID.match(signature.keyid) for signature in envelope.signatures)


def _own_by_field(raw: bytes) -> Envelope:
    """Read one of our own envelopes one field after the other: it names what is wrong."""
    wire = canonical_json.decode(raw, _Wire, what="envelope")
    envelope = _envelope(wire)
    if render(envelope) != raw:
        raise Malformed("dsse-not-canonical", "envelope: expected its one canonical text, got another one")
    return envelope


def require_own(envelope: Envelope, raw: bytes) -> None:
    """Check that `envelope`, which `parse_foreign` read from `raw`, is what `parse_own` gives; or raise what that raises."""
    if not _is_own(envelope, raw):
        _own_by_field(raw)  # names what is wrong


def parse_foreign(raw: bytes, *, size_bytes_max: int = 16 << 20) -> Envelope:
    """Parse an in-toto envelope that another tool made; unknown fields and other texts of JSON are its maker's affair."""
    if len(raw) > size_bytes_max:
        raise Malformed("dsse-too-large", f"envelope: expected at most {size_bytes_max} bytes, got {len(raw)}")
    return _in_one_pass(raw) or _by_field(raw)


def _in_one_pass(raw: bytes) -> Envelope | None:
    try:
        envelope = _whole.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return envelope if _holds(envelope) else None


_whole = msgspec.json.Decoder(Envelope)
"""Reads what nearly every envelope is in one pass: INVARIANT: what it and `_holds` accept, `_by_field` reads the same."""


def _holds(envelope: Envelope) -> bool:
    if envelope.payload_type != IN_TOTO or not 0 < len(envelope.payload) <= PAYLOAD_BYTES_MAX:
        return False
    for signature in envelope.signatures:
        if not 0 < len(signature.sig) <= PAYLOAD_BYTES_MAX:
            return False
    return 1 <= len(envelope.signatures) <= SIGNATURES_MAX


def _by_field(raw: bytes) -> Envelope:
    """Read an envelope one field after the other: some signatures have no `keyid`, and an error says which field it is."""
    try:
        wire = _foreign.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("dsse-invalid", f"envelope: {err}") from err
    return _envelope(wire)


class _ForeignSignature(msgspec.Struct, frozen=True, kw_only=True):
    keyid: str = ""
    sig: str


class _ForeignWire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: tuple[_ForeignSignature, ...]


_foreign = msgspec.json.Decoder(_ForeignWire)


def render(envelope: Envelope) -> bytes:
    """Render the canonical JSON text of `envelope`."""
    return canonical_json.encode(envelope)  # which renders bytes as standard base64


def _envelope(wire: _Wire | _ForeignWire) -> Envelope:
    if not 1 <= len(wire.signatures) <= SIGNATURES_MAX:
        raise Malformed(
            "dsse-signature-count", f"envelope: expected 1 to {SIGNATURES_MAX} signatures, got {len(wire.signatures)}"
        )
    if wire.payload_type != IN_TOTO:  # what was signed as something else is no statement, whatever its bytes look like
        raise Malformed(
            "dsse-payload-type", f"envelope: expected payloadType `{IN_TOTO}`, got `{wire.payload_type[:80]}`"
        )
    return Envelope(
        payload_type=wire.payload_type,
        payload=_base64(wire.payload, "payload"),
        signatures=tuple([Signature(keyid=s.keyid, sig=_base64(s.sig, "sig")) for s in wire.signatures]),
    )


def _base64(text: str, what: str) -> bytes:
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as err:
        raise Malformed("dsse-base64", f"envelope: `{what}` is not base64: {err}") from err
    if not raw:
        raise Malformed("dsse-base64", f"envelope: `{what}` is empty")
    if len(raw) > PAYLOAD_BYTES_MAX:
        raise Malformed(
            "dsse-too-large", f"envelope: `{what}` has {len(raw)} bytes, expected at most {PAYLOAD_BYTES_MAX}"
        )
    return raw
