"""Follow the log as one gate that does not reach it: by answers that somebody carries, each to a question of the gate's own.

A question has a check-in with a fresh nonce. It is made when the gate starts, and anew when an answer was read; it is in this
process's memory, and what lies in the file is a copy. So a gate that starts again, or from an old copy of its disk, believes
nothing until a new question of its own was answered; an answer to an earlier one opens nothing, however fresh it is.

Between answers the gate goes on with what it believed last, for as long as that is fresh: `grants.freshness` says how long.
This is NOT the decision, as `app.gates.follow_as_gate` is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from keyturn.app.gates.clock_runs import ClockRuns
from keyturn.app.gates.follow_as_gate import Stricter, require_strict
from keyturn.app.log.follow_log import follow_log
from keyturn.app.records.sign_record import about, signed
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import carried, dsse, leaf, records
from keyturn.formats.access import GateCheckin
from keyturn.formats.carried import Question
from keyturn.formats.uri import Uri
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Entropy, LogReader, Running
from keyturn.trust.history import TrustHistory

__all__ = ["CarriedToGate", "FollowedCarried"]


class CarriedToGate(LogReader, Protocol):
    """The log as far as it was carried, and where the question lies."""

    def look(self) -> None:
        """Take up what was brought since the last look."""

    def ask(self, question: bytes) -> None:
        """Lay `question` where whoever carries it finds it; the same again is done."""


class FollowedCarried:
    """The gate's view of what was carried to it. Safe for threads; a refresh that fails changes nothing."""

    def __init__(
        self,
        history: TrustHistory,
        *,
        gate: Uri,
        key: SoftwareKey,
        stricter: Stricter,
        observes: bool = False,
        log: CarriedToGate,
        outbox: Callable[[], Iterable[bytes]],
        clock: Clock,
        entropy: Entropy,
        running: Running,
    ) -> None:
        self._gate = gate
        self._key = key
        self._stricter = stricter
        self._observes = observes
        self._log = log
        self._outbox = outbox
        self._clock = clock
        self._entropy = entropy
        self._time = ClockRuns(clock, running)
        self._lock = threading.Lock()
        self._view = GateView.start(history, gate=gate, nonce_record=None)
        self._believed: GateView | None = None
        self._checkin: bytes | None = None

    @property
    def seen(self) -> GateView:
        """The view as it is, however old: for what only takes away."""
        return self._view

    @property
    def believed(self) -> GateView:
        """The view that an answer to the gate's own question made last, however old."""
        believed = self._believed
        if believed is None:
            raise Unavailable(
                "view-empty", "no answer to a question of this gate was brought since it started", hint=_CARRY
            )
        self._time.require(believed)
        return believed

    def refresh(self) -> GateView:
        """The view after all that was brought; raises as long as nothing was since the gate started, or it is not believed."""
        with self._lock:
            if self._checkin is None:
                self._new_question()
            try:
                self._log.look()
                self._view = follow_log(self._view, self._log, now=self._clock.now())
                self._time.saw(self._view)
                if self._view.nonce_seen:
                    answered = self._view
                    self._new_question()
                    self.require_strict(answered)
                    self._time.require(answered)
                    self._believed = answered
            finally:
                self._ask()
            return self.believed

    def require_strict(self, view: GateView) -> None:
        """Refuse `view` when gate.toml asks for more than it has."""
        require_strict(view, self._stricter, now=self._clock.now())

    def await_witnessed(self, index: int, raw: bytes) -> None:
        """Return when `raw` is at `index` of what was brought and verified; else it is not known yet."""
        with self._lock:
            if self._view.frontier.size <= index:
                raise Unavailable("not-in-force", "NOT IN FORCE: no answer has the record yet", hint=_CARRY)
            if list(self._log.leaves(index, index + 1)) != [leaf.render(records.leaf_of(raw))]:
                raise Refused("use-not-logged", f"the log holds another record at entry {index}")

    def _new_question(self) -> None:
        made = GateCheckin(
            lab=self._gate.lab,
            nonce=self._entropy.nonce(),
            gate=str(self._gate),
            key=self._key.public.keyid,
            signed_at=self._clock.now(),
            observes=self._observes,
        )
        envelope = signed(made, about(self._gate.digest, name=self._gate.name), key=self._key)
        self._checkin = dsse.render(envelope)
        self._view = self._view.expecting(envelope.record_digest)

    def _ask(self) -> None:
        assert self._checkin is not None
        hidden = self._view.known.hidden.values()
        missing = [one.envelope for one in hidden if one.envelope is not None and not one.erased]
        question = Question(
            version=1,
            gate=str(self._gate),
            size=self._view.frontier.size,
            checkin=self._checkin,
            records=tuple(self._waiting()),
            missing=tuple(missing[-carried.MISSING_MAX :]),
        )
        self._log.ask(carried.render_question(question))

    def _waiting(self) -> Iterable[bytes]:
        try:
            return tuple(self._outbox())
        except KeyturnError:
            return ()  # a journal that cannot be read opens nothing, and is said where it is needed


_CARRY = "keyturn gate host ask"
