"""`keyturn grant replay` and `keyturn grant open-share`: a recording is opened by a grant, and by a quorum of its keyholders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.access.wishes import Permit, Why, shown_and_confirmed
from keyturn.cli.names import Request
from keyturn.cli.options import Json, Key, Lab, Yes

__all__ = ["open_share", "replay"]

Recording = Annotated[
    Path,
    typer.Argument(metavar="RECORDING", help="A file of the bastion's `recordings/`."),
]


def replay(
    recording: Recording,
    reason: Why = "",
    permit: Permit = None,
    share: Annotated[list[Path] | None, typer.Option(help="A share that a keyholder opened. Repeat.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the asciicast to this file, and play nothing.")] = None,
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="How much faster than it was.")] = 1.0,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Replay a recorded session: without --share it asks for that; with the keyholders' shares it plays."""
    from keyturn.adapters.clock import pause
    from keyturn.adapters.files.config_files import require_new, write_new
    from keyturn.adapters.recordings.inside import cast_of, events_of
    from keyturn.adapters.recordings.play import play
    from keyturn.adapters.safe_screen import RESTORE
    from keyturn.errors import Usage
    from keyturn.wiring.access import replay as wired

    if not share:
        if not reason:
            raise Usage(
                "replay-reason",
                "expected --reason to ask, or the shares of keyholders to play",
                hint="keyturn grant replay RECORDING --reason WHY",
            )
        agree = shown_and_confirmed(yes=yes, json=json)
        logged = wired.ask(lab, recording, reason=reason, permit=permit, key=key, agree=agree)
        said = (
            f"{logged.id}: asked; a coworker now runs `keyturn approve {logged.id[:12]}`, then keyholders run\n"
            f"  keyturn grant open-share {logged.id[:12]} {recording.name} --holder NAME --holder-key FILE --out NAME.share"
        )
        output.emit({"id": logged.id}, json=json, human=lambda screen: screen.print(output.plain(said)))
        return
    if out is not None:
        require_new(out)
    header, inside, cut = wired.opened_by(lab, recording, tuple(share))
    if cut:
        output.warn("the recording was cut off: what there is of it follows", json=json)
    if out is not None:
        write_new(out, b"".join(cast_of(inside())), mode=0o600)
        value = {"cast": str(out), "request": header.request, "what": header.what, "cut": cut}
        output.emit(value, json=json, human=lambda screen: screen.print(output.plain(f"{out}: written")))
        return

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        play(events_of(inside()), speed=speed, write=write, wait=pause)
    finally:
        if sys.stdout.isatty():
            write(RESTORE)


def open_share(
    which: Request,
    recording: Recording,
    holder: Annotated[str, typer.Option(help="Whose share: your name among the keyholders.")],
    holder_key: Annotated[Path, typer.Option(help="Your keyholder's key; KEYTURN_PASSPHRASE_FILE opens it.")],
    out: Annotated[Path, typer.Option(help="Where the opened share is written, for whoever replays.")],
    lab: Lab = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Open your share of a recording for a grant to replay it, which is verified here: for that one, and for nobody else."""
    from keyturn.adapters.files.config_files import require_new, write_new
    from keyturn.formats import opened_share
    from keyturn.grants.replay import VerifiedReplay
    from keyturn.wiring.access.replay import open_for

    require_new(out)

    def agree(found: VerifiedReplay) -> None:
        rows = (
            ("request", f"req-{found.request[:32]}"),
            ("replayed by", found.beneficiary),
            ("approved by", ", ".join(found.approvers)),
            ("recording", found.recording),
            ("profile", found.profile),
        )
        output.warn(asked.table(rows), json=json)
        output.confirm("Open your share for this?", yes=yes)

    made = open_for(lab, recording, which=which, holder=holder, key_file=holder_key, agree=agree)
    write_new(out, opened_share.render(made))
    said = f"{out}: opened for req-{made.request[:12]} alone; give it to whoever replays"
    output.emit({"share": str(out)}, json=json, human=lambda screen: screen.print(output.plain(said)))
