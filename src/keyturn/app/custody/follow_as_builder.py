"""Follow the log as a builder: its own pinned root, and the log leaf by leaf up to a witnessed checkpoint.

Asked before each order. A log that cannot be reached, that its witnesses do not cosign, or that is older than the lab's
limits admits nothing. A builder opens no door, and so needs no nonce in the log: what it signs, verifiers judge by its place
there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from keyturn.app.log.follow_log import follow_log
from keyturn.grants.freshness import require_recent
from keyturn.grants.view import GateView
from keyturn.ports import Clock, LogReader
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState

__all__ = ["BuilderView", "TrustNow"]


@dataclass(frozen=True, slots=True)
class TrustNow:
    """What the view says now: the newest trust, and who is suspended (`require_unsuspended` raises)."""

    trust: TrustState
    require_unsuspended: Callable[[str, str], None]


class BuilderView:
    """Follows one log. Safe for threads; nothing is kept from a refresh that fails."""

    def __init__(self, root_json: bytes, *, pinned_sha256: str, log: LogReader, clock: Clock) -> None:
        history: TrustHistory = TrustHistory.start(root_json, pinned_sha256=pinned_sha256)
        self._view = GateView.start(history, gate=None, nonce_record=None)
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()

    def trust_now(self) -> TrustNow:
        """Follow the log to its newest witnessed checkpoint, and say what stands there; raises when it is too old."""
        with self._lock:
            now = self._clock.now()
            view = self._view = follow_log(self._view, self._log, now=now)
        trust = require_recent(view, now=now)

        def require_unsuspended(member: str, keyid: str) -> None:
            view.known.require_unsuspended(member, keyid, now=now, what="member")

        return TrustNow(trust, require_unsuspended)
