"""`keyturn up`: run a lab's processes on this machine, until told to stop."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from keyturn.cli import output
from keyturn.cli.lab.service_options import QUOTA, RATE, BehindProxy, LoginFile, Quota, Rate, ServicePort, as_words
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.adapters.supervisor import Running

__all__ = ["up"]


def up(
    port: ServicePort = 0,
    quota: Quota = QUOTA,
    rate: Rate = RATE,
    behind_proxy: BehindProxy = False,
    login: LoginFile = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Run the lab's witnesses, service, builder, gates and notifier here; Ctrl-C stops them.

    One machine is form, not separation: in production each of these runs under its own operator. Where the service asks for a
    login, the others show the one of this home (KEYTURN_HOME).
    """
    from keyturn.adapters import supervisor
    from keyturn.errors import Unavailable
    from keyturn.wiring.lab.processes import processes_of

    said = as_words(port=port, quota=quota, rate=rate, behind_proxy=behind_proxy, login=login)
    place, processes = processes_of(lab, service=said)
    if login is not None:  # what is wrong with it is said here, and not by a process that did not start
        from keyturn.service.login import read_login

        read_login(login, behind_proxy=behind_proxy)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with supervisor.started(processes, run_dir=place / "run") as running:
        output.emit(
            {"processes": [{"name": p.name, "url": p.url, "pid": p.child.pid} for p in running]},
            json=json,
            human=lambda screen: _show(screen, running),
        )
        ended = supervisor.await_end(running, stop)
        if ended is not None:
            raise Unavailable(
                "process-ended",
                f"`{ended}` ended; the others were stopped",
                hint=f"see {place / 'run' / ended}.out; then keyturn up",
            )


def _show(screen: Console, running: tuple[Running, ...]) -> None:
    cells = [(process.name, process.url, str(process.child.pid)) for process in running]
    output.rows(screen, ("process", "address", "pid"), cells)
    screen.print("ready; Ctrl-C stops all of them")
