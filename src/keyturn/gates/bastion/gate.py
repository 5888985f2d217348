"""The bastion's gate: says who comes through, gives keys for requests, and signs for what was recorded.

To let somebody through:
1. the door says by which grant his key opens the way;
2. the decision is written down: what cannot be kept opens nothing;
3. only now the way is open. Whoever relays begins a tape before anything goes through it (`adapters.bastion`).

A finished recording is signed for by its digest, and that is kept until the log has it: before the recording stands under its
name, so that none lies there that nobody was told of. The use of the grant is the host's to sign: that gate the grant is for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from keyturn.crypto import dsse_signing
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import base64_text, dsse, statement
from keyturn.formats.digest import Sha256
from keyturn.formats.recording import RECORDING, Recording
from keyturn.formats.session_terms import BastionTerms, bastion_words, host_key_words
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.gates.bastion.door import BastionDoor
from keyturn.gates.bastion.recorded import RecordedHops
from keyturn.gates.uses import UseJournal, log_what_waits
from keyturn.gates.words import signed_obedience
from keyturn.grants.freshness import require_trust
from keyturn.grants.pushed import Pushed
from keyturn.grants.view import GateView
from keyturn.grants.watching import verify_watch
from keyturn.ports import Clock, Entropy, Hop, HopKeys, Kept, LogWriter, Watching
from keyturn.trust.keyholders import Keyholders

__all__ = ["BastionGate", "BastionGateParts"]

LOGIN_WITHIN_S = 30
WATCHING_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BastionGateParts:
    """What a bastion's gate is made of. `journal` keeps what it signed for recordings, by their digests; `obey` takes what takes
    access away before the log has it; `say` tells its operator."""

    gate: Uri
    key: SoftwareKey
    keys: HopKeys
    door: BastionDoor
    journal: UseJournal
    recorded: RecordedHops
    writer: LogWriter
    clock: Clock
    entropy: Entropy
    obey: Callable[[bytes], Pushed]
    view: Callable[[], GateView]
    seen: Callable[[], GateView]
    say: Callable[[str, str, KeyturnError | None], None]


class BastionGate:
    """One bastion's gate: `ports.bastion.BastionRules`. Safe for threads."""

    def __init__(self, parts: BastionGateParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._let_in: dict[str, tuple[int, int]] = {}
        self._watching_by: dict[str, Watching] = {}

    def terms_for(self, session_key: PublicKey) -> BastionTerms:
        """What a request says of this bastion when its session proves `session_key`. Whoever asks learns a public key."""
        parts, key = self._parts, self._parts.keys.public(session_key.text).text
        words = bastion_words(gate=str(parts.gate), session_key=session_key.text, key=key)
        return BastionTerms(gate=str(parts.gate), key=key, proof=base64_text.encode(parts.key.sign(words)))

    def let_in(self, account: str, key: PublicKey, *, peer: str) -> Hop:
        """Say to what `key` opens the way; raises when it opens nothing, or that cannot be written down."""
        parts = self._parts
        with self._lock:
            try:
                hop, granted = parts.door.open(account, key, peer=peer)  # (1)
            except KeyturnError as err:
                parts.recorded.refused(account, err)
                raise
            # A client offers a key and then proves it: one decision for both.
            now = parts.clock.now()
            self._let_in = {digest: one for digest, one in self._let_in.items() if one[1] > now}
            if self._let_in.get(hop.request, (0, 0))[0] < now - LOGIN_WITHIN_S:
                parts.recorded.granted(hop, granted)  # (2)
                self._let_in[hop.request] = (now, hop.ends_at)
            return hop  # (3)

    def over(self, hop: Hop) -> KeyturnError | None:
        """Why the way of `hop` would not be opened again; None while it would."""
        try:
            self._parts.door.stands(hop)
        except KeyturnError as err:
            return err
        return None

    def watch(self, signed: bytes) -> Watching:
        """Verify that somebody may watch by the statement `signed`, and expect him on a connection that proves the key in it."""
        parts = self._parts
        with self._lock:
            try:
                found = self._watching(signed, begins=True)
            except KeyturnError as err:
                parts.recorded.refused("", err)
                raise
            live = parts.seen().known.requests
            self._watching_by = {key: one for key, one in self._watching_by.items() if one.request in live}
            if len(self._watching_by) >= WATCHING_MAX:
                raise Unavailable("watchers-many", f"{WATCHING_MAX} people watch here already, or said that they will")
            self._watching_by[found.session_key] = found
            return found

    def watcher(self, key: PublicKey) -> Watching | None:
        """Who said that he watches on a connection that proves `key`, and still may; None when nobody did."""
        found = self._watching_by.get(key.text)
        return None if found is None or self.watches(found) is not None else found

    def watches(self, watching: Watching) -> KeyturnError | None:
        """Why he may not go on watching; None while he may."""
        try:
            self._watching(watching.signed, begins=False)
        except KeyturnError as err:
            return err
        return None

    def watched(self, watching: Watching, why: KeyturnError | None) -> None:
        """Write down that he begins to watch, or `Unavailable`: then he does not. With `why`: that he ended, and why."""
        with self._lock:
            self._parts.recorded.watched(watching, why)

    def host_key_proof(self, host_key: str) -> str:
        """This gate's signature that `host_key` is its SSH server's, in base64: whoever comes in compares."""
        words = host_key_words(gate=str(self._parts.gate), host_key=host_key)
        return base64_text.encode(self._parts.key.sign(words))

    def _watching(self, signed: bytes, *, begins: bool) -> Watching:
        parts = self._parts
        said, made, _ = verify_watch(signed, parts.view(), now=parts.clock.now(), gate=parts.gate, begins=begins)
        PublicKey.from_text(said.session_key)
        return Watching(
            request=Sha256(said.request),
            member=said.member,
            session_key=said.session_key,
            signed=signed,
            resource=made.resource,
            beneficiary=made.beneficiary,
            who="" if made.session is None else made.session.watcher or "",
        )

    def sealed_to(self) -> tuple[int, Keyholders]:
        """Who opens what is recorded from now on, and the targets version that says so; `Refused` when it names nobody."""
        trust = require_trust(self._parts.view(), now=self._parts.clock.now())
        if trust.recordings is None:
            raise Refused(
                "keyholders-none",
                f"trust version {trust.targets_version} names no keyholders of recordings, so nothing is recorded or let through",
                hint="`[recordings]` in the draft's gates.toml, then keyturn trust propose",
            )
        return trust.targets_version, trust.recordings

    def keep(self, made: Kept) -> None:
        """Sign for a recording, and keep that for the log; or `Unavailable`."""
        parts = self._parts
        said = Recording(
            lab=parts.gate.lab,
            nonce=parts.entropy.nonce(),
            gate=str(parts.gate),
            key=parts.key.public.keyid,
            request=made.request,
            digest=made.digest,
            size_bytes=made.size_bytes,
            what=made.what,
            begun_at=made.begun_at,
            ended_at=made.ended_at,
            cut=made.cut,
            watched_by=made.watched_by,
        )
        subject = (Subject(digest=DigestSet(sha256=made.digest), name="recording"),)
        envelope = dsse.render(dsse_signing.sign(statement.make(said, RECORDING, subject), parts.key))
        parts.journal.keep_use(made.digest, envelope)

    def log_what_waits(self) -> int:
        """Log what was signed for recordings and waits; gives how many those were. Raises as the log does."""
        return log_what_waits(self._parts.journal, self._parts.writer, self._parts.say)

    def obey(self, negative: bytes) -> bytes:
        """Obey the signed denial, revocation or suspension `negative`; sessions that went in by it end at the next look."""
        parts = self._parts
        found = parts.obey(negative)
        acted = found.request is not None and found.request in self._let_in
        return signed_obedience(
            found, size=parts.seen().frontier.size, acted=acted, gate=parts.gate, key=parts.key, clock=parts.clock
        )
