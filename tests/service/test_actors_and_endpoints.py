"""Every endpoint of every service, by everybody who may come: what each of them gets. No endpoint is left out.

The services ask nobody for a login. What is written is signed, and the signature decides; what is read, anybody may who reaches
the port. An actor is somebody with the key of one, and without any other.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar.testing import TestClient

from keyturn.adapters.files.witness_files import WitnessFiles
from keyturn.adapters.keys.session_certificates import request_for
from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.app.access.evaluate_access import AccessView
from keyturn.app.log.cosign_checkpoint import Witnessing
from keyturn.app.records.quotas import Quotas
from keyturn.app.records.submit import Admission
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import access, add_checkpoint, statement
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.provenance import PROVENANCE
from keyturn.formats.statement import STATEMENT_V1, DigestSet, Subject
from keyturn.service import builder_service, lab_service, witness_service
from keyturn.service.authzen_routes import authzen_routes
from keyturn.service.login import Login
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.signing import sign_checkpoint
from support.builders import Place
from support.databases import DatabaseLab, database_lab
from support.labs import NOW, Lab, make_key, make_lab
from support.live_gate import LiveGate, live_gate
from support.signed_records import checkin, request, sign
from support.tls_proxy import PROXY_SECRET
from support.witnessed import witnessed_note
from tools import openapi

POLICY = """
@id("release") @quorum("1 research") @pending_max("1d")
permit (principal in Group::"research", action == Action::"model:release", resource in Model::"aurora");
"""
LAB_SAYS: Mapping[str, Any] = {
    "humans": ("ada", "bob"),
    "agents": {"ada+coder": ("ada",)},
    "groups": {"research": ("ada", "bob", "ada+coder")},
    "resources": {"model/aurora": (), "gate/release": ()},
    "policy": {"main": POLICY},
}
LAB = make_lab(**LAB_SAYS)
KEY_OF_BOB = LAB.member_keys["bob"]
KEYS: Mapping[str, SoftwareKey | None] = {
    "nobody": None,
    "stranger": make_key("stranger"),
    "human": LAB.member_keys["ada"],
    "agent": LAB.member_keys["ada+coder"],
    "builder": LAB.builder_keys["builder"],
    "gate": LAB.gate_keys["release"],
    "witness": LAB.witness_keys["north"],
    "log": LAB.log_key,
}
ACTORS = tuple(KEYS)

Row = Mapping[str, int]


def only(**allowed: int) -> Row:
    """Whoever is not named is refused: 403, and nobody, who signs nothing, 400."""
    return {"nobody": 400, **dict.fromkeys(ACTORS[1:], 403), **allowed}


ALL: Row = dict.fromkeys(ACTORS, 200)

# (service, method, path, what is sent) -> what each actor gets. An endpoint may have several rows.
MATRIX: Mapping[tuple[str, str, str, str], Row] = {
    ("service", "post", "/submit", "a request"): only(human=200, agent=200),
    ("service", "post", "/submit", "an approval"): only(human=200),
    ("service", "post", "/submit", "a check-in"): only(gate=200),
    ("service", "post", "/submit", "provenance"): only(builder=200),
    ("service", "post", "/submit", "rubbish"): dict.fromkeys(ACTORS, 400),
    ("service", "get", "/checkpoint", ""): ALL,
    ("service", "get", "/tile/{rest}", "/tile/0/000.p/2"): ALL,
    ("service", "get", "/envelope/{digest}", f"/envelope/{sha256(LAB.containers[0])}"): ALL,
    ("service", "get", "/trust/{rest}", "/trust/root.json"): ALL,
    ("service", "get", "/trust/{rest}", "/trust/staged/1.targets.json"): dict.fromkeys(ACTORS, 404),
    ("service", "get", "/index/record", "/index/record?prefix="): ALL,
    ("service", "get", "/index/about", "/index/about?tag=member:ada"): ALL,
    ("service", "get", "/index/kinds", "/index/kinds?kinds=req"): ALL,
    ("service", "get", "/processes", ""): ALL,
    ("service", "get", "/.well-known/authzen-configuration", ""): ALL,
    ("service", "post", "/access/v1/evaluation", "a question"): dict.fromkeys(ACTORS, 200) | {"nobody": 400},
    ("service", "post", "/access/v1/requests", "a denied request"): only(human=202, agent=202),
    ("service", "get", "/access/v1/requests/{task}", f"/access/v1/requests/req-{'0' * 32}"): dict.fromkeys(ACTORS, 404),
    ("builder", "get", "/about", ""): ALL,
    ("builder", "post", "/steps", "a step"): only(human=202, agent=202),
    ("builder", "get", "/steps/{job}", f"/steps/{'a' * 64}"): dict.fromkeys(ACTORS, 404),
    ("witness", "post", "/add-checkpoint", "a checkpoint"): only(log=200),
    ("witness", "get", "/{origin_hash}/checkpoint", f"/{'a' * 64}/checkpoint"): dict.fromkeys(ACTORS, 404),
    **{
        (service, "get", path, ""): ALL
        for service in ("service", "builder", "witness")
        for path in ("/health", "/metrics", "/openapi.json")
    },
}

# Where the operator asks for a login, this is open all the same: it names nobody. The rest answers 401 to whoever is not logged
# in, and to whoever is, what it answers above: a login stands for no key.
OPEN = {"/health", "/metrics", "/openapi.json", "/checkpoint", "/.well-known/authzen-configuration"}
CERTIFICATE = b"the DER of a certificate"
BY_CERTIFICATE = "keyturn login --certificate FILE --certificate-key FILE"
LOGGED_IN = {"Client-Cert": f":{base64.b64encode(CERTIFICATE).decode()}:", "Keyturn-Proxy": PROXY_SECRET}

# The same at running processes: a gate that follows a log with a whole chain in it, and a notifier.
AT_PROCESSES: Mapping[tuple[str, str, str, str], Row] = {
    ("release-gate", "post", "/release", "a release that Bob approved"): only(human=200, agent=200),
    ("release-gate", "post", "/release", "a release that nobody approved"): only(),
    ("release-gate", "post", "/release", "a release that an agent approved"): only(),
    ("release-gate", "post", "/release", "Bob's release, approved by whoever brings it"): only(human=200),
    ("release-gate", "post", "/release", "rubbish"): dict.fromkeys(ACTORS, 400),
    ("release-gate", "post", "/negative", "a denial of Bob's release"): only(human=200),
    ("release-gate", "post", "/negative", "an approval of Bob's release"): only(),
    ("release-gate", "post", "/negative", "rubbish"): dict.fromkeys(ACTORS, 400),
    ("release-gate", "get", "/about", ""): ALL,
    **{
        (service, "get", path, ""): ALL
        for service in ("release-gate", "notifier")
        for path in ("/health", "/metrics", "/openapi.json")
    },
}

# A host's gate takes what is pushed like the release gate: shown where an sshd stands behind it.
ELSEWHERE: Mapping[tuple[str, str, str], str] = {
    ("host-gate", "post", "/negative"): "gates/host/test_sessions.py",
    # Who may ask at a door is a user of the machine, whom no key makes.
    ("local-gate", "post", "/doors/{door}"): "gates/own/test_live.py",
    ("local-gate", "get", "/doors/{door}/{grant}"): "gates/own/test_live.py",
    ("local-gate", "post", "/negative"): "gates/own/test_live.py",
    **{
        ("local-gate", "get", path): "service/test_actors_and_endpoints.py"
        for path in ("/about", "/health", "/metrics", "/openapi.json")
    },
    **{
        ("host-gate", "get", path): "service/test_actors_and_endpoints.py"
        for path in ("/about", "/health", "/metrics", "/openapi.json")
    },
    # Which key a bastion would prove, it says to everybody: that key is public, and opens nothing by itself.
    ("bastion-gate", "post", "/negative"): "gates/bastion/test_ends.py",
    ("bastion-gate", "post", "/bastion-key"): "gates/bastion/test_through.py",
    # Who may watch, a statement of his own key says; and the SSH server's key is public.
    ("bastion-gate", "post", "/watch"): "gates/bastion/test_watched.py",
    ("bastion-gate", "get", "/host-key"): "gates/bastion/test_ssh_command.py",
    **{
        ("bastion-gate", "get", path): "service/test_actors_and_endpoints.py"
        for path in ("/about", "/health", "/metrics", "/openapi.json")
    },
}

# The same at a database's running gate. Whoever has the session key of a grant has what was granted, and no other key has.
AT_A_DATABASE: Mapping[tuple[str, str, str, str], Row] = {
    ("postgres-gate", "post", "/certificate", "a certificate request by a key of one's own"): only(),
    ("postgres-gate", "post", "/certificate", "one by the session key of Ada's grant"): {**ALL, "nobody": 400},
    ("postgres-gate", "post", "/certificate", "rubbish"): dict.fromkeys(ACTORS, 400),
    ("postgres-gate", "post", "/negative", "a revocation of Ada's grant"): only(human=200),
    ("postgres-gate", "post", "/negative", "rubbish"): dict.fromkeys(ACTORS, 400),
    **{("postgres-gate", "get", path, ""): ALL for path in ("/about", "/health", "/metrics", "/openapi.json")},
}


class Fixed:
    """A clock that stands."""

    def now(self) -> int:
        return NOW


class Clients(dict[str, TestClient[Any]]):
    """A client of each service, which is made when it is asked for: a test asks one or two of the four."""

    def __init__(self, made_by: Mapping[str, Callable[[], TestClient[Any]]], stack: ExitStack) -> None:
        super().__init__()
        self._made_by, self._stack = made_by, stack

    def __missing__(self, name: str) -> TestClient[Any]:
        self[name] = made = self._stack.enter_context(self._made_by[name]())
        return made


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[Mapping[str, TestClient[Any]]]:
    log = LogInMemory()
    admission = Admission(
        log=log, reader=log, index=log, root_sha256=lambda: LAB.root_sha256, clock=Fixed(), quotas=Quotas()
    )
    for container in LAB.containers:
        admission.submit(container)
    frontier = log.settle()
    note = witnessed_note(LAB, frontier.size, frontier.root)

    def service(login: Login | None) -> TestClient[Any]:
        return TestClient(
            lab_service.create_app(
                admission=admission,
                log=_Published(log, note),
                index=log,
                tile=lambda path: b"tile" if str(path) == "tile/0/000.p/2" else _never(),
                trust_file=lambda path: LAB.root_json if path == "root.json" else None,
                appended=lambda: None,
                processes=dict,
                login=login,
                access=authzen_routes(
                    view=AccessView(
                        LAB.root_json, pinned_sha256=LAB.root_sha256, log=_Published(log, note), clock=Fixed()
                    ),
                    admission=admission,
                    index=log,
                    clock=Fixed(),
                    appended=lambda: None,
                    address=lambda: None,
                ),
            )
        )

    login = Login(verify=None, certificates={sha256(CERTIFICATE): "somebody"}, proxy_secret=PROXY_SECRET)
    store = WitnessFiles(tmp_path / "witness")
    witnessing = Witnessing("north", LAB.witness_keys["north"], {LAB.state.log.origin: LAB.log_key.public})
    place = cache(lambda: Place(tmp_path / "builder", LAB))
    with ExitStack() as stack:
        stack.callback(store.close)
        found = Clients(
            {
                "service": lambda: service(None),
                "closed": lambda: service(login),
                "witness": lambda: TestClient(witness_service.create_app(witnessing, store=store, clock=Fixed())),
                "builder": lambda: TestClient(builder_service.create_app(place().parts())),
            },
            stack,
        )
        SENT["a step"] = lambda key: _order(place(), key)
        SENT["a denied request"] = lambda key: _denied_request(found["service"], key)
        yield found


class _Published:
    """The log in memory with a checkpoint that its own key signed: readers here do not verify."""

    def __init__(self, log: LogInMemory, note: bytes) -> None:
        self._log, self._note = log, note
        self.leaves, self.hashes, self.envelope = log.leaves, log.hashes, log.envelope

    def checkpoint(self) -> bytes:
        return self._note


def _never() -> bytes:
    raise AssertionError("no other tile is asked for")


def _member_of(key: SoftwareKey) -> str:
    return "ada+coder" if key is KEYS["agent"] else "ada"


def _approval(key: SoftwareKey) -> bytes:
    made = HumanAuthorization(
        lab=LAB.name,
        nonce="1" * 32,
        approver=_member_of(key),
        key=key.public.keyid,
        request="a" * 64,
        trust_version=1,
        decision="approve",
        signed_at=NOW,
        expires_at=NOW + 600,
    )
    about = Subject(digest=DigestSet(sha256=Sha256("a" * 64)), name="request")
    return sign(statement.make(made, access.HUMAN_AUTHORIZATION, (about,)), key)


def _checkin(lab: Lab, key: SoftwareKey) -> bytes:
    return checkin(replace(lab, gate_keys={"release": key}), 1, at=NOW)


def _provenance(key: SoftwareKey) -> bytes:
    return sign(
        b'{"_type":"%s","predicate":{},"predicateType":"%s","subject":[{"digest":{"sha256":"%s"}}]}'
        % (STATEMENT_V1.encode(), PROVENANCE.encode(), b"a" * 64),
        key,
    )


def _checkpoint(key: SoftwareKey) -> bytes:
    tree = Frontier.empty().extend([b"1"])
    return add_checkpoint.render(
        AddCheckpoint(0, (), sign_checkpoint(Checkpoint(LAB.state.log.origin, 1, tree.root), key))
    )


def _question(member: str) -> dict[str, Any]:
    return {
        "subject": {"type": "member", "id": member},
        "action": {"name": "model:release"},
        "resource": {"type": "model", "id": f"keyturn://{LAB.name}/model/aurora"},
    }


def _denied_request(service: TestClient[Any], key: SoftwareKey, headers: Mapping[str, str] | None = None) -> bytes:
    """What somebody with `key` sends once the evaluation of its owner was denied: a request in that name, signed by it."""
    asked = _question(_member_of(key))
    context = service.post("/access/v1/evaluation", json=asked, headers=headers).json()["context"]
    denial = {"evaluation_id": context["evaluation_id"], "expires_at": context["access_request"]["expires_at"]}
    signed = base64.b64encode(SENT["a request"](key)).decode()
    return msgspec.json.encode(asked | {"denial": denial, "context": {"signed_request": signed}})


def _order(place: Place, key: SoftwareKey) -> bytes:
    member = _member_of(key)
    named = place.order(place.step_file("true > /out/model"), member=member, key=key)
    return msgspec.json.encode(named)


SENT: dict[str, Callable[[SoftwareKey], bytes]] = {
    "a request": lambda key: request(LAB, 1, at=NOW, member=_member_of(key), key=key),
    "an approval": _approval,
    "a check-in": lambda key: _checkin(LAB, key),
    "provenance": _provenance,
    "a question": lambda key: msgspec.json.encode(_question(_member_of(key))),
    "rubbish": lambda key: b"{}",
    "a checkpoint": _checkpoint,
}


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("cell", MATRIX, ids=" ".join)
def test_everybody_gets_what_the_matrix_says(
    clients: Mapping[str, TestClient[Any]], cell: tuple[str, str, str, str], actor: str
) -> None:
    service, method, path, what = cell
    key = KEYS[actor]
    if method == "post":
        answer = clients[service].post(path, content=SENT[what](key) if key is not None else b"{}")
    else:
        answer = clients[service].get(what or path)
    assert answer.status_code == MATRIX[cell][actor], answer.text
    if answer.status_code >= 400 and service != "witness":
        assert answer.headers["Content-Type"] == "application/problem+json"
        said = json.loads(answer.content)
        assert (said["status"], bool(said["code"])) == (answer.status_code, True)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGate]:
    with live_gate(make_lab(**LAB_SAYS, now=int(time.time())), tmp_path_factory.mktemp("live")) as running:
        yield running


def _brought(live: LiveGate, what: str, key: SoftwareKey) -> bytes:
    """What somebody with `key` brings to the gate."""
    bob, member = KEY_OF_BOB, _member_of(key)
    match what:
        case "a release that Bob approved":
            asked = live.ask(member, key)
            return live.order(asked, live.submit(live.authorization("bob", bob, asked)))
        case "a release that nobody approved":
            return live.order(live.ask(member, key))
        case "a release that an agent approved":
            asked = live.ask(member, key)
            agent = live.lab.member_keys["ada+coder"]
            return live.order(asked, live.submit(live.authorization("ada+coder", agent, asked)))
        case "Bob's release, approved by whoever brings it":
            asked = live.ask("bob", bob)
            return live.order(asked, live.submit(live.authorization(member, key, asked)))
        case "a denial of Bob's release":
            return live.authorization(member, key, live.ask("bob", bob), decision="deny")
        case "an approval of Bob's release":
            return live.authorization(member, key, live.ask("bob", bob))
    assert what == "rubbish"
    return b"{}"


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("cell", AT_PROCESSES, ids=" ".join)
def test_everybody_gets_what_the_matrix_says_at_running_processes(
    live: LiveGate, cell: tuple[str, str, str, str], actor: str
) -> None:
    service, method, path, what = cell
    key = KEYS[actor]
    url = (live.url if service == "release-gate" else live.notifier) + path
    content = None if method == "get" else b"{}" if key is None else _brought(live, what, key)
    answer = httpx.request(method, url, content=content, timeout=60)
    assert answer.status_code == AT_PROCESSES[cell][actor], answer.text
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseLab]:
    with database_lab(tmp_path_factory.mktemp("database")) as running:
        running.start_gate()
        yield running


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("cell", AT_A_DATABASE, ids=" ".join)
def test_everybody_gets_what_the_matrix_says_at_a_database(
    database: DatabaseLab, cell: tuple[str, str, str, str], actor: str
) -> None:
    _, method, path, what = cell
    key, content = KEYS[actor], None if method == "get" else b"{}"
    if key is not None and what not in ("", "rubbish"):
        asked = database.granted()
        database.let_in(asked)
        by_key = {"a key of one's own": key, "the session key of Ada's grant": asked.proves}
        content = (
            database.revocation(asked, "ada", key=key)
            if path == "/negative"
            else request_for(by_key[what.partition(" by ")[2]])
        )
    answer = httpx.request(method, database.gate_url + path, content=content, timeout=60)
    assert answer.status_code == AT_A_DATABASE[cell][actor], answer.text


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("cell", [cell for cell in MATRIX if cell[0] == "service"], ids=" ".join)
def test_where_a_login_is_asked_for_it_is_needed_and_replaces_no_key(
    clients: Mapping[str, TestClient[Any]], cell: tuple[str, str, str, str], actor: str
) -> None:
    _, method, path, what = cell
    key = KEYS[actor]
    content = None if method == "get" else b"{}" if key is None else SENT[what](key)
    if what == "a denied request" and key is not None:  # the denial is this very service's
        content = _denied_request(clients["closed"], key, headers=LOGGED_IN)
    where = path if method == "post" else what or path
    without = clients["closed"].request(method, where, content=content)
    assert without.status_code == (MATRIX[cell][actor] if path in OPEN else 401), without.text
    if path not in OPEN:
        assert without.headers["WWW-Authenticate"] == "Bearer"
        assert (without.json()["code"], without.json()["hint"]) == ("login-needed", BY_CERTIFICATE)
    within = clients["closed"].request(method, where, content=content, headers=LOGGED_IN)
    assert within.status_code == MATRIX[cell][actor], within.text


FROM_ANOTHER_SITE = {
    "Origin": "https://evil.example",
    "Referer": "https://evil.example/form",
    "Content-Type": "text/plain",
    "Cookie": "session=fixed; token=a.b.c",
}


@pytest.mark.parametrize("cell", MATRIX, ids=" ".join)
def test_what_a_browser_sends_from_another_site_is_worth_no_more_and_nobody_has_a_session(
    clients: Mapping[str, TestClient[Any]], cell: tuple[str, str, str, str]
) -> None:
    service, method, path, what = cell
    content = b"{}" if method == "post" else None
    where = path if method == "post" else what or path
    answer = clients[service].request(method, where, content=content, headers=FROM_ANOTHER_SITE)
    expected = {MATRIX[cell]["nobody"], 400, 415} if method == "post" else {MATRIX[cell]["nobody"]}
    assert answer.status_code in expected, answer.text
    assert "Set-Cookie" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers
    if service == "service" and path not in OPEN:
        assert clients["closed"].request(method, where, content=content, headers=FROM_ANOTHER_SITE).status_code == 401


def test_the_documents_say_what_is_open() -> None:
    paths = json.loads(openapi.render(openapi.APPS["service"]()))["paths"]
    assert {path for path, of in paths.items() for said in of.values() if said["security"] == []} == OPEN


def test_every_endpoint_is_in_the_matrix() -> None:
    there = {
        (name, method, path)
        for name, make in openapi.APPS.items()
        for path, methods in json.loads(openapi.render(make()))["paths"].items()
        for method in methods
    }
    shown = (*MATRIX, *AT_PROCESSES, *AT_A_DATABASE)
    listed = {(service, method, path) for service, method, path, _ in shown} | ELSEWHERE.keys()
    assert listed == there


def test_every_row_names_every_actor() -> None:
    assert [
        cell for cell, row in ({**MATRIX, **AT_PROCESSES, **AT_A_DATABASE}).items() if set(row) != set(ACTORS)
    ] == []


def test_what_is_shown_elsewhere_is_there() -> None:
    tests = Path(__file__).resolve().parents[1]
    assert [place for place in ELSEWHERE.values() if not (tests / place).is_file()] == []


@pytest.mark.parametrize("path", ["/about", "/health", "/metrics", "/openapi.json"])
@pytest.mark.parametrize("kind", ["host-gate", "bastion-gate", "local-gate"])
def test_gates_that_open_nothing_over_http_say_to_everybody_how_they_are(kind: str, path: str) -> None:
    with TestClient(openapi.APPS[kind]()) as gate:
        assert gate.get(path).status_code == 200
