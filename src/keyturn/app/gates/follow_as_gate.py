"""Follow the log as one gate: with its own fresh nonce in it, and only ever stricter than targets.

At start, and every hour, the gate logs a nonce of its own, and believes no view that lacks it: an old snapshot of the gate,
with its clock and its log, opens nothing. What its operator asks for in gate.toml can close it, and never opens it.

This is NOT the decision: `grants.verify_grant` judges the view, its age and its nonce again, by the limits of targets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from keyturn.app.gates.clock_runs import ClockRuns
from keyturn.app.log.follow_log import follow_log
from keyturn.app.records.sign_record import sign_and_log
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused, Unavailable
from keyturn.formats import leaf, records
from keyturn.formats.access import GateCheckin
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Entropy, LogReader, LogWriter, Pause, Running
from keyturn.trust.history import TrustHistory

__all__ = ["CHECKIN_EVERY_S", "FollowedLog", "LogAtHand", "Stricter", "require_strict"]

CHECKIN_EVERY_S = 3600
_WAIT_S = 30.0
_POLL_S = 0.05


class LogAtHand(LogReader, LogWriter, Protocol):
    """A log to read and to append to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stricter:
    """What the gate's operator asks for beyond targets; `None` where targets are enough."""

    witnesses_min: int | None
    log_age_max_s: int | None


class FollowedLog:
    """The gate's view of the log. Safe for threads; a refresh that fails changes nothing."""

    def __init__(
        self,
        history: TrustHistory,
        *,
        gate: Uri,
        key: SoftwareKey,
        stricter: Stricter,
        observes: bool = False,
        log: LogAtHand,
        clock: Clock,
        entropy: Entropy,
        pause: Pause,
        running: Running,
    ) -> None:
        self._gate = gate
        self._key = key
        self._stricter = stricter
        self._observes = observes
        self._log = log
        self._clock = clock
        self._entropy = entropy
        self._pause = pause
        self._time = ClockRuns(clock, running)
        self._lock = threading.Lock()
        self._view = GateView.start(history, gate=gate, nonce_record=None)
        self._believed: GateView | None = None
        self._checked_in_at: int | None = None

    @property
    def seen(self) -> GateView:
        """The view as it is, however old: for what only takes away."""
        return self._view

    @property
    def believed(self) -> GateView:
        """The view that `refresh` gave last, however old: for break-glass, which may be older than anything else. `Refused` when
        this machine's clock was set back since.
        """
        believed = self._believed  # without the lock, which whoever refreshes holds while witnesses are slow
        if believed is None:
            raise Unavailable("view-empty", "the gate has not believed any view since it started", hint="keyturn up")
        self._time.require(believed)
        return believed

    def refresh(self) -> GateView:
        """The newest view, with the gate's own nonce in it; raises when the log cannot be had or is not believed."""
        with self._lock:
            self._follow()
            now = self._clock.now()
            if self._checked_in_at is None or now - self._checked_in_at >= CHECKIN_EVERY_S:
                self._check_in(now)
            self.require_strict(self._view)
            self._time.require(self._view)
            self._believed = self._view
            return self._view

    def follow(self) -> None:
        """Read on, without waiting for witnesses of anything: for what takes access away, which needs no nonce of the gate's.

        Raises when the log cannot be had or is not believed; what is known already stays.
        """
        with self._lock:
            self._follow()

    def require_strict(self, view: GateView) -> None:
        """Refuse `view` when gate.toml asks for more than it has: more witnesses, or a younger checkpoint."""
        require_strict(view, self._stricter, now=self._clock.now())

    def await_witnessed(self, index: int, raw: bytes) -> None:
        """Return when the view has `raw` at `index`, under the quorum's checkpoint; `Unavailable` after a while."""
        expected = leaf.render(records.leaf_of(raw))
        with self._lock:
            self._until(lambda: self._view.frontier.size > index)
            if list(self._log.leaves(index, index + 1)) != [expected]:
                raise Refused("use-not-logged", f"the log holds another record at entry {index}")

    def _check_in(self, now: int) -> None:
        made = GateCheckin(
            lab=self._gate.lab,
            nonce=self._entropy.nonce(),
            gate=str(self._gate),
            key=self._key.public.keyid,
            signed_at=now,
            observes=self._observes,
        )
        subject = (Subject(digest=DigestSet(sha256=self._gate.digest), name=self._gate.name),)
        logged = sign_and_log(made, subject, key=self._key, log=self._log)
        self._view = self._view.expecting(logged.digest)
        self._until(lambda: self._view.nonce_seen)
        self._checked_in_at = now

    def _until(self, holds: Callable[[], bool]) -> None:
        late: Unavailable | Refused = Unavailable(
            "not-in-force", "NOT IN FORCE: no quorum of witnesses cosigned what the gate logged", hint="keyturn up"
        )
        for attempt in range(int(_WAIT_S / _POLL_S)):
            if attempt:
                self._pause(_POLL_S)
            try:
                self._follow(ask_again=False)
                if holds():
                    return
            except (Unavailable, Refused) as err:  # witnesses may be slow, or the log restarting
                late = err
        raise late

    def _follow(self, *, ask_again: bool = True) -> None:
        self._view = follow_log(self._view, self._log, now=self._clock.now(), ask_again=ask_again)
        self._time.saw(self._view)


def require_strict(view: GateView, stricter: Stricter, *, now: int) -> None:
    """Refuse `view` when gate.toml asks for more than it has: more witnesses, or a younger checkpoint."""
    seen, trust = view.checkpoint, view.known.newest
    if seen is None or trust is None:
        return  # `verify_grant` says so by name
    needed = max(trust.log.quorum, stricter.witnesses_min or 0)
    if len(seen.cosigners) < needed:
        raise Refused(
            "gate-witnesses", f"gate.toml asks for {needed} witnesses, the checkpoint has {len(seen.cosigners)}"
        )
    age_s, targets_s = now - seen.cosigned_at, trust.limits.log_age_max_s
    if age_s > min(targets_s, stricter.log_age_max_s or targets_s):
        raise Refused("view-stale", f"the newest witnessed checkpoint is {age_s} s old", hint="keyturn log verify")
