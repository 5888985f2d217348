"""Say who may watch what goes through a bastion, and whether somebody does: the second person of a session.

1. parse; it is of this lab, for this bastion, and signed a moment ago;
2. the view is fresh;
3. the request is live, and asks for this bastion and for a watcher;
4. a human, not suspended, with a key that verifies its user, who signed: as step 4 of `verify_grant` has approvers;
5. another person than requester, beneficiary, and every human responsible for an agent among them;
6. the one whom the request names, or somebody of the group that it names, now.

This is NOT whether the session is granted: that is `verify_grant`, which the bastion asks of whoever comes through. An approver
may watch: what is asked for is eyes, and his are another's.
"""

from __future__ import annotations

from keyturn.errors import Refused, Unavailable
from keyturn.formats import dsse, statement, watch
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.uri import Uri
from keyturn.formats.watch import Watch
from keyturn.grants.approvers import require_countable_key, verify_approval
from keyturn.grants.bastion import bastion_of
from keyturn.grants.freshness import require_fresh
from keyturn.grants.view import GateView
from keyturn.policy import persons
from keyturn.trust.roster import TrustState

__all__ = ["SIGNED_WITHIN_S", "verify_watch"]

SIGNED_WITHIN_S = 300
"""How old the statement may be with which somebody begins to watch. He goes on by it while his request lives."""


def verify_watch(
    raw: bytes, view: GateView, *, now: int, gate: Uri, begins: bool
) -> tuple[Watch, AccessRequest, TrustState]:
    """Verify the statement `raw` for the bastion `gate` at `now` (POSIX seconds); of one that goes on, `begins` is false.

    Gives the statement, the request that is watched, and the trust. Raises as `verify_grant` does.
    """
    # (1)
    envelope, said = watch.parse(raw)
    if said.gate != str(gate) or said.lab != gate.lab:
        raise Refused("gate-other", f"the watch is for `{said.gate}`, this is `{gate}`")
    # (2)
    trust, _ = require_fresh(view, now=now, break_glass=False)
    if begins and not -trust.limits.clock_skew_max_s <= now - said.signed_at <= SIGNED_WITHIN_S:
        raise Refused(
            "watch-old",
            f"the watch was signed at {said.signed_at}, it is {now}: expected {SIGNED_WITHIN_S} s ago at most",
            hint="keyturn grant watch signs another; if it does not help, compare the clocks",
        )
    # (3)
    asked = view.known.requests.get(said.request)
    if asked is None or asked.raw is None:
        raise Unavailable("request-unread", f"`req-{said.request[:32]}` is over, unknown, or cannot be read")
    made = statement.parse(dsse.parse_own(asked.raw).payload, AccessRequest, ACCESS_REQUEST).predicate
    bastion, watcher = bastion_of(made), None if made.session is None else made.session.watcher
    if bastion is None or bastion.gate != str(gate) or watcher is None:
        raise Refused("watch-none", f"`req-{said.request[:32]}` asks for no watcher at this bastion")
    # (4)
    held = require_countable_key(trust, said.member, said.key)
    view.known.require_unsuspended(said.member, said.key, now=now, what="watcher")
    verify_approval(envelope, held, trust)
    # (5)
    if not persons.countable(trust.roster, {said.member}, made.requester, made.beneficiary):
        raise Refused("watcher-concerned", f"`{said.member}` asks or comes in himself: somebody else watches")
    # (6)
    kind, _, name = watcher.partition(":")
    if said.member not in (trust.roster.members_of(name) if kind == "group" else {name}):
        raise Refused("watcher-other", f"the request wants {kind} `{name}` to watch, and `{said.member}` is not")
    return said, made, trust
