"""The running service against whoever asks too much, sends too much, or sends the same thing again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3

import keyturn
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.service.log_routes import RECORD_BYTES_MAX
from support.processes import wait_for
from support.signed_records import checkin, request

NOW = int(time.time())
HTTP = urllib3.PoolManager(retries=False, maxsize=16)


def submit(url: str, raw: bytes, **headers: str) -> urllib3.BaseHTTPResponse:
    return HTTP.request("POST", f"{url}/submit", body=raw, headers=headers)


def index_of(answer: urllib3.BaseHTTPResponse) -> int:
    assert answer.status == 200, answer.data
    found: int = answer.json()["index"]
    return found


@pytest.fixture
def slow(make_lab_on_disk: Callable[..., Any]) -> Iterator[tuple[Any, str]]:
    """A service that takes one record a second from each address."""
    lab = make_lab_on_disk()
    with lab.witness(), lab.serving("serve", "--rate", "1", name="service") as (_, url):
        wait_for("a checkpoint", lambda: HTTP.request("GET", f"{url}/checkpoint").status == 200 or None)
        yield lab, url


def test_who_submits_too_fast_is_told_to_wait_and_reads_on(slow: tuple[Any, str]) -> None:
    lab, url = slow
    answers = [submit(url, checkin(lab.lab, number, at=NOW)) for number in range(30)]
    assert {answer.status for answer in answers} == {200, 429}
    late = next(answer for answer in answers if answer.status == 429)
    assert late.headers["Content-Type"] == "application/problem+json"
    assert int(late.headers["Retry-After"]) == late.json()["retry_after_s"] == 1
    assert HTTP.request("GET", f"{url}/checkpoint").status == 200
    assert HTTP.request("GET", f"{url}/health").json() == {"status": "pass", "version": keyturn.__version__}


def test_a_forwarded_address_that_nobody_vouches_for_changes_nothing(slow: tuple[Any, str]) -> None:
    lab, url = slow
    statuses = {
        submit(url, checkin(lab.lab, number, at=NOW), **{"X-Forwarded-For": f"192.0.2.{number}"}).status
        for number in range(30)
    }
    assert statuses == {200, 429}


def test_a_page_of_another_name_that_became_this_machines_reads_nothing(slow: tuple[Any, str]) -> None:
    """DNS rebinding: its browser takes service and page for one origin. Whoever comes through a tunnel says any port."""
    lab, url = slow
    port = url.rpartition(":")[2]

    def code(host: str, path: str = "/index/kinds?kinds=req") -> str:
        answer = HTTP.request("GET", url + path, headers={"Host": host})
        return "" if answer.status == 200 else str(answer.json()["code"])

    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST:9000", "[::1]:9000", "127.0.0.1"):
        assert code(host) == "", host
    others = (f"evil.test:{port}", "127.0.0.1.evil.test", "localhost.evil.test", "0.0.0.0", "127.0.0.1@evil.test", "")
    for host in (*others, "localhost:", "keyturn.acme.example"):
        assert code(host) == "http-host", host
        assert code(host, "/checkpoint") == "http-host", host
    config = lab.path / "keyturn.toml"
    config.write_text('service = "http://keyturn.acme.example:8740"\n' + config.read_text())
    assert code("keyturn.acme.example:8740") == "", "the address that the operator gave it is its own"


def test_behind_a_proxy_each_forwarded_address_has_its_own_rate(make_lab_on_disk: Callable[..., Any]) -> None:
    lab = make_lab_on_disk()
    with lab.serving("serve", "--rate", "1", "--behind-proxy", name="service") as (_, url):

        def statuses(address: str) -> list[int]:
            return [submit(url, b"{}", **{"X-Forwarded-For": address}).status for _ in range(15)]

        assert 429 in statuses("192.0.2.1")
        assert statuses("192.0.2.2")[0] == 400
        assert (
            submit(url, b"{}", **{"X-Forwarded-For": "192.0.2.3, 192.0.2.1"}).status == 429
        )  # the last hop is who asks


def test_a_signer_whose_quota_is_used_up_is_told_when_there_is_room(make_lab_on_disk: Callable[..., Any]) -> None:
    lab = make_lab_on_disk()
    with lab.serving("serve", "--quota", "2", name="service") as (_, url):
        answers = [submit(url, checkin(lab.lab, number, at=NOW)) for number in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        said = answers[-1].json()
        assert said["code"] == "quota"
        assert 3500 < said["retry_after_s"] == int(answers[-1].headers["Retry-After"]) <= 3600
        assert submit(url, request(lab.lab, 1, at=NOW)).status == 200


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(make_lab_on_disk: Callable[..., Any]) -> None:
    lab = make_lab_on_disk()
    with lab.log() as (_, url):
        large = b"x" * (RECORD_BYTES_MAX + 1)
        declared = submit(url, large)
        chunked = HTTP.request("POST", f"{url}/submit", body=iter([large[:500_000], large[500_000:]]), chunked=True)
        for answer in (declared, chunked):
            assert (answer.status, answer.json()["code"]) == (413, "http-error")
        assert submit(url, b"x" * RECORD_BYTES_MAX).status == 400
        assert index_of(submit(url, request(lab.lab, 1, at=NOW))) == 2


def test_the_same_record_again_has_the_same_index_and_is_in_the_log_once(make_lab_on_disk: Callable[..., Any]) -> None:
    lab = make_lab_on_disk()
    raw = request(lab.lab, 1, at=NOW)
    with lab.witness():
        with lab.log() as (process, url):
            with ThreadPoolExecutor(8) as pool:
                together = threading.Barrier(8)

                def at_once(_: int) -> int:
                    together.wait()
                    return index_of(submit(url, raw))

                assert set(pool.map(at_once, range(8))) == {2}
            process.kill()
        with lab.log() as (_, url):
            assert index_of(submit(url, raw)) == 2
            assert index_of(submit(url, request(lab.lab, 2, at=NOW))) == 3
            log = LogOverHttp(url)
            newest = partial(HTTP.request, "GET", f"{url}/checkpoint")
            wait_for("a checkpoint over all of it", lambda: b"\n4\n" in newest().data or None)
            log.checkpoint()
            assert len(set(log.leaves(0, 4))) == 4


def test_a_client_that_sends_nothing_more_holds_no_place(make_lab_on_disk: Callable[..., Any], tmp_path: Path) -> None:
    """The head of a request is waited for 10 s at most; that the server's own time-outs are in force is what is shown."""
    import socket

    lab = make_lab_on_disk()
    with lab.log() as (_, url):
        port = int(url.rpartition(":")[2])
        idle = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(40)]
        assert json.loads(HTTP.request("GET", f"{url}/health").data) == {
            "status": "pass",
            "version": keyturn.__version__,
        }
        for client in idle:
            assert client.recv(1) == b""
            client.close()
