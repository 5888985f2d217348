"""What a member and a builder say to each other over HTTP: an order, its state, and what the builder is.

An order carries the signed step request, and beside it what the request does not hold: the STEP.toml (whose digest the
request binds), where it lies on the builder's machine, where the outputs are asked for, and the criteria of an evaluation.
None of these can widen what was signed: inputs and outputs are digested, and the builder has its own list of directories.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from keyturn.adapters.over_http.errors_over_http import Problem
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.errors import Malformed
from keyturn.formats.built import built

__all__ = ["About", "BuilderOverHttp", "JobState", "Order", "Outcome", "decode"]

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


class Outcome(_Strict, frozen=True, kw_only=True):
    """What a step that ran to its end left: see `app.custody.run_step.Receipt`."""

    provenance: str
    outputs: dict[str, str]
    destination: str
    test_result: str | None = None
    passed: bool | None = None
    undeclared: tuple[str, ...] | None = None
    unread: tuple[str, ...] | None = None


class JobState(_Strict, frozen=True, kw_only=True):
    """How an order stands. `job` is the digest of its request; `done` and `total` are bytes hashed in this stage.

    `attempt` says how often the command was begun, the last time from the checkpoint `resumed`; `history` says, for people, what
    interrupted it and how it went on.
    """

    job: str
    step: str
    state: Literal["queued", "running", "done", "failed"]
    stage: str = ""
    ahead: int = 0
    done: int = 0
    total: int = 0
    attempt: int = 0
    resumed: str | None = None
    history: tuple[str, ...] = ()
    outcome: Outcome | None = None
    error: Problem | None = None


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
        return msgspec.json.decode(raw, type=built(kind))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("message-invalid", f"{what}: {str(err)[:500]}") from err
