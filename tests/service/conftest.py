"""A published lab on disk whose log and witness run as real processes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from keyturn.adapters import run_files
from keyturn.adapters.key_files import write_key
from keyturn.adapters.trust_on_disk import TrustOnDisk
from keyturn.config import lab as lab_config
from keyturn.config.lab import LabConfig
from keyturn.wiring.log import lab_log
from support.labs import Lab, make_lab
from support.processes import Process, running, wait_for


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

    def witness(self, name: str = "north"):  # type: ignore[no-untyped-def]
        return self.serving("witness", "serve", name, name=f"witness-{name}")

    def copied(self, path: Path, witnesses: Mapping[str, str]) -> LabOnDisk:
        """The same lab on another machine, whose log service has the same keys and database, and its own of everything else."""
        shutil.copytree(self.path, path, ignore=shutil.ignore_patterns("run", "witness"))
        config = lab_config.parse((path / "keyturn.toml").read_bytes())
        (path / "keyturn.toml").write_bytes(lab_config.render(replace(config, witnesses=witnesses)))
        return LabOnDisk(path, self.lab)

    def log(self):  # type: ignore[no-untyped-def]
        return self.serving("serve", "--quota", "100000", "--rate", "100000", name="service")


@pytest.fixture
def make_lab_on_disk(tmp_path: Path) -> Callable[..., LabOnDisk]:
    def make(*, witnesses: tuple[str, ...] = ("north",), in_log: bool = True, store: str | None = None) -> LabOnDisk:
        lab = make_lab(now=int(time.time()), witnesses=witnesses)
        path = tmp_path / "lab"
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

    return make
