"""Verify how a passkey was made, once, when its holder joins (WebAuthn Level 3, section 7.1), with the `webauthn` library.

(1) client data: made on a signing page, for this very invitation, in no other site's frame; (2) the library: relying party, user
present and verified, the key's algorithm, the attestation's signature; (3) what it proves, as the roster lists keys.

`attestation` says what a certificate in the registration says; an attestation by the key itself, which anybody can make, is none.
Certificates are held against makers' roots where the roster lists any: `adapters.keys.attestation`.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from webauthn import verify_registration_response
from webauthn.helpers import (
    bytes_to_base64url,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_attestation_object,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationFormat,
    AttestationObject,
    AuthenticatorAttestationResponse,
    CredentialDeviceType,
    RegistrationCredential,
)
from webauthn.registration.verify_registration_response import VerifiedRegistration

from keyturn.adapters.keys.attestation import judge
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import base64_text, webauthn
from keyturn.formats.dsse import pae
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.enrolment import INVITATION_TYPE, Registration
from keyturn.trust.attestation import Authenticator

__all__ = ["WebauthnEnrolment"]

_ALGORITHMS = [COSEAlgorithmIdentifier.ECDSA_SHA_256, COSEAlgorithmIdentifier.EDDSA]
_BROKEN = (
    WebAuthnException,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RecursionError,
)
"""What the library raises for bytes that are no registration; it does not promise to raise its own errors alone."""


class WebauthnEnrolment:
    """`ports.RegistrationVerifier` by the `webauthn` library."""

    def prove(
        self, registration: Registration, *, invitation: bytes, rp_id: str, origins: frozenset[str]
    ) -> EnrolledKey:
        client_data = base64_text.decode(registration.client_data, what="client_data")
        attested = base64_text.decode(registration.attestation_object, what="attestation_object")
        challenge = webauthn.challenge_of("enrolment", pae(INVITATION_TYPE, invitation))
        webauthn.check_client_data(client_data, challenge=challenge, origins=origins, ceremony="create")  # (1)
        try:
            made = parse_attestation_object(attested)
            proven = _verified(made, attested, client_data, challenge=challenge, rp_id=rp_id, origins=origins)  # (2)
            decoded = decoded_public_key_to_cryptography(decode_credential_public_key(proven.credential_public_key))
            spki = decoded.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            model = f"{AttestationFormat(proven.fmt).value}:{proven.aaguid.replace('-', '')}"
            attestation = model if made.att_stmt.x5c else None
        except _BROKEN as err:
            raise Refused(
                "registration-invalid", f"the passkey's registration proves nothing: {str(err)[:200]}", detail=repr(err)
            ) from err
        return EnrolledKey(  # (3)
            kind="fido2" if rp_id.startswith("keyturn:") else "webauthn",
            public=PublicKey.from_spki(spki).text,
            credential=base64_text.encode(proven.credential_id),
            rp_id=rp_id,
            synced=proven.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
            attestation=attestation,
        )

    def judge(self, registration: Registration, authenticators: Mapping[str, Authenticator]) -> str:
        return judge(
            base64_text.decode(registration.attestation_object, what="attestation_object"),
            base64_text.decode(registration.client_data, what="client_data"),
            authenticators,
        )


def _verified(
    made: AttestationObject, raw: bytes, client_data: bytes, *, challenge: bytes, rp_id: str, origins: frozenset[str]
) -> VerifiedRegistration:
    data = made.auth_data.attested_credential_data
    if data is None:
        raise ValueError("it holds no key")
    return verify_registration_response(
        credential=RegistrationCredential(
            id=bytes_to_base64url(data.credential_id),
            raw_id=data.credential_id,
            response=AuthenticatorAttestationResponse(client_data_json=client_data, attestation_object=raw),
        ),
        expected_challenge=challenge,
        expected_rp_id=rp_id,
        expected_origin=sorted(origins),
        require_user_verification=True,
        supported_pub_key_algs=_ALGORITHMS,
    )
