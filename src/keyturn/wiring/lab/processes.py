"""Say which processes of a lab run on this machine: those whose keys lie in its directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keyturn.adapters.files.config_files import read_kept
from keyturn.adapters.supervisor import Process
from keyturn.app.trust.lab_trust import still_founding
from keyturn.config.gate_head import kind_of
from keyturn.errors import Usage
from keyturn.wiring.lab.notify import CONFIG as NOTIFY_CONFIG
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log_keys import key_names
from keyturn.wiring.trust.trust import trust_store

__all__ = ["processes_of"]


_GATES = {"release": ("gate", "serve"), "postgres": ("gate", "postgres", "run"), "local": ("gate", "local", "run")}
"""What runs a gate of each kind. A script is its own process, and a host's gate is of its host."""


def processes_of(lab: str | None, *, service: Sequence[str]) -> tuple[Path, tuple[Process, ...]]:
    """The lab's directory and its processes, in the order in which they need each other; `Usage` when there are none.

    `service` are options of `keyturn serve`, refused where the service is not of this machine: it would stay open, unnoticed.
    """
    place = find_lab(lab).directory
    if not trust_store(place).versions():
        raise still_founding("nothing is published yet, so there is nothing to serve", trust_store(place))
    at = ("--lab", str(place))
    found = [
        Process(f"witness-{key.parent.name}", ("witness", "serve", key.parent.name, *at))
        for key in sorted(place.glob("witness/*/key"))
    ]
    if key_names(place):
        found.append(Process("service", ("serve", *at, *service)))
    elif service:
        raise Usage(
            "lab-no-service",
            f"`{service[0]}` is for the lab's service, whose key is not in `{place}`",
            hint="keyturn serve with it, on the machine of the service; here keyturn up without",
        )
    if (place / "builder" / "key").exists():
        found.append(Process("builder", ("builder", "serve", *at)))
    for key in sorted(place.glob("gates/*/key")):
        if (words := _GATES.get(_kind_of(key.parent), ())) != ():
            found.append(Process(f"gate-{key.parent.name}", (*words, key.parent.name, *at)))
    if (place / NOTIFY_CONFIG).exists():
        found.append(Process("notify", ("notify", "serve", *at)))
    if not found:
        raise Usage("lab-no-processes", f"no process of the lab has its key in `{place}`", hint="keyturn init")
    return place, tuple(found)


def _kind_of(gate: Path) -> str:
    path = gate / "gate.toml"
    return (
        kind_of(read_kept(path), where=str(path)) if path.exists() else "release"
    )  # a demo lab's is set up when it starts
