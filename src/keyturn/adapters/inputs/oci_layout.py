"""Read blobs out of an OCI layout on this machine: regular files of `blobs/sha256`, and no link on the way to them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.formats import oci_image
from keyturn.formats.digest import Sha256
from keyturn.formats.input_source import OciImage
from keyturn.formats.oci_image import MANIFEST_BYTES_MAX, Descriptor

__all__ = ["Layout", "opened"]

_CHUNK_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY


class Layout:
    """`oci_input.Blobs` in the directory `by_digest`, an open descriptor."""

    def __init__(self, source: OciImage, by_digest: int) -> None:
        self._source = source
        self._by_digest = by_digest

    @property
    def again(self) -> str:
        return _again(self._source)

    def manifest(self, digest: Sha256) -> bytes:
        with _file(digest, self._by_digest, self._source) as (descriptor, _), os.fdopen(os.dup(descriptor), "rb") as f:
            return f.read(MANIFEST_BYTES_MAX + 1)

    def content(self, blob: Descriptor) -> Iterator[bytes]:
        with _file(blob.digest, self._by_digest, self._source) as (descriptor, size):
            if size != blob.size:
                raise Tampered(
                    "oci-blob",
                    f"the blob `{blob.digest}` has {size} bytes, and its manifest says {blob.size}",
                    hint=self.again,
                )
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                yield chunk


@contextmanager
def opened(source: OciImage, layout: Path, *, check: Callable[[Path], Path]) -> Iterator[Layout]:
    """Open `layout`, the directory that `source` names, where `check` lets it lie."""
    with (
        _opened(check(layout), _DIRECTORY, None, source) as top,
        _opened("blobs", _DIRECTORY, top, source) as blobs,
        _opened("sha256", _DIRECTORY, blobs, source) as by_digest,
    ):
        check(Path(f"/proc/self/fd/{top}").readlink())  # where its name led when it was opened: that is its owner's
        with _file("oci-layout", top, source) as (file, _):
            oci_image.parse_layout(os.read(file, 4096))
        yield Layout(source, by_digest)


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


def _again(source: OciImage) -> str:
    return f"copy the image again, as skopeo copy docker://REGISTRY/REPOSITORY@sha256:{source.digest} oci:DIRECTORY"
