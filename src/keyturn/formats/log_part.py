"""A part of the log, carried in a file to a machine that does not reach the log: the leaves from one on, and some records.

    {"envelopes":["<base64>",...],"leaves":["<base64>",...],"note":"<base64>","start":17,"type":"keyturn-log-part/v1"}

Canonical JSON. `leaves` are those from `start` up to the checkpoint `note`. It is not signed and not believed: whoever reads it
holds the leaves against the tree that he knows and the checkpoint against the witnesses, as of the log itself. Normative page
docs/formats/log-part.md.
"""

from __future__ import annotations

import msgspec

from keyturn.formats import canonical_json
from keyturn.formats.text import Size

__all__ = ["PART_BYTES_MAX", "LogPart", "parse", "render"]

PART_BYTES_MAX = 1 << 30


class LogPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="keyturn-log-part/v1"):
    """The log's leaves from `start` on, up to the checkpoint `note`, with those records that its reader needs."""

    start: Size
    note: bytes
    leaves: tuple[bytes, ...]
    envelopes: tuple[bytes, ...]


def parse(raw: bytes) -> LogPart:
    """Parse `raw`, or raise `Malformed`."""
    return canonical_json.decode(raw, LogPart, what="part of a log", size_bytes_max=PART_BYTES_MAX)


def render(value: LogPart) -> bytes:
    """Render the canonical text of `value`."""
    return canonical_json.encode(value)
