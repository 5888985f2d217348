"""Join `keyturn psql` to this machine: the session that people agreed to, the gate that certifies its key, and the program.

What holds the key and asks is `wiring.access.session_grant`; what runs psql is `adapters.hosts.libpq_client`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from keyturn.adapters.clock import SystemClock, pause
from keyturn.adapters.hosts.libpq_client import DatabasePlace, run_client
from keyturn.adapters.over_http.database_gate_over_http import DatabaseGateOverHttp
from keyturn.errors import KeyturnError, Usage
from keyturn.formats.gate_entry import GateEntry
from keyturn.formats.uri import Uri
from keyturn.gates.postgres.door import role_of
from keyturn.wiring.access.session_grant import AgreedSession, SessionWish, agreed
from keyturn.wiring.lab.places import find_lab

__all__ = ["OPENS_WITHIN_S", "run_by_grant"]

OPENS_WITHIN_S = 10.0
"""How long the gate may take to see in the log what this machine saw there."""
_AGAIN_EVERY_S = 0.5


def run_by_grant(
    lab: str | None,
    wish: SessionWish,
    words: tuple[str, ...],
    *,
    address: str | None,
    authority: Path | None,
    key: str | None,
    agree: Callable[[tuple[tuple[str, str], ...]], None],
    tell: Callable[[str], None],
    within_s: int,
) -> tuple[int, str]:
    """Ask, wait, and run `words` by the grant; gives the program's exit status, and the request's id."""
    find_lab(lab)
    if authority is not None and not authority.is_file():
        raise Usage("file-missing", f"no file `{authority}`", hint="--ca FILE: who certifies the server, as PEM")
    with agreed(lab, wish, key=key, agree=agree, tell=tell, within_s=within_s) as session:
        seen = session.seen
        uri = Uri.parse(wish.gate) if "/" in wish.gate else Uri(seen.trust.lab, "gate", wish.gate)
        gate = DatabaseGateOverHttp(
            seen.place.process_url(f"gate-{uri.name}"),
            seen.trust.gates[str(uri)],
            clock=SystemClock(),
            skew_max_s=seen.trust.limits.clock_skew_max_s,
        )
        entry = _opened(gate, session)
        place = DatabasePlace(
            address=address or entry.address,
            port=entry.port,
            database=entry.database,
            role=entry.role,
            authority=None if authority is None else str(authority.absolute()),
        )
        tell(f"{session.request}: {place.database} at {place.address}:{place.port} as {place.role}")
        status = run_client(
            words,
            place,
            key=session.key.path_for_tls(),
            certificate=entry.certificate.encode("ascii"),
            renew=lambda: gate.certify(session.key.signer, role=entry.role).certificate.encode("ascii"),
        )
        return status, session.request


def _opened(gate: DatabaseGateOverHttp, session: AgreedSession) -> GateEntry:
    until = time.monotonic() + OPENS_WITHIN_S
    while True:
        try:
            return gate.certify(session.key.signer, role=role_of(session.digest))
        except KeyturnError:
            if time.monotonic() > until:
                raise
        pause(_AGAIN_EVERY_S)
