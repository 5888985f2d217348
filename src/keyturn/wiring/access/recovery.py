"""Join recovery grants to this machine: the root that is in force, as far as can be known here."""

from __future__ import annotations

from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.trust.lab_trust import read_history, still_founding
from keyturn.errors import Usage
from keyturn.trust.metadata import RootMetadata
from keyturn.wiring.lab.credentials import credentials_for
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.pinned_log import history_of
from keyturn.wiring.trust.trust import own_pin, trust_store

__all__ = ["root_in_force"]


def root_in_force(place: LabPlace) -> RootMetadata:
    """The newest root of the lab: of its directory, which needs no log, or else of its log; from the root that was pinned."""
    if place.path is None:
        return history_of(LogOverHttp(place.url or "", credentials=credentials_for(place.url or ""))).root
    pin = own_pin(place)
    if pin is None:
        raise Usage(
            "trust-root-unpinned",
            "you have pinned no root of this lab",
            hint="compare the SHA-256 that `keyturn trust log` shows with a coworker, then `keyturn trust pin SHA256`",
        )
    history = read_history(trust_store(place.path), pinned_sha256=pin)
    if history is None:
        raise still_founding("nothing is published yet", trust_store(place.path))
    return history.root
