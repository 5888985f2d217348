"""One value has one text: RFC 8785's, restricted; rfc8785 is the oracle."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.canonical_json import DEPTH_MAX, INTEGER_MAX, decode, encode

ascii_keys = st.text(st.characters(max_codepoint=0x7F), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_keys, inner, max_size=4), max_leaves=20
)


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    x: Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
    name: str = ""
    tags: tuple[str, ...] = ()
    pair: tuple[bool, None] | None = None
    version: Literal[1] = 1


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    inner: Tree | None = None


def refused(raw, kind=Any, **arguments):
    with pytest.raises(Malformed) as caught:
        decode(raw, kind, what="test", **arguments)
    assert caught.value.message.startswith("test: ")
    return caught.value.code


@given(values)
def test_encoding_is_what_rfc_8785_asks_for(value):
    raw = encode(value)
    assert raw == rfc8785.dumps(value)
    assert decode(raw, Any, what="test") == value


@given(st.builds(Point, st.integers(0, INTEGER_MAX), st.text(), st.lists(st.text(), max_size=3).map(tuple)))
def test_a_struct_survives_its_text_which_is_what_rfc_8785_asks_for(point):
    raw = encode(point)
    assert decode(raw, Point, what="test") == point
    assert raw == rfc8785.dumps(msgspec.to_builtins(point))


@given(values, st.data())
def test_a_text_with_one_byte_changed_is_refused_or_another_value(value, data):
    raw = bytearray(encode(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        again = decode(bytes(raw), Any, what="test")
    except Malformed:
        return
    assert encode(again) == bytes(raw)


@given(st.binary(max_size=60))
def test_any_bytes_are_canonical_or_malformed(raw):
    try:
        value = decode(raw, Any, what="test")
    except Malformed:
        return
    assert encode(value) == raw


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", "json-invalid", id="nothing"),
        pytest.param(b'{"x":1', "json-invalid", id="a text that ends"),
        pytest.param(b'{"x":1}{', "json-invalid", id="something after it"),
        pytest.param(b'{"x":1}\n', "json-not-canonical", id="a newline after it"),
        pytest.param(b' {"x":1}', "json-not-canonical", id="a space before it"),
        pytest.param(b'{"x": 1}', "json-not-canonical", id="a space inside"),
        pytest.param(b'\xef\xbb\xbf{"x":1}', "json-invalid", id="a byte order mark"),
        pytest.param(b'{"x":1,"x":1}', "json-not-canonical", id="a duplicate field"),
        pytest.param(b'{"x":1,"x":2}', "json-not-canonical", id="a duplicate field of another value"),
        pytest.param(b'{"x":1,"\\u0078":2}', "json-not-canonical", id="a duplicate field behind an escape"),
        pytest.param(b'{"name":"a","x":1,"y":1}', "json-invalid", id="an unknown field"),
        pytest.param(b'{"x":1,"name":"a"}', "json-not-canonical", id="fields out of order"),
        pytest.param(b'{"name":"\\u0061","x":1}', "json-not-canonical", id="an escape that is not needed"),
        pytest.param(b'{"name":"\\/","x":1}', "json-not-canonical", id="an escaped slash"),
        pytest.param(b'{"name":"\\u001B","x":1}', "json-not-canonical", id="an escape in upper case"),
        pytest.param(b'{"name":"\x1b","x":1}', "json-invalid", id="a raw control character"),
        pytest.param(b'{"name":"\\ud800","x":1}', "json-invalid", id="a lone surrogate"),
        pytest.param(b'{"name":"\xed\xa0\x80","x":1}', "json-invalid", id="a surrogate in UTF-8"),
        pytest.param(b'{"name":"\xff","x":1}', "json-invalid", id="no UTF-8"),
        pytest.param(b'{"name":"","x":1}', "json-not-canonical", id="a default that is written out"),
        pytest.param(b'{"pair":null,"x":1}', "json-not-canonical", id="a null that is written out"),
        pytest.param(b'{"name":null,"x":1}', "json-invalid", id="a null for a text"),
        pytest.param(b'{"x":"1"}', "json-invalid", id="a text for a number"),
        pytest.param(b'{"x":1.0}', "json-invalid", id="a fraction that is whole"),
        pytest.param(b'{"x":1.5}', "json-invalid", id="a fraction"),
        pytest.param(b'{"x":1e0}', "json-invalid", id="an exponent"),
        pytest.param(b'{"x":-0}', "json-not-canonical", id="minus zero"),
        pytest.param(b'{"x":01}', "json-invalid", id="a leading zero"),
        pytest.param(b'{"x":true}', "json-invalid", id="a truth value for a number"),
        pytest.param(b'{"x":9007199254740992}', "json-invalid", id="2^53"),
        pytest.param(b'{"x":9223372036854775808}', "json-invalid", id="2^63"),
        pytest.param(b'{"x":18446744073709551616}', "json-invalid", id="2^64"),
        pytest.param(b'{"x":' + b"9" * 5000 + b"}", "json-invalid", id="5000 digits"),
        pytest.param(b'{"x":NaN}', "json-invalid", id="not a number"),
        pytest.param(b"[1]", "json-invalid", id="an array"),
        pytest.param(b'{"version":2,"x":1}', "json-invalid", id="another version"),
    ],
)
def test_what_is_not_the_one_text_of_a_value_is_refused_by_name(raw, code):
    assert refused(raw, Point) == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"1.5", "json-number", id="a fraction"),
        pytest.param(b"[1,2.5e-7]", "json-number", id="a small fraction"),
        pytest.param(b"9007199254740992", "json-number", id="2^53"),
        pytest.param(b"[-9007199254740992]", "json-number", id="-2^53"),
        pytest.param(b'{"a":18446744073709551615}', "json-number", id="2^64 - 1"),
        pytest.param('{"é":1}'.encode(), "json-key", id="a key that is not ASCII"),
        pytest.param(
            '{"a":{"\U0001f600":1,"\ufb33":2}}'.encode(), "json-not-canonical", id="keys RFC 8785 sorts by UTF-16"
        ),
        pytest.param(b"null ", "json-not-canonical", id="a space after it"),
    ],
)
def test_an_open_type_leaves_nothing_open(raw, code):
    assert refused(raw) == code


def test_numbers_and_keys_inside_strings_are_texts():
    value = {"a": '1.5 {"é":9007199254740993}', "b": "\\", 'c"': "é:"}
    assert decode(encode(value), Any, what="test") == value


@pytest.mark.parametrize("number", [INTEGER_MAX, -INTEGER_MAX, 0])
def test_the_largest_integers_are_accepted(number):
    assert decode(encode([number]), Any, what="test") == [number]


@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_bounded_and_the_bound_is_exact(opened, closed):
    deepest = opened * DEPTH_MAX + b"1" + closed * DEPTH_MAX
    decode(deepest, Any, what="test")
    assert refused(opened + deepest + closed) == "json-too-deep"
    assert refused(opened * 100_000) == "json-too-deep"


def test_many_shallow_brackets_and_brackets_in_strings_are_not_deep():
    value = [[], {}, "[[[[", '\\"[{', ["]"]] * 40
    assert decode(encode(value), Any, what="test") == value


def test_a_type_within_itself_is_bounded_too():
    assert decode(b'{"inner":{}}', Tree, what="test") == Tree(Tree())
    assert refused(b'{"inner":' * 33 + b"{}" + b"}" * 33, Tree) == "json-too-deep"


def test_deep_nesting_where_none_is_expected_is_refused():
    assert refused(b'{"x":' + b"[" * 500_000, Point) == "json-invalid"
    assert refused(b'{"tags":' + b"[" * 500_000, Point) == "json-invalid"


def test_size_is_bounded_in_bytes():
    raw = encode("é" * 10)
    assert decode(raw, str, what="test", size_bytes_max=22) == "é" * 10
    assert refused(raw, str, size_bytes_max=21) == "json-too-large"
    assert refused(b" " * (canonical_json.SIZE_BYTES_MAX + 1)) == "json-too-large"


@pytest.mark.alone
def test_a_string_that_never_ends_takes_no_quadratic_time():
    raw = b"[]," * 40 + b'"' + b'\\"' * 400_000
    start = time.perf_counter()
    assert refused(raw) == "json-invalid"
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("kind", "is_open"),
    [
        pytest.param(Point, False, id="bounded fields"),
        pytest.param(tuple[Point, ...], False, id="many of those"),
        pytest.param(list[str], False, id="a list of texts"),
        pytest.param(Annotated[str, Meta(max_length=3)], False, id="a bounded text"),
        pytest.param(int, True, id="any integer"),
        pytest.param(Annotated[int, Meta(ge=0)], True, id="an integer without an end"),
        pytest.param(Annotated[int, Meta(ge=0, le=2**53)], True, id="an integer up to 2^53"),
        pytest.param(Annotated[int, Meta(ge=-(2**53), le=0)], True, id="an integer down to -2^53"),
        pytest.param(float, True, id="a fraction"),
        pytest.param(dict[str, str], True, id="keys of the text's own"),
        pytest.param(Any, True, id="anything"),
        pytest.param(Tree, True, id="a type within itself"),
        pytest.param(str | int, True, id="a choice with something open"),
        pytest.param(Annotated[Any, Meta(title="anything")], True, id="anything, with a title"),
    ],
)
def test_only_types_that_leave_something_open_cost_a_second_look(kind, is_open):
    assert canonical_json._is_open(msgspec.inspect.type_info(kind), set()) is is_open
