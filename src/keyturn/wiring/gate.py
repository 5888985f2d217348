"""Set up and open a release gate in its directory: `gate.toml`, `root.json`, `key`, `state/`.

The gate follows the log with its own pinned root. At start, and every hour, it logs a fresh nonce, and believes no view
that lacks it; its file can only make it stricter than targets are (`config.gate`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.config_files import read_small, write_new
from keyturn.adapters.key_files import read_key, write_key
from keyturn.adapters.log_over_http import LogOverHttp
from keyturn.adapters.release_journal import ReleaseJournalFiles
from keyturn.bulk import manifest
from keyturn.config import gate as gate_config
from keyturn.config.gate import GateConfig
from keyturn.crypto import dsse_signing
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Unavailable, Usage
from keyturn.formats import access, checkpoint, dsse, leaf, note, records, statement
from keyturn.formats.access import GateCheckin
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.gates.release.gate import ReleaseGate, ReleaseGateParts
from keyturn.grants.view import GateView
from keyturn.ports import LogReader, LogWriter
from keyturn.trust.history import TrustHistory
from keyturn.trust.metadata import parse_root
from keyturn.wiring.places import LabPlace
from keyturn.wiring.trust import own_pin, trust_store

__all__ = ["FollowedLog", "init_demo_gate", "init_gate", "open_release_gate", "read_config"]

CHECKIN_EVERY_S = 3600
_WAIT_S = 30.0
_POLL_S = 0.05
_LEAVES = 4096
_ROOT_BYTES_MAX = 1 << 20


def init_gate(
    place: LabPlace, *, name: str, pin: str | None, models: Sequence[str] = (), service: str | None = None
) -> tuple[GateConfig, PublicKey]:
    """Write the gate's configuration and pinned root, and its key unless there is one; nothing is overwritten."""
    directory = place.directory / "gates" / name
    root = trust_store(place.directory).read_file("root.json")
    if root is None:
        raise Unavailable("trust-founding", "the lab is founding: it has no root that a gate could pin")
    pinned = pin or own_pin(place)
    if pinned is None:
        raise Usage(
            "trust-root-not-pinned",
            "expected the SHA-256 of the lab's first root, compared with a coworker",
            hint="keyturn trust pin SHA256, or --root SHA256",
        )
    history: TrustHistory = TrustHistory.start(root, pinned_sha256=pinned)
    config = GateConfig(
        name=name,
        resource=Uri(history.lab, "gate", name),
        service=service,
        pinned_root=history.root_sha256,
        models=tuple(models),
    )
    text = gate_config.render(config)
    gate_config.parse(text, where="options")
    if not (directory / "key").exists():
        write_key(directory / "key", SoftwareKey.generate(), passphrase=None)
    write_new(directory / "root.json", root)
    write_new(directory / "gate.toml", text)
    return config, read_key(directory / "key", passphrase=None).public


def init_demo_gate(place: LabPlace, *, name: str) -> None:
    """Set up the gate of a demo lab, pinning the root that lies beside it; `Usage` in any other lab."""
    root = trust_store(place.directory).read_file("root.json")
    if root is None or parse_root(root).profile != "demo":
        raise Usage("gate-none", f"expected a gate `{name}` that is set up", hint=f"keyturn gate init {name}")
    init_gate(place, name=name, pin=own_pin(place) or sha256(root), models=(str(place.directory.resolve().parent),))


def read_config(place: LabPlace, name: str) -> GateConfig:
    """Read the gate's configuration, or raise `Usage` saying how to make one."""
    path = place.directory / "gates" / name / "gate.toml"
    if not path.exists():
        raise Usage("gate-none", f"expected a gate at `{path.parent}`", hint=f"keyturn gate init {name}")
    return gate_config.parse(read_small(path), where=str(path))


def open_release_gate(place: LabPlace, name: str) -> ReleaseGate:
    """Make the release gate `name` of the lab at `place`: reads its key once, and pins its root."""
    config = read_config(place, name)
    directory = place.directory / "gates" / name
    key = read_key(directory / "key", passphrase=None)
    root = read_small(directory / "root.json", size_bytes_max=_ROOT_BYTES_MAX)
    log = _FoundLog(lambda: config.service or place.log_url)
    followed = FollowedLog(config, key, root, log)
    return ReleaseGate(
        ReleaseGateParts(
            gate=config.resource,
            key=key,
            root_json=root,
            pinned_sha256=config.pinned_root,
            log=log,
            writer=log,
            journal=ReleaseJournalFiles(directory / "state"),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            refresh=followed.refresh,
            await_witnessed=followed.await_witnessed,
            hash_model=lambda path: hash_model(path, config.models),
        )
    )


def hash_model(path: str, allowed: Sequence[str]) -> ArtifactDigest:
    """Digest the model at `path`, which must lie below one of the directories `allowed`; links are followed nowhere."""
    real = os.path.realpath(path)
    if real != path or not any(real.startswith(f"{os.path.realpath(base)}/") for base in allowed):
        raise Refused(
            "model-path",
            "expected an absolute path without links, below a directory of the gate's `[release] models`",
            hint="ask the gate's operator, or leave the path out: the gate then releases a digest",
        )
    return manifest.make(Path(path)).identity


class LogAtHand(LogReader, LogWriter, Protocol):
    """A log to read and to append to."""


class FollowedLog:
    """The gate's view of the log. Safe for threads; a refresh that fails changes nothing."""

    def __init__(self, config: GateConfig, key: SoftwareKey, root_json: bytes, log: LogAtHand) -> None:
        history: TrustHistory = TrustHistory.start(root_json, pinned_sha256=config.pinned_root)
        self._config = config
        self._key = key
        self._log = log
        self._clock = SystemClock()
        self._entropy = SystemEntropy()
        self._lock = threading.Lock()
        self._view = GateView.start(history, gate=config.resource, nonce_record=None)
        self._checked_in_at: int | None = None

    def refresh(self) -> GateView:
        """The newest view, with the gate's own nonce in it; raises when the log cannot be had or is not believed."""
        with self._lock:
            self._follow()
            now = self._clock.now()
            if self._checked_in_at is None or now - self._checked_in_at >= CHECKIN_EVERY_S:
                self._check_in(now)
            self._require_strict(now)
            return self._view

    def await_witnessed(self, index: int, raw: bytes) -> None:
        """Return when the view has `raw` at `index`, under the quorum's checkpoint; `Unavailable` after a while."""
        expected = leaf.render(records.leaf_of(raw))
        with self._lock:
            self._until(lambda: self._view.frontier.size > index)
            if list(self._log.leaves(index, index + 1)) != [expected]:
                raise Refused("use-not-logged", f"the log holds another record at entry {index}")

    def _check_in(self, now: int) -> None:
        made = GateCheckin(
            lab=self._config.resource.lab,
            nonce=self._entropy.nonce(),
            gate=str(self._config.resource),
            key=self._key.public.keyid,
            signed_at=now,
        )
        subject = (Subject(digest=DigestSet(sha256=self._config.resource.digest), name=self._config.name),)
        envelope = dsse_signing.sign(statement.make(made, access.GATE_CHECKIN, subject), self._key.signer())
        self._view = self._view.expecting(envelope.record_digest)
        self._log.append(dsse.render(envelope))
        self._until(lambda: self._view.nonce_seen)
        self._checked_in_at = now

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                self._follow()
                if holds():
                    return
            except (Unavailable, Refused):  # witnesses may be slow, or the log restarting
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise Unavailable(
                    "not-in-force",
                    "NOT IN FORCE: no quorum of witnesses cosigned what the gate logged",
                    hint="keyturn up",
                )
            time.sleep(_POLL_S)

    def _follow(self) -> None:
        now = self._clock.now()
        raw = self._log.checkpoint()
        size = checkpoint.parse_body(note.parse(raw).text).size
        start = self._view.frontier.size
        if size < start:
            raise Unavailable("log-behind", f"the log shows {size} entries, and the gate has seen {start}")
        read = self._view.following(now=now)
        while start < size:
            leaves = self._log.leaves(start, min(start + _LEAVES, size))
            read.take(leaves, self._envelopes(leaves, now))
            start += len(leaves)
        self._view = self._view.finish(read, raw, now=now)

    def _envelopes(self, leaves: Sequence[bytes], now: int) -> dict[Sha256, bytes]:
        found: dict[Sha256, bytes] = {}
        for digest in self._view.needed(leaves, now=now):
            try:
                found[digest] = self._log.envelope(digest)
            except KeyturnError:
                continue  # the view marks it unread: whoever it concerns is "could not find out"
        return found

    def _require_strict(self, now: int) -> None:
        seen, trust = self._view.checkpoint, self._view.known.newest
        if seen is None or trust is None:
            return  # `verify_grant` says so by name
        needed = self._config.witnesses_needed(trust.log.quorum)
        if len(seen.cosigners) < needed:
            raise Refused(
                "gate-witnesses", f"gate.toml asks for {needed} witnesses, the checkpoint has {len(seen.cosigners)}"
            )
        age_s = now - seen.cosigned_at
        if age_s > self._config.log_age_max(trust.limits.log_age_max_s):
            raise Refused("view-stale", f"the newest witnessed checkpoint is {age_s} s old", hint="keyturn log verify")


class _FoundLog:
    """The log service, looked up for each call: a process that starts again has another address."""

    def __init__(self, find: Callable[[], str | None]) -> None:
        self._find = find
        self._known: dict[str, LogOverHttp] = {}

    def checkpoint(self) -> bytes:
        return self._log().checkpoint()

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self._log().leaves(start, end)

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self._log().hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        return self._log().envelope(digest)

    def append(self, envelope: bytes) -> int:
        return self._log().append(envelope)

    def _log(self) -> LogOverHttp:
        url = self._find()
        if url is None:
            raise Unavailable("process-not-running", "the lab's log service does not run here", hint="keyturn up")
        if url not in self._known:
            self._known = {url: LogOverHttp(url)}
        return self._known[url]
