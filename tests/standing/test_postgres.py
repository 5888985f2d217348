"""Each door of a real PostgreSQL server is found, and closed by the command that the finding names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.adapters.postgres.place import StorePlace
from keyturn.adapters.scans.scan_postgres import read_server
from keyturn.errors import Unavailable
from keyturn.standing.finding import Finding, Scan
from keyturn.standing.postgres import scan_postgres
from support.host_image import close
from support.postgresql import Cluster, Store, running_cluster


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """A server of its own: its roles and its pg_hba.conf are what is tested."""
    with running_cluster() as cluster:
        with Store(cluster.directory, "postgres").admin() as db:
            for role in ("owner", "service"):
                db.execute(f"ALTER ROLE {role} NOLOGIN")
            db.execute("ALTER ROLE guarded NOLOGIN PASSWORD NULL")
        yield cluster


@pytest.fixture
def server(own: Cluster) -> Store:
    return own.store("empty")


def scanned(server: Store, user: str = "admin") -> Scan:
    return scan_postgres(read_server(StorePlace.parse(server.url(user))))


BEFORE = {"pg-superuser", "pg-hba"}
"""What every cluster of the tests has: a superuser, and lines that trust."""


def fresh(server: Store) -> list[Finding]:
    """What is there beside that."""
    return [one for one in scanned(server).findings if one.code not in BEFORE or one.where == "eve"]


DOORS = {
    "a superuser": ("CREATE ROLE eve LOGIN SUPERUSER", "pg-superuser", "high"),
    "who makes roles": ("CREATE ROLE eve LOGIN CREATEROLE", "pg-create-role", "medium"),
    "who replicates": ("CREATE ROLE eve LOGIN REPLICATION", "pg-replication", "high"),
    "who passes by policies of rows": ("CREATE ROLE eve LOGIN BYPASSRLS", "pg-bypass-rls", "medium"),
    "a password": ("CREATE ROLE eve LOGIN PASSWORD 'of three words'", "pg-password", "medium"),
    "a name that is SQL": ("""CREATE ROLE "eve'; DROP TABLE x; --""\" LOGIN PASSWORD 'x'""", "pg-password", "medium"),
    "who runs programs": ("CREATE ROLE eve LOGIN IN ROLE pg_execute_server_program", "pg-member", "high"),
    "who reads files, by a group": (
        "CREATE ROLE readers IN ROLE pg_read_server_files; CREATE ROLE eve LOGIN IN ROLE readers",
        "pg-member",
        "high",
    ),
    "who becomes a superuser": (
        "CREATE ROLE boss SUPERUSER NOLOGIN; CREATE ROLE eve LOGIN IN ROLE boss NOINHERIT",
        "pg-member",
        "high",
    ),
    "an owner who logs in": ("CREATE ROLE eve LOGIN; ALTER DATABASE {name} OWNER TO eve", "pg-owner", "medium"),
    "an owner of a schema": ('CREATE ROLE eve LOGIN; CREATE SCHEMA "s\'x" AUTHORIZATION eve', "pg-owner", "medium"),
    "everybody creates in a schema": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "pg-everybody-creates", "medium"),
    "everybody creates in a database": ("GRANT CREATE ON DATABASE {name} TO PUBLIC", "pg-everybody-creates", "medium"),
    "a function as a superuser": (
        "CREATE FUNCTION public.\"f'\"(text, int) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "pg-definer",
        "high",
    ),
    "tables to come": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "pg-default-right", "medium"),
    "functions to come in a schema": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "pg-default-right",
        "medium",
    ),
}


@pytest.fixture
def afterwards(own: Cluster, server: Store) -> Iterator[None]:
    """Roles are of the whole server: what a test made goes."""
    yield
    with Store(own.directory, "postgres").admin() as db:
        db.execute(f"DROP DATABASE {server.name}")
        for (name,) in db.execute(
            "SELECT quote_ident(rolname) FROM pg_roles WHERE rolname ~ '^(eve|boss|readers)'"
        ).fetchall():
            db.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.usefixtures("afterwards")
def test_a_door_is_found_and_its_command_closes_it(server: Store, name: str) -> None:
    statement, code, severity = DOORS[name]
    assert fresh(server) == []
    with server.admin() as db:
        db.execute(statement.format(name=server.name))
    (door,) = fresh(server)
    assert (door.code, door.severity) == (code, severity)
    close(door)
    assert fresh(server) == []


HBA = {
    "anybody without proof": ("host all all 10.0.0.0/8 trust", "high", "10.0.0.0"),
    "from everywhere by a password": ("host all all 0.0.0.0/0 scram-sha-256", "high", "everywhere"),
    "from everywhere, said otherwise": ("host all all all md5", "high", "everywhere"),
    "from a network by a password": ("host lab eve 10.1.0.0/16 scram-sha-256", "medium", "10.1.0.0"),
    "an account of the host": ("local all eve peer", "low", "own host"),
}


@pytest.mark.parametrize("name", HBA)
def test_a_line_of_pg_hba_is_found_and_its_command_takes_it_out(own: Cluster, server: Store, name: str) -> None:
    line, severity, to = HBA[name]
    place = own.directory / "data" / "pg_hba.conf"
    before = scanned(server)
    place.write_text(f"# kept\n{line}\n{place.read_text()}")
    new = [one for one in scanned(server).findings if one.mark not in {old.mark for old in before.findings}]
    (door,) = new
    assert (door.code, door.severity, to in door.to) == ("pg-hba", severity, True), door
    close(door)
    assert scanned(server) != before  # lines moved
    assert {one.mark for one in scanned(server).findings} == {one.mark for one in before.findings}
    place.write_text(place.read_text().partition("\n")[2].partition("\n")[2])


def test_a_line_that_the_server_cannot_read_is_a_finding(own: Cluster, server: Store) -> None:
    place = own.directory / "data" / "pg_hba.conf"
    text = place.read_text()
    place.write_text(f"{text}host all all nonsense\n")
    try:
        assert [one.severity for one in scanned(server).findings if one.where.endswith("pg_hba.conf")].count(
            "unknown"
        ) == 1
    finally:
        place.write_text(text)


def test_who_may_not_see_it_all_is_told_what_was_not_looked_at_and_how_to_let_it(own: Cluster, server: Store) -> None:
    with server.admin() as db:
        db.execute("CREATE ROLE scanner LOGIN")
    try:
        found = scanned(server, "scanner")
        assert found.unseen >= {"roles", "hba"}
        for one in found.findings:
            if one.severity == "unknown":
                close_as_admin(one)
        assert scanned(server, "scanner").unseen == frozenset()
    finally:
        with server.admin() as db:
            db.execute("DROP OWNED BY scanner; DROP ROLE scanner")


def close_as_admin(one: Finding) -> None:
    command = one.close.replace("user=scanner", "user=admin")
    done = subprocess.run(["bash", "-euc", command], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)


def test_a_server_that_does_not_answer_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="scan-postgres"):
        read_server(StorePlace.parse(f"postgresql://admin@/lab?host={tmp_path}"))


def test_a_password_in_the_url_is_in_no_finding(server: Store) -> None:
    url = server.url("admin").replace("admin@", "admin:of%20three%20words@")
    found = scan_postgres(read_server(StorePlace.parse(url)))
    assert "three" not in repr(found)
