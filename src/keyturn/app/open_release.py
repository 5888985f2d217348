"""Find out what a release request for a model must name, and what its approvers should see before they sign.

The request's two subjects are the model's `dirHash` and the SHA-256 of the pack index: so people approve this model with
this chain, all of it. The index is computed from the log that the witnesses cosigned, under the caller's own pinned root.

This is NOT the request: `app.request_access` signs and submits it.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.bulk.read_chain import LogReading, claimed_size
from keyturn.custody.evidence import Map, in_turn
from keyturn.custody.facts import facts_of
from keyturn.custody.pack_index import PackIndex
from keyturn.custody.verify import Chain
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.policy.facts import Facts
from keyturn.ports import LogReader
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint
from keyturn.trust.history import TrustHistory

__all__ = ["ReleaseDraft", "open_release", "release_subjects"]


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
        Subject(digest=DigestSet(sha256=index.digest), name="pack-index"),
    )


def open_release(
    log: LogReader,
    *,
    root_json: bytes,
    pinned_sha256: str,
    model: ArtifactDigest,
    resource: Uri,
    now: int,
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
    chain = reading.examine(index, resource=resource, as_of=as_of, each=each)
    history, _ = reading.trust()
    return ReleaseDraft(index, chain, facts_of(chain), history, checkpoint)
