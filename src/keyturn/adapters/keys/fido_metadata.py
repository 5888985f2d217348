"""Take an authenticator's roots from FIDO's metadata, a file that somebody brought: nothing is fetched.

(1) the signer's certificate leads to the root that the caller names, and is for FIDO's own host, since an authority signs for
everybody; (2) it signed the list; (3) the list is not old; (4) nothing that was reported of the authenticator ends its use.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from fido2.cose import CoseKey

from keyturn.errors import Malformed, Refused
from keyturn.formats import fido_metadata
from keyturn.formats.fido_metadata import Metadata
from keyturn.trust.attestation import Authenticator

__all__ = ["authenticator_of", "read_root"]

_HOST: Final = "mds.fidoalliance.org"
_ALGORITHMS: Final = ("RS256", "ES256", "ES384", "ES512")
_BROKEN = (
    VerificationError,
    InvalidSignature,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
)
"""What the libraries raise for a chain or signature that does not hold, or is of another kind of key."""

_ENDING: Final = frozenset(
    {
        "REVOKED",
        "RETIRED",
        "USER_VERIFICATION_BYPASS",
        "ATTESTATION_KEY_COMPROMISE",
        "USER_KEY_REMOTE_COMPROMISE",
        "USER_KEY_PHYSICAL_COMPROMISE",
    }
)
"""Reports (FIDO Metadata Service 3, 3.1.4) after which a key in such an authenticator is enrolled by nobody."""


def authenticator_of(raw: bytes, aaguid: str, *, root: bytes, now: int) -> Authenticator:
    """The authenticator `aaguid` as the metadata `raw` lists it, signed under `root` (DER); `Malformed` or `Refused` by name."""
    found = fido_metadata.parse(raw)
    _verify(found, root=root, now=now)  # (1), (2)
    if found.next_update < datetime.fromtimestamp(now, UTC).date().isoformat():  # (3)
        raise Refused(
            "fido-metadata-old",
            f"FIDO's metadata is old since {found.next_update}: what was withdrawn since is not in it",
            hint="bring a new one: https://mds3.fidoalliance.org",
        )
    entry = found.entries.get(aaguid)
    if entry is None or not entry.roots:
        raise Refused(
            "fido-metadata-unlisted",
            f"FIDO's metadata lists no root for the authenticator `{aaguid}`",
            hint="compare the AAGUID with what its maker publishes; a root can be named by itself: --root FILE",
        )
    ending = sorted(entry.statuses & _ENDING)
    if ending:  # (4)
        raise Refused(
            "fido-metadata-withdrawn",
            f"FIDO's metadata reports of `{entry.description[:80]}`: {', '.join(ending)}",
            hint="use another authenticator",
        )
    return Authenticator(aaguid, entry.description[:200], entry.roots)


def read_root(raw: bytes) -> bytes:
    """The DER of the certificate in `raw`, which is PEM or DER."""
    try:
        text = raw.lstrip().startswith(b"-----BEGIN")
        read = x509.load_pem_x509_certificate(raw) if text else x509.load_der_x509_certificate(raw)
        return read.public_bytes(Encoding.DER)
    except ValueError as err:
        raise Malformed("attestation-root", f"expected a certificate, PEM or DER: {str(err)[:120]}") from err


def _verify(found: Metadata, *, root: bytes, now: int) -> None:
    try:
        trusted = Store([x509.load_der_x509_certificate(root)])
        chain = [x509.load_der_x509_certificate(der) for der in found.certificates]
        builder = PolicyBuilder().store(trusted).time(datetime.fromtimestamp(now, UTC))
        builder.build_server_verifier(x509.DNSName(_HOST)).verify(chain[0], chain[1:])
        if found.algorithm not in _ALGORITHMS:
            raise ValueError(f"signed with `{found.algorithm}`")
        key = CoseKey.for_name(found.algorithm).from_cryptography_key(chain[0].public_key())
        key.verify(found.signed, found.signature)
    except _BROKEN as err:
        raise Refused(
            "fido-metadata-unsigned",
            f"FIDO's metadata is not signed by `{_HOST}` under the root that you named: {str(err)[:200]}",
            hint="https://fidoalliance.org/metadata names the root: compare it by another way",
        ) from err
