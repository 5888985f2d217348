"""Ask and approve by break-glass without the log: the request and its approvals lie in one file, which a gate takes.

Whoever cannot reach the log hands the file on by whatever way is left. Nobody believes it: gates verify every signature in
it, and log it later. Nothing but break-glass opens without the log, so nothing else is signed here.
"""

from __future__ import annotations

from keyturn.app.access.authorize import Pending, authorization
from keyturn.app.access.request_access import require_own_key
from keyturn.app.records.sign_record import about, signed
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Refused
from keyturn.formats import access, statement
from keyturn.formats.access import AccessRequest
from keyturn.formats.statement import Subject
from keyturn.grants import bundle as bundles
from keyturn.grants import checks
from keyturn.grants.bundle import Bundle
from keyturn.ports import Clock, Entropy

__all__ = ["add_approval", "pending_in", "start_bundle"]


def start_bundle(made: AccessRequest, *, subjects: tuple[Subject, ...], key: RecordSigner) -> Bundle:
    """Sign `made`, which was shown with these `subjects`, as a bundle without any approval."""
    _require_break_glass(made)
    require_own_key(made, key)
    return bundles.make(signed(made, subjects, key=key), ())


def pending_in(bundle: Bundle) -> Pending:
    """The break-glass request in `bundle`, to be shown whole; `Refused` when it is no such request."""
    asked = checks.parse_bundle(bundle)
    _require_break_glass(asked.made)
    parsed = statement.parse(bundle.request.payload, AccessRequest, access.ACCESS_REQUEST)
    return Pending(asked.digest, asked.made, parsed.subject)


def add_approval(
    bundle: Bundle,
    pending: Pending,
    *,
    member: str,
    reason: str,
    key: RecordSigner,
    clock: Clock,
    entropy: Entropy,
) -> Bundle:
    """`bundle` with the approval of `pending`, which was shown, by `member`; once each."""
    if any(one.made.approver == member for one in checks.parse_bundle(bundle).approving):
        raise Refused(
            "request-approved-already",
            f"`{member}` has approved {pending.id} already, and counts once",
            hint="hand the file on: to the next who approves, or to the gate",
        )
    made = authorization(
        pending, "approve", member=member, keyid=key.public.keyid, reason=reason, clock=clock, entropy=entropy
    )
    return bundles.make(
        bundle.request, (*bundle.authorizations, signed(made, about(pending.digest, name=pending.id), key=key))
    )


def _require_break_glass(made: AccessRequest) -> None:
    if made.break_glass_at is None:
        raise Refused("break-glass-none", "only break-glass opens without the log", hint="keyturn approve REQUEST")
