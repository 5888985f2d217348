"""An envelope counts as signed by the keys that the caller names, over exactly its bytes."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import utils

from keyturn.crypto.dsse_signing import sign, verify_all, verify_one
from keyturn.errors import Refused
from keyturn.formats import dsse
from keyturn.formats.dsse import IN_TOTO, Envelope, Signature, pae

PAYLOAD = '{"text":"è ☃"}'.encode()
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def refused(call):
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


def replace(envelope, **changes):
    return msgspec.structs.replace(envelope, **changes)


def test_one_signer_signs_and_verifies(new_key):
    key = new_key(1)
    envelope = sign(PAYLOAD, key)
    verify_one(envelope, key.public)
    verify_all(envelope, (key.public,))
    verify_one(dsse.parse_own(dsse.render(envelope)), key.public)
    assert envelope.signatures[0].keyid == key.public.keyid


def test_several_sign_and_each_is_asked_for(ed25519_key, p256_key):
    first, second, third = ed25519_key(1), p256_key(2), ed25519_key(3)
    envelope = sign(PAYLOAD, first, second)
    verify_all(envelope, (first.public, second.public))
    verify_all(envelope, (second.public,))
    assert refused(lambda: verify_all(envelope, (first.public, third.public))) == "signature-missing"


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_signature_is_wanted_where_one_is(new_key, count):
    key = new_key(1)
    (signature,) = sign(PAYLOAD, key).signatures
    envelope = Envelope(payload_type=IN_TOTO, payload=PAYLOAD, signatures=(signature,) * count)
    assert refused(lambda: verify_one(envelope, key.public)) == "signature-count"


def test_an_empty_list_of_keys_is_never_satisfied(new_key):
    envelope = sign(PAYLOAD, new_key(1))
    assert refused(lambda: verify_all(envelope, ())) == "signature-count"


def test_the_same_key_named_twice_is_not_two(new_key):
    key = new_key(1)
    envelope = sign(PAYLOAD, key, key)
    assert refused(lambda: verify_all(envelope, (key.public, key.public))) == "signature-count"


def test_nobody_signs_nothing():
    assert refused(lambda: sign(PAYLOAD)) == "signature-count"


def test_the_keyid_does_not_decide_who_signed(new_key):
    mallory, ada = new_key(1), new_key(2)
    (signature,) = sign(PAYLOAD, mallory).signatures
    claimed = Signature(keyid=ada.public.keyid, sig=signature.sig)
    envelope = Envelope(payload_type=IN_TOTO, payload=PAYLOAD, signatures=(claimed,))
    assert refused(lambda: verify_one(envelope, ada.public)) in ("signature-invalid", "signature-not-canonical")
    assert refused(lambda: verify_all(envelope, (ada.public,))) in ("signature-invalid", "signature-not-canonical")
    assert refused(lambda: verify_one(envelope, mallory.public)) == "signature-key"


def test_another_payload_or_payload_type_breaks_the_signature(new_key):
    key = new_key(1)
    envelope = sign(PAYLOAD, key)
    for changes in ({"payload": PAYLOAD + b" "}, {"payload_type": "text/plain"}):
        assert (
            refused(lambda changes=changes: verify_one(replace(envelope, **changes), key.public)) == "signature-invalid"
        )


def test_a_signature_of_the_bare_payload_is_no_signature_of_the_envelope(ed25519_key):
    key = ed25519_key(1)
    bare = Signature(keyid=key.public.keyid, sig=key.sign(PAYLOAD))
    envelope = Envelope(payload_type=IN_TOTO, payload=PAYLOAD, signatures=(bare,))
    assert refused(lambda: verify_one(envelope, key.public)) == "signature-invalid"


def test_bytes_moved_between_type_and_payload_do_not_sign_the_same():
    # Lengths count bytes, so no boundary can move, whatever the alphabet.
    assert pae("é", b"x") == b"DSSEv1 2 \xc3\xa9 1 x"
    assert pae("a 1 b", b"c") != pae("a", b"b 1 c")


def test_the_same_ecdsa_signature_in_another_form_is_refused(p256_key):
    key = p256_key(1)
    envelope = sign(PAYLOAD, key)
    r, s = utils.decode_dss_signature(envelope.signatures[0].sig)
    assert s <= P256_ORDER // 2
    twin = Signature(keyid=key.public.keyid, sig=utils.encode_dss_signature(r, P256_ORDER - s))
    altered = replace(envelope, signatures=(twin,))
    assert refused(lambda: verify_one(altered, key.public)) == "signature-not-canonical"
    assert refused(lambda: verify_all(altered, (key.public,))) == "signature-not-canonical"


def test_no_changed_byte_of_a_signed_envelope_verifies(new_key):
    key = new_key(1)
    raw = dsse.render(sign(PAYLOAD, key))
    for position in range(len(raw)):
        for flip in (0x01, 0x04, 0x20):
            altered = bytearray(raw)
            altered[position] ^= flip
            with pytest.raises((Refused, dsse.Malformed)):
                verify_one(dsse.parse_own(bytes(altered)), key.public)
