"""Find the witnesses of a lab's log: the processes of this lab, and the addresses in keyturn.toml."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from keyturn.adapters.files import run_files
from keyturn.adapters.over_http.witness_over_http import WitnessOverHttp
from keyturn.adapters.over_http.witnesses_at_once import WitnessesAtOnce
from keyturn.errors import Unavailable
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.note import NoteSignature
from keyturn.ports import Witnesses
from keyturn.trust.roster import Log
from keyturn.wiring.lab.lab_file import read_lab_file

__all__ = ["witness_address", "witnesses_of"]


def witnesses_of(directory: Path, *logs: Log) -> Witnesses:
    """How to reach each witness of `logs`: the address in keyturn.toml, or that of a process of this lab."""
    names = {witness.name for log in logs for witness in log.witnesses}
    return WitnessesAtOnce({name: _FoundWitness(partial(witness_address, directory, name)) for name in names})


def witness_address(directory: Path, name: str) -> str | None:
    """Where the witness `name` of the lab in `directory` answers: its process here, or what keyturn.toml says."""
    running = run_files.find(directory / "run", f"witness-{name}")
    if running is not None:
        return running
    return read_lab_file(directory).witnesses.get(name)


class _FoundWitness:
    """A witness whose address is looked up for each call: a process that starts again has another one."""

    def __init__(self, find: Callable[[], str | None]) -> None:
        self._find = find
        self._known: dict[str, WitnessOverHttp] = {}

    def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
        return self._witness().add_checkpoint(request)

    def newest(self, origin: str) -> bytes | None:
        return self._witness().newest(origin)

    def _witness(self) -> WitnessOverHttp:
        url = self._find()
        if url is None:
            raise Unavailable("witness-address", "no address of the witness is known", hint="keyturn up")
        if url not in self._known:
            self._known = {url: WitnessOverHttp(url)}
        return self._known[url]
