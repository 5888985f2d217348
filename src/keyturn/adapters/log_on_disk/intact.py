"""Which entries of a batch an index can rest on: whoever had the disk writes texts that are no leaf, and leaves of envelopes that
are not there. They count in the tree like any other, and are found by nothing that they only claim."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec

from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.formats.leaf import Leaf

__all__ = ["NO_LEAF", "intact"]

NO_LEAF = b""
"""In the place of a text that is no leaf."""

_LEAF = msgspec.json.Decoder(Leaf)


def intact(found: Batch) -> Batch:
    """The batch with `NO_LEAF` for each text that is none, and with length 0 for each envelope that is not its leaf's.

    Leaves that this process rendered are not read once more; what they say of their envelopes is held against these all the same.
    """
    named: tuple[str | None, ...] = tuple(map(_named, found.leaves)) if found.named is None else found.named
    raw, sha256 = memoryview(found.raw), hashlib.sha256
    digests = [sha256(raw[at : at + size]).hexdigest() for at, size in found.places]
    other = [i for i, (name, digest) in enumerate(zip(named, digests, strict=True)) if name != digest]
    if not other:
        return found
    leaves, places = list(found.leaves), list(found.places)
    for i in other:
        if named[i] is None:
            leaves[i] = NO_LEAF
        else:
            places[i] = (places[i][0], 0)
    return replace(found, leaves=tuple(leaves), places=tuple(places))


def _named(text: bytes) -> str | None:
    """The digest of the envelope that the leaf `text` names; None when it is no leaf."""
    try:
        return _LEAF.decode(text).envelope
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
