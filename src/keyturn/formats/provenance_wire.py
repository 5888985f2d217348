"""The fields of SLSA provenance v1 as they stand in a predicate with Keyturn's build types, and what each may hold.

Follows https://slsa.dev/spec/v1.2/build-provenance; the page is docs/formats/provenance.md. Only `formats.provenance` makes and
reads these: what holds between the fields is checked there, and everybody else has its values.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats.statement import DigestSet
from keyturn.formats.steps import Check
from keyturn.formats.text import HexDigest, Name, Short, is_hex_digest, is_lab_name, is_name

__all__ = [
    "EXITED_WELL",
    "Annotations",
    "BuildDefinition",
    "Builder",
    "Byproduct",
    "Dependency",
    "DependencyRole",
    "Digests",
    "ExitCode",
    "ExternalParameters",
    "InternalParameters",
    "Job",
    "Level",
    "Metadata",
    "Peek",
    "Predicate",
    "RunDetails",
    "Sandbox",
]

SEGMENT_MAX = 1_000_000

Level = Literal[1, 2, 3]
"""SLSA build level that the signer claims; verifiers believe at most what targets allow this builder."""

Sandbox = Literal["bubblewrap", "slurm", "none"]
"""`slurm`: no sandbox either; Slurm ran the step, and its controller recorded the `Job`."""
DependencyRole = Literal["input", "code", "parameters", "runtime"]


ExitCode = Annotated[str, Meta(pattern=r"\A(0|[1-9][0-9]{0,2}):(0|[1-9][0-9]{0,2})\Z")]
"""As Slurm writes it: what the program ended with, and the signal that ended it."""
EXITED_WELL = "0:0"


class Job(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False
):
    """What a cluster's controller recorded of the job that was the step, from outside of it.

    `nodes` is a list as Slurm writes it, `n[1-4]`; `script` is the SHA-256 of the batch script; `image` is the container, if any.
    `exit_code` is the script's, `code:signal`, and is `0:0`: of a job that ended otherwise nothing is made. `derived_exit_code`
    is the highest of the job's own steps, which a script may have passed over; absent: all ended with 0, or there were none.
    """

    id: Annotated[str, Meta(pattern=r"\A[1-9][0-9]{0,18}\Z")]
    user: Annotated[str, Meta(pattern=r"\A[a-z0-9_][a-z0-9._$-]{0,63}\Z")]
    nodes: Annotated[str, Meta(pattern=r"\A[!-~]{1,4096}\Z")]
    script: HexDigest
    exit_code: ExitCode
    derived_exit_code: ExitCode | None = None
    image: Annotated[str, Meta(pattern=r"\A[!-~]{1,1024}\Z")] | None = None


class _Strict(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename="camel",
    gc=False,
):
    pass


class Annotations(_Strict, frozen=True, kw_only=True):
    """What a dependency was to the step, how it was checked, and whose release it is."""

    role: DependencyRole
    check: Check | None = None
    pack: HexDigest | None = None
    root: HexDigest | None = None


_Uri = Annotated[str, Meta(max_length=4096, pattern=r"\A[!-~]+\Z")]
_ItemName = Annotated[str, Meta(max_length=4096, pattern=r"\A[!-~]+\Z")]


class Digests(DigestSet, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One digest of the artifact, and beside it the commit whose tree it is, or the manifest of the image whose layout it is."""

    gitCommit: Annotated[str, Meta(pattern=r"\A([0-9a-f]{40}|[0-9a-f]{64})\Z")] | None = None  # noqa: N815  # in-toto's name

    def __post_init__(self) -> None:
        if self.sha256 is None or self.dirHash is None:
            DigestSet.__post_init__(self)
        elif not (is_hex_digest(self.sha256) and is_hex_digest(self.dirHash)):
            raise Malformed("json-invalid", "digest set: expected 64 lower-case hex digits")

    @property
    def oci_manifest(self) -> str | None:
        """The manifest's SHA-256, when the artifact is the layout of an image."""
        return self.sha256 if self.dirHash is not None else None


class Dependency(_Strict, frozen=True, kw_only=True):
    """One of `resolvedDependencies`, as SLSA's ResourceDescriptor."""

    name: _ItemName
    digest: Digests
    annotations: Annotations
    uri: _Uri | None = None


class Byproduct(_Strict, frozen=True, kw_only=True):
    """One of `byproducts`."""

    name: Name
    digest: DigestSet


class ExternalParameters(_Strict, frozen=True, kw_only=True):
    """What whoever asked for the step chose."""

    lab: Short
    step: Short
    command: Annotated[tuple[Annotated[str, Meta(max_length=4096)], ...], Meta(min_length=1, max_length=256)]

    def __post_init__(self) -> None:
        if not (is_lab_name(self.lab) and is_name(self.step)):
            raise Malformed("json-invalid", "provenance: expected `lab` and `step` as docs/formats/provenance.md says")


class InternalParameters(_Strict, frozen=True, kw_only=True):
    """What its builder says of itself and of the run."""

    level: Level
    sandbox: Sandbox
    segment: Annotated[int, Meta(ge=1, le=SEGMENT_MAX)] | None = None
    attempt: Annotated[int, Meta(ge=2, le=SEGMENT_MAX)] | None = None
    resumed: DigestSet | None = None
    job: Job | None = None


class BuildDefinition(_Strict, frozen=True, kw_only=True):
    """What was to be done, and with what."""

    build_type: Annotated[str, Meta(max_length=200)]
    external_parameters: ExternalParameters
    internal_parameters: InternalParameters
    resolved_dependencies: Annotated[tuple[Dependency, ...], Meta(min_length=1, max_length=1024)]


class Builder(_Strict, frozen=True, kw_only=True):
    """`runDetails.builder`."""

    id: Annotated[str, Meta(max_length=400)]


class Metadata(_Strict, frozen=True, kw_only=True):
    """`runDetails.metadata`; `invocationId` is the digest of the step request."""

    invocation_id: HexDigest
    started_on: Annotated[str, Meta(max_length=20)]
    finished_on: Annotated[str, Meta(max_length=20)]


class RunDetails(_Strict, frozen=True, kw_only=True):
    """Who did it, when, and what it left beside its outputs."""

    builder: Builder
    metadata: Metadata
    byproducts: Annotated[tuple[Byproduct, ...], Meta(max_length=64)] = ()


class Predicate(_Strict, frozen=True, kw_only=True):
    """The whole predicate."""

    build_definition: BuildDefinition
    run_details: RunDetails


class _PeekDefinition(msgspec.Struct, frozen=True, rename="camel"):
    build_type: str


class _PeekPredicate(msgspec.Struct, frozen=True, rename="camel"):
    build_definition: _PeekDefinition


class Peek(msgspec.Struct, frozen=True):
    """A statement by anybody, read no further than its build type."""

    predicate: _PeekPredicate
