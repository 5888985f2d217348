"""What is written down of one answer of a bastion (`gates.recorder`), before anybody comes through."""

from __future__ import annotations

from keyturn.errors import KeyturnError
from keyturn.formats.decision import TEXT_MAX
from keyturn.formats.digest import sha256
from keyturn.formats.uri import Uri
from keyturn.gates.recorder import Recorder
from keyturn.grants.verify_grant import Granted
from keyturn.ports import Clock, Decisions, Hop, Watching

__all__ = ["RecordedHops"]


class RecordedHops:
    """The decisions of one bastion. Not safe to call from two threads at once."""

    def __init__(self, decisions: Decisions, *, gate: Uri, clock: Clock) -> None:
        self._recorder = Recorder(decisions, gate=gate, clock=clock)

    def granted(self, hop: Hop, granted: Granted) -> None:
        """Keep that `hop` was let through, or raise `Unavailable`: then it is not."""
        made = granted.request
        about = {
            "request": hop.request,
            "requester": made.requester,
            "beneficiary": made.beneficiary,
            "action": made.action,
            "resource": made.resource,
            "permit": made.permit,
        }
        self._recorder.granted(about, approvals=granted.approvals, approvers=granted.approvers)

    def watched(self, watching: Watching, why: KeyturnError | None) -> None:
        """Keep that somebody begins to watch, or raise `Unavailable`; or, with `why`, that he ended, if that can be kept."""
        about = {
            "request": watching.request,
            "requester": watching.member,
            "beneficiary": watching.beneficiary,
            "action": "bastion:watch",
            "resource": watching.resource,
        }
        if why is None:
            self._recorder.granted(about, approvals=(sha256(watching.signed),), approvers=(watching.member,))
        else:
            self._recorder.refused(why, lambda: about)

    def refused(self, account: str, err: KeyturnError) -> None:
        """Keep that a key was refused for `account`, if it can be and they are not too many."""
        self._recorder.refused(err, lambda: {"beneficiary": account[:TEXT_MAX]})
