"""An exchange over HTTP ends in time, whatever the server does: it answers slowly, endlessly, or not at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from keyturn.adapters.over_http.bounded_http import BoundedHttp, TooLate, TooLong
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.adapters.over_http.witness_over_http import WitnessOverHttp
from keyturn.errors import Malformed, Unavailable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@contextmanager
def answering(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server whose one connection is handled by `answer`, which ends when the event is set."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                try:
                    answer(connection, done)
                except OSError:
                    pass  # the client hung up, as it should

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            done.set()
            thread.join(5)


def trickle(raw: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def answer(connection: socket.socket, done: threading.Event) -> None:
        for byte in raw:
            if done.wait(0.05):
                return
            connection.sendall(bytes([byte]))
        done.wait(30)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(trickle(HEAD % 100000 + b"x" * 100), id="a body that trickles"),
        pytest.param(trickle(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50), id="a head that trickles"),
        pytest.param(lambda _, done: done.wait(30) and None, id="nothing at all"),
    ],
)
def test_a_server_that_trickles_holds_nobody(answer: Callable[[socket.socket, threading.Event], None]) -> None:
    begin = time.monotonic()
    with answering(answer) as url, pytest.raises(TooLate):
        BoundedHttp(url, within_s=0.4, connections=1).exchange("GET", "/x", None, size_bytes_max=1 << 20)
    assert time.monotonic() - begin < 3


def test_an_answer_that_is_too_long_is_refused() -> None:
    with answering(lambda connection, _: connection.sendall(HEAD % 11 + b"x" * 11)) as url, pytest.raises(TooLong):
        BoundedHttp(url, within_s=5, connections=1).exchange("GET", "/x", None, size_bytes_max=10)


def test_a_whole_answer_in_time_is_given_and_the_connection_is_used_again() -> None:
    def twice(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(HEAD % 2 + b"ok")
        connection.recv(65536)
        connection.sendall(HEAD % 5 + b"again")

    with answering(twice) as url:
        http = BoundedHttp(url, within_s=5, connections=1)
        assert http.exchange("GET", "/x", None, size_bytes_max=10) == (200, b"ok")
        assert http.exchange("POST", "/x", b"y", size_bytes_max=10) == (200, b"again")


def test_who_asks_hears_what_is_wrong_by_name() -> None:
    with answering(trickle(b"HTTP")) as url, pytest.raises(Unavailable) as late:
        HttpClient(url, timeout_s=0.3).get("/x")
    assert late.value.code == "no-answer"
    with (
        answering(lambda connection, _: connection.sendall(HEAD % 9 + b"x" * 9)) as url,
        pytest.raises(Malformed) as much,
    ):
        HttpClient(url, timeout_s=5).get("/x", size_bytes_max=8)
    assert much.value.code == "answer-too-large"
    with answering(trickle(b"HTTP")) as url, pytest.raises(Unavailable) as witness:
        WitnessOverHttp(url, timeout_s=0.3).newest("acme.example/log")
    assert witness.value.code == "no-answer"
    many = HEAD % 70000 + b"x" * 70000
    with answering(lambda connection, _: connection.sendall(many)) as url, pytest.raises(Unavailable) as more:
        WitnessOverHttp(url, timeout_s=5).newest("acme.example/log")
    assert more.value.code == "witness-answer"


def test_what_went_wrong_names_the_address_and_nothing_of_this_program() -> None:
    with pytest.raises(TooLate, match=r"^127\.0\.0\.1:1: Failed to establish"):
        BoundedHttp("http://127.0.0.1:1", within_s=5, connections=1).exchange("GET", "/x", None, size_bytes_max=10)
    gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with answering(lambda connection, _: connection.sendall(gone)) as url, pytest.raises(Unavailable) as other:
        HttpClient(url, timeout_s=5).get("/checkpoint")
    assert other.value.message == f"`{url}/checkpoint` is not there"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_answer_that_points_elsewhere_is_followed_by_nobody(status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(0.2)
        there = f"http://127.0.0.1:{inside.getsockname()[1]}/latest/meta-data"
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode()
        with answering(lambda connection, _: connection.sendall(head)) as url:
            found, _ = BoundedHttp(url, within_s=5, connections=1).exchange(
                "GET", "/", None, size_bytes_max=100, headers={}
            )
        assert found == status
        with pytest.raises(TimeoutError):
            inside.accept()
