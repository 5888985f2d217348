"""Say, as a member, that one watches what goes through a bastion under one request: given to that bastion, and to no log.

`https://keyturn.dev/watch/v1`; normative page docs/formats/recordings.md. It names a key that the watcher's connection proves, so
that whoever copies the statement watches nothing. Who may watch: `grants.watching`.
"""

from __future__ import annotations

import msgspec

from keyturn.errors import Malformed
from keyturn.formats import dsse, statement
from keyturn.formats.dsse import Envelope
from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime
from keyturn.formats.uri import Uri

__all__ = ["WATCH", "Watch", "parse"]

WATCH = "https://keyturn.dev/watch/v1"


class Watch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`member` watches, at the bastion `gate`, what goes through under `request`, on a connection that proves `session_key`
    (base64 of SubjectPublicKeyInfo)."""

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    request: HexDigest
    gate: str
    session_key: str
    signed_at: PosixTime

    def __post_init__(self) -> None:
        if Uri.parse(self.gate).type != "gate":
            raise ValueError(f"expected a bastion's gate, got `{self.gate[:80]}`")
        if not 0 < len(self.session_key) <= 400:
            raise ValueError("expected a session key of 400 characters at most")


def parse(raw: bytes) -> tuple[Envelope, Watch]:
    """Parse the envelope `raw`, or raise `Malformed`; no signature is looked at."""
    envelope = dsse.parse_own(raw)
    found = statement.parse(envelope.payload, Watch, WATCH)
    if [str(subject.digest.artifact) for subject in found.subject] != [f"sha256:{found.predicate.request}"]:
        raise Malformed("watch-subject", "watch: expected the request as its one subject")
    return envelope, found.predicate
