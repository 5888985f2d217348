"""Sign with software keys; parse and render their encrypted PKCS#8 form.

A software key can ask for access and can sign trust metadata; it approves in `profile: demo` only
(`grants.verify_grant`, step 4). No private key is ever in a repr, a log or an exception.
"""

from __future__ import annotations

from typing import NoReturn

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from keyturn.crypto.keys import PublicKey, Scheme, canonical_signature
from keyturn.errors import KeyturnError, Malformed, Refused

__all__ = ["SoftwareKey"]

_PASSPHRASE_BYTES_MAX = 1023
_PEM_BYTES_MAX = 16 * 1024
_PEM_STARTS = (b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


class SoftwareKey:
    """A private key in memory. `render` gives PKCS#8 PEM for a file."""

    __slots__ = ("_private", "public")

    def __init__(self, private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        der = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public = PublicKey.from_spki(der)

    @classmethod
    def generate(cls, scheme: Scheme = "ed25519") -> SoftwareKey:
        """Make a new key, from the operating system's randomness (through OpenSSL)."""
        if scheme == "ed25519":
            return cls(ed25519.Ed25519PrivateKey.generate())
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def parse(cls, pem: bytes, *, passphrase: bytes | None) -> SoftwareKey:
        """Parse PKCS#8 PEM; `Refused` when the passphrase is missing or wrong, `Malformed` for anything else."""
        if not pem.startswith(_PEM_STARTS) or len(pem) > _PEM_BYTES_MAX:
            raise Malformed("key-invalid", "private key: expected a PKCS#8 PEM")
        private = _load(pem, passphrase)
        if isinstance(private, KeyturnError):
            raise private
        if isinstance(private, ec.EllipticCurvePrivateKey) and not isinstance(private.curve, ec.SECP256R1):
            raise Malformed("key-algorithm", f"private key: expected Ed25519 or ECDSA P-256, got {private.curve.name}")
        if not isinstance(private, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise Malformed(
                "key-algorithm", f"private key: expected Ed25519 or ECDSA P-256, got {type(private).__name__}"
            )
        return cls(private)

    def render(self, *, passphrase: bytes | None) -> bytes:
        """Render PKCS#8 PEM, encrypted when a passphrase is given; `None` is for files of mode 0600."""
        if passphrase is None:
            encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        elif 1 <= len(passphrase) <= _PASSPHRASE_BYTES_MAX:
            encryption = serialization.BestAvailableEncryption(passphrase)
        else:
            raise Refused("key-passphrase", f"private key: expected a passphrase of 1 to {_PASSPHRASE_BYTES_MAX} bytes")
        return self._private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    def sign(self, message: bytes) -> bytes:
        """Sign raw bytes: for signed notes. Records are signed with `crypto.dsse_signing.sign`."""
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(message)
        return self._private.sign(message, ec.ECDSA(hashes.SHA256()))

    def sign_record(self, message: bytes) -> bytes:
        """Sign the DSSE encoding of a record, or TUF metadata (`crypto.dsse_signing.RecordSigner`)."""
        return canonical_signature(self.public.scheme, self.sign(message))

    def __repr__(self) -> str:
        return f"SoftwareKey({self.public.keyid[:16]})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled")


def _load(pem: bytes, passphrase: bytes | None) -> PrivateKeyTypes | KeyturnError:
    # The error is returned, not raised here: cryptography's own errors quote lines of the key's PEM, and an exception
    # raised while one of them is handled would carry it along as its context, into tracebacks and logs.
    try:
        return serialization.load_pem_private_key(pem, password=passphrase)
    except TypeError:
        return Refused(
            "key-passphrase", "private key: it is encrypted, and no passphrase was given (or the other way round)"
        )
    except (ValueError, UnsupportedAlgorithm, InternalError):  # OpenSSL's own word for some keys of the wrong length
        if passphrase is not None:
            return Refused("key-passphrase", "private key: wrong passphrase, or not a PKCS#8 PEM")
        return Malformed("key-invalid", "private key: expected a PKCS#8 PEM")
