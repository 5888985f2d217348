"""The notifier: a thread that follows the log and fills the outbox, and a thread for each receiver that empties it.

A receiver that is slow or dead holds its own thread, and delays nobody else. What goes wrong is said once on standard error,
with its code, and tried again; so is a defect, after its traceback: a notifier that went silent is one that nobody would miss.

    GET /metrics     how many notices wait, how many receivers fail, when the log was last looked at
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from keyturn.adapters import process_log
from keyturn.app.notices.watch_lab import LabWatch
from keyturn.errors import KeyturnError, Unavailable, defect
from keyturn.ports import Clock, NoticeOutbox, NoticeReceiver
from keyturn.service import shell
from keyturn.service.metrics import Metrics

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["Notifier", "create_app"]

_LOOK_EVERY_S = 1.0
_GIVE_AGAIN_S = 1.0
_FORGET_EVERY_S = 3600


class Notifier:
    """Tells people until `stop`. `keep_s` is how long a receiver that takes nothing is tried."""

    def __init__(
        self,
        watch: LabWatch,
        outbox: NoticeOutbox,
        receivers: Mapping[str, NoticeReceiver],
        *,
        clock: Clock,
        keep_s: int,
    ) -> None:
        self._watch = watch
        self._outbox = outbox
        self._receivers = receivers
        self._clock = clock
        self._keep_s = keep_s
        self._stopping = threading.Event()
        self._wake = {name: threading.Event() for name in receivers}
        self._failing: set[str] = set()
        self._forgot_at = 0
        self._looked_at = 0
        self._unknown: tuple[str, ...] = ()
        steps: dict[str, Callable[[], float]] = {"watch": self._look}
        steps |= {f"to {name}": partial(self._empty, name) for name in receivers}
        self._threads = [
            threading.Thread(target=self._forever, args=(step,), name=f"notify-{name}", daemon=True)
            for name, step in steps.items()
        ]

    @property
    def looked_at(self) -> int:
        """When the log was last followed, POSIX seconds; 0 before."""
        return self._looked_at

    @property
    def unreviewed(self) -> int:
        """Uses by break-glass that await a review."""
        return self._watch.unreviewed

    @property
    def failing(self) -> int:
        """How many receivers took nothing the last time."""
        return len(self._failing)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every thread end by itself; one that waits for a receiver ends with the process."""
        self._stopping.set()
        for event in self._wake.values():
            event.set()
        self._threads[0].join()

    def _look(self) -> float:
        woken, unheard = self._watch.look()
        now = self._looked_at = self._clock.now()
        for name in woken & self._wake.keys():
            self._wake[name].set()
        if (found := self._watch.unknown) != self._unknown:
            self._unknown = found
            for said in found:
                process_log.say("warning", "receiver-unknown", f"{said}: nobody is told there")
        for event in unheard:
            process_log.say("warning", "nobody-to-tell", f"nobody whom it concerns has a receiver: {event}")
        if now >= self._forgot_at + _FORGET_EVERY_S:
            self._forgot_at = now
            if lost := self._outbox.forget(before=now - self._keep_s):
                process_log.say(
                    "warning", "notices-given-up", f"no receiver took {lost} notices within {self._keep_s} s"
                )
        return _LOOK_EVERY_S

    def _empty(self, name: str) -> float:
        self._wake[name].clear()
        while not self._stopping.is_set():
            notice = self._outbox.next_for(name, now=self._clock.now())
            if notice is None:
                break
            try:
                self._receivers[name].give(notice.title, notice.body)
            except Unavailable:
                rest_s = self._outbox.failed(notice, now=self._clock.now())
                if name not in self._failing:
                    process_log.say(
                        "warning",
                        "receiver-failing",
                        f"receiver `{name}` took no notification; it is tried again in {rest_s} s, then less often",
                        about={"receiver": name},
                    )
                self._failing.add(name)
                break
            self._outbox.delivered(notice, now=self._clock.now())
            self._failing.discard(name)
        self._wake[name].wait(_GIVE_AGAIN_S)
        return 0.0

    def _forever(self, step: Callable[[], float]) -> None:
        said = ""
        while not self._stopping.is_set():
            try:
                wait_s, now_said = step(), ""
            except (KeyturnError, OSError) as err:
                wait_s, now_said = _LOOK_EVERY_S, str(err)
                if now_said != said:
                    known = err if isinstance(err, KeyturnError) else None
                    process_log.say("warning", "notifying-failed", "" if known else str(err), err=known)
            except Exception as err:  # noqa: BLE001  # a thread's last border: nobody would miss it while the others go on
                found = defect(err)
                wait_s, now_said = _LOOK_EVERY_S, str(found)
                if now_said != said:
                    process_log.say("error", "defect", err=found, trace=True)
            said = now_said
            self._stopping.wait(wait_s)


def create_app(notifier: Notifier, outbox: NoticeOutbox) -> Litestar:
    """Make the HTTP shell of a notifier, which answers `GET /metrics` alone, and runs it meanwhile."""
    metrics = Metrics()
    metrics.gauge(
        "keyturn_notify_waiting", "Notices that no receiver took yet.", lambda: sum(outbox.waiting().values())
    )
    metrics.gauge("keyturn_notify_failing", "Receivers that took nothing the last time.", lambda: notifier.failing)
    metrics.gauge(
        "keyturn_break_glass_unreviewed", "Uses by break-glass that await a review.", lambda: notifier.unreviewed
    )
    metrics.gauge(
        "keyturn_notify_looked_seconds", "When the log was last followed (POSIX).", lambda: notifier.looked_at
    )
    return shell.build(
        [], title="A notifier", metrics=metrics, on_startup=[notifier.start], on_shutdown=[notifier.stop]
    )
