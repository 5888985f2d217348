"""A published lab on disk whose log and witness run as real processes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.adapters.clock import SystemClock, pause
from keyturn.adapters.files import run_files
from keyturn.adapters.files.key_files import write_key
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.config import lab as lab_config
from keyturn.config.lab import LabConfig
from keyturn.formats.records import leaf_of
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint
from keyturn.wiring.custody.builder import default_runtimes, make_builder
from keyturn.wiring.gates.release import init_gate
from keyturn.wiring.lab.notify import init_notify
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import lab_log
from support.labs import Lab
from support.processes import Process, running, wait_for

__all__ = ["LabOnDisk", "put_on_disk"]


@dataclass
class LabOnDisk:
    """A lab's directory, and the keys of everybody in it; `lab` becomes another when people publish."""

    path: Path
    lab: Lab

    @contextmanager
    def serving(self, *words: str, name: str) -> Iterator[tuple[Process, str]]:
        """Run `keyturn *words --lab .` until it serves as `name`; gives the process and its URL."""
        arguments = [sys.executable, "-m", "keyturn", *words, "--lab", str(self.path)]
        with running(arguments, environment={"KEYTURN_HOME": str(self.path / "nobody")}) as process:
            yield process, wait_for(f"`{name}`", lambda: self._address(name, process), process)

    def _address(self, name: str, process: Process) -> str | None:
        found = run_files.find(self.path / "run", name)
        started = (self.path / "run" / f"{name}.json").read_text() if found else ""
        return found if f'"pid": {process.pid}' in started else None

    def witness(self, name: str = "north") -> AbstractContextManager[tuple[Process, str]]:
        return self.serving("witness", "serve", name, name=f"witness-{name}")

    def in_force(self, url: str, index: int, raw: bytes, *, deadline_s: float = 30) -> WitnessedCheckpoint:
        """Wait until the record `raw`, at `index` of the log at `url`, is in force under the newest trust."""
        state = self.lab.state
        return await_witnessed(
            LogOverHttp(url),
            index=index,
            leaf=leaf_of(raw),
            log=state.log,
            limits=state.limits,
            clock=SystemClock(),
            pause=pause,
            deadline_s=deadline_s,
        )

    def copied(self, path: Path, witnesses: Mapping[str, str]) -> LabOnDisk:
        """The same lab on another machine, whose log service has the same keys and database, and its own of everything else."""
        shutil.copytree(self.path, path, ignore=shutil.ignore_patterns("run", "witness"))
        config = lab_config.parse((path / "keyturn.toml").read_bytes())
        (path / "keyturn.toml").write_bytes(lab_config.render(replace(config, witnesses=witnesses)))
        return LabOnDisk(path, self.lab)

    @contextmanager
    def gate(self) -> Iterator[tuple[Process, str]]:
        """Run the release gate, which pins the lab's root and has the gate's key."""
        if not (self.path / "gates" / "release" / "gate.toml").exists():
            write_key(self.path / "gates" / "release" / "key", self.lab.gate_keys["release"], passphrase=None)
            init_gate(find_lab(str(self.path)), name="release", pin=self.lab.root_sha256)
        with self.serving("gate", "serve", "release", name="gate-release") as running:
            yield running

    @contextmanager
    def builder(self, work: Path) -> Iterator[tuple[Process, str]]:
        """Run the builder, which reads and writes below `work`."""
        if not (self.path / "builder" / "builder.toml").exists():
            write_key(self.path / "builder" / "key", self.lab.builder_keys["builder"], passphrase=None)
            pin, runtime = self.lab.root_sha256, default_runtimes()
            make_builder(
                find_lab(str(self.path)), name="builder", work=(str(work),), runtime=runtime, private=(), pin=pin
            )
        with self.serving("builder", "serve", name="builder") as running:
            yield running

    @contextmanager
    def notifier(self) -> Iterator[tuple[Process, str]]:
        """Run a notifier that has nobody to tell."""
        if not (self.path / "notify" / "notify.toml").exists():
            init_notify(find_lab(str(self.path)), pin=self.lab.root_sha256)
        with self.serving("notify", "serve", name="notify") as running:
            yield running

    def log(self, *more: str) -> AbstractContextManager[tuple[Process, str]]:
        return self.serving("serve", "--quota", "100000", "--rate", "100000", *more, name="service")


def put_on_disk(lab: Lab, path: Path, *, in_log: bool = True, store: str | None = None) -> LabOnDisk:
    """Lay `lab` out in `path` as its founders would, with its trust versions in its log."""
    trust = TrustOnDisk(path / "trust")
    for number, container in enumerate(lab.containers, 1):
        trust.add_version(number, container)
    trust.write_file("root.json", lab.root_json)
    (path / "keyturn.toml").write_bytes(
        lab_config.render(LabConfig(lab=lab.name, service=None, witnesses={}, store=store))
    )
    write_key(path / "keys" / "log", lab.log_key, passphrase=None)
    for witness, key in lab.witness_keys.items():
        write_key(path / "witness" / witness / "key", key, passphrase=None)
    if in_log:
        with lab_log(path) as opened:
            for container in lab.containers:
                opened.admission.submit(container)
    return LabOnDisk(path, lab)
