"""Read a lab's published trust from where it is kept, verified from the pinned root on.

Used by whoever works at the lab's directory. Gates and offline verifiers walk the versions that the log holds, with
`trust.history.walk`.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.app.records.founding import founding
from keyturn.errors import Malformed, Refused
from keyturn.formats import trust_version
from keyturn.formats.digest import sha256
from keyturn.ports import TrustStore
from keyturn.trust.history import TrustHistory, walk

__all__ = ["published_files", "read_history", "still_founding"]


def read_history(store: TrustStore, *, pinned_sha256: str | None) -> TrustHistory | None:
    """Verify every published version, or `None` when none is published yet.

    `pinned_sha256=None` is for the ceremony alone: it believes the first root that lies there, and so says nothing about
    whose lab it is.
    """
    versions = tuple(trust_version.parse(raw) for raw in store.versions())
    if not versions:
        return None
    if versions[0].role != "root":
        raise Malformed("trust-root-first", "expected the first published version to be a root, got targets")
    first = versions[0].metadata
    return walk(first, pinned_sha256=pinned_sha256 or sha256(first), versions=versions[1:], now=None)


def published_files(store: TrustStore) -> Mapping[str, bytes]:
    """The target files of the newest published targets version; none before the first."""
    for raw in reversed(store.versions()):
        version = trust_version.parse(raw)
        if version.role == "targets":
            return dict(version.files)
    return {}


def still_founding(what: str, store: TrustStore | None) -> Refused:
    """The lab is founding, so `what`; and what to type next, by how far it is: `store` is its trust, where that can be seen."""
    if store is None:
        return founding(what)
    if store.staged():
        hint = (
            "keyturn trust show says what awaits signatures, and whose; keyturn trust sign; then keyturn trust publish"
        )
    else:
        hint = (
            "`keyturn trust invite` who is missing, then keyturn trust propose, keyturn trust sign by each founder, "
            "then keyturn trust publish"
        )
    return founding(what, hint=hint)
