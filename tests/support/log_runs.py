"""Fill a log on disk, and look whether all that it acknowledged is there."""

from __future__ import annotations

from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import leaf as leaf_format
from keyturn.formats import note as notes
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from support.log_records import make_records, note_of

__all__ = ["PACK_OF_TWO", "RECORDS", "check", "run"]

RECORDS = make_records(7)
PACK_OF_TWO = 1600
"""Bytes after which a pack is full: more than one of RECORDS makes, and less than two."""


def run(log: object, acknowledged: list[bytes], signed: list[int]) -> None:
    """Append, settle and sign, noting what was acknowledged."""
    written: list[bytes | None] = [None]
    for number, record in enumerate(RECORDS):
        assert log.append(record) == number  # type: ignore[attr-defined]
        acknowledged.append(record)
        if number % 3 == 1:
            note = note_of(log.settle())  # type: ignore[attr-defined]
            log.swap("signed", written[-1], note)  # type: ignore[attr-defined]
            signed.append(number + 1)
            written.append(note)


def check(log: object, acknowledged: list[bytes], signed: int = 0) -> None:
    """All of `acknowledged` is there, and a signed note of at least `signed` entries: no other tree of that size is signed."""
    note = log.note("signed")  # type: ignore[attr-defined]
    assert signed <= (0 if note is None else checkpoints.parse_body(notes.parse(note).text).size)
    frontier = log.settle()  # type: ignore[attr-defined]
    assert frontier.size >= len(acknowledged)
    leaves = log.leaves(0, frontier.size)  # type: ignore[attr-defined]
    assert Frontier.empty().extend(leaves) == frontier
    assert merkle.root_at(frontier.size, log.hashes) == frontier.root  # type: ignore[attr-defined]
    for record, leaf in zip(acknowledged, leaves, strict=False):
        assert leaf == leaf_format.render(leaf_of(record))
        assert log.envelope(sha256(record)) == record  # type: ignore[attr-defined]
