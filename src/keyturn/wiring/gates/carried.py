"""Join gates that do not reach the log to whoever carries it: the question that lies at one, its answer, and the taking of it.

What is done here is the same for every gate. Only the host gate is set up so, by a `gate.toml` without `service`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock, SystemEntropy, running
from keyturn.adapters.files import run_files
from keyturn.adapters.files.carried_log import CarriedLog, question_in
from keyturn.adapters.files.config_files import read_kept
from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.files.pushed_files import PushedFiles
from keyturn.app.gates.answer_gate import answer_question, require_answer, require_for
from keyturn.app.gates.follow_as_gate import Stricter, require_strict
from keyturn.app.gates.follow_carried import FollowedCarried
from keyturn.app.gates.obey_pushed import PushedNegatives
from keyturn.config.gate_head import GateHead
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Unavailable, Usage
from keyturn.formats import carried
from keyturn.grants.freshness import require_fresh
from keyturn.grants.view import GateView
from keyturn.trust.history import TrustHistory
from keyturn.wiring.access.grants import viewed, wait_until_in_force
from keyturn.wiring.gates.set_up import ROOT_BYTES_MAX
from keyturn.wiring.log.log import log_writer
from keyturn.wiring.log.pinned_log import pinned_start

__all__ = ["Answered", "CarriedGate", "Taken", "answer", "following_carried", "question", "take_answer"]


@dataclass(frozen=True, slots=True)
class CarriedGate:
    """As `gate_process.FollowingGate`, for a gate to which the log is carried."""

    key: SoftwareKey
    log: CarriedLog
    followed: FollowedCarried
    pushed: PushedNegatives


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer, how many leaves it has, and why the log refused any record of the question."""

    gate: str
    raw: bytes
    leaves: int
    size: int
    refused: tuple[KeyturnError, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer that was kept: the log's size with it, when it was cosigned, and why the gate opens for nobody all the same."""

    size: int
    cosigned_at: int
    closed: KeyturnError | None


def following_carried(config: GateHead, directory: Path, *, outbox: Callable[[], Iterable[bytes]]) -> CarriedGate:
    """Read the key and the root in `directory` once, and be ready to follow what is carried there; `outbox` waits for the log."""
    question_in(directory).unlink(missing_ok=True)  # of a process that is no more: an answer to it opens nothing
    key, clock, log = read_key(directory / "key", passphrase=None), SystemClock(), CarriedLog(directory)
    followed = FollowedCarried(
        _pinned(config, directory),
        gate=config.resource,
        key=key,
        stricter=_stricter(config),
        observes=config.observes,
        log=log,
        outbox=outbox,
        clock=clock,
        entropy=SystemEntropy(),
        running=running,
    )
    return CarriedGate(key, log, followed, PushedNegatives(PushedFiles(directory / "state" / "pushed"), clock))


def question(config: GateHead, directory: Path) -> bytes:
    """What the gate in `directory` asks now; `Unavailable` when it does not run, since nobody remembers the nonce then."""
    _require_carried(config)
    return _question(config, directory)


def answer(raw: bytes, *, lab: str | None) -> Answered:
    """Answer the question `raw` from the log of `lab`, of which whoever runs this has pinned the first root."""
    asked, clock = carried.parse_question(raw), SystemClock()
    with viewed(lab) as seen, log_writer(seen.place) as writer:
        start: GateView = GateView.start(pinned_start(seen.reader), gate=None, nonce_record=None)
        made, refused = answer_question(
            asked, start, seen.reader, writer, lambda logged: wait_until_in_force(seen, logged), now=clock.now
        )
    size = made.start + len(made.leaves)
    return Answered(asked.gate, carried.render_answer(made), len(made.leaves), size, refused)


def take_answer(config: GateHead, directory: Path, raw: bytes) -> Taken:
    """Verify that `raw` answers the question of the gate in `directory`, and keep it for the gate; raises by name when not."""
    _require_carried(config)
    made = carried.parse_answer(raw)
    asked = carried.parse_question(_question(config, directory))
    log, now = CarriedLog(directory), SystemClock().now()
    require_for(made, asked, log.records)
    log.add(made)
    view: GateView = GateView.start(_pinned(config, directory), gate=config.resource, nonce_record=None)
    seen = require_answer(made, view, log, now=now)
    log.put(raw, log.size)
    closed: KeyturnError | None = None
    try:
        require_strict(seen, _stricter(config), now=now)
        require_fresh(seen, now=now, break_glass=False)
    except KeyturnError as err:
        closed = err
    assert seen.checkpoint is not None
    return Taken(log.size, seen.checkpoint.cosigned_at, closed)


def _pinned(config: GateHead, directory: Path) -> TrustHistory:
    root = read_kept(directory / "root.json", size_bytes_max=ROOT_BYTES_MAX)
    history: TrustHistory = TrustHistory.start(root, pinned_sha256=config.pinned_root)
    return history


def _stricter(config: GateHead) -> Stricter:
    return Stricter(witnesses_min=config.witnesses_min, log_age_max_s=config.log_age_max_s)


def _question(config: GateHead, directory: Path) -> bytes:
    name = f"gate-{config.name}"
    if run_files.find(directory / "run", name) is None:
        raise Unavailable(
            "process-not-running",
            f"`{name}` does not run, and a gate that starts asks anew",
            hint="start it first: systemctl start keyturn-host, or keyturn gate host run",
        )
    path = question_in(directory)
    if not path.exists():
        raise Unavailable(
            "question-none", "the gate asks nothing yet, or does not run", hint="it asks within a second of its start"
        )
    return read_kept(path, size_bytes_max=carried.QUESTION_BYTES_MAX)


def _require_carried(config: GateHead) -> None:
    if config.service is not None:
        raise Usage(
            "gate-reaches-log",
            f"gate.toml names `{config.service}`, and the gate follows the log there: nothing is carried to it",
            hint="remove `service` from gate.toml, and start the gate again, if it shall not",
        )
