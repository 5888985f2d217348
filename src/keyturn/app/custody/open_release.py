"""Find out what a release request for a model must name, and what its approvers should see before they sign.

The request's two subjects are the model's `dirHash` and the SHA-256 of the pack index: so people approve this model with
this chain, all of it. The index is computed from the log that the witnesses cosigned, under the caller's own pinned root.

`make_release_request` makes the request; whoever asked for it shows it whole before he signs, and submits it. Whoever approves
it computes the same again (`review_release`): a digest that nobody recomputed could be that of an index without the statement
that says FAILED, and a gate that is taken over would not mind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.bulk.read_chain import LogReading, claimed_size
from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.custody.evidence import Map, in_turn
from keyturn.custody.facts import facts_of
from keyturn.custody.outside import Verify, nobody_verifies
from keyturn.custody.pack_index import PackIndex
from keyturn.custody.verify import Chain
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.policy.facts import Facts
from keyturn.ports import LogReader
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint
from keyturn.trust.history import TrustHistory

__all__ = [
    "ReleaseDraft",
    "make_release_request",
    "open_release",
    "read_label",
    "release_subjects",
    "review_release",
    "sign_release_request",
]

_LABEL = re.compile(r"pack-index/(0|[1-9][0-9]{0,15})/(0|[1-9][0-9]{0,11})\Z")


@dataclass(frozen=True, slots=True)
class ReleaseDraft:
    """Everything about a model's chain, as of one cosigned checkpoint."""

    index: PackIndex
    chain: Chain
    facts: Facts
    history: TrustHistory
    checkpoint: WitnessedCheckpoint

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The subjects that the release request must have."""
        return release_subjects(self.index)


def release_subjects(index: PackIndex) -> tuple[Subject, ...]:
    """The two subjects of a release request: the model, and the pack index over its chain."""
    return (
        Subject(digest=DigestSet.of(ArtifactDigest.parse(index.model)), name="model"),
        Subject(digest=DigestSet(sha256=index.digest), name=f"pack-index/{index.size}/{index.as_of}"),
    )


def read_label(name: str) -> tuple[int, int]:
    """Read of which log size and time the pack index was computed, from the label of a request's second subject.

    A label binds nothing: whoever computes another index finds another digest than the one that was signed.
    """
    found = _LABEL.match(name)
    if found is None:
        raise Malformed("release-label", f"expected a label as `pack-index/42/1790000000`, got `{name[:80]}`")
    return int(found.group(1)), int(found.group(2))


def make_release_request(
    draft: ReleaseDraft,
    *,
    requester: str,
    key: PublicKey,
    permit: str,
    resource: Uri,
    gate: Uri,
    justification: str,
    ticket: str,
    duration_s: int,
    nonce: str,
    now: int,
) -> AccessRequest:
    """Make the release request for `draft`, which `requester` will sign with `key`: what approvers see."""
    return AccessRequest(
        lab=draft.index.lab,
        nonce=nonce,
        requester=requester,
        key=key.keyid,
        beneficiary=requester,
        action="model:release",
        resource=str(resource),
        permit=permit,
        gate=str(gate),
        justification=justification,
        ticket=ticket,
        not_before=now,
        start_by=now + duration_s,
        not_after=now + duration_s,
        duration_s=duration_s,
        trust_version=draft.history.targets_version,
    )


def sign_release_request(draft: ReleaseDraft, made: AccessRequest, key: RecordSigner) -> bytes:
    """Sign the request `made` for `draft`; the envelope to submit."""
    return dsse.render(dsse_signing.sign(statement.make(made, ACCESS_REQUEST, draft.subjects), key))


def open_release(
    log: LogReader,
    *,
    root_json: bytes,
    pinned_sha256: str,
    model: ArtifactDigest,
    resource: Uri,
    now: int,
    verify: Verify = nobody_verifies,
    each: Map = in_turn,
) -> ReleaseDraft:
    """Compute the subjects of a release request for `model` as `resource`, and judge its chain.

    Raises when the log is not believed. A chain that fails is a result, not an error: it is shown, with every failure.
    """
    note = log.checkpoint()
    reading = LogReading(log, root_json=root_json, pinned_sha256=pinned_sha256)
    reading.to(claimed_size(note))
    checkpoint = reading.verify(note, now=now)
    # The index is as of the witnesses' time, not this machine's: a clock ahead would let suspensions slip out of it.
    as_of = checkpoint.cosigned_at
    index = reading.index(lab=resource.lab, model=model, as_of=as_of)
    chain = reading.examine(index, resource=resource, as_of=as_of, verify=verify, each=each)
    history, _ = reading.trust()
    return ReleaseDraft(index, chain, facts_of(chain), history, checkpoint)


def review_release(
    log: LogReader,
    subjects: Sequence[Subject],
    *,
    root_json: bytes,
    pinned_sha256: str,
    resource: Uri,
    now: int,
    verify: Verify = nobody_verifies,
    each: Map = in_turn,
) -> ReleaseDraft:
    """Compute again, as an approver, what a release request with these `subjects` is about, and judge its chain.

    Raises `Refused` `release-subjects` when the log gives another pack index than the request names.
    """
    if len(subjects) != 2:
        raise Refused("release-subjects", f"expected a model and its pack index as subjects, got {len(subjects)}")
    size, as_of = read_label(subjects[1].name)
    note = log.checkpoint()
    reading = LogReading(log, root_json=root_json, pinned_sha256=pinned_sha256)
    reading.to(min(size, claimed_size(note)))
    index = reading.index(lab=resource.lab, model=subjects[0].digest.artifact, as_of=as_of)
    reading.to(claimed_size(note))
    checkpoint = reading.verify(note, now=now)
    named = [one.digest for one in subjects]
    if as_of > checkpoint.cosigned_at or named != [one.digest for one in release_subjects(index)]:
        raise Refused(
            "release-subjects",
            "the request names another pack index than the log gives: a statement about the chain was left out of it, or added",
            hint="do not approve it; ask who made it, and have the release opened again",
        )
    chain = reading.examine(index, resource=resource, as_of=checkpoint.cosigned_at, verify=verify, each=each)
    history, _ = reading.trust()
    return ReleaseDraft(index, chain, facts_of(chain), history, checkpoint)
