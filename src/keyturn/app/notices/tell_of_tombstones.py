"""Say who could sign a tombstone that waits for another human: everybody whose word would count, once for each signature it has.

Nobody could find it otherwise but by asking: what it names has mostly been over for long, and stands in no list of requests.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.app.notices.notice import Notice
from keyturn.errors import Refused
from keyturn.formats.records import Record
from keyturn.grants import tombstones
from keyturn.grants.approvers import require_countable_key
from keyturn.grants.known import Erasure
from keyturn.trust.roster import Member, TrustState

__all__ = ["of_tombstone"]


def of_tombstone(
    record: Record, asked: Erasure, trust: TrustState, *, suspended: frozenset[str], look: str
) -> Iterator[Notice]:
    """What to tell of the tombstones `asked` of `record`, which fewer have signed than it takes; `suspended` are tags."""
    apart = {*asked.signers, *tombstones.concerned(record, trust.roster)}
    could = frozenset(
        member.id
        for member in trust.roster.members.values()
        if member.id not in apart and f"member:{member.id}" not in suspended and _counts(member, trust, suspended)
    )
    yield Notice(
        event=f"tmb-{record.digest[:32]}/signed:{len(asked.signers)}",
        title=f"[{trust.lab}] {', '.join(asked.signers)} would erase the text of {record.id}",
        body=f"{len(asked.signers)} of {trust.limits.tombstone_signers} humans have signed it. Who could sign: "
        f"{', '.join(sorted(could)) or 'nobody'}.\nIt is shown before you sign: keyturn tombstone sign {record.id}\n{look}",
        members=could,
    )


def _counts(member: Member, trust: TrustState, suspended: frozenset[str]) -> bool:
    """Whether a tombstone by one of his keys would count."""
    for held in member.keys:
        try:
            require_countable_key(trust, member.id, held.key.keyid)
        except Refused:
            continue
        if f"key:{held.key.keyid}" not in suspended:
            return True
    return False
