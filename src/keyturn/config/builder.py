"""Read and write `builder.toml`: who a builder is, what it trusts, and where steps may read and write.

    version = 1
    name = "builder"
    lab = "acme.example"
    root = "<sha256 of the lab's first root>"
    work = ["/srv/work"]                      # inputs lie here, outputs go here
    runtime = ["/usr", "/opt/python"]         # what a STEP.toml may name as runtime, or below it
    private = ["/home/ada"]                   # no step reaches these, wherever they lie; the lab itself is always private
    sources = ["git+https://git.example/"]    # what it may fetch inputs from: these addresses, and what lies below them
    queue_max = 16
    level = 1                                 # the SLSA build level that it claims; targets say what it may
    [s3]                                      # where `s3://` addresses among the sources are
    endpoint = "https://s3.example"           # without TLS on this machine's own addresses only
    region = "us-east-1"
    credentials = "/etc/keyturn/s3"           # keys as in ~/.aws/credentials, private; none: requests are not signed
    [oci]                                     # for `oci://` addresses among the sources
    credentials = "/etc/keyturn/oci.json"     # who asks there, as skopeo login --authfile writes it, private; none: nobody
    follow = ["https://storage.example"]      # origins that registries may send on to, for blobs

It belongs to whoever operates the builder, and only tightens: that this is a builder of the lab at all, with which key and
up to which level, is for the signed targets to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.formats.text import HexDigest, LabName, Name

__all__ = ["BuilderConfig", "OciConfig", "S3Config", "parse", "render"]

_Directory = Annotated[str, Meta(pattern=r"\A/[^\x00-\x1f\x7f]{0,4095}\Z")]
_Address = Annotated[
    str,
    Meta(
        pattern=r"\A(git\+https://[A-Za-z0-9.-]+[!-~]{0,400}|oci://[a-z0-9.\[\]:-]+(/[!-~]{0,400})?"
        r"|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[!-~]{0,400})\Z"
    ),
]
_Endpoint = Annotated[
    str,
    Meta(
        pattern=r"\A(https://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])|http://(127\.0\.0\.1|localhost|\[::1\]))(:[0-9]{1,5})?/?\Z"
    ),
]
_Directories = Annotated[tuple[_Directory, ...], Meta(max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """The S3 that a builder fetches inputs from; `credentials` is an absolute path."""

    endpoint: str
    region: str
    credentials: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OciConfig:
    """Who asks at registries (`credentials`, an absolute path), and the origins that they may send on to."""

    credentials: str | None
    follow: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderConfig:
    """A builder's own settings; directories are absolute paths."""

    name: str
    lab: str
    root_sha256: str
    work: tuple[str, ...]
    runtime: tuple[str, ...]
    private: tuple[str, ...]
    sources: tuple[str, ...]
    queue_max: int
    level: Literal[1, 2]
    s3: S3Config | None = None
    oci: OciConfig | None = None


class _S3(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    endpoint: _Endpoint
    region: Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,64}\Z")] = "us-east-1"
    credentials: _Directory | None = None


class _Oci(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    credentials: _Directory | None = None
    follow: Annotated[tuple[_Endpoint, ...], Meta(max_length=64)] = ()


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    name: Name
    lab: LabName
    root: HexDigest
    work: Annotated[_Directories, Meta(min_length=1)]
    runtime: Annotated[_Directories, Meta(min_length=1)]
    private: _Directories = ()
    sources: Annotated[tuple[_Address, ...], Meta(max_length=64)] = ()
    queue_max: Annotated[int, Meta(ge=1, le=1024)] = 16
    level: Literal[1, 2] = 1
    s3: _S3 | None = None
    oci: _Oci | None = None


def parse(raw: bytes, *, where: str = "builder.toml") -> BuilderConfig:
    """Parse `raw`, or raise `Usage`."""
    file = toml.parse(raw, _File, where=where)
    return BuilderConfig(
        name=file.name,
        lab=file.lab,
        root_sha256=file.root,
        work=file.work,
        runtime=file.runtime,
        private=file.private,
        sources=file.sources,
        queue_max=file.queue_max,
        level=file.level,
        s3=None
        if file.s3 is None
        else S3Config(endpoint=file.s3.endpoint, region=file.s3.region, credentials=file.s3.credentials),
        oci=None
        if file.oci is None
        else OciConfig(
            credentials=file.oci.credentials, follow=tuple(origin.removesuffix("/") for origin in file.oci.follow)
        ),
    )


def render(value: BuilderConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table: dict[str, object] = {
        "version": 1,
        "name": value.name,
        "lab": value.lab,
        "root": value.root_sha256,
        "work": list(value.work),
        "runtime": list(value.runtime),
        "private": list(value.private),
        "sources": list(value.sources),
        "queue_max": value.queue_max,
        "level": value.level,
    }
    if value.s3 is not None:
        s3 = {"endpoint": value.s3.endpoint, "region": value.s3.region, "credentials": value.s3.credentials}
        table["s3"] = {name: said for name, said in s3.items() if said is not None}
    if value.oci is not None:
        table["oci"] = {"follow": list(value.oci.follow)} | (
            {"credentials": value.oci.credentials} if value.oci.credentials is not None else {}
        )
    return tomli_w.dumps(table).encode("utf-8")
