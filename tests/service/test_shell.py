"""What every server does with clients that say nothing, or say it slowly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import pytest
import uvicorn
from litestar import Request, get, post
from litestar.response import Stream

from keyturn.service import connections, shell
from support.processes import wait_for

ANSWER_S = 0.6
ASKED: list[int] = []
"""One for each answer that `slow` began."""


class Impatient(connections.PatientWithFew):
    head_timeout_s = 0.2


@get("/")
async def slow() -> bytes:
    """Answers later than a head may come."""
    ASKED.append(1)
    await anyio.sleep(ANSWER_S)
    return b"done"


@post("/take", status_code=200)
async def take(request: Request[Any, Any, Any]) -> bytes:
    """Takes a body, whole."""
    return b"%d" % len(await request.body())


@get("/much")
async def much() -> Stream:
    """More than a connection holds while nobody reads it, piece by piece."""
    return Stream(iter([bytes(1 << 20)] * 32))


@pytest.fixture
def port() -> Iterator[int]:
    with served(Impatient, body_timeout_s=0.3) as found:
        yield found


PLACES = 6


@pytest.fixture
def few() -> Iterator[int]:
    """Where there are few places, and nobody is hurried."""
    with served(connections.PatientWithFew, body_timeout_s=30, limit_concurrency=PLACES) as found:
        yield found


@contextmanager
def served(protocol: type[connections.PatientWithFew], *, body_timeout_s: float, **more: Any) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        app = shell.build([slow, take, much], title="Slow", body_timeout_s=body_timeout_s)
        server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_level="warning", lifespan="on", **more))
        serving = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        serving.start()
        wait_for("the server", lambda: server.started or None)
        yield bound.getsockname()[1]
        server.should_exit = True
        serving.join()


def all_heard(client: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    return b"".join(iter(lambda: client.recv(1000), b""))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HT", id="half a line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n", id="half a head"),
    ],
)
def test_a_client_that_does_not_ask_is_sent_away(port: int, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(said)
        assert client.recv(100) == b""


def test_a_client_that_stops_in_its_second_request_is_sent_away(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        heard = b""
        while not heard.endswith(b"done"):
            heard += client.recv(1000)
        client.sendall(b"GET /")
        assert client.recv(100) == b""


def test_a_client_whose_body_never_ends_is_told_and_sent_away(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf")
        heard = all_heard(client)
    assert b"400 Bad Request" in heard
    assert b"body-too-slow" in heard


def test_a_whole_body_is_taken(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhalf")
        heard = all_heard(client)
    assert heard.endswith(b"4")


def test_a_client_that_asked_waits_for_its_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        heard = all_heard(client)
        assert heard.endswith(b"done")


BODY = b"POST /take HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\nhalf"


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n", b"", id="half a head"),
        pytest.param(BODY, b"HTTP/1.1 100", id="half a body"),
        pytest.param(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200", id="half an answer"),
    ],
)
def test_who_keeps_the_server_waiting_gives_his_place_to_who_asks(few: int, said: bytes, heard: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(PLACES - 1):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", few), timeout=10))
            client.sendall(said)
            assert client.recv(len(heard)) == heard
        # An answer is unread once the server could send no more of it, which takes it a moment.
        wait_for("an answer", lambda: taken(few).endswith(b"4") or None, deadline_s=5)


def taken(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhalf")
        return all_heard(client)


def test_who_is_being_answered_keeps_his_place(few: int) -> None:
    begun = len(ASKED)
    with ExitStack() as stack:
        asked = [
            stack.enter_context(socket.create_connection(("127.0.0.1", few), timeout=10)) for _ in range(PLACES - 1)
        ]
        for client in asked:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        wait_for("their questions", lambda: len(ASKED) == begun + PLACES - 1 or None)
        with socket.create_connection(("127.0.0.1", few), timeout=10) as late:
            late.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert all_heard(late).startswith(b"HTTP/1.1 503 ")
        assert all(all_heard(client).endswith(b"done") for client in asked)
