"""OpenSSH's own software authenticator, `sk-dummy.so` of Debian's `openssh-tests`, and an agent that signs with its keys.

Everything above it is what people run: ssh-keygen makes the key, ssh-agent and its helper process ask the authenticator. It
touches itself, and says that it verified its user when a key was made with `-O verify-required`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.keys.ssh_agent import SshAgentSigner, SshKeygenSigner
from keyturn.crypto import sshsig as ssh
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.formats import sshsig
from support.processes import running, wait_for

__all__ = ["PROVIDER", "OpenSshKey", "agent", "asking", "make_key"]

PROVIDER = Path("/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so")
"""bootstrap installs it."""


@dataclass(frozen=True)
class OpenSshKey:
    """A security key's file at `path`, and what signs with it; a member's in `support.world`."""

    path: Path
    credential: Credential
    signer: RecordSigner

    @property
    def public(self) -> PublicKey:
        return self.credential.key

    def sign_record(self, message: bytes) -> bytes:
        return self.signer.sign_record(message)


def make_key(
    place: Path, kind: str, *, verifies: bool, application: str = "ssh:", by_agent: str | None = None
) -> OpenSshKey:
    """Make a key (`ed25519-sk`, `ecdsa-sk`) in `place`, which ssh-keygen signs with, or the agent at the socket `by_agent`."""
    path = place / f"{kind}-{'verified' if verifies else 'touched'}"
    options = ["-O", f"application={application}", *(["-O", "verify-required"] if verifies else [])]
    words = ["ssh-keygen", "-q", "-N", "", "-C", "ada", "-t", kind, *options, "-w", str(PROVIDER), "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    key = sshsig.parse_public_line(path.with_suffix(".pub").read_text())
    credential = Credential(ssh.public_key(key), "ssh-sk", application=key.application)
    if by_agent is None:
        return OpenSshKey(path, credential, SshKeygenSigner(credential, file=path))
    words = ["ssh-add", "-q", "-S", str(PROVIDER), str(path)]
    subprocess.run(words, check=True, env={**os.environ, "SSH_AUTH_SOCK": by_agent}, capture_output=True)
    path.unlink()  # the agent alone has it
    return OpenSshKey(path, credential, SshAgentSigner(credential, path=by_agent))


@contextmanager
def agent(place: Path) -> Iterator[str]:
    """An agent that believes the authenticator; its socket."""
    path = place / "agent"
    with running(["ssh-agent", "-D", "-a", str(path), "-P", str(PROVIDER)]) as process:
        wait_for("the agent listens", lambda: path.exists() or None, process)
        yield str(path)


def asking(place: Path, pin: str = "1234") -> dict[str, str]:
    """The environment in which ssh-keygen gets `pin` from a program rather than from a terminal, and the authenticator signs."""
    program = place / "askpass"
    program.write_text(f"#!/bin/sh\necho {pin}\n")
    program.chmod(0o700)
    return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "SSH_SK_PROVIDER": str(PROVIDER)}
