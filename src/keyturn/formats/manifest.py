"""Parse and render a manifest: each file of an artifact with its size, SHA-256 and BLAKE3 (docs/formats/manifest.md).

    {"files":[{"blake3":"<hex>","path":"model.safetensors","sha256":"<hex>","size":123}],"kind":"directory","version":1}

The identity is no field: it is computed, as `dirHash` over the SHA-256s of a directory, or as the `sha256` of the one
file. A signed manifest binds the BLAKE3s too, for fast re-checks. Files stand in order of their paths' bytes; names that
fold to one on some file system (NFC, case) are refused, since a reader there would see one file in place of two.

This is NOT where files are read: see `bulk.manifest`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.digest import ArtifactDigest, Sha256, check_path, dir_hash
from keyturn.formats.text import HexDigest, Size

__all__ = [
    "FILES_MAX",
    "MANIFEST_BYTES_MAX",
    "Contents",
    "HashedFile",
    "Manifest",
    "ManifestFile",
    "apart",
    "check_names",
    "parse",
    "render",
    "sizes_apart",
]

FILES_MAX = 1_000_000
MANIFEST_BYTES_MAX = 256 << 20


class HashedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One regular file: its path inside the artifact, its size in bytes, and its SHA-256."""

    path: str
    size: Size
    sha256: HexDigest


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One regular file: its path inside the artifact, its size in bytes, and its two digests."""

    path: str
    size: Size
    sha256: HexDigest
    blake3: HexDigest


@dataclass(frozen=True, slots=True)
class Contents:
    """Every file of one artifact with its SHA-256: what the identity is of. No format: it is computed, and compared."""

    kind: Literal["directory", "file"]
    files: tuple[HashedFile, ...]

    @property
    def identity(self) -> ArtifactDigest:
        """`dirHash:<hex>` of a directory, `sha256:<hex>` of a file."""
        return _identity(self.kind, self.files)

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every file of one artifact. `identity` is what statements, grants and people call the artifact by."""

    version: Literal[1] = 1
    kind: Literal["directory", "file"]
    files: Annotated[tuple[ManifestFile, ...], Meta(min_length=1, max_length=FILES_MAX)]

    def __post_init__(self) -> None:
        if self.kind == "file" and (len(self.files) != 1 or "/" in self.files[0].path):
            raise ValueError("expected one file and no directory in the manifest of a file")

    @property
    def identity(self) -> ArtifactDigest:
        """`dirHash:<hex>` of a directory, `sha256:<hex>` of a file."""
        return _identity(self.kind, self.files)

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)


def _identity(kind: Literal["directory", "file"], files: Sequence[HashedFile | ManifestFile]) -> ArtifactDigest:
    if kind == "file":
        return ArtifactDigest("sha256", Sha256(files[0].sha256))
    return dir_hash((file.path, Sha256(file.sha256)) for file in files)


def parse(raw: bytes) -> Manifest:
    """Parse the manifest `raw`, or raise `Malformed`; nothing in it is believed until files were hashed against it."""
    manifest = canonical_json.decode(raw, Manifest, what="manifest", size_bytes_max=MANIFEST_BYTES_MAX)
    paths = [file.path for file in manifest.files]
    check_names(paths)
    keys = [path.encode("utf-8") for path in paths]
    if any(a >= b for a, b in pairwise(keys)):
        raise Malformed("manifest-order", "manifest: expected the files in order of their paths' bytes")
    return manifest


def render(manifest: Manifest) -> bytes:
    """Render `manifest`; its files must be in order, as `bulk.manifest` leaves them."""
    return canonical_json.encode(manifest)


def apart(expected: Manifest, found: Contents) -> tuple[str, ...]:
    """Say of each file how `found` is not what `expected` has, by name, size and SHA-256; nothing when it is."""
    if by_size := sizes_apart(expected, found.kind, {file.path: file.size for file in found.files}):
        return by_size
    pairs = zip(expected.files, found.files, strict=True)  # both in order of their paths
    return tuple(f"{there.path!r} has another content" for one, there in pairs if one.sha256 != there.sha256)


def sizes_apart(expected: Manifest, kind: Literal["directory", "file"], sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Say how files of these `sizes`, by path, are not those of `expected` by name and size; a lone file may have any name."""
    if kind != expected.kind:
        return (f"it is a {kind}, and the model is a {expected.kind}",)
    if kind == "file":
        known = dict(zip(sizes, (file.size for file in expected.files), strict=True))
    else:
        known = {file.path: file.size for file in expected.files}
    wrong = [f"{path!r} is missing" for path in known if path not in sizes]
    wrong += [f"{path!r} is extra" for path in sizes if path not in known]
    wrong += [
        f"{path!r} has {sizes[path]} bytes in place of {size}"
        for path, size in known.items()
        if sizes.get(path, size) != size
    ]
    return tuple(wrong)


def check_names(paths: Iterable[str]) -> None:
    """Accept relative paths that stay different files on every file system, or raise `Malformed`.

    Refuses what `digest.check_path` refuses, a path listed twice, a path that is also a directory of another, and names
    that fold to one: equal after NFC and case folding, in any segment.
    """
    spelling: dict[str, str] = {}
    directories: set[str] = set()
    files: set[str] = set()
    for path in paths:
        check_path(path)
        if path in files:
            raise Malformed("path-duplicate", f"path {path!r} is listed twice")
        files.add(path)
        end = len(path)
        while end > 0:
            prefix = path[:end]
            known = spelling.setdefault(_fold(prefix), prefix)
            if known != prefix:
                raise Malformed("path-folds", f"paths {known!r} and {prefix!r} are one name on some file systems")
            end = path.rfind("/", 0, end)
            if end > 0:
                if path[:end] in directories:
                    break  # it and all above it were looked at, with another file
                directories.add(path[:end])
    for path in files & directories:
        raise Malformed("path-duplicate", f"path {path!r} is listed as a file and as a directory")


def _fold(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
