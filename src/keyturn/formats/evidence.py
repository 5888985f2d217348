"""Predicate by which a member takes in what somebody outside the lab signed about an artifact, with its bytes as they came.

`https://keyturn.dev/evidence/v1`, kind `evd`; normative page docs/formats/evidence.md. The record names the signer from outside
as the lab's targets list it, what was verified, and against which pinned material; the original bytes, and that material, are
in it, so that whoever holds the record verifies them again without a network.

An original that is larger than a record takes is in records of its own before it (`https://keyturn.dev/evidence-part/v1`, kind
`evp`), one for each `EVIDENCE_BYTES_MAX` bytes; the record names them in order, and has the SHA-256 and the size of the whole.

This is NOT provenance of ours: no step of a chain is made of it, and nothing in it is believed before it was verified again
(`custody.outside`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.evidence_format import EvidenceFormat
from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Name, Nonce, PosixTime, check_free_text

__all__ = [
    "EVIDENCE",
    "EVIDENCE_BYTES_MAX",
    "EVIDENCE_PART",
    "ORIGINAL_BYTES_MAX",
    "Evidence",
    "EvidencePart",
    "Found",
    "Material",
    "Presented",
]

EVIDENCE = "https://keyturn.dev/evidence/v1"
EVIDENCE_PART = "https://keyturn.dev/evidence-part/v1"

EVIDENCE_BYTES_MAX = 320 * 1024
"""Of the original and its materials together, and of each part: in base64 they fit the payload of an envelope."""

ORIGINAL_BYTES_MAX = 16 << 20
"""Of an original in parts: what one signer may append within the hour by the quota that services begin with."""

_PARTS_MAX = -(-ORIGINAL_BYTES_MAX // EVIDENCE_BYTES_MAX)

_Text = Annotated[str, Meta(max_length=1000)]
_Artifact = Annotated[str, Meta(pattern=r"\A(dirHash|sha256):[0-9a-f]{64}\Z")]


class Material(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the original was verified with, by the digest that the lab pins: a Sigstore trusted root, an in-toto layout."""

    name: Literal["trusted-root", "layout"]
    content: bytes


@dataclass(frozen=True, slots=True)
class Presented:
    """Evidence before anything is believed of it: what somebody brings, and `at` which time it counts. No bytes: no such
    material."""

    format: EvidenceFormat
    original: bytes
    artifact: ArtifactDigest
    trusted_root: bytes
    layout: bytes
    at: int


class Found(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What verifying the original found.

    `signer` is the name of whoever signed outside: an identity (with the `issuer` that vouched for it), a certificate's subject,
    or `key:<SHA-256 of the key>`. `statement` is the predicate type, or `signature` for one over the artifact's own bytes.
    `subjects` are the digests that it is about, `level` the SLSA build level that a verification summary says.
    """

    signer: _Text
    issuer: _Text = ""
    statement: _Text
    subjects: Annotated[tuple[_Artifact, ...], Meta(max_length=1024)] = ()
    level: Annotated[int, Meta(ge=0, le=4)] = 0

    def __post_init__(self) -> None:
        for text in (self.signer, self.issuer, self.statement):
            check_free_text(text, what="evidence", size_bytes_max=2000)


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`member` took in `original`, which `outside` (a name of the lab's targets) signed, as evidence about `artifact`.

    `bound`: `digest` when the original names the artifact's digest; `files` when it names digests of files that the member
    compared with those at hand, which nobody can who lacks them. `parts`: the record digests of the parts that the original is
    in, in order, when it is not in `original`; `size` is that of the whole then. `digest` is the SHA-256 of the whole.
    """

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    artifact: _Artifact
    outside: Name
    format: EvidenceFormat
    original: bytes = b""
    parts: Annotated[tuple[HexDigest, ...], Meta(max_length=_PARTS_MAX)] = ()
    size: Annotated[int, Meta(ge=0, le=ORIGINAL_BYTES_MAX)] = 0
    digest: HexDigest
    materials: Annotated[tuple[Material, ...], Meta(max_length=2)] = ()
    found: Found
    bound: Literal["digest", "files"]
    trust_version: Annotated[int, Meta(ge=1, le=2**31)]
    signed_at: PosixTime

    def __post_init__(self) -> None:
        if bool(self.parts) != bool(self.size) or (self.parts and self.original):
            raise ValueError("expected the original, or its parts with the size of the whole")
        if not self.parts and sha256(self.original) != self.digest:
            raise Malformed("evidence-digest", "evidence: the original is not what its digest says")
        size = len(self.original) + sum(len(one.content) for one in self.materials)
        if not (self.original or self.parts) or size > EVIDENCE_BYTES_MAX:
            raise Malformed(
                "evidence-too-large",
                f"evidence: expected 1 to {EVIDENCE_BYTES_MAX} bytes with its materials, got {size}",
            )
        names = [one.name for one in self.materials]
        if names != sorted(set(names)):
            raise ValueError("expected the materials sorted by name, each once")
        if (self.bound == "digest") != (self.artifact in self.found.subjects):
            raise ValueError(
                "expected the artifact among the subjects of evidence that is bound by digest, and no other"
            )

    @property
    def size_bytes(self) -> int:
        """Of the original, in whatever it is."""
        return self.size or len(self.original)

    @property
    def about(self) -> ArtifactDigest:
        return ArtifactDigest.parse(self.artifact)

    def presented(self, original: bytes) -> Presented:
        """What must verify again, with the whole original."""
        root, layout = self.material("trusted-root"), self.material("layout")
        return Presented(self.format, original, self.about, root, layout, self.signed_at)

    def material(self, name: str) -> bytes:
        """The material `name`; no bytes when the evidence has none."""
        return next((one.content for one in self.materials if one.name == name), b"")


class EvidencePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`content`, a part of an original about `artifact` that `member` takes in: it says nothing until evidence names it."""

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    artifact: _Artifact
    content: bytes
    signed_at: PosixTime

    def __post_init__(self) -> None:
        if not 1 <= len(self.content) <= EVIDENCE_BYTES_MAX:
            raise Malformed(
                "evidence-too-large",
                f"part of evidence: expected 1 to {EVIDENCE_BYTES_MAX} bytes, got {len(self.content)}",
            )
