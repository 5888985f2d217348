"""A grant can say less than its action: reading alone, some tables, few connections, short statements; the role is held to it."""

from __future__ import annotations

import time

import psycopg
import pytest

from keyturn.formats.database_terms import DatabaseTerms
from support.databases import DatabaseLab, ended
from support.processes import wait_for

WRITING = {"action": "db:write", "permit": "write"}


def test_whoever_asked_to_read_alone_writes_nothing_by_a_grant_to_write(place: DatabaseLab) -> None:
    db = place.connect(place.granted(**WRITING, database=DatabaseTerms(read_only=True)))
    assert db.execute("SELECT name FROM app.runs").fetchall() == [("first",)]
    for statement in ("INSERT INTO app.runs (name) VALUES ('x')", "SELECT nextval('app.runs_id_seq')"):
        db.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)


def test_a_grant_of_some_tables_opens_these_with_their_sequences_and_no_others(place: DatabaseLab) -> None:
    place.admin().execute("CREATE TABLE app.notes (id serial, text text); ALTER TABLE app.notes OWNER TO app_owner")
    db = place.connect(place.granted(**WRITING, database=DatabaseTerms(tables=("runs",))))
    db.execute("INSERT INTO app.runs (name) VALUES ('mine')")
    db.execute("DELETE FROM app.runs WHERE name = 'mine'")
    for statement in (
        "SELECT * FROM app.notes",
        "SELECT nextval('app.notes_id_seq')",
        "INSERT INTO app.notes VALUES (1)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)
    assert "database-table" in place.certify(place.granted(database=DatabaseTerms(tables=("nothing", "runs")))).text
    # What PUBLIC has beside is more than the grant says, though it is in the schema that the action is for.
    place.admin().execute("GRANT SELECT ON app.notes TO PUBLIC")
    try:
        assert not ended(place.connect(place.granted()))
        answer = place.certify(place.granted(database=DatabaseTerms(tables=("runs",)))).text
        assert ("database-role-more" in answer, "SELECT on app.notes" in answer) == (True, True), answer
    finally:
        place.admin().execute("REVOKE SELECT ON app.notes FROM PUBLIC")


def test_a_grant_has_as_many_connections_as_it_says_and_never_more_than_the_gate(place: DatabaseLab) -> None:
    for said, most in ((1, 1), (50, 3)):
        asked = place.granted(database=DatabaseTerms(connections=said))
        kept = [place.connect(asked) for _ in range(most)]
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            place.connect(asked)
        assert not any(map(ended, kept))


def test_a_statement_that_runs_longer_is_ended_whatever_the_session_sets(place: DatabaseLab) -> None:
    asked = place.granted(database=DatabaseTerms(statement_s=1))
    db, other = place.connect(asked), place.connect(place.granted())
    assert db.execute("SHOW statement_timeout").fetchall() == [("1s",)]
    db.execute("SET statement_timeout = 0")
    begun = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        db.execute("SELECT pg_sleep(60)")
    assert time.monotonic() - begun < 10
    assert not ended(db), "what ended is the statement"
    # Whoever catches the cancellation and goes on loses the connection.
    loop = "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$"
    with pytest.raises(psycopg.OperationalError):
        db.execute(loop)
    wait_for("the end of the connection", lambda: ended(db) or None)
    assert not ended(other)
