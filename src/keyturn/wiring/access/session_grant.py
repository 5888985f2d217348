"""Ask for a session and wait until people agreed, with a key that this process makes for this one request, and holds in memory.

What `keyturn ssh` and `keyturn psql` have in common. Whether a door opens to that key is for the gate behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from keyturn.adapters.clock import SystemClock, pause
from keyturn.adapters.keys.session_key import SessionKey
from keyturn.app.access.await_grant import await_grant
from keyturn.app.access.request_access import Wish, draft_request, of_resource, request_access, require_hope, shown
from keyturn.errors import Unavailable
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.session_terms import SessionTerms
from keyturn.grants.bastion import require_bastion
from keyturn.wiring.access.grants import Viewed, desk, wait_until_in_force
from keyturn.wiring.gates.bastions import recorded_by
from keyturn.wiring.typed import through, uri

__all__ = ["AgreedSession", "SessionWish", "agreed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWish:
    """What somebody wants of `resource`, as `host/gpu1`, at the gate of that name, recorded by `bastion` and watched by `watcher`
    if they are named. What is None is chosen by the policy's one permit that fits."""

    resource: str
    gate: str
    action: str
    reason: str
    ticket: str
    duration_s: int | None
    permit: str | None
    urgent: bool
    session: SessionTerms | None = None
    bastion: str | None = None
    watcher: str | None = None
    database: DatabaseTerms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedSession:
    """What people agreed to: `request` is its id and `digest` its record's, `member` who asked.

    It is over at `ends_at` (POSIX seconds) at the latest. `seen` is the lab as it was before the request was logged.
    """

    request: str
    digest: str
    member: str
    ends_at: int
    key: SessionKey
    seen: Viewed


@contextmanager
def agreed(
    lab: str | None,
    wish: SessionWish,
    *,
    key: str | None,
    agree: Callable[[tuple[tuple[str, str], ...]], None],
    tell: Callable[[str], None],
    within_s: int,
) -> Iterator[AgreedSession]:
    """Ask for what `wish` says, which `agree` is shown before it is signed, and hold the session's key once people agreed."""
    with SessionKey() as session:
        with desk(lab, key=key) as here:
            seen, hand = here.seen, here.hand
            terms = wish.session
            if wish.bastion is not None:
                terms = through(terms, recorded_by(seen, wish.bastion, session.public), watcher=wish.watcher)
            made = draft_request(
                Wish(
                    requester=hand.member,
                    beneficiary=None,
                    action=wish.action,
                    resource=uri("RESOURCE", wish.resource, lab=seen.trust.lab),
                    gate=uri("`--gate`", wish.gate if "/" in wish.gate else f"gate/{wish.gate}", lab=seen.trust.lab),
                    permit=wish.permit,
                    justification=wish.reason,
                    ticket=wish.ticket,
                    duration_s=wish.duration_s,
                    not_before=None,
                    pending_s=None,
                    session_key=session.public.text,
                    bytes_max=None,
                    follows=None,
                    urgent=wish.urgent,
                    session=terms,
                    database=wish.database,
                ),
                seen.policy,
                keyid=hand.key.public.keyid,
                clock=hand.clock,
                entropy=hand.entropy,
            )
            if terms is not None and terms.bastion is not None:
                require_bastion(made, terms.bastion, seen.trust)
            require_hope(made, seen.policy, gates=seen.trust.gates, now=seen.now)
            agree(shown(made, of_resource(made)))
            logged = request_access(made, subjects=of_resource(made), key=hand.key, log=hand.log)
            wait_until_in_force(seen, logged)
            tell(f"{logged.id}: asked; a coworker now runs `keyturn approve {logged.id[:12]}`")
            live = await_grant(
                seen.view,
                seen.reader,
                logged.digest,
                clock=SystemClock(),
                pause=pause,
                within_s=within_s,
                changed=lambda one: tell(f"approved by {', '.join(one.approvers)}") if one.approvers else None,
            )
        if live.window is None:
            raise Unavailable("grant-waits", f"`{logged.id}` has no window yet", hint=f"keyturn grant show {logged.id}")
        yield AgreedSession(
            request=logged.id,
            digest=logged.digest,
            member=hand.member,
            ends_at=live.window.ends_at,
            key=session,
            seen=seen,
        )
