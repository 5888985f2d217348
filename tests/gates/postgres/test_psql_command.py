"""`keyturn psql`: one command asks, waits and connects, and what it runs is psql, pg_dump, or a shell with both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.hosts.libpq_client import DatabasePlace, environment, run_client
from keyturn.adapters.keys.memory_file import MemoryFile
from keyturn.adapters.over_http.database_gate_over_http import DatabaseGateOverHttp
from keyturn.errors import Refused
from keyturn.formats.uri import Uri
from support.builders import FixedClock
from support.databases import DatabaseLab, DatabasePerson
from support.labs import make_key
from support.processes import running, wait_for


@pytest.fixture
def ada(place: DatabaseLab, tmp_path: Path) -> DatabasePerson:
    return DatabasePerson(place, tmp_path, "ada")


@pytest.fixture
def bob(place: DatabaseLab, tmp_path: Path) -> DatabasePerson:
    return DatabasePerson(place, tmp_path, "bob")


def test_one_command_asks_waits_and_runs_psql_and_exits_as_it_does(ada: DatabasePerson, bob: DatabasePerson) -> None:
    words = ada.psql("--", "-XAtv", "ON_ERROR_STOP=1", "-c", "SELECT 6 * 7", "-c", "SELECT nothing")
    with running(words, environment=ada.environment) as asking:
        bob.approve(asking)
        assert asking.wait() == 1, asking.describe()
        assert "42" in asking.output.splitlines()
        assert 'column "nothing" does not exist' in asking.output


def test_several_programs_run_by_one_grant_whose_key_is_on_no_disk_and_ends_with_it(
    place: DatabaseLab, ada: DatabasePerson, bob: DatabasePerson
) -> None:
    script = (
        "psql -XAtc 'SELECT 6 * 7'; pg_dump --data-only --table app.runs | grep COPY; echo $PGSSLKEY; "
        "stat -Lc %a $PGSSLKEY; psql -XAtc 'SELECT pg_sleep(600)'; exit 7"
    )
    words = ada.psql("--exec", "sh", "--", "-c", script)
    with running(words, environment=ada.environment) as asking:
        request = bob.approve(asking)
        path = asking.wait_for_line("/proc/").strip()
        asking.wait_for_line("600")
        assert "42" in asking.output.splitlines()
        assert "COPY app.runs" in asking.output
        for found in ada.place.rglob("*"):
            assert found.name == "member.pem" or not found.is_file() or b"PRIVATE KEY" not in found.read_bytes()
        [role] = [role for role in place.roles() if role == f"kt_{request.removeprefix('req-')}"]
        admin, asleep = place.admin(), "usename = %s AND query LIKE 'SELECT pg_sleep%%'"
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {asleep}"
        wait_for("psql's last", lambda: admin.execute(end, (role,)).fetchall() or None)
        assert asking.wait() == 7, asking.describe()
        assert not Path(path).exists()


def test_whoever_ends_it_ends_what_it_runs_and_a_signal_is_a_status(ada: DatabasePerson, bob: DatabasePerson) -> None:
    words = ada.psql("--exec", "sh", "--", "-c", "echo $$ is here; exec sleep 600")
    with running(words, environment=ada.environment) as asking:
        bob.approve(asking)
        child = Path("/proc") / asking.wait_for_line(" is here").split()[0]
        asking.child.terminate()
        assert asking.wait() == 128 + 15
        assert not child.exists()
    words = ada.psql("--exec", "sh", "--", "-c", "kill -9 $$")
    with running(words, environment=ada.environment) as asking:
        bob.approve(asking)
        assert asking.wait() == 128 + 9


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("--exec", "no-such-program"), "client-missing", id="a program that is not there"),
        pytest.param(("--gate", "elsewhere"), "gate-unknown", id="a gate that the lab does not have"),
    ],
)
def test_what_cannot_be_run_is_said(
    ada: DatabasePerson, bob: DatabasePerson, words: tuple[str, ...], code: str
) -> None:
    with running(ada.psql(*words, "--json"), environment=ada.environment) as asking:
        if code == "client-missing":
            bob.approve(asking)
        assert asking.wait() in (1, 3)
        assert code in asking.output


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({}, None, id="the gate that targets list, for this role, now"),
        pytest.param({"key": make_key("another").public}, "signature", id="another gate's key"),
        pytest.param({"uri": Uri.parse("keyturn://acme.example/gate/other")}, "certificate-gate", id="another gate"),
        pytest.param({"ahead_s": 3600}, "certificate-gate", id="an answer of an hour ago"),
        pytest.param({"role": "kt_" + "0" * 32}, "certificate-other", id="another request's role"),
    ],
)
def test_what_is_believed_of_an_answer_is_what_the_gate_signed_for_this_very_key(
    place: DatabaseLab, changed: dict[str, Any], code: str | None
) -> None:
    asked = place.granted()
    place.let_in(asked)
    listed = place.lab.state.gates[str(place.lab.gate_uri("main"))]
    gate = replace(listed, key=changed.get("key", listed.key), uri=changed.get("uri", listed.uri))
    clock = FixedClock()
    clock.time = SystemClock().now() + changed.get("ahead_s", 0)
    asking = DatabaseGateOverHttp(place.gate_url, gate, clock=clock, skew_max_s=60)
    role = changed.get("role", asked.role)
    if code is None:
        said = asking.certify(asked.proves, role=role)
        assert (said.role, said.address, said.port, said.database) == (asked.role, "127.0.0.1", place.port, "main")
    else:
        with pytest.raises(Refused, match=code):
            asking.certify(asked.proves, role=role)


def test_a_certificate_is_renewed_at_the_same_path_while_the_program_runs() -> None:
    given = iter(range(1000))
    place = DatabasePlace(address="db", port=5432, database="main", role="kt_" + "0" * 32, authority=None)
    script = (
        'first=$(cat "$PGSSLCERT"); [ "$first" = none ] || exit 1; until [ "$(cat "$PGSSLCERT")" != none ]; do :; done'
    )
    status = run_client(
        ("sh", "-c", script), place, key="/key", certificate=b"none", renew=lambda: b"%d" % next(given), every_s=0.05
    )
    assert status == 0


def test_what_a_memory_file_holds_is_the_one_or_the_other_and_its_owners_alone() -> None:
    with MemoryFile("test", b"one") as held:
        path = Path(held.path)
        assert path.stat().st_mode & 0o777 == 0o600
        with path.open("rb") as opened:
            held.put(b"another")
            assert opened.read() == b"one"
        assert path.read_bytes() == b"another"


def test_libpq_is_told_one_server_and_to_verify_it() -> None:
    place = DatabasePlace(address="db", port=5433, database="main", role="kt_1", authority="/ca.pem")
    given = {
        "PGHOST": "x",
        "PGSSLMODE": "disable",
        "PGSERVICE": "s",
        "PGPASSWORD": "p",
        "PGHOSTADDR": "::1",
        "PATH": "/bin",
    }
    made = environment(place, given, key="/k", certificate="/c")
    assert made["PATH"] == "/bin"
    assert (made["PGHOST"], made["PGSSLMODE"], made["PGSSLROOTCERT"]) == ("db", "verify-full", "/ca.pem")
    assert not {"PGSERVICE", "PGPASSWORD", "PGHOSTADDR"} & made.keys()
