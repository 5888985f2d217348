"""Put an original together that is larger than a record takes: its parts are records of their own, which the evidence names.

A part is its bytes, by the digest of the record that has them: whoever signed it adds nothing, and whoever lacks one has no
original. What is put together is of the size and the SHA-256 that the member signed, or it is refused.

This is NOT verification of what the original says: `custody.outside` does that, on the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keyturn.custody.evidence import Entry
from keyturn.errors import Refused
from keyturn.formats import dsse, statement
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.evidence import EVIDENCE_PART, Evidence, EvidencePart

__all__ = ["Parts", "original_of", "parts_in"]

Parts = Mapping[Sha256, EvidencePart]
"""Parts by the digest of their records."""


def parts_in(entries: Iterable[Entry]) -> Parts:
    """The parts in `entries`, each a record of kind `evp`."""
    found: dict[Sha256, EvidencePart] = {}
    for entry in entries:
        envelope = dsse.parse_own(entry.raw)
        found[envelope.record_digest] = statement.parse(envelope.payload, EvidencePart, EVIDENCE_PART).predicate
    return found


def original_of(evidence: Evidence, parts: Parts) -> bytes:
    """The whole original of `evidence`; `Refused` by name when a part is missing, or these are other bytes than it says."""
    if not evidence.parts:
        return evidence.original
    contents: list[bytes] = []
    for number, digest in enumerate(evidence.parts, 1):
        part = parts.get(Sha256(digest))
        if part is None:
            raise Refused(
                "evidence-part-missing",
                f"expected part {number} of {len(evidence.parts)} of its original, the record `evp-{digest[:32]}`, got none",
                hint="whoever gave you the log or the pack has it: without every part nobody can verify the original",
            )
        contents.append(part.content)
    whole = b"".join(contents)
    if (len(whole), sha256(whole)) != (evidence.size, evidence.digest):
        raise Refused(
            "evidence-digest",
            f"its parts are {len(whole)} bytes with the SHA-256 {sha256(whole)}, and the record says {evidence.size} "
            f"and {evidence.digest}",
        )
    return whole
