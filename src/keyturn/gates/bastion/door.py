"""Say whether a key opens a way through this bastion now, by which grant, to which host: asked at login, and of live sessions.

1. what names the key: live requests of the witnessed log that name this bastion;
2. the kernel verifies it, for this gate and this key (`verify_grant`, `grants.bastion`);
3. it is for a session on a host that gate.toml knows, by that one's gate;
4. the account is the one of the grant, and the person comes from a network that it names;
5. the key that the host will be shown is this bastion's own: one that was set up again has others.

The host asks the same of the key that the bastion proves there: this door alone opens no host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection

from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.uri import Uri
from keyturn.grants.bastion import bastion_of
from keyturn.grants.verify_grant import Granted, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import Facts
from keyturn.ports import Clock, Hop, HopKeys

__all__ = ["ACTIONS", "BastionDoor"]

ACTIONS = ("host:root", "host:shell")
FACTS = Facts({"gate.recorded": True})


class BastionDoor:
    """The door of one bastion. `view` gives the newest view to decide by, or raises; `strict` raises when gate.toml asks for
    more; `hosts` are the gates of the hosts behind it."""

    def __init__(
        self,
        *,
        gate: Uri,
        hosts: Collection[str],
        keys: HopKeys,
        view: Callable[[], GateView],
        strict: Callable[[GateView], None],
        clock: Clock,
    ) -> None:
        self._gate, self._hosts, self._keys = gate, hosts, keys
        self._view, self._strict, self._clock = view, strict, clock
        self._known: dict[str, str | None] = {}

    def open(self, account: str, key: PublicKey, *, peer: str) -> tuple[Hop, Granted]:
        """What `key` opens now as `account`, from the address `peer`; `Refused` when nothing, `Unavailable` when unknown."""
        view = self._view()
        self._strict(view)
        why: KeyturnError | None = None
        for digest in self._naming(key, view):  # (1)
            try:
                return self._by(digest, account, key, view, peer=peer)
            except KeyturnError as err:
                why = err
        raise why or Refused(
            "session-key-unknown",
            "no live request of the witnessed log names this key and this bastion",
            hint="keyturn ssh HOST --bastion NAME asks, waits for the approvals, and connects with a key of its own",
        )

    def stands(self, hop: Hop) -> None:
        """Raise, as `open` does, unless the way of `hop` would be opened again."""
        view = self._view()
        self._strict(view)
        self._by(hop.request, hop.account, PublicKey.from_text(hop.session_key), view, peer=None)

    def _naming(self, key: PublicKey, view: GateView) -> list[Sha256]:
        requests = view.known.requests
        for gone in self._known.keys() - requests.keys():
            self._known.pop(gone, None)
        for digest, asked in requests.items():
            if digest not in self._known and asked.raw is not None:
                made = _request(asked.raw)
                bastion = bastion_of(made)
                ours = bastion is not None and bastion.gate == str(self._gate)
                self._known[digest] = made.session_key if ours else None
        return [Sha256(digest) for digest, named in list(self._known.items()) if named == key.text]

    def _by(
        self, digest: Sha256, account: str, key: PublicKey, view: GateView, *, peer: str | None
    ) -> tuple[Hop, Granted]:
        bundle = view.bundle_of(digest)
        if bundle is None:
            raise Unavailable(
                "request-unread", f"`req-{digest[:32]}` is over, or an approval of it is in the log and cannot be read"
            )
        found = verify_grant(  # (2)
            bundle, view, now=self._clock.now(), gate=self._gate, session_key=key, facts=FACTS
        ).granted
        made, terms = found.request, found.request.session
        if terms is None or terms.bastion is None or terms.bastion.gate != str(self._gate):
            raise Refused("bastion-other", "the grant does not name this bastion")
        if made.action not in ACTIONS:  # (3)
            raise Refused("host-action", f"expected {' or '.join(ACTIONS)}, the grant is for `{made.action}`")
        if made.gate not in self._hosts:
            raise Refused(
                "bastion-host",
                f"gate.toml of this bastion does not say where the host of `{made.gate}` is",
                hint="its operator adds `[[bastion.hosts]]` to gate.toml",
            )
        own = "root" if made.action == "host:root" else made.beneficiary  # (4)
        named = own if terms.account is None else terms.account
        if account != named:
            raise Refused(
                "account-other",
                f"the grant is for the account `{named}`, not `{account[:60]}`",
                hint=f"keyturn ssh says it itself; with another client: ssh {named}@BASTION",
            )
        if peer is not None and terms.sources:
            came_from = ipaddress.ip_address(peer.partition("%")[0])
            if not any(came_from in ipaddress.ip_network(source) for source in terms.sources):
                raise Refused("source-other", f"the grant is for {', '.join(terms.sources)}, not `{peer}`")
        if terms.bastion.key != self._keys.public(key.text).text:  # (5)
            raise Refused(
                "bastion-key-other",
                "the key that the request names for the host is not this bastion's: it was set up again since",
                hint="ask again",
            )
        hop = Hop(
            request=found.digest,
            gate=made.gate,
            account=named,
            beneficiary=made.beneficiary,
            approvers=found.approvers,
            session_key=key.text,
            hop_key=terms.bastion.key,
            terms=terms,
            ends_at=found.window.ends_at,
            resource=made.resource,
        )
        return hop, found


def _request(raw: bytes) -> AccessRequest:
    return statement.parse(dsse.parse_own(raw).payload, AccessRequest, ACCESS_REQUEST).predicate
