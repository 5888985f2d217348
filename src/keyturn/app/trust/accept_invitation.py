"""Accept an invitation: make or take one's own keys, and give back the public ones, signed by all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keyturn.crypto.dsse_signing import RecordSigner, sign
from keyturn.errors import Refused
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.enrolment import (
    Acceptance,
    AcceptedKey,
    Invitation,
    acceptance_payload,
    parse_acceptance,
    parse_invitation,
)
from keyturn.formats.text import check_free_text
from keyturn.ports import Clock, Entropy

__all__ = ["NewKey", "accept_invitation"]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to enrol, and what signs with it, so that nobody enrols what he does not hold."""

    accepted: AcceptedKey
    signer: RecordSigner


def accept_invitation(
    raw: bytes,
    *,
    name: str,
    own: Callable[[Invitation], Sequence[NewKey]],
    own_trust: Callable[[], RecordSigner],
    clock: Clock,
    entropy: Entropy,
) -> bytes:
    """Answer the invitation `raw` with the member's keys from `own`, and a trust key from `own_trust` if it asks for one.

    Refuses an invitation whose time is over, before any key is made.
    """
    invitation = parse_invitation(raw)
    now = clock.now()
    if now >= invitation.until:
        raise Refused(
            "invitation-expired", f"the invitation for `{invitation.member}` is over", hint="ask for a new one"
        )
    check_free_text(name, what="name", size_bytes_max=200)  # before any key is made
    members = tuple(own(invitation)) if invitation.kind != "custodian" else ()
    trust = own_trust() if invitation.signs_trust else None
    payload = acceptance_payload(
        Acceptance(
            lab=invitation.lab,
            nonce=entropy.nonce(),
            invitation=sha256(raw),
            member=invitation.member,
            name=name,
            member_keys=tuple(one.accepted for one in members),
            trust_key=trust.public.text if trust is not None else None,
            signed_at=now,
        )
    )
    parse_acceptance(payload)
    signers = (*(one.signer for one in members), *((trust,) if trust is not None else ()))
    return dsse.render(sign(payload, *signers))
