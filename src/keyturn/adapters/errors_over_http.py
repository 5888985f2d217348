"""Carry an error from a server to whoever asked: what kind it is, its code, what to say and what to do; never its detail.

    {"error":{"code":"log-fork","hint":"...","kind":"tampered","message":"...","reasons":[["log-fork","..."]]}}

What a server says is not believed: an error is never a yes, and its words are shown to people through `cli.output.plain` alone.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Tampered, Unavailable, Usage

__all__ = ["Kind", "WireError", "as_raised", "kind_of", "of", "parse", "render"]

Kind = Literal["malformed", "refused", "tampered", "usage", "conflict", "unavailable"]

_KINDS: tuple[tuple[type[KeyturnError], Kind], ...] = (
    (Malformed, "malformed"),
    (Refused, "refused"),
    (Tampered, "tampered"),
    (Usage, "usage"),
    (Conflict, "conflict"),
)
_CODE_MAX, _MESSAGE_MAX, _HINT_MAX, _REASONS_MAX = 80, 2000, 500, 64


class WireError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An error of ours on the wire. `reasons` are (code, sentence)."""

    kind: Kind
    code: str
    message: str
    hint: str = ""
    reasons: tuple[tuple[str, str], ...] = ()


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    error: WireError


def kind_of(err: KeyturnError) -> Kind:
    """The kind of `err`: what its receiver can do about it. Whatever has no name of its own could not be found out."""
    return next((name for known, name in _KINDS if isinstance(err, known)), "unavailable")


def of(err: KeyturnError) -> WireError:
    """The public part of `err`; its detail stays here."""
    reasons = err.reasons if isinstance(err, Refused) else ()
    return WireError(kind=kind_of(err), code=err.code, message=err.message, hint=err.hint, reasons=reasons)


def as_raised(error: WireError) -> KeyturnError:
    """The exception that `error` was at the server, with its texts cut to what a person reads."""
    code, message, hint = error.code[:_CODE_MAX], error.message[:_MESSAGE_MAX], error.hint[:_HINT_MAX]
    match error.kind:
        case "refused":
            reasons = tuple((c[:_CODE_MAX], m[:_MESSAGE_MAX]) for c, m in error.reasons[:_REASONS_MAX])
            return Refused(code, message, reasons=reasons, hint=hint)
        case "malformed":
            return Malformed(code, message, hint=hint)
        case "tampered":
            return Tampered(code, message, hint=hint)
        case "usage":
            return Usage(code, message, hint=hint)
        case "conflict":
            return Conflict(code, message, hint=hint)
        case "unavailable":
            return Unavailable(code, message, hint=hint)


def render(error: WireError) -> bytes:
    """Render the body of an answer."""
    return msgspec.json.encode(_Body(error))


def parse(raw: bytes) -> WireError | None:
    """Parse the body of an answer; `None` when it is no error of ours, and the HTTP status says all there is."""
    try:
        return msgspec.json.decode(raw, type=_Body).error
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
