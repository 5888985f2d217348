"""What came in by a grant is out within five seconds of its end, whatever ends it, and nothing of the role is left."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from support.databases import KEYTURN, Asked, DatabaseLab, database_lab, ended
from support.processes import wait_for

WITHIN_S = 5.0


def require_ended(db: psycopg.Connection[Any], since: float) -> None:
    wait_for("the connection to end", lambda: ended(db) or None)
    assert time.monotonic() - since < WITHIN_S


def require_gone(place: DatabaseLab, asked: Asked) -> None:
    wait_for("the role to go", lambda: asked.role not in place.roles() or None)


def test_at_the_end_of_its_window(place: DatabaseLab) -> None:
    asked = place.granted(duration_s=10)
    said = place.let_in(asked)
    db = psycopg.connect(**place.options(asked, said["certificate"]), autocommit=True)
    wait_for("the connection to end", lambda: ended(db) or None)
    assert said["ends_at"] <= time.time() < said["ends_at"] + WITHIN_S
    require_gone(place, asked)
    assert place.certify(asked).status_code == 403


def test_when_it_is_revoked_and_the_log_says_so(place: DatabaseLab) -> None:
    asked, other = place.granted(), place.granted()
    db, kept = place.connect(asked), place.connect(other)
    since = time.monotonic()
    place.log.append(place.revocation(asked))
    require_ended(db, since)
    require_gone(place, asked)
    assert not ended(kept)  # another grant of the same person
    assert place.certify(asked).status_code == 403


def test_when_it_is_revoked_and_the_gate_alone_is_told(place: DatabaseLab) -> None:
    asked = place.granted()
    db = place.connect(asked)
    since = time.monotonic()
    assert httpx.post(f"{place.gate_url}/negative", content=place.revocation(asked), timeout=30).status_code == 200
    require_ended(db, since)
    require_gone(place, asked)


def test_when_whoever_came_in_is_suspended(place: DatabaseLab) -> None:
    asked = place.granted(requester="dan", beneficiary="dan")
    db = place.connect(asked)
    since = time.monotonic()
    place.log.append(place.suspension("cat", target_member="dan"))
    require_ended(db, since)
    require_gone(place, asked)


def test_a_statement_that_runs_and_an_open_transaction_end_with_it(place: DatabaseLab) -> None:
    asked = place.granted(action="db:write", permit="write")
    asleep, writing = place.connect(asked), place.connect(asked)
    writing.execute("BEGIN")
    writing.execute("INSERT INTO app.runs (name) VALUES ('never')")
    failed = threading.Event()

    def sleep() -> None:
        try:
            asleep.execute("SELECT pg_sleep(600)")
        except psycopg.OperationalError:
            failed.set()

    threading.Thread(target=sleep, daemon=True).start()
    place.log.append(place.revocation(asked))
    assert failed.wait(WITHIN_S)
    require_ended(writing, time.monotonic())
    require_gone(place, asked)
    assert place.admin().execute("SELECT FROM app.runs WHERE name = 'never'").fetchall() == []


def test_what_a_role_said_of_itself_goes_with_it(place: DatabaseLab) -> None:
    asked = place.granted()
    db = place.connect(asked)
    db.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app_owner")
    place.log.append(place.revocation(asked))
    require_gone(place, asked)
    assert place.admin().execute("SELECT FROM pg_default_acl").fetchall() == []
    assert place.admin().execute(
        "SELECT count(*) FROM pg_auth_members WHERE member NOT IN (SELECT oid FROM pg_roles)"
    ).fetchall() == [(0,)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_when_the_gate_is_dead_or_stands_still(tmp_path: Path, number: signal.Signals) -> None:
    with database_lab(tmp_path) as place:
        gate = place.start_gate()
        asked = place.granted()
        said = place.let_in(asked)
        options = place.options(asked, said["certificate"])
        db = psycopg.connect(**options, autocommit=True)
        since = time.monotonic()
        gate.signal(number)
        require_ended(db, since)
        # Whose certificate is good for some seconds more comes in, and is out at the watchman's next look.
        again = psycopg.connect(**options, autocommit=True)
        require_ended(again, time.monotonic())
        gate.kill()
        place.start_gate()
        assert asked.role not in place.roles()  # what a gate before left behind is ended at the start
        assert not ended(place.connect(asked))  # and the grant stands: whoever asks is let in again


def test_what_outlives_the_gate_and_its_watchman_is_ended_from_outside_and_by_the_next_gate(tmp_path: Path) -> None:
    with database_lab(tmp_path) as place:

        def orphaned() -> tuple[Asked, psycopg.Connection[Any]]:
            """Somebody who came in by a gate that is dead since, as its watchman is."""
            # What libpq would read in the environment leads it to no other server.
            gate, asked = place.start_gate("env", "PGHOSTADDR=192.0.2.1", "PGSERVICE=elsewhere"), place.granted()
            db, admin = place.connect(asked), place.admin()
            gate.kill()
            watchman = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'keyturn-watchman'"
            assert admin.execute(watchman).fetchall() == [(True,)]
            return asked, db

        asked, db = orphaned()
        assert not ended(db)
        words = [*KEYTURN, "gate", "postgres", "end", "main", "--lab", str(place.disk.path)]
        done = subprocess.run([*words, "--json"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"ended": [asked.role]}), done.stderr
        assert (ended(db), place.roles()) == (True, set())
        # What it leaves is a watchman, who ends whoever a certificate of the last minute still brings.
        asked, db = orphaned()
        assert not ended(db)
        place.start_gate()
        assert ended(db)
        assert asked.role not in place.roles()
        assert not ended(place.connect(asked))


def test_when_the_kill_switch_of_the_gate_is_used(tmp_path: Path) -> None:
    with database_lab(tmp_path) as place:
        place.start_gate()
        asked = place.granted()
        db = place.connect(asked)
        since = time.monotonic()
        place.log.append(place.suspension("bob", target_gate=str(place.lab.gate_uri("main"))))
        require_ended(db, since)
        assert place.certify(asked).status_code == 403
        require_gone(place, asked)
        assert place.roles() == set()
