"""Whoever came in by a grant stays what the grant says: he becomes no more, stays no longer, and leaves no door behind."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from support.databases import DatabaseLab, ended
from support.processes import wait_for

DENIED = {
    "become the gate": "SET ROLE keyturn_gate",
    "become the owner": "SET ROLE app_owner",
    "become a superuser": "SET ROLE admin",
    "become the gate as its session": "SET SESSION AUTHORIZATION keyturn_gate",
    "make a role": "CREATE ROLE mine LOGIN",
    "make itself a superuser": "ALTER ROLE {role} SUPERUSER",
    "make roles": "ALTER ROLE {role} CREATEROLE",
    "replicate": "ALTER ROLE {role} REPLICATION",
    "last longer": "ALTER ROLE {role} VALID UNTIL 'infinity'",
    "have more connections": "ALTER ROLE {role} CONNECTION LIMIT 100",
    "be another": "ALTER ROLE {role} RENAME TO mine",
    "give itself to others": "GRANT {role} TO PUBLIC",
    "join the group's admin": "GRANT keyturn_grants TO app_owner",
    "run a program": "COPY app.runs TO PROGRAM 'id'",
    "write a file": "COPY app.runs TO '/tmp/keyturn-out'",
    "read a file": "SELECT pg_read_file('postgresql.conf')",
    "read a file as a large object": "SELECT lo_import('/etc/passwd')",
    "own a large object": "SELECT lo_create(0)",
    "own a large object in the old way": "SELECT lo_creat(-1)",
    "own a large object of bytes": "SELECT lo_from_bytea(0, 'mine')",
    "write a large object to a file": "SELECT lo_export(1, '/tmp/keyturn-out')",
    "read passwords": "SELECT * FROM pg_authid",
    "read pg_hba.conf": "SELECT * FROM pg_hba_file_rules",
    "change the server": "ALTER SYSTEM SET ssl = off",
    "reload the server": "SELECT pg_reload_conf()",
    "log what others type": "SET log_statement = 'all'",
    "load a library": "LOAD '/tmp/mine.so'",
    "fire at every statement": "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION pg_catalog.now()",
    "fire at a table": "CREATE TRIGGER mine BEFORE UPDATE ON app.runs EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "shadow a function": "CREATE FUNCTION app.now() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "shadow a name by a schema": "CREATE SCHEMA {role}",
    "shadow a table": "CREATE TEMPORARY TABLE runs (name text)",
    "an extension": "CREATE EXTENSION dblink",
    "a foreign server": "CREATE SERVER mine FOREIGN DATA WRAPPER postgres_fdw",
    "subscribe elsewhere": "CREATE SUBSCRIPTION mine CONNECTION '' PUBLICATION x",
    "publish elsewhere": "CREATE PUBLICATION mine FOR TABLE app.runs",
    "a slot": "SELECT pg_create_physical_replication_slot('mine')",
    "end the gate's connections": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyturn_gate'",
    "cancel what the gate asks": "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'keyturn_gate'",
    "outlast the session": "PREPARE TRANSACTION 'mine'",
    "the gate by dblink": "SELECT public.dblink_connect('host={socket} port={port} dbname=main user=keyturn_gate')",
    "the superuser by dblink": "SELECT public.dblink_connect('host={socket} port={port} dbname=main user=admin')",
    "what was revoked from it": "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT SELECT ON TABLES TO PUBLIC",
}


@pytest.fixture(scope="module")
def inside(place: DatabaseLab) -> psycopg.Connection[Any]:
    place.admin().execute("CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public")
    return place.connect(place.granted(action="db:write", permit="write", duration_s=900))


@pytest.mark.parametrize("what", DENIED)
def test_nobody_becomes_more_than_his_grant(place: DatabaseLab, inside: psycopg.Connection[Any], what: str) -> None:
    statement = DENIED[what].format(role=inside.info.user, socket=place.cluster.directory, port=place.port)
    with pytest.raises(psycopg.Error) as refused:
        if what == "outlast the session":
            inside.execute("BEGIN")
        inside.execute(statement)
    inside.execute("ROLLBACK")
    assert not isinstance(refused.value, psycopg.errors.SyntaxError | psycopg.errors.UndefinedFunction), refused.value
    assert (
        place.admin().execute("SELECT FROM pg_roles WHERE rolname = 'mine' OR rolname ~ '^kt_' AND rolsuper").fetchall()
        == []
    )


def test_what_it_has_it_cannot_give_away(place: DatabaseLab, inside: psycopg.Connection[Any]) -> None:
    inside.execute("GRANT SELECT ON app.runs TO PUBLIC")  # PostgreSQL warns, and gives nothing
    [(acl,)] = place.admin().execute("SELECT relacl::text FROM pg_class WHERE oid = 'app.runs'::regclass").fetchall()
    assert "=r/" not in acl.replace(f"{inside.info.user}=arwd/", "").replace("app_owner=arwdDxt/", "")


def test_a_password_that_it_gives_itself_is_no_way_in(place: DatabaseLab) -> None:
    asked = place.granted()
    place.connect(asked).execute(f"ALTER ROLE {asked.role} PASSWORD 'mine for ever'")
    for host, mode in (("127.0.0.1", "require"), ("127.0.0.1", "disable"), (str(place.cluster.directory), "disable")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(
                host=host,
                port=place.port,
                dbname="main",
                user=asked.role,
                password="mine for ever",
                sslmode=mode,
                sslcert="none",
            )


def test_settings_of_its_own_keep_no_session_alive_and_mislead_no_gate(place: DatabaseLab) -> None:
    asked = place.granted()
    db = place.connect(asked)
    for setting in ("statement_timeout = 0", "application_name = 'keyturn-watch'", "search_path = 'app'"):
        db.execute(f"ALTER ROLE {asked.role} SET {setting}")
        db.execute(f"SET {setting}")
    db.execute("LISTEN anything")
    db.execute("SELECT pg_advisory_lock(1)")
    place.log.append(place.revocation(asked))
    wait_for("the connection to end", lambda: ended(db) or None)
    wait_for("the role to go", lambda: asked.role not in place.roles() or None)


def test_a_lock_that_others_hold_keeps_a_role_but_no_connection(place: DatabaseLab) -> None:
    asked, next_one = place.granted(), place.granted()
    db, other = place.connect(asked), place.connect(next_one)
    admin = place.admin()
    admin.execute("BEGIN")
    admin.execute(f"COMMENT ON ROLE {asked.role} IS 'held'")
    admin.execute("LOCK TABLE app.runs IN ACCESS EXCLUSIVE MODE")
    since = time.monotonic()
    place.log.append(place.revocation(asked))
    wait_for("the connection to end", lambda: ended(db) or None)
    assert time.monotonic() - since < 6
    admin.execute("ROLLBACK")
    wait_for("the role to go", lambda: asked.role not in place.roles() or None)
    assert not ended(other)


OPENED_WIDER = {
    "a table that PUBLIC reads": (
        "CREATE TABLE app.leaky (x integer); GRANT INSERT ON app.leaky TO PUBLIC",
        "DROP TABLE app.leaky",
        "INSERT on app.leaky",
    ),
    "a column that PUBLIC writes": (
        "GRANT UPDATE (name) ON app.runs TO PUBLIC",
        "REVOKE UPDATE (name) ON app.runs FROM PUBLIC",
        "UPDATE on app.runs",
    ),
    "another schema": (
        "GRANT USAGE ON SCHEMA other TO PUBLIC; GRANT SELECT ON other.salaries TO PUBLIC",
        "REVOKE ALL ON SCHEMA other FROM PUBLIC; REVOKE SELECT ON other.salaries FROM PUBLIC",
        "SELECT on other.salaries",
    ),
    "a schema that PUBLIC makes things in": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "CREATE in schema public",
    ),
    "temporary tables": (
        "GRANT TEMPORARY ON DATABASE main TO PUBLIC",
        "REVOKE TEMPORARY ON DATABASE main FROM PUBLIC",
        "TEMPORARY in the database",
    ),
    "a function with its owner's rights": (
        "CREATE FUNCTION app.pay() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT sum(amount) FROM other.salaries'",
        "DROP FUNCTION app.pay",
        "SECURITY DEFINER function app.pay()",
    ),
    "the server's files": (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM PUBLIC",
        "the function pg_read_file(text)",
    ),
    "large objects of its own": (
        "GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION lo_create(oid) FROM PUBLIC",
        "the function lo_create(oid)",
    ),
    "a setting of the server": (
        "GRANT SET ON PARAMETER log_statement TO PUBLIC",
        "REVOKE SET ON PARAMETER log_statement FROM PUBLIC",
        "the setting log_statement",
    ),
    "what its group is given": (
        "GRANT pg_read_all_data TO keyturn_grants",
        "REVOKE pg_read_all_data FROM keyturn_grants",
        "membership in pg_read_all_data",
    ),
}


@pytest.mark.parametrize("what", OPENED_WIDER)
def test_a_database_that_gives_a_role_more_than_its_grant_gets_no_role(place: DatabaseLab, what: str) -> None:
    wide, undo, said = OPENED_WIDER[what]
    asked = place.granted()
    place.admin().execute(wide)
    try:
        wait_for("the reason", lambda: "database-role-more" in place.certify(asked).text or None, place.gate)
        assert said in place.certify(asked).text
        assert asked.role not in place.roles()
    finally:
        place.admin().execute(undo)
    assert not ended(place.connect(asked))


OTHER_DOORS = {
    "a line before the gate's": ("pg_hba.conf", "host all all all trust\n", "pg_hba.conf: expected"),
    "another account of the machine is the gate's": (
        "pg_ident.conf",
        "keyturn nobody keyturn_gate\n",
        "pg_ident.conf: expected",
    ),
}


@pytest.mark.parametrize("what", OTHER_DOORS)
def test_a_server_with_another_door_gets_no_role(place: DatabaseLab, what: str) -> None:
    name, line, said = OTHER_DOORS[what]
    path = place.cluster.directory / "data" / name
    before = path.read_text()
    asked = place.granted()
    path.write_text(line + before)
    try:
        answer = place.certify(asked)
        assert ("database-other-door" in answer.text, said in answer.text) == (True, True), answer.text
    finally:
        path.write_text(before)
    assert not ended(place.connect(asked))


def test_whoever_is_made_a_member_of_the_gates_account_closes_it(place: DatabaseLab) -> None:
    asked = place.granted()
    place.admin().execute("CREATE ROLE friend; GRANT keyturn_gate TO friend")
    try:
        assert "is a member of `keyturn_gate`" in place.certify(asked).text
    finally:
        place.admin().execute("DROP ROLE friend")
