"""Hold one image of an OCI layout or a registry: its manifest, configuration and layers, each with the bytes of its digest.

    oci-layout                    what the specification says
    index.json                    names the one image that was taken
    blobs/sha256/<64 hex>         the manifest, and every blob that it names

The same layout is made of the same image wherever it lay, and beside whatever: tags, other images, and an index above it are
left out. Nothing is unpacked: a layer is an archive, and what is in it is for the step to say. Where blobs lie gives bytes
(`Blobs`) and is believed in nothing. What the manifest only points at (a `subject`, addresses in `urls`) is not looked for.

1. read the manifest by its digest; of an index, that of the one image for the platform that the source names;
2. copy each blob that it names, comparing size and digest;
3. write `index.json` and `oci-layout`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from keyturn.bulk.manifest import Progress
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats import oci_image
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.input_source import OciImage, OciRegistryImage
from keyturn.formats.oci_image import MANIFEST_BYTES_MAX, Descriptor, ImageIndex, ImageManifest, Platform
from keyturn.formats.provenance import Origin

__all__ = ["Blobs", "hold"]


class Blobs(Protocol):
    """Where blobs lie under their digests; what it gives is compared here."""

    @property
    def again(self) -> str:
        """What somebody types who finds other bytes there than a digest says."""

    def manifest(self, digest: Sha256) -> bytes:
        """Give at most one byte more than `MANIFEST_BYTES_MAX`."""

    def content(self, blob: Descriptor) -> Iterator[bytes]:
        """Give bytes in parts, until there are no more, or nobody asks for them."""


def hold(source: OciImage | OciRegistryImage, blobs: Blobs, into: Path, *, progress: Progress | None) -> Origin:
    """Copy the image that `source` names out of `blobs` to `into`."""
    named, raw, found = _image(source, blobs)  # (1)
    total = sum(blob.size for blob in found.blobs)
    _require_room(source, into.parent, total)
    place = into / "blobs" / "sha256"
    place.mkdir(parents=True)
    (place / named.digest).write_bytes(raw)
    done = 0
    for blob in found.blobs:  # (2)
        with (place / blob.digest).open("xb") as copy:
            for chunk in _content(blobs, blob):
                copy.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    (into / "index.json").write_bytes(oci_image.render_index(named, found.media_type))  # (3)
    (into / "oci-layout").write_bytes(oci_image.LAYOUT)
    return Origin(source.uri, oci_manifest=named.digest)


def _image(source: OciImage | OciRegistryImage, blobs: Blobs) -> tuple[Descriptor, bytes, ImageManifest]:
    raw, found = _manifest(blobs, source.digest, size=None)
    if isinstance(found, ImageManifest):
        if source.platform is not None:
            raise Refused(
                "oci-platform",
                f"`{source.digest}` is an image, and no index of images for platforms like `{source.platform}`",
                hint="leave #platform= out",
            )
        return Descriptor(source.digest, len(raw)), raw, found
    one = _for_platform(source, found)
    raw, image = _manifest(blobs, one.digest, size=one.size)
    if isinstance(image, ImageIndex):
        raise Refused("oci-nested", f"`{source.digest}` leads to another index, `{one.digest}`", hint="name that one")
    return Descriptor(one.digest, len(raw)), raw, image


def _for_platform(source: OciImage | OciRegistryImage, index: ImageIndex) -> Descriptor:
    fitting = [one for one in index.images if one.platform == source.platform and one.platform is not None]
    if len(fitting) == 1:
        return fitting[0]
    offered: list[Platform] = sorted({one.platform for one in index.images if one.platform is not None})
    shown = ", ".join(f"{str(one)[:100]!r}" for one in offered[:16]) or "none"
    wanted = "no platform is named" if source.platform is None else f"{len(fitting)} are for `{source.platform}`"
    raise Refused(
        "oci-platform",
        f"`{source.digest}` is an index of images, and {wanted}: it has {shown}",
        hint="write #platform=OS/ARCHITECTURE behind the digest, or name the digest of one image",
    )


def _require_room(source: OciImage | OciRegistryImage, place: Path, size: int) -> None:
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        raise Unavailable(
            "oci-room",
            f"the blobs of {source.uri} have {size} bytes by its manifest, and {free} are free where outputs go",
            hint="free space there, then run the step again",
        )


def _manifest(blobs: Blobs, digest: Sha256, *, size: int | None) -> tuple[bytes, ImageManifest | ImageIndex]:
    raw = blobs.manifest(digest)
    if len(raw) > MANIFEST_BYTES_MAX:
        raise Refused(
            "oci-manifest",
            f"`{digest}` has more than {MANIFEST_BYTES_MAX} bytes: no manifest has",
            hint="name the digest of an image: skopeo inspect prints it",
        )
    if sha256(raw) != digest or size not in (None, len(raw)):
        raise _other(digest, blobs)
    try:
        return raw, oci_image.parse(raw)
    except KeyturnError as err:
        raise Refused(err.code, f"`{digest}`: {err.message}", hint="name an image by its manifest's digest") from err


def _content(blobs: Blobs, blob: Descriptor) -> Iterator[bytes]:
    own, size = hashlib.sha256(), 0
    for chunk in blobs.content(blob):
        size += len(chunk)
        if size > blob.size:
            raise Tampered(
                "oci-blob",
                f"the blob `{blob.digest}` has more bytes than its manifest says: {blob.size}",
                hint=blobs.again,
            )
        own.update(chunk)
        yield chunk
    if size != blob.size or own.hexdigest() != blob.digest:
        raise _other(blob.digest, blobs)


def _other(digest: Sha256, blobs: Blobs) -> Tampered:
    return Tampered("oci-blob", f"the blob `{digest}` has another content than its name says", hint=blobs.again)
