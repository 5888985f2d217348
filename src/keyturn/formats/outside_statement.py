"""Read statements that somebody outside signed: in-toto Statements (v1 and v0.1) with the predicates that Keyturn judges.

Follows in-toto/attestation spec/v1/statement.md; https://slsa.dev/spec/v1.2/provenance (and v0.2) as to the builder's id;
https://slsa.dev/spec/v1.2/verification_summary; OpenSSF Model Signing v1.0 as to the files' names and digests. Unknown fields are
their makers' affair; what is judged must be there, once, and of its type. The bytes are kept as they came elsewhere.

This is NOT verification: who signed, and whether it is expected, is for `custody.expected`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import statement
from keyturn.formats.built import built
from keyturn.formats.digest import ArtifactDigest, Sha256, dir_hash, parse_sha256
from keyturn.formats.evidence import ORIGINAL_BYTES_MAX

__all__ = [
    "OMS",
    "PROVENANCE_V02",
    "PROVENANCE_V1",
    "VSA_V1",
    "OutsideStatement",
    "OutsideSummary",
    "SignedFiles",
    "bundled",
    "parse",
    "parse_builder",
    "parse_files",
    "parse_model",
    "parse_summary",
]

PROVENANCE_V1 = "https://slsa.dev/provenance/v1"
PROVENANCE_V02 = "https://slsa.dev/provenance/v0.2"
VSA_V1 = "https://slsa.dev/verification_summary/v1"
OMS = "https://model_signing/signature/v1.0"

_STATEMENTS = (statement.STATEMENT_V1, "https://in-toto.io/Statement/v0.1")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutsideStatement:
    """Its predicate type, and the SHA-256 and `dirHash` digests of its subjects, each once, sorted."""

    predicate_type: str
    subjects: tuple[ArtifactDigest, ...]


@dataclass(frozen=True, slots=True)
class OutsideSummary:
    """What a verification summary says: who verified, what, with which result, and the highest SLSA build level (0: none)."""

    verifier: str
    resource: str
    passed: bool
    level: int


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """What a model signature is over: `method` says whether its resources are whole files or shards of them, `digests` has the
    algorithm and the digest of each by its name, in the order of the statement."""

    method: Literal["files", "shards"]
    digests: Mapping[str, tuple[str, str]]

    @property
    def algorithms(self) -> frozenset[str]:
        return frozenset(algorithm for algorithm, _ in self.digests.values())


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    type_: str = msgspec.field(name="_type")
    predicate_type: Annotated[str, Meta(max_length=500)]


class _Id(msgspec.Struct, frozen=True):
    id: Annotated[str, Meta(max_length=500)]


class _RunDetails(msgspec.Struct, frozen=True):
    builder: _Id


class _V1(msgspec.Struct, frozen=True, rename="camel"):
    run_details: _RunDetails


class _V02(msgspec.Struct, frozen=True):
    builder: _Id


class _Summary(msgspec.Struct, frozen=True, rename="camel"):
    verifier: _Id
    resource_uri: Annotated[str, Meta(max_length=2000)]
    verification_result: Literal["PASSED", "FAILED"]
    verified_levels: Annotated[tuple[Annotated[str, Meta(max_length=200)], ...], Meta(max_length=64)]


class _Serialization(msgspec.Struct, frozen=True):
    method: Literal["files", "shards"]


class _Resource(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=4096)]
    algorithm: Annotated[str, Meta(max_length=64)]
    digest: Annotated[str, Meta(max_length=256)]


class _Model(msgspec.Struct, frozen=True):
    serialization: _Serialization
    resources: Annotated[tuple[_Resource, ...], Meta(min_length=1, max_length=100_000)]


class _With(msgspec.Struct, frozen=True):
    predicate: msgspec.Raw


def parse(payload: bytes) -> OutsideStatement:
    """Parse the head and subjects of a statement of somebody else's, or raise `Malformed`."""
    head = _decode(payload, _Head)
    _require_fields_once(payload)
    if head.type_ not in _STATEMENTS:
        raise Malformed(
            "statement-type", f"statement: expected `_type` {' or '.join(_STATEMENTS)}, got `{head.type_[:80]}`"
        )
    subjects = statement.subject_digests(payload, size_bytes_max=ORIGINAL_BYTES_MAX)
    return OutsideStatement(head.predicate_type, tuple(sorted(set(subjects))))


def parse_builder(payload: bytes, predicate_type: str) -> str:
    """The builder's id that SLSA provenance (`PROVENANCE_V1` or `PROVENANCE_V02`) names."""
    if predicate_type == PROVENANCE_V1:
        return _predicate(payload, _V1).run_details.builder.id
    return _predicate(payload, _V02).builder.id


def parse_summary(payload: bytes) -> OutsideSummary:
    """What the verification summary in `payload` says."""
    said = _predicate(payload, _Summary)
    levels = [name.removeprefix("SLSA_BUILD_LEVEL_") for name in said.verified_levels if "SLSA_BUILD_LEVEL_" in name]
    return OutsideSummary(
        verifier=said.verifier.id,
        resource=said.resource_uri,
        passed=said.verification_result == "PASSED",
        level=max((int(level) for level in levels if level in ("1", "2", "3", "4")), default=0),
    )


def parse_model(payload: bytes) -> ArtifactDigest | None:
    """The identity of the model whose files an OMS statement names with SHA-256; `None` when it names other digests, or shards.

    Never the digest of its subject: that is over the files' digests in order, without their names, so that two files could be
    exchanged under it. Raises `Malformed` when the files' names are missing.
    """
    said = parse_files(payload)
    if said.method != "files" or said.algorithms != {"sha256"}:
        return None
    files = [(name, parse_sha256(digest, what="model signature")) for name, (_, digest) in said.digests.items()]
    if [name for name, _ in files] == ["."]:
        return ArtifactDigest("sha256", Sha256(files[0][1]))
    return dir_hash(files)


def bundled(original: bytes) -> bytes:
    """The statement in a bundle whose signature was verified: the payload of its envelope."""
    try:
        payload: bytes = base64.b64decode(json.loads(original)["dsseEnvelope"]["payload"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise Malformed("evidence-bundle", f"expected a bundle with an envelope: {str(err)[:200]}") from err
    return payload


def parse_files(payload: bytes) -> SignedFiles:
    """What an OMS statement names; raises `Malformed` when names are missing, or one stands there twice."""
    said = _predicate(payload, _Model)
    digests = {one.name: (one.algorithm, one.digest) for one in said.resources}
    if len(digests) != len(said.resources):
        raise Malformed("path-duplicate", "model signature: a file is listed twice")
    return SignedFiles(said.serialization.method, MappingProxyType(digests))


def _require_fields_once(payload: bytes) -> None:
    """Refuse an object with a field twice: of FAILED and PASSED, one reader takes the first and another the last."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Malformed("statement-invalid", "statement: an object has a field twice")
        return found

    try:
        json.loads(payload, object_pairs_hook=once)
    except (ValueError, RecursionError) as err:
        raise Malformed("statement-invalid", f"statement: {str(err)[:200]}") from err


def _predicate(payload: bytes, kind: type[T]) -> T:
    return _decode(bytes(_decode(payload, _With).predicate), kind)


def _decode(raw: bytes, kind: type[T]) -> T:
    if len(raw) > ORIGINAL_BYTES_MAX:
        raise Malformed("json-too-large", f"statement: expected at most {ORIGINAL_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(raw, type=built(kind))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("statement-invalid", f"statement: {str(err)[:300]}") from err
