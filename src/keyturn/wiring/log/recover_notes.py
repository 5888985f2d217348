"""Join the recovery of a log's notes to this machine: the log in the lab's directory, and its witnesses wherever they are."""

from __future__ import annotations

from keyturn.adapters.log_on_disk.disk import PosixDisk
from keyturn.adapters.log_on_disk.held_still import held_still
from keyturn.app.log.recover_notes import RecoveredNotes, recover_notes
from keyturn.app.trust.lab_trust import read_history, still_founding
from keyturn.errors import Unavailable, Usage
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.store import store_of
from keyturn.wiring.log.witnesses import witnesses_of
from keyturn.wiring.trust.trust import own_pin, trust_store

__all__ = ["recover"]


def recover(place: LabPlace) -> RecoveredNotes:
    """Make the notes of the lab's log again where they are lost or damaged; `Usage` when the log lies in a database."""
    directory = place.directory
    if store_of(directory) is not None:
        raise Usage(
            "log-not-on-disk",
            "the lab's log is in a database, whose own backups and standbys restore it",
            hint="docs/guide/postgresql.md, Back up and restore",
        )
    history = read_history(trust_store(directory), pinned_sha256=own_pin(place))
    if history is None:
        raise still_founding("its log has no witnesses who could have seen it", trust_store(directory))
    log = history.newest.log
    earlier = tuple(one for one in history.logs_since(1) if one != log)
    with held_still(directory / "log", PosixDisk()) as held:
        try:
            return recover_notes(held, log=log, witnesses=witnesses_of(directory, *earlier, log), earlier=earlier)
        except Unavailable as err:
            if err.code != "witness-quorum":
                raise
            raise Unavailable(
                err.code,
                err.message,
                hint="start each of this machine's with `keyturn witness serve NAME`: `keyturn up` needs the log",
                detail=err.detail,
            ) from err
