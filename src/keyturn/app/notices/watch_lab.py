"""Follow the log as a reader, and keep in the outbox whatever people must be told since the last time.

Nothing but the witnessed log is believed, and a view that is too old tells nothing. What was told and what must be told are
kept in one step, so that a crash repeats a notice at most, and loses none.

This is NOT delivery: whoever empties the outbox does that, receiver by receiver.
"""

from __future__ import annotations

from collections.abc import Callable

from keyturn.app.log.follow_log import follow_log
from keyturn.app.notices.route_notices import AddressBook, unknown
from keyturn.app.notices.tell_of_requests import Telling
from keyturn.app.notices.tell_people import parse_told, render_told, what_to_tell
from keyturn.formats.records import Record
from keyturn.grants.freshness import require_recent
from keyturn.grants.view import GateView
from keyturn.ports import Clock, LogReader, NoticeOutbox

__all__ = ["LabWatch"]

_LOOK_AGAIN_S = 10
"""What only time changes (a request that waits, a window that ends) is looked at so often."""


class LabWatch:
    """One reader's view, the outbox that it fills, whom it tells; for one thread.

    `start` gives the view at the pinned root, `record_of` reads what a tombstone names.
    """

    def __init__(
        self,
        start: Callable[[], GateView],
        log: LogReader,
        outbox: NoticeOutbox,
        *,
        book: AddressBook,
        settings: Telling,
        record_of: Callable[[str], Record | None],
        clock: Clock,
    ) -> None:
        self._start = start
        self._log = log
        self._outbox = outbox
        self._book = book
        self._settings = settings
        self._record_of = record_of
        self._clock = clock
        self._view: GateView | None = None
        self._looked: tuple[int, int] = (-1, 0)

    @property
    def unreviewed(self) -> int:
        """Uses by break-glass that awaited a review when the log was last followed."""
        return 0 if self._view is None else len(self._view.known.unreviewed)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Who stands in the address book and in no version of the lab's trust that is in force, in words."""
        groups = [step.group for step in self._settings.escalation]
        return () if self._view is None else unknown(self._book, self._view.trust.newest, groups=groups)

    def look(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """Keep what is new; gives the receivers that get something, and the events for which nobody has a receiver.

        Raises what following the log raises; `Refused` `view-stale` when what it shows is too old to be told.
        """
        now = self._clock.now()
        self._view = follow_log(self._view or self._start(), self._log, now=now)
        trust = require_recent(self._view, now=now)
        size, looked_at = self._looked
        if size == self._view.frontier.size and now < looked_at + _LOOK_AGAIN_S:
            return frozenset(), ()
        kept = self._outbox.told()
        notices, told = what_to_tell(
            None if kept is None else parse_told(kept),
            self._view,
            trust,
            self._settings,
            record_of=self._record_of,
            now=now,
        )
        routed = {notice.event: self._book.route(notice, now=now) for notice in notices}
        raw = render_told(told)
        if raw != kept or notices:
            rows = [(one.event, one.receiver, one.title, one.body) for found in routed.values() for one in found]
            self._outbox.keep(raw, rows, now=now)
        self._looked = (self._view.frontier.size, now)
        unheard = tuple(event for event, found in routed.items() if not found)
        return frozenset(one.receiver for found in routed.values() for one in found), unheard
