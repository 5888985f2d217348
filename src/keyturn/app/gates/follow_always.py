"""Follow the log all the time, for a gate that is asked any time: whoever asks gets what is known, and can ask for a look.

One thread reads. A look that hangs costs whoever waits for it what he allowed, and nobody else anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from keyturn.errors import KeyturnError

__all__ = ["EVERY_S", "FollowedAlways"]

EVERY_S = 1.0
REST_S = 0.3
"""Between two looks at the least: whoever offers keys to sshd all day must not have the gate ask the log all day."""


class FollowedAlways:
    """`refresh`, called every second by whoever runs `run`, and at once when somebody waits in `look`."""

    def __init__(self, refresh: Callable[[], object], failed: Callable[[KeyturnError | None], None]) -> None:
        self._refresh = refresh
        self._failed = failed
        self._turn = threading.Condition()
        self._begun, self._done, self._wanted = 0, 0, False

    def run(self, stop: threading.Event) -> None:
        """Refresh until `stop`; what fails is told to `failed`, and None when it works."""
        while not stop.is_set():
            with self._turn:
                self._begun += 1
                self._wanted = False
            try:
                self._refresh()
                self._failed(None)
            except KeyturnError as err:
                self._failed(err)
            with self._turn:
                self._done = self._begun
                self._turn.notify_all()
            stop.wait(REST_S)
            with self._turn:
                self._turn.wait_for(lambda: self._wanted or stop.is_set(), timeout=EVERY_S - REST_S)

    def look(self, within_s: float) -> None:
        """Return after a refresh that began after this was called, or after `within_s`."""
        with self._turn:
            mine = self._begun + 1
            self._wanted = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._done >= mine, timeout=within_s)
