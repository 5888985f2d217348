"""Set up and open a gate of one's own in its directory: `gate.toml`, `root.json`, `key`, `state/`.

It lies in a lab's directory as a release gate does (`gates/<name>`), or anywhere, when gate.toml names the service. One
process has it at a time: what two would keep of its uses and decisions would not agree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.files.config_files import read_kept
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.run_files import held
from keyturn.adapters.files.use_journal import UseJournalFiles, unwritable_as_ours
from keyturn.app.gates.follow_always import FollowedAlways
from keyturn.config import own_gate as gate_config
from keyturn.config.own_gate import Door, OwnGateConfig, Socket
from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Unavailable, Usage
from keyturn.formats.uri import Uri
from keyturn.gates.own.gate import OwnGate, OwnGateParts, Purpose
from keyturn.gates.recorder import Recorder
from keyturn.grants.verify_grant import VerifiedGrant
from keyturn.wiring.gates.process import following, said_once
from keyturn.wiring.gates.set_up import root_to_pin, set_up
from keyturn.wiring.lab.places import LabPlace, find_lab

__all__ = ["OpenedOwnGate", "Purpose", "init_gate", "open_own_gate", "purposes_of", "read_config", "require_socket"]


def init_gate(
    place: LabPlace,
    *,
    name: str,
    service: str | None,
    pin: str | None,
    socket: Socket | None = None,
    doors: Mapping[str, Door] | None = None,
) -> tuple[OwnGateConfig, PublicKey]:
    """Write the gate's configuration, pinned root and key; nothing is overwritten. With `socket`, programs ask it there."""
    history = root_to_pin(place, pin)
    config = OwnGateConfig(
        name=name,
        resource=Uri(history.lab, "gate", name),
        service=service,
        pinned_root=history.root_sha256,
        socket=socket,
        doors=doors or {},
    )
    purposes_of(config)
    text = gate_config.render(config)
    gate_config.parse(text, where="options")
    return config, set_up(place.directory / "gates" / name, "gate.toml", text, pinned=history)


def read_config(directory: Path) -> OwnGateConfig:
    """Read the configuration of the gate in `directory`, or raise `Usage` saying how to make one."""
    path = directory / "gate.toml"
    if not path.exists():
        raise Usage("gate-none", f"expected a gate at `{directory}`", hint="keyturn gate script init NAME")
    return gate_config.parse(read_kept(path), where=str(path))


def purposes_of(config: OwnGateConfig) -> Mapping[str, Purpose]:
    """What each door is for, by name; `Refused` for one that nothing could ever open."""
    return {name: Purpose(door.action, Uri.parse(door.resource)) for name, door in config.doors.items()}


def require_socket(config: OwnGateConfig) -> Socket:
    """Where the gate answers; `Usage` when it is a program's own."""
    if config.socket is None:
        raise Usage(
            "gate-of-a-script",
            f"the gate `{config.name}` is a program itself, which opens its directory",
            hint="run that program; a gate at a socket: keyturn gate local init",
        )
    return config.socket


@dataclass(frozen=True, slots=True)
class OpenedOwnGate:
    """A gate, and what follows the log for it as long as it is open."""

    config: OwnGateConfig
    gate: OwnGate
    followed: FollowedAlways
    follower: threading.Thread

    def open(self, request: str, purpose: Purpose) -> VerifiedGrant:
        """As `OwnGate.open`."""
        return self.gate.open(request, purpose)

    def stands(self, grant: VerifiedGrant) -> None:
        """As `OwnGate.stands`; and `Unavailable` when nobody follows the log any more."""
        if not self.follower.is_alive():
            raise Unavailable(
                "gate-not-following",
                "nothing follows the log for this gate any more",
                hint="start the program again; what was given stands no more",
            )
        self.gate.stands(grant)


@contextmanager
def open_own_gate(
    directory: Path, *, failed: Callable[[KeyturnError | None], None] | None = None
) -> Iterator[OpenedOwnGate]:
    """Open the gate in `directory` for as long as the block runs; `Conflict` when another process has it.

    `failed` is told when the log is not followed, and None when it is again; the process's log is, unless it is given.
    """
    directory = directory.absolute()
    config, state = read_config(directory), directory / "state"
    with unwritable_as_ours():
        state.mkdir(mode=0o700, exist_ok=True)
    with held(state, config.name):
        gate, refresh = _made(config, directory)
        followed = FollowedAlways(refresh, failed or said_once("log-not-followed", "the log is followed again"))
        stop = threading.Event()
        follower = threading.Thread(target=followed.run, args=(stop,), name="follow", daemon=True)
        follower.start()
        try:
            yield OpenedOwnGate(config, gate, followed, follower)
        finally:
            stop.set()


def _made(config: OwnGateConfig, directory: Path) -> tuple[OwnGate, Callable[[], object]]:
    it = following(config, directory, service=lambda: config.service or _beside(directory))
    clock, state = SystemClock(), directory / "state"
    gate = OwnGate(
        OwnGateParts(
            gate=config.resource,
            key=it.key,
            journal=UseJournalFiles(state),
            recorder=Recorder(DecisionFiles(state / "decisions"), gate=config.resource, clock=clock),
            writer=it.log,
            clock=clock,
            entropy=SystemEntropy(),
            refresh=it.followed.refresh,
            newest=lambda: it.followed.believed,
            seen=lambda: it.followed.seen,
            # What is known of takings-away is newer than what was believed with a nonce, as at every gate.
            obeying=lambda view: it.pushed.over(view.knowing(it.followed.seen.known)),
            strict=it.followed.require_strict,
            obey=lambda negative: it.pushed.take(negative, it.followed.seen),
            await_witnessed=it.followed.await_witnessed,
        )
    )
    return gate, it.followed.refresh


def _beside(directory: Path) -> str | None:
    return find_lab(str(directory.parent.parent)).service_url
