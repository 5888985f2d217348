"""Whoever denies, revokes or suspends hears gate by gate whether it is in force there, from real processes."""

from __future__ import annotations

import json
import re
import shutil
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyturn.adapters.files.run_files import find
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.errors import KeyturnError
from support.commands import KEYTURN
from support.members import People
from support.processes import Process, running, wait_for, wait_for_file

GATE = "keyturn://acme.example/gate/release"
DENY = ("--reason", "not now", "--yes")


@dataclass
class Served:
    """A lab whose witness, log and gate run, each by name."""

    people: People
    processes: dict[str, Process]

    def says(self, member: str, *words: str) -> tuple[int, Any, str]:
        """The exit status of a command, its result as JSON, and the code of its error."""
        done = self.people.run(member, *words, "--json")
        last = (done.stderr.splitlines() or ["{}"])[-1]
        code = json.loads(last).get("error", {}).get("code", "")
        return done.returncode, json.loads(done.stdout or "null"), code


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = People(tmp_path_factory.mktemp("founded"))
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    return people.place


@pytest.fixture
def served(founded: Path, tmp_path: Path) -> Iterator[Served]:
    people = People(shutil.copytree(founded, tmp_path / "people"))
    with ExitStack() as stack:
        processes = {}
        for name, words in (
            ("witness-north", ("witness", "serve", "north")),
            ("service", ("serve",)),
            ("gate-release", ("gate", "serve")),
        ):
            processes[name] = stack.enter_context(serving(people, name, *words))
            if name == "service":
                wait_for_file(people.lab / "log" / "checkpoint", processes[name])
        yield Served(people, processes)


@contextmanager
def serving(people: People, name: str, *words: str) -> Iterator[Process]:
    environment = {"KEYTURN_HOME": str(people.place / "ada")}
    with running([*KEYTURN, *words, "--lab", people.lab], environment=environment) as process:
        wait_for(f"`{name}`", lambda: find(people.lab / "run", name), process)
        yield process


def test_a_denial_a_revocation_and_a_suspension_are_in_force_at_the_gate(served: Served) -> None:
    by = served.people.by
    denied = by("bob", "deny", served.people.ask(), *DENY)
    revoked = by("bob", "grant", "revoke", served.people.ask(), *DENY)
    withdrawn = by("ada", "grant", "withdraw", served.people.ask(), "--yes")
    suspended = by("bob", "trust", "suspend", "--member", "ada", *DENY)
    for one in (denied, revoked, withdrawn, suspended):
        [at_gate] = one["gates"]
        assert (at_gate["gate"], at_gate["in_force"], at_gate["acted"]) == (GATE, True, False)
        assert at_gate["size"] > 0
        assert one["witnessed_at"] > 0
    kept = served.people.lab / "gates" / "release" / "state" / "pushed"
    assert len(list(kept.iterdir())) == 4


def test_a_person_reads_it_in_a_table(served: Served) -> None:
    done = served.people.run("bob", "deny", served.people.ask(), *DENY)
    assert done.returncode == 0
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
        ["gate", "state"],
        [GATE, "IN", "FORCE"],
    ]


def test_a_gate_that_does_not_run_is_said_and_the_exit_status_is_3(served: Served) -> None:
    asked = served.people.ask()
    served.processes["gate-release"].kill()
    status, said, code = served.says("bob", "deny", asked, *DENY)
    assert (status, code) == (3, "gate-not-in-force")
    assert said["witnessed_at"] > 0
    [at_gate] = said["gates"]
    assert (at_gate["in_force"], at_gate["code"]) == (False, "gate-address")
    done = served.people.run("bob", "trust", "suspend", "--member", "ada", *DENY)
    assert done.returncode == 3
    assert "NOT IN FORCE" in done.stdout
    assert "NOT IN FORCE" in done.stderr


def test_a_gate_that_nobody_told_has_what_reaches_the_log_in_force_within_seconds(served: Served) -> None:
    asked = served.people.ask()
    run = served.people.lab / "run" / "gate-release.json"
    url = find(run.parent, "gate-release")
    run.rename(run.with_suffix(".away"))
    status, said, code = served.says("bob", "deny", asked, *DENY)
    assert (status, code, said["gates"][0]["code"]) == (3, "gate-not-in-force", "gate-address")
    size = len(served.people.by("bob", "log", "show", "--last", "1000")["entries"])

    def has_read() -> bool | None:
        found = re.search(r"^keyturn_gate_log_entries (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
        assert found is not None
        return float(found[1]) >= size or None

    wait_for("the gate to read the denial", has_read, deadline_s=10)
    assert not (served.people.lab / "gates" / "release" / "state" / "pushed").exists()


@pytest.mark.parametrize("answer", [b"{}", b"x" * 100_000, None], ids=["a lie", "a flood", "nothing, for ever"])
def test_whoever_answers_in_a_gates_place_is_not_believed(served: Served, answer: bytes | None) -> None:
    asked = served.people.ask()
    served.processes["gate-release"].kill()
    with liar(answer) as url:
        config = served.people.lab / "keyturn.toml"
        config.write_text(config.read_text() + f'\n[processes]\ngate-release = "{url}"\n')
        status, said, code = served.says("bob", "deny", asked, *DENY)
    assert (status, code, said["gates"][0]["in_force"]) == (3, "gate-not-in-force", False)


def test_a_gate_obeys_while_no_witness_cosigns_and_keeps_it_for_when_it_starts_again(served: Served) -> None:
    asked = served.people.ask()
    served.people.by("bob", "approve", asked, "--yes")
    served.processes["witness-north"].kill()
    done = served.people.run("bob", "deny", asked, *DENY, "--json")
    *notes, last = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, last["error"]["code"]) == (3, "not-in-force")
    assert f"{GATE}  IN FORCE" in notes[-1]["note"]
    kept = served.people.lab / "gates" / "release" / "state" / "pushed"
    [path] = kept.iterdir()
    assert b'"decision":"deny"' in b64decode(json.loads(path.read_bytes())["payload"])


def test_a_gate_hears_nothing_that_is_too_large_or_no_record(served: Served) -> None:
    url = find(served.people.lab / "run", "gate-release")
    assert url is not None
    client = HttpClient(url)
    for body in (b"", b"{}", b"\x00" * 1000, b"x" * 70_000):
        with pytest.raises(KeyturnError):
            client.post("/negative", body)
    assert not (served.people.lab / "gates" / "release" / "state" / "pushed").exists()


@contextmanager
def liar(answer: bytes | None) -> Iterator[str]:
    """A server that says `answer` to everything; with None, nothing until it is stopped."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if answer is None:
                stopped.wait()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
