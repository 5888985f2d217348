"""Set up and open a release gate in its directory: `gate.toml`, `root.json`, `key`, `state/`.

How it follows the log, and what its file can make stricter: `app.gates.follow_as_gate`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.release_journal import ReleaseJournalFiles
from keyturn.app.gates.follow_always import FollowedAlways
from keyturn.bulk import manifest
from keyturn.config import release_gate as gate_config
from keyturn.config.release_gate import ReleaseGateConfig
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused, Usage
from keyturn.formats.digest import sha256
from keyturn.formats.manifest import Manifest
from keyturn.formats.uri import Uri
from keyturn.gates.release.gate import ReleaseGate, ReleaseGateParts
from keyturn.gates.release.recorded import Recorded
from keyturn.trust.metadata import parse_root
from keyturn.wiring.gates.process import always, following, start_all
from keyturn.wiring.gates.set_up import gate_file, root_to_pin, set_up
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.trust.trust import own_pin, trust_store

__all__ = [
    "OpenedGate",
    "decisions_of",
    "hash_model",
    "init_demo_gate",
    "init_gate",
    "open_release_gate",
    "read_config",
]


def init_gate(
    place: LabPlace, *, name: str, pin: str | None, models: Sequence[str] = (), service: str | None = None
) -> tuple[ReleaseGateConfig, PublicKey]:
    """Write the gate's configuration and pinned root, and its key unless there is one; nothing is overwritten."""
    history = root_to_pin(place, pin)
    config = ReleaseGateConfig(
        name=name,
        resource=Uri(history.lab, "gate", name),
        service=service,
        pinned_root=history.root_sha256,
        models=tuple(models),
    )
    text = gate_config.render(config)
    gate_config.parse(text, where="options")
    return config, set_up(place.directory / "gates" / name, "gate.toml", text, pinned=history)


def init_demo_gate(place: LabPlace, *, name: str) -> None:
    """Set up the gate of a demo lab, pinning the root that lies beside it; `Usage` in any other lab."""
    root = trust_store(place.directory).read_file("root.json")
    if root is not None and parse_root(root).profile != "demo":
        raise Usage("gate-none", f"expected a gate `{name}` that is set up", hint=f"keyturn gate init {name}")
    pin = own_pin(place) or (None if root is None else sha256(root))
    init_gate(place, name=name, pin=pin, models=(str(place.directory.resolve().parent),))


def read_config(place: LabPlace, name: str) -> ReleaseGateConfig:
    """Read the gate's configuration, or raise `Usage` saying how to make one."""
    directory = place.directory / "gates" / name
    raw = gate_file(directory, hint=f"keyturn gate init {name}")
    return gate_config.parse(raw, where=str(directory / "gate.toml"))


@dataclass(frozen=True, slots=True)
class OpenedGate:
    """A release gate, what carries out its orders and writes them down, and what reads the log for it in between.

    In between it needs no nonce of its own, which opens, and logs none: it reads what takes access away, within seconds.
    """

    gate: ReleaseGate
    recorded: Recorded
    followed: FollowedAlways
    log_size: Callable[[], int]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Follow the log for as long as the block runs."""
        stop = threading.Event()
        start_all({"follow": lambda: self.followed.run(stop)}, stop)
        try:
            yield
        finally:
            stop.set()


def open_release_gate(place: LabPlace, name: str) -> OpenedGate:
    """Make the release gate `name` of the lab at `place`: reads its key once, and pins its root."""
    config = read_config(place, name)
    directory = place.directory / "gates" / name
    it = following(config, directory, service=lambda: config.service or place.service_url)
    journal = ReleaseJournalFiles(directory / "state")
    gate = ReleaseGate(
        ReleaseGateParts(
            gate=config.resource,
            key=it.key,
            root_json=it.root_json,
            pinned_sha256=config.pinned_root,
            log=it.log,
            writer=it.log,
            journal=journal,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            refresh=it.followed.refresh,
            await_witnessed=it.followed.await_witnessed,
            hash_model=lambda path: hash_model(path, config.models),
            seen=lambda: it.followed.seen,
            obey=lambda negative: it.pushed.take(negative, it.followed.seen),
            obeying=it.pushed.over,
            verify_evidence=Verifiers().verify,
        )
    )
    recorded = Recorded(
        gate.release, gate=config.resource, journal=journal, decisions=decisions_of(directory), clock=SystemClock()
    )
    return OpenedGate(gate, recorded, always(it.followed.follow), lambda: it.followed.seen.frontier.size)


def decisions_of(directory: Path) -> DecisionFiles:
    """What the gate in `directory` decided."""
    return DecisionFiles(directory / "state" / "decisions")


def hash_model(path: str, allowed: Sequence[str]) -> Manifest:
    """Hash the model at `path`, which must lie below one of the directories `allowed`; links are followed nowhere."""
    real = os.path.realpath(path)
    if real != path or not any(real.startswith(f"{os.path.realpath(base)}/") for base in allowed):
        raise Refused(
            "model-path",
            "expected an absolute path without links, below a directory of the gate's `[release] models`",
            hint="ask the gate's operator, or leave the path out: the gate then releases a digest",
        )
    return manifest.make(Path(path))
