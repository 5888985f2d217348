"""Ask for access: choose the permit, show the request whole, sign it, log it.

A request that nobody could ever approve, or for a gate that is none, is refused here, with every reason: it would otherwise wait
in vain. Coworkers and gates verify everything again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.app.records.known_gate import require_known_gate
from keyturn.app.records.nearest import meant
from keyturn.app.records.sign_record import Logged, about, sign_and_log
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Refused, Usage
from keyturn.formats.access import AccessRequest
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.posix_time import duration, rfc3339
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.statement import Subject
from keyturn.formats.uri import Uri
from keyturn.grants import withdrawing
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS, Facts
from keyturn.policy.hope import hopeless, refuse_hopeless
from keyturn.policy.load import Permit, Policy
from keyturn.policy.schema import ACTIONS
from keyturn.ports import Clock, Entropy, LogWriter
from keyturn.trust.roster import Gate

__all__ = [
    "Wish",
    "draft_request",
    "of_resource",
    "request_access",
    "require_hope",
    "require_own_key",
    "require_renewable",
    "shown",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for. What is None is chosen: the only permit that fits, its longest duration, from now on."""

    requester: str
    beneficiary: str | None
    action: str
    resource: Uri
    gate: Uri
    permit: str | None
    justification: str
    ticket: str
    duration_s: int | None
    not_before: int | None
    pending_s: int | None
    session_key: str | None
    bytes_max: int | None
    follows: str | None
    break_glass: bool = False
    urgent: bool = False
    session: SessionTerms | None = None
    database: DatabaseTerms | None = None


def draft_request(wish: Wish, policy: Policy, *, keyid: str, clock: Clock, entropy: Entropy) -> AccessRequest:
    """Fill in what `wish` leaves open, by the permit that it names; `Usage` when that is ambiguous."""
    permit = _permit(wish, policy)
    if wish.break_glass and not permit.break_glass:
        raise Refused(
            "permit-other-glass",
            f"permit `{permit.id}` is not for break-glass",
            hint="keyturn policy check says which is",
        )
    begin = clock.now() if wish.not_before is None else wish.not_before
    pending_s = permit.pending_max_s if wish.pending_s is None else wish.pending_s
    duration_s = wish.duration_s or permit.duration_max_s or pending_s
    start_by = begin + pending_s
    return AccessRequest(
        lab=policy.lab,
        nonce=entropy.nonce(),
        requester=wish.requester,
        key=keyid,
        beneficiary=wish.beneficiary or wish.requester,
        action=wish.action,
        resource=str(wish.resource),
        permit=permit.id,
        gate=str(wish.gate),
        justification=wish.justification,
        ticket=wish.ticket,
        not_before=begin,
        start_by=start_by,
        # A one-shot must be over when it may no longer wait; a session may start at the last moment, and then last.
        not_after=start_by if permit.one_shot else start_by + duration_s,
        duration_s=duration_s,
        trust_version=policy.trust_version,
        session_key=wish.session_key,
        bytes_max=wish.bytes_max,
        follows=wish.follows,
        break_glass_at=clock.now() if wish.break_glass else None,
        urgent=wish.urgent,
        session=wish.session,
        database=wish.database,
    )


def require_hope(
    made: AccessRequest, policy: Policy, *, gates: Mapping[str, Gate], now: int, facts: Facts = NO_FACTS
) -> None:
    """Refuse a request for a gate that is none of `gates`, or that every human of the lab together could not get granted.

    What `facts` lacks is not known yet.
    """
    require_known_gate(made, gates)
    reasons = hopeless(policy, made, facts, now=now)
    if {reason.code for reason in reasons} == {"session-key-missing"}:
        raise Usage(
            "session-key-missing",
            f"`{made.action}` opens a session: name its key",
            hint="openssl genpkey -algorithm ed25519 -out session.pem; then add "
            '--session-key "$(openssl pkey -in session.pem -pubout -outform DER | base64 -w0)"',
        )
    refuse_hopeless(reasons)


def shown(made: AccessRequest, subjects: tuple[Subject, ...]) -> tuple[tuple[str, str], ...]:
    """Every field of a request, in words, in the order in which a person should read it. Nothing that is signed is left out."""
    return (
        ("who asks", made.requester),
        ("for whom", made.beneficiary),
        ("action", made.action),
        ("resource", made.resource),
        # A subject's name is the requester's word: it is shown as a quotation, on one line, and never as a row's label.
        *(("about", f"{subject.digest.artifact} called {subject.name!a}") for subject in subjects),
        ("at gate", made.gate),
        ("by permit", made.permit),
        ("why", made.justification),
        ("ticket", made.ticket or "-"),
        ("urgent", "yes: whoever can approve is paged" if made.urgent else "no"),
        ("not before", rfc3339(made.not_before)),
        ("start by", rfc3339(made.start_by)),
        ("not after", rfc3339(made.not_after)),
        ("duration", f"{made.duration_s} s ({duration(made.duration_s)})"),
        ("bytes at most", "-" if made.bytes_max is None else str(made.bytes_max)),
        ("session key", made.session_key or "-"),
        *_shown_session(made),
        *_shown_database(made),
        ("follows", "-" if made.follows is None else f"req-{made.follows[:32]}"),
        ("lab", made.lab),
        ("trust version", str(made.trust_version)),
        ("break-glass", "-" if made.break_glass_at is None else f"YES, signed at {rfc3339(made.break_glass_at)}"),
        ("signing key", made.key),
        ("nonce", made.nonce),
    )


def _shown_session(made: AccessRequest) -> tuple[tuple[str, str], ...]:
    terms = made.session
    if terms is None:
        plain = "a shell of the action's own account: no sftp, nothing forwarded"
        return (("session", plain),) if made.action.startswith("host:") else ()
    return (
        ("account", terms.account or "the action's own"),
        ("only from", ", ".join(terms.sources) or "anywhere"),
        ("only runs", terms.command or "anything"),
        ("sftp", "YES" if terms.sftp else "no"),
        ("forwards to", ", ".join(terms.forwards) or "nowhere"),
        ("recorded by", "nobody" if terms.bastion is None else terms.bastion.gate),
        ("watched by", "nobody" if terms.watcher is None else terms.watcher.replace(":", " ", 1)),
        *(() if terms.bastion is None else (("bastion's key", terms.bastion.key),)),
    )


def _shown_database(made: AccessRequest) -> tuple[tuple[str, str], ...]:
    terms = made.database
    if terms is None:
        whole = "all that the action may do, in the whole schema"
        return (("in the database", whole),) if made.action.startswith("db:") else ()
    return (
        ("read only", "yes" if terms.read_only else "no"),
        ("only tables", ", ".join(terms.tables) or "any of the schema"),
        ("a statement lasts", "-" if terms.statement_s is None else f"{duration(terms.statement_s)} at most"),
        ("connections", "-" if terms.connections is None else f"{terms.connections} at most"),
    )


def request_access(made: AccessRequest, *, subjects: tuple[Subject, ...], key: RecordSigner, log: LogWriter) -> Logged:
    """Sign and log `made`, which was shown with these `subjects`: a release's content, else `of_resource`."""
    require_own_key(made, key)
    return sign_and_log(made, subjects, key=key, log=log)


def require_own_key(made: AccessRequest, key: RecordSigner) -> None:
    """Refuse to sign a request that names another key."""
    if key.public.keyid != made.key:
        raise Refused(
            "request-other-key", f"the request names key `{made.key[:16]}`, this is `{key.public.keyid[:16]}`"
        )


def of_resource(made: AccessRequest) -> tuple[Subject, ...]:
    """The subjects of a request that is about its resource itself."""
    return about(Uri.parse(made.resource).digest, name=made.resource)


def require_renewable(view: GateView, digest: str, made: AccessRequest, *, now: int) -> None:
    """Refuse to renew the request `made` when coworkers said no to it: what was denied or revoked does not go on.

    Who asked may have taken it back himself, to ask for less. Raises `Refused` `renewal-of-ended` (docs/decisions/0055).
    """
    for ended in withdrawing.ending(view.known, digest, made, now=now):
        if ended.kind == "den" or ended.by not in (made.requester, made.beneficiary):
            raise Refused(
                "renewal-of-ended",
                f"`{ended.by}` {ended.verb} `req-{digest[:32]}`: {ended.reason}; it does not go on by another request",
                hint="ask for itself, and say what is different now: the same without --renews; an offer of less: "
                "keyturn grant accept OFFER",
            )


def _permit(wish: Wish, policy: Policy) -> Permit:
    if wish.permit is not None:
        found = policy.permits.get(wish.permit)
        if found is None:
            raise Refused(
                "permit-unknown",
                f"`{wish.permit}` is no permit of trust version {policy.trust_version}",
                hint=meant(wish.permit, policy.permits, what="permits"),
            )
        return found
    if wish.action not in ACTIONS:
        raise Refused(
            "action-unknown",
            f"`{wish.action[:80]}` is no action",
            hint=meant(wish.action, ACTIONS, what="actions"),
        )
    fitting = [
        p
        for p in policy.permits.values()
        if wish.action in p.actions and wish.requester in p.asks and p.break_glass == wish.break_glass
    ]
    if not fitting:
        by = " by break-glass" if wish.break_glass else ""
        raise Refused(
            "permit-none",
            f"no permit of the policy lets `{wish.requester}` ask for `{wish.action}`{by}",
            hint="keyturn policy check shows who may ask for what",
        )
    if len(fitting) > 1:
        names = ", ".join(sorted(p.id for p in fitting))
        raise Usage("permit-ambiguous", f"expected one permit, several fit: {names}", hint="--permit NAME")
    return fitting[0]
