"""SSH keys with the real OpenSSH: its agent and ssh-keygen sign records for us, and ssh-keygen verifies what we made."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.adapters.keys.ssh_agent import SshAgentSigner, SshKeygenSigner, agent_keys, agent_path
from keyturn.crypto import sshsig as ssh
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import sign, verify_one, verify_user_verified
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import sshsig
from support.authenticators import SshHolder
from support.labs import make_key

PAYLOAD = b'{"a":1}'


def keygen(place: Path, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *words], cwd=place, input=data, capture_output=True)


def make(place: Path, *words: str, name: str = "id") -> Credential:
    assert keygen(place, "-q", "-N", "", "-C", "ada", "-f", name, *words).returncode == 0
    key = sshsig.parse_public_line((place / f"{name}.pub").read_text())
    return Credential(ssh.public_key(key), "ssh")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "agent")
    started = subprocess.run(["ssh-agent", "-a", path, "-s"], capture_output=True, text=True, check=True).stdout
    pid = int(started.split("SSH_AGENT_PID=")[1].split(";")[0])
    yield path
    os.kill(pid, signal.SIGTERM)


def add(agent: str, place: Path, name: str = "id") -> None:
    subprocess.run(["ssh-add", "-q", place / name], env={"SSH_AUTH_SOCK": agent}, check=True, capture_output=True)


TYPES = [pytest.param(("-t", "ed25519"), id="Ed25519"), pytest.param(("-t", "ecdsa", "-b", "256"), id="P-256")]


@pytest.mark.parametrize("words", TYPES)
def test_an_agent_signs_a_record(tmp_path: Path, agent: str, words: tuple[str, ...]) -> None:
    credential = make(tmp_path, *words)
    add(agent, tmp_path)
    envelope = sign(PAYLOAD, SshAgentSigner(credential, path=agent))
    verify_one(envelope, credential)
    with pytest.raises(Refused, match="does not verify who uses it"):
        verify_user_verified(envelope, credential)


@pytest.mark.parametrize("words", TYPES)
def test_ssh_keygen_signs_a_record(tmp_path: Path, words: tuple[str, ...]) -> None:
    credential = make(tmp_path, *words)
    for _ in range(8):  # an ECDSA signature has the larger `s` half of the time, and is made canonical
        verify_one(sign(PAYLOAD, SshKeygenSigner(credential, file=tmp_path / "id")), credential)


@pytest.mark.parametrize("words", TYPES)
def test_ssh_keygen_verifies_what_a_record_carries(tmp_path: Path, agent: str, words: tuple[str, ...]) -> None:
    credential = make(tmp_path, *words)
    add(agent, tmp_path)
    blob = SshAgentSigner(credential, path=agent).sign_record(b"message")
    assert _verified_by_openssh(tmp_path, blob, (tmp_path / "id.pub").read_text())


@pytest.mark.parametrize("application", ["ssh:", "ssh:keyturn"])
def test_ssh_keygen_reads_a_security_keys_signature_as_we_do(tmp_path: Path, application: str) -> None:
    holder = SshHolder(make_key("sk"), application)
    line = sshsig.render_public_line(ssh.ssh_key(holder.public, application=application))
    assert _verified_by_openssh(tmp_path, holder.sign_record(b"message"), line)
    assert not _verified_by_openssh(tmp_path, holder.sign_record(b"another message"), line)


def _verified_by_openssh(place: Path, blob: bytes, line: str) -> bool:
    import base64

    text = base64.encodebytes(blob).decode()
    (place / "sig").write_text(f"-----BEGIN SSH SIGNATURE-----\n{text}-----END SSH SIGNATURE-----\n")
    (place / "signers").write_text(f'ada namespaces="{sshsig.NAMESPACE}" {line}\n')
    words = ("-Y", "verify", "-f", "signers", "-I", "ada", "-n", sshsig.NAMESPACE, "-s", "sig")
    return keygen(place, *words, data=b"message").returncode == 0


def test_an_agent_lists_the_keys_that_can_sign_records(tmp_path: Path, agent: str) -> None:
    credential = make(tmp_path, "-t", "ed25519")
    make_rsa = keygen(tmp_path, "-q", "-N", "", "-t", "rsa", "-b", "2048", "-f", "rsa")
    assert make_rsa.returncode == 0
    assert agent_keys(agent) == ()
    add(agent, tmp_path, "rsa")
    add(agent, tmp_path)
    assert agent_keys(agent) == (ssh.ssh_key(credential.key, application=None),)


def test_an_agent_without_the_key_is_refused_by_name(tmp_path: Path, agent: str) -> None:
    credential = make(tmp_path, "-t", "ed25519")
    with pytest.raises(Refused) as caught:
        SshAgentSigner(credential, path=agent).sign_record(b"message")
    assert caught.value.code == "ssh-agent-refused"


def test_no_agent_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable) as caught:
        agent_keys(str(tmp_path / "none"))
    assert caught.value.code == "ssh-agent-unreachable"
    assert "ssh-add" in caught.value.hint
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(Unavailable, match="SSH_AUTH_SOCK"):
        agent_path()


def test_a_file_that_is_another_key_or_none_is_refused(tmp_path: Path) -> None:
    credential = make(tmp_path, "-t", "ed25519")
    make(tmp_path, "-t", "ed25519", name="other")
    with pytest.raises(Refused) as caught:
        SshKeygenSigner(credential, file=tmp_path / "other").sign_record(b"message")
    assert caught.value.code == "ssh-key-other"
    with pytest.raises(Refused) as caught:
        SshKeygenSigner(credential, file=tmp_path / "absent").sign_record(b"message")
    assert caught.value.code == "ssh-keygen-refused"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="hangs up"),
        pytest.param(b"\0\0\0\x10x", id="hangs up in the middle"),
        pytest.param(b"\xff\xff\xff\xff", id="4 GiB"),
        pytest.param(b"\0\0\0\x01\x0c", id="a list without a count"),
        pytest.param(b"\0\0\0\x05\x0c\0\0\0\x01", id="a list that ends"),
        pytest.param(b"\0\0\0\x01\x05", id="something else"),
    ],
)
def test_an_agent_that_answers_nonsense_is_malformed(tmp_path: Path, answer: bytes) -> None:
    import socket
    import threading

    path = str(tmp_path / "liar")
    with socket.socket(socket.AF_UNIX) as liar:
        liar.bind(path)
        liar.listen(1)

        def serve() -> None:
            connection, _ = liar.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Malformed) as caught:
            agent_keys(path)
        thread.join()
    assert caught.value.code == "ssh-agent-answer"
