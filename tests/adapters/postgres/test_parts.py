"""Parts of the log in PostgreSQL that need no server: the store's URL, and which subtrees become complete. And passwords."""

from __future__ import annotations

import subprocess
import sys
import traceback
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.adapters.postgres.connections import Connections
from keyturn.adapters.postgres.place import StorePlace
from keyturn.adapters.postgres.subtrees import completed
from keyturn.errors import Unavailable, Usage
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from support.postgresql import Store

SECRET = "of three words"
TYPED = SECRET.replace(" ", "%20")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(
            "postgresql://ada@/lab?host=/run/pg", {"host": "/run/pg", "user": "ada", "dbname": "lab"}, id="a socket"
        ),
        pytest.param(
            "postgresql://ada@%2Frun%2Fpg/lab",
            {"host": "/run/pg", "user": "ada", "dbname": "lab"},
            id="a socket as host",
        ),
        pytest.param(
            "postgresql://ada@localhost:5433/lab",
            {"host": "localhost", "port": "5433", "user": "ada", "dbname": "lab"},
            id="this machine",
        ),
        pytest.param(
            "postgresql://a%40b:p%3Aw@db.acme.example/lab",
            {
                "host": "db.acme.example",
                "user": "a@b",
                "dbname": "lab",
                "sslmode": "verify-full",
                "sslrootcert": "system",
                "password": "p:w",
            },
            id="another machine proves who it is",
        ),
        pytest.param(
            "postgresql://ada@db/lab?sslrootcert=/etc/ca.pem",
            {"host": "db", "user": "ada", "dbname": "lab", "sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"},
            id="by a certificate of our own",
        ),
        pytest.param(
            "postgresql://ada@10.0.0.9/lab?sslmode=disable",
            {"host": "10.0.0.9", "user": "ada", "dbname": "lab", "sslmode": "disable"},
            id="unless the URL says otherwise",
        ),
    ],
)
def test_a_url_says_where_the_database_is_and_how_to_get_there(url: str, expected: dict[str, str]) -> None:
    assert dict(StorePlace.parse(url).parameters) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://ada:SECRET@db/lab",
        "postgres://ada:SECRET@db/lab",
        "postgresql://db/lab",
        "postgresql://ada:SECRET@db",
        "postgresql://ada:SECRET@db/lab/more",
        "postgresql://ada:SECRET@/lab",
        "postgresql://ada:SECRET@db:port/lab",
        "postgresql://ada:SECRET@[::1/lab",
        "postgresql://ada:SECRET@db/lab?options=-cfsync%3Doff",
        "postgresql://ada:SECRET@db/lab?password=SECRET",
        "postgresql://ada:SECRET@db/lab?host=a&host=b",
        "postgresql://ada:SECRET@db/lab?host",
        "postgresql://ada:SECRET@db/lab#SECRET",
        "postgresql://ada:SECRETé@db/lab",
        "postgresql://ada:SECRET\n@db/lab",
        "postgresql://ada:SECRET@db/" + "x" * 2000,
    ],
)
def test_what_is_no_such_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Usage) as caught:
        StorePlace.parse(url)
    said = "".join(traceback.format_exception_only(caught.value)) + caught.value.hint + caught.value.detail
    assert caught.value.code == "store-url"
    assert "SECRET" not in said


def test_a_password_is_used_and_never_shown(store: Store, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    place = StorePlace.parse(store.url(f"guarded:{TYPED}"))
    assert SECRET not in f"{place} {place!r} {place.host} {place.options}"
    with closing(Connections(place)) as connections:
        assert connections.read("SELECT current_user::text") == [("guarded",)]
        with connections.borrowed() as db:
            assert SECRET not in f"{db!r} {db.info.dsn}"
    other = StorePlace.parse(store.url("guarded:of%20four%20words"))
    with (
        closing(Connections(other)) as wrong,
        pytest.raises(Unavailable, match="password authentication failed") as caught,
    ):
        wrong.read("SELECT 1")
    said = "".join(traceback.format_exception(caught.value)) + caught.value.detail
    assert "of four words" not in said
    assert "four%20words" not in said
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"*:*:*:guarded:{SECRET}\n")
    passfile.chmod(0o600)
    with closing(store.connections("guarded")) as connections:
        with pytest.raises(Unavailable, match="no password supplied"):
            connections.read("SELECT 1")
        monkeypatch.setenv("PGPASSFILE", str(passfile))
        assert connections.read("SELECT current_user::text") == [("guarded",)]


def test_without_the_extra_it_is_said_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import keyturn.wiring.log.log, keyturn.wiring.log.store\n"
        "from keyturn.adapters.postgres.place import StorePlace\n"
        "keyturn.wiring.log.store.new_store(StorePlace.parse('postgresql://ada@/lab?host=/run'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "[store-not-installed]" in done.stderr.splitlines()[-1]


def test_a_server_that_is_not_there_is_unavailable_and_its_place_is_no_callers_business(tmp_path) -> None:  # type: ignore[no-untyped-def]
    place = StorePlace.parse(f"postgresql://ada@/lab?host={tmp_path}")
    with closing(Connections(place)) as connections, pytest.raises(Unavailable, match="store-unreachable") as caught:
        connections.read("SELECT 1")
    assert str(tmp_path) not in f"{caught.value} {caught.value.hint}"
    assert str(tmp_path) in caught.value.detail


@given(st.integers(0, 140_000), st.lists(st.integers(1, 1024), min_size=1, max_size=3))
def test_the_subtrees_that_become_complete_are_those_of_the_tree(start: int, counts: list[int]) -> None:
    hashes = [number.to_bytes(32, "big") for number in range(start + sum(counts))]
    frontier = Frontier.empty().extend_hashes(hashes[:start])
    found = []
    for count in counts:
        new = hashes[frontier.size : frontier.size + count]
        found += completed(frontier, new)
        frontier = frontier.extend_hashes(new)
    expected = []
    for level in (1, 2):
        width = 256**level
        for index in range(start // width, frontier.size // width):
            (node,) = Frontier.empty().extend_hashes(hashes[index * width : (index + 1) * width]).nodes
            expected.append((level, index, node))
    assert sorted(found) == sorted(expected)
    assert merkle.EMPTY_ROOT not in [node for _, _, node in found]
