"""Say whether a key opens this database now, by which grant, and with what: asked before a role is made, and of live roles again.

1. what names the key, and
2. the kernel verifies it, for this gate and this key: `gates.session_grants`;
3. it is a grant of one schema of this very database;
4. it is for an action that gate.toml of this gate says privileges for: a request names an action, and never SQL. What the request
   holds itself to (`formats.database_terms`) takes from them.

One rule for both questions, as at every gate: a session lives exactly as long as its key would still be let in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Refused
from keyturn.formats.access import AccessRequest
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.sql_privileges import Privileges
from keyturn.formats.uri import Uri
from keyturn.gates.session_grants import Made, Naming, SessionGrants, Standing
from keyturn.grants.view import GateView

__all__ = ["ROLE_PREFIX", "DatabaseDoor", "Opened", "role_of"]

ROLE_PREFIX: Final = "kt_"


@dataclass(frozen=True, slots=True)
class Opened:
    """What opens the database: what stands, the role that exists for it, and what that may do in which schema."""

    standing: Standing
    key: PublicKey
    role: str
    schema: str
    privileges: Privileges
    terms: DatabaseTerms | None


def role_of(digest: str) -> str:
    """The one role that exists for the request or recovery grant with this digest: `kt_` and the number of its id."""
    return f"{ROLE_PREFIX}{digest[:32]}"


class DatabaseDoor:
    """The door of one database, by the `session_grants` of its gate; `actions` say what each action may do."""

    def __init__(self, session_grants: SessionGrants, *, database: Uri, actions: Mapping[str, Privileges]) -> None:
        self._grants = session_grants
        self._database = database
        self._actions = actions

    def open(self, key: PublicKey) -> Opened:
        """What `key` opens now; `Refused` with the reason when nothing does, `Unavailable` when that is unknown."""
        why: list[KeyturnError] = []
        for one in self._grants.naming(why):
            if one.key != key.text:
                continue
            try:
                return self._by(one)
            except KeyturnError as err:
                why.append(err)
        if not why:
            raise Refused(
                "session-key-unknown",
                "no live request of the witnessed log names this key",
                hint="keyturn psql DATABASE/SCHEMA asks, waits for the approvals, and connects with a key of its own",
            )
        raise why[-1]

    def closed(self) -> KeyturnError | None:
        """Why no grant at all would open this database now, however it is signed; None when some would. Not for break-glass."""
        return self._grants.closed()

    def stands(self, role: str) -> Opened:
        """What `open` would give for `role` and the key that its request names; raises as `open` does."""
        why: list[KeyturnError] = []
        for one in self._grants.naming(why):
            if role_of(one.digest) == role:
                return self._by(one)
        if why:
            raise why[-1]
        raise Refused("request-over", f"no live request of the witnessed log is that of `{role}`")

    def _by(self, one: Naming) -> Opened:
        key = PublicKey.from_text(one.key)
        found = self._grants.verified(one.how, one.digest, key, require=self._require)
        schema, privileges = self._what(found.made)
        return Opened(found, key, role_of(one.digest), schema, privileges, _terms(found.made))

    def _require(self, made: Made, _: GateView | None) -> None:
        self._what(made)

    def _what(self, made: Made) -> tuple[str, Privileges]:
        # (3)
        resource = Uri.parse(made.resource)
        database, _, schema = resource.name.rpartition("/")
        if (resource.lab, resource.type, database) != (self._database.lab, "db", self._database.name) or not schema:
            raise Refused(
                "database-other",
                f"expected a schema of this database, `{self._database}/<schema>`, the grant is for `{resource}`",
            )
        # (4)
        privileges = self._actions.get(made.action)
        if privileges is None:
            raise Refused(
                "database-action",
                f"gate.toml of this gate has no privileges for `{made.action}`",
                hint="its operator says in `[actions]` what each action may do",
            )
        return schema, _held_to(privileges, _terms(made))


def _terms(made: Made) -> DatabaseTerms | None:
    return made.database if isinstance(made, AccessRequest) else None


def _held_to(privileges: Privileges, terms: DatabaseTerms | None) -> Privileges:
    if terms is None or not terms.read_only:
        return privileges
    return Privileges(
        tables=("SELECT",) if "SELECT" in privileges.tables else (),
        sequences=("SELECT",) if "SELECT" in privileges.sequences else (),
    )
