"""Wait until people agreed to a request and its window is open, or until it has ended: what `keyturn ssh` does before it
connects.

What is waited for is what the lab's log says of it, as this machine verified it. Whether a door opens is for the gate.
"""

from __future__ import annotations

from collections.abc import Callable

from keyturn.app.access.show_grants import Live, live_request
from keyturn.app.log.follow_log import follow_log
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.grants import lifecycle
from keyturn.grants.freshness import require_trust
from keyturn.grants.view import GateView
from keyturn.ports import Clock, LogReader, Pause

__all__ = ["await_grant"]

POLL_S = 0.5


def await_grant(
    view: GateView,
    reader: LogReader,
    digest: str,
    *,
    clock: Clock,
    pause: Pause,
    within_s: int,
    changed: Callable[[Live], None],
) -> Live:
    """The request `digest` once it is open; `changed` is told each time that somebody agreed.

    `Refused` `grant-ended` when it was denied, revoked or is over; `Unavailable` `grant-waits` after `within_s`.
    """
    until = clock.now() + within_s
    seen: tuple[str, ...] | None = None
    while True:
        now = clock.now()
        try:
            view = follow_log(view, reader, now=now, ask_again=False)
            live = live_request(view, require_trust(view, now=now), digest, now=now)
        except KeyturnError as err:
            if isinstance(err, Refused) and seen is not None:
                raise
            live = None  # the log may be restarting, or not be witnessed up to the request yet
        if live is not None:
            if live.approvers != seen:
                seen = live.approvers
                changed(live)
            if live.state == "open":
                return live
            if live.state in lifecycle.END_STATES:
                by = f" by `{live.withdrawn_by}`" if live.withdrawn_by else ""
                raise Refused("grant-ended", f"`{live.id}` is {live.state}{by}", hint=f"keyturn grant show {live.id}")
        if now >= until:
            raise Unavailable(
                "grant-waits",
                f"`req-{digest[:32]}` was not agreed to within {within_s} s",
                hint="ask a coworker: keyturn grant explain says who could approve; then run it again",
            )
        pause(POLL_S)
