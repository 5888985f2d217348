"""List a lab's published trust versions, each verified, with who signed it and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.app.trust.lab_trust import read_history
from keyturn.errors import Refused
from keyturn.ports import Clock, TrustStore
from keyturn.trust.draft import ROOT_LIFETIME_S, TARGETS_LIFETIME_S
from keyturn.trust.history import Link, TrustHistory

__all__ = ["TrustLog", "listed", "trust_log"]


@dataclass(frozen=True, slots=True)
class TrustLog:
    """The lab, the SHA-256 of its first root, every version, and sentences about what ends soon."""

    lab: str
    profile: str
    root_sha256: str
    links: tuple[Link, ...]
    warnings: tuple[str, ...]


def trust_log(*, pinned_sha256: str | None, store: TrustStore, clock: Clock) -> TrustLog:
    """Verify and list what is published; warnings begin a third of the lifetime before the end."""
    history = read_history(store, pinned_sha256=pinned_sha256)
    if history is None:
        raise Refused(
            "trust-founding",
            "the lab is founding: nothing is published yet, so nothing is granted",
            hint="keyturn trust propose, then keyturn trust sign by each founder, then keyturn trust publish",
        )
    return listed(history, now=clock.now())


def listed(history: TrustHistory, *, now: int) -> TrustLog:
    """List the versions of a history, which is verified by being one."""
    warnings = []
    lifetimes = {"root": ROOT_LIFETIME_S, "targets": TARGETS_LIFETIME_S}
    for role, lifetime_s in lifetimes.items():
        newest = [link for link in history.links if link.role == role][-1:]
        for link in newest:
            if now >= link.expires_at:
                warnings.append(f"{role} version {link.version} has expired: every gate is closed")
            elif link.expires_at - now < lifetime_s // 3:
                days = (link.expires_at - now) // 86_400
                warnings.append(f"{role} version {link.version} expires in {days} days: propose --renew, sign, publish")
    return TrustLog(history.lab, history.profile, history.root_sha256, history.links, tuple(warnings))
