"""AuthZEN: may somebody do something now, and asking for what was denied. What comes back is never more than the log says."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from litestar.testing import TestClient

from keyturn.adapters.over_http.builder_over_http import Order, decode
from keyturn.app.access.evaluate_access import AccessView
from keyturn.app.records.quotas import Quotas
from keyturn.app.records.submit import Admission
from keyturn.errors import Malformed
from keyturn.formats import dsse
from keyturn.formats.dsse import Envelope
from keyturn.formats.posix_time import rfc3339
from keyturn.grants.lifecycle import TABLE
from keyturn.service import lab_service
from keyturn.service.authzen_routes import DENIAL_LIFETIME_S, STATUS_OF, authzen_routes
from support.world import BREAK_GLASS, Witnessed, World, make_world

EVALUATION, REQUESTS = "/access/v1/evaluation", "/access/v1/requests"
URN = "urn:openid:authzen:access-request:error:"
ADDRESS = "https://keyturn.acme.example"


@dataclass
class Asking:
    """A client of a service whose log is `world`'s."""

    world: World
    client: TestClient[Any]

    def entities(self, subject: str = "ada", action: str = "weights:read", model: str = "aurora") -> dict[str, Any]:
        return {
            "subject": {"type": "member", "id": subject},
            "action": {"name": action},
            "resource": {"type": "model", "id": f"keyturn://{self.world.lab.name}/model/{model}"},
        }

    def evaluate(self, *, approval: object = None, **asked: str) -> dict[str, Any]:
        """Ask a second later than before: a service follows the log once a second."""
        self.world.now += 1
        context = {} if approval is None else {"context": {"approval": approval}}
        answer = self.client.post(EVALUATION, json=self.entities(**asked) | context)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def denied(self, **asked: str) -> dict[str, Any]:
        """The `denial` that a client echoes of a requestable denial."""
        said = self.evaluate(**asked)
        assert said["decision"] is False
        context = said["context"]
        return {"evaluation_id": context["evaluation_id"], "expires_at": context["access_request"]["expires_at"]}

    def submit(self, signed: Envelope | bytes, denial: object, **changed: object) -> Any:
        raw = dsse.render(signed) if isinstance(signed, Envelope) else signed
        body = {"context": {"signed_request": base64.b64encode(raw).decode()}, "denial": denial}
        return self.client.post(REQUESTS, json=self.entities() | body | changed)

    def task(self, name: str) -> Any:
        self.world.now += 1
        return self.client.get(f"{REQUESTS}/{name}")

    def granted(self) -> Envelope:
        asked = self.world.ask()
        self.world.approve(asked, "bob")
        self.world.approve(asked, "eve")
        return asked


@pytest.fixture
def asking() -> Iterator[Asking]:
    with asking_in(make_world()) as made:
        yield made


@contextmanager
def asking_in(world: World) -> Iterator[Asking]:
    """A client of a service whose log is `world`'s."""

    class Clock:
        def now(self) -> int:
            return world.now

    admission = Admission(
        log=world.log,
        reader=world.log,
        index=world.log,
        root_sha256=lambda: world.lab.root_sha256,
        clock=Clock(),
        quotas=Quotas(),
    )
    log = Witnessed(world)
    view = AccessView(world.lab.root_json, pinned_sha256=world.lab.root_sha256, log=log, clock=Clock())
    app = lab_service.create_app(
        admission=admission,
        log=log,
        index=world.log,
        tile=lambda path: b"",
        trust_file=lambda path: None,
        appended=lambda: None,
        processes=dict,
        access=authzen_routes(
            view=view,
            admission=admission,
            index=world.log,
            clock=Clock(),
            appended=lambda: None,
            address=lambda: ADDRESS,
        ),
    )
    with TestClient(app) as client:
        yield Asking(world, client)


def name_of(asked: Envelope) -> str:
    return f"req-{asked.record_digest[:32]}"


def test_the_configuration_says_where_everything_is(asking: Asking) -> None:
    said = asking.client.get("/.well-known/authzen-configuration").json()
    assert said == {
        "policy_decision_point": ADDRESS,
        "access_evaluation_endpoint": ADDRESS + EVALUATION,
        "access_request_endpoint": ADDRESS + REQUESTS,
        "capabilities": ["urn:openid:authzen:capability:access-request"],
    }


def test_what_two_people_approved_is_allowed_and_says_until_when(asking: Asking) -> None:
    asked = asking.granted()
    approved_until = rfc3339(asking.world.now + 3600)
    said = asking.evaluate()
    assert said["decision"] is True
    assert said["context"]["approval"] == {"id": name_of(asked), "approved_until": approved_until}
    assert said["context"]["profile"] == "demo"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        pytest.param({"subject": "dan"}, "request-none", id="another member"),
        pytest.param({"subject": "ada+coder"}, "request-none", id="an agent of hers"),
        pytest.param({"subject": "mallory"}, "request-none", id="nobody of the lab"),
        pytest.param({"model": "other"}, "request-none", id="another resource"),
        pytest.param({"action": "weights:export"}, "request-none", id="another action"),
        pytest.param({"action": "no such"}, "request-none", id="no action"),
    ],
)
def test_a_grant_is_for_exactly_what_was_asked(asking: Asking, asked: dict[str, str], code: str) -> None:
    asking.granted()
    assert asking.evaluate()["decision"] is True
    said = asking.evaluate(**asked)
    assert (said["decision"], said["context"]["reason"]) == (False, code)


Take = Callable[[Asking, Envelope], object]


@pytest.mark.parametrize(
    ("take", "code", "status"),
    [
        pytest.param(lambda a, asked: a.world.deny(asked, "cat"), "request-denied", "denied", id="one human denies"),
        pytest.param(lambda a, asked: a.world.revoke(asked, "ada"), "request-revoked", "cancelled", id="she withdraws"),
        pytest.param(
            lambda a, asked: setattr(a.world, "now", a.world.now + 3601), "window-over", "expired", id="it is over"
        ),
    ],
)
def test_what_was_allowed_is_not_once_it_was_taken_away(asking: Asking, take: Take, code: str, status: str) -> None:
    asked = asking.granted()
    assert asking.evaluate()["decision"] is True
    take(asking, asked)
    said = asking.evaluate(approval={"id": name_of(asked)})
    assert said["decision"] is False
    assert code in {reason["code"] for reason in said["context"]["reasons"]}
    assert said["context"]["next_action"] == "request"
    stands = asking.task(name_of(asked)).json()
    assert (stands["task"]["status"], "result" in stands) == (status, False)


def test_a_suspended_member_may_nothing_and_is_not_told_to_ask(asking: Asking) -> None:
    asking.granted()
    asking.world.suspend("cat", target_member="ada")
    said = asking.evaluate()
    assert (said["decision"], "access_request" in said["context"]) == (False, False)
    assert "suspended" in {reason["code"] for reason in said["context"]["reasons"]}


def test_what_people_agreed_to_by_break_glass_is_no_yes_here() -> None:
    """A gate opens by it under rules of its own: it journals, and locks until a third person looked."""
    with asking_in(make_world(policy={"main": BREAK_GLASS})) as asking:
        world = asking.world
        asked = world.ask(world.emergency("ada"))
        world.approve(asked, "bob")
        said = asking.evaluate()
        assert (said["decision"], said["context"]["reason"]) == (False, "break-glass-request")
        assert asking.evaluate(approval={"id": name_of(asked)})["decision"] is False


def test_one_approval_of_two_is_a_no(asking: Asking) -> None:
    asked = asking.world.ask()
    asking.world.approve(asked, "bob")
    said = asking.evaluate()
    assert (said["decision"], said["context"]["reason"]) == (False, "quorum-not-met")
    assert asking.task(name_of(asked)).json()["task"]["status"] == "pending"


def test_a_one_shot_that_was_used_is_a_no(asking: Asking) -> None:
    asked = asking.world.ask(asking.world.release())
    given = (asking.world.approve(asked, "bob"), asking.world.approve(asked, "cat"))
    assert asking.evaluate(action="model:release")["decision"] is True
    asking.world.use(asked, *given)
    said = asking.evaluate(action="model:release")
    assert (said["decision"], said["context"]["reason"]) == (False, "one-shot-used")


@pytest.mark.parametrize("kind", ["den", "rev"])
def test_what_cannot_be_read_is_a_no(asking: Asking, kind: Any) -> None:
    asked = asking.granted()
    asking.world.hide(kind, f"request:{asked.record_digest}", until=asking.world.now + 7200)
    said = asking.evaluate()
    assert (said["decision"], said["context"]["reason"]) == (False, "negative-unread")
    assert asking.task(name_of(asked)).status_code == 503


def test_a_log_whose_cosignatures_are_old_is_a_no(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    asking.granted()
    assert asking.evaluate()["decision"] is True
    at = asking.world.now
    note = asking.world.note
    monkeypatch.setattr(asking.world, "note", lambda **more: note(at=at))
    asking.world.now += asking.world.lab.state.limits.log_age_max_s
    said = asking.evaluate()
    assert (said["decision"], said["context"]["reason"]) == (False, "view-stale")


@pytest.mark.parametrize(
    "entities",
    [
        pytest.param({"subject": {"type": "user", "id": "ada"}}, id="a subject that is no member"),
        pytest.param({"resource": {"type": "db", "id": "keyturn://acme.example/model/aurora"}}, id="another type"),
        pytest.param({"resource": {"type": "model", "id": "aurora"}}, id="no URI"),
    ],
)
def test_entities_of_other_types_are_a_no(asking: Asking, entities: dict[str, Any]) -> None:
    asking.granted()
    said = asking.client.post(EVALUATION, json=asking.entities() | entities).json()
    assert (said["decision"], said["context"]["reason"]) == (False, "entity-type")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"subject":{}}', b"\xff", b"[" * 5000, b'{"subject":{"type":"member","id":3}}']
)
def test_what_is_no_evaluation_is_a_problem_and_no_decision(asking: Asking, body: bytes) -> None:
    for path in (EVALUATION, REQUESTS):
        answer = asking.client.post(path, content=body)
        assert answer.status_code == 400
        assert answer.json()["code"] == "message-invalid"
        assert "decision" not in answer.json()


def test_a_refusal_quotes_a_bounded_part_of_what_it_refuses() -> None:
    with pytest.raises(Malformed) as refused:
        decode(b'{"%s":1}' % (b"x" * 100_000), Order, what="order")
    assert len(str(refused.value)) < 1000


def test_members_that_nobody_knows_are_ignored_and_a_request_id_comes_back(asking: Asking) -> None:
    asking.granted()
    asking.world.now += 1
    body = asking.entities() | {"more": 1, "context": {"time": "now"}}
    answer = asking.client.post(EVALUATION, json=body, headers={"X-Request-ID": "7f"})
    assert (answer.json()["decision"], answer.headers["X-Request-ID"]) == (True, "7f")


# Asking for what was denied.


def test_a_signed_request_becomes_a_task_that_is_polled_and_then_evaluated_again(asking: Asking) -> None:
    denial = asking.denied()
    asked = asking.world.ask(submit=False)
    answer = asking.submit(asked, denial)
    assert answer.status_code == 202, answer.text
    task = answer.json()["task"]
    assert task["status"] == "pending"
    assert answer.headers["Location"] == task["status_endpoint"] == f"{ADDRESS}{REQUESTS}/{task['id']}"
    assert asking.task(task["id"]).json()["task"] == task
    assert asking.evaluate()["decision"] is False
    asking.world.approve(asked, "bob")
    asking.world.approve(asked, "eve")
    done = asking.task(task["id"]).json()
    assert (done["task"]["status"], done["result"]["mode"]) == ("approved", "reevaluate")
    again = asking.evaluate(approval=done["result"]["approval"])
    assert (again["decision"], again["context"]["approval"]) == (True, done["result"]["approval"])


def test_the_same_submission_again_is_the_same_task_and_one_entry(asking: Asking) -> None:
    denial, asked = asking.denied(), asking.world.ask(submit=False)
    first = asking.submit(asked, denial).json()
    size = asking.world.log.settle().size
    assert asking.submit(asked, denial).json() == first
    assert asking.world.log.settle().size == size


def test_a_task_says_nothing_of_who_approved(asking: Asking) -> None:
    asked = asking.granted()
    said = asking.task(name_of(asked)).text
    assert "approved" in said
    assert not any(f'"{who}"' in said for who in ("ada", "bob", "eve", "cat"))


def test_an_approval_id_is_no_bearer_grant(asking: Asking) -> None:
    """Whoever has it gets nothing by it: neither for somebody else, nor for something else, nor in place of another."""
    asked = asking.granted()
    approval = asking.evaluate()["context"]["approval"]
    for other in ({"subject": "dan"}, {"subject": "ada+coder"}, {"model": "other"}, {"action": "weights:export"}):
        assert asking.evaluate(approval=approval, **other)["decision"] is False
    dans = asking.world.ask(asking.world.request("dan"))
    for stranger in (name_of(dans), "req-" + "0" * 32, "apr-" + asked.record_digest[:32], "x"):
        said = asking.evaluate(approval={"id": stranger})
        assert (said["decision"], said["context"]["reason"]) == (False, "approval_unverifiable")
        assert said["context"]["next_action"] == "none"


def test_the_id_of_a_request_that_nobody_approved_opens_nothing(asking: Asking) -> None:
    asked = asking.world.ask()
    assert (
        asking.evaluate(approval={"id": name_of(asked), "approved_until": "9999-12-31T23:59:59Z"})["decision"] is False
    )


def test_every_state_of_a_request_has_a_status_of_the_profile() -> None:
    assert set(STATUS_OF) == {state for pair in TABLE.items() for state in (pair[0][0], pair[1])}
    assert {state for state, status in STATUS_OF.items() if status == "approved"} == {"agreed", "open", "used"}


def test_who_could_never_get_it_is_not_told_to_ask(asking: Asking) -> None:
    for asked in ({"subject": "bob"}, {"model": "other"}, {"action": "weights:export"}, {"subject": "mallory"}):
        said = asking.evaluate(**asked)
        assert (said["decision"], "access_request" in said["context"]) == (False, False), asked
    assert asking.evaluate()["context"]["access_request"]["template"] == "weights-read"
    assert asking.evaluate(subject="ada+coder")["context"]["access_request"]["template"] == "weights-read"


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    said = json.loads(answer.content)
    assert said["status"] == answer.status_code
    return answer.status_code, said["type"].removeprefix(URN)


def test_a_submission_is_bound_to_the_evaluation_that_was_denied(asking: Asking) -> None:
    denial, asked = asking.denied(), asking.world.ask(submit=False)
    expiry, nonce, tag = denial["evaluation_id"].split(".")
    for altered in (
        {"evaluation_id": "x"},
        {"evaluation_id": f"{int(expiry) + 60}.{nonce}.{tag}"},
        {"evaluation_id": f"{expiry}.{nonce[::-1]}.{tag}"},
        {"evaluation_id": f"{expiry}.{nonce}.{'é' * 64}"},
        {"expires_at": rfc3339(int(expiry) + 60)},
    ):
        assert problem(asking.submit(asked, denial | altered)) == (400, "invalid_denial_binding"), altered
    others = asking.denied(subject="dan")
    assert problem(asking.submit(asked, others)) == (400, "invalid_denial_binding")
    assert asking.world.log.settle().size == 2
    assert asking.submit(asked, denial).status_code == 202


def test_a_signed_request_for_something_else_than_was_denied_is_refused(asking: Asking) -> None:
    denial, world = asking.denied(), asking.world
    other = world.ask(world.request(resource=f"keyturn://{world.lab.name}/model/other"), submit=False)
    for signed in (other, world.ask(world.request("dan"), submit=False), world.ask(world.release(), submit=False)):
        assert problem(asking.submit(signed, denial)) == (400, "invalid_denial_binding")
    approval = world.authorization(world.ask(), "bob")
    assert problem(asking.submit(approval, denial)) == (400, "invalid_denial_binding")


def test_a_submission_that_comes_too_late_is_gone(asking: Asking) -> None:
    denial = asking.denied()
    asking.world.now += DENIAL_LIFETIME_S
    assert problem(asking.submit(asking.world.ask(submit=False), denial)) == (410, "expired_denial")


def test_a_request_in_somebody_elses_name_is_refused(asking: Asking) -> None:
    denial, world = asking.denied(), asking.world
    signed = dsse.render(world.ask(submit=False))
    theirs = dsse.render(world.ask(world.request("dan", beneficiary="ada"), submit=False))
    swapped = json.loads(signed) | {"signatures": json.loads(theirs)["signatures"]}
    answer = asking.submit(json.dumps(swapped, separators=(",", ":"), sort_keys=True).encode(), denial)
    assert answer.status_code in (400, 403)
    assert asking.world.log.settle().size == 2


@pytest.mark.parametrize("name", ["req-" + "0" * 32, "req-0", "x", "apr-" + "0" * 32, "req-" + "G" * 32])
def test_a_task_that_nobody_submitted_is_unknown(asking: Asking, name: str) -> None:
    assert problem(asking.task(name)) == (404, "unknown_task")


def test_a_task_that_is_long_over_is_gone(asking: Asking) -> None:
    asked = asking.world.ask()
    assert asking.task(name_of(asked)).status_code == 200
    asking.world.now += 8000
    assert problem(asking.task(name_of(asked))) == (410, "task_expired")
