"""A software key comes back from its file under its passphrase only, and never shows itself."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Malformed, Refused


def pem(private, kind=serialization.PrivateFormat.PKCS8):
    return private.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def refused(call):
    with pytest.raises((Malformed, Refused)) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("passphrase", [None, b"correct horse", "gr\u00fc\u00df".encode(), b"\x00\xff"])
def test_a_key_comes_back_from_its_file(new_key, passphrase):
    key = new_key(1)
    again = SoftwareKey.parse(key.render(passphrase=passphrase), passphrase=passphrase)
    assert again.public == key.public
    key.public.verify(again.sign(b"message"), b"message")


def test_an_encrypted_file_does_not_hold_the_key_in_the_clear(ed25519_key):
    key = ed25519_key(1)
    clear, sealed = key.render(passphrase=None), key.render(passphrase=b"secret")
    assert clear.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert sealed.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert clear.splitlines()[1] not in sealed


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param(b"secret", b"Secret", id="a wrong passphrase"),
        pytest.param(b"secret", b"", id="an empty passphrase"),
        pytest.param(b"secret", None, id="no passphrase for an encrypted key"),
        pytest.param(None, b"secret", id="a passphrase for a key that has none"),
    ],
)
def test_another_passphrase_is_refused_by_name(new_key, written, read):
    raw = new_key(1).render(passphrase=written)
    assert refused(lambda: SoftwareKey.parse(raw, passphrase=read)) == "key-passphrase"


@pytest.mark.parametrize("passphrase", [b"", bytes(1024)])
def test_a_key_is_not_written_under_a_passphrase_that_cannot_be(new_key, passphrase):
    assert refused(lambda: new_key(1).render(passphrase=passphrase)) == "key-passphrase"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", "key-invalid", id="nothing"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\n", "key-invalid", id="a PEM that ends"),
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "key-invalid", id="no key in it"
        ),
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VvBCIEICghnc2hu8cAcDIC0FBCgucg5rNeInz8G4bd1Oy1Nyca\n"
            b"-----END PRIVATE KEY-----\n",
            "key-invalid",
            id="an X448 key of 32 bytes, over which OpenSSL trips",
        ),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\n" + bytes(20_000), "key-invalid", id="too many bytes"),
        pytest.param(pem(ec.derive_private_key(7, ec.SECP384R1())), "key-algorithm", id="P-384"),
        pytest.param(pem(ec.derive_private_key(7, ec.SECP256K1())), "key-algorithm", id="secp256k1"),
        pytest.param(pem(ed448.Ed448PrivateKey.from_private_bytes(bytes(57))), "key-algorithm", id="Ed448"),
        pytest.param(pem(rsa.generate_private_key(65537, 1024)), "key-algorithm", id="RSA"),
        pytest.param(
            pem(ec.derive_private_key(7, ec.SECP256R1()), serialization.PrivateFormat.TraditionalOpenSSL),
            "key-invalid",
            id="an EC PRIVATE KEY, which is not PKCS#8",
        ),
        pytest.param(
            pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), serialization.PrivateFormat.OpenSSH),
            "key-invalid",
            id="an OpenSSH key",
        ),
    ],
)
def test_what_is_no_key_of_ours_is_refused_by_name(raw, code):
    assert refused(lambda: SoftwareKey.parse(raw, passphrase=None)) == code


def test_what_cannot_be_decrypted_is_called_a_wrong_passphrase():
    broken = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
    assert refused(lambda: SoftwareKey.parse(broken, passphrase=b"secret")) == "key-passphrase"


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa-sha2-nistp256"])
def test_new_keys_are_different_and_of_the_kind_that_was_asked_for(scheme):
    first, second = SoftwareKey.generate(scheme), SoftwareKey.generate(scheme)
    assert first.public.scheme == scheme
    assert first.public != second.public
    first.public.verify(first.sign(b"message"), b"message")


def secret_lines(key):
    return [line for line in key.render(passphrase=None).decode().splitlines() if not line.startswith("-")]


def assert_hidden(key, shown):
    for text in shown:
        assert not any(line in text for line in secret_lines(key))
        assert "PRIVATE KEY-----\n" not in text


def test_no_key_is_in_a_repr_or_a_log(new_key, caplog):
    key = new_key(1)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger(__name__).error("%s %r", key, key)
    assert_hidden(key, [repr(key), str(key), f"{key}", f"{key!r}", repr([key]), caplog.text])


def test_a_key_whose_file_is_broken_is_in_no_exception_and_none_of_its_causes(new_key):
    key = new_key(1)
    pem_text = key.render(passphrase=None).decode()
    last = secret_lines(key)[-1]
    broken = [
        (pem_text, b"wrong"),
        (pem_text.replace(last, ""), None),
        (pem_text.replace(last, last[:-1] + "!"), None),
        (pem_text.replace("-----END", "----END"), None),
        (pem_text.replace(last, last[:8]), b"wrong"),
    ]
    for text, passphrase in broken:
        with pytest.raises(KeyturnError) as caught:
            SoftwareKey.parse(text.encode(), passphrase=passphrase)
        err = caught.value
        assert err.__cause__ is err.__context__ is None
        assert_hidden(key, ["".join(traceback.format_exception_only(err)), err.detail, err.hint])


def test_a_key_is_neither_pickled_nor_copied(new_key):
    for escape in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            escape(new_key(1))


def test_a_key_has_no_place_for_more(new_key):
    assert not hasattr(new_key(1), "__dict__")
