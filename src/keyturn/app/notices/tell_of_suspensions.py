"""Say what people should be told of a suspension: everybody of `security`, and whomever it concerns, at once.

One human suspends, alone: that everybody who could judge it hears of it is what keeps that right from being used in silence.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.app.notices.notice import Notice, humans_of, says
from keyturn.app.notices.plain_notice import plain_name
from keyturn.formats.posix_time import rfc3339
from keyturn.grants.known import SECURITY, Suspended
from keyturn.policy import persons
from keyturn.trust.roster import TrustState

__all__ = ["of_suspension"]


def of_suspension(one: Suspended, lifted: tuple[str, ...] | None, trust: TrustState) -> Iterator[Notice]:
    """What is new of the suspension `one`: that it stands (`lifted` is None), or who has lifted it since `lifted` had."""
    kind, _, target = one.target.partition(":")
    concerned = _concerned(kind, target, trust)
    name = f"sus-{one.digest[:32]}"
    shown = f"{kind} {plain_name(target if kind != 'key' else target[:16])}"
    look = "look: keyturn trust suspended"
    if lifted is None:
        yield Notice(
            event=name,
            title=f"[{trust.lab}] {one.by} suspended {shown}",
            body=f"{says(one.by, one.reason)}\nIt stands until {rfc3339(one.until)}; two humans can lift it before.\n{look}",
            members=concerned | humans_of(trust, SECURITY),
            groups=frozenset({SECURITY}),
            urgent=True,
        )
    for lifter in sorted(one.lifted_by - frozenset(lifted or ())):
        yield Notice(
            event=f"{name}/lift:{lifter}",
            title=f"[{trust.lab}] {lifter} lifts the suspension of {shown}",
            body=f"{'It is lifted.' if one.lifted else 'One more human must lift it too.'}\n{look}",
            members=concerned | humans_of(trust, SECURITY),
            groups=frozenset({SECURITY}),
        )


def _concerned(kind: str, target: str, trust: TrustState) -> frozenset[str]:
    if kind == "gate":
        gate = trust.gates.get(target)
        return frozenset() if gate is None else frozenset({gate.operator})
    owners = (
        {target}
        if kind == "member"
        else {m.id for m in trust.roster.members.values() if any(held.key.keyid == target for held in m.keys)}
    )
    return frozenset().union(*(persons.excluded(trust.roster, owner, owner) for owner in owners))
