"""Publish an in-memory log: sign its tree with the lab's log key, and cosign it with its witnesses' keys."""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.formats import note as notes
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.note import Note
from keyturn.tlog import signing
from support.labs import NOW, Lab

__all__ = ["log_of", "publish", "witnessed_note"]


def witnessed_note(lab: Lab, size: int, root: bytes, *, at: int = NOW, witnesses: Iterable[str] | None = None) -> bytes:
    """A checkpoint of the lab's log, cosigned at `at` by `witnesses` (all unless said)."""
    checkpoint = Checkpoint(lab.state.log.origin, size, root)
    signed = signing.sign_checkpoint(checkpoint, lab.log_key)
    names = tuple(lab.witness_keys) if witnesses is None else tuple(witnesses)
    made = tuple(signing.cosign(checkpoint, name=name, key=lab.witness_keys[name], at=at) for name in names)
    return notes.render(Note(signed.text, (*signed.signatures, *made)))


def publish(lab: Lab, log: LogInMemory, *, at: int = NOW) -> bytes:
    """Publish the log's tree as it is now."""
    tree = log.settle()
    note = witnessed_note(lab, tree.size, tree.root, at=at)
    log.swap("checkpoint", log.note("checkpoint"), note)
    return note


def log_of(lab: Lab, records: Iterable[bytes], *, at: int = NOW) -> LogInMemory:
    """A published log that holds `records`."""
    log = LogInMemory()
    for raw in records:
        log.append(raw)
    publish(lab, log, at=at)
    return log
