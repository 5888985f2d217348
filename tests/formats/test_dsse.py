"""Envelopes: ours have one text, others' keep their bytes."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import IN_TOTO, Envelope, Signature

signatures = st.builds(
    Signature, keyid=st.binary(min_size=32, max_size=32).map(bytes.hex), sig=st.binary(min_size=1, max_size=80)
)
envelopes = st.builds(
    Envelope,
    payload_type=st.just(IN_TOTO),
    payload=st.binary(min_size=1, max_size=200),
    signatures=st.lists(signatures, min_size=1, max_size=4).map(tuple),
)
KEYID = b'"keyid":"' + b"ab" * 32 + b'",'
SIGNATURES = b'"signatures":[{' + KEYID + b'"sig":"Yg=="}]'
GOOD = b'{"payload":"YQ==","payloadType":"application/vnd.in-toto+json",' + SIGNATURES + b"}"


def refused(raw, parse=dsse.parse_own):
    with pytest.raises(Malformed) as caught:
        parse(raw)
    return caught.value.code


def test_the_protocol_s_own_example_of_pae():
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes_and_not_characters():
    assert dsse.pae("é", "☃".encode()) == b"DSSEv1 2 \xc3\xa9 3 \xe2\x98\x83"


@given(st.text(max_size=9), st.binary(max_size=9), st.text(max_size=9), st.binary(max_size=9))
def test_two_different_things_never_sign_the_same(type_a, payload_a, type_b, payload_b):
    same = (type_a, payload_a) == (type_b, payload_b)
    assert (dsse.pae(type_a, payload_a) == dsse.pae(type_b, payload_b)) is same


@given(envelopes)
def test_an_envelope_survives_its_text(value):
    raw = dsse.render(value)
    assert dsse.parse_own(raw) == value
    assert dsse.parse_foreign(raw) == value
    assert value.record_digest == sha256(value.payload)


@given(envelopes, st.data())
def test_an_envelope_with_one_byte_changed_is_refused_or_renders_to_those_bytes(value, data):
    raw = bytearray(dsse.render(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        again = dsse.parse_own(bytes(raw))
    except Malformed:
        return
    assert dsse.render(again) == bytes(raw)
    assert again != value


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        pytest.param(b"YQ==", b"YR==", "dsse-not-canonical", id="trailing bits in the payload's base64"),
        pytest.param(b"Yg==", b"Yh==", "dsse-not-canonical", id="trailing bits in a signature's base64"),
        pytest.param(b"YQ==", b"YQ", "dsse-base64", id="no padding"),
        pytest.param(b"YQ==", b"Y Q==", "dsse-base64", id="a space in base64"),
        pytest.param(b"YQ==", b"-_8=", "dsse-base64", id="base64 for URLs"),
        pytest.param(b"YQ==", "é".encode(), "dsse-base64", id="base64 that is not ASCII"),
        pytest.param(b"YQ==", b"", "dsse-base64", id="an empty payload"),
        pytest.param(b"Yg==", b"", "dsse-base64", id="an empty signature"),
        pytest.param(b"vnd.in-toto", b"vnd.other", "dsse-payload-type", id="another payload type"),
        pytest.param(SIGNATURES, b'"signatures":[]', "dsse-signature-count", id="unsigned"),
        pytest.param(KEYID, KEYID + b'"kid":"k",', "json-invalid", id="an unknown field of a signature"),
        pytest.param(b'{"payload"', b'{"note":"","payload"', "json-invalid", id="an unknown field"),
        pytest.param(b'{"payload"', b'{"payload":"YQ==","payload"', "json-not-canonical", id="a duplicate field"),
        pytest.param(b'{"payload"', b'{ "payload"', "json-not-canonical", id="white space"),
        pytest.param(KEYID, b"", "json-invalid", id="no key id"),
        pytest.param(b"abab", b"ABAB", "json-invalid", id="a key id in upper case"),
        pytest.param(b"abab", b"\\u001b[2J", "json-invalid", id="a terminal escape for a key id"),
        pytest.param(b'"YQ=="', b"7", "json-invalid", id="a number for a payload"),
    ],
)
def test_our_own_envelopes_have_one_text(old, new, code):
    assert dsse.parse_own(GOOD).payload == b"a"
    assert old in GOOD
    assert refused(GOOD.replace(old, new, 1)) == code


def test_both_ways_to_read_our_own_envelopes_read_the_same():
    assert dsse._own_by_field(GOOD) == dsse.parse_own(GOOD)


@pytest.mark.parametrize("parse", [dsse.parse_own, dsse.parse_foreign])
def test_counts_and_sizes_are_bounded(parse):
    many = Envelope(payload_type=IN_TOTO, payload=b"a", signatures=(Signature(keyid="ab" * 32, sig=b"b"),) * 17)
    assert refused(dsse.render(many), parse) == "dsse-signature-count"
    large = Envelope(payload_type=IN_TOTO, payload=bytes(512 * 1024 + 1), signatures=many.signatures[:1])
    assert refused(dsse.render(large), parse) == "dsse-too-large"


def test_what_is_larger_than_any_record_is_not_ours_though_its_text_is_canonical():
    half = Envelope(
        payload_type=IN_TOTO, payload=b"a", signatures=(Signature(keyid="ab" * 32, sig=bytes(400 * 1024)),) * 2
    )
    raw = dsse.render(half)
    assert refused(raw) == "json-too-large"
    with pytest.raises(Malformed, match="json-too-large"):
        dsse.require_own(dsse.parse_foreign(raw), raw)


def test_others_envelopes_may_be_written_otherwise_and_say_more():
    foreign = json.dumps(
        {
            "payloadType": IN_TOTO,
            "payload": "YQ==",
            "signatures": [{"sig": "Yg==", "cert": "..."}],
            "more": {"a": [1.5]},
        },
        indent=2,
    ).encode()
    parsed = dsse.parse_foreign(foreign)
    assert (parsed.payload_type, parsed.payload, parsed.signatures[0].keyid) == (IN_TOTO, b"a", "")


def test_what_was_signed_as_something_else_is_no_statement_of_anybody():
    other = GOOD.replace(b"vnd.in-toto+json", b"vnd.other+json")
    assert refused(other, dsse.parse_foreign) == "dsse-payload-type"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", "dsse-invalid", id="nothing"),
        pytest.param(b"[]", "dsse-invalid", id="an array"),
        pytest.param(b'{"payload":"YQ=="}', "dsse-invalid", id="no signatures"),
        pytest.param(
            b'{"payload":"YQ==","payloadType":"a","signatures":{}}', "dsse-invalid", id="signatures of another type"
        ),
        pytest.param(b'{"a":' + b"[" * 500_000, "dsse-invalid", id="deep nesting"),
        pytest.param(b'{"payload":"\xff', "dsse-invalid", id="no UTF-8"),
    ],
)
def test_what_is_no_envelope_of_anybody_is_refused(raw, code):
    assert refused(raw, dsse.parse_foreign) == code


def test_a_foreign_envelope_is_bounded_before_it_is_read():
    assert refused(GOOD, lambda raw: dsse.parse_foreign(raw, size_bytes_max=len(GOOD) - 1)) == "dsse-too-large"


def test_the_largest_payload_of_ours_fits():
    value = Envelope(
        payload_type=IN_TOTO, payload=bytes(512 * 1024), signatures=(Signature(keyid="ab" * 32, sig=b"b"),)
    )
    raw = dsse.render(value)
    assert dsse.parse_own(raw) == value
    assert base64.b64encode(value.payload) in raw


base64_like = st.text(alphabet="ABgw/+=-_ \n", max_size=12)


@given(base64_like, base64_like, st.sampled_from(['"keyid":"",', '"keyid":"a","keyid":"b",', '"keyid":1,', ""]))
def test_an_envelope_in_one_pass_is_the_envelope_by_field(payload, sig, keyid):
    raw = json.dumps({"payload": payload, "payloadType": IN_TOTO}).removesuffix("}").encode()
    raw += b', "more": 1, "signatures": [{%s"sig": %s}]}' % (keyid.encode(), json.dumps(sig).encode())
    assert outcome(raw, dsse.parse_foreign) == outcome(raw, dsse._by_field)


def outcome(raw, parse):
    try:
        return parse(raw)
    except Malformed as err:
        return err.code


def test_an_envelope_of_somebody_else_with_an_empty_signature_is_refused():
    assert refused(GOOD.replace(b"Yg==", b""), dsse.parse_foreign) == "dsse-base64"
