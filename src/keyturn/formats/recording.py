"""Predicate by which a bastion says what it recorded: the digest and size of one sealed recording.

`https://keyturn.dev/recording/v1`, kind `rcd`; normative page docs/formats/records.md. It opens nothing: it is there so that a
recording that is missing, shortened or exchanged is seen to be.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime, Size
from keyturn.formats.uri import Uri

__all__ = ["RECORDING", "Recorded", "Recording"]

RECORDING = "https://keyturn.dev/recording/v1"

Recorded = Literal["shell", "exec", "sftp", "forwards"]


class Recording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One recording of a session under `request`: `digest` and `size_bytes` of the sealed file, and of `what`. `cut`: the bastion
    ended before it did. `watched_by`: who watched it live, of a session that went on with a watcher alone."""

    lab: LabName
    nonce: Nonce
    gate: str
    key: KeyId
    request: HexDigest
    digest: HexDigest
    size_bytes: Size
    what: Recorded
    begun_at: PosixTime
    ended_at: PosixTime
    cut: bool = False
    watched_by: Annotated[tuple[MemberId, ...], Meta(max_length=16)] = ()

    def __post_init__(self) -> None:
        Uri.parse(self.gate)
        if list(self.watched_by) != sorted(set(self.watched_by)):
            raise ValueError("expected watched_by sorted, each once")
        if self.ended_at < self.begun_at:
            raise ValueError("expected ended_at at or after begun_at")
