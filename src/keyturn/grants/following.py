"""Read the log leaf by leaf: keep what is live, verify whatever takes access away, and learn trust as it changes.

`grants.leaves` says which envelopes a run of leaves asks for; `Following.take` reads the run with them. What is passed over
there is in the frontier all the same, so nothing is skipped unseen.

A record has its effect only when it counts (`grants.counting`) and its signer may issue it (`grants.negatives`). What fails any
of this has no effect: the log's keeper can delay, and never grant or take away. A trust version that does not verify changes
nothing.

What cannot be read is hidden: whom it concerns is could-not-find-out, and whoever cannot read a trust version knows nothing
at all. That ends when it can be read, when it is over, or when a later targets version declares the entry void.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from keyturn.errors import Malformed, Refused, Tampered, Unavailable
from keyturn.formats import records, trust_version
from keyturn.formats.access import AccessRequest, AccessUse, HumanAuthorization
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.negatives import Lift, Revocation, Suspension
from keyturn.formats.review import Review
from keyturn.grants import checks, negatives, reviews, tombstones
from keyturn.grants.approvers import require_countable_key, verify_approval
from keyturn.grants.counting import (
    P,
    counts_instead,
    read_as,
    require_founded,
    require_leaf_of,
    require_unsuspended,
    what_and_whose,
    with_one_more,
    withdrawal,
)
from keyturn.grants.known import (
    AccessReviewed,
    Approval,
    BreakGlassUse,
    Erasure,
    Hidden,
    Known,
    Offer,
    Request,
    Suspended,
    Use,
    Withdrawal,
)
from keyturn.grants.leaves import is_over, needed, watched
from keyturn.tlog.frontier import Frontier
from keyturn.trust.roster import TrustState

__all__ = ["Following"]

_TRUST = ("rot", "tgt")


class Following:
    """A reader in the middle of the log: mutable, thrown away when anything fails, `known()` when it does not."""

    def __init__(self, known: Known, frontier: Frontier, *, nonce_record: str | None, now: int) -> None:
        self.frontier = frontier
        self.nonce_seen = False
        self._now = now
        self._nonce_record = nonce_record
        self._history = known.history
        self._trust: TrustState | None = known.history.states[-1] if known.history.states else None
        self._requests = dict(known.requests)
        self._approvals = dict(known.approvals)
        self._approved_by = dict(known.approved_by)
        self._withdrawals = dict(known.withdrawals)
        self._suspensions = dict(known.suspensions)
        self._uses = dict(known.uses)
        self._access_reviewed = known.access_reviewed
        self._offers = dict(known.offers)
        self._unreviewed = dict(known.unreviewed)
        self._erasures = dict(known.erasures)
        self._hidden = dict(known.hidden)
        self._void = known.void
        self._take_kind: dict[str, Callable[[int, Leaf, bytes], None]] = {
            "rot": self._take_trust,
            "tgt": self._take_trust,
            "req": self._take_request,
            "apr": self._take_approval,
            "den": self._take_denial,
            "rev": self._take_revocation,
            "sus": self._take_suspension,
            "lft": self._take_lift,
            "use": self._take_use,
            "ofr": self._take_offer,
            "brk": self._take_break_glass,
            "rvw": self._take_review,
            "tmb": self._take_tombstone,
        }

    def needed(self, leaves: Sequence[bytes]) -> tuple[Sha256, ...]:
        """The envelopes that `take` of these next `leaves` will look for."""
        return needed(self._requests, leaves, now=self._now)

    def take(self, leaves: Sequence[bytes], envelopes: Mapping[Sha256, bytes]) -> None:
        """Read the next `leaves`, with the envelopes that `needed` asked for (those that could be had)."""
        for index, leaf in watched(self.frontier.size, leaves):
            self.take_if_watched(index, leaf, envelopes.get(Sha256(leaf.envelope)))
        self.frontier = self.frontier.extend(leaves)

    def take_if_watched(self, index: int, leaf: Leaf, raw: bytes | None) -> None:
        """Read one leaf by itself, for whoever proves leaves one by one; the frontier does not know of it."""
        if leaf.kind == "chk":
            self.nonce_seen = self.nonce_seen or leaf.record == self._nonce_record
        elif leaf.kind not in self._take_kind or is_over(leaf, self._now):
            return
        elif raw is not None and sha256(raw) == leaf.envelope:
            try:
                self._take_kind[leaf.kind](index, leaf, raw)
            except (Malformed, Refused, Tampered):
                return  # it has no effect
        else:
            self._take_hidden(index, leaf)

    def take_pushed(self, raw: bytes) -> None:
        """Take a record that a gate was given, as if it were the next entry; raises what keeps it from having an effect."""
        leaf = records.leaf_of(raw)
        self._take_kind[leaf.kind](self.frontier.size, leaf, raw)

    def _take_hidden(self, index: int, leaf: Leaf) -> None:
        request = leaf.tagged("request")
        if leaf.kind == "ofr" or (leaf.kind in ("apr", "use") and request not in self._requests):
            return
        tags: tuple[str, ...] = ()
        match leaf.kind:
            case "req":
                self._add_request(index, leaf, None, frozenset())
            case "apr":
                self._add_approval(index, leaf, None, None)
            case "den" | "rev":
                tags = (f"request:{request}",)
            case "sus":
                tags = leaf.about
            case "brk":
                tags = tuple(f"break-glass:{tag}" for tag in leaf.about if tag.startswith(("member:", "resource:")))
            case "use" if request not in self._uses:
                tags = (f"use:{request}",)
        self._hidden[index] = Hidden(leaf.kind, Sha256(leaf.envelope), leaf.until, tags, Sha256(leaf.record))

    def is_used(self, request: str) -> bool:
        """Whether a use of `request` was read."""
        return request in self._uses

    def known(self) -> Known:
        """What is known after all that was taken, without what is over; `Unavailable` when a trust version is hidden."""
        for index, one in self._hidden.items():
            if one.kind in _TRUST:
                raise Unavailable(
                    "trust-version-unread", f"log entry {index} is a trust version that could not be read"
                )
        for digest in [d for d, request in self._requests.items() if request.until <= self._now]:
            self._forget_request(digest)
        for digest, given in list(self._approvals.items()):
            self._approvals[digest] = tuple(one for one in given if one.until > self._now)
        for digest, taken in list(self._withdrawals.items()):
            left = tuple(one for one in taken if one.until > self._now)
            if left:
                self._withdrawals[digest] = left
            else:
                del self._withdrawals[digest]
        # A suspension that is over is remembered while the same pair must rest.
        for digest, suspended in list(self._suspensions.items()):
            if max(suspended.until, suspended.signed_at + negatives.PAIR_REST_S) <= self._now:
                del self._suspensions[digest]
        hidden = {
            index: one
            for index, one in self._hidden.items()
            if (one.until is None or one.until > self._now) and not (one.erased and one.kind == "lft")
        }
        try:
            newest: TrustState | None = self._history.newest
        except Refused:
            newest = None
        return Known(
            history=self._history,
            newest=newest,
            requests=MappingProxyType(self._requests),
            approvals=MappingProxyType(self._approvals),
            approved_by=MappingProxyType(self._approved_by),
            withdrawals=MappingProxyType(self._withdrawals),
            suspensions=MappingProxyType(self._suspensions),
            uses=MappingProxyType(self._uses),
            offers=MappingProxyType(self._offers),
            unreviewed=MappingProxyType(self._unreviewed),
            access_reviewed=self._access_reviewed,
            erasures=MappingProxyType(self._erasures),
            hidden=MappingProxyType(hidden),
            void=self._void,
            unread=frozenset(tag for one in hidden.values() for tag in one.tags),
        )

    def _take_trust(self, index: int, leaf: Leaf, raw: bytes) -> None:
        require_leaf_of(leaf, raw)
        self._history = self._history.advance(trust_version.parse(raw), now=None)
        self._trust = self._history.states[-1] if self._history.states else None
        if self._trust is not None:
            self._void = self._void.after(self._trust.void, at=index)
            self._forget_void()

    def _forget_void(self) -> None:
        # An entry that can be read counts all the same: what an agent revoked is judged when its request can be read.
        void = {index for index, one in self._hidden.items() if index in self._void and one.withdrawal is None}
        for index in void:
            del self._hidden[index]
        for digest in [d for d, asked in self._requests.items() if asked.raw is None and asked.index in void]:
            if digest not in self._uses and digest not in self._approved_by:  # who acted on it had read it
                self._forget_request(digest)
        for digest, given in list(self._approvals.items()):
            self._approvals[digest] = tuple(one for one in given if one.raw is not None or one.index not in void)

    def _forget_request(self, digest: str) -> None:
        # What took it away stays until its own end: whoever has the log can write the request into it once more.
        for table in (self._requests, self._approvals, self._approved_by, self._uses, self._offers):
            table.pop(digest, None)

    def _take_request(self, index: int, leaf: Leaf, raw: bytes) -> None:
        made = self._read(leaf, raw, AccessRequest)
        parties = frozenset({made.requester, made.beneficiary})
        self._add_request(index, leaf, raw, parties, renews=self._renews(made))

    def _renews(self, made: AccessRequest) -> bool:
        # INVARIANT: `follows` is anybody's word. That the access goes on, the gate that let it in has said in the log.
        before = None if made.follows is None else self._requests.get(made.follows)
        if (
            before is None
            or before.raw is None
            or before.digest not in self._uses
            or before.digest in self._withdrawals
        ):
            return False
        first = records.parse(before.raw).statement.predicate
        return isinstance(first, AccessRequest) and what_and_whose(first) == what_and_whose(made)

    def _add_request(
        self, index: int, leaf: Leaf, raw: bytes | None, parties: frozenset[str], *, renews: bool = False
    ) -> None:
        digest = Sha256(leaf.record)
        made = Request(index, digest, Sha256(leaf.envelope), parties, leaf.tagged("gate"), leaf.until or 0, raw, renews)
        if counts_instead(made, self._requests.get(digest)):
            self._requests[digest] = made
            if raw is not None:
                self._judge_withdrawals(made)

    def _judge_withdrawals(self, asked: Request) -> None:
        """Judge what agents revoked before the request could be read: it says now whether they are parties."""
        tags = (f"request:{asked.digest}",)
        for index, one in list(self._hidden.items()):
            if one.withdrawal is not None and one.tags == tags:
                del self._hidden[index]
                if one.withdrawal.by in asked.parties:
                    self._withdraw(asked.digest, one.withdrawal)

    def _take_approval(self, index: int, leaf: Leaf, raw: bytes) -> None:
        if leaf.tagged("request") not in self._requests:
            return
        made = self._read(leaf, raw, HumanAuthorization)
        self._require_human(made)
        trust = self._require_trust()
        held = require_countable_key(trust, made.approver, made.key)
        if trust.profile != "demo":  # that `held` signed is known; not that it verified who
            verify_approval(records.parse(raw).envelope, held, trust)
        self._add_approval(index, leaf, raw, made.approver)

    def _add_approval(self, index: int, leaf: Leaf, raw: bytes | None, by: str | None) -> None:
        # A person's first approval of a request is the only one, for as long as the request lives: a second one could move the
        # window, and many would fill the memory of every gate.
        request = leaf.tagged("request")
        people = self._approved_by.get(request, frozenset())
        given = self._approvals.get(request, ())
        found = Approval(index, Sha256(leaf.record), Sha256(leaf.envelope), leaf.until or 0, raw)
        known = next((other for other in given if leaf.record == other.digest), None)
        if by in people or not counts_instead(found, known):
            return
        if by is not None:
            self._approved_by[request] = people | {by}
        self._approvals[request] = (*(other for other in given if other is not known), found)

    def _take_denial(self, _index: int, leaf: Leaf, raw: bytes) -> None:
        made = self._read(leaf, raw, HumanAuthorization)
        self._require_human(made)
        self._withdraw(leaf.tagged("request"), withdrawal(leaf, made.approver, made.reason))

    def _take_revocation(self, index: int, leaf: Leaf, raw: bytes) -> None:
        asked = self._requests.get(leaf.tagged("request"))
        made = self._read(leaf, raw, Revocation)
        self._require_unsuspended(made.member, made.key, made.signed_at)
        trust = self._require_trust()
        found = withdrawal(leaf, made.member, made.reason)
        if (asked is None or asked.raw is None) and trust.roster.members[made.member].kind != "human":
            # Whether it is a party stands in the request, and that could not be had, or comes later in the log.
            tags = (f"request:{leaf.tagged('request')}",)
            self._hidden[index] = Hidden(leaf.kind, None, leaf.until, tags, Sha256(leaf.record), withdrawal=found)
            return
        negatives.require_may_revoke(made, trust, asked.parties if asked else frozenset())
        self._withdraw(leaf.tagged("request"), found)

    def _withdraw(self, request: str, found: Withdrawal) -> None:
        self._withdrawals[request] = with_one_more(self._withdrawals.get(request, ()), found)

    def _require_human(self, made: HumanAuthorization) -> None:
        negatives.require_human(made, made.approver, self._require_trust())
        self._require_unsuspended(made.approver, made.key, made.signed_at)

    def _take_suspension(self, _index: int, leaf: Leaf, raw: bytes) -> None:
        made = self._read(leaf, raw, Suspension)
        target = negatives.target_of(made)
        before = tuple(s for s in self._suspensions.values() if (s.by, s.target) == (made.member, target))
        own = negatives.is_own(made, self._require_trust())
        if not own:
            self._require_unsuspended(made.member, made.key, made.signed_at)
            negatives.require_may_suspend(made, self._require_trust(), before)
        digest = Sha256(leaf.record)
        self._suspensions.setdefault(
            digest, Suspended(digest, target, made.member, own, made.reason, made.signed_at, made.until)
        )

    def _take_lift(self, _index: int, leaf: Leaf, raw: bytes) -> None:
        one = self._suspensions.get(leaf.tagged("suspension"))
        if one is None:
            return
        made = self._read(leaf, raw, Lift)
        self._require_unsuspended(made.member, made.key, made.signed_at)
        negatives.require_may_lift(made, self._require_trust(), one)
        self._suspensions[one.digest] = replace(one, lifted_by=one.lifted_by | {made.member})

    def _take_use(self, index: int, leaf: Leaf, raw: bytes) -> None:
        request = leaf.tagged("request")
        if request not in self._requests or request in self._uses:
            return
        made = self._read(leaf, raw, AccessUse)
        checks.require_addressed(self._requests[request].gate, made.gate, self._require_trust())
        self._uses[request] = Use(index, Sha256(leaf.record), made.gate, frozenset(made.approvals))

    def _take_offer(self, _index: int, leaf: Leaf, raw: bytes) -> None:
        request = leaf.tagged("request")
        if request not in self._requests:
            return
        made = self._read(leaf, raw, CounterOffer)
        negatives.require_human(made, made.member, self._require_trust())
        self._require_unsuspended(made.member, made.key, made.signed_at)
        offer = Offer(Sha256(leaf.record), made.member, made.duration_s, made.bytes_max, made.reason)
        others = tuple(one for one in self._offers.get(request, ()) if one.by != made.member)
        self._offers[request] = (*others, offer)

    def _take_break_glass(self, _index: int, leaf: Leaf, raw: bytes) -> None:
        # The gate's word for what it did stands by itself: its request may come into the log later, or have been over before.
        made = self._read(leaf, raw, AccessUse)
        digest = Sha256(leaf.record)
        self._unreviewed.setdefault(digest, BreakGlassUse.of(digest, made))

    def _take_review(self, _index: int, leaf: Leaf, raw: bytes) -> None:
        made = self._read(leaf, raw, Review)
        self._require_unsuspended(made.member, made.key, made.signed_at)
        if made.report is not None:
            negatives.require_human(made, made.member, self._require_trust())
            self._access_reviewed = AccessReviewed(made.member, made.signed_at, made.report)
        elif (use := self._unreviewed.get(made.use or "")) is not None:
            reviews.require_may_review(made.member, self._require_trust(), use)
            del self._unreviewed[use.digest]

    def _take_tombstone(self, index: int, leaf: Leaf, raw: bytes) -> None:
        # It decides nothing: it says of what cannot be read that nobody need look for it. What that took away stays taken.
        trust = self._require_trust()
        made = tombstones.require_counts(leaf, raw, trust)
        self._require_unsuspended(made.member, made.key, made.signed_at)
        known = self._erasures.get(made.record, Erasure())
        self._erasures[made.record] = known.signed(made.member, at=index, trust=trust)
        found = {at: one for at, one in self._hidden.items() if one.record == made.record}
        for at in [at for at, one in found.items() if one.kind in tombstones.ERASABLE]:
            one = found[at]
            self._hidden[at] = replace(one, erasure=one.erasure.signed(made.member, at=index, trust=trust))

    def _require_trust(self) -> TrustState:
        return require_founded(self._trust)

    def _read(self, leaf: Leaf, raw: bytes, kind: type[P]) -> P:
        return read_as(leaf, raw, kind, self._trust)

    def _require_unsuspended(self, member: str, keyid: str, signed_at: int) -> None:
        # Whoever is suspended cannot get around it by dating a record back: the suspension stands before it in the log.
        at = min(signed_at, self._now)
        require_unsuspended(member, keyid, self._suspensions.values(), self._trust, at=at)
