"""What one action means in SQL, in one schema: the table `[actions]` of a postgres gate's gate.toml, and never part of a request.

    [actions."db:read"]
    tables = ["SELECT"]
    sequences = ["SELECT"]
    functions = false

Privileges are those of PostgreSQL (GRANT). Nothing here creates anything, or gives away what it was given.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["Privileges"]

TablePrivilege = Literal["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"]
SequencePrivilege = Literal["USAGE", "SELECT"]


class Privileges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a role may do with every table, sequence and function that its schema has when the role is made."""

    tables: Annotated[tuple[TablePrivilege, ...], Meta(max_length=5)] = ()
    sequences: Annotated[tuple[SequencePrivilege, ...], Meta(max_length=2)] = ()
    functions: bool = False
