"""A public key has one id and one encoding, and says no to every signature but its own."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, utils
from securesystemslib.signer import Signature

from keyturn.crypto.keys import PublicKey, canonical_signature
from keyturn.errors import Malformed, Refused

PRIME = 2**255 - 19
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def spki(key, point=None):
    if point is not None:  # the DER prefix of id-ecPublicKey with prime256v1, then the point as a bit string
        prefix = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
        bits = b"\x03" + bytes([len(point) + 1]) + b"\x00" + point
        return b"\x30" + bytes([len(prefix) + len(bits)]) + prefix + bits
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def refused(call):
    with pytest.raises((Malformed, Refused)) as caught:
        call()
    return caught.value.code


def test_a_key_is_known_by_the_digest_of_its_der(new_key):
    key = new_key(1).public
    assert key.keyid == hashlib.sha256(key.spki).hexdigest()
    assert PublicKey.from_text(key.text) == PublicKey.from_spki(key.spki) == key
    assert hash(PublicKey.from_text(key.text)) == hash(key)
    assert len({new_key(1).public, new_key(1).public, new_key(2).public}) == 2


def test_the_raw_and_the_der_form_of_an_ed25519_key_are_one_key(ed25519_key):
    key = ed25519_key(1).public
    assert PublicKey.from_ed25519(key.raw_ed25519) == key


def test_a_p256_key_has_no_raw_ed25519_form(p256_key):
    assert refused(lambda: p256_key(1).public.raw_ed25519) == "key-algorithm"


def test_rfc_8032_s_first_test_vector_verifies():
    key = PublicKey.from_ed25519(bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"))
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465514143"
        "8e7a100b"
    )
    key.verify(signature, b"")


def test_a_signature_verifies_for_its_key_and_message_alone(new_key):
    key = new_key(1)
    signature = key.sign(b"message")
    key.public.verify(signature, b"message")
    assert refused(lambda: key.public.verify(signature, b"Message")) == "signature-invalid"
    assert refused(lambda: key.public.verify(signature, b"")) == "signature-invalid"
    assert refused(lambda: new_key(2).public.verify(signature, b"message")) == "signature-invalid"


def test_no_flipped_bit_of_a_signature_verifies(new_key):
    key = new_key(1)
    signature = key.sign(b"message")
    for position in range(len(signature)):
        for bit in range(8):
            altered = bytearray(signature)
            altered[position] ^= 1 << bit
            assert refused(lambda raw=bytes(altered): key.public.verify(raw, b"message")) == "signature-invalid"


@pytest.mark.parametrize("length", [0, 1, 63, 65, 72, 4096])
def test_a_signature_of_another_length_is_refused(new_key, length):
    assert refused(lambda: new_key(1).public.verify(bytes(length), b"message")) == "signature-invalid"


def test_an_ed25519_signature_with_s_beyond_the_order_is_refused(ed25519_key):
    key = ed25519_key(1)
    signature = key.sign(b"message")
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    twin = signature[:32] + s.to_bytes(32, "little")
    assert refused(lambda: key.public.verify(twin, b"message")) == "signature-invalid"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda: b"", "key-invalid", id="nothing"),
        pytest.param(lambda: b"\x30\x80" + bytes(40), "key-invalid", id="no DER"),
        pytest.param(lambda: bytes(257), "key-invalid", id="too many bytes"),
        pytest.param(lambda: spki(ed448.Ed448PrivateKey.generate().public_key()), "key-algorithm", id="Ed448"),
        pytest.param(lambda: spki(ec.generate_private_key(ec.SECP384R1()).public_key()), "key-algorithm", id="P-384"),
        pytest.param(
            lambda: spki(ec.generate_private_key(ec.SECP256K1()).public_key()), "key-algorithm", id="secp256k1"
        ),
        pytest.param(lambda: spki(rsa.generate_private_key(65537, 1024).public_key()), "key-algorithm", id="RSA"),
        pytest.param(lambda: spki(dsa.generate_private_key(1024).public_key()), "key-invalid", id="DSA"),
        pytest.param(lambda: spki(None, b"\x04" + bytes(64)), "key-invalid", id="a point off the curve"),
        pytest.param(lambda: spki(None, b"\x00"), "key-invalid", id="the point at infinity"),
    ],
)
def test_other_algorithms_and_broken_encodings_are_refused(make, code):
    assert refused(lambda: PublicKey.from_spki(make())) == code


def test_a_compressed_point_is_not_a_second_id_of_the_key(p256_key):
    x = p256_key(1).public.spki[-64:-32]
    for sign in (b"\x02", b"\x03"):
        assert refused(lambda sign=sign: PublicKey.from_spki(spki(None, sign + x))) == "key-not-canonical"


def test_der_with_something_after_it_is_refused(new_key):
    assert refused(lambda: PublicKey.from_spki(new_key(1).public.spki + b"\x00")) == "key-invalid"


def test_no_changed_byte_of_a_key_s_der_is_the_same_key(new_key):
    key = new_key(1).public
    for position in range(len(key.spki)):
        altered = bytearray(key.spki)
        altered[position] ^= 0x01
        try:
            assert PublicKey.from_spki(bytes(altered)) != key
        except Malformed:
            continue


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda text: text + "\n", "key-invalid", id="a newline after it"),
        pytest.param(lambda text: text.rstrip("="), "key-invalid", id="without padding"),
        pytest.param(
            lambda text: text[:-3] + chr(ord(text[-3]) + 1) + "==", "key-not-canonical", id="other trailing bits"
        ),
        pytest.param(lambda text: text.replace("M", "-", 1), "key-invalid", id="base64 for URLs"),
        pytest.param(lambda text: "é" + text, "key-invalid", id="not ASCII"),
        pytest.param(lambda text: "-----BEGIN PUBLIC KEY-----\n" + text, "key-invalid", id="PEM"),
    ],
)
def test_a_key_has_one_text(p256_key, change, code):
    text = base64.b64encode(p256_key(1).public.spki).decode()
    assert text.endswith("==")
    assert refused(lambda: PublicKey.from_text(change(text))) == code


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_raw_key_has_32_bytes(length):
    assert refused(lambda: PublicKey.from_ed25519(b"\x09" * length)) == "key-invalid"


def small_order_points():
    """The y of every point of small order, computed: those whose eightfold is the neutral element."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME

    def add(p, q):
        k = d * p[0] * q[0] * p[1] * q[1] % PRIME
        x = (p[0] * q[1] + q[0] * p[1]) * pow(1 + k, -1, PRIME)
        y = (p[1] * q[1] + p[0] * q[0]) * pow(1 - k, -1, PRIME)
        return x % PRIME, y % PRIME

    def times(n, p):
        found = (0, 1)
        while n:
            found = add(found, p) if n & 1 else found
            p = add(p, p)
            n >>= 1
        return found

    def x_of(y):
        square = (y * y - 1) * pow(d * y * y + 1, -1, PRIME) % PRIME
        x = pow(square, (PRIME + 3) // 8, PRIME)
        x = x if x * x % PRIME == square else x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
        return x if x * x % PRIME == square else None

    order = 2**252 + 27742317777372353535851937790883648493
    found = {(0, 1)}
    for y in range(2, 60):  # the prime-order part of any point falls away: what is left has an order of 1, 2, 4 or 8
        x = x_of(y)
        if x is not None:
            point = times(order, (x, y))
            for n in range(8):
                found.add(times(n, point))
    return found


def test_keys_of_small_order_under_which_anybody_can_sign_are_refused():
    points = small_order_points()
    assert len(points) == 8
    for x, y in points:
        raw = (y | (x & 1) << 255).to_bytes(32, "little")
        assert refused(lambda raw=raw: PublicKey.from_ed25519(raw)) == "key-weak"
        der = bytes.fromhex("302a300506032b6570032100") + raw
        assert refused(lambda der=der: PublicKey.from_spki(der)) == "key-weak"


@pytest.mark.parametrize("excess", range(19))
def test_a_second_encoding_of_a_point_is_refused(excess):
    for sign in (0, 1):
        raw = (PRIME + excess | sign << 255).to_bytes(32, "little")
        assert refused(lambda raw=raw: PublicKey.from_ed25519(raw)) == "key-not-canonical"


def test_an_ecdsa_signature_has_one_form_in_records(p256_key):
    key = p256_key(1)
    r, s = utils.decode_dss_signature(key.sign(b"message"))
    low = utils.encode_dss_signature(r, min(s, P256_ORDER - s))
    high = utils.encode_dss_signature(r, max(s, P256_ORDER - s))
    key.public.verify(low, b"message")
    key.public.verify(high, b"message")
    assert canonical_signature("ecdsa-sha2-nistp256", high) == low
    assert canonical_signature("ecdsa-sha2-nistp256", low) == low
    beyond = utils.encode_dss_signature(r, P256_ORDER + 5)
    assert canonical_signature("ecdsa-sha2-nistp256", beyond) != beyond
    assert canonical_signature("ed25519", b"any") == b"any"
    assert refused(lambda: canonical_signature("ecdsa-sha2-nistp256", b"\x30\x00")) == "signature-invalid"


def test_the_key_given_to_tuf_has_the_same_id_and_verifies_the_same(new_key):
    key = new_key(1)
    given = key.public.to_tuf()
    assert given.keyid == key.public.keyid
    signature = key.sign_record(b"message")
    given.verify_signature(Signature(key.public.keyid, signature.hex()), b"message")
    key.public.verify(signature, b"message")


def test_a_key_shows_its_id_and_not_its_object(ed25519_key):
    assert "object at" not in repr(ed25519_key(1).public)


def test_ecdsa_over_another_hash_is_refused(p256_key):
    private = ec.derive_private_key(2, ec.SECP256R1())
    signature = private.sign(b"message", ec.ECDSA(hashes.SHA384()))
    assert refused(lambda: p256_key(1).public.verify(signature, b"message")) == "signature-invalid"


def test_ed25519_prehashed_is_another_signature(ed25519_key):
    private = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    signature = private.sign(hashlib.sha512(b"message").digest())
    assert refused(lambda: ed25519_key(1).public.verify(signature, b"message")) == "signature-invalid"
