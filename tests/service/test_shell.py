"""What every server does with clients that say nothing, or say it slowly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import anyio
import pytest
import uvicorn
from litestar import get

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


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        server = uvicorn.Server(uvicorn.Config(shell.build([slow]), http=Impatient, log_level="warning", lifespan="on"))
        serving = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        serving.start()
        wait_for("the server", lambda: server.started or None)
        yield bound.getsockname()[1]
        server.should_exit = True
        serving.join()


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


def test_a_client_that_asked_waits_for_its_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        heard = b""
        while chunk := client.recv(1000):
            heard += chunk
        assert heard.endswith(b"done")
