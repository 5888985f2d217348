"""Records for a log in PostgreSQL, and its publishing without a key."""

from __future__ import annotations

from keyturn.adapters.postgres.log import LogInPostgres
from keyturn.tlog.frontier import Frontier
from support.log_records import make_records, note_of

__all__ = ["RECORDS", "publish"]

RECORDS = make_records(9)


def publish(log: LogInPostgres) -> Frontier:
    tree = log.settle()
    for which in ("signed", "checkpoint"):
        log.swap(which, log.note(which), note_of(tree))
    return tree
