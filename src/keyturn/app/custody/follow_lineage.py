"""Follow the log with a graph of its statements: read what came since, verify each signature, and add what hangs together.

1. Leaves from where the graph stands to the newest checkpoint, hashed on from the graph's own tree.
2. Trust versions among them, walked from the pinned root with those of before.
3. Statements about chains and releases, each verified under the trust of then; what fails is kept as a failure, never as a
   link. What nobody can read stops everything, unless the lab declared it void; records about access may have been erased,
   and are named.
4. The checkpoint: signed by the log, cosigned by the quorum, of these very leaves. Only then does the graph keep any of it.

So what the graph says was verified by whoever asks, and of the log up to the checkpoint nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from keyturn.bulk.read_chain import CHAIN_KINDS, TRUST_KINDS, claimed_size
from keyturn.bulk.threads import on_all_cores
from keyturn.custody import timeline
from keyturn.custody.evidence import Entry, Failure, read
from keyturn.custody.linked import ABOUT_RELEASES, Linked, about_release, linked
from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import KeyturnError, Malformed, Tampered, Unavailable
from keyturn.formats import dsse, provenance, records
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import Kind, Leaf
from keyturn.ports import LineageGraph, LogReader, Unread
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.history import TrustHistory

__all__ = ["Followed", "fetch_record", "follow_lineage", "records_of", "requests_of_attempts"]

_RUN = 4096
_ERASABLE: frozenset[Kind] = frozenset({"req", "apr", "den", "rev"})
"""Of the kinds read here, those whose text people may have erased (`grants.tombstones`)."""


@dataclass(frozen=True, slots=True)
class Followed:
    """The checkpoint that the graph was followed to, and the trust of each place in the log."""

    checkpoint: WitnessedCheckpoint
    history: TrustHistory
    trusted: TrustTimeline


def follow_lineage(
    log: LogReader,
    graph: LineageGraph,
    *,
    root_json: bytes,
    pinned_sha256: str,
    now: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Followed:
    """Bring `graph` up to the log's newest checkpoint; `progress` is told how many leaves of how many are read.

    Raises `Unavailable` when the log does not answer, gives less than before or holds back a statement, `Refused` or
    `Tampered` when what it shows is not believed; the graph is then as it was.
    """
    with graph.growing():
        reading = _Reading(log, graph, TrustHistory.start(root_json, pinned_sha256=pinned_sha256))
        note = log.checkpoint()
        size, start = claimed_size(note), reading.frontier.size
        if size < start:
            raise Unavailable("log-behind", f"the log shows {size} entries, and {start} were seen before")
        while reading.frontier.size < size:
            reading.read(size)
            progress(reading.frontier.size - start, size - start)
        history, trusted = reading.trust()
        reading.require_void(trusted)
        state = history.current(now=now)
        found = verify_checkpoint(note, state.log, now=now, skew_s=state.limits.clock_skew_max_s)
        if (found.checkpoint.size, found.checkpoint.root) != (size, reading.frontier.root):
            raise Tampered(
                "log-other-leaves",
                "the leaves that were read are not those of the checkpoint that the witnesses signed",
            )
        graph.add_read(reading.frontier, reading.versions)
    return Followed(found, history, trusted)


def fetch_record(log: LogReader, index: int, leaf: Leaf) -> bytes:
    """The record of `leaf`, checked against it; `Tampered` when it is another one's."""
    raw = log.envelope(Sha256(leaf.envelope))
    if sha256(raw) != leaf.envelope or records.leaf_of(raw) != leaf:
        raise Tampered("log-leaf-lies", f"the leaf at log index {index} is not that of its record")
    return raw


def requests_of_attempts(log: LogReader, graph: LineageGraph, entries: Sequence[Entry]) -> list[Entry]:
    """The step requests in `graph` by which members speak in `entries`: the key of an attempt stands in its request alone."""
    there = {entry.index for entry in entries}
    found: dict[int, Entry] = {}
    for entry in entries:
        payload = dsse.parse_foreign(entry.raw).payload
        if b"/member/" not in payload or provenance.PROVENANCE.encode() not in payload:
            continue
        with suppress(Malformed):  # whatever it is: `custody.evidence` says so
            for one in records_of(log, graph, provenance.read(payload).request):
                if one.index not in there:
                    found[one.index] = one
    return list(found.values())


def records_of(log: LogReader, graph: LineageGraph, digest: str) -> list[Entry]:
    """The records in `graph` with that digest: one, unless it was signed more than once."""
    name = graph.node(f"record:{digest}")
    nodes = [] if name is None else [node for _, node in graph.links([name], back=True, chain=False) if node >= 0]
    return [Entry(node, log.envelope(one)) for node, one in zip(nodes, graph.envelopes(nodes), strict=True)]


@dataclass
class _Reading:
    """What is read in one go: mutable, and thrown away when anything fails."""

    log: LogReader
    graph: LineageGraph
    start: TrustHistory
    versions: list[tuple[int, Sha256]] = field(default_factory=list)
    hidden: dict[int, KeyturnError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.frontier: Frontier = self.graph.frontier
        self._texts = [(index, self.log.envelope(envelope)) for index, envelope in self.graph.trust]
        self._trusted: tuple[TrustHistory, TrustTimeline] | None = None

    def trust(self) -> tuple[TrustHistory, TrustTimeline]:
        """The trust versions that were read so far, walked from the pinned root."""
        if self._trusted is None:
            self._trusted = timeline.follow(self.start, self._texts)
        return self._trusted

    def read(self, size: int) -> None:
        """Take the next leaves of the log, on to `size` at most, and their records."""
        first = self.frontier.size
        leaves = self.log.leaves(first, min(first + _RUN, size))
        if not 0 < len(leaves) <= _RUN:
            raise Unavailable("log-range", f"the log gave {len(leaves)} leaves after {first} of {size}")
        self.frontier = self.frontier.extend(leaves)
        wanted = list(_wanted(leaves, first))
        for index, leaf in wanted:
            if leaf.kind in TRUST_KINDS and (raw := self._fetched(index, leaf)) is not None:
                self.versions.append((index, Sha256(leaf.envelope)))
                self._texts.append((index, raw))
                self._trusted = None
        history, trusted = self.trust()
        self._take([one for one in wanted if one[1].kind not in TRUST_KINDS], history.lab, trusted)

    def require_void(self, trusted: TrustTimeline) -> None:
        """Raise for the first entry that could not be read and that the lab did not declare void."""
        void = trusted.void
        for index in sorted(self.hidden):
            if index not in void:
                raise self.hidden[index]

    def _take(self, wanted: Sequence[tuple[int, Leaf]], lab: str, trusted: TrustTimeline) -> None:
        where = {index: Sha256(leaf.envelope) for index, leaf in wanted}
        entries: list[Entry] = []
        found: list[Linked] = []
        unread: list[Unread] = []
        failures: list[Failure] = []
        for index, leaf in wanted:
            if leaf.kind in CHAIN_KINDS:
                raw = self._fetched(index, leaf)
                if raw is not None:
                    entries.append(Entry(index, raw))
                continue
            try:
                one = about_release(Entry(index, fetch_record(self.log, index, leaf)), trusted)
            except Unavailable as err:
                if err.code != "envelope-unknown":
                    raise
                if leaf.kind in _ERASABLE:
                    unread.append(Unread(index, leaf.kind, Sha256(leaf.record)))
                else:
                    self.hidden[index] = err
            except KeyturnError:
                continue  # whoever keeps the log can write such things: it says nothing
            else:
                found += [] if one is None else [one]
        earlier = requests_of_attempts(self.log, self.graph, entries)
        evidence = read([*earlier, *entries], lab=lab, timeline=trusted, each=on_all_cores)
        found += (one for one in linked(evidence) if one.index in where)
        failures += (one for one in evidence.failures if one.index in where)
        found.sort(key=lambda one: one.index)
        self.graph.add([(one, where[one.index]) for one in found], failures=failures, unread=unread)

    def _fetched(self, index: int, leaf: Leaf) -> bytes | None:
        try:
            return fetch_record(self.log, index, leaf)
        except KeyturnError as err:
            self.hidden[index] = err
            return None


def _wanted(leaves: Sequence[bytes], first: int) -> list[tuple[int, Leaf]]:
    kinds = CHAIN_KINDS | TRUST_KINDS | ABOUT_RELEASES
    found: list[tuple[int, Leaf]] = []
    for index, raw in enumerate(leaves, first):
        try:
            leaf = leaf_format.parse(raw)
        except KeyturnError:
            continue  # the leaf of no record: it counts in the tree, and says nothing
        if leaf.kind in kinds:
            found.append((index, leaf))
    return found
