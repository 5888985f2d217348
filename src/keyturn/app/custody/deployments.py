"""Say where a model runs, and be told: deployment statements, and the releases behind them, from the witnessed log.

Whoever serves a model logs that he does, and when it ends. That gives nobody anything: it is for the day on which a release is
withdrawn. The whole log is read, up to a checkpoint of the witnesses. A record counts only when its signature is by the key that
it names, under the trust of its place. So a statement by a stranger is none; of one about a release that the log does not
have, it is said that nobody let it in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from keyturn.bulk.read_chain import LogReading, claimed_size
from keyturn.bulk.read_withdrawals import entries_about
from keyturn.crypto.dsse_signing import verify_one
from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.formats import leaf as leaf_format
from keyturn.formats import records
from keyturn.formats.access import AccessRequest, AccessUse, HumanAuthorization
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import Record
from keyturn.grants.known import Withdrawal
from keyturn.grants.withdrawn import Entry, matters, withdrawn
from keyturn.ports import LogReader
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint
from keyturn.trust.history import TrustHistory
from keyturn.trust.signers import signed_by

__all__ = ["Deployed", "ReleaseLog", "Released", "deployments", "read_releases", "releases_of"]

P = TypeVar("P", AccessRequest, AccessUse, Deployment, HumanAuthorization)

_KINDS = frozenset({"dep", "req", "apr", "use", "den", "rev", "rot", "tgt", "sus", "lft"})


@dataclass(frozen=True, slots=True)
class Released:
    """A release: its request, who asked, who approved, which gate let it out when, and who withdrew it since.

    `approvers` are those whose approvals the gate says that it used, and whose signatures verify; of one whose text was erased
    its id stands there. `withdrawals` come in the log's order.
    """

    request: Sha256
    resource: str
    model: ArtifactDigest
    requester: str
    approvers: tuple[str, ...]
    gate: str
    released_at: int
    withdrawals: tuple[Withdrawal, ...]

    @property
    def id(self) -> str:
        return records.record_id("req", self.request)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A model on a host, as `by` says, since when; the release that let it there, and `None` when the log has no such release.

    `ended_at` and `ended_by` say until when, of one that does not run any more.
    """

    digest: Sha256
    index: int
    host: str
    model: ArtifactDigest
    resource: str
    request: Sha256
    by: str
    since: int
    release: Released | None
    ended_at: int | None = None
    ended_by: str | None = None

    @property
    def id(self) -> str:
        return records.record_id("dep", self.digest)

    @property
    def runs(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True)
class ReleaseLog:
    """Every leaf about releases and deployments, read from the first one up to `checkpoint`. Only `read_releases` makes one."""

    reading: LogReading
    leaves: dict[int, Leaf]
    log: LogReader = field(repr=False)
    start: TrustHistory
    checkpoint: WitnessedCheckpoint
    now: int

    def of_kind(self, kind: str, *tags: str) -> list[tuple[int, Leaf]]:
        """The leaves of `kind` that have each of `tags`, in log order."""
        return [(i, leaf) for i, leaf in self.leaves.items() if leaf.kind == kind and set(tags) <= set(leaf.about)]

    def record(self, index: int, leaf: Leaf, kind: type[P]) -> tuple[Record, P, str] | None:
        """The record at `index`, what it says, and whose it is; `None` when it does not count, `Unavailable` when unread."""
        _, trusted = self.reading.trust()
        trust = trusted.before(index)
        raw = self.log.envelope(Sha256(leaf.envelope))
        try:
            if trust is None or records.leaf_of(raw) != leaf:
                return None
            record = records.parse(raw)
            made: Any = record.statement.predicate
            if not isinstance(made, kind) or made.lab != trust.lab:
                return None
            signer = signed_by(made, trust)
            verify_one(record.envelope, signer.key)
        except (Malformed, Refused):
            return None
        return record, made, signer.who

    @cached_property
    def authority(self) -> Sequence[Entry]:
        """Trust versions, suspensions and lifts, with their records."""
        return entries_about(self.log, ((i, leaf) for i, leaf in self.leaves.items() if matters(leaf, "")))


def read_releases(log: LogReader, *, root_json: bytes, pinned_sha256: str, now: int) -> ReleaseLog:
    """Read the whole log, verified up to its newest checkpoint."""
    note = log.checkpoint()
    seen = _Seeing(log)
    reading = LogReading(seen, root_json=root_json, pinned_sha256=pinned_sha256)
    reading.to(claimed_size(note))
    checkpoint = reading.verify(note, now=now)
    start: TrustHistory = TrustHistory.start(root_json, pinned_sha256=pinned_sha256)
    return ReleaseLog(reading, seen.seen, log, start, checkpoint, now)


def releases_of(
    read: ReleaseLog, *, model: ArtifactDigest | None = None, resource: str | None = None
) -> list[Released]:
    """Every release of `model`, or as `resource`, in the log's order."""
    tags = () if model is None else (str(model),)
    found = [_released(read, leaf.record) for _, leaf in read.of_kind("req", *tags)]
    return [
        one
        for one in dict.fromkeys(found)
        if one is not None and (model is None or one.model == model) and resource in (None, one.resource)
    ]


def deployments(
    read: ReleaseLog, *, model: ArtifactDigest | None = None, resource: str | None = None
) -> list[Deployed]:
    """Every deployment of `model`, or of what was released as `resource`, in the log's order; those that ended as well."""
    tags = (*(() if model is None else (str(model),)), *(() if resource is None else (f"resource:{resource}",)))
    said = []
    for index, leaf in read.of_kind("dep", *tags):
        found = read.record(index, leaf, Deployment)
        if found is not None and len(found[0].statement.subject) == 1:
            said.append((index, *found))
    ends = {made.ends: (made, who) for _, _, made, who in reversed(said) if made.ends is not None}
    shown = []
    for index, record, made, who in said:
        if made.ends is not None:
            continue
        artifact = record.statement.subject[0].digest.artifact
        released = _released(read, made.request)
        if released is not None and (released.model, released.resource) != (artifact, made.resource):
            released = None
        ended, by = ends.get(record.digest, (None, None))
        if ended is not None and (ended.host, ended.resource) != (made.host, made.resource):
            ended = by = None
        shown.append(
            Deployed(
                digest=record.digest,
                index=index,
                host=made.host,
                model=artifact,
                resource=made.resource,
                request=Sha256(made.request),
                by=who,
                since=made.signed_at,
                release=released,
                ended_at=None if ended is None else ended.signed_at,
                ended_by=by,
            )
        )
    return shown


def _released(read: ReleaseLog, request: str) -> Released | None:
    """The release by `request`; `None` when nobody let anything out by it."""
    tag = f"request:{request}"
    for index, leaf in read.of_kind("req"):
        found = read.record(index, leaf, AccessRequest) if leaf.record == request else None
        if found is None or found[1].action != "model:release" or len(found[0].statement.subject) != 2:
            continue
        record, asked, _ = found
        for used, use_leaf in read.of_kind("use", tag, f"gate:{asked.gate}"):
            use = read.record(used, use_leaf, AccessUse)
            if use is None:
                continue
            later = list(read.authority)
            taking = [(i, one) for kind in ("den", "rev") for i, one in read.of_kind(kind, tag) if i > used]
            later += entries_about(read.log, iter(taking))
            later.sort(key=lambda entry: entry.index)
            raw = read.log.envelope(Sha256(leaf.envelope))
            return Released(
                request=record.digest,
                resource=asked.resource,
                model=record.statement.subject[0].digest.artifact,
                requester=asked.requester,
                approvers=tuple(sorted({_approver(read, tag, given) for given in use[1].approvals})),
                gate=asked.gate,
                released_at=use[1].used_at,
                withdrawals=withdrawn(raw, later, history=read.start, now=read.now).by,
            )
    return None


def _approver(read: ReleaseLog, tag: str, given: str) -> str:
    for index, leaf in read.of_kind("apr", tag):
        if leaf.record == given:
            try:
                found = read.record(index, leaf, HumanAuthorization)
            except KeyturnError:
                continue  # its text was erased
            if found is not None:
                return found[1].approver
    return records.record_id("apr", given)


class _Seeing:
    """A log, and of the leaves that are read of it those that say something of releases."""

    def __init__(self, log: LogReader) -> None:
        self._log = log
        self.seen: dict[int, Leaf] = {}

    def checkpoint(self) -> bytes:
        return self._log.checkpoint()

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        found = self._log.leaves(start, end)
        for index, raw in enumerate(found, start):
            try:
                leaf = leaf_format.parse(raw)
            except Malformed:
                continue  # the leaf of no record
            if leaf.kind in _KINDS:
                self.seen[index] = leaf
        return found

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self._log.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        return self._log.envelope(digest)
