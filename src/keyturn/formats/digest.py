"""Name content by digest: SHA-256 of bytes, and in-toto `dirHash` of a directory.

`dirHash` is the Go module hash "h1" in hex (in-toto attestation spec, digest_set.md; golang.org/x/mod/sumdb/dirhash):
SHA-256 over one line per file, `<sha256 hex><two spaces><path><newline>`, sorted by the path's bytes. It binds names
and contents; modes, times and empty directories are no part of it.

This is NOT where files are read: `bulk` hashes them and hands (path, sha256) pairs to `dir_hash`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Literal, NewType, Self, get_args

import msgspec

from keyturn.errors import Malformed
from keyturn.formats.text import is_printable

__all__ = ["Algorithm", "ArtifactDigest", "Sha256", "check_path", "dir_hash", "parse_sha256", "sha256"]

Sha256 = NewType("Sha256", str)
"""64 lower-case hex digits."""

Algorithm = Literal["dirHash", "sha256"]

_ALGORITHMS = frozenset(get_args(Algorithm))
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_PATH_BYTES_MAX = 4096


def sha256(raw: bytes) -> Sha256:
    """Digest `raw`.

    >>> sha256(b"")
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    return Sha256(hashlib.sha256(raw).hexdigest())


def parse_sha256(text: str, *, what: str = "digest") -> Sha256:
    """Check that `text` is 64 lower-case hex digits, or raise `Malformed`."""
    if not _HEX64.match(text):
        raise Malformed("digest-invalid", f"{what}: expected 64 lower-case hex digits, got `{text[:80]}`")
    return Sha256(text)


class ArtifactDigest(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """Identity of an artifact: `dirHash:<64 hex>` for a directory, `sha256:<64 hex>` for one file; never mixed up."""

    algorithm: Algorithm
    hex: Sha256

    def __post_init__(self) -> None:
        if self.algorithm not in _ALGORITHMS:
            raise Malformed("digest-algorithm", f"expected `dirHash` or `sha256`, got `{str(self.algorithm)[:40]}`")
        if not _HEX64.match(self.hex):
            parse_sha256(self.hex)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `algorithm:hex`, or raise `Malformed`."""
        algorithm, colon, hexadecimal = text.partition(":")
        if not colon or algorithm not in _ALGORITHMS:
            raise Malformed("digest-algorithm", f"expected `dirHash:<64 hex>` or `sha256:<64 hex>`, got `{text[:80]}`")
        return cls(algorithm, Sha256(hexadecimal))  # type: ignore[arg-type]  # membership was just checked

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def dir_hash(files: Iterable[tuple[str, Sha256]]) -> ArtifactDigest:
    """Compute the `dirHash` of a directory from its files' (relative POSIX path, SHA-256) pairs, in any order.

    Refuses no files at all, duplicate paths, and whatever `check_path` refuses.
    """
    lines = sorted((check_path(path).encode("utf-8"), digest) for path, digest in files)
    if not lines:
        raise Malformed("directory-empty", "expected at least one file in the directory, got none")
    summary = hashlib.sha256()
    previous = b""
    for path, digest in lines:
        if path == previous:
            raise Malformed("path-duplicate", f"path `{path.decode()}` is listed twice")
        summary.update(digest.encode("ascii") + b"  " + path + b"\n")
        previous = path
    return ArtifactDigest("dirHash", Sha256(summary.hexdigest()))


def check_path(path: str) -> str:
    """Accept a relative POSIX path that stays inside its directory, or raise `Malformed`.

    Refuses absolute and empty paths, `.`, `..` and empty segments, backslashes, and characters that do not show
    themselves (newlines, terminal escapes, direction overrides).
    """
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError as err:
        raise Malformed("path-invalid", f"path {path!r} is not valid UTF-8") from err
    if size > _PATH_BYTES_MAX:
        raise Malformed("path-invalid", f"path has {size} bytes, expected at most {_PATH_BYTES_MAX}")
    if path.startswith("/") or "\\" in path or not is_printable(path):
        raise Malformed("path-invalid", f"path {path!r} is absolute or has a backslash, control or format character")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise Malformed("path-invalid", f"path {path!r} has an empty, `.` or `..` segment")
    return path
