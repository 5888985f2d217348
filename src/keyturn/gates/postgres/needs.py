"""What the postgres gate needs of the world: the roles of its database, and certificates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from keyturn.crypto.keys import PublicKey
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.sql_privileges import Privileges

__all__ = ["GrantRoles", "SessionCertificates"]


class GrantRoles(Protocol):
    """The roles of grants in one database. Each call is one look or one transaction; or raises `Unavailable`."""

    def require_closed(self) -> None:
        """`Refused` when the server lets anybody in as such a role, or as the gate's account, by another way than the gate's."""

    def has(self, role: str) -> bool:
        """Whether `role` is there and may connect."""

    def standing(self) -> Mapping[str, bool]:
        """The roles that are there, and whether each may connect: for the watch, by which the server sees that the gate lives."""

    def make(
        self, role: str, schema: str, privileges: Privileges, *, terms: DatabaseTerms | None, ends_at: int
    ) -> None:
        """Make `role` with exactly `privileges` on what is in `schema`, as far as `terms` leave them.

        `Refused`, and nothing is made, if it could do more."""

    def end_statements(self, role: str, *, longer_than_s: int) -> None:
        """Cancel what `role` has run for longer, and end the connection of what goes on all the same."""

    def shut(self, roles: Collection[str]) -> None:
        """Let nobody in as one of `roles` any more, and end their connections: all at once, whatever keeps one of them."""

    def drop(self, role: str) -> bool:
        """Drop `role`, which is shut, with what it owns. False: a connection of it is still there, ask again in a moment."""

    def end_all(self) -> None:
        """End every connection by a grant, also when the server can tell nobody any more which roles there are."""

    def begin(self) -> None:
        """Have a watchman in the server who ends every connection by a grant when this process looks no more."""

    def end_strays(self) -> None:
        """End the connections of roles of grants that are not there any more."""


class SessionCertificates(Protocol):
    """What the server's TLS lets a role in by."""

    def issue(self, key: PublicKey, role: str, *, now: int, until: int) -> bytes:
        """A certificate (PEM) for `role` over `key`, good from `now` `until` (POSIX seconds). It is no secret."""
