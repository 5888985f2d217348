"""A gate lets into its database who has a grant, by TLS and the session key of that grant, and nobody else."""

from __future__ import annotations

import subprocess
from typing import Any

import psycopg
import pytest

from keyturn.crypto.signers import SoftwareKey
from support.databases import DatabaseLab


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa-sha2-nistp256"])
def test_whoever_has_a_grant_reads_what_it_says_and_nothing_else(place: DatabaseLab, scheme: str) -> None:
    asked = place.granted(scheme=scheme)
    db = place.connect(asked)
    assert db.execute("SELECT session_user, name FROM app.runs").fetchall() == [(asked.role, "first")]
    for statement in (
        "INSERT INTO app.runs (name) VALUES ('x')",
        "DELETE FROM app.runs",
        "SELECT * FROM other.salaries",
        "CREATE TABLE app.mine (x integer)",
        "CREATE TABLE public.mine (x integer)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)


def test_psql_comes_in_as_well(place: DatabaseLab) -> None:
    asked = place.granted()
    options = place.options(asked, place.let_in(asked)["certificate"])
    words = ["psql", "-XAt", " ".join(f"{name}={value}" for name, value in options.items()), "-c", "SELECT 6 * 7"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr


def test_a_grant_to_write_writes_and_makes_nothing(place: DatabaseLab) -> None:
    db = place.connect(place.granted(action="db:write", permit="write"))
    db.execute("INSERT INTO app.runs (name) VALUES ('second')")
    db.execute("DELETE FROM app.runs WHERE name = 'second'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("CREATE INDEX ON app.runs (name)")


def test_what_is_not_granted_opens_nothing(place: DatabaseLab) -> None:
    unapproved = place.ask()
    denied = place.ask()
    place.say(denied, "cat", decision="deny")
    place.say(denied, "bob")
    place.let_in(place.granted())  # the gate knows all that was logged before
    for asked in (unapproved, denied):
        answer = place.certify(asked)
        assert answer.status_code == 403, answer.text
        assert asked.role not in place.roles()
    assert "session-key-unknown" in place.certify(SoftwareKey.generate()).text


def test_a_grant_of_another_schema_database_or_action_opens_nothing_here(place: DatabaseLab) -> None:
    whole = place.granted(resource=f"keyturn://{place.lab.name}/db/main")
    assert "database-other" in place.certify(whole).text


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"sslcert": "none", "sslkey": "none"}, id="without a certificate"),
        pytest.param({"sslmode": "disable"}, id="without TLS"),
        pytest.param({"user": "keyturn_gate"}, id="as the gate's account, by a certificate of its authority"),
        pytest.param({"user": "app_owner"}, id="as the owner"),
        pytest.param({"user": "keyturn_grants"}, id="as the group"),
        pytest.param({"dbname": "postgres"}, id="another database of the server"),
        pytest.param({"replication": "database"}, id="a replication connection"),
        pytest.param({"replication": "true"}, id="a physical replication connection"),
    ],
)
def test_a_role_is_entered_by_its_certificate_and_tls_alone(place: DatabaseLab, changed: dict[str, Any]) -> None:
    asked = place.granted()
    certificate = place.let_in(asked)["certificate"]
    place.connect(asked)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**place.options(asked, certificate, **changed))


def test_a_socket_of_the_servers_own_machine_lets_no_role_of_a_grant_in(place: DatabaseLab) -> None:
    asked = place.granted()
    certificate = place.let_in(asked)["certificate"]
    for user in (asked.role, "keyturn_grants"):
        with pytest.raises(psycopg.OperationalError, match="rejects connection"):
            psycopg.connect(
                **place.options(asked, certificate, host=str(place.cluster.directory), user=user, sslmode="disable")
            )


def test_the_certificate_of_one_grant_is_no_way_in_by_another(place: DatabaseLab) -> None:
    mine, other = place.granted(), place.granted(requester="dan", beneficiary="dan")
    place.let_in(other)
    certificate = place.let_in(mine)["certificate"]
    with pytest.raises(psycopg.OperationalError, match="certificate authentication failed"):
        psycopg.connect(**place.options(mine, certificate, user=other.role))


def test_one_grant_has_so_many_connections(place: DatabaseLab) -> None:
    asked = place.granted()
    kept = [place.connect(asked) for _ in range(3)]
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        place.connect(asked)
    assert len(kept) == 3
