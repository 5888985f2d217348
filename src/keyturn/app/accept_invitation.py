"""Accept an invitation: make one's keys in one's own home, and give back the public ones, signed by all of them."""

from __future__ import annotations

from keyturn.crypto.dsse_signing import sign
from keyturn.errors import Refused
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.enrolment import Acceptance, acceptance_payload, parse_acceptance, parse_invitation
from keyturn.formats.text import check_free_text
from keyturn.ports import Clock, Entropy, KeyStore

__all__ = ["accept_invitation"]


def accept_invitation(raw: bytes, *, name: str, keys: KeyStore, clock: Clock, entropy: Entropy) -> bytes:
    """Make the keys that the invitation `raw` asks for, and return the acceptance (a DSSE envelope).

    Refuses an invitation whose time is over, before any key is made.
    """
    invitation = parse_invitation(raw)
    now = clock.now()
    if now >= invitation.until:
        raise Refused(
            "invitation-expired", f"the invitation for `{invitation.member}` is over", hint="ask for a new one"
        )
    check_free_text(name, what="name", size_bytes_max=200)  # before any key is made
    member = keys.create("member") if invitation.kind != "custodian" else None
    trust = keys.create("trust") if invitation.signs_trust else None
    payload = acceptance_payload(
        Acceptance(
            lab=invitation.lab,
            nonce=entropy.nonce(),
            invitation=sha256(raw),
            member=invitation.member,
            name=name,
            member_key=member.public.text if member is not None else None,
            trust_key=trust.public.text if trust is not None else None,
            signed_at=now,
        )
    )
    parse_acceptance(payload)
    return dsse.render(sign(payload, *(key.signer() for key in (member, trust) if key is not None)))
