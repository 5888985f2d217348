"""One connection that a host gate answered for: which process of sshd it is, and the grant that it lives by.

Canonical JSON in the gate's own directory, so that a gate that starts again goes on watching; nobody else reads it. A process is
named by its boot, its id and when it started (clock ticks since boot): no later process has the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats import canonical_json
from keyturn.formats.session_terms import Account
from keyturn.formats.text import HexDigest, PosixTime, Size

__all__ = ["HostSession", "SshdConnection", "SshdState", "parse", "render"]


@dataclass(frozen=True, slots=True)
class SshdConnection:
    """The process of sshd that serves one connection, by its boot, id and start (clock ticks since boot)."""

    boot: str
    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class SshdState:
    """How a connection stands: whether any process of it is left, whether it is behind its login, and the control groups that
    hold nothing else."""

    alive: bool
    came_in: bool
    cgroups: tuple[str, ...]


class HostSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`digest` is of the request, or of the recovery grant; `key` the session key's SubjectPublicKeyInfo in base64; `cgroups` are
    control groups that hold nothing but this connection; `ends_at` when the grant's window does; `came_in`: it was seen behind
    its login."""

    version: Literal[1]
    boot: Annotated[str, Meta(pattern=r"\A[0-9a-f-]{36}\Z")]
    pid: Annotated[int, Meta(ge=2, le=2**31)]
    started: Size
    how: Literal["grant", "break-glass", "recovery"]
    digest: HexDigest
    account: Account
    key: Annotated[str, Meta(max_length=400)]
    approvals: Annotated[tuple[HexDigest, ...], Meta(max_length=64)] = ()
    asked_at: PosixTime
    ends_at: PosixTime
    came_in: bool = False
    cgroups: Annotated[tuple[Annotated[str, Meta(pattern=r"\A/[!-~]{1,1000}\Z")], ...], Meta(max_length=8)] = ()

    @property
    def name(self) -> str:
        """The connection's own name: one for each process of sshd since the machine was made."""
        return f"{self.boot}-{self.pid}-{self.started}"


def parse(raw: bytes) -> HostSession:
    """Parse `raw`, or raise `Malformed`."""
    return canonical_json.decode(raw, HostSession, what="host session")


def render(value: HostSession) -> bytes:
    """Render the canonical text of `value`."""
    return canonical_json.encode(value)
