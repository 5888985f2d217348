"""The signing page on another operator's host, in a real browser: what goes where, and what it refuses."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.sign_page.files import pages_elsewhere
from keyturn.adapters.sign_page.passkey import PasskeySigner, answer_to
from keyturn.adapters.sign_page.task import Task
from keyturn.app.trust.check_page import check_page
from keyturn.crypto.credentials import Credential
from keyturn.errors import Refused, Tampered, Unavailable, Usage
from keyturn.formats import base64_text, enrolment
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.enrolment import Invitation
from keyturn.grants.verify_grant import verify_grant
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import SigningPage
from keyturn.wiring.keys.new_keys import new_passkey
from support.authenticators import SshHolder
from support.commands import KEYTURN
from support.https import Certificate, serving_files
from support.labs import NOW, make_key
from support.world import make_world

pytestmark = pytest.mark.xdist_group("chromium")

EVE = SshHolder(make_key("eve's key"), "ssh:")


@pytest.fixture
def seen() -> list[str]:
    """What the other operator's server was asked for."""
    return []


@pytest.fixture
def page(certificate: Certificate, seen: list[str]) -> Iterator[str]:
    with serving_files(certificate, pages_elsewhere(), seen) as origin:
        yield origin


def invitation() -> bytes:
    return enrolment.render_invitation(
        Invitation(lab="acme.example", member="bob", kind="human", nonce="0" * 32, until=NOW + 10**9)
    )


def test_a_passkey_made_elsewhere_approves_in_production_and_its_server_sees_nothing(
    person: Any, page: str, seen: list[str]
) -> None:
    made = new_passkey(invitation(), origin=page, open_page=person.open)
    enrolled: EnrolledKey = made.accepted.key
    assert enrolled.rp_id == "sign.test"
    pages = (SigningPage(page, "sign.test", "other"),)
    credential = Credential.of(enrolled, origins=frozenset({page}))
    world = make_world(
        profile="production",
        witnesses=("north", "south", "west"),
        credentials={"bob": credential, "eve": EVE.credential},
        pages=pages,
    )
    asked = world.ask()
    signer = PasskeySigner(
        world.lab.state.roster.credential(enrolled), request_of=lambda digest: asked.payload, open_page=person.open
    )
    world.held.update({"bob": signer, "eve": EVE})
    given = (world.approve(asked, "bob"), world.approve(asked, "eve"))
    bundle = world.bundle(asked, *given)
    granted = verify_grant(
        bundle, world.view(), now=world.now, gate=world.gate, session_key=world.session.public, facts=NO_FACTS
    ).granted
    assert set(granted.approvers) == {"bob", "eve"}
    assert person.said.startswith("Done")
    assert asked.record_digest in person.shown
    assert set(seen) <= {"/", "/sign.js", "/style.css", "/favicon.ico"}
    assert all(url.startswith((page, "http://127.0.0.1:")) for url in person.requests)


def task() -> Task:
    return Task(purpose="record", payload=base64_text.encode(b'{"a":1}'), rp_id="sign.test", credential="AAAA")


def test_a_person_who_declines_elsewhere_has_signed_nothing(person: Any, page: str) -> None:
    person.press = "decline"
    with pytest.raises(Usage, match="not-confirmed"):
        answer_to(task(), origin=page, open_page=person.open, within_s=20)
    assert person.said.startswith("Not signed")


def test_the_page_elsewhere_refuses_what_could_read_differently(person: Any, page: str) -> None:
    bad = Task(purpose="record", payload=base64_text.encode(b'{"a": 1}'), rp_id="sign.test", credential="AAAA")
    with pytest.raises((Refused, Unavailable), match="signing-page"):
        answer_to(bad, origin=page, open_page=person.open, within_s=3)
    assert "not canonical" in person.said


@pytest.mark.parametrize(
    "reply",
    [
        "https://evil.test/0123456789abcdef0123/",
        "http://127.0.0.1:1@evil.test/0123456789abcdef0123/",
        "http://127.0.0.1:80/0123456789abcdef0123/../x/",
        "//evil.test/",
        "",
    ],
)
def test_an_answer_goes_to_the_persons_own_machine_or_nowhere(person: Any, page: str, reply: str) -> None:
    given = json.dumps({"reply": reply, "task": {"a": 1}}, separators=(",", ":"), sort_keys=True).encode()
    person.open(f"{page}/#{base64.urlsafe_b64encode(given).decode().rstrip('=')}")
    assert "would not go to this machine" in person.said
    assert all(url.startswith(page) for url in person.requests)


def test_a_page_inside_another_page_signs_nothing(person: Any, certificate: Certificate, page: str) -> None:
    frame = f'<!doctype html><p id="status"></p><iframe id="f" src="{page}/#AAAA"></iframe>'.encode()
    with serving_files(certificate, {"index.html": frame}, []) as outer:
        context = person.browser.new_context()
        try:
            opened = context.new_page()
            opened.goto(outer)
            inner = opened.frame_locator("#f").locator("#status.no")
            inner.wait_for()
            assert "inside another" in inner.inner_text()
        finally:
            context.close()


def test_what_takes_the_answer_answers_the_page_alone(page: str) -> None:
    seen: dict[str, int] = {}

    def visit(url: str) -> None:
        raw = url.partition("#")[2]
        reply = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))["reply"]
        host, _, path = reply.removeprefix("http://").partition("/")

        def ask(method: str, name: str, body: bytes = b"", **headers: str) -> int:
            client = http.client.HTTPConnection(host, timeout=5)
            client.request(method, f"/{name}", body or None, {"Host": host, **headers})
            status = client.getresponse().status
            client.close()
            return status

        own = {"Origin": page}
        seen["nothing to see"] = ask("GET", path)
        seen["no task"] = ask("GET", f"{path}task")
        seen["guessed"] = ask("POST", "guess/answer", b"body=1", **own)
        seen["other origin"] = ask("POST", f"{path}answer", b"body=1", Origin="https://evil.test")
        seen["no origin"] = ask("POST", f"{path}answer", b"body=1")
        seen["null origin"] = ask("POST", f"{path}answer", b"body=1", Origin="null")
        seen["rebound"] = ask("POST", f"{path}answer", b"body=1", Host="evil.test", **own)
        seen["taken"] = ask("POST", f"{path}answer", b"body=%7B%22x%22%3A1%7D", **own)
        seen["twice"] = ask("POST", f"{path}answer", b"body=2", **own)

    assert answer_to(task(), origin=page, open_page=visit, within_s=20) == b'{"x":1}'
    assert seen == {
        "nothing to see": 404,
        "no task": 404,
        "guessed": 404,
        "other origin": 403,
        "no origin": 403,
        "null origin": 403,
        "rebound": 404,
        "taken": 200,
        "twice": 409,
    }


@pytest.mark.parametrize("origin", ["http://sign.test", "https://sign.test/x", "https://", "ftp://sign.test"])
def test_a_page_is_on_localhost_or_on_https(origin: str) -> None:
    with pytest.raises(Usage, match="signing-page-elsewhere"):
        answer_to(task(), origin=origin, open_page=lambda url: None, within_s=0.01)


def test_the_page_that_somebody_serves_is_compared_with_the_one_that_is_shipped(tmp_path: Path) -> None:
    shipped = pages_elsewhere()
    done = subprocess.run(
        [*KEYTURN, "sign-page", "export", str(tmp_path / "page"), "--json"], capture_output=True, check=True, timeout=60
    )
    written = {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()}
    assert written == shipped
    assert json.loads(done.stdout)["files"].keys() == {str(tmp_path / "page" / name) for name in shipped}
    found = check_page("https://sign.test", shipped, lambda path: written[path.strip("/") or "index.html"])
    assert found.files.keys() == shipped.keys()
    other = written | {"sign.js": written["sign.js"] + b"//"}
    with pytest.raises(Tampered, match="signing-page-other"):
        check_page("https://sign.test", shipped, lambda path: other[path.strip("/") or "index.html"])
