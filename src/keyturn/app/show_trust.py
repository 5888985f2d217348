"""Show what is staged: every change whole, who has signed, who is still needed."""

from __future__ import annotations

from keyturn.app.lab_trust import published_files, read_history
from keyturn.errors import Refused
from keyturn.formats import trust_version
from keyturn.ports import TrustStore
from keyturn.trust.proposal import ProposedVersion, describe

__all__ = ["show_trust"]


def show_trust(*, store: TrustStore) -> tuple[ProposedVersion, ...]:
    """Describe the staged versions, from the bytes that would be signed; `Refused` when nothing is staged."""
    staged = tuple(trust_version.parse(raw) for raw in store.staged())
    if not staged:
        raise Refused("trust-nothing-staged", "nothing awaits signatures", hint="`keyturn trust propose`")
    return describe(staged, read_history(store, pinned_sha256=None), published_files(store))
