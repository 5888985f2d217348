"""Find a host gate that only observes: it holds nobody up, so whatever else opens the host does.

It is a finding for as long as it is so, also before its own end date, and also when nothing else is found: two people accept it
for the time that it is wanted, as any other door.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from keyturn.standing.finding import Finding, found, unseen
from keyturn.standing.host.tree import HostTree, look

__all__ = ["scan_gates"]

AREA = "gates"
_CONFIG = "/var/lib/keyturn-host/gate.toml"


def scan_gates(tree: HostTree) -> Iterator[Finding]:
    """Look at the host gate's configuration, where `keyturn gate host install` puts it."""
    raw = yield from look(tree, AREA, _CONFIG)
    if raw is None:
        return
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as err:
        yield unseen(AREA, _CONFIG, f"it is no TOML: {str(err)[:100]}", close="")
        return
    if table.get("mode") != "enforce":
        name = table.get("name")
        yield found(
            "gate-observes",
            AREA,
            _CONFIG,
            opens="every account that sshd opens by other means",
            to="whoever has a key, password or certificate for it",
            severity="high",
            close=f"keyturn gate host install {name} --yes && systemctl restart keyturn-host && systemctl reload ssh"
            if isinstance(name, str) and name.replace("-", "").replace(".", "").replace("_", "").isalnum()
            else "",
            mark=(str(table.get("observe_until")),),
        )
