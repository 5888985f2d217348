"""What a builder knows of its lab: its own pinned root, and the log followed leaf by leaf up to a witnessed checkpoint.

Asked before each order. A log that cannot be reached, that its witnesses do not cosign, or that is older than the lab's
limits admits nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keyturn.errors import Refused
from keyturn.formats import checkpoint, note
from keyturn.formats.digest import Sha256
from keyturn.grants.freshness import require_trust
from keyturn.grants.view import GateView
from keyturn.ports import Clock, LogReader
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState

__all__ = ["BuilderView", "Standing"]

_LEAVES = 4096


@dataclass(frozen=True, slots=True)
class Standing:
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

    def standing(self) -> Standing:
        """Follow the log to its newest witnessed checkpoint, and say what stands there; raises when it is too old."""
        with self._lock:
            now = self._clock.now()
            self._refresh(now)
            view = self._view
        trust = require_trust(view, now=now)
        assert view.checkpoint is not None  # a refresh that did not raise has one
        age_s = now - view.checkpoint.cosigned_at
        if age_s > trust.limits.log_age_max_s:
            raise Refused("view-stale", f"the newest witnessed checkpoint is {age_s} s old", hint="keyturn log verify")

        def require_unsuspended(member: str, keyid: str) -> None:
            view.known.require_unsuspended(member, keyid, now=now, what="member")

        return Standing(trust, require_unsuspended)

    def _refresh(self, now: int) -> None:
        raw = self._log.checkpoint()
        size = checkpoint.parse_body(note.parse(raw).text).size
        read = self._view.following(now=now)
        start = self._view.frontier.size
        while start < size:
            leaves = self._log.leaves(start, min(start + _LEAVES, size))
            read.take(leaves, self._envelopes(leaves, now))
            start += len(leaves)
        self._view = self._view.finish(read, raw, now=now)

    def _envelopes(self, leaves: Sequence[bytes], now: int) -> dict[Sha256, bytes]:
        wanted: tuple[Sha256, ...] = self._view.needed(leaves, now=now)
        return {digest: self._log.envelope(digest) for digest in wanted}
