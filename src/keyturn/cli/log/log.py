"""`keyturn log`: look at the lab's log, prove what is in it, verify all of it, make again what was lost or damaged beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.names import Entry, EntryOrNone
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from keyturn.app.log.recover_notes import RecoveredNotes
    from keyturn.app.log.show_log import LogView
    from keyturn.app.log.verify_log import VerifiedLog
    from keyturn.app.oversight.erase_records import Asked
    from keyturn.ports import LogReader
    from keyturn.trust.history import TrustHistory

__all__ = ["app", "in_short"]

app = typer.Typer(help="The witnessed log: everything that the lab knows.", no_args_is_help=True)


@app.command()
def show(
    entry: EntryOrNone = None,
    last: Annotated[int, typer.Option(min=0, max=1000, help="How many entries to show.")] = 20,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Show the witnessed checkpoint and the last entries under it, each proved to be there; or one record whole.

    With ENTRY: the record's text, who signed it, whether that counted when it was logged, and what followed it. Reads all leaves.
    """
    from keyturn.adapters.clock import SystemClock
    from keyturn.app.log.show_log import show_log
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log import log_reader, trust_behind

    place = find_lab(lab)
    with log_reader(place) as reader:
        history = trust_behind(place, reader)
        if entry is None:
            trust = history.newest
            view = show_log(reader, log=trust.log, limits=trust.limits, clock=SystemClock(), last=last)
            output.emit(view, json=json, human=lambda screen: _show(screen, view))
            return
        _show_record(reader, entry, history, json=json)


def _show_record(reader: LogReader, entry: str, history: TrustHistory, *, json: bool) -> None:
    from keyturn.adapters.clock import SystemClock
    from keyturn.app.log.show_record import show_record
    from keyturn.cli.log import log_record

    with output.progress("reading the log", 0, json=json) as progress:
        found = show_record(reader, entry, history=history, clock=SystemClock(), progress=progress)
    output.emit(log_record.as_json(found), json=json, human=lambda screen: log_record.show(screen, found))


@app.command()
def prove(
    entry: Entry,
    out: Annotated[Path | None, typer.Option(help="Where to write the proof. Default: <entry>.tlog-proof")] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Write an offline proof (C2SP tlog-proof) that an entry is in the witnessed log."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.adapters.files.config_files import write_new
    from keyturn.app.log.prove_entry import prove_entry
    from keyturn.app.records.find_record import find_entry
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log import lab_index, log_reader, trust_behind

    place = find_lab(lab)
    with log_reader(place) as reader:
        found = None
        if not entry.isdecimal():
            with lab_index(place) as records:
                found = find_entry(reader, records, entry)
        index = int(entry) if found is None else found.index
        trust = trust_behind(place, reader).newest
        proof = prove_entry(reader, index=index, found=found, log=trust.log, limits=trust.limits, clock=SystemClock())
    path = out or Path(f"{entry}.tlog-proof")
    write_new(path, proof)
    output.emit(
        {"proof": str(path), "index": index},
        json=json,
        human=lambda screen: screen.print(f"{path}: entry {index} is in the witnessed log of {trust.lab}"),
    )


@app.command()
def verify(lab: Lab = None, json: Json = False) -> None:
    """Verify the whole log: batches, leaves, envelopes, tree and witnesses."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.app.log.verify_log import read_log, refuse_faults
    from keyturn.trust.void import joined
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log import log_reader, trust_behind, verify_batches

    place = find_lab(lab)
    with log_reader(place) as reader, output.progress("verifying", 0, json=json) as progress:
        history = trust_behind(place, reader)
        found = read_log(reader, history=history, clock=SystemClock(), progress=progress)
    if place.path is not None:
        verify_batches(
            place.path, size_min=found.size, faults=joined(range(f.index, f.index + 1) for f in found.faults)
        )
    refuse_faults(found)  # after the batches: what is damaged there is named as that
    output.emit(found, json=json, human=lambda screen: _verified(screen, found))


@app.command()
def reindex(lab: Lab = None, json: Json = False) -> None:
    """Rebuild what is derived from the log: its index, and tiles on disk. The same log gives the same bytes, or the same rows."""
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log import reindex as rebuild

    size = rebuild(find_lab(lab).directory)
    output.emit({"size": size}, json=json, human=lambda screen: screen.print(f"indexed {size} entries"))


@app.command()
def erase(
    owner: Annotated[
        str | None, typer.Option(help="For a log in PostgreSQL, its owner: postgresql://owner@host/database")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Erase the text of records whose tombstones are in force, where the log lies. The leaf stays, and with it every proof.

    Other copies stay until you see to them: docs/guide/personal-data.md names them.
    """
    from keyturn.wiring.access.grants import viewed
    from keyturn.wiring.log.tombstones import all_asked, erase_all

    with viewed(lab) as seen:
        with output.progress("reading the log", 0, json=json) as progress:
            found = all_asked(seen, progress=progress)
        due = [one for one in found if one.state == "due"]
        if due:
            output.warn("\n".join(f"  erase {one.id}, entry {one.index}" for one in due), json=json)
            output.confirm("Erase what these records say, for good?", yes=yes)
        count = erase_all(seen, due, owner=owner)
        after = all_asked(seen, progress=lambda count: None) if due else found
    output.emit({"erased": count, "tombstones": after}, json=json, human=lambda screen: _erased(screen, after, count))


def _erased(screen: Console, after: Sequence[Asked], count: int) -> None:
    from keyturn.cli.log.tombstone import asked_rows

    asked_rows(screen, after)
    if after:
        screen.print(f"erased now: {count}" if count else "erased now: 0, since nothing was due")


@app.command()
def recover(lab: Lab = None, json: Json = False) -> None:
    """Make `signed` and `checkpoint` of a log on disk again, when they are damaged or gone, from what its witnesses have seen.

    Writes nothing else, and nothing at all when the packs lack an entry that anybody has seen. What was damaged is put aside.
    """
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.recover_notes import recover as make_again

    found = make_again(find_lab(lab))
    output.emit(found, json=json, human=lambda screen: _recovered(screen, found))


@app.command()
def migrate(
    owner: Annotated[str, typer.Option(help="The database, as its owner: postgresql://owner@host/database")],
    service: Annotated[str, typer.Option(help="The role that the service runs as; it may append, and alter nothing.")],
    json: Json = False,
) -> None:
    """Make or update the schema of a log in PostgreSQL, and grant the service's role what it needs (docs/guide/postgresql.md)."""
    from keyturn.wiring.log.store import migrate_store, typed_store

    place = typed_store(owner)
    done = migrate_store(place, service=service)
    output.emit(
        {"store": str(place), "service": service, "steps": done},
        json=json,
        human=lambda screen: screen.print(output.plain(f"{place}: {done} new steps; `{service}` may append")),
    )


@app.command("new-key")
def new_key(lab: Lab = None, json: Json = False) -> None:
    """Give the log another key: makes it here, and puts it into the trust draft. The old one signs on beside it."""
    from keyturn.app.log.new_log_key import new_log_key
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log_keys import next_key_name
    from keyturn.wiring.trust.trust import lab_keys, trust_store

    directory = find_lab(lab).directory
    name = next_key_name(directory)
    key = new_log_key(name, keys=lab_keys(directory), store=trust_store(directory))
    output.emit(
        {"key": key.text, "keyid": key.keyid, "file": str(directory / "keys" / name)},
        json=json,
        human=lambda screen: screen.print(
            f"key {key.text}\n  in {directory / 'keys' / name}, and named in the draft"
            f"\nnext: keyturn trust propose, sign, publish; then each witness: keyturn witness log-key NAME"
        ),
    )


_ID_CELLS = len("req-") + 32


def _show(screen: Console, view: LogView) -> None:
    from keyturn.formats.posix_time import rfc3339

    screen.print(f"log        {view.origin}")
    screen.print(f"size       {view.size}")
    screen.print(f"root hash  {view.root}")
    screen.print(f"witnessed  by {', '.join(view.cosigners)} (quorum {view.quorum}), {view.age_s} s ago")
    cells = [
        (
            str(entry.index),
            entry.id,
            "" if entry.leaf.until is None else rfc3339(entry.leaf.until),
            "  ".join(map(in_short, entry.leaf.about)),
        )
        for entry in view.entries
    ]
    output.rows(screen, ("entry", "record", "until", "about"), cells)


def in_short(tag: str) -> str:
    """What `tag` says, with as much of a digest as tells it from others; `--json` has it whole."""
    kind, _, digest = tag.rpartition(":")
    return f"{kind}:{digest[:16]}" if len(digest) == 64 and not digest.strip("0123456789abcdef") else tag


def _recovered(screen: Console, found: RecoveredNotes) -> None:
    screen.print(f"log        {found.size} entries, of which its witnesses have seen {found.seen}")
    for made in found.made:
        what = "made when it is published next" if made.size is None else f"made again, of {made.size} entries"
        screen.print(output.plain(f"{made.which:<10} {what}{f'; put aside: log/{made.aside}' if made.aside else ''}"))
    screen.print("next: keyturn up" if found.made else "nothing is damaged")


def _verified(screen: Console, found: VerifiedLog) -> None:
    screen.print(f"verified   {found.size} entries of {found.origin}")
    screen.print(f"root hash  {found.root}")
    screen.print(f"witnessed  by {', '.join(found.cosigners)}")
    for fault in found.faults:
        why = ", which the lab declared void" if fault.void else ""
        why = why if fault.tombstone is None else f", by tombstone {fault.tombstone}"
        screen.print(f"{fault.what:<10} entry {fault.index}: {fault.id}{why}")
