"""The log's publisher: a thread that has every new entry cosigned at once, and keeps an idle log's cosignatures fresh.

Before anything else it asks the witnesses whether this log is behind them; until they answered, a published log takes no
appends. What goes wrong is said once on standard error, and tried again.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping

from keyturn.app.publish_checkpoint import confirm_standing, publish_checkpoint
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.ports import Clock, Cosigner, LogKeeper
from keyturn.trust.roster import Log, TrustState

__all__ = ["Publisher"]

_RETRY_S = 0.5
_IDLE_S = 1.0


class Publisher:
    """Publishes until `stop`. `wake` after an append; `trust` is called each time, since witnesses may change."""

    def __init__(
        self,
        keeper: LogKeeper,
        *,
        key: SoftwareKey,
        trust: Callable[[], TrustState],
        cosigners: Callable[[Log], Mapping[str, Cosigner]],
        clock: Clock,
        freshen_s: int,
    ) -> None:
        self._keeper = keeper
        self._key = key
        self._trust = trust
        self._cosigners = cosigners
        self._clock = clock
        self._freshen_s = freshen_s
        self._wake = threading.Event()
        self._stopping = False
        self._confirmed = False
        self._published = (-1, 0)
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="log-publish", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Publish soon: something was appended."""
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._publish()
                self._say("")
                wait_s = _IDLE_S
            except (KeyturnError, OSError) as err:
                self._say(str(err))
                wait_s = _RETRY_S
                self._wake.clear()
            self._wake.wait(wait_s)

    def _publish(self) -> None:
        now = self._clock.now()
        size, at = self._published
        frontier = self._keeper.settle()
        if frontier.size == size and 0 <= now - at < self._freshen_s:
            return
        if frontier.size == 0:
            return
        trust = self._trust()
        cosigners = self._cosigners(trust.log)
        if not self._confirmed:
            confirm_standing(self._keeper, log=trust.log, cosigners=cosigners)
            self._confirmed = True
        witnessed = publish_checkpoint(
            self._keeper,
            key=self._key,
            log=trust.log,
            cosigners=cosigners,
            now=now,
            skew_s=trust.limits.clock_skew_max_s,
        )
        if witnessed is not None:
            self._published = (witnessed.checkpoint.size, now)

    def _say(self, text: str) -> None:
        if text and text != self._said:
            sys.stderr.write(f"log: {text}\n")
            sys.stderr.flush()
        self._said = text
