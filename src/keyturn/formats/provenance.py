"""Make and read SLSA provenance v1 with Keyturn's build types: what a step made, from what, by whom.

Follows https://slsa.dev/spec/v1.2/build-provenance (predicate type `https://slsa.dev/provenance/v1`) in an in-toto
Statement v1. The build types `https://keyturn.dev/build/<kind>/v1` are ours, so what stands in externalParameters and
internalParameters is ours too, and `read` accepts exactly one text per value (docs/formats/provenance.md). Provenance of
other build types is somebody else's format: it is kept byte for byte in the log, and no chain of ours rests on it.

This is NOT verification: who signed, and whether he may, is for `custody.verify`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, get_args

import msgspec

from keyturn.errors import Malformed
from keyturn.formats import canonical_json, statement
from keyturn.formats import provenance_wire as wire
from keyturn.formats.built import built
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.posix_time import posix, rfc3339
from keyturn.formats.provenance_wire import EXITED_WELL, DependencyRole, ExitCode, Job, Level, Sandbox
from keyturn.formats.statement import DigestSet, Statement, Subject
from keyturn.formats.steps import CHECKPOINT, BuildKind, Check
from keyturn.formats.uri import Uri

__all__ = [
    "BUILD_TYPE",
    "EXITED_WELL",
    "NOWHERE",
    "PROVENANCE",
    "BuilderId",
    "Dependency",
    "DependencyRole",
    "ExitCode",
    "Job",
    "Level",
    "Origin",
    "Output",
    "Provenance",
    "Sandbox",
    "build_type",
    "make",
    "read",
]

PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://keyturn.dev/build/{kind}/v1"

_BUILDER = re.compile(
    r"keyturn://(?P<lab>[a-z0-9][a-z0-9.-]{0,252})/(?P<kind>builder|member)/(?P<name>[a-z0-9][a-z0-9._+-]{0,126})\Z"
)


class BuilderId(msgspec.Struct, frozen=True, order=True, gc=False):
    """Who signs provenance: a builder of the lab, or a member who ran the step without one. One text each."""

    lab: str
    kind: Literal["builder", "member"]
    name: str

    @staticmethod
    @lru_cache(maxsize=1024)  # a lab has few builders, and each signs many statements
    def parse(text: str) -> BuilderId:
        """Parse `keyturn://<lab>/builder/<name>` or `keyturn://<lab>/member/<id>`, or raise `Malformed`."""
        found = _BUILDER.match(text)
        if found is None:
            raise Malformed(
                "builder-id",
                f"expected `keyturn://<lab>/builder/<name>` or `keyturn://<lab>/member/<id>`, got `{text[:120]}`",
            )
        return BuilderId(found["lab"], "builder" if found["kind"] == "builder" else "member", found["name"])

    def __str__(self) -> str:
        return f"keyturn://{self.lab}/{self.kind}/{self.name}"


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where an input came from, as the builder that took it saw: a `uri` that names one content, empty for a path.

    `git_commit` is there when every object from that commit down to the files was hashed again, `oci_manifest` (a SHA-256) when
    the artifact is a layout of the image with that manifest, each blob of which was. `pack` is the SHA-256 of another
    lab's pack that proves the release of this artifact as the resource `uri`, under the first root of that lab whose SHA-256 is
    `root`.
    """

    uri: str = ""
    git_commit: str = ""
    pack: str = ""
    root: str = ""
    oci_manifest: str = ""


NOWHERE = Origin()
"""A file or directory of the builder's machine."""


class Dependency(msgspec.Struct, frozen=True, gc=False):
    """What went into a step, and where it came from; `check` is absent for the runtime."""

    name: str
    role: DependencyRole
    digest: ArtifactDigest
    origin: Origin = NOWHERE
    check: Check | None = None


class Output(msgspec.Struct, frozen=True, gc=False):
    """What came out of a step."""

    name: str
    digest: ArtifactDigest


class Provenance(msgspec.Struct, frozen=True, gc=False):
    """One run of one step. `request` is the digest of the step request that was logged before; times are POSIX seconds."""

    lab: str
    build: BuildKind
    step: str
    request: Sha256
    command: tuple[str, ...]
    dependencies: tuple[Dependency, ...]
    outputs: tuple[Output, ...]
    builder: BuilderId
    level: Level
    sandbox: Sandbox
    started_at: int
    finished_at: int
    byproducts: tuple[Output, ...] = ()
    """What the step left that is no output: its standard output and error, by digest."""
    segment: int | None = None
    """Of an attempt that goes on: the number of the checkpoint that is its one output. The last statement has none."""
    attempt: int = 1
    """How often the builder began the command; it was interrupted each time but the last, when the builder itself ended. Of a
    job: how often it was held and began; Slurm queued it again each time but the last."""
    resumed: ArtifactDigest | None = None
    """What the attempt before left at the step's `resume`, and the command was given back."""
    job: Job | None = None


_KIND_OF: Mapping[str, BuildKind] = {BUILD_TYPE.format(kind=kind): kind for kind in get_args(BuildKind)}


def build_type(kind: BuildKind) -> str:
    """Name the build type of `kind`: the address of its page in docs/buildtypes."""
    return BUILD_TYPE.format(kind=kind)


def make(value: Provenance) -> bytes:
    """Render the payload that a builder signs; refuses what `read` would refuse."""
    payload = statement.make(
        wire.Predicate(
            build_definition=wire.BuildDefinition(
                build_type=build_type(value.build),
                external_parameters=wire.ExternalParameters(lab=value.lab, step=value.step, command=value.command),
                internal_parameters=wire.InternalParameters(
                    level=value.level,
                    sandbox=value.sandbox,
                    segment=value.segment,
                    attempt=None if value.attempt == 1 else value.attempt,
                    resumed=None if value.resumed is None else DigestSet.of(value.resumed),
                    job=value.job,
                ),
                resolved_dependencies=tuple(
                    wire.Dependency(
                        name=d.name,
                        digest=_digests(d),
                        annotations=wire.Annotations(
                            role=d.role, check=d.check, pack=d.origin.pack or None, root=d.origin.root or None
                        ),
                        uri=d.origin.uri or None,
                    )
                    for d in value.dependencies
                ),
            ),
            run_details=wire.RunDetails(
                builder=wire.Builder(id=str(value.builder)),
                metadata=wire.Metadata(
                    invocation_id=value.request,
                    started_on=rfc3339(value.started_at),
                    finished_on=rfc3339(value.finished_at),
                ),
                byproducts=tuple(wire.Byproduct(name=b.name, digest=DigestSet.of(b.digest)) for b in value.byproducts),
            ),
        ),
        PROVENANCE,
        tuple(Subject(digest=DigestSet.of(output.digest), name=output.name) for output in value.outputs),
    )
    read(payload)
    return payload


def read(payload: bytes) -> Provenance:
    """Parse provenance of one of Keyturn's build types, or raise `Malformed` (`provenance-build-type` for others)."""
    try:
        parsed: Statement[wire.Predicate] = statement.parse(payload, wire.Predicate, PROVENANCE)
    except Malformed:
        _require_build_type(
            payload
        )  # somebody else's provenance is named as that, not by the field that surprised first
        raise
    definition, run = parsed.predicate.build_definition, parsed.predicate.run_details
    kind = _KIND_OF.get(definition.build_type)
    if kind is None:
        raise _foreign(definition.build_type)
    value = Provenance(
        lab=definition.external_parameters.lab,
        build=kind,
        step=definition.external_parameters.step,
        request=Sha256(run.metadata.invocation_id),
        command=definition.external_parameters.command,
        dependencies=tuple(
            [
                Dependency(d.name, d.annotations.role, d.digest.artifact, _origin(d), d.annotations.check)
                for d in definition.resolved_dependencies
            ]
        ),
        outputs=tuple([Output(s.name, s.digest.artifact) for s in parsed.subject]),
        builder=BuilderId.parse(run.builder.id),
        level=definition.internal_parameters.level,
        sandbox=definition.internal_parameters.sandbox,
        started_at=posix(run.metadata.started_on),
        finished_at=posix(run.metadata.finished_on),
        byproducts=tuple([Output(b.name, b.digest.artifact) for b in run.byproducts]),
        segment=definition.internal_parameters.segment,
        attempt=definition.internal_parameters.attempt or 1,
        resumed=None
        if definition.internal_parameters.resumed is None
        else definition.internal_parameters.resumed.artifact,
        job=definition.internal_parameters.job,
    )
    _refuse_nonsense(value)
    return value


def _digests(value: Dependency) -> wire.Digests:
    own, origin = DigestSet.of(value.digest), value.origin
    if origin.oci_manifest and own.dirHash is None:
        raise Malformed("provenance-origin", "provenance: expected a directory as the layout of an OCI image")
    return wire.Digests(
        sha256=own.sha256 or origin.oci_manifest or None, dirHash=own.dirHash, gitCommit=origin.git_commit or None
    )


def _origin(found: wire.Dependency) -> Origin:
    said, digest = found.annotations, found.digest
    named = found.uri, digest.gitCommit, said.pack, said.root, digest.oci_manifest
    if not any(named):
        return NOWHERE  # of most: one value for all
    return Origin(*(text or "" for text in named))


def _require_build_type(payload: bytes) -> None:
    if len(payload) > canonical_json.SIZE_BYTES_MAX:
        return
    try:
        found = msgspec.json.decode(payload, type=built(wire.Peek)).predicate.build_definition.build_type
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("provenance-invalid", f"provenance: {err}") from err
    if found not in _KIND_OF:
        raise _foreign(found)


def _foreign(found: str) -> Malformed:
    return Malformed(
        "provenance-build-type", f"provenance: expected `https://keyturn.dev/build/<kind>/v1`, got `{found[:120]}`"
    )


def _refuse_nonsense(value: Provenance) -> None:
    if value.finished_at < value.started_at:
        raise Malformed("provenance-times", "provenance: expected finishedOn at or after startedOn")
    if value.builder.lab != value.lab:
        raise Malformed(
            "provenance-lab", f"provenance: lab `{value.lab}` has no builder of the lab `{value.builder.lab}`"
        )
    dependencies, outputs, byproducts = value.dependencies, value.outputs, value.byproducts  # one alone is not twice
    if len(dependencies) > 1 and len({(d.role == "runtime", d.name) for d in dependencies}) != len(dependencies):
        raise _twice("resolvedDependencies")
    if len(outputs) > 1 and len({output.name for output in outputs}) != len(outputs):
        raise _twice("subject")
    if len(byproducts) > 1 and len({output.name for output in byproducts}) != len(byproducts):
        raise _twice("byproducts")
    if value.segment is not None and [output.name for output in outputs] != [CHECKPOINT]:
        raise Malformed("provenance-segment", f"provenance: expected a segment to have one output, `{CHECKPOINT}`")
    if value.builder.kind != "builder" and value.attempt > 1:
        raise Malformed("provenance-attempt", "provenance: expected `attempt` of a builder, and of nobody else")
    if value.resumed is not None and value.attempt == 1:
        raise Malformed("provenance-attempt", "provenance: expected `resumed` of an attempt after the first")
    if (value.job is None) == (value.sandbox == "slurm"):
        raise Malformed("provenance-job", "provenance: expected `job` of what Slurm ran, and of nothing else")
    if value.job is not None and value.job.exit_code != EXITED_WELL:
        raise Malformed(
            "provenance-job-failed",
            f"provenance: expected a job that ended with `{EXITED_WELL}`, got `{value.job.exit_code}`",
        )
    for dependency in dependencies:
        if (dependency.role == "runtime") != (dependency.check is None):
            raise Malformed("provenance-check", "provenance: expected `check` for each input, and for no runtime")
        if dependency.origin is not NOWHERE:
            _refuse_half(dependency.origin)


def _refuse_half(origin: Origin) -> None:
    if not origin.uri:
        raise Malformed("provenance-origin", "provenance: expected the `uri` of what an input was taken from")
    if bool(origin.pack) != bool(origin.root):
        raise Malformed("provenance-origin", "provenance: expected `pack` and `root` of another lab together")
    if bool(origin.oci_manifest) != origin.uri.startswith("oci:"):
        raise Malformed(
            "provenance-origin", "provenance: expected an image's manifest beside an `oci:` URI, and no other"
        )
    if origin.pack:
        Uri.parse(origin.uri)


def _twice(what: str) -> Malformed:
    return Malformed("provenance-name-twice", f"provenance: expected each name in `{what}` once")
