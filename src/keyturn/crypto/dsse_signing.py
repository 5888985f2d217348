"""Sign a payload into a DSSE envelope, and check an envelope's signature against a key that the caller chose.

The caller says which key must have signed; the envelope's `keyid` is compared to nothing but a hint that lies.
"""

from __future__ import annotations

from typing import Protocol

from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey, canonical_signature
from keyturn.errors import Refused
from keyturn.formats.dsse import IN_TOTO, Envelope, Signature, pae

__all__ = ["RecordSigner", "sign", "verify_all", "verify_one", "verify_user_verified"]


class RecordSigner(Protocol):
    """A key that signs records: a software key, or one that asks its holder for a touch, a PIN or a fingerprint each time."""

    @property
    def public(self) -> PublicKey:
        """The key by which signatures verify."""

    def sign_record(self, message: bytes) -> bytes:
        """Sign the DSSE encoding `message`; in the canonical form of the key's kind (`crypto.credentials`)."""


def sign(payload: bytes, *signers: RecordSigner) -> Envelope:
    """Sign an in-toto `payload` with each of `signers`, at least one."""
    if not signers:
        raise Refused("signature-count", "expected at least one signer, got none")
    message = pae(IN_TOTO, payload)
    made = tuple(Signature(keyid=one.public.keyid, sig=one.sign_record(message)) for one in signers)
    return Envelope(payload_type=IN_TOTO, payload=payload, signatures=made)


def verify_one(envelope: Envelope, key: PublicKey | Credential) -> None:
    """Check that `envelope` carries exactly one signature, it is by `key`, and says so; or raise `Refused`."""
    _verify_one(envelope, key, user_verified=False)


def verify_user_verified(envelope: Envelope, key: Credential) -> None:
    """As `verify_one`, and `key` verified who used it, for this very signature: what approvals in production need."""
    _verify_one(envelope, key, user_verified=True)


def _verify_one(envelope: Envelope, key: PublicKey | Credential, *, user_verified: bool) -> None:
    if len(envelope.signatures) != 1:
        raise Refused("signature-count", f"expected exactly one signature, got {len(envelope.signatures)}")
    signature = envelope.signatures[0]
    if signature.keyid != key.keyid:
        raise Refused("signature-key", f"expected a signature by key `{key.keyid[:16]}`, got `{signature.keyid[:16]}`")
    _verify(key, signature.sig, pae(envelope.payload_type, envelope.payload), user_verified=user_verified)


def verify_all(envelope: Envelope, keys: tuple[PublicKey | Credential, ...]) -> None:
    """Check that each of `keys` (distinct, not empty) has signed; or raise `Refused`. Other signatures are ignored."""
    if not keys or len({key.keyid for key in keys}) != len(keys):
        raise Refused("signature-count", "expected at least one key, each once")
    message = pae(envelope.payload_type, envelope.payload)
    for key in keys:
        found = [signature for signature in envelope.signatures if signature.keyid == key.keyid]
        if not found:
            raise Refused("signature-missing", f"expected a signature by key `{key.keyid[:16]}`, got none")
        _verify(key, found[0].sig, message, user_verified=False)


def _verify(key: PublicKey | Credential, signature: bytes, message: bytes, *, user_verified: bool) -> None:
    if isinstance(key, Credential):
        key.verify(signature, message, user_verified=user_verified)
        return
    if canonical_signature(key.scheme, signature) != signature:
        raise Refused(
            "signature-not-canonical",
            f"signature by key `{key.keyid[:16]}`: expected its canonical encoding, got another",
        )
    key.verify(signature, message)
