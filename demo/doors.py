"""What somebody does who does not use `keyturn` as told: writes past the log's admission, and goes to a door by himself.

An attempt is shown in a sentence with what it was answered; one that goes through ends the demo.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from demo.founding import DemoLab
from demo.people import Stop
from keyturn.adapters.clock import SystemClock, pause
from keyturn.adapters.files.run_files import find
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.errors import KeyturnError
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import dsse
from keyturn.formats import note as notes
from keyturn.formats.dsse import Envelope
from keyturn.formats.records import leaf_of
from keyturn.wiring.log.log import LabLog

__all__ = ["attempt", "process_url", "write_past_admission"]


def write_past_admission(service: LabLog, *envelopes: Envelope) -> None:
    """Write records into the log as whoever owns its disk can, and wait until the last one is witnessed."""
    honest = checkpoints.parse_body(notes.parse(service.log.checkpoint()).text)
    service.log.confirm(honest.size, honest.root)
    *before, raw = [dsse.render(envelope) for envelope in envelopes]
    for earlier in before:
        service.log.append(earlier)
    index = service.log.append(raw)
    trust = service.trust()
    await_witnessed(
        service.log,
        index=index,
        leaf=leaf_of(raw),
        log=trust.log,
        limits=trust.limits,
        clock=SystemClock(),
        pause=pause,
        deadline_s=30,
    )


def process_url(directory: Path, name: str) -> str:
    """The address of the process `name` of the lab in `directory`."""
    url = find(directory / "run", name)
    if url is None:
        raise Stop(f"`{name}` does not run")
    return url


def attempt(lab: DemoLab, what: str, attack: Callable[[], object]) -> None:
    """Do `attack`, and show that it was refused; `Stop` when it was not."""
    try:
        answer = attack()
    except KeyturnError as err:
        lab.teller.say(f"\n{what}:\n    refused: {err}")
        return
    raise Stop(f"{what}: it went through: {str(answer)[:200]}")
