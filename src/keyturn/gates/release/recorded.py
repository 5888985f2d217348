"""Write down what the release gate decided, before anybody learns it: every grant, and refusals as far as nobody floods it.

A grant that cannot be written down is not given: the pack is kept, and the same order gives it once the journal can be written.
A refusal stands either way. Of refusals `REFUSALS_PER_MINUTE` are written down; the rest are counted in the next line, so that
whoever can reach the port fills no disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Tampered, Unavailable, Usage
from keyturn.formats import access, decision, dsse, release_order, statement
from keyturn.formats.access import AccessRequest, AccessUse, HumanAuthorization
from keyturn.formats.decision import NAMES_MAX, REASONS_MAX, TEXT_MAX, Kind, Outcome, Why
from keyturn.formats.digest import Sha256
from keyturn.formats.uri import Uri
from keyturn.grants import bundle as bundles
from keyturn.ports import Clock, Decisions, ReleaseJournal

__all__ = ["REFUSALS_PER_MINUTE", "Recorded"]

REFUSALS_PER_MINUTE = 60

_KINDS: tuple[tuple[type[KeyturnError], Kind], ...] = (
    (Malformed, "malformed"),
    (Refused, "refused"),
    (Tampered, "tampered"),
    (Usage, "usage"),
    (Conflict, "conflict"),
    (Unavailable, "unavailable"),
)


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
        self._gate = gate
        self._journal = journal
        self._decisions = decisions
        self._clock = clock
        self._minute, self._refusals, self._unsaid = 0, 0, 0

    def release(self, order: bytes) -> bytes:
        """Carry out `order` as the gate does, and give or raise what it does, once that is written down."""
        try:
            pack = self._release(order)
        except KeyturnError as err:
            self._refused(order, err)
            raise
        claimed, approvers = _claims(order)
        digest = Sha256(claimed["request"])
        approvals = self._counted(digest)
        names = tuple(sorted(name for record, name in approvers if record in approvals))
        self._keep("granted", claimed, approvals=approvals[:NAMES_MAX], approvers=names[:NAMES_MAX])
        return pack

    def _refused(self, order: bytes, err: KeyturnError) -> None:
        minute = self._clock.now() // 60
        if minute != self._minute:
            self._minute, self._refusals = minute, 0
        self._refusals += 1
        if self._refusals > REFUSALS_PER_MINUTE:
            self._unsaid += 1
            return
        kind = next(name for known, name in _KINDS if isinstance(err, known))
        outcome: Outcome = "failed" if kind in ("unavailable", "conflict") else "refused"
        reasons = err.reasons if isinstance(err, Refused) else ((err.code, err.message),)
        try:
            claimed, _ = _claims(order)
        except KeyturnError:
            claimed = {}
        try:
            self._keep(
                outcome,
                claimed,
                kind=kind,
                code=err.code,
                reasons=tuple(Why(code=code[:TEXT_MAX], text=text[:TEXT_MAX]) for code, text in reasons[:REASONS_MAX]),
            )
        except Unavailable:
            self._unsaid += 1  # it is refused all the same

    def _keep(self, outcome: Outcome, claimed: dict[str, Any], **more: Any) -> None:
        self._decisions.keep(
            decision.Decision(
                version=1,
                sequence=0,
                at=self._clock.now(),
                gate=str(self._gate),
                outcome=outcome,
                unsaid=self._unsaid,
                **claimed,
                **more,
            )
        )
        self._unsaid = 0

    def _counted(self, request: Sha256) -> tuple[str, ...]:
        """The approvals that the gate verified when it first granted `request`; an order that asks again may carry others."""
        use = self._journal.use(request)
        if use is None:
            raise Tampered("journal-use-missing", "the gate's journal has a pack for this request, and no use of it")
        return statement.parse(dsse.parse_own(use).payload, AccessUse, access.ACCESS_USE).predicate.approvals


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
