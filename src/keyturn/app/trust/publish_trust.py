"""Publish what is staged, once a threshold of humans has signed it.

(1) every version is verified as a gate will verify it; (2) it is written down under its number, which is what makes it
published; (3) TUF clients' files are written; (4) the versions go to the log; (5) snapshot and timestamp are renewed; (6) the
stage is cleared. A crash anywhere leaves something that the same command finishes: every step, done again, is done.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.app.trust.lab_policy import check_policy
from keyturn.app.trust.lab_trust import read_history
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused
from keyturn.formats import trust_version
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.trust_version import TrustVersion
from keyturn.ports import Clock, LogWriter, TrustStore
from keyturn.trust.history import TrustHistory
from keyturn.trust.metadata import parse_targets_metadata
from keyturn.trust.signing import add_signature, make_snapshot, make_timestamp, next_snapshot_version

__all__ = ["Published", "publish_trust", "refresh_online"]


@dataclass(frozen=True, slots=True)
class Published:
    """What was published: the first root's SHA-256, (role, version) of each, and their indices in the log."""

    root_sha256: Sha256
    versions: tuple[tuple[str, int], ...]
    log_indices: tuple[int, ...]


def publish_trust(*, store: TrustStore, log: LogWriter, online: SoftwareKey, clock: Clock) -> Published:
    """Publish the staged versions; `Refused` by name when signatures are missing, and then nothing is written."""
    staged = tuple(store.staged())
    if not staged:
        raise Refused("trust-nothing-staged", "nothing awaits publication", hint="`keyturn trust propose`")
    published = list(store.versions())
    waiting = [raw for raw in staged if raw not in published]
    history = read_history(store, pinned_sha256=None)
    for raw in waiting:  # (1)
        history = _advance(history, trust_version.parse(raw), now=clock.now())
    assert history is not None  # staged is not empty, and published or waiting
    check_policy(history.current(now=clock.now()))
    for raw in waiting:  # (2)
        store.add_version(len(published) + 1, raw)
        published.append(raw)
    versions = tuple(trust_version.parse(raw) for raw in staged)
    for version in versions:  # (3)
        _write_tuf_files(version, store)
    indices = tuple(log.append(raw) for raw in staged)  # (4)
    refresh_online(store=store, online=online)  # (5)
    store.swap_staged(staged, ())  # (6)
    return Published(
        root_sha256=history.root_sha256,
        versions=tuple((version.role, version.version) for version in versions),
        log_indices=indices,
    )


def refresh_online(*, store: TrustStore, online: SoftwareKey) -> None:
    """Sign a new snapshot and timestamp over the newest targets, valid as long as those are.

    They serve other TUF clients and promise no freshness: that comes from the witnessed log.
    """
    raw = next(v.metadata for v in map(trust_version.parse, reversed(store.versions())) if v.role == "targets")
    targets = parse_targets_metadata(raw)
    number = next_snapshot_version(store.read_file("metadata/timestamp.json"))
    snapshot = add_signature(
        make_snapshot(raw, targets_version=targets.version, version=number, expires_at=targets.expires_at),
        online,
    )
    timestamp = make_timestamp(snapshot, version=number, expires_at=targets.expires_at)
    store.write_file(f"metadata/{number}.snapshot.json", snapshot)
    store.write_file("metadata/timestamp.json", add_signature(timestamp, online))


def _advance(history: TrustHistory | None, version: TrustVersion, *, now: int) -> TrustHistory:
    if history is not None:
        return history.advance(version, now=now)
    return TrustHistory.start(version.metadata, pinned_sha256=sha256(version.metadata))


def _write_tuf_files(version: TrustVersion, store: TrustStore) -> None:
    for path, content in version.files:
        folder, _, name = path.rpartition("/")
        store.write_file(f"targets/{folder}{'/' if folder else ''}{sha256(content)}.{name}", content)
    store.write_file(f"metadata/{version.version}.{version.role}.json", version.metadata)
    if version.role == "root" and version.version == 1:
        store.write_file("root.json", version.metadata)
