"""Judge who signed a record of the log, under the trust version that was the newest when it was logged.

An approval or a tombstone counts only from a key that could approve, as at each gate. Recovery grants and trust versions are
signed by trust keys: of these the lab's verified history says which hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from keyturn.app.records.verified_signer import verified_signer
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse, records, trust_version
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.digest import sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import Record
from keyturn.formats.recovery import RecoveryGrant
from keyturn.formats.tombstone import Tombstone
from keyturn.grants.approvers import require_countable_key, verify_approval
from keyturn.grants.recovery import require_root_threshold
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState

__all__ = ["Judged", "judged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A record's text and its signers: `member:ada`, `gate:<uri>`, `builder:<id>` or `root:ada`.

    `refused` is why its signatures do not count, and empty when they do; `code` is that refusal's. `statement` is the JSON that
    was signed (for a trust version, TUF metadata), as it can be shown; `predicate` the parsed predicate of a record of ours.
    """

    kind: str
    signers: tuple[str, ...]
    keys: tuple[str, ...]
    code: str
    refused: str
    signed_at: int | None
    statement: Any
    predicate: msgspec.Struct | None

    @property
    def counts(self) -> bool:
        return not self.refused


def judged(raw: bytes, leaf: Leaf, history: TrustHistory, *, trust_version: int) -> Judged:
    """Judge the record `raw`, whose leaf is `leaf`; `trust_version` was the newest in the log before it, or 0."""
    if leaf.kind in ("rot", "tgt"):
        return _trust_version(raw, leaf, history)
    record = records.read(raw)[1]
    envelope = dsse.parse_foreign(raw)
    made = None if record is None else record.statement.predicate
    signers: tuple[str, ...] = ()
    code = refused = ""
    try:
        signers = _signers(raw, record, history, history.at(trust_version))
    except (Refused, Malformed) as err:
        code, refused = err.code, err.message
    return Judged(
        kind=leaf.kind,
        signers=signers,
        keys=tuple(signature.keyid for signature in envelope.signatures),
        code=code,
        refused=refused,
        signed_at=getattr(made, "signed_at", None),
        statement=_json(envelope.payload),
        predicate=made,
    )


def _signers(raw: bytes, record: Record | None, history: TrustHistory, trust: TrustState | None) -> tuple[str, ...]:
    made = None if record is None else record.statement.predicate
    if record is not None and isinstance(made, RecoveryGrant):
        return tuple(f"root:{human}" for human in sorted(require_root_threshold(record.envelope, made, history.root)))
    if trust is None:
        raise Refused("trust-founding", "the log had no trust version when it was logged: nobody could sign")
    who = verified_signer(raw, record, trust)
    if record is not None and isinstance(made, HumanAuthorization | Tombstone):
        member = made.approver if isinstance(made, HumanAuthorization) else made.member
        if record.kind != "den":
            verify_approval(record.envelope, require_countable_key(trust, member, made.key), trust)
    return (who,)


def _trust_version(raw: bytes, leaf: Leaf, history: TrustHistory) -> Judged:
    version = trust_version.parse(raw)
    digest = sha256(version.metadata)
    link = next((link for link in history.links if link.digest == digest), None)
    return Judged(
        kind=leaf.kind,
        signers=() if link is None else tuple(f"root:{human}" for human in sorted(link.signers)),
        keys=(),
        code="" if link else "trust-unknown",
        refused="" if link else f"it is no {version.role} version of the history that begins at your pinned root",
        signed_at=None,
        statement=_json(version.metadata),
        predicate=None,
    )


def _json(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return payload.decode("utf-8", "replace")
