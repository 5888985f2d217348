"""Join recovery grants to this machine: the root that is in force as far as can be known here, and whoever holds a root key."""

from __future__ import annotations

import os
from pathlib import Path

from keyturn.adapters.key_files import KeyFiles
from keyturn.adapters.log_over_http import LogOverHttp
from keyturn.app.lab_trust import read_history
from keyturn.config.person import home_of
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused, Usage
from keyturn.trust.metadata import RootMetadata
from keyturn.wiring.login import credentials_for
from keyturn.wiring.pinned_log import history_of
from keyturn.wiring.places import LabPlace
from keyturn.wiring.trust import own_pin, passphrase, person_keys, trust_store

__all__ = ["root_in_force", "trust_key"]


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
        raise Refused(
            "trust-founding",
            "the lab is founding: nothing is published yet",
            hint="keyturn trust show says what awaits signatures; then keyturn trust publish",
        )
    return history.root


def trust_key(path: Path | None) -> SoftwareKey:
    """The person's trust key, or the one at `path`."""
    keys = person_keys(home_of(os.environ)) if path is None else KeyFiles(lambda _: path, passphrase=passphrase())
    return keys.read("trust")
