"""Write docs/openapi/: what each service's endpoints take and answer, as OpenAPI 3.1, from the services themselves.

python -m tools.openapi          # write docs/openapi/*.json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from keyturn.service import (
    authzen_routes,
    bastion_gate,
    builder_service,
    host_gate,
    lab_service,
    local_gate,
    notifier,
    postgres_gate,
    release_gate,
    witness_service,
)
from keyturn.service.login import Login
from keyturn.service.shell import document_of

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["APPS", "DOCUMENTS", "render"]

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ROOT / "docs" / "openapi"

_NOBODY: Any = SimpleNamespace(logs=(), start=None, stop=None)
"""Stands where a service keeps what it works with: describing an endpoint asks nothing of it."""


def _lab() -> Litestar:
    return lab_service.create_app(
        admission=_NOBODY,
        log=_NOBODY,
        index=_NOBODY,
        tile=_NOBODY,
        trust_file=_NOBODY,
        appended=_NOBODY,
        processes=_NOBODY,
        login=Login(verify=lambda token: None, certificates={"": "nobody"}, proxy_secret="-"),
        access=authzen_routes.authzen_routes(
            view=_NOBODY, admission=_NOBODY, index=_NOBODY, clock=_NOBODY, appended=_NOBODY, address=_NOBODY
        ),
    )


APPS: Mapping[str, Callable[[], Litestar]] = {
    "service": _lab,
    "builder": lambda: builder_service.create_app(_NOBODY),
    "release-gate": lambda: release_gate.create_app(_NOBODY, obey=_NOBODY, look=_NOBODY, about={}, log_size=_NOBODY),
    "bastion-gate": lambda: bastion_gate.create_app(
        _NOBODY, watch=_NOBODY, host_key="", host_key_proof="", obey=_NOBODY, look=_NOBODY, about={}
    ),
    "host-gate": lambda: host_gate.create_app(obey=_NOBODY, look=_NOBODY, about={}),
    "postgres-gate": lambda: postgres_gate.create_app(_NOBODY, obey=_NOBODY, look=_NOBODY, about=_NOBODY),
    "local-gate": lambda: local_gate.create_app({}, stands=_NOBODY, obey=_NOBODY, look=_NOBODY, about={}),
    "notifier": lambda: notifier.create_app(_NOBODY, _NOBODY),
    "witness": lambda: witness_service.create_app(_NOBODY, store=_NOBODY, clock=_NOBODY),
}
"""Each service by the name of its document."""


def render(app: Litestar) -> bytes:
    """The document of `app` as it lies in docs/openapi/: keys sorted, one member on each line."""
    return msgspec.json.format(msgspec.json.encode(document_of(app), order="deterministic"), indent=1) + b"\n"


def main() -> None:
    """Write the documents."""
    DOCUMENTS.mkdir(exist_ok=True)
    for name, make in APPS.items():
        (DOCUMENTS / f"{name}.json").write_bytes(render(make()))
    print(f"{DOCUMENTS.relative_to(ROOT)}/: {', '.join(APPS)}")


if __name__ == "__main__":
    main()
