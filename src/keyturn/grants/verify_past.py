"""Judge whether something was granted at a past time, offline, from proved records: for auditors and for whoever holds a pack.

1. parse;
2. the checkpoint is witnessed, every record's leaf is proved under it, and `at` is not later than it;
3. to 8. as `grants.verify_grant`, at that time, under the trust of then: what the log had before the act;
9. each record of the bundle is among the proved ones;
10. this gate; for a one-shot, its access-use is among them and the first. The session key cannot be known any more.

Expired metadata still proves the past. Only what is among the records can count against a grant: whoever hands them over
can leave a denial out, so the verdict is "as of CHECKPOINT TIME; later withdrawals unknown", and no gate opens by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import NoReturn

from keyturn.errors import Refused
from keyturn.formats import leaf as leaves_format
from keyturn.formats import records, trust_version
from keyturn.formats.digest import Sha256
from keyturn.formats.uri import Uri
from keyturn.grants import checks, one_shot
from keyturn.grants.bundle import Bundle
from keyturn.grants.following import Following
from keyturn.grants.known import Known, Withdrawal
from keyturn.grants.verify_grant import Granted, policies_of, state_then
from keyturn.grants.view import PolicyShelf
from keyturn.grants.window import window_of
from keyturn.policy.facts import Facts
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.history import TrustHistory

__all__ = ["Proved", "VerifiedPast", "verify_past"]

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class Proved:
    """A record as the log holds it (an envelope or a trust version), its index, and its inclusion proof."""

    raw: bytes
    index: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class VerifiedPast:
    """A grant that stood at `at`, as of a checkpoint. `withdrawn_later` are withdrawals after the act that are known."""

    granted: Granted
    at: int
    as_of: int
    use: Sha256 | None
    withdrawn_later: tuple[Withdrawal, ...]
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a VerifiedPast is made by verify_past only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedPast is not pickled: verify it again")

    def __str__(self) -> str:
        return f"as of {self.as_of}; later withdrawals unknown (profile: {self.granted.profile})"


def verify_past(
    bundle: Bundle,
    *,
    history: TrustHistory,
    checkpoint_note: bytes,
    proved: Sequence[Proved],
    at: int,
    gate: Uri,
    facts: Facts,
) -> VerifiedPast:
    """Verify that `bundle` was a grant for `gate` at `at`, with `history` started from a pinned root.

    `proved` holds every trust version after that root, the bundle's records, the access-use of a one-shot, and every denial,
    revocation, suspension and lift that the caller has; all under the one checkpoint. The act is the access-use, or, for a
    session, `at`.
    """
    # (1)
    asked = checks.parse_bundle(bundle)
    # (2)
    items = sorted(proved, key=lambda item: item.index)
    checkpoint, newest = _require_proved(items, history, checkpoint_note)
    skew_s = newest.newest.limits.clock_skew_max_s
    if at > checkpoint.cosigned_at + skew_s:
        raise Refused("past-after-checkpoint", f"the checkpoint of {checkpoint.cosigned_at} says nothing about {at}")
    act = _act(items, asked.digest)
    known, after = _read(items, history, at=at, act=act)
    trust = known.history.newest
    # (3)
    checks.require_requester(asked, trust, known, now=at)
    # (4)
    then = state_then(asked, known.history, trust)
    approvals = checks.require_approvals(asked, trust, then, known, now=at)
    # (5)
    people = checks.require_persons(asked, trust, then, approvals)
    # (6)
    checks.require_not_taken_away(asked, known, now=at)
    # (7)
    policies = policies_of(PolicyShelf(), trust, then)
    allowed = checks.agree(asked, people, policies, facts, now=at)
    # (8)
    window = window_of(asked.made, people, policies)
    window.require_open(now=at)
    # (9)
    checks.require_logged(asked, known)
    # (10)
    checks.require_gate(asked, trust, gate=gate)
    given = tuple(one.digest for one in asked.given)
    use = None
    if allowed.permit.one_shot:
        use = one_shot.require_first_use(known, asked.digest, gate=gate, approvals=frozenset(given)).digest
    granted = Granted(
        digest=asked.digest,
        request=asked.made,
        subjects=asked.subjects,
        permit=allowed.permit,
        approvers=allowed.approvers,
        approvals=given,
        window=window,
        profile=trust.profile,
        trust_version=trust.targets_version,
        log_size=checkpoint.checkpoint.size,
    )
    later = after.withdrawals.get(asked.digest, ())
    return VerifiedPast(granted, at, checkpoint.cosigned_at, use, later, _VERIFIER)


def _require_proved(
    items: Sequence[Proved], history: TrustHistory, note: bytes
) -> tuple[WitnessedCheckpoint, TrustHistory]:
    # Trust versions prove themselves; the newest says which log and witnesses the checkpoint must satisfy.
    for item in items:
        if records.leaf_of(item.raw).kind in ("rot", "tgt"):
            history = history.followed_by(trust_version.parse(item.raw))
    checkpoint = verify_checkpoint(note, history.newest.log, now=None, skew_s=0)
    size, root = checkpoint.checkpoint.size, checkpoint.checkpoint.root
    for item in items:
        if not 0 <= item.index < size:
            raise Refused("past-index", f"no entry {item.index} in a log of {size} entries")
        hashed = merkle.leaf_hash(leaves_format.render(records.leaf_of(item.raw)))
        merkle.verify_inclusion(hashed, index=item.index, size=size, proof=item.hashes, root=root)
    return checkpoint, history


def _act(items: Sequence[Proved], request: str) -> int | None:
    tag = f"request:{request}"
    leaves = ((item.index, records.leaf_of(item.raw)) for item in items)
    return next((index for index, leaf in leaves if leaf.kind == "use" and tag in leaf.about), None)


def _read(items: Sequence[Proved], history: TrustHistory, *, at: int, act: int | None) -> tuple[Known, Known]:
    """What was known with the act, and what was logged after it: withdrawals alone matter there."""
    read = Following(Known(history=history), Frontier.empty(), nonce_record=None, now=at)
    rest = Following(Known(history=history), Frontier.empty(), nonce_record=None, now=at)
    for item in items:
        leaf = records.leaf_of(item.raw)
        if act is None or item.index <= act:
            read.take_if_watched(item.index, leaf, item.raw)
        if leaf.kind not in ("den", "rev") or (act is not None and item.index > act):
            rest.take_if_watched(item.index, leaf, item.raw)
    return read.known(), rest.known()
