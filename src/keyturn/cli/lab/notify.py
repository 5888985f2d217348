"""`keyturn notify`: tell people what waits for them and what became of what they asked for."""

from __future__ import annotations

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab, LogJson, Port, Root

__all__ = ["app"]

app = typer.Typer(help="Notifications: tell people what waits for them. They approve nothing.", no_args_is_help=True)


@app.command()
def init(root: Root = None, lab: Lab = None, json: Json = False) -> None:
    """Write a `notify.toml` with the root that you pinned; whom to tell, and where, you write into it."""
    from keyturn.wiring.lab.notify import init_notify
    from keyturn.wiring.lab.places import find_lab

    path = init_notify(find_lab(lab), pin=root)
    output.emit(
        {"config": str(path)},
        json=json,
        human=lambda screen: screen.print(f"{path}: written; add receivers, then: keyturn notify serve, or keyturn up"),
    )


@app.command()
def serve(
    port: Port = 0,
    log_json: LogJson = False,
    lab: Lab = None,
) -> None:
    """Tell people until told to stop. The first time it begins at the log's end."""
    from keyturn.adapters import process_log
    from keyturn.adapters.clock import SystemClock
    from keyturn.service import shell
    from keyturn.service.notifier import Notifier, create_app
    from keyturn.wiring.lab.notify import notifier_parts
    from keyturn.wiring.lab.places import find_lab

    process_log.begin("notify", log_json=log_json)
    place = find_lab(lab)
    with notifier_parts(place) as parts:
        notifier = Notifier(parts.watch, parts.outbox, parts.receivers, clock=SystemClock(), keep_s=parts.config.keep_s)
        shell.serve(create_app(notifier, parts.outbox), name="notify", run_dir=place.directory / "run", port=port)


@app.command()
def show(lab: Lab = None, json: Json = False) -> None:
    """Show who is told where, who is away, and how many notices wait for each receiver. No secret is shown.

    Refuses what `notify serve` refuses or warns of: a secret that others can read, a member or group that is not in the lab.
    """
    from keyturn.errors import Refused
    from keyturn.formats.posix_time import rfc3339
    from keyturn.wiring.lab.notify import checked_as_served, read_notify_config, waiting_by_receiver
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    config, waiting = read_notify_config(place), waiting_by_receiver(place)
    unknown = checked_as_served(place)
    value = {
        "unknown": unknown,
        "root": config.root,
        "receivers": [
            {
                "name": one.name,
                "member": one.member,
                "group": one.group,
                "paging": one.paging,
                "waiting": waiting[one.name],
            }
            for one in config.receivers
        ],
        "escalation": [{"after_s": one.after_s, "group": one.group} for one in config.escalation],
        "away": [{"member": one.member, "deputy": one.deputy, "until": rfc3339(one.until_s)} for one in config.away],
    }
    cells = [
        (one.name, one.member or f"group {one.group}", "urgent" if one.paging else "all", str(waiting[one.name]))
        for one in config.receivers
    ]
    output.emit(
        value,
        json=json,
        human=lambda screen: (
            output.rows(screen, ("receiver", "of", "gets", "waiting"), cells)
            if cells
            else screen.print("nobody is told: notify.toml names no receiver")
        ),
    )
    if unknown:
        raise Refused(
            "receiver-unknown",
            f"nobody is told at {len(unknown)} places of notify.toml",
            reasons=tuple(("receiver-unknown", said) for said in unknown),
            hint="`keyturn trust members` says who there is; mend notify.toml, or invite them",
        )
