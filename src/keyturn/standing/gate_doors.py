"""Say what a postgres gate puts into its server to let people in: what the gate demands there, and a scan does not call a door.

The lines of pg_hba.conf must be its first: they let a role of a grant into the one database, by TLS and a certificate of the gate
alone, and the gate's own account by the Unix socket alone, as one user of the operating system. `installed` is true when the
server has exactly that: then the account makes roles, and nobody comes in by it but the gate. Anything else, and it is a door.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["ACCOUNT", "GROUP", "MAP", "HbaRule", "IdentLine", "installed", "rules"]

ACCOUNT: Final = "keyturn_gate"
GROUP: Final = "keyturn_grants"
MAP: Final = "keyturn"


@dataclass(frozen=True, slots=True)
class HbaRule:
    """What one line of pg_hba.conf says, as the server reads it; no address and no options are empty."""

    kind: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str
    method: str
    options: tuple[str, ...]

    @property
    def text(self) -> str:
        """The line, as it is typed."""
        words = (self.kind, ",".join(self.databases), ",".join(self.users), self.address, self.method, *self.options)
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class IdentLine:
    """One line of pg_ident.conf: by the map `map`, `user` of the operating system is `role`."""

    map: str
    user: str
    role: str


def rules(database: str) -> tuple[HbaRule, ...]:
    """The lines that pg_hba.conf of the server with `database` must begin with."""
    everything = ("all", "replication")
    return (
        HbaRule("local", ("all",), (ACCOUNT,), "", "peer", (f"map={MAP}",)),
        HbaRule("host", everything, (ACCOUNT,), "all", "reject", ()),
        HbaRule("hostssl", (database,), (f"+{GROUP}",), "all", "cert", ("clientcert=verify-full",)),
        HbaRule("local", everything, (f"+{GROUP}",), "", "reject", ()),
        HbaRule("host", everything, (f"+{GROUP}",), "all", "reject", ()),
    )


def installed(hba: Sequence[HbaRule], ident: Sequence[IdentLine], *, user: str) -> bool:
    """Whether a server with these lines, in their order, lets in by a gate that `user` runs exactly as the gate demands."""
    if len(hba) < len(rules("")) or [one for one in ident if one.map == MAP] != [IdentLine(MAP, user, ACCOUNT)]:
        return False
    named = hba[2].databases
    return (
        len(named) == 1
        and named[0] not in ("all", "replication", "sameuser", "samerole", "samegroup")
        and (tuple(hba[: len(rules(""))]) == rules(named[0]))
    )
