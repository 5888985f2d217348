"""Stand behind a git revision: what a member signs about it; and who does, as the witnessed log says.

What is signed is what was read of the repository's objects on the member's own machine, whoever else signed for it before. The
log is read whole: nothing but its leaves says who else stands behind that content.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.bulk.read_chain import AUTHORITY_KINDS, LogReading, claimed_size, suspended_at
from keyturn.custody.evidence import Entry, Logged, read
from keyturn.custody.sources import Code, stand_behind
from keyturn.errors import Refused
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.records import record_id
from keyturn.formats.source import SourceKind, SourceReview, SourceSummary, make_source_summary
from keyturn.ports import LogReader
from keyturn.trust.history import TrustHistory

__all__ = ["Standing", "shown", "standing", "summary_of"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Who stands behind one content, as of a checkpoint cosigned at `as_of`; and the words for other contents of the ref."""

    code: Code
    elsewhere: tuple[Logged[SourceReview], ...]
    history: TrustHistory
    log_size: int
    as_of: int


def standing(
    log: LogReader,
    *,
    root_json: bytes,
    pinned_sha256: str,
    artifact: ArtifactDigest,
    kind: SourceKind,
    repository: str,
    ref: str,
    now: int,
) -> Standing:
    """Read every word for a revision in the log, and judge those about `artifact`; nothing is asked about a step."""
    note = log.checkpoint()
    reading = LogReading(log, root_json=root_json, pinned_sha256=pinned_sha256)
    reading.to(claimed_size(note))
    checkpoint = reading.verify(note, now=now)
    history, trusted = reading.trust()
    entries = [Entry(index, reading.fetch(index)) for index in reading.of_kind("src")]
    words = read(entries, lab=history.lab, timeline=trusted).sources
    authority = [Entry(i, reading.fetch(i)) for kind_ in sorted(AUTHORITY_KINDS) for i in reading.of_kind(kind_)]
    start = TrustHistory.start(root_json, pinned_sha256=pinned_sha256)
    code = stand_behind(
        artifact,
        [one for one in words if one.value.artifact == artifact],
        kind=kind,
        before=reading.size,
        timeline=trusted,
        suspended=suspended_at(now, authority, start=start),
    )
    elsewhere = tuple(
        one
        for one in words
        if (one.value.repository, one.value.ref) == (repository, ref) and one.value.artifact != artifact
    )
    return Standing(code, elsewhere, history, checkpoint.checkpoint.size, checkpoint.cosigned_at)


def shown(made: SourceReview, files: int) -> tuple[tuple[str, str], ...]:
    """Every field that is signed, in words; what the commit says of itself is somebody's typing."""
    revision = made.revision
    return (
        ("STAND BEHIND", f"{made.kind} as its {made.role}"),
        ("repository", made.repository),
        ("ref", made.ref),
        ("commit", made.commit),
        ("says author", revision.author[:120]),
        ("content", f"{made.artifact}, {files} files"),
        *((("enforced", f"up to level {made.controls} of SLSA's source track"),) if made.controls is not None else ()),
        ("why", made.reason or "-"),
        ("signed by", f"{made.member}, key {made.key}"),
        ("signed at", rfc3339(made.signed_at)),
    )


def summary_of(found: Standing, commit: str, ref: str, *, verifier: str, now: int) -> bytes:
    """The payload of a VSA about `commit`, at the level that those behind it make; `Refused` when nobody signed for it."""
    revision = next((one for one in found.code.revisions if one.commit == commit), None)
    if revision is None:
        raise Refused(
            "source-review-missing",
            f"nobody signed for commit {commit[:12]} with the content `{found.code.artifact}`",
            hint="keyturn source attest REPO REF",
        )
    lab = found.history.lab
    return make_source_summary(
        SourceSummary(
            repository=revision.repository,
            ref=ref,
            commit=commit,
            tree=found.code.artifact.hex,
            verifier=verifier,
            verified_at=now,
            targets=next(link.digest for link in reversed(found.history.links) if link.role == "targets"),
            lab=lab,
            inputs=tuple((record_id("src", one.digest), one.digest) for one in revision.words[:64]),
            level=revision.level,
        )
    )
