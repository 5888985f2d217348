"""Write down what the release gate decided (`gates.recorder`), before anybody learns it.

A grant that cannot be written down is not given: the pack is kept, and the same order gives it once the journal can be written.
"""

from __future__ import annotations

from collections.abc import Callable

from keyturn.errors import KeyturnError, Tampered
from keyturn.formats import access, dsse, release_order, statement
from keyturn.formats.access import AccessRequest, AccessUse, HumanAuthorization
from keyturn.formats.decision import TEXT_MAX
from keyturn.formats.digest import Sha256
from keyturn.formats.uri import Uri
from keyturn.gates.recorder import Recorder
from keyturn.grants import bundle as bundles
from keyturn.ports import Clock, Decisions, ReleaseJournal

__all__ = ["Recorded"]


class Recorded:
    """`release` of a gate, with its decisions kept. Not safe to call from two threads at once, as that is not."""

    def __init__(
        self,
        release: Callable[[bytes], bytes],
        *,
        gate: Uri,
        journal: ReleaseJournal,
        decisions: Decisions,
        clock: Clock,
    ) -> None:
        self._release = release
        self._journal = journal
        self._recorder = Recorder(decisions, gate=gate, clock=clock)

    def release(self, order: bytes) -> bytes:
        """Carry out `order` as the gate does, and give or raise what it does, once that is written down."""
        try:
            pack = self._release(order)
        except KeyturnError as err:
            self._recorder.refused(err, lambda: _claimed_of(order))
            raise
        claimed, approvers = _claims(order)
        digest = Sha256(claimed["request"])
        approvals = self._counted(digest)
        names = [name for record, name in approvers if record in approvals]
        self._recorder.granted(claimed, approvals=approvals, approvers=names)
        return pack

    def _counted(self, request: Sha256) -> tuple[str, ...]:
        """The approvals that the gate verified when it first granted `request`; an order that asks again may carry others."""
        use = self._journal.use(request)
        if use is None:
            raise Tampered("journal-use-missing", "the gate's journal has a pack for this request, and no use of it")
        return statement.parse(dsse.parse_own(use).payload, AccessUse, access.ACCESS_USE).predicate.approvals


def _claimed_of(order: bytes) -> dict[str, str]:
    """What `order` says it is about; nothing, when it is no order."""
    try:
        return _claims(order)[0]
    except KeyturnError:
        return {}


def _claims(order: bytes) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """What `order` says it is about, and (digest, approver) of each approval in it. Nothing of it is verified here."""
    parsed = release_order.parse(order)
    bundle = bundles.parse(bytes(parsed.bundle))
    request = statement.parse(bundle.request.payload, AccessRequest, access.ACCESS_REQUEST).predicate
    approvers = []
    for one in bundle.authorizations:
        said = statement.parse(one.payload, HumanAuthorization, access.HUMAN_AUTHORIZATION).predicate
        if said.decision == "approve":
            approvers.append((str(one.record_digest), said.approver))
    return {
        "request": str(bundle.request.record_digest),
        "requester": request.requester,
        "beneficiary": request.beneficiary,
        "action": request.action,
        "resource": request.resource[:TEXT_MAX],
        "permit": request.permit,
        "model": parsed.model,
    }, approvers
