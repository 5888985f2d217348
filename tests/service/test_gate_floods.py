"""Whoever reaches a gate's port sends it whatever he likes, as often as he likes: what takes access away gets through."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import threading
import time
from contextlib import ExitStack

import httpx
import msgspec

from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.files.run_files import find
from keyturn.adapters.over_http.gates_at_once import WITHIN_S
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.app.records.sign_record import about
from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import access, dsse, gate_answer, release_order, statement
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.dsse import Envelope
from keyturn.formats.release_order import ReleaseOrder
from keyturn.formats.statement import DigestSet, Subject
from keyturn.grants import bundle
from keyturn.service.host_gate import create_app
from keyturn.service.release_gate import WAITING_MAX
from keyturn.service.taking_away import LOOK_WITHIN_S
from service.test_gates_hear import GATE, Served, founded, served
from support import event_loop

__all__ = ["founded", "served"]

MODEL = "keyturn://acme.example/model/aurora"
STRANGER = SoftwareKey.generate()


def test_a_flood_of_orders_before_a_log_that_hangs_keeps_no_gate_from_hearing(served: Served) -> None:
    """A stranger makes up orders; whoever took the log over answers nothing: each order waits for that, and no denial does."""
    people, service = served.people, served.processes["service"]
    asked = made_up()
    order, bobs_key = order_for(asked), read_key(people.place / "bob" / "keys" / "member.pem", passphrase=None)
    url = str(find(people.lab / "run", "gate-release"))
    HttpClient(url).post("/negative", denial(asked, bobs_key))
    host, _, port = url.removeprefix("http://").partition(":")
    head = f"POST /release HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(order)}\r\n\r\n".encode()
    service.signal(signal.SIGSTOP)
    try:
        with ExitStack() as stack:
            flood = [
                stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
                for _ in range(2 * WAITING_MAX)
            ]
            for one in flood:
                one.sendall(head + order)
            answered, _, _ = select.select(flood, [], [], 10)
            raw = denial(asked, bobs_key)
            said = HttpClient(url, timeout_s=WITHIN_S).post("/negative", raw)
            busy = answered[0].recv(4096)
    finally:
        service.signal(signal.SIGCONT)
    assert gate_answer.parse(said)[1].record == dsse.parse_own(raw).record_digest
    assert b"503" in busy.splitlines()[0]
    assert b"gate-busy" in busy


def test_a_flood_of_pushes_is_one_look_at_the_log_and_delays_no_true_one() -> None:
    """However a gate looks at the log, and however long: 200 pushes have one thread do it, and what is no push has none."""
    looks: list[int] = []
    over = threading.Event()

    def look() -> None:
        looks.append(1)
        over.wait(30)

    app = create_app(obey=lambda raw: raw, look=look, about={})
    pushed = denial(made_up(), STRANGER)

    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # Litestar's types are narrower than httpx's

    async def flood() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            junk = [await client.post("/negative", content=os.urandom(64)) for _ in range(3)]
            assert ({one.status_code for one in junk}, looks) == ({400}, [])
            pushes = [client.post("/negative", content=pushed) for _ in range(200)]
            answers = await asyncio.wait_for(asyncio.gather(*pushes), LOOK_WITHIN_S + 20)
            assert ({one.content for one in answers}, looks) == ({pushed}, [1])
            over.set()
            await client.post("/negative", content=pushed)
            assert len(looks) > 1, "who comes later has a look of his own"

    event_loop.run(flood())


def made_up() -> Envelope:
    """A request to release, by somebody who is none of the lab."""
    now = int(time.time())
    made = AccessRequest(
        lab="acme.example",
        nonce=os.urandom(16).hex(),
        requester="ada",
        key=STRANGER.public.keyid,
        beneficiary="ada",
        action="model:release",
        resource=MODEL,
        permit="release",
        gate=GATE,
        justification="to keep it busy",
        not_before=now,
        start_by=now + 3600,
        not_after=now + 7200,
        duration_s=600,
        trust_version=1,
    )
    subjects = (Subject(digest=DigestSet(sha256="0" * 64), name=MODEL),)
    return dsse_signing.sign(statement.make(made, access.ACCESS_REQUEST, subjects), STRANGER)


def order_for(asked: Envelope) -> bytes:
    made = bundle.render(bundle.make(asked, ()))
    return release_order.render(
        ReleaseOrder(bundle=msgspec.Raw(made), model="dirHash:" + "0" * 64, size=1, as_of=1, path=None, version=1)
    )


def denial(asked: Envelope, key: SoftwareKey) -> bytes:
    now = int(time.time())
    made = HumanAuthorization(
        lab="acme.example",
        nonce=os.urandom(16).hex(),
        approver="bob",
        key=key.public.keyid,
        request=asked.record_digest,
        trust_version=1,
        decision="deny",
        reason="no",
        signed_at=now,
        expires_at=now + 3600,
    )
    return dsse.render(
        dsse_signing.sign(statement.make(made, access.HUMAN_AUTHORIZATION, about(asked.record_digest)), key)
    )
