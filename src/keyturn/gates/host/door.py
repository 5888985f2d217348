"""Say whether a key opens an account of this host now, by which grant, and with what: asked at login, and of live sessions again.

1. what names the key, and
2. the kernel verifies it, for this gate and this key: `gates.session_grants`;
3. it is a grant of a session on this very host, or on hosts of which this is one;
4. it is for this account: the one that the request names, else root for `host:root` and the beneficiary's own for `host:shell`;
   a shell is never an account with user id 0, and gate.toml can list accounts that alone are opened;
5. a grant that asks for recording: its key is the bastion's own (`grants.bastion`), and comes from where gate.toml has that one.

One rule for both questions: a session lives exactly as long as its key would still be let in. So whatever closes the gate
(expiry, revocation, suspension, another policy, a view that is too old) ends what goes through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Refused
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.uri import Uri
from keyturn.gates.session_grants import How, Made, SessionGrants
from keyturn.grants.bastion import bastion_of
from keyturn.grants.verify_grant import Granted
from keyturn.grants.view import GateView
from keyturn.trust.roster import Resources

__all__ = ["ACTIONS", "HostDoor", "Opened"]

ACTIONS = ("host:root", "host:shell")


@dataclass(frozen=True, slots=True)
class Opened:
    """What opens an account: `digest` of the request or recovery grant, who is let in, by whose word, with what, until when.

    `sources` are networks that the key must come from, any if there are none. `record` is a recovery grant's own envelope, which
    is what the log is told of its use."""

    how: How
    digest: Sha256
    account: str
    beneficiary: str
    approvers: tuple[str, ...]
    approvals: tuple[Sha256, ...]
    terms: SessionTerms | None
    ends_at: int
    sources: tuple[str, ...] = ()
    granted: Granted | None = None
    record: Envelope | None = None


class HostDoor:
    """The door of one host, by the `session_grants` of its gate. `bastions` are the networks of each bastion that may record what
    comes in here, by its gate's URI; `user_id` is the id of an account of this machine, None when it has no such account.
    """

    def __init__(
        self,
        session_grants: SessionGrants,
        *,
        host: Uri,
        accounts: tuple[str, ...],
        bastions: Mapping[str, tuple[str, ...]],
        user_id: Callable[[str], int | None],
    ) -> None:
        self._grants = session_grants
        self._host = host
        self._accounts = accounts
        self._bastions = bastions
        self._user_id = user_id

    def open(self, account: str, key: PublicKey) -> Opened:
        """What opens `account` to `key` now; `Refused` with the reason when nothing does, `Unavailable` when that is unknown."""
        why: list[KeyturnError] = []
        for one in self._grants.naming(why):
            if one.key != key.text:
                continue
            try:
                return self.stands(one.how, one.digest, account, key)
            except KeyturnError as err:
                why.append(err)
        if not why:
            raise Refused(
                "session-key-unknown",
                "no live request of the witnessed log names this key",
                hint="keyturn ssh HOST asks, waits for the approvals, and connects with a key of its own",
            )
        raise why[-1]

    def closed(self) -> KeyturnError | None:
        """Why no grant at all would open this host now, however it is signed; None when some would. Not for break-glass."""
        return self._grants.closed()

    def stands(self, how: How, digest: Sha256, account: str, key: PublicKey) -> Opened:
        """What `open` gave by this very grant, if it would give it again; raises as `open` does."""

        def require(made: Made, view: GateView | None) -> None:
            self._require(made.action, made.resource, _terms(made), made.beneficiary, account, view)

        found = self._grants.verified(how, digest, key, require=require)
        return Opened(
            how,
            found.digest,
            account,
            found.made.beneficiary,
            found.approvers,
            found.approvals,
            _terms(found.made),
            found.ends_at,
            self._sources(found.made),
            found.granted,
            found.record,
        )

    def _sources(self, made: Made) -> tuple[str, ...]:
        # (5)
        bastion = bastion_of(made) if isinstance(made, AccessRequest) else None
        if bastion is None:
            terms = _terms(made)
            return () if terms is None else terms.sources
        known = self._bastions.get(bastion.gate)
        if not known:
            raise Refused(
                "bastion-not-here",
                f"the grant is recorded by `{bastion.gate}`, and gate.toml of this host says of no network that it is that one",
                hint="its operator adds `[[host.bastions]]` to gate.toml, with the gate and its networks",
            )
        return known  # the person's own networks are the bastion's to look at

    def _require(
        self,
        action: str,
        resource: str,
        terms: SessionTerms | None,
        beneficiary: str,
        account: str,
        view: GateView | None,
    ) -> None:
        # (3)
        if action not in ACTIONS:
            raise Refused("host-action", f"expected {' or '.join(ACTIONS)}, the grant is for `{action}`")
        trust = None if view is None else view.known.newest
        if resource not in _self_and_parents(self._host, None if trust is None else trust.resources):
            raise Refused("host-other", f"the grant is for `{resource}`, this is `{self._host}`")
        # (4)
        own = "root" if action == "host:root" else beneficiary
        named = own if terms is None or terms.account is None else terms.account
        if account != named:
            raise Refused(
                "account-other",
                f"the grant is for the account `{named}`, not `{account[:60]}`",
                hint=f"keyturn ssh says it itself; with another client: ssh {named}@HOST",
            )
        uid = self._user_id(account)
        if uid is None:
            raise Refused("account-unknown", f"this host has no account `{account[:60]}`")
        if uid == 0 and action != "host:root":
            raise Refused("account-root", f"`{account}` has user id 0, which takes `host:root`, not `{action}`")
        if self._accounts and account not in self._accounts:
            raise Refused(
                "account-closed", f"gate.toml of this host opens {', '.join(self._accounts)}, not `{account}`"
            )


def _terms(made: Made) -> SessionTerms | None:
    return made.session if isinstance(made, AccessRequest) else None


def _self_and_parents(host: Uri, resources: Resources | None) -> frozenset[str]:
    found: set[str] = set()
    todo = [host]
    while todo:
        uri = todo.pop()
        known = None if resources is None else resources.by_uri.get(str(uri))
        if str(uri) not in found and known is not None:
            todo.extend(known.parents)
        found.add(str(uri))
    return frozenset(found)
