"""Say whether a key opens an account of this host now, by which grant, and with what: asked at login, and of live sessions again.

1. what names the key: live requests of the witnessed log, break-glass bundles and recovery grants that lie at the gate;
2. the kernel verifies it, for this gate and this key: `verify_grant`, `verify_break_glass` or `verify_recovery`;
3. it is a grant of a session on this very host, or on hosts of which this is one;
4. it is for this account: the one that the request names, else root for `host:root` and the beneficiary's own for `host:shell`;
   a shell is never an account with user id 0, and gate.toml can list accounts that alone are opened;
5. a grant that asks for recording: its key is the bastion's own (`grants.bastion`), and comes from where gate.toml has that one.

One rule for both questions: a session lives exactly as long as its key would still be let in. So whatever closes the gate
(expiry, revocation, suspension, another policy, a view that is too old) ends what goes through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.recovery import RecoveryGrant
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.uri import Uri
from keyturn.gates.break_glass import BreakGlassDoor
from keyturn.grants.bastion import bastion_of, key_at
from keyturn.grants.bundle import Bundle
from keyturn.grants.freshness import require_fresh
from keyturn.grants.recovery import verify_recovery
from keyturn.grants.verify_grant import Granted, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import Facts
from keyturn.ports import Clock
from keyturn.trust.roster import Resources

__all__ = ["ACTIONS", "Brought", "HostDoor", "How", "Opened"]

ACTIONS = ("host:root", "host:shell")
FACTS = Facts({"gate.recorded": False})
_RECORDED = Facts({"gate.recorded": True})

How = Literal["grant", "break-glass", "recovery"]


@dataclass(frozen=True, slots=True)
class Brought:
    """What people brought to the gate in files: break-glass bundles, and recovery grants with what each says."""

    bundles: tuple[tuple[AccessRequest, Bundle], ...] = ()
    recoveries: tuple[tuple[RecoveryGrant, Envelope], ...] = ()


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
    """The door of one host. `view` gives the newest view to decide by, or raises; `brought` what lies in the gate's inbox;
    `bastions` are the networks of each bastion that may record what comes in here, by its gate's URI; `user_id` the id of an
    account of this machine, None when it has no such account. `strict` raises when gate.toml asks for more.
    """

    def __init__(
        self,
        *,
        gate: Uri,
        host: Uri,
        accounts: tuple[str, ...],
        bastions: Mapping[str, tuple[str, ...]],
        view: Callable[[], GateView],
        seen: Callable[[], GateView],
        strict: Callable[[GateView], None],
        brought: Callable[[], Brought],
        glass: BreakGlassDoor,
        user_id: Callable[[str], int | None],
        clock: Clock,
        observes: bool,
    ) -> None:
        self._gate = gate
        self._host = host
        self._accounts = accounts
        self._bastions = bastions
        self._view = view
        self._seen = seen
        self._strict = strict
        self._brought = brought
        self._glass = glass
        self._user_id = user_id
        self._clock = clock
        self._observes = observes
        self._keys: dict[str, str | None] = {}

    def open(self, account: str, key: PublicKey) -> Opened:
        """What opens `account` to `key` now; `Refused` with the reason when nothing does, `Unavailable` when that is unknown."""
        why: list[KeyturnError] = []
        for how, digest in self._naming(key, why):
            try:
                return self.stands(how, digest, account, key)
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
        try:
            view = self._view()
            self._strict(view)
            require_fresh(view, now=self._clock.now(), break_glass=False)
        except KeyturnError as err:
            return err
        return None

    def stands(self, how: How, digest: Sha256, account: str, key: PublicKey) -> Opened:
        """What `open` gave by this very grant, if it would give it again; raises as `open` does."""
        if how == "recovery":
            return self._by_recovery(digest, account, key)
        if how == "break-glass":
            return self._by_break_glass(digest, account, key)
        view = self._view()
        self._strict(view)
        bundle = view.bundle_of(digest)
        if bundle is None:
            raise Unavailable(
                "request-unread", f"`req-{digest[:32]}` is over, or an approval of it is in the log and cannot be read"
            )
        facts = FACTS if bastion_of(_request(dsse.render(bundle.request))) is None else _RECORDED
        found = verify_grant(bundle, view, now=self._clock.now(), gate=self._gate, session_key=key, facts=facts).granted
        return self._opened("grant", found, account, view)

    def _naming(self, key: PublicKey, why: list[KeyturnError]) -> Iterable[tuple[How, Sha256]]:
        try:
            view = self._view()
        except KeyturnError as err:
            why.append(err)
        else:
            for digest, asked in view.known.requests.items():
                if self._key_of(digest, asked.raw) == key.text and asked.raw is not None:
                    made = _request(asked.raw)
                    yield ("grant" if made.break_glass_at is None else "break-glass"), Sha256(digest)
            for gone in self._keys.keys() - view.known.requests.keys():
                self._keys.pop(gone, None)
        brought = self._brought()
        for made, bundle in brought.bundles:
            if made.session_key == key.text:
                yield "break-glass", bundle.request.record_digest
        for recovery, envelope in brought.recoveries:
            if recovery.session_key == key.text:
                yield "recovery", envelope.record_digest

    def _key_of(self, digest: str, raw: bytes | None) -> str | None:
        if raw is None:
            return None
        if digest not in self._keys:
            self._keys[digest] = key_at(_request(raw), self._gate)
        return self._keys[digest]

    def _by_break_glass(self, digest: Sha256, account: str, key: PublicKey) -> Opened:
        view = self._view()
        bundle = view.bundle_of(digest)
        for _, one in self._brought().bundles:
            if one.request.record_digest == digest and bundle is None:
                bundle = one
        if bundle is None:
            raise Unavailable("request-unread", f"`req-{digest[:32]}` is over, or cannot be read any more")
        asked = _request(dsse.render(bundle.request))
        self._require(asked.action, asked.resource, asked.session, asked.beneficiary, account, view)
        if self._observes:
            raise Refused(
                "gate-observes", "a gate that observes tries no break-glass: its use would be kept, and logged"
            )
        # INVARIANT: what is let in by break-glass is kept first, so everything else was looked at before.
        found = self._glass.open(bundle, session_key=key, facts=FACTS).granted
        return self._opened("break-glass", found, account, view)

    def _by_recovery(self, digest: Sha256, account: str, key: PublicKey) -> Opened:
        root = self._seen().trust.root
        for made, envelope in self._brought().recoveries:
            if envelope.record_digest != digest:
                continue
            found = verify_recovery(envelope, root, now=self._clock.now(), gate=self._gate, session_key=key)
            self._require(made.action, made.resource, None, made.beneficiary, account, None)
            signers = tuple(sorted(found.signers))
            return Opened(
                "recovery", digest, account, made.beneficiary, signers, (), None, made.not_after, record=envelope
            )
        raise Refused("recovery-gone", "the recovery grant does not lie at this gate any more", hint="bring it again")

    def _opened(self, how: How, found: Granted, account: str, view: GateView) -> Opened:
        made = found.request
        self._require(made.action, made.resource, made.session, made.beneficiary, account, view)
        return Opened(
            how,
            found.digest,
            account,
            made.beneficiary,
            found.approvers,
            found.approvals,
            made.session,
            found.window.ends_at,
            self._sources(made),
            found,
        )

    def _sources(self, made: AccessRequest) -> tuple[str, ...]:
        # (5)
        bastion = bastion_of(made)
        if bastion is None:
            return () if made.session is None else made.session.sources
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


def _request(raw: bytes) -> AccessRequest:
    return statement.parse(dsse.parse_own(raw).payload, AccessRequest, ACCESS_REQUEST).predicate


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
