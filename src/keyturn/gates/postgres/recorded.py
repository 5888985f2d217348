"""What is written down of one opening of a postgres gate (`gates.recorder`), before anybody learns it."""

from __future__ import annotations

from keyturn.errors import KeyturnError
from keyturn.formats.access import AccessRequest
from keyturn.formats.decision import TEXT_MAX
from keyturn.formats.uri import Uri
from keyturn.gates.recorder import Recorder
from keyturn.gates.session_grants import Standing
from keyturn.ports import Clock, Decisions

__all__ = ["RecordedOpenings"]


class RecordedOpenings:
    """The decisions of one postgres gate. Not safe to call from two threads at once."""

    def __init__(self, decisions: Decisions, *, gate: Uri, database: Uri, clock: Clock) -> None:
        self._recorder = Recorder(decisions, gate=gate, clock=clock)
        self._database = str(database)

    def granted(self, found: Standing) -> None:
        """Keep that `found` opened, or raise `Unavailable`: then it does not."""
        made = found.made
        asked = made if isinstance(made, AccessRequest) else None
        about = {
            "request": found.digest,
            "requester": "" if asked is None else asked.requester,
            "beneficiary": made.beneficiary,
            "action": made.action,
            "resource": made.resource[:TEXT_MAX],
            "permit": "" if asked is None else asked.permit,
        }
        self._recorder.granted(about, approvals=found.approvals, approvers=found.approvers)

    def refused(self, err: KeyturnError) -> None:
        """Keep that a key was refused, if it can be and they are not too many."""
        self._recorder.refused(err, lambda: {"resource": self._database})
