"""Verify a pack offline, holding nothing but the lab's first root: was this model released, by whom, made from what.

1. The container: every byte is bound by its table (`formats.pack`), and there are no members but those that packs have.
2. Trust: from the root that the caller holds, never from the pack, through every version in it.
3. The checkpoint, cosigned by the quorum of witnesses; the leaves from the pack index to it hash to its root.
4. Every record is proved to be in that log; the pack holds every statement of the pack index, and every record after it that
   could count against the release.
5. The chain of custody, whole (`custody.verify`), with what others signed about it verified again, and nothing said about it
   since the index.
6. The contents are signed by the gate that the request was for. The manifest of the model's files, if there is one, has the
   model's identity: names and SHA-256s are people's word then, BLAKE3s the gate's alone. What others signed of them by BLAKE3 is
   compared with it.
7. The grant (`grants.verify_past`): people released this model with this pack index, and nobody denied or revoked it.
8. The gate's own statements say the same.

`examine_pack` names every failure; from where a step has nothing left to stand on, the later ones are not tried, and said
so. What was after the checkpoint is not known to anybody who is offline: a verdict is "as of" its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Literal, NoReturn

from keyturn.app.custody import pack_records
from keyturn.bulk.read_chain import AUTHORITY_KINDS, CHAIN_KINDS, EVIDENCE_KINDS, judge
from keyturn.bulk.threads import on_all_cores
from keyturn.crypto.dsse_signing import verify_one
from keyturn.custody import pack_index, timeline
from keyturn.custody.afterwards import changed_since
from keyturn.custody.evidence import Entry, Evidence, Failure, read
from keyturn.custody.facts import facts_of
from keyturn.custody.files_signed import held_against
from keyturn.custody.outside import Verify, nobody_verifies
from keyturn.custody.pack_index import PackIndex
from keyturn.custody.timeline import TrustTimeline
from keyturn.custody.verify import Chain, located
from keyturn.errors import KeyturnError, Refused, Tampered
from keyturn.formats import dsse, manifest, pack, pack_members, records, release, statement, trust_version
from keyturn.formats.access import AccessUse
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.manifest import Manifest
from keyturn.formats.pack import Pack, PackContents
from keyturn.formats.records import Opened, Record, Sealed
from keyturn.formats.uri import Uri
from keyturn.grants.verify_grant import Granted
from keyturn.grants.verify_past import Proved, bundle_at, verify_past
from keyturn.policy.facts import Facts
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import Gate

__all__ = ["PackEnd", "PackVerdict", "VerifiedPack", "accept", "examine_pack", "verify_pack"]

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class PackEnd:
    """The log at the pack's checkpoint, for whoever reads on from there: its tree, the release request, and the trust versions,
    suspensions and lifts that the pack has, in log order."""

    frontier: Frontier
    request: bytes = field(repr=False)
    authority: tuple[tuple[int, Leaf, bytes], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PackVerdict:
    """What a pack proves, and every failure. Parts are `None` when they could not be judged."""

    failures: tuple[tuple[str, str], ...]
    lab: str | None = None
    profile: str | None = None
    root_sha256: str | None = None
    model: ArtifactDigest | None = None
    resource: Uri | None = None
    log_size: int | None = None
    as_of: int | None = None
    cosigners: tuple[str, ...] = ()
    chain: Chain | None = field(default=None, repr=False)
    facts: Facts | None = None
    granted: Granted | None = None
    released_at: int | None = None
    gate: str | None = None
    end: PackEnd | None = None
    files: Manifest | None = field(default=None, repr=False)
    compared: Mapping[Sha256, Literal["gate", "here"]] = field(default_factory=dict)
    """Evidence bound by files, by its record: whose hashing of these files it rests on, in place of the member's word."""


@dataclass(frozen=True, slots=True)
class VerifiedPack:
    """A pack without failures. Only `verify_pack` makes one."""

    verdict: PackVerdict
    model: ArtifactDigest
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a VerifiedPack is made by verify_pack only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedPack is not pickled: keep the pack, and verify it again")


def verify_pack(raw: bytes, *, root_json: bytes, pinned_sha256: str, verify: Verify = nobody_verifies) -> VerifiedPack:
    """Verify the pack `raw` under the pinned first root; or raise `Refused` with every failure as a reason."""
    return accept(examine_pack(raw, root_json=root_json, pinned_sha256=pinned_sha256, verify=verify))


def accept(verdict: PackVerdict) -> VerifiedPack:
    """Accept the pack of `verdict`, which `examine_pack` made, if nothing failed; or raise `Refused` with every failure."""
    if verdict.failures or verdict.model is None:
        raise Refused(
            "pack-refused",
            f"the pack does not prove a release: {len(verdict.failures)} failure(s)",
            reasons=verdict.failures,
            hint="do not use the model; keep the pack, and ask the lab that made it",
        )
    return VerifiedPack(verdict, verdict.model, _VERIFIER)


def examine_pack(raw: bytes, *, root_json: bytes, pinned_sha256: str, verify: Verify = nobody_verifies) -> PackVerdict:
    """Judge the pack `raw`, and name every failure. Raises only when the caller's own root is not the pinned one."""
    start = TrustHistory.start(root_json, pinned_sha256=pinned_sha256)
    reading = _Reading(start, verify)
    try:
        reading.read(pack.parse(raw))
    except KeyturnError as err:
        reading.fail(err)
    return reading.verdict()


class _Reading:
    """One pack, as far as it was judged. Mutable, and thrown away."""

    def __init__(self, start: TrustHistory, verify: Verify) -> None:
        self._start = start
        self._verify = verify
        self._failures: list[tuple[str, str]] = []
        self._index: PackIndex | None = None
        self._checkpoint: WitnessedCheckpoint | None = None
        self._chain: Chain | None = None
        self._facts: Facts | None = None
        self._granted: Granted | None = None
        self._contents: PackContents | None = None
        self._used_at: int | None = None
        self._resource: Uri | None = None
        self._end: PackEnd | None = None
        self._files: Manifest | None = None
        self._compared: dict[Sha256, Literal["gate", "here"]] = {}

    def fail(self, err: KeyturnError) -> None:
        self._failures.extend(err.reasons if isinstance(err, Refused) else ((err.code, err.message),))

    def _note(self, code: str, message: str) -> None:
        self._failures.append((code, message))

    def verdict(self) -> PackVerdict:
        index, checkpoint, contents = self._index, self._checkpoint, self._contents
        return PackVerdict(
            failures=tuple(dict.fromkeys(self._failures)),
            lab=self._start.lab,
            profile=self._start.profile,
            root_sha256=self._start.root_sha256,
            model=ArtifactDigest.parse(index.model) if index else None,
            resource=self._resource,
            log_size=checkpoint.checkpoint.size if checkpoint else None,
            as_of=checkpoint.cosigned_at if checkpoint else None,
            cosigners=tuple(sorted(checkpoint.cosigners)) if checkpoint else (),
            chain=self._chain,
            facts=self._facts,
            granted=self._granted,
            released_at=self._used_at,
            gate=contents.gate if contents else None,
            end=self._end,
            files=self._files,
            compared=self._compared,
        )

    def read(self, found: Pack) -> None:
        # (1)
        members = found.members
        names = pack_members.check_names(members)
        index = self._index = pack_index.parse(members[pack_members.INDEX])
        frontier = Frontier(*pack_members.parse_frontier(members[pack_members.FRONTIER]))
        leaves = pack_members.parse_leaves(members[pack_members.LEAVES])
        proofs = pack_members.parse_proofs(members[pack_members.PROOFS], count=len(names))
        own = {place: Sealed(members[name]) for place, name in names.items()}
        kinds = {one.index: one.kind for one in index.statements}
        # Of these there are many: they are opened on all cores, while their signatures are checked.
        chain = {place: one for place, one in own.items() if kinds.get(place) in CHAIN_KINDS}
        rest = {place: one.opened for place, one in own.items() if place not in chain}
        # (2)
        versions = [(place, one.raw) for place, one in rest.items() if one.leaf.kind in ("rot", "tgt")]
        self._require_same_root(index.lab, [raw for _, raw in versions])
        history, trusted = timeline.follow(self._start, versions)
        state = history.newest
        # (3)
        checkpoint = verify_checkpoint(members[pack_members.CHECKPOINT], state.log, now=None, skew_s=0)
        self._checkpoint = checkpoint
        tree = frontier.extend(leaves)
        if (tree.size, tree.root) != (checkpoint.checkpoint.size, checkpoint.checkpoint.root):
            raise Tampered("pack-other-leaves", "the pack's leaves are not those of its checkpoint")
        if (frontier.size, frontier.root.hex()) != (index.size, index.root):
            raise Tampered("pack-other-index", "the pack index is not of the log that the checkpoint is of")
        if index.as_of > checkpoint.cosigned_at or index.lab != state.lab:
            raise Refused(
                "pack-index-ahead",
                f"the pack index is of lab `{index.lab}` at {index.as_of}, the checkpoint of `{state.lab}` at "
                f"{checkpoint.cosigned_at}: suspensions could have been left out of it",
            )
        # (4) and the statements that (5) judges, read.
        entries = [Entry(place, one.raw, one) for place, one in chain.items()]
        said = read(entries, lab=index.lab, timeline=trusted, each=on_all_cores)
        self._failures += pack_records.unproved(own, proofs, checkpoint)
        self._failures += pack_records.misplaced(index, own, leaves)
        contents = self._contents = _read_contents(found)
        self._failures += pack_records.missing(index, own, leaves, Sha256(contents.request))
        hashes = dict(zip(own, proofs, strict=True))
        # Whoever keeps the log can write a record about the request that nobody signed: it is proved, and has no effect.
        rest = {place: one for place, one in rest.items() if not pack_records.is_forged(place, one, trusted)}
        proved = [
            Proved(one.raw, place, pack_members.hashes_of(hashes[place]))
            for place, one in rest.items()
            if one.leaf.kind not in CHAIN_KINDS | EVIDENCE_KINDS
        ]
        # (5) and (7) stand on the same records; a failure of one hides nothing of the other.
        requests = [o.raw for o in rest.values() if (o.leaf.kind, o.leaf.record) == ("req", contents.request)]
        if len(requests) != 1:
            raise Refused("pack-request-missing", "the pack does not hold the one request that its contents name")
        asked = records.parse(requests[0])
        authority = tuple((place, o.leaf, o.raw) for place, o in rest.items() if o.leaf.kind in AUTHORITY_KINDS)
        self._end = PackEnd(tree, requests[0], authority)
        resource = self._resource = Uri.parse(asked.statement.predicate.resource)
        used = self._use(rest, contents)
        self._judge_chain(index, rest, said, trusted, leaves, resource=resource, at=used)
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._check_contents(found, contents, state.gates),
            lambda: self._check_grant(proved, asked, rest, at=used, skew_s=state.limits.clock_skew_max_s),
            lambda: self._check_statements(found, contents, state.gates),
        )
        for step in steps:
            try:
                step()
            except KeyturnError as err:
                self.fail(err)

    def _require_same_root(self, lab: str, versions: Sequence[bytes]) -> None:
        """Refuse a pack that begins with another first root than the caller's: under his, nothing in it was ever said."""
        found = [trust_version.parse(raw) for raw in versions]
        firsts = {sha256(one.metadata) for one in found if (one.role, one.version) == ("root", 1)}
        if firsts and self._start.root_sha256 not in firsts:
            raise Refused(
                "pack-other-root",
                f"the pack is of lab `{lab}`, whose first root it says is {min(firsts)}; the root that you hold is of lab "
                f"`{self._start.lab}`, {self._start.root_sha256}",
                hint="get the root of the lab that made the model, and compare its SHA-256 by another way",
            )

    def _use(self, own: Mapping[int, Opened], contents: PackContents) -> int:
        tag = f"request:{contents.request}"
        found = [records.parse(o.raw) for o in own.values() if o.leaf.kind == "use" and tag in o.leaf.about]
        uses: list[AccessUse] = [record.statement.predicate for record in found]
        if not uses:
            raise Refused("pack-use-missing", "the pack holds no access-use of the release gate")
        # The gate's own first one; any other will not do, and `verify_past` says why.
        used_at = next((use for use in uses if use.gate == contents.gate), uses[0]).used_at
        self._used_at = used_at
        return used_at

    def _judge_chain(
        self,
        index: PackIndex,
        rest: Mapping[int, Opened],
        said: Evidence,
        trusted: TrustTimeline,
        leaves: tuple[bytes, ...],
        *,
        resource: Uri,
        at: int,
    ) -> None:
        kinds = {one.index: one.kind for one in index.statements if one.index in rest}
        kinds |= {
            place: o.leaf.kind for place, o in rest.items() if place >= index.size and o.leaf.kind in AUTHORITY_KINDS
        }
        entries = [(kind, Entry(place, rest[place].raw)) for place, kind in kinds.items()]
        chain = judge(
            index,
            entries,
            start=self._start,
            resource=resource,
            trusted=trusted,
            as_of=at,
            verify=self._verify,
            read=said,
        )
        self._chain = chain
        self._facts = facts_of(chain)
        since: Iterator[Failure] = changed_since(chain, leaves, start=index.size)
        self._failures += [(failure.code, located(failure)) for failure in (*chain.failures, *since)]

    def _check_contents(self, found: Pack, contents: PackContents, gates: Mapping[str, Gate]) -> None:
        # (6)
        gate, envelope = _gate(contents, gates), dsse.parse_own(found.contents)
        checkpoint, index = self._checkpoint, self._index
        assert checkpoint is not None  # both were read before
        assert index is not None
        subject = [
            str(one.digest.artifact) for one in statement.parse(envelope.payload, PackContents, pack.PACK).subject
        ]
        try:
            verify_one(envelope, gate.key)
        except KeyturnError as err:
            self.fail(err)
        model, size = ", ".join(subject), checkpoint.checkpoint.size
        if contents.key != gate.key.keyid:
            self._note("pack-contents-key", f"the contents: expected the key `{gate.key.keyid}`, got `{contents.key}`")
        if contents.table != found.table_digest:
            self._note(
                "pack-table-other", f"the gate signed the table {contents.table}, the pack's is {found.table_digest}"
            )
        if contents.size != size:
            self._note(
                "pack-contents-size", f"the contents: expected {size} entries as the checkpoint, got {contents.size}"
            )
        if model != index.model:
            self._note("pack-contents-model", f"the contents: expected the model `{index.model}`, got `{model[:300]}`")
        if contents.lab != self._start.lab:
            self._note("lab-other", f"the contents: expected the lab `{self._start.lab}`, got `{contents.lab}`")
        if pack_members.FILES in found.members:
            files = manifest.parse(found.members[pack_members.FILES])
            if str(files.identity) == index.model:
                self._files = files
                same, other = held_against(files, self._chain.outside if self._chain is not None else ())
                self._compared.update(dict.fromkeys(same, "gate"))
                self._failures += [(failure.code, located(failure)) for failure in other]
            else:
                self._note(
                    "pack-other-files",
                    f"the pack's manifest: expected that of `{index.model}`, got that of `{files.identity}`",
                )

    def _check_grant(
        self, about: list[Proved], asked: Record, own: Mapping[int, Opened], *, at: int, skew_s: int
    ) -> None:
        # (7)
        contents, checkpoint, index = self._contents, self._checkpoint, self._index
        if contents is None or checkpoint is None or index is None or self._facts is None:
            return
        named = tuple(subject.digest.artifact for subject in asked.statement.subject)
        held = (ArtifactDigest.parse(index.model), ArtifactDigest("sha256", index.digest))
        if named != held:
            self._note(
                "release-subjects",
                "people were asked to release another model, or a chain with another pack index than this one: "
                f"they signed {_listed(named)}, and the pack has {_listed(held)}",
            )
        past = verify_past(
            bundle_at(asked.envelope, history=self._start, proved=about, at=at),
            history=self._start,
            checkpoint_note=checkpoint.note,
            proved=about,
            at=at,
            gate=Uri.parse(contents.gate),
            facts=self._facts,
        )
        self._granted = past.granted
        if past.granted.request.action != "model:release" or past.use is None:
            raise Refused("release-action", f"people granted `{past.granted.request.action}`, and that is no release")
        # When the use was, is the gate's word. That its checkpoint is no older is the witnesses': so the grant must have stood
        # then too, or a stolen gate could act on what is long over, and date it back.
        ends = [
            o.leaf.until or 0 for o in own.values() if o.leaf.kind == "apr" and o.leaf.record in past.granted.approvals
        ]
        ends_at = min(past.granted.window.ends_at, *ends)
        if checkpoint.cosigned_at - skew_s >= ends_at:
            self._note(
                "release-after-grant",
                f"the grant ended at {ends_at}, and the gate's checkpoint is of {checkpoint.cosigned_at}",
            )
        for later in past.withdrawn_later:
            self._note("release-withdrawn", f"`{later.by}` {later.verb} the release after it: {later.reason}")

    def _check_statements(self, found: Pack, contents: PackContents, gates: Mapping[str, Gate]) -> None:
        # (8)
        gate, chain = _gate(contents, gates), self._chain
        released = dsse.parse_own(found.members[pack_members.RELEASE_STATEMENT])
        summarised = dsse.parse_own(found.members[pack_members.SUMMARY])
        for one in (released, summarised):
            try:
                verify_one(one, gate.key)
            except KeyturnError as err:
                self.fail(err)
        said, summary = release.read_release(released.payload), release.read_summary(summarised.payload)
        if chain is None:
            return
        wanted = chain.model, chain.resource
        for what, got in (("release statement", said), ("summary", summary)):
            if (got.model, got.resource) != wanted:
                self._note(
                    "release-statement-other",
                    f"the gate's {what}: expected one about `{wanted[0]}` as `{wanted[1]}`, "
                    f"got one about `{got.model}` as `{got.resource}`",
                )
        if str(summary.gate) != contents.gate or summary.level > chain.level_min:
            self._note(
                "release-statement-other",
                f"the gate's summary: expected one of `{contents.gate}` and level {chain.level_min} at most, "
                f"got one of `{summary.gate}` and level {summary.level}",
            )
        if summary.reproduced and chain.model not in chain.reproduced:
            self._note(
                "release-statement-other",
                "the gate's summary: says that two builders agree on the model, and the chain does not",
            )


def _listed(digests: Sequence[ArtifactDigest]) -> str:
    return " and ".join(f"`{one}`" for one in digests)


def _gate(contents: PackContents, gates: Mapping[str, Gate]) -> Gate:
    gate = gates.get(contents.gate)
    if gate is None:
        raise Refused("gate-unknown", f"`{contents.gate[:200]}` is no gate of the lab")
    return gate


def _read_contents(found: Pack) -> PackContents:
    return statement.parse(dsse.parse_own(found.contents).payload, PackContents, pack.PACK).predicate
