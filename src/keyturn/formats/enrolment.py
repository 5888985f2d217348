"""Invite someone into a lab, and accept: how public keys get from a new member's machine into a proposal.

An invitation is canonical JSON, unsigned, kept by the lab that made it. An acceptance is a DSSE envelope over an in-toto
statement (`https://keyturn.dev/acceptance/v1`) whose subject is the invitation's SHA-256, signed by every key that it
enrols, so that nobody enrols a key that he does not hold. Neither goes to the log: what counts is that the humans of the
lab sign the roster that lists the keys (docs/formats/trust.md).

This is NOT an authority: an acceptance says what someone asks to be, and becomes true when a threshold signs it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats import canonical_json, statement
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.enrolled_key import EnrolledKey, PublicKeyText
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.text import HexDigest, LabName, MemberId, Name, Nonce, PosixTime, check_free_text

__all__ = [
    "ACCEPTANCE",
    "INVITATION_TYPE",
    "Acceptance",
    "AcceptedKey",
    "Invitation",
    "InviteeKind",
    "NewKeys",
    "Registration",
    "acceptance_payload",
    "parse_acceptance",
    "parse_invitation",
    "render_invitation",
]

ACCEPTANCE = "https://keyturn.dev/acceptance/v1"
INVITATION_TYPE = "application/vnd.keyturn.invitation+json"
"""The payload type under which an invitation's bytes are the challenge of the passkey that answers it."""

_BYTES_MAX = 64 * 1024

InviteeKind = Literal["human", "agent", "workload", "custodian"]
"""A custodian is a human, perhaps outside the lab, whose one key signs root only, for recovery."""


NewKeys = Literal["beside", "instead"]


class Invitation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Offer someone a place: the id and kind, the groups, whether a trust key and attested passkeys are asked for.

    `new_keys` is for whoever has the place already: other keys `beside` those that are listed, or `instead` of all of them.
    `signing` is where passkeys and security keys of the lab sign, as its draft says; None in invitations that do not say it.
    """

    lab: LabName
    nonce: Nonce
    member: MemberId
    kind: InviteeKind
    responsible: Annotated[tuple[MemberId, ...], Meta(max_length=16)] = ()
    groups: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    signs_trust: bool = False
    attested: bool = False
    new_keys: NewKeys | None = None
    signing: Annotated[tuple[Annotated[str, Meta(pattern=r"\A[!-~]{1,300}\Z")], ...], Meta(max_length=64)] | None = None
    until: PosixTime

    def __post_init__(self) -> None:
        if self.new_keys is not None and self.groups:
            raise ValueError("expected no groups with new keys: a place does not change with its keys")
        machine = self.kind in ("agent", "workload")
        if machine != bool(self.responsible):
            raise ValueError("expected responsible humans for an agent or workload, and for nobody else")
        if machine and self.signs_trust:
            raise ValueError("expected a human to sign trust, got a machine")
        if self.kind == "custodian" and (self.groups or not self.signs_trust):
            raise ValueError("expected a custodian in no group, who signs trust")


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an authenticator gave when it made a passkey or a terminal's key (WebAuthn Level 3, section 6.5), in base64."""

    attestation_object: Annotated[str, Meta(max_length=24 * 1024)]
    client_data: Annotated[str, Meta(max_length=3072)]


class AcceptedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key that its holder wants to sign with; passkeys come with how they were made."""

    key: EnrolledKey
    registration: Registration | None = None

    def __post_init__(self) -> None:
        if (self.registration is not None) != (self.key.kind in ("webauthn", "fido2")):
            raise ValueError("expected a registration with a passkey or security key, and with no other key")


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Accept an invitation with one's keys; `trust_key` is the base64 of its SubjectPublicKeyInfo DER."""

    lab: LabName
    nonce: Nonce
    invitation: HexDigest
    member: MemberId
    name: str
    member_keys: Annotated[tuple[AcceptedKey, ...], Meta(max_length=8)] = ()
    trust_key: PublicKeyText | None = None
    signed_at: PosixTime

    def __post_init__(self) -> None:
        check_free_text(self.name, what="name", size_bytes_max=200)
        if not self.member_keys and self.trust_key is None:
            raise ValueError("expected at least one key")


def parse_invitation(raw: bytes) -> Invitation:
    """Parse `raw`, or raise `Malformed`."""
    return canonical_json.decode(raw, Invitation, what="invitation", size_bytes_max=_BYTES_MAX)


def render_invitation(invitation: Invitation) -> bytes:
    """Render the canonical text of `invitation`."""
    return canonical_json.encode(invitation)


def acceptance_payload(acceptance: Acceptance) -> bytes:
    """Render the statement that is signed."""
    digest = ArtifactDigest("sha256", Sha256(acceptance.invitation))
    return statement.make(acceptance, ACCEPTANCE, (Subject(digest=DigestSet.of(digest)),))


def parse_acceptance(payload: bytes) -> Acceptance:
    """Parse the payload of an acceptance, or raise `Malformed`; signatures are the caller's affair."""
    return statement.parse(payload, Acceptance, ACCEPTANCE).predicate
