"""Write down what the postgres gate decided, before anybody learns it: every opening, and refusals as far as nobody floods it.

An opening that cannot be written down does not happen. Of refusals `REFUSALS_PER_MINUTE` are written down, and the rest counted
in the next line: whoever reaches the port can bring keys all day.
"""

from __future__ import annotations

from typing import Any

from keyturn.errors import KeyturnError, Malformed, Refused, Tampered, Unavailable
from keyturn.formats import decision
from keyturn.formats.decision import NAMES_MAX, REASONS_MAX, TEXT_MAX, Kind, Outcome, Why
from keyturn.formats.uri import Uri
from keyturn.grants.verify_grant import Granted
from keyturn.ports import Clock, Decisions

__all__ = ["REFUSALS_PER_MINUTE", "RecordedOpenings"]

REFUSALS_PER_MINUTE = 60


class RecordedOpenings:
    """The decisions of one postgres gate. Not safe to call from two threads at once."""

    def __init__(self, decisions: Decisions, *, gate: Uri, database: Uri, clock: Clock) -> None:
        self._decisions = decisions
        self._gate = gate
        self._database = database
        self._clock = clock
        self._minute, self._refusals, self._unsaid = 0, 0, 0

    def granted(self, granted: Granted) -> None:
        """Keep that `granted` opened, or raise `Unavailable`: then it does not."""
        made = granted.request
        self._keep(
            "granted",
            request=granted.digest,
            requester=made.requester,
            beneficiary=made.beneficiary,
            action=made.action,
            resource=made.resource[:TEXT_MAX],
            permit=made.permit,
            approvals=granted.approvals[:NAMES_MAX],
            approvers=tuple(sorted(granted.approvers))[:NAMES_MAX],
        )

    def refused(self, err: KeyturnError) -> None:
        """Keep that a key was refused, if it can be and they are not too many."""
        minute = self._clock.now() // 60
        if minute != self._minute:
            self._minute, self._refusals = minute, 0
        self._refusals += 1
        if self._refusals > REFUSALS_PER_MINUTE:
            self._unsaid += 1
            return
        kind: Kind = "unavailable"
        if isinstance(err, Refused | Malformed | Tampered):
            kind = "refused" if isinstance(err, Refused) else "malformed" if isinstance(err, Malformed) else "tampered"
        reasons = err.reasons if isinstance(err, Refused) else ((err.code, err.message),)
        try:
            self._keep(
                "failed" if kind == "unavailable" else "refused",
                resource=str(self._database),
                kind=kind,
                code=err.code,
                reasons=tuple(Why(code=code[:TEXT_MAX], text=text[:TEXT_MAX]) for code, text in reasons[:REASONS_MAX]),
            )
        except Unavailable:
            self._unsaid += 1  # it is refused all the same

    def _keep(self, outcome: Outcome, **more: Any) -> None:
        made = decision.Decision(
            version=1,
            sequence=0,
            at=self._clock.now(),
            gate=str(self._gate),
            outcome=outcome,
            unsaid=self._unsaid,
            **more,
        )
        self._decisions.keep(made)
        self._unsaid = 0
