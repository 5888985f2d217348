"""The lab's service: the one process that people, gates and builders write to and read from. A mailbox; nobody believes it.

The log's routes are in `log_routes`, those of AuthZEN in `authzen_routes`. Beside them:

GET  /processes                  {"gate-release": "http://...", ...}: where the builder and the gates are
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from keyturn.adapters.clock import SystemClock
from keyturn.app.access.evaluate_access import AccessView
from keyturn.app.records.quotas import Quotas
from keyturn.app.records.submit import Admission
from keyturn.app.trust.lab_trust import still_founding
from keyturn.formats.digest import sha256
from keyturn.formats.tile import TilePath
from keyturn.ports import Clock, LogReader, RecordIndex
from keyturn.service import shell
from keyturn.service.authzen_routes import authzen_routes
from keyturn.service.log_publisher import Publisher
from keyturn.service.log_routes import log_routes
from keyturn.service.login import Login
from keyturn.service.metrics import Metrics
from keyturn.service.own_host import for_this_machine
from keyturn.service.rates import Rates
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import lab_log
from keyturn.wiring.log.log_keys import key_ring
from keyturn.wiring.log.witnesses import witnesses_of
from keyturn.wiring.trust.trust import trust_store

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.types import ASGIApp

__all__ = ["create_app", "serve_lab"]

FRESHEN_S = 20
"""How old an idle log's cosignatures get before the witnesses are asked again."""


def create_app(
    *,
    admission: Admission,
    log: LogReader,
    index: RecordIndex,
    tile: Callable[[TilePath], bytes],
    trust_file: Callable[[str], bytes | None],
    appended: Callable[[], None],
    processes: Callable[[], Mapping[str, str]],
    metrics: Metrics | None = None,
    rates: Rates | None = None,
    login: Login | None = None,
    access: Sequence[HTTPRouteHandler] = (),
    around: Sequence[Callable[[ASGIApp], ASGIApp]] = (),
) -> Litestar:
    """Make the service. `appended` is called after each append, `tile` and `trust_file` read static files.

    `access` are AuthZEN's routes. `processes` says where the lab's builder and gates are, for people who have this service's
    address alone. `login` says who may read and write at all; without it everybody may. `around`: see `shell.build`.
    """
    routes = log_routes(admission=admission, log=log, index=index, tile=tile, trust_file=trust_file, appended=appended)

    @get("/processes", sync_to_thread=True)
    def addresses() -> Response[dict[str, str]]:
        """Where the lab's builder and gates are: base URLs by name. A convenience, and never evidence."""
        return Response(dict(processes()), headers={"Cache-Control": "no-store"})

    return shell.build(
        [*routes, addresses, *access],
        title="The lab's service",
        metrics=metrics,
        rates=rates,
        login=login,
        around=around,
    )


def serve_lab(
    directory: Path, *, port: int, quotas: Quotas, rates: Rates, behind_proxy: bool, login: Login | None
) -> None:
    """Serve the lab in `directory` until told to stop, and publish its log."""
    clock = SystemClock()
    with lab_log(directory, quotas=quotas) as lab:
        publisher = Publisher(
            lab.log,
            keys=key_ring(directory),
            trust=lab.trust,
            earlier=lambda: lab.admission.earlier_logs,
            witnesses=lambda logs: witnesses_of(directory, *logs),
            clock=clock,
            freshen_s=FRESHEN_S,
        )
        metrics = Metrics()
        metrics.gauge("keyturn_log_entries", "Entries under the published checkpoint.", lambda: publisher.published[0])
        metrics.gauge("keyturn_log_published_seconds", "When it was published (POSIX).", lambda: publisher.published[1])
        appended = publisher.wake

        def address() -> str | None:
            return find_lab(str(directory)).configured_url

        app = create_app(
            around=() if behind_proxy else (for_this_machine(address),),
            access=authzen_routes(
                view=_access_view(directory, lab.log, clock),
                admission=lab.admission,
                index=lab.index,
                clock=clock,
                appended=appended,
                address=address,
            ),
            metrics=metrics,
            rates=rates,
            login=login,
            admission=lab.admission,
            log=lab.log,
            index=lab.index,
            tile=lab.log.tile,
            trust_file=trust_store(directory).read_file,
            appended=appended,
            processes=lambda: find_lab(str(directory)).processes(),
        )
        publisher.start()
        try:
            shell.serve(
                app, name="service", run_dir=directory / "run", port=port, behind_proxy=behind_proxy, alone=False
            )
        finally:
            publisher.stop()


def _access_view(directory: Path, log: LogReader, clock: Clock) -> AccessView:
    """A view from the root that lies in the lab's directory: the service's own, whose answers nobody believes."""
    root = trust_store(directory).read_file("root.json")
    if root is None:
        raise still_founding("nothing is published yet, so there is nothing to serve", trust_store(directory))
    return AccessView(root, pinned_sha256=sha256(root), log=log, clock=clock)
