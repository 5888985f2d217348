"""Witnesses as a log sees them, and what a witness must never forget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeVar

from keyturn.errors import KeyturnError
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.note import NoteSignature

__all__ = ["CosignStore", "Cosigner", "Witnesses"]


T = TypeVar("T")


class Cosigner(Protocol):
    """A witness, as a log sees it. Its answers are verified by whoever uses them."""

    def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
        """Offer a checkpoint: the witness's signature lines, or the size that it has when `old_size` is another.

        `Refused` when it says no, `Unavailable` when it does not answer.
        """

    def newest(self, origin: str) -> bytes | None:
        """The newest checkpoint of log `origin` that it cosigned, with its cosignature; `None` when it never did."""


class Witnesses(Protocol):
    """The witnesses of a log by name, to be asked all at once."""

    def ask(
        self,
        needed: Collection[str],
        welcome: Collection[str],
        question: Callable[[str, Cosigner], T],
        *,
        enough: int,
    ) -> Mapping[str, T | KeyturnError]:
        """Put `question` to each, and give each one's answer, or the error that it raised.

        Returns when `enough` of the `needed` answered without an error, or all of them with one, and a moment later for the rest:
        who is late has an `Unavailable`. A witness that hangs costs that moment, and keeps no checkpoint from being published.
        """


class CosignStore(Protocol):
    """What a witness must never forget: the newest checkpoint that it cosigned, for each log."""

    def read(self, origin: str) -> bytes | None:
        """The note, or `None` before the first."""

    def swap(self, origin: str, old: bytes | None, new: bytes) -> None:
        """Replace `old` by `new` durably, or raise `Conflict` and change nothing."""

    def keep_evidence(self, origin: str, raw: bytes) -> None:
        """Keep a request that may prove that the log misbehaved; bounded, and durable before it returns."""
