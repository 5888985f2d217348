"""Parse and render what a sealed recording begins with. Normative page: docs/formats/recordings.md.

    keyturn-recording-v1 LF
    header, canonical JSON, LF
    chunks, each: length of what follows (4 bytes, big endian), AES-256-GCM ciphertext with its tag

A chunk's nonce is its number (8 bytes, big endian), three zero bytes, and 1 for the last chunk, else 0; its associated data is
the SHA-256 of everything before the chunks. The data key is split (Shamir, `quorum` of all) into a share for each keyholder,
sealed to him; `commitment` binds the one key that opens the file. What lies inside: `adapters.recordings.tape`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.recording import Recorded
from keyturn.formats.text import HexDigest, LabName, Name, PosixTime
from keyturn.formats.uri import Uri

__all__ = [
    "HEAD_BYTES_MAX",
    "MAGIC",
    "SHARES_MAX",
    "Header",
    "SealedShare",
    "parse_head",
    "render_head",
    "share_info",
    "title",
]

MAGIC = b"keyturn-recording-v1\n"
SHARES_MAX = 32
HEAD_BYTES_MAX = 64 * 1024


class SealedShare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of one keyholder: `sealed` to `key` (SHA-256 of its SubjectPublicKeyInfo) by HPKE, in base64."""

    holder: Name
    key: HexDigest
    sealed: Annotated[str, Meta(max_length=400)]


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which session this is, and how many of whose shares open it. `account` is whose it was on the host, and
    `resource` what its request was for: who asks to replay it asks for that. `targets_version` named its keyholders."""

    version: Literal[1]
    lab: LabName
    gate: str
    request: HexDigest
    host: str
    resource: str
    account: Annotated[str, Meta(max_length=64)]
    what: Recorded
    begun_at: PosixTime
    targets_version: Annotated[int, Meta(ge=1, lt=2**53)]
    quorum: Annotated[int, Meta(ge=2, le=SHARES_MAX)]
    commitment: HexDigest
    shares: Annotated[tuple[SealedShare, ...], Meta(min_length=2, max_length=SHARES_MAX)]

    def __post_init__(self) -> None:
        for uri in (self.gate, self.host, self.resource):
            Uri.parse(uri)
        if self.quorum > len(self.shares) or len({one.holder for one in self.shares}) != len(self.shares):
            raise ValueError("expected a share for each keyholder, and at least as many as open the recording")


def title(header: Header) -> str:
    """What a recording is called: whose session it is of. A request to replay it calls it so."""
    return f"req-{header.request[:32]} {header.what} of {header.account} at {header.host}"


def share_info(*, gate: str, request: str, holder: str, number: int) -> bytes:
    """What a sealed share is bound to: HPKE's `info`. `number` is the share's, from 1 on."""
    return f"keyturn.dev/recording-share/v1\n{gate}\n{request}\n{holder}\n{number}\n".encode()


def parse_head(raw: bytes) -> tuple[Header, int]:
    """Parse the beginning of a recording; gives its header, and where the chunks begin. `Malformed` for anything else."""
    if not raw.startswith(MAGIC):
        raise Malformed("recording-invalid", "expected a sealed recording, got another file")
    end = raw.find(b"\n", len(MAGIC), HEAD_BYTES_MAX)
    if end < 0:
        raise Malformed("recording-invalid", "expected the header of a sealed recording, got none that ends")
    return canonical_json.decode(raw[len(MAGIC) : end], Header, what="recording"), end + 1


def render_head(header: Header) -> bytes:
    """Render what the file begins with."""
    return MAGIC + canonical_json.encode(header) + b"\n"
