"""Predicate of standing behind a git revision: `https://keyturn.dev/source-review/v1`, kind `src`; and the VSA about one.

Normative page docs/formats/source.md. One member says that one commit of one repository has one content (`tree`, the
`dirHash` that a step's input `code` has), and what he is to it: its author, its reviewer, or who attests it. The commit object
stands in the record, so that whoever reads it sees for himself what its author signed. Follows SLSA v1.2, source track.

This is NOT whether two humans stand behind it: see `custody.sources`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats import base64_text, canonical_json, git_commit, statement
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.git_commit import GitCommit
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.statement import STATEMENT_V1, DigestSet, Subject
from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime, check_free_text

__all__ = [
    "SOURCE_REVIEW",
    "Controls",
    "SourceKind",
    "SourceReview",
    "SourceRole",
    "SourceSummary",
    "make_source_summary",
]

SOURCE_REVIEW = "https://keyturn.dev/source-review/v1"

SourceKind = Literal["code", "dataset", "training-config", "evaluation-set"]
SourceRole = Literal["author", "reviewer", "attester"]

Controls = Literal[1, 2, 3]
"""Up to which level of the source track rules are enforced for this ref where the repository is kept, as somebody says."""

_REF = re.compile(r"refs/[!-~]{1,250}\Z|HEAD\Z")
_COMMIT_TEXT_MAX = 4 * git_commit.COMMIT_BYTES_MAX // 3 + 4


class SourceReview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say what one revision is, and that `member` stands behind it as its `role`.

    `commit` is the object id, `commit_object` the base64 of that very object, `tree` the `dirHash` of the files in it. `controls`
    is the attester's word, of an attester alone.
    """

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    role: SourceRole
    kind: SourceKind
    repository: Annotated[str, Meta(pattern=r"\A[!-~]{1,400}\Z")]
    ref: Annotated[str, Meta(max_length=256)]
    commit: Annotated[str, Meta(max_length=64)]
    commit_object: Annotated[str, Meta(max_length=_COMMIT_TEXT_MAX)]
    tree: HexDigest
    controls: Controls | None = None
    reason: str = ""
    signed_at: PosixTime

    def __post_init__(self) -> None:
        if not _REF.match(self.ref):
            raise ValueError("expected a whole ref as `refs/heads/main`")
        if (self.controls is not None) and self.role != "attester":
            raise ValueError("expected `controls` of an attester alone")
        check_free_text(self.reason, what="reason")
        _ = self.revision

    @property
    def revision(self) -> GitCommit:
        """The commit object, parsed: its id is `commit`."""
        return git_commit.parse(base64_text.decode(self.commit_object, what="git commit"), commit=self.commit)

    @property
    def artifact(self) -> ArtifactDigest:
        """What a step's input has as its digest when it is this revision."""
        return ArtifactDigest("dirHash", Sha256(self.tree))

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The only subjects that a statement with this predicate may have."""
        return (Subject(digest=DigestSet(dirHash=self.tree), name=self.ref),)


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """What a source VSA says: `verifier` found the revision at `level`; `inputs` are the records that it looked at."""

    repository: str
    ref: str
    commit: str
    tree: Sha256
    verifier: str
    verified_at: int
    targets: Sha256
    lab: str
    inputs: tuple[tuple[str, Sha256], ...]
    level: Literal[1, 2, 3, 4]


def make_source_summary(value: SourceSummary) -> bytes:
    """Render the payload of a SLSA verification summary about a source revision, for readers of that format.

    Its subject is the commit by `gitCommit`, as the source track asks, with the ref in `annotations`; and the content by
    `dirHash`.
    """
    made = {
        "_type": STATEMENT_V1,
        "predicate": {
            "inputAttestations": [{"digest": {"sha256": digest}, "uri": name} for name, digest in value.inputs],
            "policy": {"digest": {"sha256": value.targets}, "uri": f"keyturn://{value.lab}/trust/targets"},
            "resourceUri": value.repository,
            "slsaVersion": "1.2",
            "timeVerified": rfc3339(value.verified_at),
            "verificationResult": "PASSED",
            "verifiedLevels": [f"SLSA_SOURCE_LEVEL_{value.level}"],
            "verifier": {"id": value.verifier},
        },
        "predicateType": "https://slsa.dev/verification_summary/v1",
        "subject": [
            {
                "annotations": {"source_refs": [value.ref]},
                "digest": {"dirHash": value.tree, "gitCommit": value.commit},
            }
        ],
    }
    payload = canonical_json.encode(made)
    statement.subject_digests(payload)  # what it is about is read from it as from others' statements
    return payload
