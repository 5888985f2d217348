"""The log's publisher: a thread that has every new entry cosigned at once, and keeps an idle log's cosignatures fresh.

After a change of witnesses or of the log's key it goes on asking the earlier witnesses, and signing with the earlier keys, for
`HANDOVER_S`: so long may a gate that followed the old definition take to follow the new one.

Before anything else it asks the witnesses whether this log is behind them; until they answered, a published log takes no
appends. It asks them again when the log says `log-unconfirmed`: its database may be an older one. What goes wrong is said once
on standard error, with its code, and tried again.

So is a defect (`internal-error`, after its traceback), rather than ending the process: readers and verifiers still need what is
published, records that come in stay durable, and gates close by themselves once the cosignatures are too old for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from keyturn.adapters import process_log
from keyturn.app.log.publish_checkpoint import confirm_with_witnesses, publish_checkpoint
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Conflict, KeyturnError, Refused, defect
from keyturn.ports import Clock, LogKeeper, Witnesses
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.roster import Log, TrustState

__all__ = ["HANDOVER_S", "Publisher"]

HANDOVER_S = 7 * 86_400
"""How long earlier definitions are collected for, counted from when this process first saw them replaced."""
EARLIER_MAX = 8
"""Definitions that are collected for at once, the newest ones."""

_RETRY_S = 0.5
_IDLE_S = 1.0


class Publisher:
    """Publishes until `stop`. `wake` after an append.

    `trust`, `earlier` (definitions that targets replaced, oldest first) and `keys` (the log's, new and old) are called each
    time, since witnesses and keys may change.
    """

    def __init__(
        self,
        keeper: LogKeeper,
        *,
        keys: Callable[[], Sequence[SoftwareKey]],
        trust: Callable[[], TrustState],
        earlier: Callable[[], Sequence[Log]],
        witnesses: Callable[[Sequence[Log]], Witnesses],
        clock: Clock,
        freshen_s: int,
    ) -> None:
        self._keeper = keeper
        self._keys = keys
        self._trust = trust
        self._earlier = earlier
        self._until: dict[Log, int] = {}
        self._witnesses = witnesses
        self._clock = clock
        self._freshen_s = freshen_s
        self._wake = threading.Event()
        self._stopping = False
        self._confirmed = False
        self._published = (-1, 0)
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="log-publish", daemon=True)

    @property
    def published(self) -> tuple[int, int]:
        """Size and time (POSIX seconds) of what this process published last; -1 and 0 before."""
        return self._published

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
                self._say(self._publish(), "handover-incomplete")
                wait_s = _IDLE_S
            except Conflict:  # another process of this log was first: what it published is looked at next
                wait_s = self._failed()
            except (KeyturnError, OSError) as err:
                if isinstance(err, KeyturnError) and err.code == "log-unconfirmed":
                    self._confirmed = False  # what keeps the log was started again or put back
                self._say(str(err), "publishing-failed", err=err if isinstance(err, KeyturnError) else None)
                wait_s = self._failed()
            except Exception as err:  # noqa: BLE001  # this thread's last border: nobody would miss it while the service answers
                said = defect(err)
                self._say(str(said), "defect", err=said, trace=True)
                wait_s = self._failed()
            self._wake.wait(wait_s)

    def _failed(self) -> float:
        self._wake.clear()
        return _RETRY_S

    def _publish(self) -> str:
        """Publish when there is something to; gives what the operator should know of it."""
        now = self._clock.now()
        size, at = self._published
        frontier = self._keeper.settle()
        if self._confirmed and frontier.size == size and 0 <= now - at < self._freshen_s:
            return self._said
        if frontier.size == 0:
            return ""
        trust, replaced = self._trust(), self._earlier()
        if not self._confirmed:
            everybody = self._witnesses((*replaced, trust.log))
            confirm_with_witnesses(self._keeper, log=trust.log, witnesses=everybody, earlier=replaced)
            self._confirmed = True
        earlier = self._handed_over(trust.log, replaced, now)
        witnessed = publish_checkpoint(
            self._keeper,
            keys=self._keys(),
            log=trust.log,
            earlier=earlier,
            witnesses=self._witnesses((*earlier, trust.log)),
            now=now,
            skew_s=trust.limits.clock_skew_max_s,
        )
        if witnessed is None:
            return ""
        self._published = (witnessed.checkpoint.size, now)
        return _left_behind(witnessed, earlier)

    def _handed_over(self, log: Log, replaced: Sequence[Log], now: int) -> tuple[Log, ...]:
        """The definitions that a gate may still be moving from to `log`."""
        self._until.pop(log, None)
        for old in replaced:
            self._until.setdefault(old, now + HANDOVER_S)
        return tuple(old for old in replaced if now < self._until[old])[-EARLIER_MAX:]

    def _say(self, text: str, event: str, *, err: KeyturnError | None = None, trace: bool = False) -> None:
        """Say `text`, once for as long as it stays the same."""
        if text and text != self._said:
            process_log.say("warning", event, "" if err is not None else text, err=err, trace=trace)
        self._said = text


def _left_behind(witnessed: WitnessedCheckpoint, earlier: Sequence[Log]) -> str:
    """Say which earlier definitions the checkpoint does not satisfy: gates that follow from there stay closed until it does."""
    missing = []
    for log in earlier:
        try:
            verify_checkpoint(witnessed.note, log, now=None, skew_s=0)
        except Refused as err:
            names = ", ".join(witness.name for witness in log.witnesses)
            missing.append(f"from the witnesses {names} and log key {log.key.keyid[:16]}: {err.message}")
    if not missing:
        return ""
    return f"published, and gates that still move away cannot follow: {'; '.join(missing)} [handover-incomplete]"
