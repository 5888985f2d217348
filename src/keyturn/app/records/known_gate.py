"""Refuse a request for a gate that the lab does not have: before it is signed, and at the log's door.

No gate would ever open for it. Gates decide nothing by this: each acts on requests that name it, and on no others.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.app.records.nearest import meant
from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest
from keyturn.trust.roster import Gate

__all__ = ["require_known_gate"]


def require_known_gate(made: AccessRequest, gates: Mapping[str, Gate]) -> None:
    """Return when `made` names one of `gates` (by URI, as the targets list them); else `Refused` `gate-unknown`."""
    if made.gate not in gates:
        raise Refused(
            "gate-unknown",
            f"`{made.gate[:200]}` is no gate of the lab: nothing would ever open for this",
            hint=meant(made.gate, gates, what="gates"),
        )
