"""Take in what somebody outside signed about an artifact: verified first, then shown to the member who signs that it was.

1. The signer from outside is one that the lab's targets list; material is what they pin; nothing else says who is expected.
2. The original verifies, says what is expected of that signer, and is about this artifact: by its digest, or for a model
signature
   whose digests are no SHA-256, by the files at hand.
3. The record is made of exactly what was found, and logged under the member's key. Whatever is refused before leaves no trace.
"""

from __future__ import annotations

from keyturn.custody.expected import bound_to
from keyturn.custody.outside import require_expected, require_pinned
from keyturn.errors import Refused
from keyturn.formats.digest import sha256
from keyturn.formats.evidence import EVIDENCE_BYTES_MAX, Evidence, Material, Presented
from keyturn.formats.statement import DigestSet, Subject
from keyturn.ports import EvidenceVerifier
from keyturn.trust.roster import TrustState

__all__ = ["make_evidence", "require_size", "subjects_of"]


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
) -> Evidence:
    """Verify `presented` as evidence of the signer `outside`, and make the record that `member` will sign; `path`: of the
    artifact."""
    signer = trust.outside.get(outside)
    if signer is None:  # (1)
        raise Refused(
            "outside-unknown",
            f"trust version {trust.targets_version} lists no outside signer `{outside}`",
            hint="keyholders list it in evidence.toml of the targets: keyturn trust propose",
        )
    require_size(presented.original, presented.trusted_root, presented.layout)
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
        original=presented.original,
        digest=sha256(presented.original),
        materials=tuple(Material(name=name, content=content) for name, content in named if content),  # type: ignore[arg-type]  # one of two
        found=found,
        bound="digest" if by_digest else "files",
        trust_version=trust.targets_version,
        signed_at=presented.at,
    )


def require_size(original: bytes, *materials: bytes) -> None:
    """Refuse what does not fit in a record (docs/decisions/0138), or is nothing."""
    size = len(original) + sum(map(len, materials))
    if not original or size > EVIDENCE_BYTES_MAX:
        raise Refused(
            "evidence-too-large",
            f"expected 1 to {EVIDENCE_BYTES_MAX} bytes with its material, got {size}",
            hint="a model signature has some 250 bytes for each file: ask for one over an archive that an `ingest` step unpacks",
        )


def subjects_of(evidence: Evidence) -> tuple[Subject, ...]:
    """The one subject of the record: the artifact."""
    return (Subject(digest=DigestSet.of(evidence.about)),)
