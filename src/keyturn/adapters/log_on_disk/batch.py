"""The batch format: what one append to a pack writes (normative page docs/formats/log-on-disk.md).

    offset  size
         0     8   magic: ff 4b 54 42 41 54 43 31  ("\\xffKTBATC1"; no JSON text contains ff)
         8     8   index of the first entry
        16     4   count of entries, 1 to COUNT_MAX
        20     4   length of the envelopes section
        24     4   length of the leaves section
        28     4   length of the frontier section: 32 for each set bit of (first index + count)
        32         envelopes: each a 4-byte length and the envelope
                   leaves: each a 2-byte length and the leaf (a C2SP entry bundle)
                   frontier: the tree hashes of the complete subtrees that make the tree after this batch, largest first
                   SHA-256 of everything above

All numbers are big-endian. This is NOT where files are: `pack` puts batches into them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from keyturn.errors import Tampered
from keyturn.formats.tile import ENTRY_BYTES_MAX
from keyturn.tlog import merkle

__all__ = [
    "COUNT_MAX",
    "HEADER_BYTES",
    "MAGIC",
    "SECTION_BYTES_MAX",
    "Batch",
    "Header",
    "parse",
    "parse_header",
    "render",
    "written",
]

MAGIC = b"\xffKTBATC1"
HEADER_BYTES = 32
COUNT_MAX = 1024
SECTION_BYTES_MAX = 16 << 20
_DIGEST_BYTES = 32

_HEADER = struct.Struct(">8sQIIII")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class Header:
    """The lengths that a batch claims, checked to be possible; its digest is not looked at yet."""

    first: int
    count: int
    envelopes_bytes: int
    leaves_bytes: int
    frontier_bytes: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole batch."""
        return HEADER_BYTES + self.envelopes_bytes + self.leaves_bytes + self.frontier_bytes + _DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive entries as they were made durable together. `places` is (offset in `raw`, length) of each envelope, `hashes`
    are those of the leaves in the tree.

    `named` is the digest that each leaf has for its envelope, when whoever made the batch rendered the leaves itself.
    """

    first: int
    raw: bytes
    leaves: tuple[bytes, ...]
    hashes: tuple[bytes, ...]
    frontier: tuple[bytes, ...]
    places: tuple[tuple[int, int], ...]
    size_bytes: int
    digest: bytes
    named: tuple[str, ...] | None = None

    @property
    def envelopes(self) -> list[bytes]:
        """The envelopes, out of `raw`."""
        return [self.raw[at : at + size] for at, size in self.places]

    @property
    def end(self) -> int:
        """Index after the last entry."""
        return self.first + len(self.leaves)


def render(first: int, envelopes: Sequence[bytes], leaves: Sequence[bytes], frontier: Sequence[bytes]) -> bytes:
    """Render one batch. `envelopes` and `leaves` are of equal length; `frontier` is that of the tree after them."""
    if not 1 <= len(envelopes) == len(leaves) <= COUNT_MAX:
        raise ValueError(f"expected 1 to {COUNT_MAX} entries, got {len(envelopes)} envelopes and {len(leaves)} leaves")
    count = len(leaves)
    envelopes_bytes = 4 * count + sum(map(len, envelopes))
    leaves_bytes = 2 * count + sum(map(len, leaves))
    parts = [_HEADER.pack(MAGIC, first, count, envelopes_bytes, leaves_bytes, 32 * len(frontier))]
    for envelope in envelopes:
        parts += (_U32.pack(len(envelope)), envelope)
    for leaf in leaves:
        parts += (_U16.pack(len(leaf)), leaf)
    content = b"".join([*parts, *frontier])
    return content + hashlib.sha256(content).digest()


def written(
    raw: bytes,
    first: int,
    *,
    envelopes: Sequence[bytes],
    leaves: Sequence[bytes],
    hashes: Sequence[bytes],
    frontier: tuple[bytes, ...],
    named: tuple[str, ...] | None,
) -> Batch:
    """What `parse` would make of `raw`, which was rendered from all these a moment ago; without `raw` itself, for it is large."""
    sizes = [len(envelope) for envelope in envelopes]
    starts = accumulate(sizes, lambda at, size: at + size + _U32.size, initial=HEADER_BYTES + _U32.size)
    places = tuple(zip(starts, sizes, strict=False))  # the last start is where an envelope after them would be
    digest = raw[-_DIGEST_BYTES:]
    return Batch(first, b"", tuple(leaves), tuple(hashes), frontier, places, len(raw), digest, named)


def parse_header(raw: bytes) -> Header | None:
    """Read a batch's first `HEADER_BYTES`; `None` when they are no header of a possible batch."""
    if len(raw) < HEADER_BYTES:
        return None
    magic, first, count, envelopes, leaves, frontier = _HEADER.unpack(raw[:HEADER_BYTES])
    possible = (
        magic == MAGIC
        and 1 <= count <= COUNT_MAX
        and first < 2**53
        and 5 * count <= envelopes <= SECTION_BYTES_MAX
        and 2 * count <= leaves <= count * (ENTRY_BYTES_MAX + 2)
        and frontier == 32 * (first + count).bit_count()
    )
    return Header(first, count, envelopes, leaves, frontier) if possible else None


def parse(raw: bytes, known: Batch | None = None) -> Batch | None:
    """Read a whole batch; `None` when it is not intact (its digest is not that of its content).

    `known` is what this process wrote there: bytes of the same SHA-256 are the same bytes, and are not taken apart again.

    Raises `Tampered` when the digest is right and the content is no batch: no crash can do that.
    """
    header = parse_header(raw)
    if header is None or len(raw) != header.size_bytes:
        return None
    digest = hashlib.sha256(memoryview(raw)[:-_DIGEST_BYTES]).digest()
    if digest != raw[-_DIGEST_BYTES:]:
        return None
    if known is not None and known.digest == digest:
        return replace(known, raw=raw)
    leaves_at = HEADER_BYTES + header.envelopes_bytes
    frontier_at = leaves_at + header.leaves_bytes
    places = _split(raw, HEADER_BYTES, leaves_at, _U32)
    leaf_places = _split(raw, leaves_at, frontier_at, _U16)
    if not len(places) == len(leaf_places) == header.count:
        raise Tampered("log-batch", f"batch at entry {header.first}: its digest is right and its counts are not")
    leaves = tuple([raw[at : at + size] for at, size in leaf_places])
    return Batch(
        first=header.first,
        raw=raw,
        leaves=leaves,
        hashes=tuple(merkle.leaf_hashes(leaves)),
        frontier=tuple(raw[at : at + 32] for at in range(frontier_at, len(raw) - _DIGEST_BYTES, 32)),
        places=tuple(places),
        size_bytes=len(raw),
        digest=digest,
    )


def _split(raw: bytes, at: int, end: int, length: struct.Struct) -> list[tuple[int, int]]:
    found = []
    while at + length.size <= end:
        (size,) = length.unpack_from(raw, at)
        at += length.size
        if at + size > end:
            break
        found.append((at, size))
        at += size
    return found if at == end else []
