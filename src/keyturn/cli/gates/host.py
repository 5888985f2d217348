"""`keyturn gate host`: put the host gate on a machine, and run its resident verifier, which sshd asks for every key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.names import there as these_are_there
from keyturn.cli.names import this_is_there
from keyturn.cli.options import Json, LogJson, Port, Root, Yes

__all__ = ["app"]

app = typer.Typer(
    help="The gate of a host: sshd lets in whom people granted it, and nobody else.", no_args_is_help=True
)

Directory = Annotated[Path, typer.Option("--dir", help="The gate's own directory.")]
Program = Annotated[Path, typer.Option(help="The program that sshd runs; root alone may write where it lies.")]
Socket = Annotated[Path, typer.Option(help="Where the verifier answers.")]
DIRECTORY = Path("/var/lib/keyturn-host")
PROGRAM = Path("/usr/local/libexec/keyturn-host")
SOCKET = Path("/run/keyturn-host/ask")


@app.command()
def install(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The gate's name, as the lab's targets list it.")],
    host: Annotated[str | None, typer.Option(help="The host's name among the lab's resources. Default: NAME.")] = None,
    service: Annotated[str | None, typer.Option(help="The lab's service, https://...")] = None,
    root: Root = None,
    root_json: Annotated[
        Path | None,
        typer.Option(help="The lab's first root in a file. Default: from the service.", callback=this_is_there),
    ] = None,
    account: Annotated[list[str] | None, typer.Option(help="An account that is opened. Repeat. Default: any.")] = None,
    behind: Annotated[
        list[str] | None, typer.Option(help="A bastion and its network, as `front=10.1.0.5/32`. Repeat.")
    ] = None,
    user: Annotated[str, typer.Option(help="The user that sshd runs the helper as; made if missing.")] = "keyturn-host",
    directory: Directory = DIRECTORY,
    program: Program = PROGRAM,
    socket: Socket = SOCKET,
    sshd_config: Annotated[Path, typer.Option(help="sshd's main configuration.")] = Path("/etc/ssh/sshd_config"),
    observe_until: Annotated[
        str | None,
        typer.Option(
            help="Only observe, until `2026-12-24` or `14d` from now: say what would be decided, open nothing, close nothing."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Put the gate on this host: its key, the helper, and what sshd is told. Every other way in through sshd is closed."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.wiring.gates import host_install
    from keyturn.wiring.typed import instant

    now = SystemClock().now()
    placed = host_install.Placed(directory=directory, program=program, socket=socket, sshd=sshd_config)
    planned = host_install.plan(
        name,
        placed,
        host=host,
        service=service,
        pin=root,
        root=root_json,
        accounts=tuple(account or ()),
        user=user,
        observe_until=None
        if observe_until is None
        else instant("`--observe-until`", observe_until, now=now, ago=False),
        behind=tuple(behind or ()),
    )
    observes = planned.config.observes
    closed = () if observes else host_install.closing()
    said = "\n".join(
        (
            f"gate {planned.config.resource} of {planned.config.host}, root {planned.config.pinned_root}",
            "writes:",
            *(f"  {path}" for path in (directory / "gate.toml", program, placed.fragment)),
            "closes nothing: it observes, and whatever opens this host now goes on doing so"
            if observes
            else "closes, when sshd is reloaded:",
            *(f"  {door}" for door in closed),
            ""
            if observes
            else "Whoever installs this needs a grant as well from then on. Keep a session open until one came in by a grant.",
        )
    )
    value: dict[str, object] = {
        "gate": str(planned.config.resource),
        "host": str(planned.config.host),
        "fragment": str(placed.fragment),
        "closes": closed,
    }
    if dry_run:
        output.emit(value | {"key": None}, json=json, human=lambda screen: screen.print(output.plain(said)))
        return
    output.warn(said, json=json)
    output.confirm("Install it?", yes=yes)
    key = host_install.install(planned).public
    following = (
        f"  public key  {key.text}\n"
        "targets must list this key as a gate of kind `host`; then, in this order:\n"
        f"  keyturn gate host run --dir {directory}    as root, under a supervisor that starts it again at once\n"
        f"  systemctl reload ssh\n"
        f"to undo it: rm {placed.fragment}, and reload"
    )
    output.emit(
        value | {"key": key.text, "keyid": key.keyid},
        json=json,
        human=lambda screen: screen.print(output.plain(following)),
    )


@app.command()
def ask(
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: <gate>.question.json")] = None,
    directory: Directory = DIRECTORY,
    json: Json = False,
) -> None:
    """Write what the gate asks of a log that it does not reach, for somebody to carry; `keyturn gate answer` answers it."""
    from keyturn.adapters.files.config_files import write_new
    from keyturn.wiring.gates.carried import question
    from keyturn.wiring.gates.host import read_config

    config = read_config(directory)
    path = out or Path(f"{config.name}.question.json")
    write_new(path, question(config, directory))
    output.emit(
        {"gate": str(config.resource), "question": str(path)},
        json=json,
        human=lambda screen: screen.print(
            output.plain(f"{path}: written; on a machine that reaches the log: keyturn gate answer {path}")
        ),
    )


@app.command()
def take(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Answers to the gate's question, break-glass bundles, recovery grants.",
            callback=these_are_there,
        ),
    ],
    directory: Directory = DIRECTORY,
    json: Json = False,
) -> None:
    """Bring the gate what it cannot reach: the log's answer to its question, or what people signed for an emergency."""
    from keyturn.adapters.files.config_files import read_small
    from keyturn.formats.carried import ANSWER_BYTES_MAX
    from keyturn.wiring.gates.host import bring, read_config

    config = read_config(directory)
    raws = [read_small(path, size_bytes_max=ANSWER_BYTES_MAX) for path in files]
    brought = [
        {"file": str(path), "kind": bring(config, directory, raw)} for path, raw in zip(files, raws, strict=True)
    ]
    output.emit(
        {"gate": str(config.resource), "brought": brought},
        json=json,
        human=lambda screen: screen.print("\n".join(f"{one['file']}: brought, {one['kind']}" for one in brought)),
    )


@app.command()
def run(
    directory: Directory = DIRECTORY,
    program: Program = PROGRAM,
    socket: Socket = SOCKET,
    port: Port = 0,
    log_json: LogJson = False,
) -> None:
    """Run the resident verifier until told to stop: it follows the log, answers sshd, and ends what is over."""
    from keyturn.adapters import process_log
    from keyturn.service import shell
    from keyturn.service.host_gate import create_app
    from keyturn.wiring.gates.host import LOOK_WITHIN_S, open_host_gate

    process_log.begin("gate-host", log_json=log_json)
    opened = open_host_gate(directory, program=program)
    config = opened.config
    about = {"gate": str(config.resource), "host": str(config.host), "pinned_root": config.pinned_root}
    app_ = create_app(obey=opened.gate.obey, look=lambda: opened.followed.look(LOOK_WITHIN_S), about=about)
    with opened.running(socket):
        shell.serve(app_, name=f"gate-{config.name}", run_dir=directory / "run", port=port)
