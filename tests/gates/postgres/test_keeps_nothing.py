"""Whoever came in by a grant tries to stay longer than it, or to have others stay, with all that a role may do to itself."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from support.databases import DatabaseLab, ended
from support.processes import wait_for

WITHIN_S = 5.0


def require_ended(db: psycopg.Connection[Any], since: float) -> None:
    wait_for("the connection to end", lambda: ended(db) or None, deadline_s=20)
    assert time.monotonic() - since < WITHIN_S


def test_a_session_that_takes_every_lock_of_the_server_is_ended(place: DatabaseLab) -> None:
    """Neither the gate nor its watchman can read then which roles there are."""
    asked = place.granted()
    db = place.connect(asked)
    with pytest.raises(psycopg.errors.OutOfMemory):
        db.execute("SELECT pg_advisory_lock(number) FROM generate_series(1, 1000000) number")
    since = time.monotonic()
    place.log.append(place.revocation(asked))
    require_ended(db, since)
    wait_for("the role to go", lambda: asked.role not in place.roles() or None)
    assert not ended(place.connect(place.granted()))


def test_a_role_that_locks_itself_comes_in_no_more(place: DatabaseLab) -> None:
    """Its certificate is good for a minute, and it comes again whenever it is ended, to lock its own row before the gate does."""
    asked = place.granted()
    options = place.options(asked, place.let_in(asked)["certificate"])
    held, stop, last = threading.Event(), threading.Event(), [0.0]

    def hold() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(**options, autocommit=True) as db:
                    db.execute("BEGIN")
                    last[0] = time.monotonic()
                    db.execute(f"ALTER ROLE {asked.role} PASSWORD 'mine'")
                    held.set()
                    db.execute("SELECT pg_sleep(600)")
            except psycopg.Error:
                continue

    threads = [threading.Thread(target=hold, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert held.wait(30)
        since = time.monotonic()
        place.log.append(place.revocation(asked))
        admin = place.admin()
        gone = "SELECT FROM pg_roles WHERE rolname = %s"
        wait_for("the role to go", lambda: not admin.execute(gone, (asked.role,)).fetchall() or None)
        assert last[0] - since < WITHIN_S
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_roles_that_cannot_be_dropped_delay_the_end_of_nobody_else(place: DatabaseLab) -> None:
    """A migration that runs for long holds what a table says of itself, and each try to drop a role waits a second for it."""
    others = [place.granted() for _ in range(8)]
    connected = [place.connect(other) for other in others]
    last = place.granted()
    late = place.connect(last)
    admin = place.admin()
    admin.execute("BEGIN")
    admin.execute("ALTER TABLE app.runs SET (fillfactor = 90)")
    for other in others:
        place.log.append(place.revocation(other))
    wait_for("the connections to end", lambda: all(map(ended, connected)) or None)
    assert place.roles() >= {other.role for other in others}
    since = time.monotonic()
    place.log.append(place.revocation(last))
    require_ended(late, since)
    admin.execute("ROLLBACK")
    wait_for("the roles to go", lambda: place.roles().isdisjoint({one.role for one in [last, *others]}) or None)


def test_a_connection_whose_role_is_gone_ends(place: DatabaseLab) -> None:
    asked = place.granted()
    db = place.connect(asked)
    admin = place.admin()
    admin.execute("SET ROLE keyturn_gate")
    admin.execute(f"DROP OWNED BY {asked.role}")
    admin.execute(f"DROP ROLE {asked.role}")
    require_ended(db, time.monotonic())
