"""Show where an artifact came from and what became of it, from the witnessed log.

Every step in the log is read and verified under the trust of then; what does not verify is shown as a failure, never as a
step. The whole log is read: lineage forward has no other index that could be believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyturn.bulk.read_chain import LogReading, claimed_size
from keyturn.bulk.threads import on_all_cores
from keyturn.custody.evidence import Entry, Failure, read
from keyturn.custody.lineage import Lineage, Step, link
from keyturn.errors import Refused
from keyturn.formats.digest import ArtifactDigest
from keyturn.ports import LogReader

__all__ = ["ShownLineage", "show_lineage"]


@dataclass(frozen=True, slots=True)
class ShownLineage:
    """The lineage of `artifact`, as of a checkpoint that was cosigned at `as_of`."""

    artifact: ArtifactDigest
    lineage: Lineage
    failures: tuple[Failure, ...]
    log_size: int
    as_of: int


def show_lineage(
    log: LogReader, *, root_json: bytes, pinned_sha256: str, artifact: ArtifactDigest, now: int
) -> ShownLineage:
    """Read every step of the log, and link them around `artifact`.

    Raises `Refused` `artifact-unknown` when no step that verifies made it or took it: that says nothing of where it came from.
    """
    note = log.checkpoint()
    reading = LogReading(log, root_json=root_json, pinned_sha256=pinned_sha256)
    reading.to(claimed_size(note))
    checkpoint = reading.verify(note, now=now)
    history, trusted = reading.trust()
    # Step requests say by which key an attempt speaks; nothing else is asked of them here.
    entries = [Entry(index, reading.fetch(index)) for kind in ("stp", "prv") for index in reading.of_kind(kind)]
    evidence = read(entries, lab=history.lab, timeline=trusted, each=on_all_cores)
    if not any(artifact in _named(step) for step in evidence.provenance):
        raise Refused(
            "artifact-unknown",
            f"no step in the log made or took `{artifact}`",
            hint="keyturn step digest PATH gives the digest of files; keyturn log show what was logged",
        )
    return ShownLineage(
        artifact, link(evidence.provenance), evidence.failures, checkpoint.checkpoint.size, checkpoint.cosigned_at
    )


def _named(step: Step) -> Iterator[ArtifactDigest]:
    yield from (output.digest for output in step.value.outputs)
    yield from (dependency.digest for dependency in step.value.dependencies)
