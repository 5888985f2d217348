"""Release a model: verify the people's grant and the whole chain, once, and sign what outsiders read.

1. What was done already is given again: one request, one pack, which the gate signed for that very request; unless somebody has
   denied or revoked it since, as the gate's fresh view says, and the log from where the pack ends, which forgets nothing
   (`taken_back`): the pack may never have reached anybody. Nothing else is done for a request that its requester did not sign,
   or that the log does not have: whoever can reach the port could have the gate read logs and files all day.
2. The grant is for this gate and a model; the order is what the request names: the index of (log, model, size, as_of),
   computed here from the log.
3. The log that was read is the one in the gate's fresh view; nothing about the chain was logged since the index.
4. The chain holds, without a single failure. No policy can loosen this: a gate that signed a verification summary over a
   broken chain would lie.
5. The grant would be granted, and nobody used it; the model's files, when the order says where they are, have the `dirHash`
   that people agreed to. The gate signs its access-use, keeps it, and logs it.
6. When the use is witnessed, the files are hashed again, which may take hours; then the gate refreshes its view, reads the log
   on up to there, and repeats 3 and 4; of statements that are the same it checks no signature again. `verify_grant` demands
   that this use is the log's first.
7. Only now it signs: release statement, verification summary, and the contents of the pack, which has the manifest of the files
   that were hashed. The pack is kept before anybody gets it, and the two statements are logged. Right before it is kept, the
   grant is verified once more: what takes access away may have reached the log meanwhile, which the gate reads by the clock, or
   have been pushed to it (`grants.pushed`); every step obeys both.

A crash between any two steps leaves the journal with the use or without; the same order goes on from there, with the same
use, and never makes a second one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyturn.bulk.read_chain import LogReading
from keyturn.bulk.threads import on_all_cores
from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.custody.afterwards import changed_since
from keyturn.custody.facts import facts_of
from keyturn.custody.files_signed import held_against
from keyturn.custody.outside import Verify, nobody_verifies
from keyturn.custody.pack_index import PackIndex
from keyturn.custody.verify import Chain, VerifiedChain, located, verify_chain, with_failures
from keyturn.errors import Refused, Tampered
from keyturn.formats import access, dsse, manifest, pack, pack_members, release, release_order, statement
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.manifest import Manifest
from keyturn.formats.pack import Pack, PackContents
from keyturn.formats.provenance import Level
from keyturn.formats.release import Release, Summary
from keyturn.formats.release_order import ReleaseOrder
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.gates.release.pack import collect
from keyturn.gates.release.taken_back import taken_back
from keyturn.gates.words import signed_obedience, signed_use
from keyturn.grants import bundle as bundles
from keyturn.grants import checks, withdrawing
from keyturn.grants.bundle import Bundle
from keyturn.grants.freshness import require_trust
from keyturn.grants.pushed import Pushed
from keyturn.grants.verify_grant import VerifiedGrant, ready_to_use, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import Facts
from keyturn.ports import Clock, Entropy, LogReader, LogWriter, ReleaseJournal
from keyturn.tlog.frontier import Frontier
from keyturn.trust.history import TrustHistory

__all__ = ["ACTION", "ReleaseGate", "ReleaseGateParts"]

ACTION = "model:release"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseGateParts:
    """What a release gate is made of.

    `refresh` gives the gate's newest view, or raises, and `seen` the one that it has, which another thread may bring up to date;
    `obey` takes what takes access away before the log has it, and `obeying` lays all of that over a view. For every decision a
    view gets both: what was read since, and what was pushed. `await_witnessed` returns when
    the record at that index is under a checkpoint of the quorum, or raises; `hash_model` gives the manifest of the files at a
    path below a directory of the operator's; `verify_evidence` verifies what others signed.
    """

    gate: Uri
    key: SoftwareKey
    root_json: bytes
    pinned_sha256: str
    log: LogReader
    writer: LogWriter
    journal: ReleaseJournal
    clock: Clock
    entropy: Entropy
    refresh: Callable[[], GateView]
    seen: Callable[[], GateView]
    obey: Callable[[bytes], Pushed]
    obeying: Callable[[GateView], GateView]
    await_witnessed: Callable[[int, bytes], None]
    hash_model: Callable[[str], Manifest]
    verify_evidence: Verify = nobody_verifies


@dataclass(frozen=True, slots=True)
class _Asked:
    """An order whose parts agree with each other."""

    bundle: Bundle
    request: AccessRequest
    digest: Sha256
    subjects: tuple[ArtifactDigest, ...]
    order: ReleaseOrder
    resource: Uri
    model: ArtifactDigest


@dataclass(frozen=True, slots=True)
class _Judged:
    """The chain at one size of the log, with the tree at the index and every leaf since."""

    chain: VerifiedChain
    facts: Facts
    index: PackIndex
    frontier: Frontier
    leaves: tuple[bytes, ...]
    view: GateView
    reading: LogReading


class ReleaseGate:
    """Releases models, one order at a time. `release` is not safe to call from two threads at once; `obey` is, with anything."""

    def __init__(self, parts: ReleaseGateParts) -> None:
        self._parts = parts
        self._acting = threading.Lock()

    def obey(self, negative: bytes) -> bytes:
        """Obey the signed denial, revocation or suspension `negative` at once, and give the gate's signed word for it.

        Raises what it is refused for, and then nothing has changed. It never waits for a release that goes on, except for the
        moment in which that keeps its pack: whoever is told that the gate had not acted can rely on that it will not.
        """
        parts = self._parts
        found = parts.obey(negative)
        with self._acting:
            acted = found.request is not None and parts.journal.pack(found.request) is not None
        return signed_obedience(
            found,
            size=parts.seen().frontier.size,
            acted=acted,
            gate=parts.gate,
            key=parts.key,
            clock=parts.clock,
        )

    def release(self, order: bytes) -> bytes:
        """Carry out `order` and give the pack; or raise `Refused` with every reason, and release nothing."""
        parts = self._parts
        asked = self._parse(order)
        done = parts.journal.pack(asked.digest)  # (1)
        if done is not None:
            kept = self._own(done, asked)
            self._require_not_ended(kept, asked, self._obeying(parts.refresh()))
            self._log_statements(kept.members)
            return done
        view = self._obeying(parts.refresh())
        self._require_asked(asked, view)
        judged = self._judge(asked, view)  # (2) (3) (4)
        use = parts.journal.use(asked.digest)
        if use is None:
            ready_to_use(  # (5)
                asked.bundle,
                self._obeying(judged.view),
                now=parts.clock.now(),
                gate=parts.gate,
                session_key=None,
                facts=judged.facts,
            )
            self._require_files(asked, judged)
            use = self._sign_use(asked)
            parts.journal.keep_use(asked.digest, use)
        parts.await_witnessed(parts.writer.append(use), use)  # (6)
        files = self._require_files(asked, judged)
        judged = self._judge(asked, parts.refresh(), judged)
        grant = self._verify(asked, judged, use)
        return self._act(asked, judged, grant, use, files)  # (7)

    def _verify(self, asked: _Asked, judged: _Judged, use: bytes) -> VerifiedGrant:
        parts = self._parts
        grant = verify_grant(
            asked.bundle,
            self._obeying(judged.view),
            now=parts.clock.now(),
            gate=parts.gate,
            session_key=None,
            facts=judged.facts,
        )
        if grant.use != dsse.parse_own(use).record_digest:
            raise Refused(
                "one-shot-used", "another use of this gate's was logged first: its journal was lost or copied"
            )
        return grant

    def _obeying(self, view: GateView) -> GateView:
        parts = self._parts
        return parts.obeying(view.knowing(parts.seen().known))

    def _own(self, kept: bytes, asked: _Asked) -> Pack:
        # Whoever has the journal alone could have the gate hand out what it released for other people.
        found = pack.parse(kept)
        contents = dsse.parse_own(found.contents)
        dsse_signing.verify_one(contents, self._parts.key.public)
        made = statement.parse(contents.payload, PackContents, pack.PACK).predicate
        if (made.gate, made.request, made.table) != (str(self._parts.gate), asked.digest, found.table_digest):
            raise Tampered(
                "journal-other-pack",
                f"the gate's journal holds a pack of `req-{made.request[:32]}` for `req-{asked.digest[:32]}`",
                hint="somebody wrote into the gate's state directory: find out who, and ask for the release again",
            )
        return found

    def _require_not_ended(self, kept: Pack, asked: _Asked, view: GateView) -> None:
        parts = self._parts
        now = parts.clock.now()
        require_trust(view, now=now)
        view.known.require_read(f"request:{asked.digest}", what="request")
        ended = next(withdrawing.ending(view.known, asked.digest, asked.request, now=now), None)
        if ended is None:
            start = TrustHistory.start(parts.root_json, pinned_sha256=parts.pinned_sha256)
            request = dsse.render(asked.bundle.request)
            ended = next(iter(taken_back(kept, request, parts.log, view, start=start, now=now)), None)
        if ended is not None:
            raise Refused(
                "request-ended",
                f"the gate had released it before `{ended.by}` {ended.verb} it: "
                f"{ended.reason}; its pack is given to nobody any more",
                hint="whoever needs it asks again; the gate's operator has the pack of before, in the gate's state directory",
            )

    def _require_asked(self, asked: _Asked, view: GateView) -> None:
        alone = checks.parse_bundle(bundles.make(asked.bundle.request, ()))
        now = self._parts.clock.now()
        for check in checks.requester_checks(alone, require_trust(view, now=now), view.known, now=now):
            check()
        checks.require_none(checks.not_logged(alone, view.known))

    def _require_files(self, asked: _Asked, judged: _Judged) -> Manifest | None:
        if asked.order.path is None:
            return None
        files = self._parts.hash_model(asked.order.path)
        if files.identity != asked.model:
            raise Refused(
                "model-other-files",
                f"the files at `{asked.order.path}` are not `{asked.model}`",
                hint="a model is its files' names and contents: find out what changed",
            )
        _, failures = held_against(files, judged.chain.chain.outside)
        if failures:
            raise Refused(
                "evidence-other-subject",
                f"what others signed is of other files than those at `{asked.order.path}`: {failures[0].message}",
                reasons=tuple((one.code, located(one)) for one in failures),
                hint="whoever took it in compared others, or none: find out who and why, before anybody uses the model",
            )
        return files

    def _parse(self, raw: bytes) -> _Asked:
        order = release_order.parse(raw)
        bundle = bundles.parse(bytes(order.bundle))
        parsed = statement.parse(bundle.request.payload, AccessRequest, access.ACCESS_REQUEST)
        request, resource = parsed.predicate, Uri.parse(parsed.predicate.resource)
        if request.action != ACTION or resource.type != "model":
            raise Refused("release-action", f"expected `{ACTION}` of a model, got `{request.action}` of `{resource}`")
        model = ArtifactDigest.parse(order.model)
        return _Asked(
            bundle=bundle,
            request=request,
            digest=bundle.request.record_digest,
            subjects=tuple(subject.digest.artifact for subject in parsed.subject),
            order=order,
            resource=resource,
            model=model,
        )

    def _judge(self, asked: _Asked, view: GateView, before: _Judged | None = None) -> _Judged:
        parts = self._parts
        checkpoint = view.checkpoint
        if checkpoint is None:
            raise Refused("view-empty", "the gate has not seen a witnessed checkpoint yet")
        if not asked.order.size <= checkpoint.checkpoint.size or asked.order.as_of > checkpoint.cosigned_at:
            raise Refused(
                "release-index-ahead", "the pack index claims a log size or time that the log has not reached"
            )
        # (2)
        if before is None:
            reading = LogReading(parts.log, root_json=parts.root_json, pinned_sha256=parts.pinned_sha256)
            frontier = reading.to(asked.order.size)
            index = reading.index(lab=asked.resource.lab, model=asked.model, as_of=asked.order.as_of)
        else:  # what was read goes on from there: (3) holds all of it against the newer view
            reading, frontier, index = before.reading, before.frontier, before.index
        expected = (asked.model, ArtifactDigest("sha256", index.digest))
        if asked.subjects != expected:
            raise Refused(
                "release-subjects",
                f"expected the subjects `{expected[0]}` and `{expected[1]}`, the request names "
                + ", ".join(f"`{subject}`" for subject in asked.subjects),
                hint="open the release again: its chain, or the log that it was computed of, is another",
            )
        # (3)
        if reading.to(view.frontier.size) != view.frontier:
            raise Tampered("log-other-leaves", "the log showed other leaves than those of the gate's view")
        leaves = tuple(parts.log.leaves(index.size, view.frontier.size))
        if frontier.extend(leaves) != view.frontier:
            raise Tampered("log-other-leaves", "the log showed other leaves when it was read again")
        # (4)
        now_index = reading.index(lab=asked.resource.lab, model=asked.model, as_of=checkpoint.cosigned_at)
        chain = reading.examine(
            now_index,
            resource=asked.resource,
            as_of=checkpoint.cosigned_at,
            verify=parts.verify_evidence,
            each=on_all_cores,
        )
        chain = with_failures(chain, changed_since(chain, leaves, start=index.size))
        return _Judged(verify_chain(chain), facts_of(chain), index, frontier, leaves, view, reading)

    def _sign_use(self, asked: _Asked) -> bytes:
        parts = self._parts
        approvals = [one.record_digest for one in asked.bundle.authorizations]
        return signed_use(
            asked.digest, approvals, gate=parts.gate, key=parts.key, clock=parts.clock, entropy=parts.entropy
        )

    def _act(self, asked: _Asked, judged: _Judged, grant: VerifiedGrant, use: bytes, files: Manifest | None) -> bytes:
        parts = self._parts
        checkpoint = judged.view.checkpoint
        if checkpoint is None:
            raise Refused("view-empty", "the gate has not seen a witnessed checkpoint yet")
        chain: Chain = judged.chain.chain
        now = parts.clock.now()
        statement_of_release = self._signed(release.make_release(Release(asked.model, asked.resource)))
        summary = self._signed(
            release.make_summary(
                Summary(
                    model=asked.model,
                    resource=asked.resource,
                    gate=parts.gate,
                    verified_at=now,
                    targets=_targets(judged.view),
                    inputs=(
                        ("access-request", asked.digest),
                        *((f"human-authorization/{n}", d) for n, d in enumerate(grant.granted.approvals, 1)),
                        ("pack-index", judged.index.digest),
                    ),
                    level=_level(chain.level_min),
                    reproduced=chain.model in chain.reproduced,
                )
            )
        )
        members = collect(
            parts.log,
            index=judged.index,
            frontier=judged.frontier,
            leaves=judged.leaves,
            checkpoint=checkpoint,
            request=asked.digest,
        )
        members[pack_members.RELEASE_STATEMENT] = statement_of_release
        members[pack_members.SUMMARY] = summary
        if files is not None:
            members[pack_members.FILES] = manifest.render(files)
        contents = PackContents(
            lab=asked.resource.lab,
            nonce=parts.entropy.nonce(),
            gate=str(parts.gate),
            key=parts.key.public.keyid,
            request=asked.digest,
            size=checkpoint.checkpoint.size,
            table=sha256(pack.make_table(members)),
            signed_at=now,
        )
        subject = (Subject(digest=DigestSet.of(asked.model), name=asked.resource.name),)
        made = pack.render(self._signed(statement.make(contents, pack.PACK, subject)), members)
        with self._acting:
            self._verify(asked, judged, use)  # what was logged or pushed since the log was read counts
            parts.journal.keep_pack(asked.digest, made)
        self._log_statements(members)
        return made

    def _log_statements(self, members: Mapping[str, bytes]) -> None:
        for name in (pack_members.RELEASE_STATEMENT, pack_members.SUMMARY):
            self._parts.writer.append(members[name])

    def _signed(self, payload: bytes) -> bytes:
        return dsse.render(dsse_signing.sign(payload, self._parts.key))


def _targets(view: GateView) -> Sha256:
    return next(link.digest for link in reversed(view.trust.links) if link.role == "targets")


def _level(number: int) -> Level:
    match number:
        case 1 | 2 | 3:
            return number
        case _:
            raise Refused("release-level", f"expected a build level of 1, 2 or 3, got {number}")
