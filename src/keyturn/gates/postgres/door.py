"""Say whether a key opens this database now, by which grant, and with what: asked before a role is made, and of live roles again.

1. what names the key: live requests of the witnessed log;
2. the kernel verifies it, for this gate and this key: `verify_grant`;
3. it is a grant of one schema of this very database;
4. it is for an action that gate.toml of this gate says privileges for: a request names an action, and never SQL.

One rule for both questions, as at every gate: a session lives exactly as long as its key would still be let in.

This is NOT for break-glass and recovery: this gate does not open by them yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.sql_privileges import Privileges
from keyturn.formats.uri import Uri
from keyturn.grants.verify_grant import Granted, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import Facts
from keyturn.ports import Clock

__all__ = ["ROLE_PREFIX", "DatabaseDoor", "Opened", "role_of"]

ROLE_PREFIX: Final = "kt_"
FACTS: Final = Facts({"gate.recorded": False})


@dataclass(frozen=True, slots=True)
class Opened:
    """What opens the database: the grant, the role that exists for it, and what that may do in which schema."""

    granted: Granted
    key: PublicKey
    role: str
    schema: str
    privileges: Privileges


def role_of(digest: str) -> str:
    """The one role that exists for the request with this digest: `kt_` and the number of its id."""
    return f"{ROLE_PREFIX}{digest[:32]}"


class DatabaseDoor:
    """The door of one database. `view` gives the newest view to decide by, or raises; `strict` raises when gate.toml asks for
    more than it has.
    """

    def __init__(
        self,
        *,
        gate: Uri,
        database: Uri,
        actions: Mapping[str, Privileges],
        view: Callable[[], GateView],
        strict: Callable[[GateView], None],
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._database = database
        self._actions = actions
        self._view = view
        self._strict = strict
        self._clock = clock

    def open(self, key: PublicKey) -> Opened:
        """What `key` opens now; `Refused` with the reason when nothing does, `Unavailable` when that is unknown."""
        why: list[KeyturnError] = []
        for digest, made in self._live():
            if made.session_key != key.text:
                continue
            try:
                return self._by(digest, key)
            except KeyturnError as err:
                why.append(err)
        if not why:
            raise Refused(
                "session-key-unknown",
                "no live request of the witnessed log names this key",
                hint="keyturn request db:read DATABASE --session-key KEY asks with a key of its own",
            )
        raise why[-1]

    def stands(self, role: str) -> Opened:
        """What `open` would give for `role` and the key that its request names; raises as `open` does."""
        for digest, made in self._live():
            if role_of(digest) == role and made.session_key is not None:
                return self._by(digest, PublicKey.from_text(made.session_key))
        raise Refused("request-over", f"no live request of the witnessed log is that of `{role}`")

    def _live(self) -> Iterator[tuple[str, AccessRequest]]:
        for digest, asked in self._view().known.requests.items():
            if asked.raw is not None:
                yield (
                    digest,
                    statement.parse(dsse.parse_own(asked.raw).payload, AccessRequest, ACCESS_REQUEST).predicate,
                )

    def _by(self, digest: str, key: PublicKey) -> Opened:
        view = self._view()
        self._strict(view)
        bundle = view.bundle_of(digest)
        if bundle is None:
            raise Unavailable(
                "request-unread", f"`req-{digest[:32]}` is over, or an approval of it is in the log and cannot be read"
            )
        # (2)
        found = verify_grant(bundle, view, now=self._clock.now(), gate=self._gate, session_key=key, facts=FACTS).granted
        # (3)
        resource = Uri.parse(found.request.resource)
        database, _, schema = resource.name.rpartition("/")
        if (resource.lab, resource.type, database) != (self._database.lab, "db", self._database.name) or not schema:
            raise Refused(
                "database-other",
                f"expected a schema of this database, `{self._database}/<schema>`, the grant is for `{resource}`",
            )
        # (4)
        privileges = self._actions.get(found.request.action)
        if privileges is None:
            raise Refused(
                "database-action",
                f"gate.toml of this gate has no privileges for `{found.request.action}`",
                hint="its operator says in `[actions]` what each action may do",
            )
        return Opened(found, key, role_of(Sha256(found.digest)), schema, privileges)
