"""Verify SSHSIG signatures (PROTOCOL.sshsig, PROTOCOL.u2f of OpenSSH), and turn SSH keys into Keyturn's and back.

A security key's signature covers its application, its flags and its counter; the flags say whether the key verified its user
(a PIN or a fingerprint) for this very signature, or only felt a touch.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from keyturn.crypto.ecdsa_form import low_s
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused
from keyturn.formats import sshsig
from keyturn.formats.sshsig import Algorithm, Namespace, SshKey, SshSig, SshSignature

__all__ = ["canonical", "from_agent", "public_key", "ssh_key", "to_be_signed", "verify"]

_PRESENT, _VERIFIED = 0x01, 0x04


def public_key(key: SshKey) -> PublicKey:
    """The same key as a `PublicKey`; `Malformed` when the point is on no curve or weak."""
    if key.is_ed25519:
        return PublicKey.from_ed25519(key.point)
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.point)
    except ValueError as err:
        raise Malformed("key-invalid", "SSH key: expected a point of P-256") from err
    return PublicKey.from_spki(
        point.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def ssh_key(key: PublicKey, *, application: str | None) -> SshKey:
    """The same key as OpenSSH writes it; `application` (as `ssh:`) is for security keys."""
    ed25519 = key.scheme == "ed25519"
    plain: Algorithm = "ssh-ed25519" if ed25519 else "ecdsa-sha2-nistp256"
    hard: Algorithm = "sk-ssh-ed25519@openssh.com" if ed25519 else "sk-ecdsa-sha2-nistp256@openssh.com"
    point = key.raw_ed25519 if ed25519 else key.p256_point
    return SshKey(plain, point) if application is None else SshKey(hard, point, application)


def to_be_signed(message: bytes) -> bytes:
    """What an agent signs so that its answer is an SSHSIG over `message` in Keyturn's namespace."""
    return sshsig.signed_data(sshsig.NAMESPACE, "sha512", hashlib.sha512(message).digest())


def from_agent(key: SshKey, signature: bytes) -> bytes:
    """Make the SSHSIG blob, in its canonical form, from an agent's answer to `to_be_signed`."""
    found = sshsig.parse_signature(signature)
    if found.algorithm != key.algorithm:
        raise Malformed("sshsig-invalid", f"SSH agent: expected a signature by {key.algorithm}, got {found.algorithm}")
    return canonical(sshsig.render(SshSig(key, sshsig.NAMESPACE, "sha512", found)))


def canonical(blob: bytes) -> bytes:
    """The one form of an SSHSIG that records carry: ECDSA with the smaller `s`."""
    found = sshsig.parse(blob)
    if found.key.is_ed25519:
        return blob
    return sshsig.render(replace(found, signature=replace(found.signature, s=low_s(found.signature.s))))


def verify(
    blob: bytes,
    message: bytes,
    *,
    key: PublicKey,
    application: str | None,
    user_verified: bool,
    namespace: Namespace,
) -> None:
    """Check that `blob` is an SSHSIG by `key` over `message` in `namespace`; or raise `Refused`.

    Security keys (`application` is given) must at least have felt a touch; with `user_verified` they must have verified who
    touches them. For a key without that, `user_verified` is always refused.
    """
    if canonical(blob) != blob:
        raise Refused(
            "signature-not-canonical", f"signature by key `{key.keyid[:16]}`: expected its canonical encoding"
        )
    found = sshsig.parse(blob)
    if found.key != ssh_key(key, application=application):
        raise Refused("signature-key", f"expected a signature by key `{key.keyid[:16]}`, got one by another SSH key")
    if found.namespace != namespace:
        raise Refused(
            "sshsig-namespace", f"expected a signature for `{namespace}`, got one for `{found.namespace[:60]}`"
        )
    data = sshsig.signed_data(found.namespace, found.hash, hashlib.new(found.hash, message).digest())
    signature = found.signature
    if application is not None:
        _require_touch(signature, key, user_verified=user_verified)
        data = _security_key_data(application, signature, data)
    elif user_verified:
        raise Refused("signature-user-unverified", f"key `{key.keyid[:16]}` does not verify who uses it")
    raw = signature.raw if found.key.is_ed25519 else utils.encode_dss_signature(signature.r, signature.s)
    key.verify(raw, data)


def _require_touch(signature: SshSignature, key: PublicKey, *, user_verified: bool) -> None:
    if not signature.flags & _PRESENT:
        raise Refused("signature-untouched", f"the security key `{key.keyid[:16]}` was not touched")
    if user_verified and not signature.flags & _VERIFIED:
        raise Refused(
            "signature-user-unverified",
            f"the security key `{key.keyid[:16]}` was touched, and did not verify by whom",
            hint="make the key with ssh-keygen -t ed25519-sk -O verify-required",
        )


def _security_key_data(application: str, signature: SshSignature, data: bytes) -> bytes:
    return (
        hashlib.sha256(application.encode("ascii")).digest()
        + struct.pack(">BI", signature.flags, signature.counter)
        + hashlib.sha256(data).digest()
    )
