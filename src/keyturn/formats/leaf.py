"""Parse and render a log leaf: small canonical metadata, and a function of the record that it stands for.

    {"about":["gate:...","member:ada"],"envelope":"<sha256>","kind":"req","record":"<sha256>","until":1790000000}

`record` is the SHA-256 of the payload, `envelope` of the whole envelope as stored, `about` the sorted tags of whatever is
concerned (docs/formats/leaf.md has the table by kind), `until` when a record stops mattering to a gate. Verifiers
compute the leaf again from the record (`formats.records.leaf_of`) and prove that one, so a leaf cannot lie about its record.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.text import HexDigest, PosixTime

__all__ = ["KINDS", "LEAF_BYTES_MAX", "NEGATIVES", "Kind", "Leaf", "parse", "render"]

Kind = Literal[
    "apr",
    "brk",
    "chk",
    "crt",
    "den",
    "dep",
    "dsp",
    "evd",
    "evp",
    "lft",
    "ofr",
    "prv",
    "rcd",
    "rcv",
    "rel",
    "req",
    "rev",
    "rot",
    "rvw",
    "src",
    "stp",
    "sus",
    "tgt",
    "tmb",
    "tst",
    "use",
    "vsa",
]
KINDS: frozenset[str] = frozenset(get_args(Kind))
NEGATIVES: frozenset[Kind] = frozenset({"den", "rev", "sus"})
"""Kinds that take access away: a gate that cannot read one of these treats its target as unknown, so as refused."""

TAGS_MAX = 128
LEAF_BYTES_MAX = 16 * 1024
"""A leaf's length fits the uint16 of a C2SP entry bundle with room to spare."""

Tag = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9]{1,16}:[!-~]{1,1100}\Z")]


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What the log says of one record. `about` is sorted, each tag once."""

    kind: Kind
    record: HexDigest
    envelope: HexDigest
    about: Annotated[tuple[Tag, ...], Meta(max_length=TAGS_MAX)] = ()
    until: PosixTime | None = None

    def __post_init__(self) -> None:
        if any(a >= b for a, b in zip(self.about, self.about[1:], strict=False)):
            raise ValueError("expected the tags in `about` sorted and each once")

    def tagged(self, what: str) -> str:
        """The value of the first tag `what` (as `request`, whose digest it gives); empty when there is none."""
        return next((tag.partition(":")[2] for tag in self.about if tag.startswith(f"{what}:")), "")


def parse(raw: bytes) -> Leaf:
    """Parse the leaf `raw`, or raise `Malformed`."""
    return canonical_json.decode(raw, Leaf, what="leaf", size_bytes_max=LEAF_BYTES_MAX)


def render(leaf: Leaf) -> bytes:
    """Render `leaf`; the bytes whose hash is in the tree. `Malformed` for a leaf that `parse` would refuse as too large."""
    if len(leaf.about) > TAGS_MAX:
        raise Malformed("leaf-too-large", f"leaf: expected at most {TAGS_MAX} tags in `about`, got {len(leaf.about)}")
    raw = canonical_json.encode(leaf)
    if len(raw) > LEAF_BYTES_MAX:
        raise Malformed("leaf-too-large", f"leaf: expected at most {LEAF_BYTES_MAX} bytes, got {len(raw)}")
    return raw
