"""People of a lab who run `keyturn`, each with a home; and a lab of two that is founded, served, and asked for access."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.crypto.signers import SoftwareKey
from support.commands import KEYTURN, error_of, keyturn, said_by
from support.processes import running, wait_for_file
from support.softhsm import PIN

POLICY = """
@id("weights-read") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"weights:read", resource in Model::"aurora");
"""
BREAK_GLASS = """
@id("repair") @quorum("1 security") @duration_max("30m") @pending_max("30m") @breakglass
permit (principal in Group::"research", action == Action::"weights:read", resource in Model::"aurora");
"""
RESOURCES = 'version = 1\n\n[[resources]]\nuri = "keyturn://acme.example/model/aurora"\n'


@dataclass
class People:
    """Members with a home each, in one place. There is no terminal: a PIN comes from a file, or from nowhere."""

    place: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = KEYTURN

    def run(self, member: str, *words: str) -> subprocess.CompletedProcess[str]:
        home, lab = self.place / member, self.place / "lab"
        return keyturn(*words, place=self.place, home=home, lab=lab, environment=self.environment, command=self.command)

    def by(self, member: str, *words: str) -> Any:
        return said_by(self.run(member, *words, "--json"))

    def refused(self, member: str, *words: str, status: int = 1) -> str:
        """The code of the error that `words` end with, and with this exit status."""
        return str(error_of(self.run(member, *words, "--json"), status=status)["code"])

    @property
    def lab(self) -> Path:
        return self.place / "lab"

    def pin(self, value: str = PIN) -> None:
        path = self.place / "pin"
        path.write_text(value)
        path.chmod(0o600)
        self.environment["KEYTURN_UNSAFE_PIN_FILE"] = str(path)

    def found(self, *, group: str = "research") -> None:
        """Ada, of `group`, founds a lab, and invites bob."""
        init = ("init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada", "--full-name", "Ada")
        self.by("ada", *init, "--group", group, "--witness", "north")
        self.by("ada", "trust", "invite", "bob", "--new-group", "security")

    def invite_again(self) -> None:
        """Ada invites bob to the draft as it is now: an invitation says where the lab's passkeys and security keys sign."""
        (self.place / "bob.invitation.json").unlink()
        self.by("ada", "trust", "invite", "bob", "--group", "security")

    def publish(self, *, policy: str = POLICY, members: tuple[str, ...] = ("bob",), resources: str = RESOURCES) -> None:
        """Ada and bob sign `policy`, and the roster in which the acceptances of `members` are; everybody pins the root."""
        draft = self.place / "lab" / "trust" / "draft"
        (draft / "policy").mkdir(exist_ok=True)
        (draft / "policy" / "main.cedar").write_text(policy)
        (draft / "resources.toml").write_text(resources)
        accepted = [word for member in members for word in ("--acceptance", f"{member}.acceptance.json")]
        self.by("ada", "trust", "propose", *accepted)
        for member in ("ada", "bob"):
            self.by(member, "trust", "sign", "--yes")
        self.by("ada", "trust", "publish")
        pin = hashlib.sha256((self.place / "lab" / "trust" / "root.json").read_bytes()).hexdigest()
        for member in ("ada", *members):
            self.by(member, "trust", "pin", pin)

    @contextmanager
    def served(self) -> Iterator[None]:
        """The lab's witness, log and gate run."""
        lab, environment = self.place / "lab", {"KEYTURN_HOME": str(self.place / "ada")}
        with running([*KEYTURN, "witness", "serve", "north", "--lab", lab], environment=environment) as witness:
            wait_for_file(lab / "run" / "witness-north.json", witness)
            with running([*KEYTURN, "serve", "--lab", lab], environment=environment) as log:
                wait_for_file(lab / "run" / "service.json", log)
                if (lab / "log").is_dir():  # not in a database
                    wait_for_file(lab / "log" / "checkpoint", log)
                with running([*KEYTURN, "gate", "serve", "--lab", lab], environment=environment) as gate:
                    wait_for_file(lab / "run" / "gate-release.json", gate)
                    yield

    def ask(self, *more: str) -> str:
        """Ada asks for access, with the words `more`; the request's id."""
        session = SoftwareKey.generate().public.text
        words = ("weights:read", "model/aurora", "--gate", "gate/release", "--reason", "a look", "--duration", "30m")
        return str(self.by("ada", "request", *words, *more, "--session-key", session, "--yes")["id"])
