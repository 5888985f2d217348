"""`keyturn gate`: set up and run the release gate. `gate host` is that of a host, `gate bastion` stands before hosts, `gate
postgres` is that of a database; `gate script` and `gate local` are gates of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.gates import bastion as gate_bastion
from keyturn.cli.gates import host as gate_host
from keyturn.cli.gates import own as gate_own
from keyturn.cli.gates import postgres as gate_postgres
from keyturn.cli.names import there, this_is_there
from keyturn.cli.options import Json, Lab, LogJson, Port, Root

__all__ = ["app"]

app = typer.Typer(
    help="The release gate: lets models out that people granted, and makes their packs.", no_args_is_help=True
)
app.add_typer(gate_bastion.app, name="bastion")
app.add_typer(gate_host.app, name="host")
app.add_typer(gate_postgres.app, name="postgres")
app.add_typer(gate_own.local, name="local")
app.add_typer(gate_own.script, name="script")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The gate's name, as the lab's targets list it.", autocompletion=offer_names("gates")
    ),
]


@app.command()
def init(
    name: Name = "release",
    models: Annotated[
        list[Path] | None,
        typer.Option(help="A directory below which the gate hashes models itself. Repeat for more.", callback=there),
    ] = None,
    root: Root = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Set a release gate up on this machine: its key, its pinned root, its configuration."""
    from keyturn.wiring.gates.release import init_gate
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    config, key = init_gate(place, name=name, pin=root, models=[str(path.absolute()) for path in models or ()])
    output.emit(
        {"gate": str(config.resource), "key": key.text, "keyid": key.keyid, "models": config.models},
        json=json,
        human=lambda screen: screen.print(
            f"gate {config.resource}\n  public key  {key.text}\n"
            f"targets must list this key before anybody believes it; then: keyturn gate serve {name}"
        ),
    )


@app.command()
def serve(
    name: Name = "release",
    port: Port = 0,
    log_json: LogJson = False,
    lab: Lab = None,
) -> None:
    """Serve the release gate until told to stop. A demo lab's gate that is not set up yet is, from the lab's root."""
    from keyturn.adapters import process_log
    from keyturn.service import shell
    from keyturn.service.release_gate import create_app
    from keyturn.service.taking_away import LOOK_WITHIN_S
    from keyturn.wiring.gates.release import init_demo_gate, open_release_gate, read_config
    from keyturn.wiring.lab.places import find_lab

    process_log.begin(f"gate-{name}", log_json=log_json)
    place = find_lab(lab)
    if not (place.directory / "gates" / name / "gate.toml").exists():
        init_demo_gate(place, name=name)
    config = read_config(place, name)
    opened = open_release_gate(place, name)
    about = {"gate": str(config.resource), "pinned_root": config.pinned_root}
    app = create_app(
        opened.recorded.release,
        obey=opened.gate.obey,
        look=lambda: opened.followed.look(LOOK_WITHIN_S),
        about=about,
        log_size=opened.log_size,
    )
    with opened.running():
        shell.serve(app, name=f"gate-{name}", run_dir=place.directory / "run", port=port)


@app.command()
def show(name: Name = "release", lab: Lab = None, json: Json = False) -> None:
    """Show how a release gate is set up: its pinned root, its key, and how much stricter than targets it is."""
    from keyturn.adapters.files.key_files import read_key
    from keyturn.wiring.gates.release import read_config
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    config = read_config(place, name)
    key = read_key(place.directory / "gates" / name / "key", passphrase=None).public
    value = {
        "gate": str(config.resource),
        "pinned_root": config.pinned_root,
        "key": key.text,
        "log_age_max_s": config.log_age_max_s,
        "witnesses_min": config.witnesses_min,
        "models": config.models,
    }

    said: dict[str, object] = {name: "as the lab says" if found is None else found for name, found in value.items()}
    said["models"] = config.models or "none: it hashes no model itself"
    output.emit(value, json=json, human=lambda screen: output.fields(screen, said))


@app.command()
def answer(
    question: Annotated[
        Path,
        typer.Argument(metavar="QUESTION", help="The file that `gate host ask` wrote.", callback=this_is_there),
    ],
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: <gate>.answer.json")] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Answer a gate that does not reach the log: log what it signed, and write what it lacks into a file for it."""
    from keyturn.adapters.files.config_files import read_small, require_new, write_new
    from keyturn.formats.carried import QUESTION_BYTES_MAX
    from keyturn.formats.uri import Uri
    from keyturn.wiring.gates.carried import answer as answer_it

    raw = read_small(question, size_bytes_max=QUESTION_BYTES_MAX)
    if out is not None:
        require_new(out)
    made = answer_it(raw, lab=lab)
    path = out or Path(f"{Uri.parse(made.gate).name}.answer.json")
    write_new(path, made.raw)
    for err in made.refused:
        output.warn(f"the log refuses a record of the gate: {err}", json=json)
    output.emit(
        {
            "gate": made.gate,
            "answer": str(path),
            "leaves": made.leaves,
            "size": made.size,
            "refused": [err.code for err in made.refused],
        },
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"{path}: {made.leaves} new entries, {made.size} in all; at the gate: keyturn gate host take {path}"
            )
        ),
    )


@app.command()
def export(
    name: Name = "release",
    to: Annotated[
        str,
        typer.Option(help="`-`, a file, syslog+tls://host:port, syslog+tcp://127.0.0.1:port, or https://host/path."),
    ] = "-",
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is decided from now on.")] = False,
    start: Annotated[
        int | None,
        typer.Option(min=0, help="Begin with this decision. Default: after the last that this target took; for `-` 0."),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Certificates (PEM) to verify the collector's by.", callback=this_is_there)
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file of mode 0600 with the bearer token for https.", callback=this_is_there)
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="The gate's own directory, as that of a host. Default: the lab's.", callback=this_is_there
        ),
    ] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Send what the gate granted and refused to a SIEM: OCSF 1.8 events, one line each, from the gate's own journal."""
    import signal
    import threading
    from contextlib import closing

    import keyturn
    from keyturn.wiring.gates.export import Export
    from keyturn.wiring.lab.places import find_lab

    version = keyturn.__version__
    where = directory if directory is not None else find_lab(lab).directory / "gates" / name
    sending = Export(where, target=to, start=start, ca=ca, token_file=token_file, version=version)
    with closing(sending):
        if not follow:
            sent = sending.once()
        else:
            stop = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stop.set())
            sent = sum(sending.follow(stop.wait, lambda err: output.show_error(err, json=json)))
    if to != "-":
        output.emit(
            {"gate": name, "sent": sent, "next": sending.next, "to": to},
            json=json,
            human=lambda screen: screen.print(output.plain(f"{to}: {sent} events; decision {sending.next} is next")),
        )
