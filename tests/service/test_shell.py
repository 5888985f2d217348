"""What every server does with clients that say nothing, or say it slowly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import uvicorn
from litestar import Request, get, post

from keyturn.service import shell
from support.processes import wait_for

ANSWER_S = 0.6


class Impatient(shell.HeadInTime):
    head_timeout_s = 0.2


@get("/")
async def slow() -> bytes:
    """Answers later than a head may come."""
    await anyio.sleep(ANSWER_S)
    return b"done"


@post("/take", status_code=200)
async def take(request: Request[Any, Any, Any]) -> bytes:
    """Takes a body, whole."""
    return b"%d" % len(await request.body())


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        app = shell.build([slow, take], title="Slow", body_timeout_s=0.3)
        server = uvicorn.Server(uvicorn.Config(app, http=Impatient, log_level="warning", lifespan="on"))
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
