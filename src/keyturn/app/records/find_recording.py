"""Find what the log says of one recording: each `recording/v1` for its digest, with the proof of its place.

Every leaf is looked at, and no index is asked: an index could hide the bastion's word, and a recording that the log has would
look like one that somebody made. Nothing is verified here; `grants.recorded` does that.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.errors import Malformed, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.recording import Recording
from keyturn.grants.recorded import LoggedWord
from keyturn.ports import LogReader
from keyturn.tlog import merkle

__all__ = ["find_recording"]

_LEAVES = 1024


def find_recording(reader: LogReader, recording: Sha256, *, request: str, size: int) -> tuple[LoggedWord, ...]:
    """What may be the word for `recording`, made under `request`, among the first `size` entries, in their order.

    Raises `Unavailable` when there is none, and a word for some recording of that request cannot be read.
    """
    unread: list[int] = []
    found = []
    for index, envelope in _words(reader, request=request, size=size):
        try:
            raw = reader.envelope(envelope)
        except Unavailable:
            unread.append(index)
            continue
        if _is_for(raw, recording):
            found.append(LoggedWord(raw, index, tuple(merkle.inclusion_proof(index, size, reader.hashes))))
    if unread and not found:
        raise Unavailable(
            "recording-unread",
            f"the log has words for recordings of req-{request[:32]} that cannot be read: entries "
            + ", ".join(map(str, unread[:20])),
            hint="keyturn log verify",
        )
    return tuple(found)


def _words(reader: LogReader, *, request: str, size: int) -> Iterator[tuple[int, Sha256]]:
    for start in range(0, size, _LEAVES):
        for index, raw in enumerate(reader.leaves(start, min(start + _LEAVES, size)), start):
            if b'"kind":"rcd"' not in raw:  # parsing each leaf of a long log takes a while
                continue
            try:
                leaf = leaf_format.parse(raw)
            except Malformed:
                continue
            if leaf.kind == "rcd" and leaf.tagged("request") == request:
                yield index, Sha256(leaf.envelope)


def _is_for(raw: bytes, recording: Sha256) -> bool:
    try:
        said = records.parse(raw).statement.predicate
    except Malformed:
        return False
    return isinstance(said, Recording) and said.digest == recording
