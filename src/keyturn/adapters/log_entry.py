"""What a log takes as one entry, wherever it is kept."""

from __future__ import annotations

from keyturn.errors import Malformed
from keyturn.formats import leaf as leaf_format
from keyturn.formats.leaf import Leaf

__all__ = ["ENVELOPE_BYTES_MAX", "leaf_text"]

ENVELOPE_BYTES_MAX = 1 << 20


def leaf_text(envelope: bytes, leaf: Leaf) -> bytes:
    """The text of `leaf` that stands in the log for `envelope`; `Malformed` when either is too large for an entry."""
    text = leaf_format.render(leaf)
    if len(envelope) > ENVELOPE_BYTES_MAX:
        raise Malformed("record-too-large", f"expected at most {ENVELOPE_BYTES_MAX} bytes, got {len(envelope)}")
    return text
