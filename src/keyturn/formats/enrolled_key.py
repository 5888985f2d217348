"""One key of a person as roster.toml and acceptances list it: its kind, its public half, and what its signatures must match.

    { kind = "software", public = "<base64 of SubjectPublicKeyInfo DER>" }              also `pkcs11` and `ssh`
    { kind = "ssh-sk", public = "...", application = "ssh:" }
    { kind = "webauthn", public = "...", credential = "<base64>", rp_id = "localhost", attestation = "packed:<aaguid>" }
    { kind = "fido2", public = "...", credential = "<base64>", rp_id = "keyturn:acme.example" }

This is NOT a key that verifies: `crypto.credentials` makes one of it, and refuses combinations that make no sense.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats import base64_text
from keyturn.formats.text import HexDigest

__all__ = ["EnrolledKey", "KeyKind", "PublicKeyText", "RelyingPartyId", "terminal_of"]

KeyKind = Literal["software", "pkcs11", "ssh", "ssh-sk", "webauthn", "fido2"]
PublicKeyText = Annotated[str, Meta(max_length=400)]
Application = Annotated[str, Meta(pattern=r"\Assh:[!-~]{0,100}\Z")]
CredentialId = Annotated[str, Meta(min_length=4, max_length=1400)]
RelyingPartyId = Annotated[str, Meta(pattern=r"\A(?:keyturn:)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\Z")]
Attestation = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,40}:[0-9a-f]{32}\Z")]


class EnrolledKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key by its public half (base64 of its SubjectPublicKeyInfo DER) and how it signs.

    `attestation_root` is the SHA-256 of the root certificate by which the attestation was judged.
    """

    kind: KeyKind
    public: PublicKeyText
    application: Application | None = None
    credential: CredentialId | None = None
    rp_id: RelyingPartyId | None = None
    synced: bool = False
    attestation: Attestation | None = None
    attestation_root: HexDigest | None = None

    def __post_init__(self) -> None:
        if self.credential is not None:
            base64_text.decode(self.credential, what="credential")


def terminal_of(lab: str) -> str:
    """What security keys that sign in a terminal of `lab` are made for, as relying party and as origin.

    It is no domain: browsers make no assertion for it, whatever page asks.

    >>> terminal_of("acme.example")
    'keyturn:acme.example'
    """
    return f"keyturn:{lab}"
