"""A token that its holder gave to an SSH agent (`ssh-add -s`), and an AI agent that reaches the agent's socket."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import utils

from keyturn.adapters.keys.pkcs11_key import Pkcs11Signer, enrollable_key
from keyturn.adapters.keys.ssh_agent import SshAgentSigner
from keyturn.crypto import sshsig as ssh
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import sign, verify_user_verified
from keyturn.crypto.keys import PublicKey, canonical_signature
from keyturn.errors import Refused
from keyturn.formats import sshsig
from support.processes import running, wait_for
from support.softhsm import MODULE, PIN, SoftToken, make_token

PAYLOAD = b'{"a":1}'


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    made = make_token(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.config))
    made.make_key("p256", "silent", always_authenticate=False)
    made.make_key("p256", "asks")
    return made


@pytest.fixture
def agent(token: SoftToken, tmp_path: Path) -> Iterator[str]:
    """An agent to which the PIN was typed once."""
    path, askpass = tmp_path / "agent", tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\necho {PIN}\n")
    askpass.chmod(0o700)
    environment = os.environ | {"SSH_AUTH_SOCK": str(path), "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    with running(["ssh-agent", "-D", "-a", str(path)]) as process:
        wait_for("the agent", lambda: path.exists() or None, process)
        subprocess.run(["ssh-add", "-s", MODULE], env=environment, check=True, capture_output=True, timeout=30)
        yield str(path)


class StolenFromTheAgent:
    """Whoever reaches the socket: has the agent sign the very bytes that a token signs for `public`, of P-256."""

    def __init__(self, public: PublicKey, path: str) -> None:
        self.public, self._path = public, path

    def sign_record(self, message: bytes) -> bytes:
        asked = (
            b"\x0d" + string(sshsig.render_key(ssh.ssh_key(self.public, application=None))) + string(message) + bytes(4)
        )
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(self._path)
            agent.sendall(string(asked))
            answer = agent.makefile("rb").read(int.from_bytes(agent.recv(4), "big"))
        if answer[:1] != b"\x0e":
            raise Refused("agent-refused", "the agent did not sign")
        found = sshsig.parse_signature(answer[5:])
        return canonical_signature(self.public.scheme, utils.encode_dss_signature(found.r, found.s))


def string(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


def public_of(agent: str, label: str) -> PublicKey:
    """The key that the agent lists by the token's `label`."""
    listed = subprocess.run(
        ["ssh-add", "-L"], env=os.environ | {"SSH_AUTH_SOCK": agent}, check=True, capture_output=True, text=True
    ).stdout
    found = next(line.split() for line in listed.splitlines() if line.endswith(f" {label}"))
    return ssh.public_key(sshsig.parse_key(base64.b64decode(found[1])))


def test_a_token_key_that_an_agent_signs_with_unasked_is_not_enrolled_and_one_that_asks_is(
    token: SoftToken, agent: str
) -> None:
    silent, asks = (public_of(agent, label) for label in ("silent", "asks"))
    forged = sign(PAYLOAD, StolenFromTheAgent(silent, agent))
    verify_user_verified(forged, Credential(silent, "pkcs11"))  # nothing in it says that nobody was asked, so:
    with pytest.raises(Refused, match="CKA_ALWAYS_AUTHENTICATE") as caught:
        enrollable_key(token.place("silent"), pin=token.ask)
    assert caught.value.code == "pkcs11-key-silent"

    assert enrollable_key(token.place("asks"), pin=token.ask) == asks
    with pytest.raises(Refused, match="did not sign"):
        sign(PAYLOAD, StolenFromTheAgent(asks, agent))
    verify_user_verified(
        sign(PAYLOAD, Pkcs11Signer(token.place("asks"), public=asks, pin=token.ask)), Credential(asks, "pkcs11")
    )


def test_a_token_key_that_is_enrolled_as_an_agents_verifies_nobody(token: SoftToken, agent: str) -> None:
    listed = Credential(public_of(agent, "silent"), "ssh")
    signed = sign(PAYLOAD, SshAgentSigner(listed, path=agent))
    with pytest.raises(Refused) as caught:
        verify_user_verified(signed, listed)
    assert caught.value.code == "signature-user-unverified"
