"""Read a part of the log from a file that somebody carried (`formats.log_part`). Nothing of it is believed here."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.errors import Unavailable
from keyturn.formats import log_part
from keyturn.formats.digest import Sha256, sha256

__all__ = ["LogPartFile"]

_NEWER = "carry a newer part, made with this pack: keyturn release carry PACK"


class LogPartFile:
    """`LogReader` over the text of one part."""

    def __init__(self, raw: bytes) -> None:
        self._part = log_part.parse(raw)
        self._envelopes = {sha256(one): one for one in self._part.envelopes}

    def checkpoint(self) -> bytes:
        return self._part.note

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        first = self._part.start
        if not first <= start <= end <= first + len(self._part.leaves):
            raise Unavailable("log-range", f"the part that was carried has no leaves {start} to {end}", hint=_NEWER)
        return self._part.leaves[start - first : end - first]

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        raise Unavailable("log-range", "a part of the log that was carried has no tree hashes", hint=_NEWER)

    def envelope(self, digest: Sha256) -> bytes:
        found = self._envelopes.get(digest)
        if found is None:
            raise Unavailable(
                "envelope-missing", f"the part that was carried lacks a record `{digest[:16]}`", hint=_NEWER
            )
        return found
