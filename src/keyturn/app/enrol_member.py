"""Add an accepted invitation to the draft, after checking that it answers an invitation of this lab."""

from __future__ import annotations

from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import verify_all
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import dsse
from keyturn.formats.digest import parse_sha256
from keyturn.formats.enrolment import Acceptance, parse_acceptance, parse_invitation
from keyturn.ports import Clock, TrustStore
from keyturn.trust.draft import ROOT_FILE, Draft, enrol

__all__ = ["enrol_member"]


def enrol_member(raw: bytes, *, store: TrustStore, clock: Clock) -> Acceptance:
    """Check the acceptance `raw` and write its keys into the draft.

    (1) it is signed by every key that it enrols; (2) it answers an invitation that this lab made, in time; (3) for that
    very member, with exactly the keys that were asked for; (4) the draft has nobody else under that id.
    """
    envelope = dsse.parse_own(raw)
    acceptance = parse_acceptance(envelope.payload)
    files = store.draft()
    draft = Draft.parse(files)
    keys: list[PublicKey | Credential] = [draft.contents.roster.credential(one.key) for one in acceptance.member_keys]
    if acceptance.trust_key is not None:
        keys.append(PublicKey.from_text(acceptance.trust_key))
    verify_all(envelope, tuple(keys))  # (1)
    invitation = parse_invitation(store.invitation(parse_sha256(acceptance.invitation)))  # (2)
    if clock.now() >= invitation.until:
        raise Refused("invitation-expired", f"the invitation for `{invitation.member}` is over", hint="make a new one")
    if (acceptance.lab, acceptance.member) != (invitation.lab, invitation.member):  # (3)
        raise Refused(
            "acceptance-other", f"expected an acceptance by `{invitation.member}`, got one by `{acceptance.member}`"
        )
    asked = (invitation.kind != "custodian", invitation.signs_trust)
    if (bool(acceptance.member_keys), acceptance.trust_key is not None) != asked:
        raise Refused("acceptance-keys", f"`{acceptance.member}` accepted with other kinds of keys than were asked for")
    rendered = enrol(draft, invitation, acceptance).render()  # (4)
    # Only what this changes is written anew: people's comments in the other files stay.
    store.write_draft({**files, ROOT_FILE: rendered[ROOT_FILE], "roster.toml": rendered["roster.toml"]})
    return acceptance
