"""Show one record of the log whole, live or long over: its text, who signed it, where it stands, and what followed it.

(1) The newest checkpoint is witnessed. (2) All leaves under it make its tree: no index is believed, and none can hide what
followed. (3) The record is the one whose leaf is its own, whatever else names it. (4) Who signed it is judged under the trust
version that the log had then; so is each record that followed.

This is NOT what a gate decides (`grants.verify_grant`), nor a judgement of a release (`keyturn verify`). What names a record is
told by leaves (docs/formats/leaf.md), and a renewal is found among the later requests of whoever asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from keyturn.app.log.judge_record import Judged, judged
from keyturn.app.log.what_became import what_became
from keyturn.app.records.find_record import only_one, record_prefix
from keyturn.errors import Malformed, Refused, Tampered, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats import records
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf
from keyturn.grants.known import Erasure
from keyturn.grants.tombstones import ERASABLE
from keyturn.ports import Clock, LogReader
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.history import TrustHistory
from keyturn.trust.void import NOTHING_VOID, VoidEntries

__all__ = ["Entry", "ShownRecord", "show_record"]

_LEAVES = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One log entry: what its leaf says, whether its text can be had, and how the signatures on it were judged.

    `text`: `there`; `missing`, when nobody gives it; `forged`, when the leaf is not that of its envelope. `judged` is None unless
    it is there. `trust_version` was the newest that the log had before it, 0 for what founded the lab.
    """

    index: int
    id: str
    leaf: Leaf
    text: Literal["there", "missing", "forged"]
    trust_version: int
    void: bool
    judged: Judged | None


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """A record, the checkpoint that it is under, what followed in the order of the log, and for a request what became of it.

    `erased_by` is the entry of the tombstone by which the text may go, if people signed enough of them.
    """

    entry: Entry
    origin: str
    size: int
    cosigned_at: int
    cosigners: tuple[str, ...]
    followed_by: tuple[Entry, ...]
    erased_by: int | None
    became: str | None


def show_record(
    reader: LogReader, which: str, *, history: TrustHistory, clock: Clock, progress: Callable[[int], None]
) -> ShownRecord:
    """Show the entry `which`, an index or a record id (or 8 digits or more of it), with all that followed.

    Raises `Refused` `record-not-found` and `record-twins`, `Usage` `record-id` and `record-ambiguous`, `Tampered` `log-tree`.
    """
    trust = history.newest
    now = clock.now()
    witnessed = verify_checkpoint(reader.checkpoint(), trust.log, now=now, skew_s=trust.limits.clock_skew_max_s)  # (1)
    log = _Read(reader, history)
    for count in log.take(witnessed):  # (2)
        progress(count)
    place = log.place_of(which)  # (3)
    entry = log.entry(place)
    later = tuple(log.entry(found) for found in log.after(place, entry))
    erasure = Erasure()
    for one in later:
        if one.leaf.kind == "tmb" and one.judged is not None and one.judged.counts and one.trust_version:
            signer = one.judged.signers[0].removeprefix("member:")
            erasure = erasure.signed(signer, at=one.index, trust=history.states[one.trust_version - 1])
    body = witnessed.checkpoint
    return ShownRecord(
        entry=entry,
        origin=body.origin,
        size=body.size,
        cosigned_at=witnessed.cosigned_at,
        cosigners=tuple(sorted(witnessed.cosigners)),
        followed_by=later,
        erased_by=erasure.index if entry.leaf.kind in ERASABLE else None,
        became=_became(entry, later, history, now=now),
    )


def _became(entry: Entry, later: tuple[Entry, ...], history: TrustHistory, *, now: int) -> str | None:
    made = None if entry.judged is None else entry.judged.predicate
    if entry.judged is None or not isinstance(made, AccessRequest) or entry.void:
        return None
    found = [one.judged for one in later if one.judged is not None and one.judged.counts and not one.void]
    return what_became(made, entry.judged, found, history.at(made.trust_version), now=now)


class _Read:
    """Every leaf of a witnessed log, the trust version that was the newest at each, and what is void."""

    def __init__(self, reader: LogReader, history: TrustHistory) -> None:
        self._reader = reader
        self._history = history
        self._leaves: list[Leaf | None] = []
        self._versions: list[int] = []
        self._void: VoidEntries = NOTHING_VOID

    def take(self, witnessed: WitnessedCheckpoint) -> Iterator[int]:
        """Read the leaves under `witnessed`, and say of how many more; `Tampered` `log-tree` when they are not its own."""
        body = witnessed.checkpoint
        numbers = {link.digest: link.version for link in self._history.links if link.role == "targets"}
        frontier, newest = Frontier.empty(), 0
        for start in range(0, body.size, _LEAVES):
            raws = self._reader.leaves(start, min(start + _LEAVES, body.size))
            frontier = frontier.extend(raws)
            for index, raw in enumerate(raws, start):
                leaf = _leaf(raw)
                self._leaves.append(leaf)
                self._versions.append(newest)
                if leaf is not None and leaf.kind == "tgt" and (number := numbers.get(Sha256(leaf.record), 0)) > newest:
                    newest = number
                    self._void = self._void.after(self._history.states[number - 1].void, at=index)
            yield len(raws)
        if frontier.root != body.root:
            raise Tampered("log-tree", f"the {body.size} leaves do not make the tree that the witnesses cosigned")

    def place_of(self, which: str) -> int:
        """The index of the entry that `which` names."""
        if which.isdecimal() and which.isascii() and len(which) <= 16:  # as the command line tells an index from an id
            index = int(which)
            if index >= len(self._leaves):
                raise Refused(
                    "record-not-found",
                    f"entry {index} is not under the witnessed checkpoint of {len(self._leaves)} entries",
                    hint="keyturn log show",
                )
            return index
        kind, prefix = record_prefix(which)
        named: dict[str, list[int]] = {}
        for index, leaf in enumerate(self._leaves):
            if leaf is not None and leaf.kind == kind and leaf.record.startswith(prefix):
                named.setdefault(leaf.record, []).append(index)
        if not named:
            raise Refused("record-not-found", f"the log has no record `{which}`", hint="keyturn log show")
        places = only_one(which, named.values())
        own = places if len(places) == 1 else [at for at in places if self.entry(at).text == "there"]
        if not own:
            raise Refused(
                "record-twins",
                f"{len(places)} entries name `{which}`, and which is the record's own cannot be told without its text: "
                + ", ".join(map(str, places[:20])),
                hint="name the entry itself: keyturn log show INDEX",
            )
        return own[0]

    def entry(self, index: int) -> Entry:  # (4)
        """What there is to say of the entry at `index`; `Refused` `record-no-leaf` when no record stands there."""
        leaf, version = self._leaves[index], self._versions[index]
        if leaf is None:
            raise Refused(
                "record-no-leaf", f"entry {index} is no record: nobody can read it", hint="keyturn log verify"
            )
        text, made = _text(self._reader, leaf)
        found = None if made is None else judged(made, leaf, self._history, trust_version=version)
        return Entry(index, records.record_id(leaf.kind, leaf.record), leaf, text, version, index in self._void, found)

    def after(self, place: int, entry: Entry) -> Iterator[int]:
        """The later entries that name the record: in their leaf, or as a request that follows it."""
        digest, kind = entry.leaf.record, entry.leaf.kind
        asker = entry.leaf.about if kind == "req" else ()
        for index in range(place + 1, len(self._leaves)):
            leaf = self._leaves[index]
            if leaf is None or leaf.record == digest:
                continue
            if any(tag.partition(":")[2] == digest for tag in leaf.about) or (
                leaf.kind == "req"
                and any(tag in leaf.about for tag in asker if tag.startswith("member:"))
                and _follows(self.entry(index), entry)
            ):
                yield index


def _follows(later: Entry, earlier: Entry) -> bool:
    made = None if later.judged is None else later.judged.predicate
    return isinstance(made, AccessRequest) and made.follows == earlier.leaf.record


def _leaf(raw: bytes) -> Leaf | None:
    try:
        return leaf_format.parse(raw)
    except Malformed:
        return None


def _text(reader: LogReader, leaf: Leaf) -> tuple[Literal["there", "missing", "forged"], bytes | None]:
    try:
        raw = reader.envelope(Sha256(leaf.envelope))
        return ("there", raw) if records.leaf_of(raw) == leaf else ("forged", None)
    except Unavailable as err:
        if err.code == "index-behind":
            raise  # it may be there a moment later
        return "missing", None
    except (Malformed, Tampered):
        return "forged", None
