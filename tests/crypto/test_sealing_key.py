"""What recordings are sealed to: X25519 keys, each with one text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from keyturn.crypto.sealing_key import holder_key
from keyturn.errors import Malformed


def spki(key: x25519.X25519PrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_a_keyholders_key_is_an_x25519_key_with_one_text() -> None:
    good = spki(x25519.X25519PrivateKey.generate())
    holder_key(good)
    for raw in (b"", b"garbage", spki(ed25519.Ed25519PrivateKey.generate()), good + b"\0", good[:-1]):
        with pytest.raises(Malformed) as refused:
            holder_key(raw)
        assert refused.value.code == "holder-key"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda good: b"\x30\x81\x2a" + good[2:], id="a longer length"),
        pytest.param(lambda good: bytes.fromhex("302c300706032b656e0500032100") + good[-32:], id="with parameters"),
        pytest.param(lambda good: good[:-1] + bytes((good[-1] | 0x80,)), id="with the bit that is masked"),
        pytest.param(lambda good: bytes.fromhex("302a300506032b6578032100") + good[-32:], id="of an unknown kind"),
    ],
)
def test_another_text_of_the_same_key_is_refused(other: Callable[[bytes], bytes]) -> None:
    good = spki(x25519.X25519PrivateKey.generate())
    with pytest.raises(Malformed):
        holder_key(other(good))
