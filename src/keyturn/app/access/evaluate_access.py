"""Say whether somebody may do something now, as far as the log shows it: for programs that ask before they try.

NOT a gate, and nothing opens by it: whoever believes it believes the service. A gate runs `verify_grant` on the bundle itself,
with its own nonce, its own facts and the session's key; here the same checks run in the same order without those three, so that a
yes may still be a no at the gate. Whatever cannot be found out is a no: a stale log, an unread record, a fact that the gate alone
knows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from keyturn.app.access.show_grants import Live, live_request
from keyturn.app.log.follow_log import follow_log
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import records
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.uri import Uri
from keyturn.grants import checks, one_shot
from keyturn.grants.agreed import policies_of, state_then
from keyturn.grants.freshness import require_recent
from keyturn.grants.known import Request
from keyturn.grants.view import GateView
from keyturn.grants.window import Window, window_of
from keyturn.policy.decide import Deny, decide
from keyturn.policy.facts import NO_FACTS
from keyturn.policy.load import Permit, Policy
from keyturn.ports import Clock, LogReader
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState

__all__ = ["AccessView", "Answer", "Grantable", "Question"]

REASONS_MAX = 16


@dataclass(frozen=True, slots=True)
class Question:
    """May the member `subject` do `action` to `resource`? Exactly these three; a resource's ancestors are other resources."""

    subject: str
    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Grantable:
    """A request that would be granted now: its digest, and when it is open."""

    digest: Sha256
    window: Window


@dataclass(frozen=True, slots=True)
class Answer:
    """Yes with what stands behind it, or no with every reason. `permit` is one by which a no can be asked for."""

    grantable: Grantable | None
    reasons: tuple[tuple[str, str], ...]
    permit: str | None
    profile: str
    now: int


class AccessView:
    """Follows one log and answers from it. Safe for threads; nothing is kept from a refresh that fails."""

    def __init__(self, root_json: bytes, *, pinned_sha256: str, log: LogReader, clock: Clock) -> None:
        history: TrustHistory = TrustHistory.start(root_json, pinned_sha256=pinned_sha256)
        self._view = GateView.start(history, gate=None, nonce_record=None)
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._followed_at = -1

    def evaluate(self, question: Question) -> Answer:
        """Answer `question` from the newest witnessed log; raises when that cannot be had or is too old."""
        view, trust, now = self._current()
        reasons: list[tuple[str, str]] = []
        for request in _about(view, question):
            try:
                return Answer(_grantable(view, trust, request, now=now), (), None, trust.profile, now)
            except Refused as err:
                reasons += err.reasons
            except KeyturnError as err:
                reasons.append((err.code, err.message))
        if not reasons:
            reasons.append(
                (
                    "request-none",
                    f"`{question.subject}` has no live request for this: a person or agent asks, people approve",
                )
            )
        return Answer(None, tuple(reasons[:REASONS_MAX]), _permit(view, trust, question, now=now), trust.profile, now)

    def request(self, prefix: str) -> Live | None:
        """The live request whose digest begins with `prefix`; None when the view has none such."""
        view, trust, now = self._current()
        found = [digest for digest in view.known.requests if digest.startswith(prefix)]
        return live_request(view, trust, found[0], now=now) if len(found) == 1 else None

    @property
    def size(self) -> int:
        """How many log entries the view has read."""
        return self._view.frontier.size

    def _current(self) -> tuple[GateView, TrustState, int]:
        with self._lock:
            now = self._clock.now()
            if now != self._followed_at:  # once a second, however many ask
                self._view = follow_log(self._view, self._log, now=now, ask_again=False)
                self._followed_at = now
            view = self._view
        return view, require_recent(view, now=now), now


def _about(view: GateView, question: Question) -> Iterator[Request]:
    """Live requests of exactly `question`, newest first: the newest is the likeliest to stand."""
    for known in sorted(view.known.requests.values(), key=lambda one: one.index, reverse=True):
        if known.raw is None:
            continue
        made: AccessRequest = records.parse(known.raw).statement.predicate
        if (made.beneficiary, made.action, made.resource) == (question.subject, question.action, question.resource):
            yield known


def _grantable(view: GateView, trust: TrustState, request: Request, *, now: int) -> Grantable:
    """The checks of `verify_grant` by their numbers, without a gate, its facts and the session's key; raises what they raise."""
    bundle = view.bundle_of(request.digest)
    if bundle is None:
        raise Unavailable(
            "authorization-unread",
            "an approval is in the log and could not be read",
            hint="keyturn log verify names it",
        )
    asked, known = checks.parse_bundle(bundle), view.known  # (1); (2) is what made the view current
    checks.require_no_break_glass(asked)
    for check in checks.requester_checks(asked, trust, known, now=now):  # (3)
        check()
    then = state_then(asked, view.trust, trust)  # (4)
    approvals = [checks.require_approval(given, asked, trust, then, known, now=now) for given in asked.approving]
    people = checks.require_persons(asked, trust, then, approvals)  # (5)
    checks.require_none(checks.taken_away(asked, known, now=now))  # (6)
    policies = policies_of(view.shelf, trust, then)  # (7)
    facts = NO_FACTS.adding(checks.renewal_facts(asked.made, asked.digest, known))
    allowed = checks.agree(asked, approvals, people, policies, facts, trust, now=now)
    window = window_of(asked.made, people, policies)  # (8)
    window.require_open(now=now)
    checks.require_none(checks.not_logged(asked, known))  # (9)
    checks.require_gate(asked, trust, gate=Uri.parse(asked.made.gate))  # (10)
    if allowed.permit.one_shot:
        one_shot.require_unused(known, asked.digest)
    return Grantable(asked.digest, window)


def _permit(view: GateView, trust: TrustState, question: Question, *, now: int) -> str | None:
    """A permit by which `subject` could ask for this with hope: everybody's approval together would do, facts aside."""
    try:
        view.known.require_unsuspended(question.subject, "", now=now, what="member")
        policy = view.shelf.policy(trust)
    except KeyturnError:
        return None
    gate = min(trust.gates, default=None)
    if gate is None:
        return None
    for permit in sorted(policy.permits.values(), key=lambda one: one.id):
        if question.action in permit.actions and question.subject in permit.asks:
            made = _as_if(question, permit, policy, gate=gate, now=now)
            decided = decide(policy, made, policy.roster.members, NO_FACTS, now=now)
            if not isinstance(decided, Deny) or all(reason.code == "policy-error" for reason in decided.reasons):
                return permit.id
    return None


def _as_if(question: Question, permit: Permit, policy: Policy, *, gate: str, now: int) -> AccessRequest:
    """The request that `subject` might sign, for `decide` alone: it is never signed, and reaches no log."""
    duration_s = permit.duration_max_s or permit.pending_max_s
    return AccessRequest(
        lab=policy.lab,
        nonce="0" * 32,
        requester=question.subject,
        key="0" * 64,
        beneficiary=question.subject,
        action=question.action,
        resource=question.resource,
        permit=permit.id,
        gate=gate,
        justification="as if",
        not_before=now,
        start_by=now + permit.pending_max_s,
        not_after=now + permit.pending_max_s + (0 if permit.one_shot else duration_s),
        duration_s=duration_s,
        trust_version=policy.trust_version,
    )
