"""OpenID AuthZEN: may somebody do something now, and the way to ask for what was denied.

GET  /.well-known/authzen-configuration   where the rest is
POST /access/v1/evaluation                Authorization API 1.0: {"decision": true | false, "context": {...}}
POST /access/v1/requests                  Access Request and Approval Profile: a signed access request -> 202 and its task
GET  /access/v1/requests/<task>           how the task stands

The answers are the mailbox's word: gates do not ask for them, and verify the grant itself. A submission is authenticated by the
signature of the request in it, and admitted to the log as any record; it is bound to the evaluation that was denied by a tag that
this process alone makes and checks. A task is a request in the log, by its id: it outlives the process, and its id opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any, Final

import anyio.to_thread
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from keyturn.adapters.over_http.builder_over_http import decode
from keyturn.app.access.evaluate_access import AccessView, Answer, Question
from keyturn.app.access.show_grants import Live
from keyturn.app.records.submit import Admission
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import records
from keyturn.formats.access import AccessRequest
from keyturn.formats.canonical_json import encode
from keyturn.formats.posix_time import rfc3339
from keyturn.grants.lifecycle import State
from keyturn.ports import Clock, RecordIndex
from keyturn.service.authzen_wire import (
    Approval,
    Context,
    Decision,
    Evaluation,
    Metadata,
    Reason,
    Requestable,
    Result,
    Status,
    Submission,
    Task,
    TaskAnswer,
)
from keyturn.service.login import OPEN
from keyturn.service.openapi import takes

__all__ = ["DENIAL_LIFETIME_S", "STATUS_OF", "authzen_routes"]

DENIAL_LIFETIME_S: Final = 600
"""How long a denied evaluation can be answered with a request."""
BODY_BYTES_MAX: Final = 128 << 10
_REQUESTS = "/access/v1/requests"
_EVALUATION = "/access/v1/evaluation"
_CAPABILITY = "urn:openid:authzen:capability:access-request"
_FRESH = {"Cache-Control": "no-store"}
_PREFIX = "req-"

STATUS_OF: Final[dict[State, Status]] = {
    "asked": "pending",
    "agreed": "approved",
    "open": "approved",
    "used": "approved",
    "denied": "denied",
    "revoked": "cancelled",
    "lapsed": "expired",
    "over": "expired",
}
"""The profile's status for each state of `grants.lifecycle`. What was approved can still be taken away (decision 0073)."""


def authzen_routes(
    *,
    view: AccessView,
    admission: Admission,
    index: RecordIndex,
    clock: Clock,
    appended: Callable[[], None],
    address: Callable[[], str | None],
) -> list[HTTPRouteHandler]:
    """Make the handlers. `address` is the service's own base URL where it is configured; else that of the socket is said."""
    binding = _Binding(secrets.token_bytes(32))

    @get("/.well-known/authzen-configuration", sync_to_thread=True, opt=OPEN)
    def authzen_configuration(request: Request[Any, Any, Any]) -> Response[Metadata]:
        """What this policy decision point offers, and where."""
        base = address() or _socket_of(request)
        return Response(
            Metadata(
                policy_decision_point=base,
                access_evaluation_endpoint=base + _EVALUATION,
                access_request_endpoint=base + _REQUESTS,
                capabilities=(_CAPABILITY,),
            ),
            headers=_FRESH,
        )

    @post(_EVALUATION, request_max_body_size=BODY_BYTES_MAX, status_code=200, opt=takes("application/json", Evaluation))
    async def evaluate(request: Request[Any, Any, Any]) -> Response[Decision]:
        """Whether somebody may do something now, as far as the log shows. No gate opens by it; what cannot be known is false."""
        asked = decode(await request.body(), Evaluation, what="evaluation")
        base = address() or _socket_of(request)
        decision = await anyio.to_thread.run_sync(lambda: _decide(view, binding, asked, base, clock))
        return Response(decision, headers=_FRESH | _identified(request))

    @post(_REQUESTS, request_max_body_size=BODY_BYTES_MAX, status_code=202, opt=takes("application/json", Submission))
    async def submit_access_request(request: Request[Any, Any, Any]) -> Response[TaskAnswer]:
        """Ask for what an evaluation denied, by an access request that the requester signed; the same again is the same task."""
        asked = decode(await request.body(), Submission, what="access request")
        made = _bound(asked, binding, now=clock.now())
        submitted = await anyio.to_thread.run_sync(admission.submit, asked.context.signed_request)
        appended()
        base = address() or _socket_of(request)
        task = _task(f"{_PREFIX}{submitted.leaf.record[:32]}", "pending", base, expires_at=made.not_after)
        return Response(
            TaskAnswer(task=task), headers=_FRESH | _identified(request) | {"Location": task.status_endpoint}
        )

    @get(_REQUESTS + "/{task:str}", sync_to_thread=True)
    def access_request_task(request: Request[Any, Any, Any], task: FromPath[str]) -> Response[TaskAnswer]:
        """How a task stands. It says nothing of who approved, and whoever reads `approved` evaluates again."""
        base = address() or _socket_of(request)
        return Response(_stands(view, index, task, base), headers=_FRESH | _identified(request))

    return [authzen_configuration, evaluate, submit_access_request, access_request_task]


class _Binding:
    """Binds a submission to the evaluation that was denied: `<expiry>.<nonce>.<tag>`, made and checked by this process alone."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, question: Question, expires_at: int) -> str:
        nonce = secrets.token_hex(16)
        return f"{expires_at}.{nonce}.{self._tag(question, expires_at, nonce)}"

    def require(self, text: str, question: Question, *, now: int) -> int:
        """When `text` ends, if it is of `question` and not over."""
        expiry, _, rest = text.partition(".")
        nonce, _, tag = rest.partition(".")
        if not expiry.isascii() or not expiry.isdigit() or len(expiry) > 12:
            raise _unbound()
        if not hmac.compare_digest(tag.encode(), self._tag(question, int(expiry), nonce).encode()):
            raise _unbound()
        if now >= int(expiry):
            raise Refused(
                "denial-expired",
                f"the denied evaluation could be answered until {rfc3339(int(expiry))}",
                hint="evaluate again, and answer what it says now",
            )
        return int(expiry)

    def _tag(self, question: Question, expires_at: int, nonce: str) -> str:
        said = encode([question.subject, question.action, question.resource, expires_at, nonce])
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()


def _unbound() -> Malformed:
    return Malformed(
        "denial-binding",
        "the submission is of no evaluation that was denied here",
        hint="evaluate again, and send subject, action, resource and denial as they were",
    )


def _question(asked: Evaluation | Submission) -> Question:
    return Question(asked.subject.id, asked.action.name, asked.resource.id)


def _decide(view: AccessView, binding: _Binding, asked: Evaluation, base: str, clock: Clock) -> Decision:
    question = _question(asked)
    resource_type = asked.resource.id.split("/")[3:4]
    if asked.subject.type != "member" or resource_type != [asked.resource.type]:
        text = "expected a subject of type `member`, and a resource whose type is that of its URI"
        return _no("", clock.now(), (("entity-type", text),))
    try:
        answer = view.evaluate(question)
    except (Refused, Unavailable) as err:
        return _no("", clock.now(), ((err.code, err.message),))
    approval = asked.context.approval if asked.context is not None else None
    named = approval.id if approval is not None else None
    if answer.grantable is None:
        return _denied(answer, binding, question, base, again=named is not None)
    standing = f"{_PREFIX}{answer.grantable.digest[:32]}"
    if named not in (None, standing):  # a reference that stands for something else is not read as if it were not there
        text = "the approval is none of this subject, action and resource that stands now"
        return _no(answer.profile, answer.now, (("approval_unverifiable", text),), next_action="none")
    return Decision(
        decision=True,
        context=Context(
            evaluated_at=rfc3339(answer.now),
            profile=answer.profile,
            approval=Approval(id=standing, approved_until=rfc3339(answer.grantable.window.ends_at)),
        ),
    )


def _denied(answer: Answer, binding: _Binding, question: Question, base: str, *, again: bool) -> Decision:
    expires_at = answer.now + DENIAL_LIFETIME_S
    requestable, evaluation_id = None, None
    if answer.permit is not None:
        evaluation_id = binding.make(question, expires_at)
        requestable = Requestable(endpoint=base + _REQUESTS, expires_at=rfc3339(expires_at), template=answer.permit)
    return _no(
        answer.profile,
        answer.now,
        answer.reasons,
        evaluation_id=evaluation_id,
        access_request=requestable,
        next_action=("none" if requestable is None else "request") if again else None,
    )


def _no(profile: str, now: int, reasons: tuple[tuple[str, str], ...], **more: Any) -> Decision:
    said = tuple(Reason(code=code, detail=detail) for code, detail in reasons)
    context = Context(evaluated_at=rfc3339(now), profile=profile, reason=said[0].code, reasons=said, **more)
    return Decision(decision=False, context=context)


def _bound(asked: Submission, binding: _Binding, *, now: int) -> AccessRequest:
    """The request in a submission, which must be for exactly what was denied. Who signed it is admission's to find."""
    question = _question(asked)
    expires_at = binding.require(asked.denial.evaluation_id, question, now=now)
    if asked.denial.expires_at != rfc3339(expires_at):
        raise _unbound()
    record = records.parse(asked.context.signed_request)
    made = record.statement.predicate
    if not isinstance(made, AccessRequest):
        raise Malformed("denial-binding", f"expected a signed access request, got a record of kind `{record.kind}`")
    if Question(made.beneficiary, made.action, made.resource) != question:
        raise Malformed(
            "denial-binding", "the signed request is for another subject, action or resource than was denied"
        )
    return made


def _stands(view: AccessView, index: RecordIndex, task: str, base: str) -> TaskAnswer:
    prefix = task.removeprefix(_PREFIX)
    if len(prefix) != 32 or not task.startswith(_PREFIX) or prefix.strip("0123456789abcdef"):
        raise _unknown(task)
    live = view.request(prefix)
    if live is not None:
        return _of_live(live, base)
    found = index.by_record(prefix, "req")
    if not found:
        raise _unknown(task)
    if found[0].index < view.size:
        raise Refused("task-expired", f"`{task}` is over, and no gate remembers it", hint="keyturn log show")
    return TaskAnswer(task=_task(task, "pending", base, expires_at=found[0].until))


def _of_live(live: Live, base: str) -> TaskAnswer:
    status = STATUS_OF[live.state]
    task = _task(live.id, status, base, expires_at=live.request.not_after)
    if status != "approved" or live.window is None:
        return TaskAnswer(task=task)
    approval = Approval(id=live.id, approved_until=rfc3339(live.window.ends_at))
    return TaskAnswer(task=task, result=Result(mode="reevaluate", approval=approval))


def _task(name: str, status: Status, base: str, *, expires_at: int | None) -> Task:
    until = None if expires_at is None else rfc3339(expires_at)
    return Task(id=name, status=status, status_endpoint=f"{base}{_REQUESTS}/{name}", expires_at=until)


def _unknown(task: str) -> Unavailable:
    return Unavailable(
        "task-unknown",
        f"`{task[:80]}` is no access request that the log has",
        hint="a task is `req-` and 32 hex digits, as the answer to the submission said",
    )


def _socket_of(request: Request[Any, Any, Any]) -> str:
    """The address that this process is bound to: not what the Host header says, which anybody may write."""
    host, port = request.scope["server"] or ("127.0.0.1", 0)
    return f"http://{host}:{port}"


def _identified(request: Request[Any, Any, Any]) -> dict[str, str]:
    said = request.headers.get("X-Request-ID", "")
    return {"X-Request-ID": said} if 0 < len(said) <= 200 and said.isascii() and said.isprintable() else {}
