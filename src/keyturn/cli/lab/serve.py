"""`keyturn serve`: run the lab's service, which people, gates and builders write to and read from, until told to stop."""

from __future__ import annotations

from keyturn.cli.lab.service_options import QUOTA, RATE, BehindProxy, LoginFile, Quota, Rate, ServicePort
from keyturn.cli.options import Lab, LogJson

__all__ = ["serve"]


def serve(
    port: ServicePort = 0,
    quota: Quota = QUOTA,
    log_json: LogJson = False,
    rate: Rate = RATE,
    behind_proxy: BehindProxy = False,
    login: LoginFile = None,
    lab: Lab = None,
) -> None:
    """Serve the lab: take records in, have them witnessed, and give them to people, gates and builders.

    It is a mailbox: nobody believes it, and whoever takes it over opens nothing.
    """
    from keyturn.adapters import process_log
    from keyturn.app.records.quotas import Quotas
    from keyturn.service.lab_service import serve_lab
    from keyturn.service.login import read_login
    from keyturn.service.rates import Rates
    from keyturn.wiring.lab.places import find_lab

    process_log.begin("service", log_json=log_json)
    rates = Rates(writes=rate, reads=10 * rate)
    serve_lab(
        find_lab(lab).directory,
        port=port,
        quotas=Quotas(records=quota),
        rates=rates,
        behind_proxy=behind_proxy,
        login=read_login(login, behind_proxy=behind_proxy) if login is not None else None,
    )
