"""A published lab in a directory, each of whose files can be spoiled, and every program that then has to read them.

The programs run in a child that is not root, may use little memory, and is interrupted when it hangs.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.pushed_files import PushedFiles
from keyturn.adapters.files.release_journal import ReleaseJournalFiles
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.app.log.cosign_checkpoint import cosign_checkpoint
from keyturn.app.log.verify_log import read_log, refuse_faults
from keyturn.cli.next_steps import next_step
from keyturn.errors import KeyturnError
from keyturn.formats import add_checkpoint
from keyturn.formats import note as notes
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.decision import Decision
from keyturn.formats.digest import Sha256, sha256
from keyturn.tlog import merkle
from keyturn.wiring.gates.release import init_gate, open_release_gate
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import lab_log, log_reader, reindex, trust_behind, verify_batches
from keyturn.wiring.log.witness import init_witness, open_witness
from support.lab_on_disk import put_on_disk
from support.labs import make_lab
from support.log_records import make_record, make_records
from support.witnessed import witnessed_note

__all__ = ["FILES", "PROGRAMS", "STATES", "Outcome", "attempts", "spoilable"]

ENTRIES = 260
"""A full tile, and partial ones."""
HANGS_S = 5
_MEMORY = Path("/dev/shm")
"""Where nothing is synced: there are a thousand copies."""
MEMORY_BYTES_MAX = 3 << 30
NOBODY = 65534
REQUEST = Sha256("7" * 64)
ORIGIN = "log.acme.example"

FILES: Mapping[str, tuple[str, ...]] = {
    "log": (
        *(
            "keyturn.toml",
            "trust/root.json",
            "trust/versions/000001.json",
            "index.sqlite",
            "log/signed",
            "log/checkpoint",
        ),
        *(
            "log/derived",
            "log/erasing",
            "log/lock",
            "log/settle.lock",
            "log/checkpoint.lock",
            "log/envelopes/0000000000000000.pack",
        ),
        *(
            "log/tile/0/000",
            "log/tile/0/001.p/4",
            "log/tile/1/000.p/1",
            "log/tile/entries/000",
            "log/tile/entries/001.p/4",
        ),
    ),
    "gate": (
        *("gates/release/gate.toml", "gates/release/root.json", "gates/release/key"),
        *(f"gates/release/state/{REQUEST}.{kind}" for kind in ("use", "pack")),
        *(f"gates/release/state/pushed/{REQUEST}", f"gates/release/state/decisions/{0:016}.jsonl"),
    ),
    "witness": (
        *("witness/north/key", "witness/north/witness.toml", "witness/north/lock"),
        f"witness/north/state/{sha256(ORIGIN.encode())}",
    ),
}
"""Every file of a lab's directory that a program of its own reads, by what it belongs to."""


@contextmanager
def spoilable() -> Iterator[Path]:
    """A lab with a published log, and a witness and a gate that have been used; whoever is not root may work in it."""
    with tempfile.TemporaryDirectory(prefix="keyturn-spoiled-", dir=_MEMORY if _MEMORY.is_dir() else None) as named:
        place = Path(named) / "lab"
        lab, now = make_lab(now=int(time.time())), int(time.time())
        put_on_disk(lab, place)
        with closing(IndexSqlite(place / "index.sqlite")) as index, LogOnDisk(place / "log", index) as log:
            log.append_leaves([])
            for raw in make_records(ENTRIES - 2):
                log.append(raw)
            tree = log.settle()
            note = witnessed_note(lab, tree.size, tree.root, at=now)
            log.swap("signed", None, note)
            log.swap("checkpoint", None, note)
        north = place / "witness" / "north"
        init_witness(north, name="north", logs={ORIGIN: lab.log_key.public})
        with open_witness(north) as (witnessing, store):
            first = add_checkpoint.render(AddCheckpoint(0, (), notes.parse(note)))
            cosign_checkpoint(witnessing, first, store=store, clock=SystemClock())
        init_gate(find_lab(str(place)), name="release", pin=lab.root_sha256)
        state = place / "gates" / "release" / "state"
        ReleaseJournalFiles(state).keep_use(REQUEST, make_record(1))
        ReleaseJournalFiles(state).keep_pack(REQUEST, b"a pack")
        PushedFiles(state / "pushed").keep(REQUEST, make_record(2))
        DecisionFiles(state / "decisions").keep(_decision())
        Path(named).chmod(0o755)
        yield place


def _decision() -> Decision:
    return Decision(
        version=1, sequence=0, at=int(time.time()), gate="keyturn://acme.example/gate/release", outcome="refused"
    )


def _write(place: Path) -> None:
    with lab_log(place) as opened:
        opened.log.settle()
        opened.log.note("signed")
        opened.log.note("checkpoint")


def _read(place: Path) -> None:
    with log_reader(find_lab(str(place))) as reader:
        reader.checkpoint()
        reader.leaves(0, ENTRIES)
        merkle.root_at(ENTRIES, reader.hashes)
        reader.envelope(Sha256(sha256(make_record(7))))


def _verify(place: Path) -> None:
    found = find_lab(str(place))
    with log_reader(found) as reader:
        history = trust_behind(found, reader)
        read = read_log(reader, history=history, clock=SystemClock(), progress=lambda _: None)
    verify_batches(place, size_min=read.size, faults=())
    refuse_faults(read)


def _gate(place: Path) -> None:
    open_release_gate(find_lab(str(place)), "release")
    state = place / "gates" / "release" / "state"
    journal = ReleaseJournalFiles(state)
    journal.use(REQUEST)
    journal.pack(REQUEST)
    PushedFiles(state / "pushed").kept()
    list(DecisionFiles(state / "decisions").read(start=0))
    DecisionFiles(state / "decisions").keep(_decision())


def _witness(place: Path) -> None:
    with open_witness(place / "witness" / "north") as (witnessing, store):
        note = notes.parse((place / "note").read_bytes())
        proof = AddCheckpoint(ENTRIES, (), note)
        cosign_checkpoint(witnessing, add_checkpoint.render(proof), store=store, clock=SystemClock())


PROGRAMS: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "the log's writer": (_write, "log"),
    "a reader of the log": (_read, "log"),
    "log verify": (_verify, "log"),
    "log reindex": (reindex, "log"),
    "the gate": (_gate, "gate"),
    "the witness": (_witness, "witness"),
}


def _absent(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x00garbage\xff{" * 40)


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "in it").write_bytes(b"so that it cannot be replaced")


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _unreadable(path: Path) -> None:
    path.chmod(0)


STATES: Mapping[str, Callable[[Path], None]] = {
    "absent": _absent,
    "empty": _empty,
    "garbage": _garbage,
    "truncated": _truncated,
    "a directory": _directory,
    "a link to nowhere": _dangling,
    "a link to /dev/zero": _endless,
    "a pipe that nobody writes to": _pipe,
    "unreadable": _unreadable,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: the code and hint of an error of ours; or what else went wrong, and where; or nothing."""

    name: str
    code: str
    hint: str
    defect: str


@cache
def attempts(place: Path, program: str, state: str) -> tuple[Outcome, ...]:
    """Spoil each file that `program` reads, one at a time in a copy of the lab at `place`, and run it. Each is tried once."""
    run, belongs = PROGRAMS[program]
    _import_all(place, program)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
            signal.signal(signal.SIGALRM, _hanging)
            made = [_attempt(place, run, name, STATES[state]) for name in FILES[belongs]]
            with os.fdopen(write_end, "w") as out:
                json.dump(made, out)
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as said:
        text = said.read()
    os.waitpid(child, 0)
    return tuple(Outcome(*one) for one in json.loads(text))


@cache
def _import_all(place: Path, program: str) -> None:
    """Run `program` over a lab that is whole: who is not root may not read where its modules lie."""
    _in_copy(place, PROGRAMS[program][0], lambda _: None)


def _hanging(*_: object) -> None:
    raise TimeoutError("it hangs")


def _attempt(place: Path, run: Callable[[Path], object], name: str, spoil: Callable[[Path], None]) -> tuple[str, ...]:
    signal.alarm(HANGS_S)
    try:
        _in_copy(place, run, lambda copy: _spoiled(copy / name, spoil))
    except KeyturnError as err:
        return name, err.code, next_step(err), ""
    except PermissionError as err:  # the border of the command line says what that means
        return name, "permission-denied", f"{err.filename}", ""
    except (Exception, MemoryError) as err:  # noqa: BLE001  # whatever it is, it is what the table must not show
        where = traceback.extract_tb(err.__traceback__)[-1]
        return name, "", "", f"{type(err).__name__}: {err} at {where.filename.rpartition('/')[2]}:{where.lineno}"
    finally:
        signal.alarm(0)
    return name, "", "", ""


def _spoiled(path: Path, spoil: Callable[[Path], None]) -> None:
    path.touch()  # some are there only for a moment
    spoil(path)


def _in_copy(place: Path, run: Callable[[Path], object], spoil: Callable[[Path], None]) -> None:
    copy = Path(tempfile.mkdtemp(prefix="copy-", dir=place.parent)) / "lab"
    try:
        shutil.copytree(place, copy)
        shutil.copy(place / "log" / "checkpoint", copy / "note")
        spoil(copy)
        with _as_nobody(copy.parent):
            run(copy)
    finally:
        shutil.rmtree(copy.parent)


@contextmanager
def _as_nobody(place: Path) -> Iterator[None]:
    """Work in `place` as a user who is not root."""
    if os.geteuid() != 0:
        yield
        return
    for directory, _, files in os.walk(place):
        for name in (directory, *(os.path.join(directory, file) for file in files)):
            os.chown(name, NOBODY, NOBODY, follow_symlinks=False)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
