"""Notifications: what must be told until it was, and where somebody reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["NoticeOutbox", "NoticeReceiver", "OutgoingNotice"]


@dataclass(frozen=True, slots=True)
class OutgoingNotice:
    """A notification on its way: `number` in the outbox, the receiver's name, and the text, which is plain."""

    number: int
    receiver: str
    title: str
    body: str


class NoticeOutbox(Protocol):
    """What must be told, until it was: at least once, whatever crashes. One process at a time has it."""

    def told(self) -> bytes | None:
        """What the last `keep` kept, `None` before the first."""

    def keep(self, told: bytes, notices: Sequence[tuple[str, str, str, str]], *, now: int) -> None:
        """Keep `told`, and each notice (event, receiver, title, body) that is not there yet: all of it durably, or nothing."""

    def next_for(self, receiver: str, *, now: int) -> OutgoingNotice | None:
        """What to give to `receiver` next; `None` when nothing waits, or while it rests after a failure."""

    def delivered(self, notice: OutgoingNotice, *, now: int) -> None:
        """`notice` was taken by its receiver, which is no longer failing."""

    def failed(self, notice: OutgoingNotice, *, now: int) -> int:
        """`notice` was not taken: the receiver rests, longer each time, and this gives for how many seconds."""

    def forget(self, *, before: int) -> int:
        """Drop what was kept before then: notices that no receiver took (gives how many), and those that one did."""

    def waiting(self) -> Mapping[str, int]:
        """How many notices wait for each receiver that any waits for."""


class NoticeReceiver(Protocol):
    """A place where somebody reads notifications."""

    def give(self, title: str, body: str) -> None:
        """Give it one notification, or raise `Unavailable` `receiver-failed`; it may have got it all the same."""
