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
from keyturn.errors import KeyturnError
from keyturn.formats import base64_text, dsse, statement
from keyturn.formats.recording import RECORDING, Recording
from keyturn.formats.session_terms import BastionTerms, bastion_words
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.gates.bastion.door import BastionDoor
from keyturn.gates.bastion.recorded import RecordedHops
from keyturn.gates.uses import UseJournal, log_what_waits
from keyturn.gates.words import signed_obedience
from keyturn.grants.pushed import Pushed
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Entropy, Hop, HopKeys, Kept, LogWriter

__all__ = ["BastionGate", "BastionGateParts"]

LOGIN_WITHIN_S = 30


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
    seen: Callable[[], GateView]
    say: Callable[[str, str, KeyturnError | None], None]


class BastionGate:
    """One bastion's gate: `ports.bastion.BastionRules`. Safe for threads."""

    def __init__(self, parts: BastionGateParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._let_in: dict[str, tuple[int, int]] = {}

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
