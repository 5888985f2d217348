"""Write down what a gate decided, before anybody learns it: every grant, and refusals as far as nobody floods it.

A grant that cannot be written down is not given. Of refusals `REFUSALS_PER_MINUTE` are written down; the rest are counted in the
next line, so that whoever can reach the gate fills no disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import decision
from keyturn.formats.decision import NAMES_MAX, REASONS_MAX, TEXT_MAX, Outcome, Why
from keyturn.formats.uri import Uri
from keyturn.grants.verify_grant import Granted
from keyturn.ports import Clock, Decisions

__all__ = ["REFUSALS_PER_MINUTE", "Recorder", "what_is_said_of"]

REFUSALS_PER_MINUTE = 60


def what_is_said_of(granted: Granted) -> dict[str, str]:
    """The fields of a `Decision` that say who was granted what."""
    made = granted.request
    return {
        "request": granted.digest,
        "requester": made.requester,
        "beneficiary": made.beneficiary,
        "action": made.action,
        "resource": made.resource[:TEXT_MAX],
        "permit": made.permit,
    }


class Recorder:
    """The decisions of one gate. Not safe to call from two threads at once."""

    def __init__(self, decisions: Decisions, *, gate: Uri, clock: Clock, observes: bool = False) -> None:
        self._decisions = decisions
        self._gate = gate
        self._clock = clock
        self._observes = observes
        self._minute, self._refusals, self._unsaid = 0, 0, 0

    def granted(self, about: Mapping[str, Any], *, approvals: Iterable[str], approvers: Iterable[str]) -> None:
        """Keep a grant, `about` being fields of a `Decision`; or raise `Unavailable`: then it is not given."""
        self._keep(
            "granted",
            about,
            approvals=tuple(approvals)[:NAMES_MAX],
            approvers=tuple(sorted(approvers))[:NAMES_MAX],
        )

    def refused(self, err: KeyturnError, about: Callable[[], Mapping[str, Any]]) -> None:
        """Keep a refusal, if it can be and they are not too many: `about` is asked only then. It is refused either way."""
        minute = self._clock.now() // 60
        if minute != self._minute:
            self._minute, self._refusals = minute, 0
        self._refusals += 1
        if self._refusals > REFUSALS_PER_MINUTE:
            self._unsaid += 1
            return
        reasons = err.reasons if isinstance(err, Refused) else ((err.code, err.message),)
        try:
            self._keep(
                "failed" if err.kind in ("unavailable", "conflict") else "refused",
                about(),
                kind=err.kind,
                code=err.code,
                reasons=tuple(Why(code=code[:TEXT_MAX], text=text[:TEXT_MAX]) for code, text in reasons[:REASONS_MAX]),
            )
        except Unavailable:
            self._unsaid += 1

    def _keep(self, outcome: Outcome, about: Mapping[str, Any], **more: Any) -> None:
        self._decisions.keep(
            decision.Decision(
                version=1,
                sequence=0,
                at=self._clock.now(),
                gate=str(self._gate),
                outcome=outcome,
                unsaid=self._unsaid,
                observed=self._observes,
                **about,
                **more,
            )
        )
        self._unsaid = 0
