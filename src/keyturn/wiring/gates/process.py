"""What the process of every gate is made of: it follows the log as its gate.toml says, and ends when one of its threads does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters import process_log
from keyturn.adapters.clock import SystemClock, SystemEntropy, pause, running
from keyturn.adapters.files.config_files import read_kept
from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.files.pushed_files import PushedFiles
from keyturn.app.gates.follow_always import FollowedAlways
from keyturn.app.gates.follow_as_gate import FollowedLog, Stricter
from keyturn.app.gates.follow_carried import FollowedCarried
from keyturn.app.gates.obey_pushed import PushedNegatives
from keyturn.config.gate_head import GateHead
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.grants.view import GateView
from keyturn.trust.history import TrustHistory
from keyturn.wiring.gates.set_up import ROOT_BYTES_MAX
from keyturn.wiring.log.found_log import FoundLog

__all__ = ["BelievedNow", "FollowingGate", "always", "following", "said_once", "start_all"]


@dataclass(frozen=True, slots=True)
class FollowingGate:
    """A gate's key and pinned root, the log as it follows it, and what was pushed to it meanwhile."""

    key: SoftwareKey
    root_json: bytes
    log: FoundLog
    followed: FollowedLog
    pushed: PushedNegatives


@dataclass(frozen=True, slots=True)
class BelievedNow:
    """The view that decisions are made by: what was believed last, with all that was read or pushed since that takes away."""

    followed: FollowedLog | FollowedCarried
    pushed: PushedNegatives

    @property
    def believed(self) -> GateView:
        return self.pushed.over(self.followed.believed.knowing(self.followed.seen.known))

    def refresh(self) -> GateView:
        return self.believed

    def await_witnessed(self, index: int, raw: bytes) -> None:
        self.followed.await_witnessed(index, raw)


def following(config: GateHead, directory: Path, *, service: Callable[[], str | None]) -> FollowingGate:
    """Read the key and the root in `directory` once, pin the root, and be ready to follow the log at `service`."""
    key = read_key(directory / "key", passphrase=None)
    root = read_kept(directory / "root.json", size_bytes_max=ROOT_BYTES_MAX)
    log, clock = FoundLog(service), SystemClock()
    followed = FollowedLog(
        TrustHistory.start(root, pinned_sha256=config.pinned_root),
        gate=config.resource,
        key=key,
        stricter=Stricter(witnesses_min=config.witnesses_min, log_age_max_s=config.log_age_max_s),
        observes=config.observes,
        log=log,
        clock=clock,
        entropy=SystemEntropy(),
        pause=pause,
        running=running,
    )
    return FollowingGate(key, root, log, followed, PushedNegatives(PushedFiles(directory / "state" / "pushed"), clock))


def always(refresh: Callable[[], object]) -> FollowedAlways:
    """Something that calls `refresh` by the clock, and says in the process's log when the log is not followed, and again is."""
    return FollowedAlways(refresh, said_once("log-not-followed", "the log is followed again"))


def start_all(works: Mapping[str, Callable[[], None]], stop: threading.Event) -> None:
    """Start a thread for each of `works`. When one ends before `stop`, the process does: else it would be half a gate."""
    for name, work in works.items():
        threading.Thread(target=_or_die, args=(work, stop), name=name, daemon=True).start()


def said_once(event: str, again: str) -> Callable[[KeyturnError | None], None]:
    """Something that says of a failure that it began, once for as long as it is the same, and that it is over: `again`."""
    before = ""

    def said(err: KeyturnError | None) -> None:
        nonlocal before
        code = "" if err is None else err.code
        if code and code != before:
            process_log.say("warning", event, err=err)
        elif before and not code:
            process_log.say("info", "works-again", again)
        before = code

    return said


def _or_die(work: Callable[[], None], stop: threading.Event) -> None:
    doing = threading.Thread(target=work, daemon=True)  # what ends it, Python prints
    doing.start()
    doing.join()
    if not stop.is_set():
        os._exit(70)  # EX_SOFTWARE
