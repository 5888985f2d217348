"""Find a bastion of the lab: where it answers, what it says of itself, and the key of its SSH server."""

from __future__ import annotations

from keyturn.adapters.keys.memory_file import MemoryFile
from keyturn.adapters.keys.session_key import known_host
from keyturn.adapters.over_http.bastion_over_http import bastion_host_key, bastion_terms
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Unavailable
from keyturn.formats.session_terms import BastionTerms
from keyturn.formats.uri import Uri
from keyturn.wiring.access.grants import Viewed

__all__ = ["bastion_url", "known_bastion", "recorded_by"]


def known_bastion(seen: Viewed, gate: Uri) -> MemoryFile:
    """A known_hosts file with the key of the bastion `gate`, which that gate's key signed, as the lab's targets list it."""
    listed = seen.trust.gates.get(str(gate))
    if listed is None:
        raise Unavailable("gate-unknown", f"`{gate}` is no gate of trust version {seen.trust.targets_version}")
    return known_host(gate.name, bastion_host_key(bastion_url(seen, gate.name), gate=str(gate), key=listed.key))


def recorded_by(seen: Viewed, name: str, session_key: PublicKey) -> BastionTerms:
    """What a request says of the bastion `name`, as that one says it for `session_key`."""
    return bastion_terms(bastion_url(seen, name), session_key)


def bastion_url(seen: Viewed, name: str) -> str:
    """Where the bastion `name` answers over HTTP, as the lab says."""
    url = seen.place.processes().get(f"gate-{name}")
    if url is None:
        raise Unavailable(
            "gate-address",
            f"no address of the bastion `{name}` is known",
            hint=f"its address belongs in the `[processes]` of the lab's keyturn.toml, as gate-{name}",
        )
    return url
