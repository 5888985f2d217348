"""What is written down of one answer of a host gate (`gates.recorder`), before sshd learns it."""

from __future__ import annotations

from keyturn.errors import KeyturnError
from keyturn.formats.decision import TEXT_MAX
from keyturn.formats.uri import Uri
from keyturn.gates.host.door import Opened
from keyturn.gates.recorder import Recorder
from keyturn.ports import Clock, Decisions

__all__ = ["RecordedLogins"]


class RecordedLogins:
    """The decisions of one host gate. Not safe to call from two threads at once."""

    def __init__(self, decisions: Decisions, *, gate: Uri, host: Uri, clock: Clock, observes: bool) -> None:
        self._recorder = Recorder(decisions, gate=gate, clock=clock, observes=observes)
        self._host = str(host)

    def granted(self, opened: Opened) -> None:
        """Keep that `opened` let in, or raise `Unavailable`: then nobody is."""
        made = None if opened.granted is None else opened.granted.request
        about = {
            "request": opened.digest,
            "requester": "" if made is None else made.requester,
            "beneficiary": opened.beneficiary,
            "action": "" if made is None else made.action,
            "resource": self._host,
            "permit": "" if made is None else made.permit,
        }
        self._recorder.granted(about, approvals=opened.approvals, approvers=opened.approvers)

    def refused(self, account: str, err: KeyturnError) -> None:
        """Keep that a key was refused at `account`, if it can be and they are not too many."""
        self._recorder.refused(err, lambda: {"beneficiary": account[:TEXT_MAX], "resource": self._host})
