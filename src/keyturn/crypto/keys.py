"""Verify signatures with Ed25519 and ECDSA P-256 keys, each known by one id.

A key's identity is its SubjectPublicKeyInfo DER (RFC 5280, RFC 8410, RFC 5480): `keyid` is the SHA-256 of those bytes, so
one key cannot stand under two ids, whatever its text looked like. Only the canonical DER encoding (uncompressed
point for P-256) is accepted. `to_tuf` gives the same key to python-tuf and other users of securesystemslib.

This is NOT where private keys live: see `crypto.signers`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from keyturn.crypto.ecdsa_form import low_s_der
from keyturn.errors import Malformed, Refused
from keyturn.formats import base64_text

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

__all__ = ["PublicKey", "Scheme", "canonical_signature"]

Scheme = Literal["ed25519", "ecdsa-sha2-nistp256"]

_ECDSA_SHA256 = ec.ECDSA(hashes.SHA256())
_SPKI_BYTES_MAX = 256
_ED25519_PRIME = 2**255 - 19
_ED25519_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _ED25519_PRIME - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)
"""y coordinates of the eight points of small order: under such a key, anybody can sign anything."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that can verify. Made by `from_spki`, `from_text` or `from_ed25519`; equal when its DER is."""

    scheme: Scheme
    spki: bytes
    keyid: str
    _key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey = field(repr=False, compare=False, hash=False)

    @classmethod
    def from_spki(cls, der: bytes) -> Self:
        """Parse SubjectPublicKeyInfo DER; refuses other algorithms, other curves and non-canonical encodings."""
        if len(der) > _SPKI_BYTES_MAX:
            raise Malformed("key-invalid", f"public key: expected at most {_SPKI_BYTES_MAX} bytes, got {len(der)}")
        try:
            key = serialization.load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm) as err:
            raise Malformed("key-invalid", "public key: expected SubjectPublicKeyInfo DER", detail=str(err)) from err
        scheme: Scheme
        if isinstance(key, ed25519.Ed25519PublicKey):
            scheme = "ed25519"
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            scheme = "ecdsa-sha2-nistp256"
        else:
            raise Malformed("key-algorithm", f"public key: expected Ed25519 or ECDSA P-256, got {type(key).__name__}")
        if isinstance(key, ed25519.Ed25519PublicKey):
            _refuse_weak(key.public_bytes_raw())
        canonical = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if canonical != der:
            raise Malformed("key-not-canonical", "public key: expected the canonical DER encoding, got another one")
        return cls(scheme, der, hashlib.sha256(der).hexdigest(), key)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse the base64 of SubjectPublicKeyInfo DER, the one text form in Keyturn's own formats."""
        try:
            der = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as err:
            raise Malformed("key-invalid", "public key: expected base64 of SubjectPublicKeyInfo DER") from err
        if base64_text.encode(der) != text:
            raise Malformed("key-not-canonical", "public key: expected canonical base64")
        return cls.from_spki(der)

    @classmethod
    def from_ed25519(cls, raw: bytes) -> Self:
        """Make a key from the 32 raw bytes that C2SP verifier keys carry."""
        try:
            key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
        except ValueError as err:
            raise Malformed("key-invalid", f"Ed25519 key: expected 32 bytes, got {len(raw)}") from err
        _refuse_weak(raw)
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return cls("ed25519", der, hashlib.sha256(der).hexdigest(), key)

    @property
    def text(self) -> str:
        """Base64 of the SubjectPublicKeyInfo DER."""
        return base64_text.encode(self.spki)

    @property
    def raw_ed25519(self) -> bytes:
        """The 32 raw bytes of an Ed25519 key; `Malformed` for others."""
        if not isinstance(self._key, ed25519.Ed25519PublicKey):
            raise Malformed("key-algorithm", f"expected an Ed25519 key, got {self.scheme}")
        return self._key.public_bytes_raw()

    @property
    def p256_point(self) -> bytes:
        """The uncompressed point of a P-256 key, 65 bytes; `Malformed` for others."""
        if not isinstance(self._key, ec.EllipticCurvePublicKey):
            raise Malformed("key-algorithm", f"expected a P-256 key, got {self.scheme}")
        return self._key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check `signature` over `message`, or raise `Refused`. Never returns a truth value."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, _ECDSA_SHA256)
        except InvalidSignature as err:
            raise Refused("signature-invalid", f"signature by key `{self.keyid[:16]}` does not verify") from err

    def to_tuf(self) -> SSlibKey:
        """Give the key in securesystemslib's form, under Keyturn's key id."""
        from securesystemslib.signer import SSlibKey  # takes 100 ms to import; gates and TUF need it, hot paths do not

        if self.scheme == "ed25519":
            return SSlibKey(self.keyid, "ed25519", "ed25519", {"public": self.raw_ed25519.hex()})
        pem = self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return SSlibKey(self.keyid, "ecdsa", "ecdsa-sha2-nistp256", {"public": pem.decode("ascii")})


def canonical_signature(scheme: str, signature: bytes) -> bytes:
    """Give the one encoding of a bare signature that records carry: for ECDSA P-256 that with the smaller `s`.

    Ed25519 signatures have one encoding (RFC 8032 section 5.1.7, which OpenSSL checks). Raises `Refused` for what is no
    ECDSA signature.
    """
    return low_s_der(signature) if scheme == "ecdsa-sha2-nistp256" else signature


def _refuse_weak(raw: bytes) -> None:
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _ED25519_PRIME:
        raise Malformed("key-not-canonical", "Ed25519 key: expected the canonical encoding, got another one")
    if y in _ED25519_SMALL_ORDER:
        raise Malformed(
            "key-weak", "Ed25519 key: expected a point of large order, got one under which anybody can sign"
        )
