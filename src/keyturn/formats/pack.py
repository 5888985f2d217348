"""Read and write a pack: one file with everything that an outsider needs to verify a released model offline.

    "keyturn-pack/v1\\n"            16 bytes
    length of the contents          8 bytes, big-endian: at most `CONTENTS_BYTES_MAX`
    length of the table             8 bytes, big-endian: at most `TABLE_BYTES_MAX`
    contents                        DSSE envelope of a statement with predicate `https://keyturn.dev/pack/v1`
    table                           canonical JSON: name, size and SHA-256 of every member, rising by name
    members                         one after the other, in the table's order, nothing between and nothing after

The contents bind the table by its digest, the table every byte of every member, and the file ends where the last member
does. There is no compression and there are no attributes, links or offsets: a member is a name and its bytes, and it has
one place. Normative page docs/formats/pack.md; why no zip or tar: docs/decisions/0030-pack-container.md.

This is NOT verification: whose signature the contents need is for `app.custody.verify_pack`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed, Tampered
from keyturn.formats import canonical_json
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.text import HexDigest, KeyId, LabName, Nonce, PosixTime, Size
from keyturn.formats.uri import Uri

__all__ = [
    "CONTENTS_BYTES_MAX",
    "MAGIC",
    "MEMBERS_MAX",
    "PACK",
    "PACK_BYTES_MAX",
    "TABLE_BYTES_MAX",
    "Pack",
    "PackContents",
    "make_table",
    "parse",
    "render",
]

PACK = "https://keyturn.dev/pack/v1"
MAGIC = b"keyturn-pack/v1\n"
CONTENTS_BYTES_MAX = 64 * 1024
TABLE_BYTES_MAX = 256 << 20
MEMBERS_MAX = 1_000_000
PACK_BYTES_MAX = 8 << 30

_HEADER_BYTES = len(MAGIC) + 16
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}(/[a-z0-9][a-z0-9._-]{0,63}){0,3}\Z")


class PackContents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the release gate signs of a pack. `request` is the digest of the release request, `size` that of the log."""

    lab: LabName
    nonce: Nonce
    gate: str
    key: KeyId
    request: HexDigest
    size: Size
    table: HexDigest
    signed_at: PosixTime

    def __post_init__(self) -> None:
        Uri.parse(self.gate)


class _Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=260)]
    sha256: HexDigest
    size: Size


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    members: Annotated[tuple[_Member, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    type: Literal["keyturn-pack/v1"] = "keyturn-pack/v1"


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack whose bytes agree with each other. `contents` is the signed envelope, `table` the text that it binds."""

    contents: bytes
    table: bytes
    members: Mapping[str, bytes]

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", MappingProxyType(dict(self.members)))

    @property
    def table_digest(self) -> Sha256:
        """What the signed contents must name."""
        return sha256(self.table)


def make_table(members: Mapping[str, bytes]) -> bytes:
    """Render the table of `members`; its digest goes into the contents."""
    for name in members:
        _check_name(name)
    return canonical_json.encode(
        _Table(
            members=tuple(
                _Member(name=name, sha256=sha256(content), size=len(content))
                for name, content in sorted(members.items())
            )
        )
    )


def render(contents: bytes, members: Mapping[str, bytes]) -> bytes:
    """Render the pack of `members` with the signed `contents`."""
    table = make_table(members)
    header = MAGIC + len(contents).to_bytes(8, "big") + len(table).to_bytes(8, "big")
    return b"".join((header, contents, table, *(members[name] for name in sorted(members))))


def parse(raw: bytes) -> Pack:
    """Read a pack, and check every byte of it against its table.

    Raises `Malformed` for what is no pack, `Tampered` when a member's bytes are not those that the table names.
    """
    if not raw.startswith(MAGIC):
        raise Malformed("pack-magic", "pack: expected a file that begins with `keyturn-pack/v1`")
    if len(raw) < _HEADER_BYTES:
        raise Malformed("pack-truncated", f"pack: expected a header of {_HEADER_BYTES} bytes, got {len(raw)}")
    if len(raw) > PACK_BYTES_MAX:
        raise Malformed("pack-too-large", f"pack: expected at most {PACK_BYTES_MAX} bytes, got {len(raw)}")
    contents_bytes = int.from_bytes(raw[16:24], "big")
    table_bytes = int.from_bytes(raw[24:32], "big")
    if contents_bytes > CONTENTS_BYTES_MAX or table_bytes > TABLE_BYTES_MAX:
        raise Malformed(
            "pack-length", f"pack: its header claims {contents_bytes} bytes of contents and {table_bytes} of table"
        )
    start = _HEADER_BYTES + contents_bytes + table_bytes
    if start > len(raw):
        raise Malformed("pack-truncated", f"pack: expected at least {start} bytes, got {len(raw)}")
    contents = raw[_HEADER_BYTES : _HEADER_BYTES + contents_bytes]
    text = raw[_HEADER_BYTES + contents_bytes : start]
    table = canonical_json.decode(text, _Table, what="pack table", size_bytes_max=TABLE_BYTES_MAX)
    for one in table.members:
        _check_name(one.name)
    if any(a.name >= b.name for a, b in pairwise(table.members)):
        raise Malformed("pack-order", "pack: expected members rising by name, each once")
    if start + sum(one.size for one in table.members) != len(raw):
        raise Malformed(
            "pack-truncated",
            f"pack: its table describes {start + sum(one.size for one in table.members)} bytes, the file has {len(raw)}",
        )
    members: dict[str, bytes] = {}
    for one in table.members:
        members[one.name] = raw[start : start + one.size]
        start += one.size
        if sha256(members[one.name]) != one.sha256:
            raise Tampered("pack-member-altered", f"pack: member `{one.name}` is not what its table says")
    return Pack(contents, text, members)


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise Malformed(
            "pack-member-name", f"pack: expected a name as `records/00000000000000000007`, got {name[:80]!r}"
        )
