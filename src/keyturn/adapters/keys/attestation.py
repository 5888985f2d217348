"""Judge how a key was attested, once, when its holder joins (WebAuthn Level 3, 7.1 steps 22 to 24), by what a roster lists.

(1) the authenticator's model is listed; (2) the statement is its maker's word for this very key, with a certificate that may give
it it (section 8: `fido2` verifies packed, tpm, apple, fido-u2f, android-safetynet, and that the certificate is for this model);
(3) the certificate leads to a root that is listed for this model, all of them valid now (OpenSSL's path validation).

Whether a certificate was withdrawn is not asked: nothing is fetched. A list of what makers withdrew comes with FIDO's metadata
(`adapters.keys.fido_metadata`), when somebody brings it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from fido2.attestation.base import Attestation, AttestationType, InvalidAttestation
from fido2.utils import sha256 as sha256_bytes
from fido2.webauthn import AttestationObject
from webauthn.helpers import validate_certificate_chain
from webauthn.helpers.exceptions import InvalidCertificateChain

from keyturn.errors import Refused
from keyturn.formats.digest import sha256
from keyturn.trust.attestation import Authenticator

__all__ = ["judge"]

_BROKEN = (
    InvalidAttestation,
    UnsupportedAlgorithm,
    NotImplementedError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    RecursionError,
)
"""What the library raises for bytes that are no attestation; it does not promise to raise its own errors alone."""


def judge(attestation_object: bytes, client_data: bytes, authenticators: Mapping[str, Authenticator]) -> str:
    """The SHA-256 of the root that carries this attestation, listed for its very model; or `Refused` by name."""
    try:
        made = AttestationObject(attestation_object)
        if made.auth_data.credential_data is None:
            raise ValueError("it holds no key")
        aaguid = bytes(made.auth_data.credential_data.aaguid).hex()
    except _BROKEN as err:
        raise _invalid(err) from err
    known = authenticators.get(aaguid)
    if known is None:  # (1)
        raise Refused(
            "attestation-unlisted",
            f"the key is in an authenticator `{aaguid}`, which the roster does not list",
            hint=f"keyturn trust authenticator {aaguid} --root FILE; or a key in another",
        )
    try:
        found = Attestation.for_type(made.fmt)().verify(made.att_stmt, made.auth_data, sha256_bytes(client_data))  # (2)
        if found.attestation_type in (AttestationType.SELF, AttestationType.NONE) or not found.trust_path:
            raise ValueError("no maker signed it")
    except _BROKEN as err:
        raise _invalid(err) from err
    for root in known.roots:  # (3)
        if _leads_to(found.trust_path, root):
            return sha256(root)
    raise Refused(
        "attestation-untrusted",
        f"the attestation of the key leads to none of the {len(known.roots)} roots that are listed for `{known.name}`",
        hint="the key is counterfeit, or the roster lists another root than its maker's: ask whoever pinned it",
    )


def _leads_to(chain: Sequence[bytes], root: bytes) -> bool:
    """Whether `chain`, the leaf first, is valid under `root`. A maker without an authority is listed with the leaf itself."""
    if chain[0] == root:
        return True
    try:
        pinned = x509.load_der_x509_certificate(root).public_bytes(Encoding.PEM)
        return validate_certificate_chain(x5c=list(chain), pem_root_certs_bytes=[pinned])
    except (InvalidCertificateChain, *_BROKEN):
        return False


def _invalid(err: Exception) -> Refused:
    return Refused(
        "attestation-invalid",
        f"the attestation of the key does not hold: {(str(err) or type(err).__name__)[:200]}",
        hint="the key is counterfeit, or attested in a way that is not known here: use another",
        detail=repr(err),
    )
