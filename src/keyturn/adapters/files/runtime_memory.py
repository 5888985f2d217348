"""Remember what runtimes were read as, from one step to the next: most are the same, and have tens of thousands of files."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from keyturn.adapters.files import durable_files
from keyturn.bulk.runtime import Entry
from keyturn.errors import Unavailable
from keyturn.formats.built import built

__all__ = ["RuntimeMemory"]


class RuntimeMemory:
    """Remembers what runtimes were read as, in files that only the keeper of `key` writes: each is authenticated.

    `authenticate` gives a tag of bytes under a key that steps and members cannot reach; a file whose tag is wrong is
    ignored, and the runtime is read again.
    """

    def __init__(self, place: Path, authenticate: Callable[[bytes], bytes]) -> None:
        self._place = place
        self._authenticate = authenticate

    def recall(self, root: Path) -> Mapping[str, Entry]:
        try:
            tag, _, body = self._file(root).read_bytes().partition(b"\n")
            if not secrets.compare_digest(tag, self._tag(root, body)):
                return {}
            return msgspec.json.decode(body, type=built(dict[str, Entry]))
        except (OSError, msgspec.MsgspecError):
            return {}

    def keep(self, root: Path, entries: Mapping[str, Entry]) -> None:
        """Remember `entries`; `Unavailable` when the disk does not take them, and then what was known stays."""
        body = msgspec.json.encode(dict(entries))
        try:
            durable_files.replace(
                self._file(root), self._tag(root, body) + b"\n" + body, mode=0o600, directory_mode=0o700
            )
        except OSError as err:
            raise Unavailable("memory-unwritable", f"`{self._place}`: {err.strerror}", hint="free space") from err

    def _file(self, root: Path) -> Path:
        return self._place / hashlib.sha256(os.fsencode(root)).hexdigest()

    def _tag(self, root: Path, body: bytes) -> bytes:
        message = b"keyturn runtime memory v1\n" + os.fsencode(root) + b"\0" + hashlib.sha256(body).digest()
        return self._authenticate(message).hex().encode()
