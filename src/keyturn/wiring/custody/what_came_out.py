"""Find in the log what came out of a step that was requested there.

The index is no evidence, and provenance is not verified here: `custody.verify` does that, for whoever rests on a chain.
"""

from __future__ import annotations

from contextlib import suppress

from keyturn.errors import KeyturnError
from keyturn.formats import dsse, provenance
from keyturn.formats.digest import Sha256
from keyturn.formats.provenance import Provenance
from keyturn.ports import IndexedRecord, LogReader, RecordIndex

__all__ = ["came_out_of"]


def came_out_of(index: RecordIndex, reader: LogReader, asked: IndexedRecord) -> tuple[Sha256, Provenance] | None:
    """The digest and content of the provenance that ends the step `asked`; segments of an attempt come on its way."""
    start = asked.index
    while found := index.of_kinds(("prv",), start=start):
        for one in found:
            with suppress(KeyturnError):  # another's build type, or a text that is gone
                made = provenance.read(dsse.parse_foreign(reader.envelope(one.envelope)).payload)
                if made.request == asked.record and made.segment is None:
                    return one.record, made
        start = found[-1].index + 1
    return None
