"""Say what a session in a database may do less than its action: part of an access request, so that coworkers see and sign it.

Each term takes away. Without any, a session may do what gate.toml of its gate says of the action, in the whole schema.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["DatabaseTerms"]

_TABLES_MAX = 64


class DatabaseTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one session is held to. `read_only` takes every privilege but reading, `tables` (of the request's schema) are all that
    it has any on; a statement that runs longer than `statement_s` is ended; `connections` is how many there are at most."""

    read_only: bool = False
    tables: Annotated[
        tuple[Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_$]{0,62}\Z")], ...], Meta(max_length=_TABLES_MAX)
    ] = ()
    statement_s: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    connections: Annotated[int, Meta(ge=1, le=100)] | None = None

    def __post_init__(self) -> None:
        if list(self.tables) != sorted(set(self.tables)):
            raise ValueError("expected tables sorted, each once")
        if not (self.read_only or self.tables or self.statement_s or self.connections):
            raise ValueError("expected terms that say something: a request without any has none")
