"""Make a key in a security key, and sign records with it: what travels is what a passkey's signature is made of.

What is signed was shown by the command that asks (`cli`), on the same screen: a security key shows nothing itself.
"""

from __future__ import annotations

from fido2.webauthn import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialCreationOptions,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRequestOptions,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from keyturn.adapters.security_key.client import ANSWER_WITHIN_MS, AskPin, client_of, errors_as_ours
from keyturn.adapters.security_key.devices import Devices, one_of
from keyturn.crypto import webauthn as verifier
from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.formats import base64_text, webauthn
from keyturn.formats.dsse import pae
from keyturn.formats.enrolled_key import terminal_of
from keyturn.formats.enrolment import INVITATION_TYPE, Registration, parse_invitation

__all__ = ["SecurityKeySigner", "register"]

_ES256, _EDDSA = -7, -8


class SecurityKeySigner:
    """`RecordSigner` by the security key that holds `credential`: asks for its PIN and a touch, each time."""

    def __init__(self, credential: Credential, *, devices: Devices, pin: AskPin) -> None:
        assert credential.party is not None  # a terminal's key has one
        self._credential = credential
        self._rp_id = credential.party.id
        self._devices = devices
        self._pin = pin
        self.public: PublicKey = credential.key

    def sign_record(self, message: bytes) -> bytes:
        held = base64_text.decode(self._credential.id, what="credential")
        options = PublicKeyCredentialRequestOptions(
            challenge=webauthn.challenge_of("record", message),
            timeout=ANSWER_WITHIN_MS,
            rp_id=self._rp_id,
            allow_credentials=[PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=held)],
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        with errors_as_ours(), one_of(self._devices, rp_id=self._rp_id, credential=held) as device:
            answer = client_of(device, rp_id=self._rp_id, pin=self._pin).get_assertion(options).get_response(0).response
        made = webauthn.Assertion(bytes(answer.authenticator_data), bytes(answer.client_data), answer.signature)
        signature = verifier.canonical(made, self.public)
        self._credential.verify(signature, message, user_verified=True)
        return signature


def register(invitation: bytes, *, devices: Devices, pin: AskPin) -> Registration:
    """Make a key for `invitation` in the security key that is meant, with its attestation."""
    offered = parse_invitation(invitation)
    rp_id = terminal_of(offered.lab)
    options = PublicKeyCredentialCreationOptions(
        rp=PublicKeyCredentialRpEntity(name=offered.lab, id=rp_id),
        user=PublicKeyCredentialUserEntity(name=offered.member, id=offered.member.encode("utf-8")[:64]),
        challenge=webauthn.challenge_of("enrolment", pae(INVITATION_TYPE, invitation)),
        pub_key_cred_params=[
            PublicKeyCredentialParameters(type=PublicKeyCredentialType.PUBLIC_KEY, alg=alg) for alg in (_ES256, _EDDSA)
        ],
        timeout=ANSWER_WITHIN_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        attestation=AttestationConveyancePreference.DIRECT,
    )
    with errors_as_ours(), one_of(devices, rp_id=rp_id, credential=None) as device:
        made = client_of(device, rp_id=rp_id, pin=pin).make_credential(options).response
    return Registration(
        attestation_object=base64_text.encode(bytes(made.attestation_object)),
        client_data=base64_text.encode(bytes(made.client_data)),
    )
