"""`keyturn gate bastion`: set up and run the bastion, through which sessions come that are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, LogJson

__all__ = ["app"]

app = typer.Typer(
    help="A bastion: people come through it to hosts, by grants that ask for recording.", no_args_is_help=True
)

Directory = Annotated[Path, typer.Option("--dir", help="The bastion's own directory.")]
DIRECTORY = Path("/var/lib/keyturn-bastion")


@app.command()
def install(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The gate's name, as the lab's targets list it.")],
    service: Annotated[str, typer.Option(help="The lab's service, https://...")],
    root: Annotated[str, typer.Option("--root-sha256", help="The SHA-256 of the lab's first root.")],
    behind: Annotated[
        list[str] | None,
        typer.Option(help="A host: as `gpu1=10.1.0.7:22=ssh-ed25519 AAAA...`, with its sshd's key. Repeat."),
    ] = None,
    listen: Annotated[str, typer.Option(help="The address at which people come in.")] = "0.0.0.0",  # noqa: S104  # people come
    ssh_port: Annotated[int, typer.Option(min=0, max=65535, help="The port of its SSH; 0 takes a free one.")] = 2222,
    directory: Directory = DIRECTORY,
    json: Json = False,
) -> None:
    """Make the bastion's keys and its gate.toml. It starts nothing, and opens no host by itself."""
    from keyturn.wiring.gates import bastion as bastion_gate

    config, key, host_key = bastion_gate.install(
        directory,
        name,
        service=service,
        pin=root,
        listen=listen,
        port=ssh_port,
        hosts=tuple(behind or ()),
    )
    said = "\n".join(
        (
            f"gate {config.resource}, root {config.pinned_root}",
            f"  public key    {key.public.text}",
            f"  SSH host key  {host_key}",
            "targets must list this public key as a gate of kind `bastion`, and who opens recordings: `[recordings]`; then:",
            f"  keyturn gate bastion run --dir {directory}    under a supervisor that starts it again at once",
            f"each host behind it says in its gate.toml where it comes from: --behind {name}=NETWORK",
        )
    )
    value = {"gate": str(config.resource), "key": key.public.text, "keyid": key.public.keyid, "host_key": host_key}
    output.emit(value, json=json, human=lambda screen: screen.print(output.plain(said)))


@app.command(name="new-key")
def new_key(
    out: Annotated[Path, typer.Option(help="The file that the key is written to.")],
    json: Json = False,
) -> None:
    """Make a keyholder's key, on the keyholder's own machine, and print what the lab's targets are to say of it."""
    from keyturn.errors import Usage
    from keyturn.wiring.gates.bastion import new_keyholder_key
    from keyturn.wiring.trust.trust import passphrase

    secret = passphrase()
    if secret is None:
        raise Usage(
            "passphrase-missing",
            "expected a passphrase for a keyholder's key",
            hint="KEYTURN_PASSPHRASE_FILE names the file that has it",
        )
    public = new_keyholder_key(out, passphrase=secret)
    output.emit(
        {"key": public, "file": str(out)},
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"{out}: keep it; who proposes targets puts it into the draft's gates.toml:\n"
                f'  [[recordings.keyholders]]\n  human = "NAME"\n  public = "{public}"'
            )
        ),
    )


@app.command()
def run(
    directory: Directory = DIRECTORY,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    log_json: LogJson = False,
) -> None:
    """Run the bastion until told to stop: sessions that go through it end with it."""
    from keyturn.adapters import process_log
    from keyturn.service import shell
    from keyturn.service.bastion_gate import create_app
    from keyturn.wiring.gates.bastion import LOOK_WITHIN_S, open_bastion

    process_log.begin("gate-bastion", log_json=log_json)
    opened = open_bastion(directory)
    config = opened.config
    with opened.running() as ssh_port:
        about = {
            "gate": str(config.resource),
            "ssh": f"{config.listen}:{ssh_port}",
            "pinned_root": config.pinned_root,
        }
        app_ = create_app(
            opened.gate.terms_for,
            watch=opened.watch,
            host_key=opened.host_key_line,
            host_key_proof=opened.gate.host_key_proof(opened.host_key_line),
            obey=opened.gate.obey,
            look=lambda: opened.followed.look(LOOK_WITHIN_S),
            about=about,
        )
        shell.serve(app_, name=f"gate-{config.name}", run_dir=directory / "run", port=port)
