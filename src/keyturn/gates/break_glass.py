"""Open by break-glass, as any gate for sessions does: keep the use in the gate's journal first, and log it when the log is there.

To open:
1. the newest view: refreshed, or, when the log cannot be had or is not believed, the one that the gate believed last;
2. `verify_break_glass`, with what this gate's journal holds;
3. the gate signs its use, and the journal keeps it with its request and approvals, durably; one request has one use there;
4. only now somebody is let in.

To log, whenever the log may be there again: request and approvals, as far as the log takes them (somebody may have left the
lab since), then the use; when it is witnessed and in the gate's own view, the journal forgets it. A crash between any two steps
leaves the use in the journal, and the log takes the same record again as what it is.

This is NOT the decision: that is `grants.break_glass`. Whoever runs this ends the session when its window ends.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from keyturn.crypto import dsse_signing
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.formats import access, dsse, records, statement
from keyturn.formats.access import AccessUse
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.grants.break_glass import VerifiedBreakGlass, verify_break_glass
from keyturn.grants.bundle import Bundle
from keyturn.grants.known import BreakGlassUse
from keyturn.grants.view import GateView
from keyturn.policy.facts import Facts
from keyturn.ports import BreakGlassJournal, Clock, Entropy, LogWriter

__all__ = ["BreakGlassDoor", "FollowedByGate"]


class FollowedByGate(Protocol):
    """The gate's view of the log (`app.gates.follow_as_gate`)."""

    @property
    def believed(self) -> GateView:
        """The view that the gate believed last, however old; `Unavailable` when there is none."""

    def refresh(self) -> GateView:
        """The newest view, or raise."""

    def await_witnessed(self, index: int, raw: bytes) -> None:
        """Return when the log has `raw` at `index`, under the quorum's checkpoint, or raise."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """One entry of the journal: the use, its record, and the records that go to the log before it."""

    use: BreakGlassUse
    raw: bytes
    before: tuple[bytes, ...]


class BreakGlassDoor:
    """Break-glass at one gate. Safe for threads: one is let in, or logs, at a time."""

    def __init__(
        self,
        *,
        gate: Uri,
        key: SoftwareKey,
        followed: FollowedByGate,
        writer: LogWriter,
        journal: BreakGlassJournal,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._gate = gate
        self._key = key
        self._followed = followed
        self._writer = writer
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()

    def open(self, bundle: Bundle, *, session_key: PublicKey, facts: Facts) -> VerifiedBreakGlass:
        """Verify `bundle` and keep its use; whoever is given the result may be let in, and nobody else.

        Raises what `verify_break_glass` does, and `Unavailable` when the journal cannot be written: then nobody is let in.
        """
        with self._lock:
            view = self._newest_view()  # (1)
            kept = [one.use for one in self._kept()]
            grant = verify_break_glass(  # (2)
                bundle,
                view,
                now=self._clock.now(),
                gate=self._gate,
                session_key=session_key,
                facts=facts,
                journal=kept,
            )
            known = (*kept, *view.known.unreviewed.values())
            if not any((use.request, use.gate) == (grant.granted.digest, str(self._gate)) for use in known):
                self._keep(bundle, grant)  # (3)
            return grant  # (4)

    def log_what_waits(self) -> int:
        """Log what the journal holds, and forget what is witnessed; gives how many uses that were. Raises as the log does."""
        with self._lock:
            done = 0
            for kept in self._kept():
                for raw in kept.before:
                    try:
                        self._writer.append(raw)
                    except Refused:
                        continue  # by whom the lab does not know any more: the use says what it locks by itself
                self._followed.await_witnessed(self._writer.append(kept.raw), kept.raw)
                self._followed.refresh()  # INVARIANT: what the journal forgets is in the view that the next one is judged by
                self._journal.forget(kept.use.digest)
                done += 1
            return done

    def _newest_view(self) -> GateView:
        try:
            return self._followed.refresh()
        except KeyturnError:
            return self._followed.believed

    def _kept(self) -> list[_Kept]:
        return [_read(entry) for entry in self._journal.entries()]

    def _keep(self, bundle: Bundle, grant: VerifiedBreakGlass) -> None:
        made = AccessUse(
            lab=self._gate.lab,
            nonce=self._entropy.nonce(),
            gate=str(self._gate),
            key=self._key.public.keyid,
            request=grant.granted.digest,
            approvals=tuple(sorted(grant.granted.approvals)),
            used_at=self._clock.now(),
            break_glass=grant.glass,
        )
        subject = (Subject(digest=DigestSet(sha256=grant.granted.digest)),)
        use = dsse_signing.sign(statement.make(made, access.ACCESS_USE, subject), self._key)
        envelopes = (bundle.request, *bundle.authorizations, use)
        self._journal.keep(use.record_digest, tuple(dsse.render(one) for one in envelopes))


def _read(entry: tuple[bytes, ...]) -> _Kept:
    *before, raw = entry
    record = records.parse(raw)
    made = record.statement.predicate
    if record.kind != "brk":
        raise Malformed("journal-damaged", f"the gate's journal ends an entry with a record of kind `{record.kind}`")
    return _Kept(BreakGlassUse.of(record.digest, made), raw, tuple(before))
