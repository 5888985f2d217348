"""Invite people: remember what is offered, and give back the invitations to hand over. All of them, or none.

A group comes to be with the first member who joins it, so a misspelt name would found one that no policy asks: a group is joined
by the name that the draft, its policy or an open invitation has for it, and another is founded by `Offer.new_groups` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from keyturn.app.records.nearest import meant
from keyturn.app.trust.lab_policy import groups_named
from keyturn.errors import Malformed, Refused, Usage
from keyturn.formats.digest import sha256
from keyturn.formats.enrolment import Invitation, InviteeKind, NewKeys, parse_invitation, render_invitation
from keyturn.formats.text import MemberId, Name
from keyturn.ports import Clock, Entropy, TrustStore
from keyturn.trust.draft import Draft

__all__ = ["INVITATION_LIFETIME_S", "Offer", "invite_members", "withdraw_invitations"]

INVITATION_LIFETIME_S = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A place that is offered to somebody, or new keys for the place that he has.

    Without `signs_trust`, a human gets a trust key with his place, and another one when he has one and gets new keys `instead`.
    `groups` are there, or awaited; `new_groups` are founded by his joining.
    """

    member: str
    kind: InviteeKind
    responsible: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    new_groups: tuple[str, ...] = ()
    signs_trust: bool | None = None
    attested: bool = False
    new_keys: NewKeys | None = None


def invite_members(offers: Sequence[Offer], *, store: TrustStore, clock: Clock, entropy: Entropy) -> tuple[bytes, ...]:
    """Make an invitation for each of `offers`, in order; none says anything secret or grants anything.

    New keys `instead` make every earlier invitation of that member void: who has the old keys may have answered it.

    Raises `Refused` when an id is taken (or, for new keys, is nobody's) or a group is not there, `Usage` for an offer that
    contradicts itself; then nobody is invited.
    """
    draft = Draft.parse(store.draft())
    if len({offer.member for offer in offers}) != len(offers):
        raise Usage("invitation-twice", "expected each member once among those who are invited")
    joining = {offer.member for offer in offers if offer.kind == "human"}
    invitations = []
    now = clock.now()
    awaited = _groups_awaited(draft, store, now=now)
    for offer in offers:
        _require_form(
            offer.member, MemberId, "a member's id in lower-case letters, digits and `._-`, as `bob` or `ada+coder`"
        )
        for group in (*offer.groups, *offer.new_groups):
            _require_form(group, Name, "a group's name in lower-case letters, digits and `._-`, as `security`")
        _require_groups(offer, draft, awaited)
        _require_place(offer, draft, joining)
        invitations.append(_invitation(offer, draft, now, entropy))
    for offer in offers:
        if offer.new_keys == "instead":
            withdraw_invitations(offer.member, store=store)
    for raw in invitations:
        store.add_invitation(raw)
    return tuple(invitations)


def withdraw_invitations(member: str, *, store: TrustStore) -> None:
    """Make void whatever was offered to `member`, accepted or not."""
    for raw in store.invitations():
        try:
            offered = parse_invitation(raw).member
        except Malformed:
            continue  # nobody can accept what cannot be read
        if offered == member:
            store.withdraw_invitation(sha256(raw))


def _require_form(text: str, form: object, expected: str) -> None:
    try:
        msgspec.convert(text, form)
    except msgspec.ValidationError as err:
        raise Usage(
            "invitation-invalid",
            f"expected {expected}, got `{text[:80]}`",
            hint="keyturn trust invite bob --group security",
        ) from err


def _groups_awaited(draft: Draft, store: TrustStore, *, now: int) -> frozenset[str]:
    """The groups that are there, that the draft's policy names, or that somebody was invited to and may still join."""
    found = set(draft.contents.roster.groups) | groups_named(draft.contents.policy)
    for raw in store.invitations():
        try:
            offered = parse_invitation(raw)
        except Malformed:
            continue
        if offered.until > now:
            found.update(offered.groups)
    return frozenset(found)


def _require_groups(offer: Offer, draft: Draft, awaited: frozenset[str]) -> None:
    there = draft.contents.roster.groups
    for group in offer.groups:
        if group not in awaited:
            raise Refused(
                "group-unknown",
                f"no group is named `{group}`, which `{offer.member}` should join",
                hint=f"{meant(group, awaited, what='groups')}; to found it: --new-group {group}",
            )
    for group in offer.new_groups:
        if group in there:
            raise Refused(
                "group-exists",
                f"expected a group to found, and `{group}` is there",
                hint=f"--group {group}, to join it",
            )


def _require_place(offer: Offer, draft: Draft, joining: set[str]) -> None:
    known = draft.contents.roster.members.get(offer.member)
    holds = any(holder.human == offer.member for holder in draft.root.holders)
    if offer.new_keys is None and (known is not None or holds):
        raise Refused(
            "member-id-taken",
            f"`{offer.member}` is in the draft already",
            hint="ids are never reused; other keys for somebody who is there: --new-keys beside, or instead",
        )
    if offer.new_keys is not None:
        kind = None if known is None else known.kind
        if (kind != offer.kind) if offer.kind != "custodian" else (kind is not None or not holds):
            raise Refused(
                "member-unknown",
                f"the draft has no {offer.kind} `{offer.member}` who could get new keys",
                hint="--kind",
            )
        if offer.signs_trust is True and not holds:
            raise Refused("member-no-trust-key", f"`{offer.member}` holds no trust key", hint="--no-signs-trust")
        return
    for human in offer.responsible:
        answering = draft.contents.roster.members.get(human)
        if human not in joining and (answering is None or answering.kind != "human"):
            raise Refused(
                "member-responsible", f"`{human}`, responsible for `{offer.member}`, is no human in the draft"
            )


def _signs_trust(offer: Offer, draft: Draft) -> bool:
    if offer.signs_trust is not None:
        return offer.signs_trust
    if offer.new_keys is None:
        return offer.kind in ("human", "custodian")
    holds = any(holder.human == offer.member for holder in draft.root.holders)
    return holds and offer.new_keys == "instead"


def _signing(draft: Draft) -> tuple[str, ...]:
    return tuple(sorted(page.origin for page in draft.contents.roster.signing))


def _invitation(offer: Offer, draft: Draft, now: int, entropy: Entropy) -> bytes:
    try:
        invitation = Invitation(
            lab=draft.root.lab,
            nonce=entropy.nonce(),
            member=offer.member,
            kind=offer.kind,
            responsible=offer.responsible,
            groups=tuple(dict.fromkeys((*offer.groups, *offer.new_groups))),
            signs_trust=_signs_trust(offer, draft),
            attested=offer.attested,
            new_keys=offer.new_keys,
            signing=_signing(draft) if offer.kind == "human" else None,
            until=now + INVITATION_LIFETIME_S,
        )
        # Constructors do not check patterns; the parser does, so nothing is handed out that the invitee could not read.
        raw = render_invitation(invitation)
        parse_invitation(raw)
    except (ValueError, Malformed) as err:
        raise Usage("invitation-invalid", f"no invitation for `{offer.member[:80]}`: {str(err)[:200]}") from err
    return raw
