"""Hold what was pushed to a gate and verified: denials, revocations and suspensions that it obeys before the log has them.

Each is obeyed from memory at once, and kept, so that a gate that starts again goes on obeying it; until it is over, and never
longer. What one signer, and all of them, can have a gate hold is bounded: beyond that a gate hears of negatives from the log.
What the log has does not count, or whoever reads there could fill a gate with a signer's words of before. It is held all the
same: an order that goes on is judged by a view of before.
"""

from __future__ import annotations

import threading
from typing import Final

from keyturn.errors import KeyturnError, Unavailable
from keyturn.grants.pushed import Pushed, has_read, obeying, read_pushed, verify_pushed
from keyturn.grants.view import GateView
from keyturn.ports import Clock, PushedStore

__all__ = ["HELD_MAX", "HELD_OF_ONE_MAX", "PushedNegatives"]

HELD_MAX: Final = 1024
HELD_OF_ONE_MAX: Final = 64


class PushedNegatives:
    """What one gate obeys besides its view of the log. Safe for threads."""

    def __init__(self, store: PushedStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, Pushed] = {}
        for raw in store.kept():
            try:
                found = read_pushed(raw)
            except KeyturnError:
                continue  # the gate's own file, damaged: the log has the record, or its signer still does
            self._held[found.digest] = found

    def take(self, raw: bytes, view: GateView) -> Pushed:
        """Verify `raw` by `view`, and obey it from now on; raises when it has no effect, or cannot be held.

        `Unavailable` when it cannot be kept on disk: it is obeyed all the same, and perhaps not after the gate starts again.
        """
        now = self._clock.now()
        found = verify_pushed(raw, view, now=now)
        with self._lock:
            self._forget_over(now)
            known = found.digest in self._held
            if not known:
                unread = [] if has_read(view, found) else [o for o in self._held.values() if not has_read(view, o)]
                of_one = sum(one.by == found.by for one in unread)
                if len(unread) >= HELD_MAX or of_one >= HELD_OF_ONE_MAX:
                    raise Unavailable(
                        "pushed-full",
                        f"the gate holds {of_one} of `{found.by}` that the log lacks and {len(unread)} in all, and takes "
                        "no more directly",
                        hint="it hears of this one from the log",
                    )
                self._held[found.digest] = found
        if not known:
            self._store.keep(found.digest, raw)
        return found

    def over(self, view: GateView) -> GateView:
        """`view` with everything obeyed that was taken."""
        now = self._clock.now()
        with self._lock:
            held = tuple(self._held.values())
        return obeying(view, held, now=now)

    def _forget_over(self, now: int) -> None:
        for digest in [digest for digest, one in self._held.items() if one.until <= now]:
            del self._held[digest]
            self._store.drop(digest)
