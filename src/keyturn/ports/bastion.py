"""What a bastion's two halves say to each other: the gate, which decides, and whoever relays and records what it let through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError
from keyturn.formats.digest import Sha256
from keyturn.formats.recording import Recorded
from keyturn.formats.session_terms import SessionTerms

__all__ = ["BastionRules", "Hop", "HopKeys", "Kept", "Watching"]


@dataclass(frozen=True, slots=True)
class Hop:
    """One person let through to one host: by the grant of `request`, as `account`, with `terms`, until `ends_at`. `gate` is the
    host's; `session_key` what the person proved, and `hop_key` what the bastion proves there (SubjectPublicKeyInfo in base64)."""

    request: Sha256
    gate: str
    account: str
    beneficiary: str
    approvers: tuple[str, ...]
    session_key: str
    hop_key: str
    terms: SessionTerms
    ends_at: int
    resource: str


@dataclass(frozen=True, slots=True)
class Watching:
    """One person who watches what goes through under `request`: `member`, by the statement `signed`, on a connection that proves
    `session_key`. `resource` and `beneficiary` are the request's, and `who` whom it wants to watch."""

    request: Sha256
    member: str
    session_key: str
    signed: bytes
    resource: str
    beneficiary: str
    who: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording that lies sealed on the disk: of which session, and its digest and size. `cut`: it has no end."""

    request: str
    digest: str
    size_bytes: int
    what: Recorded
    begun_at: int
    ended_at: int
    cut: bool = False
    watched_by: tuple[str, ...] = ()


class HopKeys(Protocol):
    """The keys that a bastion proves to hosts: one for each session key, and none is stored."""

    def public(self, session_key: str) -> PublicKey:
        """The key for the session whose person proves `session_key`."""


class BastionRules(Protocol):
    """What whoever relays asks the gate. Each may take a moment, and is called from any thread."""

    def let_in(self, account: str, key: PublicKey, *, peer: str) -> Hop:
        """To what `key` opens the way, for somebody from the address `peer`; raises when it opens nothing."""

    def over(self, hop: Hop) -> KeyturnError | None:
        """Why the way would not be opened again; None while it would."""

    def watcher(self, key: PublicKey) -> Watching | None:
        """Who said that he watches on a connection that proves `key`, and may; None when nobody did."""

    def watches(self, watching: Watching) -> KeyturnError | None:
        """Why he may not go on watching; None while he may."""

    def watched(self, watching: Watching, why: KeyturnError | None) -> None:
        """Write down that he begins to watch, or `Unavailable`: then he does not. With `why`: that he ended, and why."""

    def keep(self, made: Kept) -> None:
        """Sign for a recording, and keep that for the log, durably; or `Unavailable`."""
