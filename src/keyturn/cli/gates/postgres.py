"""`keyturn gate postgres`: set up and run the gate of a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.names import there as these_are_there
from keyturn.cli.options import Json, Lab, LogJson, Port, Root

__all__ = ["app"]

app = typer.Typer(
    help="The gate of a PostgreSQL database: a role for each grant, for as long as it stands.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The gate's name, as the lab's targets list it.")]


@app.command()
def init(
    name: Name,
    service: Annotated[str, typer.Option(help="The lab's service, https://...")],
    owner: Annotated[str, typer.Option(help="The role that owns the tables people are let in to.")],
    database: Annotated[str | None, typer.Option(help="The database, as PostgreSQL knows it. Default: NAME.")] = None,
    uri: Annotated[str | None, typer.Option(help="Its resource. Default: keyturn://<lab>/db/NAME.")] = None,
    socket_directory: Annotated[
        str, typer.Option(help="The directory of the server's Unix socket.")
    ] = "/var/run/postgresql",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The server's port.")] = 5432,
    address: Annotated[str, typer.Option(help="Where people reach the server.")] = "localhost",
    user: Annotated[
        str, typer.Option(help="Who runs the gate on this machine, and no other gate.")
    ] = "keyturn-gate-postgres",
    root: Root = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Set a postgres gate up: its key, its pinned root, its certificate authority; and say what a superuser types."""
    from keyturn.config.postgres_gate import Database
    from keyturn.wiring.gates.postgres import init_gate, what_to_type
    from keyturn.wiring.gates.set_up import root_to_pin
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    named = Database(
        uri=uri or f"keyturn://{root_to_pin(place, root).lab}/db/{name}",
        name=database or name,
        socket=socket_directory,
        port=port,
        address=address,
        user=user,
    )
    config, key = init_gate(place, named, name=name, service=service, pin=root)
    typed = what_to_type(config, place.directory.resolve() / "gates" / name, owner=owner)
    said = "\n".join(
        (
            f"gate {config.resource} of {config.database.uri}",
            f"  public key  {key.text}",
            "targets must list this key as a gate of kind `postgres`.",
            "pg_hba.conf begins with, before every other line:",
            *(f"  {line}" for line in typed["pg_hba.conf"]),
            "pg_ident.conf has:",
            *(f"  {line}" for line in typed["pg_ident.conf"]),
            f"a superuser types, in {config.database.name}, with `ssl = on` in postgresql.conf:",
            *(f"  {line};" for line in typed["sql"]),
            f"then the server reloads its configuration, and: keyturn gate postgres run {name}",
        )
    )
    output.emit(
        {"gate": str(config.resource), "database": config.database.uri, "key": key.text, "keyid": key.keyid, **typed},
        json=json,
        human=lambda screen: screen.print(output.plain(said)),
    )


@app.command()
def take(
    name: Name,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Break-glass bundles and recovery grants.", callback=these_are_there),
    ],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Bring the gate what people signed in files, for when the log cannot be reached. The gate verifies it each time."""
    from keyturn.adapters.files.config_files import read_small
    from keyturn.wiring.gates.postgres import bring, read_config
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    config = read_config(place, name)
    brought = [{"file": str(path), "kind": bring(place, name, read_small(path))} for path in files]
    output.emit(
        {"gate": str(config.resource), "brought": brought},
        json=json,
        human=lambda screen: screen.print("\n".join(f"{one['file']}: brought, a {one['kind']}" for one in brought)),
    )


@app.command()
def end(name: Name, lab: Lab = None, json: Json = False) -> None:
    """End everybody who came in by a grant, now, without log or gate. Whose grant stands can ask a gate that runs again."""
    from keyturn.wiring.gates.postgres import end_all
    from keyturn.wiring.lab.places import find_lab

    ended = end_all(find_lab(lab), name)
    output.emit(
        {"ended": ended},
        json=json,
        human=lambda screen: screen.print("\n".join((f"roles ended: {len(ended)}", *ended))),
    )


@app.command()
def run(
    name: Name,
    port: Port = 0,
    log_json: LogJson = False,
    lab: Lab = None,
) -> None:
    """Run the gate until told to stop: it follows the log, makes roles, and ends what is over. Nobody stays in without it."""
    from keyturn.adapters import process_log
    from keyturn.adapters.clock import SystemClock
    from keyturn.service import shell
    from keyturn.service.postgres_gate import LetInByCertificate, create_app
    from keyturn.wiring.gates.postgres import LOOK_WITHIN_S, open_gate
    from keyturn.wiring.lab.places import find_lab

    process_log.begin(f"gate-{name}", log_json=log_json)
    place = find_lab(lab)
    opened = open_gate(place, name)
    named = opened.config.database

    def let_in(asked: bytes) -> LetInByCertificate:
        found = opened.let_in(asked)
        return LetInByCertificate(
            role=found.role,
            certificate=found.certificate.decode("ascii"),
            address=named.address,
            port=named.port,
            database=named.name,
            ends_at=found.ends_at,
            signed=found.signed.decode("utf-8"),
        )

    def about() -> dict[str, str]:
        closed = opened.gate.closed()
        return {
            "gate": str(opened.config.resource),
            "database": named.uri,
            "pinned_root": opened.config.pinned_root,
            "now": str(SystemClock().now()),
            "closed": "" if closed is None else f"{closed.message} [{closed.code}]",
        }

    with opened.running():
        app_ = create_app(let_in, obey=opened.gate.obey, look=lambda: opened.followed.look(LOOK_WITHIN_S), about=about)
        shell.serve(app_, name=f"gate-{name}", run_dir=place.directory / "run", port=port)
