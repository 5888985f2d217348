"""Approve with a passkey in a real browser: what the page shows, what it refuses, and what the kernel makes of it."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyturn.adapters.sign_page.answering import CSP
from keyturn.adapters.sign_page.files import page_file, pages_elsewhere
from keyturn.adapters.sign_page.passkey import PasskeySigner, answer_to
from keyturn.adapters.sign_page.task import Task
from keyturn.crypto import webauthn as verifier
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import sign, verify_user_verified
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.webauthn import RelyingParty
from keyturn.errors import KeyturnError, Refused, Unavailable, Usage
from keyturn.formats import base64_text, statement
from keyturn.formats.access import AccessRequest
from keyturn.formats.dsse import IN_TOTO, Envelope, pae
from keyturn.formats.plain_text import plain
from keyturn.formats.webauthn import parse
from keyturn.grants.verify_grant import VerifiedGrant, verify_grant
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import SigningPage
from support.authenticators import SshHolder
from support.labs import make_key
from support.world import World, make_world

pytestmark = pytest.mark.xdist_group("chromium")

SECURITY_KEY = SshHolder(make_key("eve's key"), "ssh:")
HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script> javascript:alert(3) ${alert(4)} "
    "\u202egpj.exe\u202c </td></table><h2>The request</h2>"
)


@dataclass
class Lab:
    """A lab in production whose bob approves with a passkey in the browser of `person`."""

    world: World
    person: Any
    credential: Credential
    within_s: float = 20.0

    def signer(self, *, request_of: Any = None, open_page: Any = None) -> PasskeySigner:
        return PasskeySigner(
            self.credential,
            request_of=request_of or (lambda digest: self.requests[digest]),
            open_page=open_page or self.person.open,
            within_s=self.within_s,
        )

    @property
    def requests(self) -> dict[str, bytes]:
        return {self.asked.record_digest: self.asked.payload}

    def ask(self, **changed: object) -> Envelope:
        self.asked = self.world.ask(self.world.request(**changed))
        return self.asked

    def opened(self, *approvals: Envelope) -> VerifiedGrant:
        world = self.world
        return verify_grant(
            world.bundle(self.asked, *approvals),
            world.view(),
            now=world.now,
            gate=world.gate,
            session_key=world.session.public,
            facts=NO_FACTS,
        )


@pytest.fixture
def lab(person: Any, origin: str) -> Lab:
    private = ec.generate_private_key(ec.SECP256R1())
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pkcs8 = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    held = base64.b64encode(b"bob's passkey").decode()
    person.credentials = [
        {
            "credentialId": held,
            "isResidentCredential": False,
            "rpId": "localhost",
            "privateKey": base64.b64encode(pkcs8).decode(),
            "signCount": 0,
        }
    ]
    party = RelyingParty("localhost", frozenset({origin}))
    credential = Credential(PublicKey.from_spki(spki), "webauthn", id=held, party=party)
    world = make_world(
        profile="production",
        witnesses=("north", "south", "west"),
        credentials={"bob": credential, "eve": SECURITY_KEY.credential},
        pages=(SigningPage(origin, "localhost", None),),
    )
    made = Lab(world, person, credential)
    world.held.update({"bob": made.signer(), "eve": SECURITY_KEY})
    return made


def code_of(error: pytest.ExceptionInfo[KeyturnError]) -> str:
    return error.value.code


def test_an_approval_with_user_verification_counts_in_production(lab: Lab) -> None:
    asked = lab.ask()
    grant = lab.opened(lab.world.approve(asked, "bob"), lab.world.approve(asked, "eve"))
    assert (set(grant.granted.approvers), grant.granted.profile) == ({"bob", "eve"}, "production")
    assert lab.person.said.startswith("Done")


def test_the_page_shows_every_field_of_the_authorization_and_of_its_request(lab: Lab) -> None:
    asked = lab.ask(ticket="T-12", bytes_max=4096)
    approval = lab.world.approve(asked, "bob", reason="the run of tuesday")
    rows = dict(line.split("\t", 1) for line in lab.person.shown.splitlines() if "\t" in line)
    shown = set(rows.values()) | set(lab.person.shown.replace("\t", "\n").splitlines())
    for envelope in (asked, approval):
        for value in leaves(statement.msgspec.json.decode(envelope.payload)):
            assert any(str(value) == one or one.endswith(f"({value})") for one in shown), value
        assert envelope.record_digest in shown


def leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


def test_the_page_refuses_an_authorization_of_another_request_than_it_was_given(lab: Lab) -> None:
    other = lab.world.ask(lab.world.request(justification="something harmless"), submit=False)
    lab.ask()
    lab.world.held["bob"] = lab.signer(request_of=lambda digest: other.payload)
    with pytest.raises(Refused) as caught:
        lab.world.approve(lab.asked, "bob")
    assert code_of(caught) == "signing-page-refused"
    assert "about another one" in lab.person.said
    assert lab.person.shown == ""


def test_a_request_that_cannot_be_had_is_not_signed_for(lab: Lab) -> None:
    lab.ask()
    lab.world.held["bob"] = lab.signer(request_of=lambda digest: None)
    with pytest.raises(Unavailable) as caught:
        lab.world.approve(lab.asked, "bob")
    assert (code_of(caught), lab.person.urls) == ("request-unread", [])


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        pytest.param(b'{"predicateType":"x","predicateType":"y"}', "canonical", id="a field twice"),
        pytest.param(b'{"b":1,"a":2}', "canonical", id="fields out of order"),
        pytest.param(b'{"a":1.5}', "integer", id="a number that is no integer"),
        pytest.param(b"\xff", "not JSON", id="no text"),
        pytest.param(b"null", "canonical", id="no object"),
    ],
)
def test_the_page_signs_nothing_that_could_read_differently_elsewhere(lab: Lab, payload: bytes, why: str) -> None:
    with pytest.raises(Refused) as caught:
        answer_to(task_of(lab, payload), origin=origin_of(lab), open_page=lab.person.open, within_s=20)
    assert code_of(caught) == "signing-page-refused"
    assert why in lab.person.said


def task_of(lab: Lab, payload: bytes) -> Task:
    return Task(purpose="record", payload=base64_text.encode(payload), rp_id="localhost", credential=lab.credential.id)


def origin_of(lab: Lab) -> str:
    assert lab.credential.party is not None
    (origin,) = lab.credential.party.origins
    return origin


def test_an_authenticator_that_does_not_verify_its_user_signs_nothing(lab: Lab) -> None:
    lab.ask()
    lab.person.verifies, lab.within_s = False, 1
    lab.world.held["bob"] = lab.signer()
    with pytest.raises(Unavailable):
        lab.world.approve(lab.asked, "bob")
    assert lab.person.said.startswith("Not signed: NotAllowedError")


def test_an_assertion_made_on_a_page_of_another_port_is_refused_by_the_kernel(lab: Lab, person: Any) -> None:
    """The same passkey, the same bytes, the same relying party: the browser says on which page it was, and that is signed."""
    payload = lab.ask().payload
    port = int(origin_of(lab).rpartition(":")[2])
    other = f"http://localhost:{port + 1 if port < 65535 else port - 1}"
    raw = answer_to(task_of(lab, payload), origin=other, open_page=person.open, within_s=20)
    signature = verifier.canonical(parse(raw), lab.credential.key)
    message = pae(IN_TOTO, payload)
    with pytest.raises(Refused) as caught:
        lab.credential.verify(signature, message, user_verified=True)
    assert code_of(caught) == "webauthn-origin"
    there = Credential(
        lab.credential.key,
        "webauthn",
        id=lab.credential.id,
        party=RelyingParty("localhost", frozenset({other})),
    )
    there.verify(signature, message, user_verified=True)


def test_hostile_text_in_a_justification_runs_nothing_and_is_shown_as_it_is(lab: Lab) -> None:
    made = lab.world.request()
    values = {name: getattr(made, name) for name in AccessRequest.__struct_fields__}
    hostile = HOSTILE.replace("\u202e", "").replace("\u202c", "")
    lab.asked = lab.world.ask(AccessRequest(**{**values, "justification": hostile}))
    lab.world.approve(lab.asked, "bob", reason=hostile)
    person = lab.person
    assert person.ran == []
    assert {url.rpartition("/")[2] for url in person.requests} <= {
        "",
        "forget",
        "task",
        "sign.js",
        "style.css",
        "answer",
    }
    assert person.shown.count(hostile) == 2


def test_text_that_turns_the_reading_direction_round_is_spelled_out(lab: Lab) -> None:
    payload = '{"predicate":{"reason":"\u202egpj.exe"},"predicateType":"x"}'.encode()
    answer_to(task_of(lab, payload), origin=origin_of(lab), open_page=lab.person.open, within_s=20)
    assert r"\u{202e}gpj.exe" in lab.person.shown


def test_towers_of_combining_marks_are_spelled_out_and_paint_over_no_other_row(lab: Lab) -> None:
    """As in a terminal: the same text, by the same rule (`formats.plain_text`)."""
    towers = "e" + "\u0301" * 60 + " Tie\u0302\u0301ng \u0e17\u0e35\u0e48"
    payload = json.dumps({"predicate": {"reason": "\u0301" + towers}, "predicateType": "x"}, ensure_ascii=False)
    payload = payload.replace(", ", ",").replace(": ", ":")
    seen: list[str] = []
    clips = "getComputedStyle(document.querySelector('td')).contain"
    lab.person.after = lambda page: seen.append(page.evaluate(clips))
    answer_to(task_of(lab, payload.encode()), origin=origin_of(lab), open_page=lab.person.open, within_s=20)
    as_in_python = re.sub(r"\\u([0-9a-f]{4})", lambda one: f"\\u{{{int(one[1], 16):x}}}", plain("\u0301" + towers))
    assert as_in_python in lab.person.shown
    assert lab.person.shown.count("\u0301") == 4 + 1
    assert seen[-1] == "paint"


def test_any_record_is_shown_and_signed(lab: Lab) -> None:
    asked = lab.ask()
    envelope = sign(asked.payload, lab.signer())
    verify_user_verified(envelope, lab.credential)
    assert asked.record_digest in lab.person.shown


@pytest.mark.parametrize(
    ("press", "kind", "code"),
    [
        pytest.param("decline", Usage, "not-confirmed", id="declined"),
        pytest.param("close", Unavailable, "signing-page-closed", id="closed"),
    ],
)
def test_a_person_who_does_not_sign_has_signed_nothing(
    lab: Lab, press: str, kind: type[KeyturnError], code: str
) -> None:
    lab.person.press = press
    with pytest.raises(kind) as caught:
        sign(lab.ask().payload, lab.signer())
    assert code_of(caught) == code


def test_a_page_that_nobody_opens_times_out(lab: Lab) -> None:
    lab.within_s = 0.01
    with pytest.raises(Unavailable) as caught:
        sign(lab.ask().payload, lab.signer(open_page=lambda url: None))
    assert (code_of(caught), bool(caught.value.hint)) == ("signing-page-timeout", True)


def test_a_passkey_without_a_page_signs_nothing(lab: Lab) -> None:
    party = RelyingParty("acme.example", frozenset())
    with pytest.raises(Usage) as caught:
        PasskeySigner(
            Credential(lab.credential.key, "webauthn", id=lab.credential.id, party=party),
            request_of=lambda digest: None,
            open_page=lab.person.open,
        )
    assert code_of(caught) == "signing-page-elsewhere"


def test_the_server_answers_only_its_own_page(lab: Lab) -> None:
    """DNS rebinding, a guessed path, another site's form, a body without end: none is the page's answer."""
    seen: list[tuple[str, int]] = []
    own = origin_of(lab).removeprefix("http://")

    def ask(method: str, path: str, body: bytes = b"", *, at: str = own, **headers: str) -> http.client.HTTPResponse:
        client = http.client.HTTPConnection("127.0.0.1", int(at.rpartition(":")[2]), timeout=5)
        client.request(method, path, body or None, {"Host": own, **headers})
        answer = client.getresponse()
        said = answer.read()
        client.close()
        answer.read = lambda *amount: said  # type: ignore[method-assign]
        return answer

    def visit(first: str) -> None:
        host, _, before = first.removeprefix("http://").partition("/")
        url = re.findall(r"url=([^\"]+)", ask("GET", f"/{before}", at=host, Host=host).read().decode())[0]
        path = url.removeprefix(origin_of(lab))
        answer = ask("GET", path)
        assert ask("GET", f"{path}forget").getheader("Clear-Site-Data") == '"cache", "storage"'
        assert answer.getheader("Content-Security-Policy") == CSP
        assert answer.getheader("Cache-Control") == "no-store"
        cases = {
            "rebound": ask("GET", f"{path}task", Host="evil.example"),
            "guessed": ask("GET", "/guess/task"),
            "no token": ask("GET", "/task"),
            "elsewhere": ask("GET", f"{path}../sign.js"),
            "other origin": ask("POST", f"{path}answer", b"{}", Origin="http://localhost:1"),
            "no origin": ask("POST", f"{path}answer", b"{}"),
            "too long": ask("POST", f"{path}answer", Origin=origin_of(lab), **{"Content-Length": "9999999"}),
            "unknown": ask("POST", f"{path}task", b"{}", Origin=origin_of(lab)),
            "the first page rebound": ask("GET", f"/{before}", at=host, Host="evil.example"),
            "the first page by the other's host": ask("GET", f"/{before}", at=host),
            "more of the first page": ask("GET", f"/{before}task", at=host, Host=host),
            "an answer to the first page": ask(
                "POST", f"/{before}answer", b"{}", at=host, Host=host, Origin=origin_of(lab)
            ),
        }
        seen.extend((name, one.status) for name, one in cases.items())

    lab.within_s = 0.01
    with pytest.raises(Unavailable):
        sign(lab.ask().payload, lab.signer(open_page=visit))
    assert dict(seen) == {
        "rebound": 404,
        "guessed": 404,
        "no token": 404,
        "elsewhere": 404,
        "other origin": 403,
        "no origin": 403,
        "too long": 413,
        "unknown": 404,
        "the first page rebound": 404,
        "the first page by the other's host": 404,
        "more of the first page": 404,
        "an answer to the first page": 403,
    }


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_nothing_is_shown_while_somebody_else_listens_at_an_address_of_localhost(
    lab: Lab, family: socket.AddressFamily, address: str
) -> None:
    """Browsers try ::1 first: another user of the machine who listens there would have a page of the pinned origin."""
    opened: list[str] = []
    with socket.socket(family) as other:
        other.bind((address, int(origin_of(lab).rpartition(":")[2])))
        other.listen()
        with pytest.raises(Unavailable) as caught:
            sign(lab.ask().payload, lab.signer(open_page=opened.append))
    assert (caught.value.code, opened) == ("signing-page-port", [])


def test_the_page_elsewhere_differs_by_whom_it_may_speak_to_alone() -> None:
    here, there = page_file("index.html").decode(), pages_elsewhere()["index.html"].decode()
    for mine, theirs in (
        ("connect-src 'self'", "connect-src http://127.0.0.1:*"),
        ("form-action 'none'", "form-action http://127.0.0.1:*"),
        ('name="referrer" content="same-origin"', 'name="referrer" content="origin"'),
    ):
        assert (here.count(mine), there.count(theirs)) == (1, 1)
        here = here.replace(mine, theirs)
    assert here == there
    assert pages_elsewhere()["sign.js"] == page_file("sign.js")


def test_the_page_loads_nothing_from_elsewhere_and_makes_no_markup() -> None:
    script, page = page_file("sign.js").decode(), page_file("index.html").decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)
    assert not re.search(r"https?://", page)
    assert not re.search(r"<script(?! src=\"sign\.js\" defer>)|\son\w+=|<style", page)
