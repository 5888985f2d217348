"""SSH keys and signatures: one text each, and everything else refused. OpenSSH itself is the oracle in tests/keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.crypto.signers import SoftwareKey
from keyturn.crypto.sshsig import from_agent, public_key, ssh_key
from keyturn.errors import Malformed
from keyturn.formats import sshsig
from keyturn.formats.sshsig import SshKey, SshSig, SshSignature
from support.authenticators import SshHolder
from support.labs import make_key

ED, EC = make_key("ssh"), SoftwareKey.generate("ecdsa-sha2-nistp256")
HOLDERS = [SshHolder(ED), SshHolder(EC), SshHolder(ED, "ssh:"), SshHolder(EC, "ssh:lab")]
KEYS = [ssh_key(one.public, application=one.application) for one in HOLDERS]

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
integers = st.integers(1, 2**256 - 1)


@given(
    st.sampled_from(KEYS),
    names,
    st.sampled_from(["sha256", "sha512"]),
    integers,
    integers,
    st.binary(min_size=64, max_size=64),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
)
def test_a_signature_survives_its_text(
    key: SshKey, namespace: str, name: str, r: int, s: int, raw: bytes, flags: int, counter: int
) -> None:
    hard = {"flags": flags, "counter": counter} if key.is_security_key else {}
    inner = {"raw": raw} if key.is_ed25519 else {"r": r, "s": s}
    value = SshSig(key, namespace, name, SshSignature(key.algorithm, **inner, **hard))  # type: ignore[arg-type]
    assert sshsig.parse(sshsig.render(value)) == value


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.algorithm)
def test_a_key_survives_its_line_and_is_the_same_key(key: SshKey) -> None:
    assert sshsig.parse_public_line(sshsig.render_public_line(key) + " ada@laptop, caf\u00e9") == key
    application = key.application if key.is_security_key else None
    assert ssh_key(public_key(key), application=application) == key


RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ=="


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param("ssh-ed25519", "ssh-key-line", id="no key"),
        pytest.param("ssh-ed25519 %%%", "ssh-key-line", id="no base64"),
        pytest.param(RSA, "ssh-key-algorithm", id="RSA"),
        pytest.param(
            "sk-" + sshsig.render_public_line(KEYS[0]).replace("25519 ", "25519@openssh.com ", 1),
            "ssh-key-line",
            id="a line that says another algorithm than its key",
        ),
        pytest.param(sshsig.render_public_line(KEYS[0])[:-8], "sshsig-invalid", id="cut off"),
    ],
)
def test_a_line_that_is_no_such_key_is_refused(line: str, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        sshsig.parse_public_line(line)
    assert caught.value.code == code


def field(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


@pytest.mark.parametrize(
    ("blob", "what"),
    [
        pytest.param(field(b"ssh-ed25519") + field(bytes(31)), "a point of 31 bytes", id="a short point"),
        pytest.param(field(b"ssh-ed25519") + field(bytes(32)) + b"x", "1 bytes too many", id="something after it"),
        pytest.param(
            field(b"ecdsa-sha2-nistp256") + field(b"nistp384") + field(bytes(65)), "another curve", id="a curve"
        ),
        pytest.param(b"\xff\xff\xff\xff", "a field of", id="2^32 - 1 bytes"),
        pytest.param(field(b"ssh-\x1b[2J"), "not printable", id="a terminal escape"),
        pytest.param(field("ssh-\u00e9".encode()), "not printable", id="no ASCII"),
        pytest.param(b"", "it ends", id="nothing"),
    ],
)
def test_a_key_of_another_form_is_refused(blob: bytes, what: str) -> None:
    with pytest.raises(Malformed, match=what):
        sshsig.parse_key(blob)


def test_a_point_on_no_curve_is_refused() -> None:
    with pytest.raises(Malformed, match="P-256"):
        public_key(SshKey("ecdsa-sha2-nistp256", b"\x04" + bytes(64)))


def _changed(**changed: object) -> bytes:
    good = sshsig.parse(HOLDERS[2].blob(b"message"))
    return sshsig.render(replace(good, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("blob", "what"),
    [
        pytest.param(b"SSHSIG" + (2).to_bytes(4, "big"), "another beginning", id="version 2"),
        pytest.param(b"PGPSIG" + (1).to_bytes(4, "big"), "another beginning", id="another magic"),
        pytest.param(_changed(hash="sha1"), "the hash `sha1`", id="a weak hash"),
        pytest.param(
            _changed(signature=SshSignature("ssh-ed25519", raw=bytes(64))),
            "a signature by ssh-ed25519",
            id="another kind",
        ),
        pytest.param(
            _changed(signature=SshSignature("sk-ssh-ed25519@openssh.com", raw=b"x")), "of 1 bytes", id="short"
        ),
        pytest.param(_changed(namespace="x" * 1025), "a field of 1025", id="a long namespace"),
        pytest.param(b"x" * 4097, "at most 4096", id="too long"),
        pytest.param(
            _changed().replace(field(b"keyturn-dsse") + field(b""), field(b"keyturn-dsse") + field(b"x")),
            "reserved",
            id="something reserved",
        ),
    ],
)
def test_a_signature_of_another_form_is_refused(blob: bytes, what: str) -> None:
    with pytest.raises(Malformed, match=what):
        sshsig.parse(blob)


@pytest.mark.parametrize("number", [b"", b"\0", b"\0\x01", b"\x80", b"\x01" + bytes(32)])
def test_an_integer_has_one_text(number: bytes) -> None:
    blob = field(b"ecdsa-sha2-nistp256") + field(field(number) + field(b"\x01"))
    with pytest.raises(Malformed, match="an integer"):
        sshsig.parse_signature(blob)


BEGIN, END = b"-----BEGIN SSH SIGNATURE-----\n", b"\n-----END SSH SIGNATURE-----"


@pytest.mark.parametrize("raw", [b"", BEGIN, BEGIN + b"%" + END])
def test_armour_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        sshsig.dearmor(raw)
    assert caught.value.code == "sshsig-armor"


def test_an_agents_answer_by_another_algorithm_is_refused() -> None:
    answer = sshsig.render_signature(sshsig.parse(HOLDERS[1].blob(b"m")).signature)
    with pytest.raises(Malformed, match="expected a signature by"):
        from_agent(KEYS[0], answer)
