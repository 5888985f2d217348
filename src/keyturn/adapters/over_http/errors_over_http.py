"""Carry an error from a server to whoever asked, as problem details (RFC 9457): its kind, its code, what to say and what to do.

    {"type":"https://keyturn.dev/errors#log-fork","title":"tampered","status":409,"detail":"...",
     "code":"log-fork","hint":"...","reasons":[{"code":"log-fork","detail":"..."}]}

`detail` is the error's public text; its internal one stays at the server. `title` is the kind, which says what a caller can do.
What a server says is not believed: an error is never a yes, and its words are shown to people through `cli.output.plain` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.errors import Conflict, KeyturnError, Kind, Malformed, Refused, Tampered, Unavailable, Usage
from keyturn.formats.built import built

__all__ = [
    "MEDIA_TYPE",
    "STATUS",
    "STATUS_OF_CODE",
    "Problem",
    "Reason",
    "as_raised",
    "of",
    "parse",
    "render",
]

MEDIA_TYPE = "application/problem+json"
STATUS: Mapping[Kind, int] = MappingProxyType(
    {"malformed": 400, "usage": 400, "refused": 403, "tampered": 409, "conflict": 409, "unavailable": 503}
)
"""The HTTP status of each kind, where neither the code nor the request has a better one."""
STATUS_OF_CODE: Mapping[str, int] = MappingProxyType(
    {
        "not-found": 404,
        "job-unknown": 404,
        "task-unknown": 404,
        "login-needed": 401,
        "login-invalid": 401,
        "login-expired": 401,
        "login-not-the-proxy": 401,
        "login-certificate-header": 401,
        "login-certificate-refused": 401,
        "login-certificate-unlisted": 401,
        "denial-binding": 400,
        "denial-expired": 410,
        "task-expired": 410,
        "quota": 429,
        "too-many-requests": 429,
    }
)

_TYPE = "https://keyturn.dev/errors#"
_ACCESS_REQUEST = "urn:openid:authzen:access-request:error:"
_TYPE_OF_CODE: Mapping[str, str] = MappingProxyType(
    {
        "denial-binding": _ACCESS_REQUEST + "invalid_denial_binding",
        "denial-expired": _ACCESS_REQUEST + "expired_denial",
        "task-unknown": _ACCESS_REQUEST + "unknown_task",
        "task-expired": _ACCESS_REQUEST + "task_expired",
    }
)
"""Types that a profile of others names for what our code says."""
_RETRY_AFTER_MAX_S = 86_400
_CODE_MAX, _DETAIL_MAX, _HINT_MAX, _REASONS_MAX = 80, 2000, 500, 64


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several reasons for a refusal."""

    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An error of ours on the wire, as problem details. `title` is its kind; `code`, `hint`, `reasons` and
    `retry_after_s` (also the header `Retry-After`) are ours."""

    type: str
    title: Kind
    status: int
    detail: str
    code: str
    hint: str = ""
    reasons: tuple[Reason, ...] = ()
    retry_after_s: Annotated[int, Meta(ge=0, le=_RETRY_AFTER_MAX_S)] | None = None


def of(err: KeyturnError, *, status: int | None = None) -> Problem:
    """The public part of `err`, with the HTTP status of its kind unless `status` says another; its detail stays here."""
    reasons = err.reasons if isinstance(err, Refused) else ()
    return Problem(
        type=_TYPE_OF_CODE.get(err.code, _TYPE + err.code),
        title=err.kind,
        status=STATUS_OF_CODE.get(err.code, STATUS[err.kind]) if status is None else status,
        detail=err.message,
        code=err.code,
        hint=err.hint,
        reasons=tuple(Reason(code=code, detail=text) for code, text in reasons),
        retry_after_s=None if err.retry_after_s is None else min(err.retry_after_s, _RETRY_AFTER_MAX_S),
    )


def as_raised(said: Problem) -> KeyturnError:
    """The exception that `said` was at the server, with its texts cut to what a person reads."""
    code, message, hint = said.code[:_CODE_MAX], said.detail[:_DETAIL_MAX], said.hint[:_HINT_MAX]
    match said.title:
        case "refused":
            reasons = tuple((r.code[:_CODE_MAX], r.detail[:_DETAIL_MAX]) for r in said.reasons[:_REASONS_MAX])
            return Refused(code, message, reasons=reasons, hint=hint, retry_after_s=said.retry_after_s)
        case "malformed":
            return Malformed(code, message, hint=hint)
        case "tampered":
            return Tampered(code, message, hint=hint)
        case "usage":
            return Usage(code, message, hint=hint)
        case "conflict":
            return Conflict(code, message, hint=hint)
        case "unavailable":
            return Unavailable(code, message, hint=hint, retry_after_s=said.retry_after_s)


def render(problem: Problem) -> bytes:
    """Render the body of an answer."""
    return msgspec.json.encode(problem)


def parse(raw: bytes) -> Problem | None:
    """Parse the body of an answer; `None` when it is no error of ours, and the HTTP status says all there is."""
    try:
        return msgspec.json.decode(raw, type=built(Problem))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
