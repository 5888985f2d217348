"""Let an act that cannot be taken back (release, export) happen once: ordered by the log, by nobody's counter.

1. the gate verifies the grant and gets a `ReadyToUse` (`verify_grant.ready_to_use`); it has acted on nothing;
2. it logs its `access-use`, naming the request and exactly the approvals;
3. it refreshes its view, and `verify_grant` then demands that this use is in it, witnessed, and the first: two gates, or
   one gate twice, cannot both be first.

Whoever acts keeps the use's digest in its journal, so that it does not act twice for one use.
"""

from __future__ import annotations

from keyturn.errors import Refused
from keyturn.formats.digest import Sha256
from keyturn.formats.uri import Uri
from keyturn.grants.known import Known, Use

__all__ = ["require_first_use", "require_unused"]


def require_unused(known: Known, request: Sha256) -> None:
    """Refuse when the log has any use of `request`; `Unavailable` when it has one that could not be read."""
    known.require_read(f"use:{request}", what="one-shot")
    used = known.uses.get(request)
    if used is not None:
        raise Refused("one-shot-used", f"the request was used at log entry {used.index}, by `{used.gate}`")


def require_first_use(known: Known, request: Sha256, *, gate: Uri, approvals: frozenset[str]) -> Use:
    """The gate's own use of `request`, which must be the log's first, and of approvals that are all in the bundle."""
    known.require_read(f"use:{request}", what="one-shot")
    used = known.uses.get(request)
    if used is None:
        raise Refused(
            "one-shot-not-logged",
            "a one-shot acts only after the gate's own use of it is witnessed in the log",
            hint="log the access-use, refresh, and verify again",
        )
    if used.gate != str(gate):
        raise Refused("one-shot-used", f"the request was used at log entry {used.index}, by `{used.gate}`")
    if not used.approvals or not used.approvals <= approvals:
        raise Refused("one-shot-approvals", "the gate's use names approvals that the bundle does not hold")
    return used
