"""A bastion in front of a host, as a process of its own, with keyholders for what it records; and who opens it again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import x25519

from keyturn.adapters.files.key_files import write_key
from keyturn.adapters.over_http.bastion_over_http import bastion_terms
from keyturn.adapters.recordings.inside import cast_of
from keyturn.adapters.recordings.sealing import open_share, opened
from keyturn.config import person as person_config
from keyturn.config.person import PersonConfig
from keyturn.formats.sealed_recording import HEAD_BYTES_MAX, Header, parse_head
from keyturn.formats.session_terms import SessionTerms
from support.hosts import HOLDERS, Asked, Host, HostsLab
from support.labs import holder_key
from support.processes import Process, running, wait_for, wait_for_file

__all__ = ["WATCHER_ABSENT_S", "Bastion", "bastion_before"]

KEYTURN = (sys.executable, "-m", "keyturn")
WATCHER_ABSENT_S = 12


@dataclass
class Bastion:
    """The bastion `name`, in `place`. `behind` is the one host that it leads to."""

    name: str
    lab: HostsLab
    behind: Host
    place: Path
    keys: dict[str, x25519.X25519PrivateKey]
    process: Process | None = None
    port: int = 0
    url: str = ""
    words: tuple[str, ...] = field(default=())

    @property
    def recordings(self) -> Path:
        return self.place / "recordings"

    def start(self, *before: str) -> Process:
        (self.place / "run" / f"gate-{self.name}.json").unlink(missing_ok=True)
        words = [*before, *KEYTURN, "gate", "bastion", "run", "--dir", str(self.place)]
        self.process = self.lab.stack.enter_context(running(words))
        said = json.loads(wait_for_file(self.place / "run" / f"gate-{self.name}.json", self.process))
        self.url = said["url"]
        about = subprocess.run(["curl", "-sf", f"{self.url}/about"], capture_output=True, check=True).stdout
        self.port = int(json.loads(about)["ssh"].rpartition(":")[2])
        return self.process

    def ask(self, **terms: object) -> Asked:
        """A request through this bastion, for a session with these `terms` beside."""
        changed: dict[str, object] = {
            key: terms.pop(key) for key in ("requester", "duration_s", "action", "resource") if key in terms
        }
        proves, path = self.lab.identity()
        bastion = bastion_terms(self.url, proves.public)
        session = SessionTerms(bastion=bastion, **terms)  # type: ignore[arg-type]  # its fields
        return self.lab.ask_with(proves, path, self.behind.name, changed={"session": session, **changed})

    def granted(self, **terms: object) -> Asked:
        asked = self.ask(**terms)
        self.lab.say(asked, "bob")
        return asked

    def home(self, member: str) -> dict[str, str]:
        """The environment in which `member` runs commands, with the bastion's address known as on one machine."""
        home = self.lab.place / "homes" / member
        if not home.exists():
            write_key(home / "keys" / "member.pem", self.lab.lab.member_keys[member], passphrase=None)
            config = PersonConfig(member, self.lab.url, {self.lab.lab.name: self.lab.lab.root_sha256})
            (home / "config.toml").write_bytes(person_config.render(config))
            (home / "run").mkdir(mode=0o700)
        shutil.copy(self.place / "run" / f"gate-{self.name}.json", self.lab.disk.path / "run")
        return {"KEYTURN_HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "SSH_AUTH_SOCK": ""}

    def watch(self, asked: Asked, member: str) -> list[str]:
        """The words by which somebody watches."""
        place = ("--address", "127.0.0.1", "-p", str(self.port))
        return [*KEYTURN, "grant", "watch", f"req-{asked.digest[:32]}", *place, "-o", "LogLevel=ERROR", "--yes"]

    def front(self) -> Host:
        """The bastion as somebody's ssh sees it."""
        return Host(self.name, self.behind.place, self.port)

    def recorded(self, count: int, *, of: Asked) -> list[Path]:
        """The finished recordings of one request, once there are so many."""

        def found() -> list[Path] | None:
            all_ = sorted(self.recordings.glob("*.recording"), key=lambda path: path.stat().st_mtime_ns)
            here = [path for path in all_ if self.header(path).request == of.digest]
            return here if len(here) >= count else None

        return wait_for(f"{count} recordings", found, self.process)

    def header(self, path: Path) -> Header:
        with path.open("rb") as file:
            return parse_head(file.read(HEAD_BYTES_MAX))[0]

    def shares(self, path: Path, *holders: str) -> list[bytes]:
        return [open_share(self.header(path), holder, self.keys[holder]) for holder in holders]

    def cast(self, path: Path, *holders: str) -> list[list[object]]:
        """The lines of a recording as asciicast, opened by `holders`."""
        with path.open("rb") as file:
            inside = opened(file, self.shares(path, *(holders or ("carol", "eve"))))
            return [msgspec.json.decode(line) for line in cast_of(inside)]


def bastion_before(lab: HostsLab, host: Host, name: str = "front") -> Bastion:
    """Set the bastion `name` up in front of `host`, and start it."""
    place = lab.place / name
    write_key(place / "key", lab.lab.gate_keys[name], passphrase=None)
    keys = {holder: holder_key(holder) for holder in HOLDERS}
    found = Bastion(name, lab, host, place, keys)
    host_key = " ".join((host.place / "host_key.pub").read_text().split()[:2])
    words = [
        *(*KEYTURN, "gate", "bastion", "install", name, "--dir", str(place), "--service", lab.url, "--json"),
        *("--root-sha256", lab.lab.root_sha256, "--listen", "127.0.0.1", "--ssh-port", "0"),
        *("--behind", f"{host.name}={host.address}:{host.port}={host_key}"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    config = place / "gate.toml"
    config.write_text(config.read_text().replace("watcher_absent_s = 60", f"watcher_absent_s = {WATCHER_ABSENT_S}"))
    found.start()
    return found
