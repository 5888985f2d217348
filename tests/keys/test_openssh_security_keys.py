"""Security keys with the real OpenSSH end to end: ssh-keygen makes them, agent and ssh-keygen sign with them, in production."""

from __future__ import annotations

import base64
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.crypto.dsse_signing import sign, verify_user_verified
from keyturn.errors import Refused
from keyturn.formats import sshsig
from keyturn.grants.verify_grant import verify_grant
from keyturn.policy.facts import NO_FACTS
from support.authenticators import Passkey
from support.labs import make_key
from support.members import People
from support.openssh_sk import PROVIDER, OpenSshKey, agent, asking
from support.openssh_sk import make_key as make_security_key
from support.world import World, make_production

KINDS = [pytest.param("ed25519-sk", id="Ed25519"), pytest.param("ecdsa-sk", id="P-256")]
Make = Callable[..., OpenSshKey]


@pytest.fixture(params=[True, False], ids=["by the agent", "by ssh-keygen"])
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make keys with which the agent signs, or ssh-keygen."""
    for name, value in asking(tmp_path).items():
        monkeypatch.setenv(name, value)
    if not request.param:
        yield lambda kind, **more: make_security_key(tmp_path, kind, **more)
        return
    with agent(tmp_path) as path:
        yield lambda kind, **more: make_security_key(tmp_path, kind, by_agent=path, **more)


def opened(bob: OpenSshKey) -> tuple[str, ...]:
    """Who approved, when bob did with his key, and eve with a passkey, and a gate in production opened."""
    world: World = make_production(bob, Passkey(make_key("cat's key")), Passkey(make_key("eve's key")))
    asked = world.ask()
    bundle = world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    grant = verify_grant(
        bundle, world.view(), now=world.now, gate=world.gate, session_key=world.session.public, facts=NO_FACTS
    )
    assert grant.granted.profile == "production"
    return grant.granted.approvers


@pytest.mark.parametrize("kind", KINDS)
def test_a_security_key_that_verifies_its_user_approves_in_production(made: Make, kind: str) -> None:
    assert sorted(opened(made(kind, verifies=True))) == ["bob", "eve"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_security_key_that_is_only_touched_approves_nothing_in_production(made: Make, kind: str) -> None:
    with pytest.raises(Refused) as caught:
        opened(made(kind, verifies=False))
    assert caught.value.code == "signature-user-unverified"
    assert "verify-required" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_ssh_keygen_verifies_what_a_security_key_signed_for_us(made: Make, tmp_path: Path, kind: str) -> None:
    key = made(kind, verifies=True, application="ssh:keyturn")
    blob = key.sign_record(b"message")
    text = base64.encodebytes(blob).decode()
    (tmp_path / "sig").write_text(f"-----BEGIN SSH SIGNATURE-----\n{text}-----END SSH SIGNATURE-----\n")
    assert openssh_verifies(tmp_path, key, b"message")
    assert not openssh_verifies(tmp_path, key, b"another message")


def test_what_ssh_keygen_signs_by_hand_we_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/formats/key-signatures.md says, to the byte: for Ed25519, whose signatures have one form."""
    for name, value in asking(tmp_path).items():
        monkeypatch.setenv(name, value)
    key = make_security_key(tmp_path, "ed25519-sk", verifies=True)
    (tmp_path / "message").write_bytes(b"message")
    words = ["ssh-keygen", "-q", "-Y", "sign", "-n", sshsig.NAMESPACE, "-f", key.path, tmp_path / "message"]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    blob = sshsig.dearmor((tmp_path / "message.sig").read_bytes())
    key.credential.verify(blob, b"message", user_verified=True)
    with pytest.raises(Refused):
        key.credential.verify(blob, b"another message", user_verified=True)


def test_a_key_for_another_application_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in asking(tmp_path).items():
        monkeypatch.setenv(name, value)
    key = make_security_key(tmp_path, "ed25519-sk", verifies=True, application="ssh:elsewhere")
    envelope = sign(b'{"a":1}', key)
    verify_user_verified(envelope, key.credential)
    listed = type(key.credential)(key.public, "ssh-sk", application="ssh:")
    with pytest.raises(Refused) as caught:
        verify_user_verified(envelope, listed)
    assert caught.value.code == "signature-key"


def openssh_verifies(place: Path, key: OpenSshKey, message: bytes) -> bool:
    line = key.path.with_suffix(".pub").read_text()
    (place / "signers").write_text(f'ada namespaces="{sshsig.NAMESPACE}" {line}\n')
    words = ["-Y", "verify", "-f", "signers", "-I", "ada", "-n", sshsig.NAMESPACE, "-s", "sig"]
    return subprocess.run(["ssh-keygen", *words], cwd=place, input=message, capture_output=True).returncode == 0


@pytest.mark.parametrize("by_agent", [True, False], ids=["by the agent", "by its file"])
def test_a_member_is_enrolled_with_a_security_key_and_approves_with_it(tmp_path: Path, by_agent: bool) -> None:
    with agent(tmp_path) as path:
        key = make_security_key(tmp_path, "ed25519-sk", verifies=True, by_agent=path if by_agent else None)
        people = People(tmp_path, {"SSH_AUTH_SOCK": path, **asking(tmp_path)})
        people.found()
        people.by("bob", "trust", "accept", "bob.invitation.json", "--member-key", f"ssh:{key.path}.pub")
        (own,) = tomllib.loads((tmp_path / "bob" / "config.toml").read_text())["keys"]
        assert (own["kind"], own["application"], "file" in own) == ("ssh-sk", "ssh:", not by_agent)
        people.publish()
        with people.served():
            request = people.ask()
            done = people.run("bob", "approve", request, "--yes", "--key", "ssh-sk")
            assert done.returncode == 0, done.stderr
            assert "touch your security key" in done.stderr
            assert people.by("ada", "grant", "show", request)["live"]["approvers"] == ["bob"]


def test_the_authenticator_is_openssh_s_own() -> None:
    owner = subprocess.run(["dpkg", "-S", str(PROVIDER)], capture_output=True, text=True, check=True).stdout
    assert owner.startswith("openssh-tests:")
