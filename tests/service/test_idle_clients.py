"""The real processes against whoever opens connections and says nothing: he holds no place that somebody else needs."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import urllib3

from keyturn.service.connections import CONNECTIONS_MAX

IDLE = 300
SAID = (
    b"",
    b"GET /health HTTP/1.1\r\nHost: local",
    b"POST /submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
)
ANSWERED_WITHIN_S = 2.0


@contextmanager
def idle(url: str, count: int) -> Iterator[list[socket.socket]]:
    """So many connections from one address, of which each third says nothing, half a head, or half a body."""
    port = int(url.rpartition(":")[2])
    with ExitStack() as stack:
        found = []
        for number in range(count):
            one = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=("127.0.0.2", 0))
            found.append(stack.enter_context(one))
            one.sendall(SAID[number % len(SAID)])
        yield found


def test_300_who_say_nothing_keep_nobody_out(make_lab_on_disk: Callable[..., Any]) -> None:
    assert IDLE > CONNECTIONS_MAX
    lab = make_lab_on_disk()
    with lab.witness() as (_, witness), lab.log() as (_, service), lab.gate() as (_, gate):
        for url in (service, gate, witness):
            with idle(url, IDLE):
                for _ in range(3):
                    begun = time.monotonic()
                    with urllib3.PoolManager(retries=False, timeout=10) as http:
                        assert http.request("GET", f"{url}/health").status == 200, url
                    assert time.monotonic() - begun < ANSWERED_WITHIN_S, url


def test_who_asks_slowly_loses_no_place_to_the_flood_of_another_address(make_lab_on_disk: Callable[..., Any]) -> None:
    with make_lab_on_disk().log() as (_, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
            slow.sendall(SAID[1])
            with idle(url, IDLE) as flood:
                slow.sendall(b"host\r\n\r\n")
                assert slow.recv(100).startswith(b"HTTP/1.1 200 ")
                assert flood[0].recv(1) == b"", "the flood loses places of its own"


def test_an_upload_that_breaks_off_changes_nothing(make_lab_on_disk: Callable[..., Any]) -> None:
    lab = make_lab_on_disk()
    with lab.witness(), lab.log() as (_, service), lab.gate() as (_, gate):
        packs, gates = (sorted(Path(lab.path, place).rglob("*")) for place in ("log/envelopes", "gates"))
        sizes = [path.stat().st_size for path in packs]
        assert sizes
        for url, path in ((service, "submit"), (gate, "release"), (gate, "negative")):
            port = int(url.rpartition(":")[2])
            head = f"POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
            with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
                one.sendall(head.encode() + b'{"payload":"' + b"A" * 50000)
                one.shutdown(socket.SHUT_WR)
                said = one.recv(1000)
            assert not said.startswith(b"HTTP/1.1 2"), (path, said)
            with urllib3.PoolManager(retries=False, timeout=10) as http:
                assert http.request("GET", f"{url}/health").status == 200
        assert [path.stat().st_size for path in packs] == sizes
        assert sorted(Path(lab.path, "gates").rglob("*")) == gates
