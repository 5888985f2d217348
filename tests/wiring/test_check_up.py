"""The check-up says of each process of a lab whether it answers, from where somebody stands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import keyturn
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.wiring import check_up
from support.members import People

pytestmark = pytest.mark.timeout(300)


def test_a_process_that_does_not_run_is_named_and_one_that_answers_is_ok(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    with people.served():
        people.by("ada", "notify", "init")
        found = {one["check"]: one for one in people.by("ada", "doctor")}
        assert [found[name]["level"] for name in ("service", "witness-north", "gate-release")] == ["ok"] * 3
        assert "acme.example/gate/release" in found["gates"]["found"]
        assert (found["notify"]["level"], "does not run" in found["notify"]["found"]) == ("warning", True)
    found = {one["check"]: one for one in people.by("ada", "doctor")}
    for name in ("service", "witness-north", "notify", "gate-release"):
        assert (found[name]["level"], found[name]["hint"]) == ("warning", "keyturn up, where it runs")


def test_a_process_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({"status": "pass", "version": keyturn.__version__}) as url:
        assert check_up._other_version(HttpClient(url, timeout_s=5)) == ""
        monkeypatch.setattr(check_up, "version", lambda _: "9.9.9")
        assert "this is 9.9.9" in check_up._other_version(HttpClient(url, timeout_s=5))
    with answering({"status": "pass"}) as url:
        assert "does not say" in check_up._other_version(HttpClient(url, timeout_s=5))


@contextmanager
def answering(said: dict[str, str]) -> Iterator[str]:
    """An HTTP server that gives `said` to everybody; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            raw = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
