"""Keep a lab's trust in the directory `lab/trust`.

    root.json  metadata/  targets/      what TUF clients read (a static web server will do)
    versions/000001.json ...            every published version as the log holds it, in order: what is published
    staged                              the versions that await signatures, one a line
    draft/                              root.toml, the target files, policy/*.cedar: for people to edit
    invitations/<sha256>.json           what was offered

Every file is replaced atomically and durably. Draft, `staged` and `versions` change under a lock that processes share,
by compare-and-swap.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import open_plain
from keyturn.errors import Conflict, Malformed, Refused, Unavailable
from keyturn.formats.digest import Sha256, check_path, sha256
from keyturn.trust.draft import ROOT_FILE
from keyturn.trust.target_files import FILES, FILES_OPTIONAL

__all__ = ["TrustOnDisk"]

_FILE_BYTES_MAX = 4 << 20
"""`staged` is the largest: two versions, each at most 1 MiB."""
_DRAFT_FILES_MAX = 256


class TrustOnDisk:
    """`ports.TrustStore` in `directory`, which is made when first written to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def versions(self) -> Sequence[bytes]:
        found: list[bytes] = []
        while (raw := self._read(self._version_path(len(found) + 1))) is not None:
            found.append(raw)
        return tuple(found)

    def add_version(self, number: int, container: bytes) -> None:
        path = self._version_path(number)
        with self._locked():
            known = self._read(path)
            if known == container:
                return
            if known is not None or len(self.versions()) != number - 1:
                raise Conflict("trust-published-meanwhile", f"another version {number} was published: propose again")
            self._write(path, container)

    def read_file(self, path: str) -> bytes | None:
        return self._read(self._directory / check_path(path))

    def write_file(self, path: str, content: bytes) -> None:
        self._write(self._directory / check_path(path), content)

    def staged(self) -> Sequence[bytes]:
        raw = self._read(self._directory / "staged")
        return tuple(raw.splitlines()) if raw else ()

    def swap_staged(self, old: Sequence[bytes], new: Sequence[bytes]) -> None:
        with self._locked():
            if tuple(self.staged()) != tuple(old):
                raise Conflict("trust-staged-meanwhile", "someone else changed what is staged: look again, and retry")
            # Versions are canonical JSON, so no line ends stand in them.
            self._write(self._directory / "staged", b"\n".join(new))

    def draft(self) -> Mapping[str, bytes]:
        draft = self._directory / "draft"
        found: dict[str, bytes] = {}
        for path in sorted(_files_below(draft)):
            name = path.relative_to(draft).as_posix()
            if len(found) == _DRAFT_FILES_MAX:
                raise Malformed("draft-too-many-files", f"`{draft}`: expected at most {_DRAFT_FILES_MAX} files")
            if path.is_symlink() or not path.is_file():
                raise Malformed("draft-no-file", f"`{path}`: expected a plain file")
            content = self._read(path)
            if content is not None:
                found[name] = content
        return found

    def swap_draft(self, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> None:
        draft = self._directory / "draft"
        for name in new:
            if name not in (ROOT_FILE, *FILES, *FILES_OPTIONAL) and not name.startswith("policy/"):
                raise Malformed("targets-file-unknown", f"expected a file of a draft, got `{name[:80]}`")
        with self._locked():
            if self.draft() != dict(old):
                raise Conflict("trust-draft-meanwhile", "someone else changed the draft: look again, and retry")
            for name, content in new.items():
                if old.get(name) != content:
                    self._write(draft / check_path(name), content)
            for name in old.keys() - new.keys():
                (draft / name).unlink()

    def invitation(self, digest: Sha256) -> bytes:
        raw = self._read(self._directory / "invitations" / f"{digest}.json")
        if raw is None or sha256(raw) != digest:
            raise Refused("invitation-unknown", f"this lab has made no invitation `{digest[:16]}`, or took it back")
        return raw

    def add_invitation(self, raw: bytes) -> None:
        self._write(self._directory / "invitations" / f"{sha256(raw)}.json", raw)

    def invitations(self) -> Sequence[bytes]:
        found = (self._read(path) for path in sorted((self._directory / "invitations").glob("*.json")))
        return tuple(raw for raw in found if raw is not None)

    def withdraw_invitation(self, digest: Sha256) -> None:
        path = self._directory / "invitations" / f"{digest}.json"
        try:
            path.unlink(missing_ok=True)
            durable_files.sync_directory(path.parent)
        except OSError as err:
            raise Unavailable("trust-unwritable", f"cannot remove `{path}`: {err.strerror}") from err

    def _version_path(self, number: int) -> Path:
        return self._directory / "versions" / f"{number:06d}.json"

    def _read(self, path: Path) -> bytes | None:
        try:
            with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
                raw = file.read(_FILE_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            raise Unavailable("trust-unreadable", f"cannot read `{path}`: {err.strerror}") from err
        if len(raw) > _FILE_BYTES_MAX:
            raise Malformed("trust-file-too-large", f"`{path}`: expected at most {_FILE_BYTES_MAX} bytes")
        return raw

    def _write(self, path: Path, content: bytes) -> None:
        try:
            durable_files.replace(path, content, mode=0o644)
        except OSError as err:
            raise Unavailable("trust-unwritable", f"cannot write `{path}`: {err.strerror}") from err

    @contextmanager
    def _locked(self) -> Iterator[None]:
        durable_files.make_directories(self._directory)
        with (self._directory / ".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _files_below(draft: Path) -> Iterator[Path]:
    # Editors leave hidden files and backups beside what they edit; hidden files are no part of a draft, all else counts.
    if not draft.is_dir():
        return
    for path in draft.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink() and path.name == "policy":
            yield from (below for below in path.iterdir() if not below.name.startswith("."))
        else:
            yield path
