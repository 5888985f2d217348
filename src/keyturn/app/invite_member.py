"""Invite someone: remember what is offered, and give back the invitation to hand over."""

from __future__ import annotations

from keyturn.errors import Malformed, Refused, Usage
from keyturn.formats.enrolment import Invitation, InviteeKind, parse_invitation, render_invitation
from keyturn.ports import Clock, Entropy, TrustStore
from keyturn.trust.draft import Draft

__all__ = ["INVITATION_LIFETIME_S", "invite_member"]

INVITATION_LIFETIME_S = 7 * 86_400


def invite_member(
    *,
    member: str,
    kind: InviteeKind,
    responsible: tuple[str, ...],
    groups: tuple[str, ...],
    signs_trust: bool,
    attested: bool,
    store: TrustStore,
    clock: Clock,
    entropy: Entropy,
) -> bytes:
    """Make an invitation for `member`; `Refused` when the id is taken. It says nothing secret and grants nothing."""
    draft = Draft.parse(store.draft())
    if member in draft.contents.roster.members or any(holder.human == member for holder in draft.root.holders):
        raise Refused("member-id-taken", f"`{member}` is in the draft already", hint="ids are never reused")
    for human in responsible:
        known = draft.contents.roster.members.get(human)
        if known is None or known.kind != "human":
            raise Refused("member-responsible", f"`{human}`, responsible for `{member}`, is no human in the draft")
    try:
        invitation = Invitation(
            lab=draft.root.lab,
            nonce=entropy.nonce(),
            member=member,
            kind=kind,
            responsible=responsible,
            groups=groups,
            signs_trust=signs_trust,
            attested=attested,
            until=clock.now() + INVITATION_LIFETIME_S,
        )
        # Constructors do not check patterns; the parser does, so nothing is handed out that the invitee could not read.
        raw = render_invitation(invitation)
        parse_invitation(raw)
    except (ValueError, Malformed) as err:
        raise Usage("invitation-invalid", f"no invitation for `{member[:80]}`: {str(err)[:200]}") from err
    store.add_invitation(raw)
    return raw
