"""Join the log to this machine: open it, read it or write to it wherever it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.log_on_disk.pack import verify_packs
from keyturn.adapters.log_on_disk.reader import LogOnDiskReader
from keyturn.adapters.log_on_disk.reindex import reindex as reindex_packs
from keyturn.adapters.over_http.index_over_http import IndexOverHttp
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.log.publish_checkpoint import confirm_with_witnesses
from keyturn.app.records.quotas import Quotas
from keyturn.app.records.submit import Admission
from keyturn.app.trust.lab_trust import read_history, still_founding
from keyturn.formats.digest import sha256
from keyturn.ports import LogReader, LogWriter, RecordIndex
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState
from keyturn.wiring.lab.credentials import credentials_for
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.pinned_log import history_of
from keyturn.wiring.log.store import index_in, log_in, reader_of, reindex_store, store_of, verify_store
from keyturn.wiring.log.witnesses import witnesses_of
from keyturn.wiring.trust.trust import own_pin, trust_store

if TYPE_CHECKING:
    from keyturn.adapters.postgres.log import LogInPostgres

__all__ = [
    "LabLog",
    "lab_index",
    "lab_log",
    "log_reader",
    "log_writer",
    "reindex",
    "trust_behind",
    "verify_batches",
]


@dataclass(frozen=True, slots=True)
class LabLog:
    """The lab's log opened for writing, its index, and the door to it."""

    log: LogOnDisk | LogInPostgres
    index: RecordIndex
    admission: Admission

    def trust(self) -> TrustState:
        """The newest trust in the log; `Refused` while founding."""
        return self.admission.trust


@contextmanager
def lab_log(directory: Path, *, quotas: Quotas | None = None) -> Iterator[LabLog]:
    """Open the log of the lab in `directory` for writing; other processes may have it open as well."""
    with _kept(directory) as (log, index):
        admission = Admission(
            log=log,
            reader=log,
            index=index,
            root_sha256=lambda: _root_sha256(directory),
            clock=SystemClock(),
            quotas=quotas or Quotas(),
        )
        yield LabLog(log, index, admission)


@contextmanager
def _kept(directory: Path) -> Iterator[tuple[LogOnDisk | LogInPostgres, RecordIndex]]:
    store = store_of(directory)
    if store is not None:
        with log_in(store) as opened:
            yield opened
        return
    with _index_on_disk(directory) as index, LogOnDisk(directory / "log", index) as log:
        yield log, index


@contextmanager
def log_reader(place: LabPlace) -> Iterator[LogReader]:
    """Read the lab's log: over HTTP when only its address is known, else from its database or its files."""
    if place.path is None:
        assert place.url is not None
        yield LogOverHttp(place.url, credentials=credentials_for(place.url))
        return
    if (store := store_of(place.path)) is not None:
        with reader_of(store) as reader:
            yield reader
        return
    with _index_on_disk(place.path) as index:
        yield LogOnDiskReader(place.path / "log", index)


@contextmanager
def lab_index(place: LabPlace) -> Iterator[RecordIndex]:
    """The lab's index: its service's when only its address is known, else the one in its database or on this disk."""
    if place.path is None:
        assert place.url is not None
        yield IndexOverHttp(place.url, credentials=credentials_for(place.url))
        return
    if (store := store_of(place.path)) is not None:
        with index_in(store) as found:
            yield found
        return
    with _index_on_disk(place.path) as index:
        yield index


@contextmanager
def _index_on_disk(directory: Path) -> Iterator[IndexSqlite]:
    index = IndexSqlite(directory / "index.sqlite")
    try:
        yield index
    finally:
        index.close()


@contextmanager
def log_writer(place: LabPlace) -> Iterator[LogWriter]:
    """Append to the lab's log: through its service when one runs, else here, by the same admission.

    Here, a log that was published first asks its witnesses whether it is behind; `Unavailable` when they do not answer.
    """
    if place.service_url is not None:
        yield LogOverHttp(place.service_url, credentials=credentials_for(place.service_url))
        return
    with lab_log(place.directory) as opened:
        if any(opened.log.note(which) is not None for which in ("signed", "checkpoint")):
            log, earlier = opened.trust().log, opened.admission.earlier_logs
            everybody = witnesses_of(place.directory, *earlier, log)
            confirm_with_witnesses(opened.log, log=log, witnesses=everybody, earlier=earlier)
        yield _Admitted(opened.admission)


def reindex(directory: Path) -> int:
    """Rebuild index and tiles of the lab's log from what keeps it; return how many entries there are.

    A service that runs meanwhile goes on: it sees that its index was replaced, and derives tiles from the new mark.
    """
    if (store := store_of(directory)) is not None:
        return reindex_store(store)
    return reindex_packs(directory / "log", index=directory / "index.sqlite")


def verify_batches(directory: Path, *, size_min: int, faults: Sequence[range]) -> None:
    """Verify what keeps the lab's log, batch by batch, and that it holds at least `size_min` entries; of the `faults`
    that were named already the leaves alone."""
    if (store := store_of(directory)) is not None:
        verify_store(store, size_min=size_min)
    else:
        verify_packs(directory / "log", size_min=size_min, faults=faults)


def trust_behind(place: LabPlace, reader: LogReader) -> TrustHistory:
    """The lab's newest trust, from the root that you pinned: from the lab's directory, else from the log itself.

    At the lab's own directory without a pin, the root that lies there is taken: it then says nothing about whose lab it is.
    """
    if place.path is None:
        return history_of(reader)
    history = read_history(trust_store(place.path), pinned_sha256=own_pin(place))
    if history is None:
        raise still_founding("nothing is published yet", trust_store(place.path))
    return history


class _Admitted:
    """`LogWriter` through admission."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def append(self, envelope: bytes) -> int:
        return self._admission.submit(envelope).index


def _root_sha256(directory: Path) -> str:
    raw = trust_store(directory).read_file("root.json")
    return "0" * 64 if raw is None else sha256(raw)  # founding: no root matches, and nothing is admitted
