"""Name and encode the members of a pack: the pack index, a checkpoint, the tree before it, leaves, records, statements.

    checkpoint            the signed note, with cosignatures, of the log at size M
    files.json            the model's manifest (`formats.manifest`), if the gate hashed its files
    frontier.json         {"nodes":["<hex>",...],"size":N}: the tree of the first N leaves, as a compact range
    index.json            the pack index over the log at size N (`custody.pack_index`)
    leaves                leaves N to M - 1, each a 2-byte big-endian length and its bytes (as in a C2SP entry bundle)
    proofs                for each record, in order: 1 byte count, and that many hashes of 32 bytes: its inclusion proof
    records/<20 digits>   the record at that log index, as the log holds it
    release.json          the release statement (in-toto release/v0.2), signed by the gate
    vsa.json              the verification summary (SLSA), signed by the gate

Normative page docs/formats/pack.md. Anything else in a pack is refused: above all a root, which a reader brings himself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.leaf import LEAF_BYTES_MAX
from keyturn.formats.text import HexDigest, Size

__all__ = [
    "CHECKPOINT",
    "FILES",
    "FRONTIER",
    "INDEX",
    "LEAVES",
    "PROOFS",
    "RELEASE_STATEMENT",
    "SUMMARY",
    "check_names",
    "hashes_of",
    "parse_frontier",
    "parse_leaves",
    "parse_proofs",
    "record_index",
    "record_name",
    "render_frontier",
    "render_leaves",
    "render_proofs",
]

CHECKPOINT = "checkpoint"
FILES = "files.json"
FRONTIER = "frontier.json"
INDEX = "index.json"
LEAVES = "leaves"
PROOFS = "proofs"
RELEASE_STATEMENT = "release.json"
SUMMARY = "vsa.json"

_FIXED = frozenset({CHECKPOINT, FRONTIER, INDEX, LEAVES, PROOFS, RELEASE_STATEMENT, SUMMARY})
_RECORD = re.compile(r"records/([0-9]{20})\Z")


class _Frontier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    nodes: Annotated[tuple[HexDigest, ...], Meta(max_length=64)]
    size: Size


def record_name(index: int) -> str:
    """The member that holds the record at log `index`."""
    return f"records/{index:020d}"


def record_index(name: str) -> int | None:
    """The log index of a record's member; `None` for other members."""
    found = _RECORD.match(name)
    return int(found.group(1)) if found else None


def check_names(names: Iterable[str]) -> dict[int, str]:
    """Refuse members that no pack has, and a pack that lacks one that every pack has; give the names of its records by log
    index, rising."""
    given = set(names)
    places: dict[int, str] = {}
    for name in sorted(given - _FIXED - {FILES}):
        index = record_index(name)
        if index is None:
            raise Malformed(
                "pack-member-unknown",
                f"pack: `{name}` is no member of a pack",
                hint="a pack never brings a root: that comes from whoever verifies",
            )
        places[index] = name
    missing = sorted(_FIXED - given)
    if missing:
        raise Malformed("pack-member-missing", f"pack: expected the member `{missing[0]}`, got none")
    return places


def render_frontier(size: int, nodes: Sequence[bytes]) -> bytes:
    """Render a compact range from leaf 0."""
    return canonical_json.encode(_Frontier(nodes=tuple(node.hex() for node in nodes), size=size))


def parse_frontier(raw: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Parse a compact range: its size and its nodes, largest first."""
    found = canonical_json.decode(raw, _Frontier, what="frontier", size_bytes_max=8192)
    return found.size, tuple(bytes.fromhex(node) for node in found.nodes)


def render_leaves(leaves: Sequence[bytes]) -> bytes:
    """Render leaves one after the other."""
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def parse_leaves(raw: bytes) -> tuple[bytes, ...]:
    """Parse leaves; refuses a broken end and leaves that are longer than any is."""
    found = []
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 2], "big")
        end = at + 2 + size
        if not 1 <= size <= LEAF_BYTES_MAX or end > len(raw):
            raise Malformed("pack-leaves", f"pack: expected a leaf at byte {at} of `{LEAVES}`, got {size} bytes of one")
        found.append(raw[at + 2 : end])
        at = end
    return tuple(found)


def render_proofs(proofs: Iterable[bytes]) -> bytes:
    """Render the inclusion proofs of the pack's records, in the records' order: of each its hashes, one after the other."""
    return b"".join(bytes((len(proof) // 32,)) + proof for proof in proofs)


def parse_proofs(raw: bytes, *, count: int) -> tuple[bytes, ...]:
    """Parse exactly `count` inclusion proofs: of each its hashes, one after the other, which `hashes_of` takes apart."""
    found: list[bytes] = []
    at = 0
    for _ in range(count):
        end = at + 1 + 32 * raw[at] if at < len(raw) else len(raw) + 1
        if end > len(raw):
            raise Malformed("pack-proofs", f"pack: expected {count} proofs in `{PROOFS}`, got {len(found)}")
        found.append(raw[at + 1 : end])
        at = end
    if at != len(raw):
        raise Malformed("pack-proofs", f"pack: expected {count} proofs in `{PROOFS}`, got more")
    return tuple(found)


def hashes_of(proof: bytes) -> tuple[bytes, ...]:
    """The hashes of one proof."""
    return tuple([proof[at : at + 32] for at in range(0, len(proof), 32)])
