"""Which entries of a batch an index can rest on: whoever had the disk writes texts that are no leaf, and leaves of envelopes that
are not there. They count in the tree like any other, and are found by nothing that they only claim."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.formats.digest import sha256
from keyturn.formats.leaf import Leaf

__all__ = ["NO_LEAF", "intact"]

NO_LEAF = b""
"""In the place of a text that is no leaf."""

_LEAF = msgspec.json.Decoder(Leaf)


def intact(found: Batch) -> Batch:
    """The batch with `NO_LEAF` for each text that is none, and with length 0 for each envelope that is not its leaf's."""
    leaves, places = list(found.leaves), list(found.places)
    for i, (text, envelope) in enumerate(zip(found.leaves, found.envelopes, strict=True)):
        try:
            leaf = _LEAF.decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            leaves[i] = NO_LEAF
            continue
        if leaf.envelope != sha256(envelope):
            places[i] = (places[i][0], 0)
    return replace(found, leaves=tuple(leaves), places=tuple(places))
