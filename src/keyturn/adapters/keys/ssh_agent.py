"""Sign records through a running ssh-agent (draft-ietf-sshm-ssh-agent), or through `ssh-keygen` with a key in a file.

An agent answers whoever reaches its socket: it signs for programs that run as its owner, an AI agent among them. So an agent's
plain key never verifies its user, and a security key does because it, and not the agent, asks for PIN and touch.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from keyturn.crypto import sshsig as ssh
from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import sshsig
from keyturn.formats.sshsig import SshKey

__all__ = ["SshAgentSigner", "SshKeygenSigner", "agent_keys", "agent_path"]

_LIST, _LISTED = 11, 12
_SIGN, _SIGNED = 13, 14
_ANSWER_BYTES_MAX = 256 * 1024
_LIST_WITHIN_S = 5.0
_SIGN_WITHIN_S = 60.0
"""A person finds his security key and touches it."""


class SshAgentSigner:
    """`RecordSigner` by the agent at `path` (SSH_AUTH_SOCK)."""

    def __init__(self, credential: Credential, *, path: str) -> None:
        self._key = ssh.ssh_key(credential.key, application=credential.application)
        self._path = path
        self.public: PublicKey = credential.key

    def sign_record(self, message: bytes) -> bytes:
        _say_touch(self._key)
        asked = bytes([_SIGN]) + _string(sshsig.render_key(self._key)) + _string(ssh.to_be_signed(message)) + bytes(4)
        answer = _ask(self._path, asked, within_s=_SIGN_WITHIN_S)
        if answer[:1] != bytes([_SIGNED]) or len(answer) < 5:
            raise Refused(
                "ssh-agent-refused",
                f"the SSH agent did not sign with `{self.public.keyid[:16]}`",
                hint="ssh-add -l lists its keys; a security key must be here, and be touched in time",
            )
        return ssh.from_agent(self._key, answer[5:])


class SshKeygenSigner:
    """`RecordSigner` by `ssh-keygen -Y sign`, for a private key in `file`: it asks for passphrase, PIN and touch itself."""

    def __init__(self, credential: Credential, *, file: Path) -> None:
        self._key = ssh.ssh_key(credential.key, application=credential.application)
        self._file = file
        self.public: PublicKey = credential.key

    def sign_record(self, message: bytes) -> bytes:
        _say_touch(self._key)
        with tempfile.TemporaryDirectory(prefix="keyturn-") as name:
            payload = Path(name) / "record"
            payload.write_bytes(message)
            try:
                done = subprocess.run(
                    ["ssh-keygen", "-q", "-Y", "sign", "-n", sshsig.NAMESPACE, "-f", str(self._file), str(payload)],
                    capture_output=True,
                    check=False,
                )
            except OSError as err:
                raise Unavailable(
                    "ssh-keygen-missing", "ssh-keygen cannot be run", hint="apt-get install openssh-client"
                ) from err
            if done.returncode != 0:
                said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing"]
                raise Refused("ssh-keygen-refused", f"ssh-keygen did not sign with `{self._file}`: {said[0][:200]}")
            blob = ssh.canonical(sshsig.dearmor(payload.with_suffix(".sig").read_bytes()))
        if sshsig.parse(blob).key != self._key:
            raise Refused("ssh-key-other", f"`{self._file}` is another key than `{self.public.keyid[:16]}`")
        return blob


def agent_keys(path: str) -> tuple[SshKey, ...]:
    """The keys of the agent at `path` that can sign records; RSA and others are left out."""
    answer = _ask(path, bytes([_LIST]), within_s=_LIST_WITHIN_S)
    if answer[:1] != bytes([_LISTED]) or len(answer) < 5:
        raise Malformed("ssh-agent-answer", "the SSH agent answered with something else than its keys")
    found, at = [], 5
    for _ in range(int.from_bytes(answer[1:5], "big")):
        blob, at = _take(answer, at)
        _, at = _take(answer, at)  # the comment
        try:
            found.append(sshsig.parse_key(blob))
        except Malformed:
            continue
    return tuple(found)


def _say_touch(key: SshKey) -> None:
    """What OpenSSH would say at the terminal, and does not while a program reads what it says."""
    if key.is_security_key:
        sys.stderr.write("touch your security key when it blinks\n")
        sys.stderr.flush()


def _ask(path: str, message: bytes, *, within_s: float) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(within_s)
            agent.connect(path)
            agent.sendall(_string(message))
            size = int.from_bytes(_receive(agent, 4), "big")
            if size > _ANSWER_BYTES_MAX:
                raise Malformed("ssh-agent-answer", f"the SSH agent answers with {size} bytes")
            return _receive(agent, size)
    except OSError as err:
        raise Unavailable(
            "ssh-agent-unreachable",
            f"no SSH agent answers at `{path}`: {err.strerror or err}",
            hint="eval $(ssh-agent); ssh-add; SSH_AUTH_SOCK says where it is",
        ) from err


def _receive(agent: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        more = agent.recv(count - len(parts))
        if not more:
            raise Malformed("ssh-agent-answer", "the SSH agent hung up in the middle of its answer")
        parts += more
    return bytes(parts)


def _take(raw: bytes, at: int) -> tuple[bytes, int]:
    size = int.from_bytes(raw[at : at + 4], "big")
    if len(raw) - at - 4 < size:
        raise Malformed("ssh-agent-answer", "the SSH agent's list of keys is cut off")
    return raw[at + 4 : at + 4 + size], at + 4 + size


def _string(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def agent_path() -> str:
    """Where the agent of whoever runs this process is; `Unavailable` when there is none."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise Unavailable(
            "ssh-agent-unreachable", "SSH_AUTH_SOCK is not set: no SSH agent", hint="eval $(ssh-agent); ssh-add"
        )
    return path
