"""Play an opened recording: what was shown on another terminal, in its time or faster, and nothing that acts on this one.

What was typed, sizes and statements are in the file, and not played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from keyturn.adapters.recordings.inside import Event
from keyturn.adapters.safe_screen import SafeScreen

__all__ = ["play"]


def play(events: Iterable[Event], *, speed: float, write: Callable[[str], None], wait: Callable[[float], None]) -> None:
    """Write what `events` show; `wait` waits so many seconds."""
    screen, at = SafeScreen(), 0.0
    for event in events:
        if event.code not in ("o", "e", "m"):
            continue
        wait(max(0.0, event.at - at) / speed)
        at = max(at, event.at)
        if event.code == "m":
            write(f"\r\nkeyturn: {SafeScreen().feed(event.data)}\r\n")
        else:
            write(screen.feed(event.data))
