"""What a member and a builder say to each other over HTTP: an order, its state, and what the builder is.

An order carries the signed step request, and beside it what the request does not hold: the STEP.toml (whose digest the
request binds), where it lies on the builder's machine, where the outputs are asked for, and the criteria of an evaluation.
None of these can widen what was signed: inputs and outputs are digested, and the builder has its own list of directories.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from keyturn.adapters.http_client import HttpClient
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Tampered, Unavailable, Usage

__all__ = ["About", "BuilderOverHttp", "JobError", "JobState", "Order", "Outcome", "decode", "error_of", "state_error"]

_AbsolutePath = Annotated[str, Meta(pattern=r"\A/[^\x00-\x1f\x7f]{0,4095}\Z")]

T = TypeVar("T")


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Order(_Strict, frozen=True, kw_only=True):
    """Run this step. `base` is the directory of the STEP.toml, `destination` the directory that outputs are asked for in."""

    request: bytes
    step_file: Annotated[bytes, Meta(max_length=64 * 1024)]
    base: _AbsolutePath
    destination: _AbsolutePath
    criteria: bytes | None = None


class JobError(_Strict, frozen=True, kw_only=True):
    """Why a step was not run, or failed: an error of ours on the wire."""

    kind: Literal["malformed", "refused", "tampered", "usage", "conflict", "unavailable"]
    code: str
    message: str
    hint: str = ""
    reasons: tuple[tuple[str, str], ...] = ()


class Outcome(_Strict, frozen=True, kw_only=True):
    """What a step that ran to its end left: see `app.run_step.Receipt`."""

    provenance: str
    outputs: dict[str, str]
    destination: str
    test_result: str | None = None
    passed: bool | None = None


class JobState(_Strict, frozen=True, kw_only=True):
    """How an order stands. `job` is the digest of its request; `done` and `total` are bytes hashed in this stage."""

    job: str
    step: str
    state: Literal["queued", "running", "done", "failed"]
    stage: str = ""
    ahead: int = 0
    done: int = 0
    total: int = 0
    outcome: Outcome | None = None
    error: JobError | None = None


class About(_Strict, frozen=True, kw_only=True):
    """What a builder says of itself; whether it is the lab's builder is for the targets to say."""

    name: str
    lab: str
    key: str
    level: int
    work: tuple[str, ...]
    runtime: tuple[str, ...]
    queue_max: int
    trust_version: int


class BuilderOverHttp:
    """A client of one builder."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def about(self) -> About:
        return decode(self._client.get("/about", size_bytes_max=1 << 20), About, what="builder's answer")

    def order(self, order: Order) -> JobState:
        """Hand in `order`; when this returns it is queued, and its request will be logged before it runs."""
        return decode(self._client.post("/steps", msgspec.json.encode(order)), JobState, what="builder's answer")

    def state(self, job: str, *, wait_s: float) -> JobState:
        """Ask how `job` stands; the builder answers at its end, or after `wait_s`."""
        return decode(
            self._client.get(f"/steps/{job}?wait_s={wait_s}", size_bytes_max=1 << 20), JobState, what="builder's answer"
        )


def decode(raw: bytes, kind: type[T], *, what: str) -> T:
    """Parse a message, or raise `Malformed` naming `what`."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("message-invalid", f"{what}: {err}") from err


_KINDS: tuple[tuple[type[KeyturnError], Literal["malformed", "refused", "tampered", "usage", "conflict"]], ...] = (
    (Malformed, "malformed"),
    (Refused, "refused"),
    (Tampered, "tampered"),
    (Usage, "usage"),
    (Conflict, "conflict"),
)


def error_of(err: KeyturnError) -> JobError:
    """Give the public part of `err`; its detail stays with the builder."""
    kind = next((name for known, name in _KINDS if isinstance(err, known)), None)
    return JobError(
        kind=kind or "unavailable",
        code=err.code,
        message=err.message,
        hint=err.hint,
        reasons=err.reasons if isinstance(err, Refused) else (),
    )


def state_error(error: JobError) -> KeyturnError:
    """Give `error` as the exception that it was at the builder."""
    match error.kind:
        case "refused":
            return Refused(error.code, error.message, reasons=error.reasons, hint=error.hint)
        case "malformed":
            return Malformed(error.code, error.message, hint=error.hint)
        case "tampered":
            return Tampered(error.code, error.message, hint=error.hint)
        case "usage":
            return Usage(error.code, error.message, hint=error.hint)
        case "conflict":
            return Conflict(error.code, error.message, hint=error.hint)
        case "unavailable":
            return Unavailable(error.code, error.message, hint=error.hint)
