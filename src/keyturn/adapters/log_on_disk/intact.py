"""Which entries of a batch an index can rest on: whoever had the disk writes texts that are no leaf, and leaves of envelopes that
are not there. They count in the tree like any other, and are found by nothing that they only claim."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.formats.digest import sha256
from keyturn.formats.leaf import Leaf

__all__ = ["NO_LEAF", "Written", "intact"]

NO_LEAF = b""
"""In the place of a text that is no leaf."""

_LEAF = msgspec.json.Decoder(Leaf)


@dataclass(frozen=True, slots=True)
class Written:
    """What this process wrote as one batch: texts that it rendered from leaves, and the envelope that each of these names."""

    leaves: tuple[bytes, ...]
    named: tuple[str, ...]


def intact(found: Batch, written: Written | None = None) -> Batch:
    """The batch with `NO_LEAF` for each text that is none, and with length 0 for each envelope that is not its leaf's.

    `written` saves reading the texts once more, when they are still those.
    """
    named: tuple[str | None, ...]
    if written is not None and written.leaves == found.leaves:
        named = written.named
    else:
        named = tuple(map(_named, found.leaves))
    other = [i for i, (name, raw) in enumerate(zip(named, found.envelopes, strict=True)) if name != sha256(raw)]
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
