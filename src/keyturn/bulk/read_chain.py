"""Read a log from its first leaf, and find everything that it says about the chain behind a model.

`LogReading` reads forward only. Nothing that it hands out may be acted on before `verify` found the tree that was read
under a checkpoint of the witness quorum: the trust that names those witnesses is itself read from the log, and stands on
the pinned root alone.

    reading = LogReading(log, root_json=..., pinned_sha256=...)
    reading.to(size)
    index = reading.index(lab=..., model=..., as_of=...)
    checkpoint = reading.verify(note, now=...)
    chain = reading.examine(index, resource=..., as_of=...)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keyturn.custody import pack_index, timeline
from keyturn.custody.evidence import Entry, Evidence, Failure, Map, in_turn, read
from keyturn.custody.outside import Outside, Verify, nobody_verifies, read_outside
from keyturn.custody.pack_index import Indexed, LeafTable, PackIndex
from keyturn.custody.timeline import TrustTimeline
from keyturn.custody.verify import Chain, Suspended, examine_read, with_outside
from keyturn.errors import KeyturnError, Tampered, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import dsse, note, records, statement
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import EVIDENCE
from keyturn.formats.evidence import Evidence as OutsideEvidence
from keyturn.formats.leaf import Kind
from keyturn.formats.records import Sealed
from keyturn.formats.uri import Uri
from keyturn.grants.following import Following
from keyturn.grants.known import Known
from keyturn.ports import LogReader
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.history import TrustHistory

__all__ = [
    "AUTHORITY_KINDS",
    "CHAIN_KINDS",
    "EVIDENCE_KINDS",
    "TRUST_KINDS",
    "LogReading",
    "claimed_size",
    "entries_of",
    "judge",
    "read_evidence",
    "suspended_at",
]

CHAIN_KINDS: frozenset[Kind] = frozenset({"prv", "stp", "tst", "crt", "src"})
EVIDENCE_KINDS: frozenset[Kind] = frozenset({"evd", "evp"})
TRUST_KINDS: frozenset[Kind] = frozenset({"rot", "tgt"})
AUTHORITY_KINDS: frozenset[Kind] = TRUST_KINDS | {"sus", "lft"}
"""What says whose word counts: trust versions, suspensions and lifts."""

_BATCH = 4096


def claimed_size(note_bytes: bytes) -> int:
    """The size that an unverified checkpoint claims: how far to read before it can be verified."""
    return checkpoints.parse_body(note.parse(note_bytes).text).size


class LogReading:
    """Everything from the log's first leaf up to `size`, as far as custody needs it."""

    def __init__(self, log: LogReader, *, root_json: bytes, pinned_sha256: str) -> None:
        self._log = log
        self._start: TrustHistory = TrustHistory.start(root_json, pinned_sha256=pinned_sha256)
        self._table = LeafTable()
        self._trusted: tuple[int, TrustHistory, TrustTimeline] | None = None
        self._read: tuple[tuple[Indexed, ...], Evidence] | None = None
        self.frontier = Frontier.empty()

    @property
    def start(self) -> TrustHistory:
        """The pinned root, before anything was read."""
        return self._start

    @property
    def size(self) -> int:
        return self.frontier.size

    def to(self, size: int) -> Frontier:
        """Read on up to `size` leaves, and give the tree there."""
        while self.size < size:
            batch = self._log.leaves(self.size, min(self.size + _BATCH, size))
            if not batch:
                raise Unavailable("log-range", f"the log gave no leaves after {self.size} of {size}")
            self._table.extend(batch)
            self.frontier = self.frontier.extend(batch)
        return self.frontier

    def trust(self) -> tuple[TrustHistory, TrustTimeline]:
        """Walk the trust versions that were read, from the pinned root; raise for one that cannot be read and is not void."""
        if self._trusted is None or self._trusted[0] != self.size:
            found: list[tuple[int, bytes]] = []
            hidden: dict[int, KeyturnError] = {}
            for index in self._table.always:
                if self._table.leaves[index].kind in TRUST_KINDS:
                    try:
                        found.append((index, self.fetch(index)))
                    except KeyturnError as err:
                        hidden[index] = err
            history, trusted = timeline.follow(self._start, found)
            void = trusted.void
            for index, why in hidden.items():
                if index not in void:
                    raise why
            self._trusted = self.size, history, trusted
        return self._trusted[1:]

    def index(self, *, lab: str, model: ArtifactDigest, as_of: int) -> PackIndex:
        """Name everything about the chain behind `model` among what was read."""
        return pack_index.make(
            self._told(), lab=lab, model=model, root=self.frontier.root, as_of=as_of, fetch=self._log.envelope
        )

    def _told(self) -> LeafTable:
        """What was read, without what the lab declared void and nobody can read."""
        _, trusted = self.trust()
        entries = trusted.void
        if not entries.named:
            return self._table
        void = [index for index in self._table.leaves if index in entries]
        return self._table.without(frozenset(index for index in void if not self._can_be_read(index)))

    def _can_be_read(self, index: int) -> bool:
        try:
            self.fetch(index)
        except KeyturnError:
            return False
        return True

    def verify(self, note_bytes: bytes, *, now: int | None) -> WitnessedCheckpoint:
        """Check that what was read is the log that the quorum of witnesses saw; or raise.

        Raises `Refused` for a checkpoint that is not believed, `Tampered` `log-other-leaves` when these are other leaves.
        """
        history, _ = self.trust()
        state = history.newest if now is None else history.current(now=now)
        found = verify_checkpoint(note_bytes, state.log, now=now, skew_s=state.limits.clock_skew_max_s)
        if (found.checkpoint.size, found.checkpoint.root) != (self.size, self.frontier.root):
            raise Tampered(
                "log-other-leaves",
                "the leaves that were read are not those of the checkpoint that the witnesses signed",
            )
        return found

    def examine(
        self, index: PackIndex, *, resource: Uri, as_of: int, verify: Verify = nobody_verifies, each: Map = in_turn
    ) -> Chain:
        """Judge the chain that `index` names; evidence from outside by `verify`."""
        _, trusted = self.trust()
        read = self._evidence(index, trusted, each)
        entries = [
            (one.kind, Entry(one.index, self.fetch(one.index)))
            for one in index.statements
            if one.kind not in CHAIN_KINDS
        ]
        return judge(
            index,
            entries,
            start=self._start,
            resource=resource,
            trusted=trusted,
            as_of=as_of,
            verify=verify,
            read=read,
        )

    def _evidence(self, index: PackIndex, trusted: TrustTimeline, each: Map) -> Evidence:
        # What was read once is read: the statements are the same bytes at the same places, and the trust before them is of
        # leaves that came before. What can have changed since, who is suspended, is no part of it.
        named = tuple([one for one in index.statements if one.kind in CHAIN_KINDS])
        if self._read is None or self._read[0] != named:
            entries = [Entry(one.index, sealed.raw, sealed) for one in named for sealed in (self._sealed(one.index),)]
            self._read = named, read(entries, lab=index.lab, timeline=trusted, each=each)
        return self._read[1]

    def fetch(self, index: int) -> bytes:
        """The record at `index`, which must be one that custody reads; checked against its leaf."""
        return self._sealed(index).raw

    def _sealed(self, index: int) -> Sealed:
        one = self._table.leaves[index]
        found = Sealed(self._log.envelope(Sha256(one.envelope)))
        if sha256(found.raw) != one.envelope or found.opened.leaf != one:
            raise Tampered("log-leaf-lies", f"the leaf at log index {index} is not that of its record")
        return found

    def parts_of(self, entry: Entry) -> tuple[Entry, ...]:
        """The records with the parts of the original of `entry`, which is evidence from outside: those that the log has."""
        named = statement.parse(dsse.parse_own(entry.raw).payload, OutsideEvidence, EVIDENCE).predicate.parts
        told = self._told()
        places = dict.fromkeys(told.by_record[one] for one in named if one in told.by_record)
        return tuple(Entry(place, self.fetch(place)) for place in places if told.leaves[place].kind == "evp")

    def of_kind(self, kind: Kind, *, about: ArtifactDigest | None = None) -> tuple[int, ...]:
        """Indices of the records of `kind` that were read, `about` an artifact if one is said; of kinds that custody reads."""
        told = self._told()
        if about is not None:
            return told.about(about, kind)
        return tuple(index for index, one in told.leaves.items() if one.kind == kind)


def judge(
    index: PackIndex,
    entries: Iterable[tuple[Kind, Entry]],
    *,
    start: TrustHistory,
    resource: Uri,
    trusted: TrustTimeline,
    as_of: int,
    verify: Verify = nobody_verifies,
    read: Evidence,
) -> Chain:
    """Judge the chain that `index` names, given its statements; who is suspended at `as_of` is judged with it.

    `trusted` is the trust of each place in the log, followed from `start`, which is pinned; `read` is what `evidence.read` made
    of those among `entries` that are of `CHAIN_KINDS`, under that trust.
    """
    found = list(entries)
    suspended = suspended_at(as_of, entries_of(found, AUTHORITY_KINDS), start=start)
    evidence, parts = (entries_of(found, frozenset({kind})) for kind in ("evd", "evp"))
    chain = examine_read(
        ArtifactDigest.parse(index.model), read, resource=resource, timeline=trusted, suspended=suspended
    )
    outside, failures = _read_outside(evidence, parts, index.lab, trusted, suspended, verify, chain.artifacts)
    return with_outside(chain, outside, failures)


def read_evidence(
    reading: LogReading, index: int, *, now: int, verify: Verify
) -> tuple[tuple[Outside, ...], tuple[Failure, ...]]:
    """Verify the one record of evidence at `index` of what was read, by what holds `now`."""
    history, trusted = reading.trust()
    kinds: tuple[Kind, ...] = ("rot", "tgt", "sus", "lft")
    authority = [Entry(place, reading.fetch(place)) for kind in kinds for place in reading.of_kind(kind)]
    suspended = suspended_at(now, authority, start=reading.start)
    entry = Entry(index, reading.fetch(index))
    return _read_outside((entry,), reading.parts_of(entry), history.lab, trusted, suspended, verify, None)


def _read_outside(
    entries: Sequence[Entry],
    parts: Sequence[Entry],
    lab: str,
    trusted: TrustTimeline,
    suspended: Suspended,
    verify: Verify,
    about: frozenset[ArtifactDigest] | None,
) -> tuple[tuple[Outside, ...], tuple[Failure, ...]]:
    return read_outside(
        entries,
        parts=parts,
        lab=lab,
        timeline=trusted,
        suspended_members=suspended.members,
        suspended_keys=suspended.keys,
        verify=verify,
        about=about,
    )


def suspended_at(as_of: int, entries: Iterable[Entry], *, start: TrustHistory) -> Suspended:
    """Whose signature no chain rests on at `as_of`: by the rules of gates, from trust versions, suspensions and lifts."""
    read = Following(Known(history=start), Frontier.empty(), nonce_record=None, now=as_of)
    for entry in sorted(entries, key=lambda one: one.index):
        read.take_if_watched(entry.index, records.leaf_of(entry.raw), entry.raw)
    tags = read.known().suspended(now=as_of)
    return Suspended(
        members=frozenset(tag.removeprefix("member:") for tag in tags if tag.startswith("member:")),
        keys=frozenset(tag.removeprefix("key:") for tag in tags if tag.startswith("key:")),
    )


def entries_of(entries: Iterable[tuple[Kind, Entry]], kinds: frozenset[Kind]) -> tuple[Entry, ...]:
    """The entries of `kinds`."""
    return tuple(entry for kind, entry in entries if kind in kinds)
