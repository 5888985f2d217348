"""`keyturn gate script` and `keyturn gate local`: gates of one's own, in a program on the SDK, or at a socket for any
language.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab, LogJson, Root

if TYPE_CHECKING:
    from keyturn.config.own_gate import OwnGateConfig
    from keyturn.crypto.keys import PublicKey

__all__ = ["local", "script"]

script = typer.Typer(
    help="A program that is a gate itself: it does one thing, when people granted that.", no_args_is_help=True
)
local = typer.Typer(
    help="A gate at a Unix socket, which programs in any language ask before they do what they do.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The gate's name, as the lab's targets list it.")]
Service = Annotated[
    str | None,
    typer.Option(help="The lab's service, https://... Default: the one beside the gate, in the lab's directory."),
]


@script.command("init")
def init_script(name: Name, service: Service = None, root: Root = None, lab: Lab = None, json: Json = False) -> None:
    """Set a gate up for a program on the SDK: its key, its pinned root, its configuration. The program opens its directory."""
    from keyturn.wiring.gates.own import init_gate
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    config, key = init_gate(place, name=name, service=service, pin=root)
    directory = place.directory / "gates" / name
    _show(config, key, json=json, then=f"the program: keyturn.open_gate({str(directory)!r})")


@local.command("init")
def init_local(
    name: Name,
    door: Annotated[str, typer.Option(help="What programs ask at, as `rotate`. More of them: in gate.toml.")],
    action: Annotated[str, typer.Option(help="What the door is for: `procedure:run` or `weights:export`.")],
    resource: Annotated[str, typer.Option(help="What it is done to, as `procedure/rotate`, or the whole URI.")],
    user: Annotated[str, typer.Option(help="Who may ask there, of this machine. More of them: in gate.toml.")],
    socket: Annotated[Path | None, typer.Option(help="Default: /run/keyturn-gate-local/NAME.sock")] = None,
    group: Annotated[
        str | None, typer.Option(help="Of this machine, whose members may connect. Default: the gate's own user alone.")
    ] = None,
    service: Service = None,
    root: Root = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Set a gate up that programs ask at a Unix socket: its key, its pinned root, its configuration, and one door."""
    from keyturn.config.own_gate import Door, Socket
    from keyturn.wiring.gates.own import init_gate
    from keyturn.wiring.gates.set_up import root_to_pin
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.typed import uri

    place = find_lab(lab)
    of = uri("`--resource`", resource, lab=root_to_pin(place, root).lab)
    config, key = init_gate(
        place,
        name=name,
        service=service,
        pin=root,
        socket=Socket(path=str(socket or f"/run/keyturn-gate-local/{name}.sock"), group=group),
        doors={door: Door(action=action, resource=str(of), users=(user,))},
    )
    _show(config, key, json=json, then=f"keyturn gate local run {name}")


@local.command("run")
def run_local(
    name: Name,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    log_json: LogJson = False,
    lab: Lab = None,
) -> None:
    """Answer at the gate's socket until told to stop. Without it nobody gets a yes."""
    from functools import partial

    from keyturn.adapters import process_log
    from keyturn.service import shell
    from keyturn.service.local_gate import AskedDoor, create_app
    from keyturn.service.local_peers import bound_at, group_id, user_id
    from keyturn.service.taking_away import LOOK_WITHIN_S
    from keyturn.wiring.gates.own import open_own_gate, purposes_of, require_socket
    from keyturn.wiring.lab.places import find_lab

    process_log.begin(f"gate-{name}", log_json=log_json)
    place = find_lab(lab)
    with open_own_gate(place.directory / "gates" / name) as opened:
        config = opened.config
        socket = require_socket(config)
        doors = {
            door: AskedDoor(
                users=frozenset(map(user_id, config.doors[door].users)), open=partial(opened.open, purpose=purpose)
            )
            for door, purpose in purposes_of(config).items()
        }
        app = create_app(
            doors,
            stands=opened.stands,
            obey=opened.gate.obey,
            look=lambda: opened.followed.look(LOOK_WITHIN_S),
            about={"gate": str(config.resource), "pinned_root": config.pinned_root},
        )
        with bound_at(socket.path, group=None if socket.group is None else group_id(socket.group)) as listening:
            shell.serve(app, name=f"gate-{name}", run_dir=place.directory / "run", port=port, also=(listening,))


def _show(config: OwnGateConfig, key: PublicKey, *, json: bool, then: str) -> None:
    output.emit(
        {
            "gate": str(config.resource),
            "kind": config.kind,
            "key": key.text,
            "keyid": key.keyid,
            "socket": None if config.socket is None else config.socket.path,
        },
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"gate {config.resource}\n  public key  {key.text}\n"
                f"targets must list this key as a gate of kind `{config.kind}` before anybody believes it; then: {then}"
            )
        ),
    )
