"""Make and read what the release gate signs for readers of standard statements: a release statement and a SLSA VSA.

Follows in-toto/attestation spec/predicates/release.md (v0.2) and https://slsa.dev/spec/v1.2/verification_summary (v1). Both
have one subject, the model by its `dirHash`. The purl is `pkg:generic/<lab>/<model name>@<dirHash hex>`; the VSA's policy
is the lab's targets version by digest, its input attestations the release request, approvals and pack index.

These are the gate's word, for readers of those alone: `keyturn verify` checks the people's grant itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import statement
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.posix_time import posix, rfc3339
from keyturn.formats.provenance import Level
from keyturn.formats.statement import DigestSet, Statement, Subject
from keyturn.formats.text import HexDigest
from keyturn.formats.uri import Uri

__all__ = ["RELEASE", "VSA", "Release", "Summary", "make_release", "make_summary", "read_release", "read_summary"]

RELEASE = "https://in-toto.io/attestation/release/v0.2"
VSA = "https://slsa.dev/verification_summary/v1"


@dataclass(frozen=True, slots=True)
class Release:
    """The model was released as `resource`."""

    model: ArtifactDigest
    resource: Uri


@dataclass(frozen=True, slots=True)
class Summary:
    """The gate verified the chain and the grant. `inputs` are (name, digest) of what it verified, in order."""

    model: ArtifactDigest
    resource: Uri
    gate: Uri
    verified_at: int
    targets: Sha256
    inputs: tuple[tuple[str, Sha256], ...]
    level: Level
    reproduced: bool = False
    """Two builders that nobody operates both of made the model alike: SLSA's property `SLSA_BUILD_REPRODUCED`."""


class _Strict(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    pass


class _ReleasePredicate(_Strict, frozen=True, kw_only=True):
    purl: str
    package_id: str


class _Digest(_Strict, frozen=True, kw_only=True):
    sha256: HexDigest


class _Reference(_Strict, frozen=True, kw_only=True):
    uri: Annotated[str, Meta(max_length=400)]
    digest: _Digest


class _Verifier(_Strict, frozen=True, kw_only=True):
    id: str


class _SummaryPredicate(_Strict, frozen=True, kw_only=True):
    verifier: _Verifier
    time_verified: Annotated[str, Meta(max_length=20)]
    resource_uri: str
    policy: _Reference
    input_attestations: Annotated[tuple[_Reference, ...], Meta(max_length=64)]
    verification_result: Literal["PASSED"]
    verified_levels: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2)]
    slsa_version: Literal["1.2"]


_LEVELS: dict[str, Level] = {"SLSA_BUILD_LEVEL_1": 1, "SLSA_BUILD_LEVEL_2": 2, "SLSA_BUILD_LEVEL_3": 3}
_NAMES = {number: name for name, number in _LEVELS.items()}
_REPRODUCED = "SLSA_BUILD_REPRODUCED"
"""Of the names that begin with `SLSA_`, the specification's own alone may be used (verified-properties)."""


def _purl(value: Release) -> str:
    return f"pkg:generic/{value.resource.lab}/{value.resource.name}@{value.model.hex}"


def make_release(value: Release) -> bytes:
    """Render the payload of the release statement."""
    predicate = _ReleasePredicate(purl=_purl(value), package_id=str(value.resource))
    return statement.make(predicate, RELEASE, (_subject(value.model, value.resource),))


def read_release(payload: bytes) -> Release:
    """Parse the release statement, or raise `Malformed`."""
    parsed: Statement[_ReleasePredicate] = statement.parse(payload, _ReleasePredicate, RELEASE)
    value = Release(_model(parsed.subject), Uri.parse(parsed.predicate.package_id))
    if parsed.predicate.purl != _purl(value):
        raise Malformed("release-purl", f"release: expected the purl `{_purl(value)}`, got another one")
    return value


def make_summary(value: Summary) -> bytes:
    """Render the payload of the verification summary."""
    predicate = _SummaryPredicate(
        verifier=_Verifier(id=str(value.gate)),
        time_verified=rfc3339(value.verified_at),
        resource_uri=str(value.resource),
        policy=_Reference(uri=f"keyturn://{value.resource.lab}/trust/targets", digest=_Digest(sha256=value.targets)),
        input_attestations=tuple(_Reference(uri=name, digest=_Digest(sha256=digest)) for name, digest in value.inputs),
        verification_result="PASSED",
        verified_levels=(_NAMES[value.level], *((_REPRODUCED,) if value.reproduced else ())),
        slsa_version="1.2",
    )
    return statement.make(predicate, VSA, (_subject(value.model, value.resource),))


def read_summary(payload: bytes) -> Summary:
    """Parse the verification summary, or raise `Malformed`."""
    parsed: Statement[_SummaryPredicate] = statement.parse(payload, _SummaryPredicate, VSA)
    predicate = parsed.predicate
    level, *properties = predicate.verified_levels
    if level not in _LEVELS or properties not in ([], [_REPRODUCED]):
        raise Malformed(
            "release-levels",
            f"summary: expected `SLSA_BUILD_LEVEL_1` to `_3`, then at most `{_REPRODUCED}`, got another level or property",
        )
    return Summary(
        model=_model(parsed.subject),
        resource=Uri.parse(predicate.resource_uri),
        gate=Uri.parse(predicate.verifier.id),
        verified_at=posix(predicate.time_verified),
        targets=Sha256(predicate.policy.digest.sha256),
        inputs=tuple((one.uri, Sha256(one.digest.sha256)) for one in predicate.input_attestations),
        level=_LEVELS[level],
        reproduced=bool(properties),
    )


def _subject(model: ArtifactDigest, resource: Uri) -> Subject:
    return Subject(digest=DigestSet.of(model), name=resource.name)


def _model(subject: tuple[Subject, ...]) -> ArtifactDigest:
    if len(subject) != 1:
        raise Malformed("release-subject", f"expected one subject, the model, got {len(subject)}")
    return subject[0].digest.artifact
