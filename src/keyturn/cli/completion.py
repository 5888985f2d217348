"""What a shell offers while somebody types a name: ids of records, members, permits, resources, read from the lab's directory.

It is quick, asks no network, and is silent about whatever it cannot read: an error in the middle of a line helps nobody. A lab
that is known by its address alone has no names here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from keyturn.adapters.names_on_disk import NameKind

__all__ = ["Offer", "offer_names", "offer_records", "typed_words"]

Offer = Callable[[typer.Context, str], list[str]]


def offer_records(*kinds: str) -> Offer:
    """Offer ids of records of `kinds`, or of all kinds."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        from keyturn.adapters.names_on_disk import record_ids

        return _silently(lambda lab: record_ids(lab, kinds, begins=incomplete, now=int(time.time())), ctx)

    return offer


def offer_names(kind: NameKind) -> Offer:
    """Offer names of `kind`, as the lab's published targets list them."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        from keyturn.adapters.names_on_disk import names

        return _silently(lambda lab: names(lab, kind, begins=incomplete), ctx)

    return offer


def typed_words() -> list[str]:
    """The words on the line that a shell asks about, without the one that is being typed; none when no shell asks."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    words = line.split()
    at = os.environ.get("COMP_CWORD", "")
    return words[: int(at)] if at.isdecimal() else words if line.endswith(" ") else words[:-1]


def _silently(find: Callable[[Path], list[str]], ctx: typer.Context) -> list[str]:
    import sqlite3

    from keyturn.errors import KeyturnError
    from keyturn.wiring.places import find_lab

    # Files that are not there, not ours, broken, or of another shape: there is nothing to offer, and nobody to tell.
    unreadable = (KeyturnError, OSError, sqlite3.Error, ValueError, LookupError, TypeError, AttributeError)
    with suppress(*unreadable):
        place = find_lab(ctx.params.get("lab") or os.environ.get("KEYTURN_LAB"))
        return [] if place.path is None else find(place.path)
    return []
