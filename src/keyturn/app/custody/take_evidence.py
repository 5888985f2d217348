"""Take in what somebody outside signed about an artifact: verified first, then shown to the member who signs that it was.

1. The signer from outside is one that the lab's targets list; material is what they pin; nothing else says who is expected.
2. The original verifies, says what is expected of that signer, and is about this artifact: by its digest, or for a model
signature
   whose digests are no SHA-256, by the files at hand.
3. The record is made of exactly what was found, and logged under the member's key. Whatever is refused before leaves no trace.
4. What is larger than a record takes goes into parts, each a record of its own before the one that names them. Parts that the log
   has already, since somebody was interrupted, are named again. Parts that nothing names have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keyturn.bulk.read_chain import LogReading
from keyturn.custody.evidence import Entry
from keyturn.custody.evidence_parts import parts_in
from keyturn.custody.expected import bound_to
from keyturn.custody.outside import require_expected, require_pinned
from keyturn.errors import Refused
from keyturn.formats import statement
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import (
    EVIDENCE_BYTES_MAX,
    EVIDENCE_PART,
    ORIGINAL_BYTES_MAX,
    Evidence,
    EvidencePart,
    Material,
    Presented,
)
from keyturn.formats.statement import DigestSet, Subject
from keyturn.ports import EvidenceVerifier
from keyturn.trust.roster import TrustState

__all__ = ["is_split", "logged_parts", "make_evidence", "require_size", "split", "subjects_of"]


def make_evidence(
    presented: Presented,
    *,
    outside: str,
    path: str | None,
    verifier: EvidenceVerifier,
    trust: TrustState,
    member: str,
    keyid: str,
    nonce: str,
    parts: Sequence[Sha256] = (),
) -> Evidence:
    """Verify `presented` as evidence of the signer `outside`, and make the record that `member` will sign; `path`: of the
    artifact, `parts`: the digests of the records that `split` put the original into, if it did."""
    signer = trust.outside.get(outside)
    if signer is None:  # (1)
        raise Refused(
            "outside-unknown",
            f"trust version {trust.targets_version} lists no outside signer `{outside}`",
            hint="keyholders list it in evidence.toml of the targets: keyturn trust propose",
        )
    require_size(presented)
    require_pinned(presented, signer)
    found = verifier.verify(presented, signer)  # (2)
    require_expected(found, signer)
    by_digest = bound_to(found, str(presented.artifact))
    if not by_digest:
        if path is None:
            raise Refused(
                "evidence-files",
                "it names its files by other digests than SHA-256: expected the files, to compare them",
                hint="keyturn evidence add FILE --for PATH_OF_THE_FILES",
            )
        verifier.compare_files(presented, signer, path)
    named = (("layout", presented.layout), ("trusted-root", presented.trusted_root))
    return Evidence(  # (3)
        lab=trust.lab,
        nonce=nonce,
        member=member,
        key=keyid,
        artifact=str(presented.artifact),
        outside=outside,
        format=presented.format,
        original=b"" if parts else presented.original,
        parts=tuple(parts),
        size=len(presented.original) if parts else 0,
        digest=sha256(presented.original),
        materials=tuple(Material(name=name, content=content) for name, content in named if content),  # type: ignore[arg-type]  # one of two
        found=found,
        bound="digest" if by_digest else "files",
        trust_version=trust.targets_version,
        signed_at=presented.at,
    )


def require_size(presented: Presented) -> None:
    """Refuse what is nothing, or more than an hour's quota takes (docs/decisions/0152)."""
    size, beside = len(presented.original), len(presented.trusted_root) + len(presented.layout)
    if not 1 <= size <= ORIGINAL_BYTES_MAX:
        raise Refused(
            "evidence-too-large",
            f"expected an original of 1 to {ORIGINAL_BYTES_MAX} bytes, got {size}",
            hint="a model signature has some 250 bytes for each file: ask for one over an archive that an `ingest` step unpacks",
        )
    if beside >= EVIDENCE_BYTES_MAX:
        raise Refused(
            "evidence-too-large",
            f"expected less than {EVIDENCE_BYTES_MAX} bytes of trusted root and layout, got {beside}",
            hint="keyholders pin smaller ones: they are in the record whole",
        )


def is_split(presented: Presented) -> bool:
    """Whether the original is more than fits in a record beside what verifying it needs."""
    return len(presented.original) + len(presented.trusted_root) + len(presented.layout) > EVIDENCE_BYTES_MAX


def split(
    presented: Presented, known: Mapping[Sha256, Sha256], *, lab: str, member: str, keyid: str, nonce: Callable[[], str]
) -> tuple[tuple[Sha256, ...], tuple[EvidencePart, ...]]:
    """The digests of the records that the original is in, in order, and those of them that are to be logged; `known` are
    the ones that the log has, by the SHA-256 of their content."""
    names: list[Sha256] = []
    fresh: list[EvidencePart] = []
    there = dict(known)
    for start in range(0, len(presented.original), EVIDENCE_BYTES_MAX):
        content = presented.original[start : start + EVIDENCE_BYTES_MAX]
        name = there.get(sha256(content))
        if name is None:
            part = EvidencePart(
                lab=lab,
                nonce=nonce(),
                member=member,
                key=keyid,
                artifact=str(presented.artifact),
                content=content,
                signed_at=presented.at,
            )
            fresh.append(part)
            name = there[sha256(content)] = sha256(statement.make(part, EVIDENCE_PART, subjects_of(part)))
        names.append(name)
    return tuple(names), tuple(fresh)


def logged_parts(reading: LogReading, artifact: ArtifactDigest) -> dict[Sha256, Sha256]:
    """Parts about `artifact` in the log that was read: the digests of their records, by the SHA-256 of their content."""
    entries = [Entry(index, reading.fetch(index)) for index in reading.of_kind("evp", about=artifact)]
    return {sha256(part.content): name for name, part in parts_in(entries).items()}


def subjects_of(evidence: Evidence | EvidencePart) -> tuple[Subject, ...]:
    """The one subject of the record: the artifact."""
    return (Subject(digest=DigestSet.of(ArtifactDigest.parse(evidence.artifact))),)
