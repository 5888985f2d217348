"""Read a public key that something is sealed to, which signs nothing: X25519 (RFC 7748), as SubjectPublicKeyInfo (RFC 8410)."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519

from keyturn.errors import Malformed

__all__ = ["holder_key"]


def holder_key(spki: bytes) -> x25519.X25519PublicKey:
    """Read a keyholder's public key, or raise `Malformed`; of two texts for one key, one is refused."""
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise Malformed("holder-key", "expected the SubjectPublicKeyInfo of an X25519 key") from err
    if not isinstance(key, x25519.X25519PublicKey):
        raise Malformed("holder-key", f"expected an X25519 key, got {type(key).__name__}")
    if spki[-1] & 0x80:  # RFC 7748 section 5: the bit is masked, so with it the text is another one for the same key
        raise Malformed("holder-key", "expected an X25519 key without its most significant bit, which means nothing")
    return key
