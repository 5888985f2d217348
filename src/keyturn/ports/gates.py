"""What a gate must not forget, and how gates are told and asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from keyturn.errors import KeyturnError
from keyturn.formats.decision import Decision
from keyturn.formats.digest import Sha256

__all__ = ["BreakGlassJournal", "Decisions", "Gates", "PushedStore", "ReleaseJournal", "ReleaseOrders"]


class BreakGlassJournal(Protocol):
    """What a gate opened by break-glass and has not seen in the log yet."""

    def entries(self) -> Sequence[tuple[bytes, ...]]:
        """The records of each use, in the order in which to log them: request, approvals, use; oldest first."""

    def keep(self, use: Sha256, records: tuple[bytes, ...]) -> None:
        """Keep the `records` of the use with this digest durably before it returns; the same again changes nothing."""

    def forget(self, use: Sha256) -> None:
        """Forget a use that is in the log; durable before it returns."""


class ReleaseJournal(Protocol):
    """What a release gate remembers of its acts, by the digest of the request. Each write is durable before it returns."""

    def use(self, request: Sha256) -> bytes | None:
        """The access-use that the gate signed for `request`, logged or not; `None` when it signed none."""

    def keep_use(self, request: Sha256, envelope: bytes) -> None:
        """Keep the signed access-use before it is logged; `Conflict` when there is another one, and nothing changes."""

    def pack(self, request: Sha256) -> bytes | None:
        """The pack that the gate made for `request`; `None` when it made none."""

    def keep_pack(self, request: Sha256, pack: bytes) -> None:
        """Keep the pack before anybody gets it; `Conflict` when there is another one, and nothing changes."""


class Decisions(Protocol):
    """What a gate decided, in the order in which it did."""

    def keep(self, made: Decision) -> None:
        """Append `made` durably under the next sequence number, whatever its own says; `Unavailable`, and nothing is kept."""


class PushedStore(Protocol):
    """What a gate was given directly, verified and obeys, by the digest of the record: bounded by whoever keeps it."""

    def keep(self, digest: Sha256, envelope: bytes) -> None:
        """Keep it durably; the same again is done."""

    def drop(self, digest: str) -> None:
        """Forget it; one that is not there is forgotten."""

    def kept(self) -> Sequence[bytes]:
        """All that is kept."""


class Gates(Protocol):
    """The gates of a lab, to be told of what takes access away."""

    def tell(self, gates: Collection[str], envelope: bytes) -> Mapping[str, bytes | KeyturnError]:
        """Give `envelope` to each of `gates` (URIs), all at once: what it answered, or the error that kept it from answering.

        Returns within seconds, whatever they do. An answer is not believed, but verified by whoever asked.
        """


class ReleaseOrders(Protocol):
    """Ask a release gate to release what people granted."""

    def release(self, order: bytes) -> bytes:
        """Give the pack of the release that `order` (`formats.release_order`) asks for; the same order again, the same pack.

        Raises what the gate raised; what it gives is not believed, but verified like any pack.
        """
