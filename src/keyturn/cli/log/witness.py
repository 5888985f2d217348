"""`keyturn witness`: cosign a log's checkpoints, and so keep it from forking or going back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.options import Json, Lab, LogJson, Port

if TYPE_CHECKING:
    from keyturn.crypto.keys import PublicKey

__all__ = ["app"]

app = typer.Typer(help="Watch a log: cosign only what continues what was cosigned before.", no_args_is_help=True)

Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="Where the witness lies. Default: witness/NAME in the lab.", show_default=False),
]


@app.command()
def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The witness's name, as the lab's targets list it.",
            autocompletion=offer_names("witnesses"),
        ),
    ],
    origin: Annotated[str | None, typer.Option(help="Origin of the log. Default: that of the lab's targets.")] = None,
    log_key: Annotated[
        str | None, typer.Option(help="The log's public key (base64 SPKI). Default: that of the lab's targets.")
    ] = None,
    directory: Directory = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Set a witness up: make its key, and write down which log it watches."""
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.witness import init_witness

    logs = _named(origin, log_key) or _logs_of(lab)
    place = directory or find_lab(lab).directory / "witness" / name
    key = init_witness(place, name=name, logs=logs)
    output.emit(
        {"witness": name, "key": key.text, "keyid": key.keyid, "logs": sorted(logs)},
        json=json,
        human=lambda screen: screen.print(
            f"witness {name} watches {', '.join(sorted(logs))}\nkey {key.text}\nnext: keyturn witness serve {name}"
        ),
    )


@app.command("log-key")
def log_key(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The witness's name.", autocompletion=offer_names("witnesses"))
    ],
    origin: Annotated[str | None, typer.Option(help="Origin of the log. Default: that of the lab's targets.")] = None,
    key: Annotated[
        str | None, typer.Option("--log-key", help="Its new public key (base64 SPKI). Default: that of the targets.")
    ] = None,
    directory: Directory = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Believe another key of a log from now on, after the lab's targets changed it; then serve the witness again."""
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.witness import change_log_key

    logs = _named(origin, key) or _logs_of(lab)
    place = directory or find_lab(lab).directory / "witness" / name
    change_log_key(place, logs=logs)
    output.emit(
        {"witness": name, "logs": {log: public.text for log, public in logs.items()}},
        json=json,
        human=lambda screen: screen.print(
            f"witness {name} believes another key of {', '.join(logs)}\nnext: keyturn witness serve {name}, again"
        ),
    )


@app.command()
def serve(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The witness's name.", autocompletion=offer_names("witnesses"))
    ],
    port: Port = 0,
    directory: Directory = None,
    log_json: LogJson = False,
    lab: Lab = None,
) -> None:
    """Serve the witness until told to stop. A demo lab's witness that is not set up yet is, from the lab's targets."""
    from keyturn.adapters import process_log
    from keyturn.service.witness_service import serve_witness
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.witness import init_witness

    process_log.begin(f"witness-{name}", log_json=log_json)
    if directory is not None:
        serve_witness(directory, run_dir=directory / "run", port=port)
        return
    place = find_lab(lab).directory
    home = place / "witness" / name
    if not (home / "witness.toml").exists():
        init_witness(home, name=name, logs=_logs_of(lab, demo_only=True))
    serve_witness(home, run_dir=place / "run", port=port)


def _named(origin: str | None, key: str | None) -> dict[str, PublicKey] | None:
    """The log that somebody typed, by its origin; `None` when the lab's targets name it."""
    from keyturn.crypto.keys import PublicKey
    from keyturn.errors import Usage
    from keyturn.wiring.typed import typed

    match origin, key:
        case None, None:
            return None
        case str(), str():
            return {origin: typed("`--log-key`", PublicKey.from_text, key)}
        case _:
            raise Usage(
                "option-missing", "expected both --origin and --log-key, or neither", hint="keyturn witness init --help"
            )


def _logs_of(lab: str | None, *, demo_only: bool = False) -> dict[str, PublicKey]:
    from keyturn.app.trust.lab_trust import read_history, still_founding
    from keyturn.errors import Usage
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.trust.trust import own_pin, trust_store

    place = find_lab(lab)
    history = read_history(trust_store(place.directory), pinned_sha256=own_pin(place))
    if history is None:
        raise still_founding("its log is not named yet", trust_store(place.directory))
    if demo_only and history.profile != "demo":
        raise Usage(
            "witness-not-set-up", "a production witness is set up by its operator", hint="keyturn witness init NAME"
        )
    log = history.newest.log
    return {log.origin: log.key}
