"""The check-up says of each process of a lab whether it answers, from where somebody stands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import keyturn
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.app.oversight.process_versions import wrong_version
from keyturn.wiring.lab import check_up
from support.labs import make_lab
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


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        pytest.param(b"keyturn_notify_looked_seconds 1.796e+09\n", "", id="it follows"),
        pytest.param(
            b"x 1\nkeyturn_notify_looked_seconds 1.7959e+09\n", "believes no log for 100000 s", id="not any more"
        ),
        pytest.param(b"keyturn_notify_looked_seconds 0.0\n", "believes no log since it began", id="never"),
        pytest.param(b"", "believes no log since it began", id="it does not say"),
    ],
)
def test_a_notifier_that_answers_and_believes_no_log_is_named(metrics: bytes, said: str) -> None:
    found = check_up.behind(metrics, now=1_796_000_000)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_a_process_of_another_version_is_named() -> None:
    lab = make_lab()
    own, asks = keyturn.__version__, replace(lab.state, limits=replace(lab.state.limits, version_min="9999.0.0"))
    with answering({"status": "pass", "version": own}) as url:
        assert check_up._version(HttpClient(url, timeout_s=5), lab.state) == ""
        assert "targets ask for 9999.0.0" in check_up._version(HttpClient(url, timeout_s=5), asks)
    with answering({"status": "pass"}) as url:
        assert "does not say" in check_up._version(HttpClient(url, timeout_s=5), lab.state)


@pytest.mark.parametrize(
    ("said", "least", "wrong"),
    [
        pytest.param("0.2.0", None, "", id="one's own"),
        pytest.param("0.1.9", None, "this is 0.2.0", id="another"),
        pytest.param("0.2.0", "0.2.0", "", id="the least"),
        pytest.param("0.2.0", "0.1.12", "", id="numbers, and no text"),
        pytest.param("0.2.0", "0.2.1", "0.2.1 at least: replace it", id="older, if one's own"),
        pytest.param("0.2.0rc1", "0.2.0", "0.2.0 at least: replace it", id="a pre-release"),
        pytest.param("0.2.0.dev3", "0.2.0", "0.2.0 at least: replace it", id="on its way there"),
        pytest.param("0.2.0+lab.1", "0.2.0", "this is 0.2.0", id="a build of the lab's own"),
        pytest.param("", "0.1.0", "nobody can tell", id="not said"),
        pytest.param("2", "0.1.0", "nobody can tell", id="of another form"),
        pytest.param("0.2.0\n", "0.1.0", "nobody can tell", id="with something behind it"),
    ],
)
def test_a_version_is_wrong_when_targets_ask_for_more_or_it_is_unknown(
    said: str, least: str | None, wrong: str
) -> None:
    found = wrong_version(said, own="0.2.0", least=least)
    assert (wrong in found, bool(found)) == (True, bool(wrong))


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
