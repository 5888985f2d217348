"""Say who is a person apart: who may count as an approver of a request, and who never does.

People are counted, not keys and not accounts. No policy can loosen this: the requester, the beneficiary, and every human
responsible for an agent or workload among them, are out; and nobody but a human counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.trust.roster import Roster

__all__ = ["countable", "excluded"]


def excluded(roster: Roster, requester: str, beneficiary: str) -> frozenset[str]:
    """Everyone who asks, benefits, or answers for an agent or workload that does."""
    concerned = {requester, beneficiary}
    for member in (requester, beneficiary):
        known = roster.members.get(member)
        if known is not None:
            concerned |= known.responsible
    return frozenset(concerned)


def countable(roster: Roster, approvers: Iterable[str], requester: str, beneficiary: str) -> frozenset[str]:
    """Those of `approvers` who are humans of the roster and not `excluded`, each once."""
    out = excluded(roster, requester, beneficiary)
    humans = set()
    for approver in approvers:
        known = roster.members.get(approver)
        if known is not None and known.kind == "human" and approver not in out:
            humans.add(approver)
    return frozenset(humans)
