"""Find what names a session key at a gate for sessions, and verify it: a grant, break-glass, or a recovery grant.

What the doors of hosts and of databases have in common:

1. what names the key: live requests of the witnessed log, break-glass bundles and recovery grants that lie at the gate;
2. the kernel verifies it, for this gate and this key: `verify_grant`, `verify_break_glass` or `verify_recovery`.

What it opens there is for the door to say: its `require` is asked before anything is kept of a use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.recovery import RecoveryGrant
from keyturn.formats.uri import Uri
from keyturn.gates.break_glass import BreakGlassDoor
from keyturn.grants.bastion import key_at
from keyturn.grants.bundle import Bundle
from keyturn.grants.freshness import require_fresh
from keyturn.grants.recovery import verify_recovery
from keyturn.grants.verify_grant import Granted, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import Facts
from keyturn.ports import Clock

__all__ = ["Brought", "How", "Made", "Naming", "SessionGrants", "Standing"]

FACTS: Final = Facts({"gate.recorded": False})
_RECORDED: Final = Facts({"gate.recorded": True})

How = Literal["grant", "break-glass", "recovery"]
Made = AccessRequest | RecoveryGrant


@dataclass(frozen=True, slots=True)
class Brought:
    """What people brought to the gate in files: break-glass bundles, and recovery grants with what each says."""

    bundles: tuple[tuple[AccessRequest, Bundle], ...] = ()
    recoveries: tuple[tuple[RecoveryGrant, Envelope], ...] = ()


@dataclass(frozen=True, slots=True)
class Naming:
    """Something that names a session key, not verified yet: `digest` is of the request or of the recovery grant."""

    how: How
    digest: Sha256
    key: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the kernel verified: what was signed, by whose word, and until when. `record` is a recovery grant's own envelope."""

    how: How
    digest: Sha256
    made: Made
    approvers: tuple[str, ...]
    approvals: tuple[Sha256, ...]
    ends_at: int
    granted: Granted | None = None
    record: Envelope | None = None


class SessionGrants:
    """What opens one gate. `view` gives the newest view to decide by, or raises; `seen` the newest that was read; `brought` what
    lies in the gate's inbox; `strict` raises when gate.toml asks for more; `recorded` says whether what a request opens here is
    recorded; a gate that `observes` tries no break-glass.
    """

    def __init__(
        self,
        *,
        gate: Uri,
        view: Callable[[], GateView],
        seen: Callable[[], GateView],
        strict: Callable[[GateView], None],
        brought: Callable[[], Brought],
        glass: BreakGlassDoor,
        clock: Clock,
        recorded: Callable[[AccessRequest], bool] = lambda _: False,
        observes: bool = False,
    ) -> None:
        self._gate = gate
        self._view = view
        self._seen = seen
        self._strict = strict
        self._brought = brought
        self._glass = glass
        self._clock = clock
        self._recorded = recorded
        self._observes = observes
        self._keys: dict[str, str | None] = {}

    def naming(self, why: list[KeyturnError]) -> Iterator[Naming]:
        """Everything that names any key; `why` is told when the log's requests cannot be known."""
        try:
            view = self._view()
        except KeyturnError as err:
            why.append(err)
        else:
            for digest, asked in view.known.requests.items():
                key = self._key_of(digest, asked.raw)
                if key is not None and asked.raw is not None:
                    made = _request(asked.raw)
                    yield Naming("grant" if made.break_glass_at is None else "break-glass", Sha256(digest), key)
            for gone in self._keys.keys() - view.known.requests.keys():
                self._keys.pop(gone, None)
        brought = self._brought()
        for made, bundle in brought.bundles:
            if made.session_key is not None:
                yield Naming("break-glass", bundle.request.record_digest, made.session_key)
        for recovery, envelope in brought.recoveries:
            yield Naming("recovery", envelope.record_digest, recovery.session_key)

    def closed(self) -> KeyturnError | None:
        """Why no grant at all would open this gate now, however it is signed; None when some would. Not for break-glass."""
        try:
            view = self._view()
            self._strict(view)
            require_fresh(view, now=self._clock.now(), break_glass=False)
        except KeyturnError as err:
            return err
        return None

    def verified(
        self, how: How, digest: Sha256, key: PublicKey, *, require: Callable[[Made, GateView | None], None]
    ) -> Standing:
        """What stands by this very grant for `key`; raises as the kernel and `require` do, and before a use is kept."""
        if how == "recovery":
            return self._by_recovery(digest, key, require)
        if how == "break-glass":
            return self._by_break_glass(digest, key, require)
        view = self._view()
        self._strict(view)
        bundle = view.bundle_of(digest)
        if bundle is None:
            raise Unavailable(
                "request-unread", f"`req-{digest[:32]}` is over, or an approval of it is in the log and cannot be read"
            )
        facts = _RECORDED if self._recorded(_request(dsse.render(bundle.request))) else FACTS
        found = verify_grant(bundle, view, now=self._clock.now(), gate=self._gate, session_key=key, facts=facts).granted
        require(found.request, view)
        return _standing("grant", found)

    def _by_break_glass(
        self, digest: Sha256, key: PublicKey, require: Callable[[Made, GateView | None], None]
    ) -> Standing:
        view = self._view()
        bundle = view.bundle_of(digest)
        for _, one in self._brought().bundles:
            if one.request.record_digest == digest and bundle is None:
                bundle = one
        if bundle is None:
            raise Unavailable("request-unread", f"`req-{digest[:32]}` is over, or cannot be read any more")
        require(_request(dsse.render(bundle.request)), view)
        if self._observes:
            raise Refused(
                "gate-observes", "a gate that observes tries no break-glass: its use would be kept, and logged"
            )
        # INVARIANT: what is let in by break-glass is kept first, so everything else was looked at before.
        return _standing("break-glass", self._glass.open(bundle, session_key=key, facts=FACTS).granted)

    def _by_recovery(
        self, digest: Sha256, key: PublicKey, require: Callable[[Made, GateView | None], None]
    ) -> Standing:
        root = self._seen().trust.root
        why: KeyturnError | None = None
        for made, envelope in self._brought().recoveries:
            if envelope.record_digest != digest:
                continue
            try:
                found = verify_recovery(envelope, root, now=self._clock.now(), gate=self._gate, session_key=key)
            except KeyturnError as err:  # it may lie here again, with more signatures
                why = err
                continue
            require(made, None)
            return Standing("recovery", digest, made, tuple(sorted(found.signers)), (), made.not_after, record=envelope)
        if why is not None:
            raise why
        raise Refused("recovery-gone", "the recovery grant does not lie at this gate any more", hint="bring it again")

    def _key_of(self, digest: str, raw: bytes | None) -> str | None:
        if raw is None:
            return None
        if digest not in self._keys:
            self._keys[digest] = key_at(_request(raw), self._gate)
        return self._keys[digest]


def _standing(how: How, found: Granted) -> Standing:
    return Standing(
        how, found.digest, found.request, found.approvers, found.approvals, found.window.ends_at, granted=found
    )


def _request(raw: bytes) -> AccessRequest:
    return statement.parse(dsse.parse_own(raw).payload, AccessRequest, ACCESS_REQUEST).predicate
