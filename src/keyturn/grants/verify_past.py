"""Judge whether something was granted at a past time, offline, from proved records: for auditors and for whoever holds a pack.

1. parse;
2. the checkpoint is witnessed, every record's leaf is proved under it, and `at` is not later than it;
3. to 8. as `grants.verify_grant`, at that time, under the trust of then: what the log had before the act;
9. each record of the bundle is among the proved ones;
10. this gate; for a one-shot, its access-use is among them and the first. The session key cannot be known any more.

`Refused` names every failure of 3 to 10; on 1 and 2 all the rest stands. Expired metadata still proves the past. Only what is
among the records can count against a grant: whoever hands them over can leave a denial out, so the verdict is "as of CHECKPOINT
TIME; later withdrawals unknown", and no gate opens by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import InitVar, dataclass
from functools import partial
from typing import NoReturn, TypeVar

from keyturn.errors import Refused
from keyturn.formats import leaf as leaves_format
from keyturn.formats import records, trust_version
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.uri import Uri
from keyturn.grants import bundle as bundles
from keyturn.grants import checks, one_shot
from keyturn.grants.agreed import policies_of, state_then
from keyturn.grants.bundle import Bundle
from keyturn.grants.following import Following
from keyturn.grants.known import Known, Withdrawal
from keyturn.grants.verify_grant import Granted
from keyturn.grants.view import PolicyShelf
from keyturn.grants.window import window_of
from keyturn.policy.facts import Facts
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.history import TrustHistory

__all__ = ["Proved", "VerifiedPast", "bundle_at", "verify_past"]

T = TypeVar("T")

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
    session, `at`. Raises `Refused` with every failure as a reason.
    """
    # (1)
    asked = checks.parse_bundle(bundle)
    # (2)
    items = sorted(proved, key=lambda item: item.index)
    checkpoint, newest = _require_proved(items, history, checkpoint_note)
    skew_s = newest.newest.limits.clock_skew_max_s
    if at > checkpoint.cosigned_at + skew_s:
        raise Refused("past-after-checkpoint", f"the checkpoint of {checkpoint.cosigned_at} says nothing about {at}")
    known, after = _read(items, history, asked.digest, at=at)
    trust = known.history.newest
    # From here on nothing stops at a failure: each is named.
    failures = _Failures()
    failures.of(lambda: checks.require_no_break_glass(asked))
    # (3)
    for check in checks.requester_checks(asked, trust, known, now=at):
        failures.of(check)
    # (4)
    then = failures.of(lambda: state_then(asked, known.history, trust)) or trust
    approvals = []
    for given in asked.approving:
        made = failures.of(partial(checks.require_approval, given, asked, trust, then, known, now=at))
        approvals += [made] if made is not None else []
    # (5)
    people = checks.require_persons(asked, trust, then, approvals)
    # (6)
    failures.add(checks.taken_away(asked, known, now=at))
    # (7)
    policies = failures.of(lambda: policies_of(PolicyShelf(), trust, then)) or ()
    decided = [
        failures.of(partial(checks.agree, asked, approvals, people, (one,), facts, trust, now=at)) for one in policies
    ]
    # (8)
    permits = [one.permits.get(asked.made.permit) for one in policies]
    window = failures.of(lambda: window_of(asked.made, people, policies)) if all(permits) else None
    if window is not None:
        failures.of(lambda: window.require_open(now=at))
    # (9)
    failures.add(checks.not_logged(asked, known))
    # (10)
    failures.of(lambda: checks.require_gate(asked, trust, gate=gate))
    used = tuple(one.digest for one in asked.given)
    use = None
    if any(permit is not None and permit.one_shot for permit in permits):
        use = failures.of(
            lambda: one_shot.require_first_use(known, asked.digest, gate=gate, approvals=frozenset(used)).digest
        )
    allowed = decided[-1] if decided else None
    if failures.reasons or allowed is None or window is None:
        raise failures.refused()
    granted = Granted(
        digest=asked.digest,
        request=asked.made,
        subjects=asked.subjects,
        permit=allowed.permit,
        approvers=allowed.approvers,
        approvals=used,
        window=window,
        profile=trust.profile,
        trust_version=trust.targets_version,
        log_size=checkpoint.checkpoint.size,
    )
    later = after.withdrawals.get(asked.digest, ())
    return VerifiedPast(granted, at, checkpoint.cosigned_at, use, later, _VERIFIER)


def bundle_at(request: Envelope, *, history: TrustHistory, proved: Sequence[Proved], at: int) -> Bundle:
    """`request` with the approvals that the log held with the act, as the records say: what a gate's view would have had then.

    An approval that counted for nothing there, or that came later, is no part of it.
    """
    known, _ = _read(sorted(proved, key=lambda item: item.index), history, request.record_digest, at=at)
    return known.bundle_of(request.record_digest) or bundles.make(request, ())


class _Failures:
    """Everything that is wrong, in the order of the steps."""

    def __init__(self) -> None:
        self.reasons: list[tuple[str, str]] = []

    def of(self, step: Callable[[], T]) -> T | None:
        """What `step` gives; None, and its reasons noted, when it refuses."""
        try:
            return step()
        except Refused as err:
            self.add((err,))
            return None

    def add(self, refused: Iterable[Refused]) -> None:
        for one in refused:
            self.reasons.extend(one.reasons)

    def refused(self) -> Refused:
        reasons = tuple(dict.fromkeys(self.reasons))
        code, text = reasons[0]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return Refused(code, f"{text}{more}", reasons=reasons)


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


def _read(items: Sequence[Proved], history: TrustHistory, request: str, *, at: int) -> tuple[Known, Known]:
    """What was known with the act, and what was logged after it: withdrawals alone matter there.

    The act is the first use that counts; without one, everything that is there was known.
    """
    read = Following(Known(history=history), Frontier.empty(), nonce_record=None, now=at)
    rest = Following(Known(history=history), Frontier.empty(), nonce_record=None, now=at)
    for item in items:
        leaf = records.leaf_of(item.raw)
        acted = read.is_used(request)
        if not acted:
            read.take_if_watched(item.index, leaf, item.raw)
        if acted or leaf.kind not in ("den", "rev"):
            rest.take_if_watched(item.index, leaf, item.raw)
    return read.known(), rest.known()
