"""Admit a record to the log: it is well formed, of this lab, signed by whoever it says, and within that one's quota.

1. Parse, and compute the leaf. A record that was admitted once keeps its index, whatever is refused now.
2. A trust version must be the next one that `TrustHistory.advance` accepts. The newest again, signed or written differently, is
   no new version: anybody could write it in as many ways as he likes.
3. Any other record must be of this lab, and carry only signatures by the right key of the right member, gate or builder under the
   newest trust in the log; provenance and test results by whom they name themselves.
4. It is not of the future, and matters to nobody for longer than `lifetime_max_s`: gates hold in memory what is live.
5. A request is for a gate that the lab has, and one that somebody could get granted: else it would wait in vain, and people be
   told of it. What is over, or may have let somebody in by break-glass already, is evidence.
6. A tombstone is of a record that the log has and that may be erased. What people asked to erase is not written again.
7. Its signer has quota left; what takes access away has a quota of its own, which asking for access cannot use up.
8. Append: durable when this returns. In force is another thing: see `await_witnessed`.

Admission keeps rubbish out of the log and grants nothing: every gate verifies again, all of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keyturn.app.records.erasures import Erasures
from keyturn.app.records.founding import founding
from keyturn.app.records.known_gate import require_known_gate
from keyturn.app.records.quotas import Quota, Quotas
from keyturn.app.records.verified_signer import verified_signer
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import records, trust_version
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.posix_time import duration, rfc3339
from keyturn.formats.records import Record
from keyturn.formats.recovery import RecoveryGrant
from keyturn.formats.steps import StepRequest
from keyturn.formats.tombstone import Tombstone
from keyturn.formats.trust_version import TrustVersion
from keyturn.grants.negatives import lifetime_max_s
from keyturn.grants.recovery import require_root_threshold
from keyturn.grants.tombstones import ERASABLE, require_counts, require_erasable
from keyturn.grants.view import PolicyShelf
from keyturn.policy.hope import plainly_hopeless, refuse_hopeless
from keyturn.ports import Clock, LogAppender, LogReader, RecordIndex
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import Log, TrustState
from keyturn.trust.signers import NamesItsSigner, signed_by
from keyturn.trust.void import NOTHING_VOID

__all__ = ["Admission", "Submitted"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """The record is durable at `index` of the log, as `leaf`. It is not in force until it is witnessed."""

    index: int
    leaf: Leaf


class Admission:
    """The one door of the log. Safe for threads: records are verified side by side, trust versions one at a time."""

    def __init__(
        self,
        *,
        log: LogAppender,
        reader: LogReader,
        index: RecordIndex,
        root_sha256: Callable[[], str],
        clock: Clock,
        quotas: Quotas,
    ) -> None:
        """Read every trust version that the log has, and verify it from the pinned first root on."""
        self._log = log
        self._index = index
        self._root_sha256 = root_sha256
        self._clock = clock
        self._quota = Quota(quotas)
        self._reader = reader
        self._shelf = PolicyShelf()
        self._erasures = Erasures(index, reader)
        self._trust_lock = threading.RLock()
        self._history: TrustHistory | None = None
        self._newest: TrustState | None = None
        self._void = NOTHING_VOID
        self._read_to = 0
        self._read_at = -1
        self._read_trust()

    @property
    def trust(self) -> TrustState:
        """The newest trust in the log; `Refused` `trust-founding` before the first targets version."""
        if self._clock.now() != self._read_at:  # another process may have appended a version
            self._read_trust()
        if self._history is None:
            raise founding("its log holds no root yet")
        newest = self._newest
        if newest is None:  # verifying signatures again for each record would cost more than the record
            newest = self._newest = self._history.newest
        return newest

    @property
    def earlier_logs(self) -> tuple[Log, ...]:
        """Every log definition that targets replaced, oldest first, without the one in force."""
        newest = self.trust.log
        history = self._history
        return tuple(log for log in history.logs_since(1) if log != newest) if history is not None else ()

    @property
    def _states(self) -> Sequence[TrustState]:
        return self._history.states if self._history is not None else ()

    def submit(self, raw: bytes) -> Submitted:
        """Verify and append one record; raises `Malformed`, `Refused`, or what the log raises."""
        leaf, record = records.read(raw)  # (1)
        try:
            if leaf.kind in ("rot", "tgt"):  # (2)
                return self._submit_trust(raw, leaf)
            trust, now = self.trust, self._clock.now()
            signer = self._recovery_signer(record) or self._signer(raw, record, trust)  # (3)
            _require_of_its_time(record, leaf, trust, now=now)  # (4)
            self._require_hope(record, trust, now=now)  # (5)
            if record is not None and isinstance(record.statement.predicate, Tombstone):  # (6)
                self._require_erasable(record.statement.predicate, leaf, raw, trust)
            self._quota.charge(signer, leaf, size_bytes=len(raw), now=now)  # (7)
        except Refused:
            if (known := self._known(leaf)) is None:
                raise
            return Submitted(known, leaf)  # it was admitted when it came first
        if leaf.kind in ERASABLE and self._erasures.asked_for(leaf.record, self._states):  # (6)
            known = self._known(leaf)
            if known is not None:
                return Submitted(known, leaf)
        return Submitted(self._append(raw, leaf), leaf)

    def _known(self, leaf: Leaf) -> int | None:
        found = (one for one in self._index.by_record(leaf.record, leaf.kind) if one.envelope == leaf.envelope)
        return next((one.index for one in found), None)

    def _require_erasable(self, made: Tombstone, leaf: Leaf, raw: bytes, trust: TrustState) -> None:
        found = self._index.by_record(made.record)
        if not found:
            raise Refused("record-not-found", f"the log has no record `{made.record}`", hint="keyturn log show")
        if not any(one.kind in ERASABLE for one in found):  # any other beside it names a record that it is not of
            require_erasable(found[0].kind)
        require_counts(leaf, raw, trust)

    def _require_hope(self, record: Record | None, trust: TrustState, *, now: int) -> None:
        made = None if record is None else record.statement.predicate
        if not isinstance(made, AccessRequest) or made.break_glass_at is not None or made.start_by < now:
            return
        require_known_gate(made, trust.gates)
        try:
            policy = self._shelf.policy(trust)
        except Refused:
            return  # every gate refuses everything by a policy that does not load, and `keyturn doctor` says so
        refuse_hopeless(plainly_hopeless(policy, made))

    def _recovery_signer(self, record: Record | None) -> str:
        """Who signed a recovery grant, as one signer; empty when `record` is none. It is logged after it was used."""
        made = None if record is None else record.statement.predicate
        if record is None or not isinstance(made, RecoveryGrant) or self._history is None:
            return ""
        if made.lab != self._history.lab:
            raise Refused("lab-other", f"expected a record of lab `{self._history.lab}`, got one of `{made.lab}`")
        return f"root:{','.join(sorted(require_root_threshold(record.envelope, made, self._history.root)))}"

    def _signer(self, raw: bytes, record: Record | None, trust: TrustState) -> str:
        try:
            return verified_signer(raw, record, trust, lambda digest: self._attempt(digest, trust))
        except Refused as err:
            last = None if err.code != "signer-unknown" or record is None else self._listed_last(record)
            if last is None and record is not None and err.code == "signer-unknown":
                raise Refused(
                    "signer-unknown",
                    err.message,
                    hint="`keyturn trust members` says who counts; whoever was invited does from `keyturn trust publish` on; "
                    "else sign with a key that is listed: `--key`, or another KEYTURN_HOME",
                ) from err
            if last is None:
                raise
            raise Refused(
                "signer-unknown",
                f"{err.message}: version {last} was the last that did, so it was replaced or taken out",
                hint="sign with the key that replaced it: `--key`, or another KEYTURN_HOME; without one, a coworker runs "
                "`keyturn trust invite MEMBER --new-keys instead`",
            ) from err

    def _attempt(self, digest: Sha256, trust: TrustState) -> StepRequest | None:
        """The attempt that the logged step request `digest` opened, while its member counts and its time is not over."""
        for known in self._index.by_record(digest, "stp"):
            record = records.parse(self._reader.envelope(known.envelope))
            made = record.statement.predicate
            if record.digest == digest and isinstance(made, StepRequest):
                verified_signer(b"", record, trust)
                late = self._clock.now() > made.signed_at + made.timeout_s + trust.limits.clock_skew_max_s
                return None if late else made
        return None

    def _listed_last(self, record: Record) -> int | None:
        """The newest trust version that listed the key which `record` names, for whoever it names."""
        made = record.statement.predicate
        if not isinstance(made, NamesItsSigner):
            return None
        for trust in reversed(self._states):
            try:
                signed_by(made, trust)
            except Refused:
                continue
            return trust.targets_version
        return None

    def _submit_trust(self, raw: bytes, leaf: Leaf) -> Submitted:
        with self._trust_lock:
            self._read_trust()
            version = trust_version.parse(raw)
            history = (
                self._start(version) if self._history is None else self._history.advance(version, now=self._clock.now())
            )
            if history is self._history:
                raise Refused(
                    "trust-version-known", f"the log has {version.role} version {version.version}, in another text"
                )
            index = self._append(raw, leaf)
            self._follow(history, index)
        return Submitted(index, leaf)

    def _append(self, raw: bytes, leaf: Leaf) -> int:  # (8)
        return self._log.append_leaf(raw, leaf)

    def _read_trust(self) -> None:
        with self._trust_lock:
            self._read_at = self._clock.now()
            self._erasures.follow()
            hidden: list[int] = []
            while found := self._index.of_kinds(("rot", "tgt"), start=self._read_to):
                for known in found:
                    self._read_to = known.index + 1
                    try:
                        version = trust_version.parse(self._reader.envelope(known.envelope))
                    except Unavailable:
                        hidden.append(known.index)
                    except Malformed:
                        continue  # the leaf lies: its envelope is something else
                    else:
                        self._follow(self._followed_by(version), known.index)
            # What is hidden is looked for again, and everything behind it with it, until the lab declared it void.
            self._read_to = next((index for index in hidden if index not in self._void), self._read_to)

    def _follow(self, history: TrustHistory, index: int) -> None:
        if history is not self._history and history.states:
            self._void = self._void.after(history.states[-1].void, at=index)
        self._history = history
        self._newest = None
        # The index may be behind what was appended here: what was followed once is not read again.
        self._read_to = max(self._read_to, index + 1)

    def _followed_by(self, version: TrustVersion) -> TrustHistory:
        return self._start(version) if self._history is None else self._history.followed_by(version)

    def _start(self, version: TrustVersion) -> TrustHistory:
        return TrustHistory.start(version.metadata, pinned_sha256=self._root_sha256())


def _require_of_its_time(record: Record | None, leaf: Leaf, trust: TrustState, *, now: int) -> None:
    # A denial or revocation by a clock that is ahead takes away all the same (docs/decisions/0040).
    signed_at: int = getattr(record.statement.predicate, "signed_at", now) if record is not None else now
    if signed_at > now + trust.limits.clock_skew_max_s and leaf.kind not in ("den", "rev"):
        raise Refused(
            "signed-in-the-future",
            f"the record says that it was signed at {signed_at}, it is {now}",
            hint="set the clock of the machine that signed it",
        )
    lifetime_s = lifetime_max_s(trust)
    if leaf.until is not None and leaf.until > now + lifetime_s:
        raise Refused(
            "lives-too-long",
            f"expected a record that is over by {rfc3339(now + lifetime_s)}, got one until {rfc3339(leaf.until)}",
            hint=f"ask for less: {duration(lifetime_s)} is the longest",
        )
