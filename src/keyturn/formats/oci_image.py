"""Read manifests and indexes of OCI images: which blobs, of which size and digest, a manifest's digest binds.

Follows the OCI Image Format Specification 1.1 (manifest.md, image-index.md, descriptor.md); Docker's media types of the same
shape are read too. This is a format that others own: unknown fields are passed over, and the bytes are what counts. One text
that could be read as an image and as an index is refused (CVE-2021-41190): its digest would bind two things.

This is NOT where blobs are read or compared: see `adapters.inputs.oci_input`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats.digest import Sha256

__all__ = [
    "BLOBS_MAX",
    "LAYOUT",
    "MANIFEST_BYTES_MAX",
    "MEDIA_TYPES",
    "Descriptor",
    "ImageIndex",
    "ImageManifest",
    "Platform",
    "parse",
    "parse_layout",
    "parse_platform",
    "render_index",
]

MANIFEST_BYTES_MAX = 4 << 20
"""What registries take, by the Distribution Specification."""

BLOBS_MAX = 4096

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
"""The file `oci-layout` of a layout."""

_IMAGE = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_IMAGES = (_IMAGE, "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES = (_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MEDIA_TYPES = (*_IMAGES, *_INDEXES)
"""Of manifests that `parse` reads: what a registry is asked for."""
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}\Z")
_PLATFORM = re.compile(r"[a-z0-9]{1,32}/[a-z0-9_]{1,32}(/[a-z0-9._]{1,32})?\Z")


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system, a processor, and what variant of it, or none; as `linux/arm64/v8`."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One blob that a manifest names; of what an index names also the platform, if it says one."""

    digest: Sha256
    size: int
    platform: Platform | None = None


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """An image: its configuration and layers, each blob once."""

    media_type: str
    blobs: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Images for different platforms under one digest."""

    images: tuple[Descriptor, ...]


class _Platform(msgspec.Struct, frozen=True):
    os: Annotated[str, Meta(max_length=64)]
    architecture: Annotated[str, Meta(max_length=64)]
    variant: Annotated[str, Meta(max_length=64)] = ""


class _Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    media_type: Annotated[str, Meta(max_length=255)]
    digest: Annotated[str, Meta(max_length=300)]
    size: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    platform: _Platform | None = None


_Descriptors = Annotated[tuple[_Descriptor, ...], Meta(max_length=BLOBS_MAX)]


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    media_type: Annotated[str, Meta(max_length=255)] = ""
    config: _Descriptor | None = None
    layers: _Descriptors | None = None
    manifests: _Descriptors | None = None


class _Layout(msgspec.Struct, frozen=True, rename="camel"):
    image_layout_version: Annotated[str, Meta(max_length=64)]


def parse(raw: bytes) -> ImageManifest | ImageIndex:
    """Read `raw`, whose digest was compared, or raise `Malformed`."""
    if len(raw) > MANIFEST_BYTES_MAX:
        raise Malformed("oci-manifest", f"expected at most {MANIFEST_BYTES_MAX} bytes as a manifest, got {len(raw)}")
    try:
        found = msgspec.json.decode(raw, type=_Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("oci-manifest", f"expected the manifest of an OCI image or an index: {err}") from err
    image = found.config is not None and found.layers is not None
    if found.manifests is not None and found.config is None and found.layers is None:
        if found.schema_version == 2 and found.media_type in ("", *_INDEXES):
            return ImageIndex(tuple(_descriptor(one) for one in found.manifests))
    elif image and found.manifests is None and found.schema_version == 2 and found.media_type in ("", *_IMAGES):
        assert found.config is not None  # narrowed above
        assert found.layers is not None
        return ImageManifest(found.media_type or _IMAGE, _once((found.config, *found.layers)))
    raise Malformed(
        "oci-manifest",
        "expected either `config` and `layers` or `manifests`, with `schemaVersion` 2 and the media type of that",
        hint="name the digest of an image: skopeo inspect prints it",
    )


def parse_layout(raw: bytes) -> None:
    """Accept the file `oci-layout` of a layout whose places are known, or raise `Malformed`."""
    try:
        version = msgspec.json.decode(raw, type=_Layout).image_layout_version
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("oci-layout", f"`oci-layout`: expected `imageLayoutVersion`: {err}") from err
    if version != "1.0.0":
        raise Malformed("oci-layout", f"`oci-layout`: expected version 1.0.0, got {version!r}")


def parse_platform(text: str) -> Platform:
    """Read `linux/amd64` or `linux/arm64/v8`, or raise `Malformed`."""
    if not _PLATFORM.match(text):
        raise Malformed("input-source", f"expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, got `{text[:80]}`")
    return Platform(*text.split("/"))


def render_index(manifest: Descriptor, media_type: str) -> bytes:
    """The `index.json` of a layout that holds this one image: one text for one manifest, whoever wrote the layout before."""
    one = f'{{"mediaType":"{media_type}","digest":"sha256:{manifest.digest}","size":{manifest.size}}}'
    return f'{{"schemaVersion":2,"mediaType":"{_INDEX}","manifests":[{one}]}}'.encode("ascii")


def _descriptor(found: _Descriptor) -> Descriptor:
    if not _SHA256.match(found.digest):
        raise Malformed("oci-digest", f"expected `sha256:<64 hex>` as a blob's digest, got {found.digest[:120]!r}")
    where = found.platform
    platform = None if where is None else Platform(where.os, where.architecture, where.variant)
    return Descriptor(Sha256(found.digest.removeprefix("sha256:")), found.size, platform)


def _once(named: tuple[_Descriptor, ...]) -> tuple[Descriptor, ...]:
    blobs: dict[str, Descriptor] = {}
    for one in map(_descriptor, named):
        known = blobs.setdefault(one.digest, one)
        if known.size != one.size:
            raise Malformed("oci-manifest", f"the blob `{one.digest}` has two sizes: {known.size} and {one.size}")
    return tuple(blobs.values())
