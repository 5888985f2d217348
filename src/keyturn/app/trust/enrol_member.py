"""Add an accepted invitation to the draft, after checking that it answers an invitation of this lab."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import verify_all
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import dsse
from keyturn.formats.digest import parse_sha256
from keyturn.formats.enrolment import Acceptance, AcceptedKey, Invitation, parse_acceptance, parse_invitation
from keyturn.ports import Clock, RegistrationVerifier, TrustStore
from keyturn.trust.attestation import AttestationRules
from keyturn.trust.draft import ROOT_FILE, Draft, enrol

__all__ = ["enrol_member", "enrol_members"]


def enrol_members(
    raws: Sequence[bytes], *, store: TrustStore, clock: Clock, registrations: RegistrationVerifier
) -> None:
    """Enrol each of `raws`, in whatever order they are named: humans before the agents and workloads that they answer for."""

    def rests_on_others(raw: bytes) -> bool:
        acceptance = parse_acceptance(dsse.parse_own(raw).payload)
        return parse_invitation(store.invitation(parse_sha256(acceptance.invitation))).kind != "human"

    for raw in sorted(raws, key=rests_on_others):
        enrol_member(raw, store=store, clock=clock, registrations=registrations)


def enrol_member(raw: bytes, *, store: TrustStore, clock: Clock, registrations: RegistrationVerifier) -> Acceptance:
    """Check the acceptance `raw` and write its keys into the draft.

    (1) it is signed by every key that it enrols; (2) it answers an invitation that this lab made, in time; (3) for that
    very member, with exactly the keys that were asked for; (4) each passkey is what its
    registration, made for this invitation, proves, and its attestation holds, by the makers that the draft lists; (5) the draft
    has nobody else under that id.
    """
    envelope = dsse.parse_own(raw)
    acceptance = parse_acceptance(envelope.payload)
    files = store.draft()
    draft = Draft.parse(files)
    keys: list[PublicKey | Credential] = [draft.contents.roster.credential(one.key) for one in acceptance.member_keys]
    if acceptance.trust_key is not None:
        keys.append(PublicKey.from_text(acceptance.trust_key))
    verify_all(envelope, tuple(keys))  # (1)
    offered = store.invitation(parse_sha256(acceptance.invitation))
    invitation = parse_invitation(offered)  # (2)
    if clock.now() >= invitation.until:
        raise Refused("invitation-expired", f"the invitation for `{invitation.member}` is over", hint="make a new one")
    if (acceptance.lab, acceptance.member) != (invitation.lab, invitation.member):  # (3)
        raise Refused(
            "acceptance-other", f"expected an acceptance by `{invitation.member}`, got one by `{acceptance.member}`"
        )
    asked = (invitation.kind != "custodian", invitation.signs_trust)
    if (bool(acceptance.member_keys), acceptance.trust_key is not None) != asked:
        raise Refused("acceptance-keys", f"`{acceptance.member}` accepted with other kinds of keys than were asked for")
    for one, credential in zip(acceptance.member_keys, keys, strict=False):  # (4)
        if isinstance(credential, Credential):
            _require_proven(one, credential, invitation, offered, registrations)
    rules = draft.contents.roster.attestation
    if rules is not None:
        judged = tuple(_judged(one, rules, registrations) for one in acceptance.member_keys)
        acceptance = structs.replace(acceptance, member_keys=judged)
    rendered = enrol(draft, invitation, acceptance).render()  # (5)
    # Only what this changes is written anew: people's comments in the other files stay.
    store.swap_draft(files, {**files, ROOT_FILE: rendered[ROOT_FILE], "roster.toml": rendered["roster.toml"]})
    return acceptance


def _judged(accepted: AcceptedKey, rules: AttestationRules, registrations: RegistrationVerifier) -> AcceptedKey:
    """The key with the root that carries its attestation. Whether it may be without one, the roster says."""
    if accepted.registration is None or accepted.key.attestation is None:
        return accepted
    root = registrations.judge(accepted.registration, rules.authenticators)
    return structs.replace(accepted, key=structs.replace(accepted.key, attestation_root=root))


def _require_proven(
    accepted: AcceptedKey,
    credential: Credential,
    invitation: Invitation,
    offered: bytes,
    registrations: RegistrationVerifier,
) -> None:
    if accepted.registration is not None and credential.party is not None:
        party = credential.party
        proven = registrations.prove(accepted.registration, invitation=offered, rp_id=party.id, origins=party.origins)
        differing = [name for name in proven.__struct_fields__ if getattr(proven, name) != getattr(accepted.key, name)]
        if differing:
            raise Refused(
                "registration-other",
                f"the passkey's registration proves another {', '.join(f'`{name}`' for name in differing)} than it says",
            )
    if invitation.attested and accepted.key.attestation is None:
        raise Refused(
            "registration-unattested",
            f"`{invitation.member}` was asked for an attested passkey, and the key comes without an attestation",
            hint="a security key of a vendor that attests, and a browser that passes it on",
        )
