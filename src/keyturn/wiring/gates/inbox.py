"""Take what people bring to a gate for sessions in files, and read what lies there."""

from __future__ import annotations

from contextlib import suppress

from keyturn.adapters.files.gate_inbox import GateInbox
from keyturn.app.access.break_glass_file import pending_in
from keyturn.app.access.recovery_file import recovery_in
from keyturn.errors import KeyturnError, Malformed
from keyturn.gates.session_grants import Brought
from keyturn.grants import bundle as bundles

__all__ = ["bring", "brought"]


def bring(inbox: GateInbox, raw: bytes) -> str:
    """Put the break-glass bundle or recovery grant `raw` into `inbox`; gives which it is, or raises `Malformed`."""
    try:
        pending_in(bundles.parse(raw))
    except Malformed:
        recovery_in(raw)
        inbox.put(raw, "recovery")
        return "recovery grant"
    inbox.put(raw, "bundle")
    return "break-glass bundle"


def brought(inbox: GateInbox) -> Brought:
    """What lies in `inbox`."""
    found, recoveries = [], []
    for raw in inbox.files("bundle"):
        with suppress(KeyturnError):  # whoever can write there can bring anything: what is no bundle opens nothing
            bundle = bundles.parse(raw)
            found.append((pending_in(bundle).made, bundle))
    for raw in inbox.files("recovery"):
        with suppress(KeyturnError):
            envelope, made = recovery_in(raw)
            recoveries.append((made, envelope))
    return Brought(tuple(found), tuple(recoveries))
