"""Read a STEP.toml: one step of a custody chain, as a person wrote it (docs/formats/step-toml.md).

    version = 1
    name = "train"
    build_type = "train"
    command = ["python", "/in/code/train.py"]     # argv, never a shell
    parameters = "params.json"                    # at /in/params.json
    [[inputs]]
    name = "data"
    source = "../data"
    digest = "dirHash:..."                        # or "from-step:ingest/data"
    mount = "/in/data"
    check = "full"
    [[outputs]]
    name = "model"
    path = "/out/model"
    [sandbox]
    runtime = ["/usr", "../.venv"]
    network = "none"
    devices = []
    timeout_s = 3600

Inside the sandbox inputs lie below `/in`, outputs below `/out`, and nowhere else; no mount lies in another. The file's
own bytes are an input of the step (`step.toml`), so that whoever signs the step's request signs the mounts too.

This is NOT what is signed: the member signs a `formats.steps.StepRequest` with every digest resolved.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.config import toml
from keyturn.errors import KeyturnError, Refused, Usage
from keyturn.formats import input_source
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.input_source import PathSource
from keyturn.formats.steps import BuildKind, Check, StepRequest
from keyturn.formats.text import HexDigest, Name, check_free_text

__all__ = [
    "PARAMETERS_MOUNT",
    "PARAMETERS_NAME",
    "STEP_MOUNT",
    "STEP_NAME",
    "FromStep",
    "InputSource",
    "OutputPath",
    "SandboxTable",
    "StepFile",
    "check_is_of",
    "parse",
]

STEP_NAME = "step.toml"
"""The name under which the STEP.toml itself is an input of its step."""

STEP_MOUNT = "/in/step.toml"

PARAMETERS_NAME = "parameters"
PARAMETERS_MOUNT = "/in/params.json"

_FROM_STEP = re.compile(r"from-step:(?P<step>[a-z0-9][a-z0-9._-]{0,62})/(?P<output>[a-z0-9][a-z0-9._-]{0,62})\Z")

_NAMEABLE = re.compile(r"[!-~]+")

Path = Annotated[str, Meta(min_length=1, max_length=4096)]
MountPath = Annotated[str, Meta(pattern=r"\A/in(/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}){1,8}\Z")]
OutPath = Annotated[str, Meta(pattern=r"\A/out/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")]
Address = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.-]{1,253}:[1-9][0-9]{0,4}\Z")]
Device = Annotated[str, Meta(pattern=r"\A/dev(/[A-Za-z0-9_][A-Za-z0-9._-]{0,63}){1,4}\Z")]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class FromStep(_Strict, frozen=True, kw_only=True):
    """The output of another step, whose digest is found in that step's receipt."""

    step: str
    output: str


class InputSource(_Strict, frozen=True, kw_only=True):
    """One thing that goes in: from `source` (a path relative to the STEP.toml, or as `formats.input_source` says) to `mount`."""

    name: Name
    source: Path
    digest: Annotated[str, Meta(max_length=200)]
    mount: MountPath
    check: Check | None = None
    role: Literal["input", "code"] = "input"
    pack: Path | None = None
    root: Path | None = None

    def __post_init__(self) -> None:
        _ = self.expected
        if self.name in (STEP_NAME, PARAMETERS_NAME):
            raise ValueError(f"expected another name than `{self.name}`, which is taken")
        for taken in (STEP_MOUNT, PARAMETERS_MOUNT):
            if self.mount == taken or self.mount.startswith(f"{taken}/"):
                raise ValueError(f"expected another mount than `{taken}`, which is taken")
        check_free_text(self.source, what="source", size_bytes_max=4096)
        if (self.pack is None) != (self.root is None):
            raise ValueError("expected `pack` and `root` together: another lab's pack, and the first root of that lab")
        for path in (self.pack, self.root):
            check_free_text(path or "", what="pack", size_bytes_max=4096)
        if not self.is_path:
            if self.pack is not None:
                raise ValueError("expected a path as `source` of what another lab released")
            if self.check not in (None, "snapshot"):
                raise ValueError(f"expected no `check` but `snapshot` for `{self.source[:80]}`, which is no plain path")
            if isinstance(self.expected, FromStep):
                raise ValueError(f"expected a digest for `{self.source[:80]}`: no step leaves a receipt there")

    @property
    def is_path(self) -> bool:
        """Whether `source` is a plain path, and nothing that is taken from elsewhere, or through links."""
        return isinstance(input_source.parse(self.source), PathSource)

    @property
    def checked(self) -> Check:
        """How it is checked: as `check` says; else a plain path is read whole, and everything else is a snapshot."""
        return self.check or ("full" if self.is_path else "snapshot")

    @property
    def expected(self) -> ArtifactDigest | FromStep:
        """The digest that the input must have, or the step whose receipt says it."""
        found = _FROM_STEP.match(self.digest)
        if found is not None:
            return FromStep(step=found["step"], output=found["output"])
        return ArtifactDigest.parse(self.digest)


class OutputPath(_Strict, frozen=True, kw_only=True):
    """One thing that comes out: a file or directory that the step leaves at `path`, directly below `/out`."""

    name: Name
    path: OutPath


class SandboxTable(_Strict, frozen=True, kw_only=True):
    """What the sandbox contains besides the inputs. `runtime` and `devices` are paths of the host.

    `traced`: the builder follows which files are opened, and lists them. It is signed with the STEP.toml, whose digest the
    request names.
    """

    runtime: Annotated[tuple[Path, ...], Meta(min_length=1, max_length=64)]
    timeout_s: Annotated[int, Meta(ge=1, le=365 * 86400)]
    network: Literal["none"] | Annotated[tuple[Address, ...], Meta(min_length=1, max_length=64)] = "none"
    devices: Annotated[tuple[Device, ...], Meta(max_length=64)] = ()
    traced: bool = False

    def __post_init__(self) -> None:
        for path in self.runtime:
            check_free_text(path, what="runtime", size_bytes_max=4096)
            if not _NAMEABLE.fullmatch(path):
                raise ValueError(
                    f"expected ASCII without spaces in `runtime`, which provenance names; got {path[:80]!r}"
                )

    @property
    def addresses(self) -> tuple[str, ...]:
        return () if self.network == "none" else tuple(self.network)


class StepFile(_Strict, frozen=True, kw_only=True):
    """A STEP.toml. `criteria` is the record digest of the evaluation criteria, for `evaluate`."""

    version: Literal[1]
    name: Name
    build_type: BuildKind
    command: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=4096)], ...], Meta(min_length=1, max_length=256)
    ]
    inputs: Annotated[tuple[InputSource, ...], Meta(min_length=1, max_length=200)]
    outputs: Annotated[tuple[OutputPath, ...], Meta(min_length=1, max_length=64)]
    sandbox: SandboxTable
    parameters: Path | None = None
    criteria: HexDigest | None = None
    resume: OutPath | None = None
    """Where the command keeps what it needs to go on; an attempt after an interruption finds it there again."""

    def __post_init__(self) -> None:
        for text in self.command:
            check_free_text(text, what="command", size_bytes_max=4096)
        _refuse_twice("inputs", tuple(i.name for i in self.inputs))
        _refuse_twice("outputs", tuple(o.name for o in self.outputs))
        _refuse_twice("runtime", self.sandbox.runtime)
        _refuse_nested(tuple(i.mount for i in self.inputs))
        _refuse_nested((*(o.path for o in self.outputs), *(() if self.resume is None else (self.resume,))))
        if self.criteria is not None and self.build_type != "evaluate":
            raise ValueError("expected `criteria` for the build type `evaluate` only")
        if self.resume is not None and self.build_type == "evaluate":
            raise ValueError("expected no `resume` of an evaluation: what is measured is measured in one go")


def parse(raw: bytes, *, where: str = "STEP.toml") -> StepFile:
    """Parse `raw`, or raise `Usage` naming `where`; unknown keys are refused."""
    try:
        return toml.parse(raw, StepFile, where=where)
    except Usage:
        raise
    except KeyturnError as err:  # a text or digest inside is malformed: the person corrects the file
        raise Usage(err.code, f"`{where}`: {err.message}", hint=err.hint) from err


def check_is_of(step: StepFile, request: StepRequest) -> None:
    """Check that `request` asks for exactly what `step` says, or raise `Refused`; the digests are the request's own."""
    declared = {i.name: i for i in request.inputs}
    if len(declared) != len(request.inputs):
        raise Refused("step-differs", "the request names an input twice")
    wanted = {i.name: (i.role, i.checked) for i in step.inputs} | {STEP_NAME: ("parameters", "full")}
    if step.parameters is not None:
        wanted[PARAMETERS_NAME] = ("parameters", "full")
    pairs: tuple[tuple[str, object, object], ...] = (
        ("name", step.name, request.step),
        ("build_type", step.build_type, request.build),
        ("command", step.command, request.command),
        ("inputs", wanted, {name: (i.role, i.check) for name, i in declared.items()}),
        ("outputs", tuple(o.name for o in step.outputs), request.outputs),
        ("runtime", step.sandbox.runtime, request.runtime),
        ("network", step.sandbox.addresses, request.network),
        ("devices", step.sandbox.devices, request.devices),
        ("timeout_s", step.sandbox.timeout_s, request.timeout_s),
    )
    reasons = tuple(
        ("step-differs", f"`{what}` of the STEP.toml is not what was signed") for what, a, b in pairs if a != b
    )
    for source in step.inputs:
        found = declared.get(source.name)
        if found is not None and isinstance(source.expected, ArtifactDigest) and found.artifact != source.expected:
            reasons += (("step-differs", f"the digest of input `{source.name}` is not the one in the STEP.toml"),)
    if step.criteria is not None and step.criteria != request.criteria:
        reasons += (("step-differs", "`criteria` of the STEP.toml is not what was signed"),)
    if reasons:
        raise Refused("step-differs", "the signed request is not of this STEP.toml", reasons=reasons)


def _refuse_twice(what: str, names: tuple[str, ...]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"expected each name in `{what}` once")


def _refuse_nested(paths: tuple[str, ...]) -> None:
    for a, b in combinations(paths, 2):
        if a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/"):
            raise ValueError(f"expected mounts beside each other, `{a}` and `{b}` lie in one another")
