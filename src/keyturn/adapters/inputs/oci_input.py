"""Hold one image of an OCI layout on this machine: its manifest, configuration and layers, each with the bytes of its digest.

    oci-layout                    what the specification says
    index.json                    names the one image that was taken
    blobs/sha256/<64 hex>         the manifest, and every blob that it names

The same layout is made of the same image wherever it lay, and beside whatever: tags, other images, and an index above it are
left out. Nothing is unpacked: a layer is an archive, and what is in it is for the step to say. Blobs are files of
`blobs/sha256`, and no links are followed on the way to them. What the manifest only points at (a `subject`, addresses in
`urls`) is not looked for.

1. read the manifest by its digest; of an index, that of the one image for the platform that the source names;
2. copy each blob that it names, comparing size and digest;
3. write `index.json` and `oci-layout`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keyturn.bulk.manifest import Progress
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats import oci_image
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.input_source import OciImage
from keyturn.formats.oci_image import MANIFEST_BYTES_MAX, Descriptor, ImageIndex, ImageManifest, Platform
from keyturn.formats.provenance import Origin

__all__ = ["hold"]

_CHUNK_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY


def hold(
    source: OciImage, layout: Path, into: Path, *, check: Callable[[Path], Path], progress: Progress | None
) -> Origin:
    """Copy the image that `source` names out of `layout`, its directory, to `into`."""
    with (
        _opened(check(layout), _DIRECTORY, None, source) as top,
        _opened("blobs", _DIRECTORY, top, source) as blobs,
        _opened("sha256", _DIRECTORY, blobs, source) as by_digest,
    ):
        check(Path(f"/proc/self/fd/{top}").readlink())  # where its name led when it was opened: that is its owner's
        with _file("oci-layout", top, source) as (file, _):
            oci_image.parse_layout(os.read(file, 4096))
        named, raw, found = _image(source, by_digest)  # (1)
        place = into / "blobs" / "sha256"
        place.mkdir(parents=True)
        (place / named.digest).write_bytes(raw)
        done, total = 0, sum(blob.size for blob in found.blobs)
        for blob in found.blobs:  # (2)
            with (place / blob.digest).open("xb") as copy:
                for chunk in _content(by_digest, blob, source):
                    copy.write(chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress(done, total)
    (into / "index.json").write_bytes(oci_image.render_index(named, found.media_type))  # (3)
    (into / "oci-layout").write_bytes(oci_image.LAYOUT)
    return Origin(source.uri, oci_manifest=named.digest)


def _image(source: OciImage, by_digest: int) -> tuple[Descriptor, bytes, ImageManifest]:
    raw, found = _manifest(by_digest, source.digest, source, size=None)
    if isinstance(found, ImageManifest):
        if source.platform is not None:
            raise Refused(
                "oci-platform",
                f"`{source.digest}` is an image, and no index of images for platforms like `{source.platform}`",
                hint="leave #platform= out",
            )
        return Descriptor(source.digest, len(raw)), raw, found
    one = _for_platform(source, found)
    raw, image = _manifest(by_digest, one.digest, source, size=one.size)
    if isinstance(image, ImageIndex):
        raise Refused("oci-nested", f"`{source.digest}` leads to another index, `{one.digest}`", hint="name that one")
    return Descriptor(one.digest, len(raw)), raw, image


def _for_platform(source: OciImage, index: ImageIndex) -> Descriptor:
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


def _manifest(
    by_digest: int, digest: Sha256, source: OciImage, *, size: int | None
) -> tuple[bytes, ImageManifest | ImageIndex]:
    with _file(digest, by_digest, source) as (descriptor, found):
        if found > MANIFEST_BYTES_MAX:
            raise Refused(
                "oci-manifest",
                f"`{digest}` has {found} bytes, expected a manifest of at most {MANIFEST_BYTES_MAX}",
                hint="name the digest of an image: skopeo inspect prints it",
            )
        raw = b"".join(iter(lambda: os.read(descriptor, MANIFEST_BYTES_MAX), b""))
    if sha256(raw) != digest or size not in (None, len(raw)):
        raise _other(digest, source)
    try:
        return raw, oci_image.parse(raw)
    except KeyturnError as err:
        raise Refused(err.code, f"`{digest}`: {err.message}", hint="name an image by its manifest's digest") from err


def _content(by_digest: int, blob: Descriptor, source: OciImage) -> Iterator[bytes]:
    own = hashlib.sha256()
    with _file(blob.digest, by_digest, source) as (descriptor, size):
        if size != blob.size:
            raise Tampered(
                "oci-blob",
                f"the blob `{blob.digest}` has {size} bytes, and its manifest says {blob.size}",
                hint=_again(source),
            )
        left = size
        while left and (chunk := os.read(descriptor, min(left, _CHUNK_BYTES))):
            own.update(chunk)
            left -= len(chunk)
            yield chunk
    if left or own.hexdigest() != blob.digest:
        raise _other(blob.digest, source)


@contextmanager
def _file(name: str, directory: int, source: OciImage) -> Iterator[tuple[int, int]]:
    with _opened(name, _READ, directory, source) as descriptor:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("file-special", f"`{name}` of an OCI layout is a directory, device, pipe or socket")
        yield descriptor, status.st_size


@contextmanager
def _opened(name: str | Path, flags: int, directory: int | None, source: OciImage) -> Iterator[int]:
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as err:
        raise Unavailable(
            "oci-incomplete",
            f"the layout of {source.uri} lacks `{name}`, or it cannot be read: {err.strerror}",
            hint=_again(source),
        ) from err
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _other(digest: Sha256, source: OciImage) -> Tampered:
    return Tampered("oci-blob", f"the blob `{digest}` has another content than its name says", hint=_again(source))


def _again(source: OciImage) -> str:
    return f"copy the image again, as skopeo copy docker://REGISTRY/REPOSITORY@sha256:{source.digest} oci:DIRECTORY"
