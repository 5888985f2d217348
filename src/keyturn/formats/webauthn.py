"""How a passkey's or security key's assertion travels in a DSSE signature, and what is in it.

`sig` is canonical JSON: {"authenticatorData": base64, "clientDataJSON": base64, "signature": base64}. The challenge is the
SHA-256 of `keyturn/webauthn/v1`, NUL, purpose, NUL, message, so that what was signed for one purpose is nothing for another,
and a login's challenge is never a record's. Follows WebAuthn Level 3: sections 6.1 (authenticator data) and 5.8.1.2 (the
limited verification of client data, which takes exactly the text that browsers write). Normative page: docs/formats/webauthn.md.

This is NOT verification: see `crypto.webauthn`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed, Refused
from keyturn.formats import base64_text, canonical_json

__all__ = [
    "BACKUP_ELIGIBLE",
    "USER_PRESENT",
    "USER_VERIFIED",
    "Assertion",
    "AuthenticatorData",
    "Purpose",
    "challenge_of",
    "check_client_data",
    "parse",
    "parse_authenticator_data",
    "render",
]

Purpose = Literal["record", "enrolment"]

USER_PRESENT: Final = 0x01
USER_VERIFIED: Final = 0x04
BACKUP_ELIGIBLE: Final = 0x08
_BACKED_UP: Final = 0x10
_TOO_MUCH: Final = 0xC0
"""Attested credential data and extensions: an assertion for us carries neither."""

_SIG_BYTES_MAX = 4096
_CLIENT_DATA_BYTES_MAX = 2048
_DOMAIN = b"keyturn/webauthn/v1"
Base64 = Annotated[str, Meta(min_length=4, max_length=3072)]


class _Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    authenticatorData: Base64  # noqa: N815  # WebAuthn's own names
    clientDataJSON: Base64  # noqa: N815  # likewise
    signature: Base64


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator gave: its data, the browser's text of what was asked, and the signature over both."""

    authenticator_data: bytes
    client_data: bytes
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return self.authenticator_data + hashlib.sha256(self.client_data).digest()


@dataclass(frozen=True, slots=True)
class AuthenticatorData:
    """The SHA-256 of the relying party's id, the flags, and the signature counter (0 for synced passkeys)."""

    rp_id_hash: bytes
    flags: int
    counter: int


def parse(sig: bytes) -> Assertion:
    """Parse the bytes of a DSSE signature by a passkey, or raise `Malformed`."""
    wire = canonical_json.decode(sig, _Wire, what="passkey signature", size_bytes_max=_SIG_BYTES_MAX)
    return Assertion(
        base64_text.decode(wire.authenticatorData, what="authenticatorData"),
        base64_text.decode(wire.clientDataJSON, what="clientDataJSON"),
        base64_text.decode(wire.signature, what="signature"),
    )


def render(assertion: Assertion) -> bytes:
    """Render the bytes of the DSSE signature; `parse(render(x)) == x`."""
    return canonical_json.encode(
        _Wire(
            authenticatorData=base64_text.encode(assertion.authenticator_data),
            clientDataJSON=base64_text.encode(assertion.client_data),
            signature=base64_text.encode(assertion.signature),
        )
    )


def parse_authenticator_data(raw: bytes) -> AuthenticatorData:
    """Parse the 37 bytes of an assertion's authenticator data; with attested data or extensions it is refused."""
    if len(raw) != 37 or raw[32] & _TOO_MUCH:
        raise Malformed(
            "webauthn-authenticator-data",
            f"authenticator data: expected 37 bytes without extensions, got {len(raw)} with flags {raw[32:33].hex()}",
        )
    flags = raw[32]
    if flags & _BACKED_UP and not flags & BACKUP_ELIGIBLE:
        raise Malformed("webauthn-authenticator-data", "authenticator data: backed up, and not eligible to be")
    return AuthenticatorData(raw[:32], flags, int.from_bytes(raw[33:], "big"))


def challenge_of(purpose: Purpose, message: bytes) -> bytes:
    """The 32-byte challenge for `message` (the DSSE pre-authentication encoding)."""
    return hashlib.sha256(b"\0".join((_DOMAIN, purpose.encode("ascii"), message))).digest()


def check_client_data(
    raw: bytes, *, challenge: bytes, origins: frozenset[str], ceremony: Literal["get", "create"]
) -> None:
    """Check that `raw` is what a browser writes for this challenge at one of `origins`, and at no other page's bidding.

    `ceremony` is `get` when a passkey signs, and `create` when it is made.

    Raises `Refused`: `webauthn-challenge` for anything else that was signed, `webauthn-origin`, `webauthn-cross-origin`.
    """
    if len(raw) > _CLIENT_DATA_BYTES_MAX:
        raise Malformed("webauthn-client-data", f"client data: expected at most {_CLIENT_DATA_BYTES_MAX} bytes")
    encoded = base64.urlsafe_b64encode(challenge).rstrip(b"=")
    start = b'{"type":"webauthn.' + ceremony.encode("ascii") + b'","challenge":"' + encoded + b'","origin":"'
    if not raw.startswith(start):
        raise Refused("webauthn-challenge", "the passkey signed something else than this")
    for origin in origins:
        rest = raw[len(start) :].removeprefix(origin.encode("ascii") + b'","crossOrigin":')
        if len(rest) < len(raw) - len(start):
            if not rest.startswith(b"false") or rest[5:6] not in (b"}", b",") or b'"topOrigin"' in rest:
                raise Refused("webauthn-cross-origin", "the passkey was used from within another site's page")
            if not rest.endswith(b"}"):
                raise Malformed("webauthn-client-data", "client data: expected a JSON object")
            return
    raise Refused(
        "webauthn-origin",
        "the passkey was used on a page that the roster does not name as a signing page",
        hint="keyturn trust show lists the signing pages",
    )
