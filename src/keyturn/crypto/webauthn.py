"""Verify the assertion of a passkey or security key over a record (WebAuthn Level 3, section 7.2).

1. parse, in its one form;
2. client data: this challenge, on a signing page that the roster names, in no other site's frame;
3. authenticator data: this relying party; a touch; the user verified, when that is asked for;
4. device-bound or synced, as it was when the key was enrolled: a key that changes is another key;
5. the signature.

The signature counter is not looked at: synced passkeys report 0, and a record's digest makes each signature unique.
This is NOT enrolment: attestations are verified once, when a person joins (`adapters.keys.webauthn_enrolment`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from keyturn.crypto.ecdsa_form import low_s_der
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import webauthn
from keyturn.formats.webauthn import Assertion, Purpose

__all__ = ["RelyingParty", "canonical", "verify"]


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Where a passkey signs: its id, and the pages (origins) at which it may."""

    id: str
    origins: frozenset[str]


def canonical(assertion: Assertion, key: PublicKey) -> bytes:
    """The bytes that a DSSE signature carries for what an authenticator gave."""
    if key.scheme == "ed25519":
        return webauthn.render(assertion)
    low = low_s_der(assertion.signature)
    return webauthn.render(Assertion(assertion.authenticator_data, assertion.client_data, low))


def verify(
    sig: bytes,
    message: bytes,
    *,
    key: PublicKey,
    party: RelyingParty,
    synced: bool,
    purpose: Purpose,
    user_verified: bool,
) -> None:
    """Check that `sig` is an assertion by `key` over `message` for `purpose`; or raise `Malformed` or `Refused`."""
    assertion = webauthn.parse(sig)  # (1)
    if canonical(assertion, key) != sig:
        raise Refused(
            "signature-not-canonical", f"signature by key `{key.keyid[:16]}`: expected its canonical encoding"
        )
    challenge = webauthn.challenge_of(purpose, message)
    webauthn.check_client_data(assertion.client_data, challenge=challenge, origins=party.origins, ceremony="get")  # (2)
    data = webauthn.parse_authenticator_data(assertion.authenticator_data)  # (3)
    if data.rp_id_hash != hashlib.sha256(party.id.encode("ascii")).digest():
        raise Refused("webauthn-relying-party", f"the passkey was used for another site than `{party.id}`")
    if not data.flags & webauthn.USER_PRESENT:
        raise Refused("signature-untouched", f"the passkey `{key.keyid[:16]}` was not touched")
    if user_verified and not data.flags & webauthn.USER_VERIFIED:
        raise Refused(
            "signature-user-unverified", f"the passkey `{key.keyid[:16]}` was touched, and did not verify by whom"
        )
    if bool(data.flags & webauthn.BACKUP_ELIGIBLE) != synced:  # (4)
        raise Refused(
            "webauthn-backup-changed",
            f"the roster says that passkey `{key.keyid[:16]}` is {_kept(synced)}, and it says the opposite",
        )
    key.verify(assertion.signature, assertion.signed)  # (5)


def _kept(synced: bool) -> str:
    return "synced between devices" if synced else "bound to one device"
