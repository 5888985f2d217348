"""What a shell offers while somebody types a name: ids of records, members, permits, resources, of a lab's directory or service.

It is quick, and silent about whatever it cannot read or is not told at once: an error in the middle of a line helps nobody.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument, TyperOption

if TYPE_CHECKING:
    from pathlib import Path

    from keyturn.adapters.files.names_on_disk import NameKind

__all__ = ["Offer", "leave_words_as_typed", "offer_names", "offer_records", "typed_words"]

Offer = Callable[[typer.Context, str], list[str]]

_WITHIN_S = 2.0
"""Whatever is read was written by somebody: a few kilobytes of TOML can take minutes to parse."""


def offer_records(*kinds: str) -> Offer:
    """Offer ids of records of `kinds`, or of all kinds."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        now = int(time.time())

        def here(lab: Path) -> list[str]:
            from keyturn.adapters.files.names_on_disk import record_ids

            return record_ids(lab, kinds, begins=incomplete, now=now)

        def elsewhere(url: str) -> list[str]:
            from keyturn.adapters.over_http.names_over_http import record_ids
            from keyturn.wiring.lab.credentials import credentials_for

            return record_ids(url, kinds, begins=incomplete, now=now, credentials=credentials_for(url))

        return _silently(here, elsewhere, ctx)

    return offer


def offer_names(kind: NameKind) -> Offer:
    """Offer names of `kind`, as the lab's published targets list them."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        def here(lab: Path) -> list[str]:
            from keyturn.adapters.files.names_on_disk import names

            return names(lab, kind, begins=incomplete)

        def elsewhere(url: str) -> list[str]:
            from keyturn.adapters.over_http.names_over_http import names
            from keyturn.wiring.lab.credentials import credentials_for

            return names(url, kind, begins=incomplete, credentials=credentials_for(url))

        return _silently(here, elsewhere, ctx)

    return offer


def leave_words_as_typed() -> None:
    """Have this process, which answers a shell and ends, make no values of the words that were typed.

    No command runs by them: judging them helps nobody in the middle of a line, and imports pydantic, which takes as long
    as all the rest.
    """
    for kind in (TyperArgument, TyperOption):
        kind.process_value = _as_typed  # type: ignore[assignment]  # of typer's own, which has no other way


def _as_typed(_param: object, _ctx: object, value: Any) -> Any:
    return value


def typed_words() -> list[str]:
    """The words on the line that a shell asks about, without the one that is being typed; none when no shell asks."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    words = line.split()
    at = os.environ.get("COMP_CWORD", "")
    return words[: int(at)] if at.isdecimal() else words if line.endswith(" ") else words[:-1]


def _silently(
    here: Callable[[Path], list[str]], elsewhere: Callable[[str], list[str]], ctx: typer.Context
) -> list[str]:
    import sqlite3

    from keyturn.errors import KeyturnError
    from keyturn.wiring.lab.places import find_lab

    # Files and answers that are not there, not ours, broken, late, or of another shape: nothing is offered, and nobody told.
    unreadable = (
        KeyturnError,
        OSError,
        sqlite3.Error,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    )
    with suppress(*unreadable), _within(_WITHIN_S):
        place = find_lab(ctx.params.get("lab") or os.environ.get("KEYTURN_LAB"))
        return here(place.path) if place.path is not None else elsewhere(place.url or "")
    return []


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in whatever is done for longer."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's, and a program that completes has no other
        return

    def end(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
