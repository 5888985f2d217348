"""The steps of `verify_grant` and `verify_past`: each raises, yields what is wrong, or returns what the next one needs.

This is NOT a way in: nothing here makes a `VerifiedGrant`, and no gate calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from keyturn.crypto.dsse_signing import verify_one
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse, statement
from keyturn.formats.access import ACCESS_REQUEST, HUMAN_AUTHORIZATION, REPLAY, AccessRequest, HumanAuthorization
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.uri import Uri
from keyturn.grants import withdrawing
from keyturn.grants.approvers import approval_facts, require_countable_key, verify_approval
from keyturn.grants.bastion import bastion_of, key_at, require_bastion
from keyturn.grants.bundle import Bundle
from keyturn.grants.known import Known
from keyturn.policy import persons
from keyturn.policy.decide import Allow, Deny, decide
from keyturn.policy.facts import Fact, Facts
from keyturn.policy.load import Policy
from keyturn.policy.schema import ACTIONS
from keyturn.trust.roster import TrustState

__all__ = [
    "Asked",
    "Given",
    "agree",
    "not_logged",
    "parse_bundle",
    "renewal_facts",
    "requester_checks",
    "require_addressed",
    "require_approval",
    "require_gate",
    "require_no_break_glass",
    "require_none",
    "require_persons",
    "require_session_key",
    "taken_away",
]


@dataclass(frozen=True, slots=True)
class Given:
    """One authorization of the bundle."""

    digest: Sha256
    envelope: Envelope
    made: HumanAuthorization


@dataclass(frozen=True, slots=True)
class Asked:
    """The request of the bundle, with its authorizations. `subjects` are what it is about, by digest."""

    digest: Sha256
    envelope: Envelope
    made: AccessRequest
    subjects: tuple[ArtifactDigest, ...]
    given: tuple[Given, ...]

    @property
    def approving(self) -> tuple[Given, ...]:
        return tuple(given for given in self.given if given.made.decision == "approve")


def parse_bundle(bundle: Bundle) -> Asked:
    """(1) Parse every payload of `bundle`, or raise `Malformed`."""
    asked = statement.parse(bundle.request.payload, AccessRequest, ACCESS_REQUEST)
    subjects = tuple(subject.digest.artifact for subject in asked.subject)
    request = asked.predicate
    resource = ArtifactDigest("sha256", sha256(request.resource.encode("ascii")))
    # A release is about content, which the release gate compares, and a replay about a recording, which keyholders do; everything
    # else is about the resource that it names.
    if not request.action.endswith(":release") and request.action != REPLAY and subjects != (resource,):
        raise Malformed(
            "request-subject", f"request: expected the one subject `{resource}`, the digest of its resource"
        )
    digest = bundle.request.record_digest
    given = []
    for envelope in bundle.authorizations:
        parsed = statement.parse(envelope.payload, HumanAuthorization, HUMAN_AUTHORIZATION)
        made = parsed.predicate
        if [str(subject.digest.artifact) for subject in parsed.subject] != [f"sha256:{made.request}"]:
            raise Malformed("authorization-subject", "authorization: expected the request as its one subject")
        given.append(Given(envelope.record_digest, envelope, made))
    return Asked(digest, bundle.request, request, subjects, tuple(given))


def require_no_break_glass(asked: Asked) -> None:
    """(1) Refuse a break-glass request: whoever does not look for one must not treat it as any other."""
    if asked.made.break_glass_at is not None:
        raise Refused("break-glass-request", "this is a break-glass request, and is verified as one or not at all")


def requester_checks(asked: Asked, trust: TrustState, known: Known, *, now: int) -> tuple[Callable[[], None], ...]:
    """(3) The requester is in the roster, not suspended, and signed; the beneficiary is there and not suspended.

    One check for each thing that can be wrong by itself; `verify_past` names all that fail.
    """
    request = asked.made
    return (
        lambda: _require_lab(request.lab, trust, what="a request"),
        lambda: _require_party("requester", request.requester, request.key, trust, known, now=now),
        lambda: _require_party("beneficiary", request.beneficiary, request.key, trust, known, now=now),
        lambda: _require_signed(asked, trust),
    )


def _require_lab(lab: str, trust: TrustState, *, what: str) -> None:
    if lab != trust.lab:
        raise Refused("lab-other", f"expected {what} of lab `{trust.lab}`, got `{lab}`")


def _require_party(what: str, member: str, keyid: str, trust: TrustState, known: Known, *, now: int) -> None:
    if member not in trust.roster.members:
        raise Refused(f"{what}-unknown", f"{what} `{member}` is not in the roster")
    known.require_unsuspended(member, keyid, now=now, what=what)


def _require_signed(asked: Asked, trust: TrustState) -> None:
    request = asked.made
    held = trust.roster.key_of(request.requester, request.key)
    if held is None:
        raise Refused("requester-key-unknown", f"`{request.requester}` has no key `{request.key[:16]}` in the roster")
    verify_one(asked.envelope, held)


def require_approval(
    given: Given, asked: Asked, trust: TrustState, then: TrustState, known: Known, *, now: int
) -> HumanAuthorization:
    """(4) An authorization that approves: a human, not suspended, a user-verified key, a good signature, this request, its
    trust_version, not expired. The key is enrolled under the newest trust and under that which trust_version names."""
    made = given.made
    _require_lab(made.lab, trust, what="an approval")
    if made.request != asked.digest:
        raise Refused(
            "approval-other-request", f"`{made.approver}` approved `req-{made.request[:32]}`, not this request"
        )
    if made.trust_version != asked.made.trust_version:
        raise Refused(
            "approval-other-trust",
            f"`{made.approver}` approved under trust version {made.trust_version}, expected {asked.made.trust_version}",
        )
    if then is not trust:
        require_countable_key(then, made.approver, made.key)
    held = require_countable_key(trust, made.approver, made.key)
    known.require_unsuspended(made.approver, made.key, now=now, what="approver")
    if made.expires_at <= now:
        raise Refused("approval-expired", f"the approval by `{made.approver}` expired at {made.expires_at}")
    if made.signed_at > now + trust.limits.clock_skew_max_s:
        raise Refused("approval-from-the-future", f"`{made.approver}` approved at {made.signed_at}, it is {now}")
    verify_approval(given.envelope, held, trust)
    return made


def require_persons(
    asked: Asked, trust: TrustState, then: TrustState, approvals: Sequence[HumanAuthorization]
) -> Mapping[str, int]:
    """(5) The distinct humans who approved, each with his earliest time, without requester, beneficiary, and every human
    responsible for an agent concerned, under either trust."""
    request = asked.made
    counted = {made.approver for made in approvals}
    for state in (trust,) if then is trust else (trust, then):
        counted &= persons.countable(state.roster, counted, request.requester, request.beneficiary)
    earliest: dict[str, int] = {}
    for made in approvals:
        if made.approver in counted:
            earliest[made.approver] = min(made.signed_at, earliest.get(made.approver, made.signed_at))
    return earliest


def taken_away(asked: Asked, known: Known, *, now: int) -> Iterator[Refused]:
    """(6) Each denial or revocation in the view or the bundle; each authorization that the view knows and the bundle lacks.

    No denial ends break-glass (`grants.withdrawing`). Suspensions of people are looked at with each of them, in (3) and (4).
    `Unavailable` when something could not be read.
    """
    known.require_read(f"request:{asked.digest}", what="request")
    for withdrawn in withdrawing.ending(known, asked.digest, asked.made, now=now):
        verb, code = ("denied", "request-denied") if withdrawn.kind == "den" else ("revoked", "request-revoked")
        yield Refused(code, f"`{withdrawn.by}` {verb} the request: {withdrawn.reason}")
    for given in asked.given:
        if given.made.decision == "deny" and asked.made.break_glass_at is None:
            yield Refused("request-denied", f"the bundle holds a denial by `{given.made.approver}`")
    held = {given.digest for given in asked.given}
    for approval in known.approvals.get(asked.digest, ()):
        if approval.until > now and approval.digest not in held:
            yield Refused(
                "authorization-withheld",
                f"the log holds `apr-{approval.digest[:32]}` of this request, and the bundle lacks it",
                hint="fetch the bundle again",
            )


def agree(
    asked: Asked,
    approvals: Sequence[HumanAuthorization],
    people: Mapping[str, int],
    policies: Sequence[Policy],
    facts: Facts,
    trust: TrustState,
    *,
    now: int,
) -> Allow:
    """(7) `decide` under each of `policies` (the one that trust_version names, and the newest): all allow, by the same permit.

    To the gate's `facts` is added how the approvals of `people`, who count, were signed.
    """
    allowed: Allow | None = None
    facts = facts.adding(approval_facts(trust, (made for made in approvals if made.approver in people)))
    for policy in policies:
        decided = decide(policy, asked.made, people, facts, now=now)
        if isinstance(decided, Deny):
            raise Refused(
                decided.reasons[0].code,
                f"trust version {policy.trust_version} does not allow it: {decided.reasons[0].text}",
                reasons=tuple((reason.code, reason.text) for reason in decided.reasons),
                hint=f"keyturn grant explain req-{asked.digest[:32]}",
            )
        allowed = decided
    if allowed is None:
        raise Refused("policy-empty", "no policy was asked, so nothing is allowed")
    return allowed


def renewal_facts(made: AccessRequest, digest: Sha256, known: Known) -> Mapping[str, Fact]:
    """Whether `made`, of which `digest` is, goes on with an access that was going on, by what the log has and not by its word.

    What it follows stood and was used when it was asked (`grants.following`), and nobody ended that since, as far as is known.
    """
    request = known.requests.get(digest)
    ended = made.follows in known.withdrawals or f"request:{made.follows}" in known.unread
    return {"request.renewal": request is not None and request.renews and not ended}


def not_logged(asked: Asked, known: Known) -> Iterator[Refused]:
    """(9) Each record whose leaf is not in the view: that very envelope, not only that payload."""
    request = known.requests.get(asked.digest)
    if request is None or request.envelope != _stored(asked.envelope):
        yield Refused("leaf-missing", f"`req-{asked.digest[:32]}` is not in the log as it is in the bundle")
    logged = {approval.digest: approval.envelope for approval in known.approvals.get(asked.digest, ())}
    for given in asked.given:
        if logged.get(given.digest) != _stored(given.envelope):
            yield Refused("leaf-missing", f"`apr-{given.digest[:32]}` is not in the log as it is in the bundle")


def require_none(failures: Iterable[Refused]) -> None:
    """Raise the first of `failures`, if there is any."""
    for failure in failures:
        raise failure


def require_gate(asked: Asked, trust: TrustState, *, gate: Uri) -> None:
    """(10) This gate, or an ancestor of it; or the bastion that the request names, which the gate behind it asks again."""
    bastion = bastion_of(asked.made)
    if bastion is not None:
        require_bastion(asked.made, bastion, trust)
        if bastion.gate == str(gate):
            return
    require_addressed(asked.made.gate, str(gate), trust)


def require_addressed(named: str, gate: str, trust: TrustState) -> None:
    """Refuse unless `named`, the gate that a request names, is `gate` or an ancestor of it."""
    if named not in _self_and_ancestors(gate, trust):
        raise Refused("gate-other", f"the request is for `{named}`, this is `{gate}`")


def require_session_key(asked: Asked, session_key: PublicKey | None, *, gate: Uri) -> None:
    """(10) The key that this gate must see proved, required for sessions: behind a bastion, the bastion's own."""
    proved = session_key.text if session_key is not None else None
    if key_at(asked.made, gate) != proved:
        raise Refused("session-key-other", "the session proved another key than the request names, or none")
    if proved is None and not ACTIONS[asked.made.action].one_shot:
        raise Refused(
            "session-key-missing", f"`{asked.made.action}` opens a session, and the request names no session key"
        )


def _self_and_ancestors(gate: str, trust: TrustState) -> frozenset[str]:
    found: set[str] = set()
    todo = [gate]
    while todo:
        uri = todo.pop()
        resource = trust.resources.by_uri.get(uri)
        if uri not in found and resource is not None:
            todo.extend(map(str, resource.parents))
        found.add(uri)
    return frozenset(found)


def _stored(envelope: Envelope) -> Sha256:
    return sha256(dsse.render(envelope))
