"""Keys on a PKCS#11 token, with the real SoftHSM2: they sign for approvals in production, and ask for the PIN each time."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from keyturn.adapters.keys.pin import Pin
from keyturn.adapters.keys.pkcs11_key import Pkcs11Signer, TokenPlace, enrollable_key
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import sign, verify_user_verified
from keyturn.errors import KeyturnError, Malformed, Refused, Unavailable, Usage
from keyturn.grants.verify_grant import verify_grant
from keyturn.policy.facts import NO_FACTS
from keyturn.wiring.keys.pins import ask_pin
from keyturn.wiring.keys.token_keys import read_pkcs11_uri
from support.authenticators import Passkey, SshHolder
from support.labs import make_key
from support.softhsm import MODULE, PIN, SoftToken, add_token, make_token
from support.world import make_production

PAYLOAD = b'{"a":1}'


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    made = make_token(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.config))
    return made


def signer_of(token: SoftToken, label: str = "sign") -> Pkcs11Signer:
    public = enrollable_key(token.place(label), pin=token.ask)
    return Pkcs11Signer(token.place(label), public=public, pin=token.ask)


class Held(Pkcs11Signer):
    """A key on a token, as the world of tests takes it."""

    @property
    def credential(self) -> Credential:
        return Credential(self.public, "pkcs11")


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_a_token_signs_records_that_verified_their_user(token: SoftToken, curve: str) -> None:
    token.make_key(curve)
    signer = signer_of(token)
    for _ in range(6):  # an ECDSA signature has the larger `s` half of the time, and is made canonical
        verify_user_verified(sign(PAYLOAD, signer), Credential(signer.public, "pkcs11"))


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_an_approval_by_a_token_opens_in_production(token: SoftToken, curve: str) -> None:
    token.make_key(curve)
    bob = Held(token.place(), public=signer_of(token).public, pin=token.ask)
    world = make_production(bob, SshHolder(make_key("cat"), "ssh:"), Passkey(make_key("eve")))  # type: ignore[arg-type]
    asked = world.ask()
    bundle = world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    grant = verify_grant(
        bundle, world.view(), now=world.now, gate=world.gate, session_key=world.session.public, facts=NO_FACTS
    )
    assert grant.granted.approvers == ("eve", "bob")


def test_the_pin_is_asked_for_each_signature(token: SoftToken) -> None:
    token.make_key()
    signer = signer_of(token)
    before = token.asked
    sign(PAYLOAD, signer)
    sign(PAYLOAD, signer)
    assert token.asked == before + 2
    token.pin = "000000"
    with pytest.raises(Refused) as caught:  # the logins before are over
        sign(PAYLOAD, signer)
    assert caught.value.code == "pkcs11-pin-wrong"


def test_a_wrong_pin_is_refused_shows_itself_nowhere_and_says_that_tokens_lock(token: SoftToken) -> None:
    token.make_key()
    signer = signer_of(token)
    token.pin = "secret-000000"
    with pytest.raises(Refused) as caught:
        signer.sign_record(b"message")
    caught.value.__traceback__ = caught.value.__traceback__.tb_next  # type: ignore[union-attr]  # this test knows the PIN
    said = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert caught.value.code == "pkcs11-pin-wrong"
    assert "lock" in caught.value.hint
    assert "pin = Pin()" in said
    assert "secret" not in said.replace(repr(token), "")
    assert "secret" not in repr(Pin("secret"))
    token.pin = PIN
    assert signer.sign_record(b"message")


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"extractable": True}, id="it can be taken out, wrapped"),
        pytest.param({"sensitive": False}, id="it can be read"),
        pytest.param({"extractable": True, "sensitive": False}, id="both"),
    ],
)
def test_a_key_that_can_leave_its_token_is_not_enrolled(token: SoftToken, attributes: dict[str, bool]) -> None:
    token.make_key(**attributes)
    with pytest.raises(Refused) as caught:
        enrollable_key(token.place(), pin=token.ask)
    assert caught.value.code == "pkcs11-key-exportable"
    assert "expected CKA_" in caught.value.message


def test_a_key_that_was_made_elsewhere_is_not_enrolled(token: SoftToken, tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pem],
        check=True,
        capture_output=True,
    )
    words = ["softhsm2-util", "--import", pem, "--token", "ada", "--label", "sign", "--id", "01", "--pin", PIN]
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(Refused, match="CKA_NEVER_EXTRACTABLE") as caught:
        enrollable_key(token.place(), pin=token.ask)
    assert caught.value.code == "pkcs11-key-exportable"


def test_a_key_that_does_not_sign_is_not_enrolled(token: SoftToken) -> None:
    token.make_key(sign=False)
    with pytest.raises(Refused) as caught:
        enrollable_key(token.place(), pin=token.ask)
    assert caught.value.code == "pkcs11-key-purpose"


def test_another_key_than_the_enrolled_one_does_not_sign(token: SoftToken) -> None:
    token.make_key()
    other = Pkcs11Signer(token.place(), public=make_key("other").public, pin=token.ask)
    with pytest.raises(Refused) as caught:
        other.sign_record(b"message")
    assert caught.value.code == "pkcs11-key-other"


@pytest.mark.parametrize(
    ("changed", "kind", "code"),
    [
        pytest.param({"module": "/nowhere.so"}, Usage, "pkcs11-module-missing", id="no module"),
        pytest.param({"module": "/etc/passwd"}, Usage, "pkcs11-module-missing", id="a file that is no module"),
        pytest.param({"token": "eve"}, Unavailable, "pkcs11-token-missing", id="no token"),
        pytest.param({"label": "none"}, Refused, "pkcs11-key-missing", id="no key"),
        pytest.param({"label": "twice"}, Refused, "pkcs11-key-twice", id="two keys of one label"),
        pytest.param({"label": "p384"}, Malformed, "key-algorithm", id="a curve that records do not have"),
    ],
)
def test_what_is_missing_is_refused_by_name(
    token: SoftToken, changed: dict[str, str], kind: type[KeyturnError], code: str
) -> None:
    token.make_key(label="twice")
    token.make_key("p256", label="twice")
    token.make_key("p384", label="p384")
    place = TokenPlace(**{"module": MODULE, "token": "ada", "label": "sign", **changed})
    with pytest.raises(kind) as caught:
        enrollable_key(place, pin=token.ask)
    assert caught.value.code == code


def test_two_tokens_of_one_label_are_refused_before_a_pin_is_asked_for(token: SoftToken) -> None:
    add_token(token.config, "ada")
    with pytest.raises(Refused) as caught:
        enrollable_key(token.place(), pin=token.ask)
    assert (caught.value.code, token.asked) == ("pkcs11-token-twice", 0)


SIGN_20 = """
import sys
from keyturn.adapters.keys.pkcs11_key import Pkcs11Signer, TokenPlace
from keyturn.adapters.keys.pin import Pin
from keyturn.crypto.keys import PublicKey
from keyturn.wiring.keys.pins import ask_pin
module, token, label, public = sys.argv[1:]
signer = Pkcs11Signer(TokenPlace(module, token, label), public=PublicKey.from_text(public), pin=ask_pin)
for number in range(20):
    signer.sign_record(b"%d" % number)
"""


def test_two_processes_sign_at_once(token: SoftToken, tmp_path: Path) -> None:
    token.make_key("p256")
    public = signer_of(token).public
    environment = os.environ | {"KEYTURN_UNSAFE_PIN_FILE": str(pin_file(tmp_path))}
    words = [sys.executable, "-c", SIGN_20, MODULE, "ada", "sign", public.text]
    running = [subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    said = [one.communicate(timeout=60)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], said


def pin_file(directory: Path, content: str = PIN + "\n", mode: int = 0o600) -> Path:
    path = directory / "pin"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_pin_file_is_read_when_only_its_owner_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_UNSAFE_PIN_FILE", str(pin_file(tmp_path)))
    assert ask_pin("ada").value == PIN
    for mode in (0o644, 0o640, 0o604, 0o660):
        pin_file(tmp_path, mode=mode)
        with pytest.raises(Usage) as caught:
            ask_pin("ada")
        assert caught.value.code == "pin-file-open"


ASK = """
from keyturn.wiring.keys.pins import ask_pin
assert ask_pin("ada").value == "271828"
"""


def test_a_pin_is_typed_at_the_terminal_and_not_shown() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "KEYTURN_UNSAFE_PIN_FILE"}
    terminal, end = pty.openpty()
    words = [sys.executable, "-c", ASK]
    asking = subprocess.Popen(words, env=environment, stdin=end, stdout=end, stderr=end, start_new_session=True)
    os.close(end)
    said = b""
    while b"PIN of token ada: " not in said:
        said += os.read(terminal, 1024)
    os.write(terminal, PIN.encode() + b"\n")
    try:
        while more := os.read(terminal, 1024):
            said += more
    except OSError:
        pass  # the terminal's other end is gone
    os.close(terminal)
    assert asking.wait(timeout=30) == 0, said
    assert PIN.encode() not in said


@pytest.mark.parametrize("content", ["", "\n", "a\0b", "1" * 256], ids=["empty", "a line", "a NUL", "too long"])
def test_what_is_no_pin_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """A token would count it."""
    monkeypatch.setenv("KEYTURN_UNSAFE_PIN_FILE", str(pin_file(tmp_path, content)))
    with pytest.raises(Usage) as caught:
        ask_pin("ada")
    assert caught.value.code == "pin-empty"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        pytest.param("pkcs11:token=a;object=b", "absolute module-path", id="no module"),
        pytest.param("pkcs11:token=a;object=b?module-path=x.so", "absolute module-path", id="a module by name"),
        pytest.param("pkcs11:object=b?module-path=/x.so", "a token", id="no token"),
        pytest.param("pkcs11:token=a;token=b;object=b?module-path=/x.so", "each once", id="twice"),
        pytest.param("pkcs11:token=a;object=b;id=%01?module-path=/x.so", "got `id`", id="an attribute that we ignore"),
        pytest.param("pkcs11:token=%ff;object=b?module-path=/x.so", "no UTF-8", id="no text"),
        pytest.param("pkcs11:token=a;object=b?module-path=/x.so&pin-value=9", "never in an argument", id="a PIN"),
    ],
)
def test_a_uri_that_names_no_key_of_a_token_is_refused(uri: str, said: str) -> None:
    with pytest.raises(Usage, match=said) as caught:
        read_pkcs11_uri(uri)
    assert caught.value.code == "key-uri"
