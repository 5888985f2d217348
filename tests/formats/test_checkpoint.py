"""Checkpoint bodies and cosignatures, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.formats import checkpoint, cosignature
from keyturn.formats.checkpoint import SIZE_MAX, Checkpoint
from keyturn.formats.cosignature import Cosignature

ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
EXAMPLE = f"example.com/behind-the-sofa\n20852163\n{ROOT}\n".encode()

origins = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="+"), min_size=1, max_size=255
)
checkpoints = st.builds(Checkpoint, origins, st.integers(0, SIZE_MAX), st.binary(min_size=32, max_size=32))
cosignatures = st.builds(Cosignature, st.integers(1, 2**63 - 1), st.binary(min_size=64, max_size=64))


def refused(parse, raw):
    with pytest.raises(Malformed) as caught:
        parse(raw)
    return caught.value.code


def test_the_specification_s_example_parses():
    parsed = checkpoint.parse_body(EXAMPLE)
    assert (parsed.origin, parsed.size, parsed.root.hex()[:8]) == ("example.com/behind-the-sofa", 20852163, "0ac5186a")
    assert checkpoint.render_body(parsed) == EXAMPLE


@given(checkpoints)
def test_what_is_rendered_parses_to_the_same_checkpoint(value):
    assert checkpoint.parse_body(checkpoint.render_body(value)) == value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param("", "checkpoint-form", id="nothing"),
        pytest.param(f"log\n1\n{ROOT}", "checkpoint-form", id="no newline at the end"),
        pytest.param("log\n1\n", "checkpoint-form", id="no root"),
        pytest.param(f"log\n1\n{ROOT}\nextension\n", "checkpoint-form", id="an extension line"),
        pytest.param(f"log\n1\n{ROOT}\n\n", "checkpoint-form", id="an empty extension line"),
        pytest.param(f"\n1\n{ROOT}\n", "checkpoint-origin", id="no origin"),
        pytest.param(f"a b\n1\n{ROOT}\n", "checkpoint-origin", id="a space in the origin"),
        pytest.param(f"a+b\n1\n{ROOT}\n", "checkpoint-origin", id="a plus sign in the origin"),
        pytest.param(f"\x1b[2J\n1\n{ROOT}\n", "checkpoint-origin", id="a terminal escape in the origin"),
        pytest.param(f"é\n1\n{ROOT}\n", "checkpoint-form", id="an origin that is not ASCII"),
        pytest.param(f"{'a' * 256}\n1\n{ROOT}\n", "checkpoint-origin", id="an origin of 256 bytes"),
        pytest.param(f"{'a' * 600}\n1\n{ROOT}\n", "checkpoint-form", id="an oversized body"),
        pytest.param(f"log\n\n{ROOT}\n", "checkpoint-size", id="no size"),
        pytest.param(f"log\n01\n{ROOT}\n", "checkpoint-size", id="a leading zero"),
        pytest.param(f"log\n00\n{ROOT}\n", "checkpoint-size", id="two zeroes"),
        pytest.param(f"log\n-1\n{ROOT}\n", "checkpoint-size", id="a negative size"),
        pytest.param(f"log\n+1\n{ROOT}\n", "checkpoint-size", id="a signed size"),
        pytest.param(f"log\n1_0\n{ROOT}\n", "checkpoint-size", id="an underscore, which Python would read"),
        pytest.param(f"log\n 1\n{ROOT}\n", "checkpoint-size", id="a space before the size"),
        pytest.param(f"log\n{2**53}\n{ROOT}\n", "checkpoint-size", id="2^53"),
        pytest.param(f"log\n{2**63}\n{ROOT}\n", "checkpoint-size", id="2^63"),
        pytest.param(f"log\n{'9' * 400}\n{ROOT}\n", "checkpoint-size", id="400 digits"),
        pytest.param("log\n1\nAAAA\n", "checkpoint-root", id="a root of 3 bytes"),
        pytest.param(f"log\n1\n{ROOT[:-2]}j=\n", "base64-not-canonical", id="another base64 text of the same root"),
        pytest.param(f"log\r\n1\r\n{ROOT}\r\n", "checkpoint-size", id="carriage returns"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name(body, code):
    assert refused(checkpoint.parse_body, body.encode()) == code


def test_digits_of_other_scripts_are_no_size():
    assert refused(lambda text: checkpoint.parse_size(text, what="size"), "١") == "checkpoint-size"


@pytest.mark.parametrize("size", [-1, 2**53, 2**63])
def test_no_checkpoint_of_an_impossible_size_is_made(size):
    with pytest.raises(Malformed):
        Checkpoint("log", size, bytes(32))


def test_no_single_changed_byte_parses_to_the_same_checkpoint():
    value = checkpoint.parse_body(EXAMPLE)
    for position in range(len(EXAMPLE)):
        for byte in range(256):
            altered = bytearray(EXAMPLE)
            altered[position] = byte
            if bytes(altered) == EXAMPLE:
                continue
            try:
                assert checkpoint.parse_body(bytes(altered)) != value
            except Malformed:
                continue


@given(cosignatures)
def test_a_cosignature_survives_its_bytes(value):
    assert cosignature.parse(cosignature.render(value)) == value


def test_the_specification_s_message_is_what_is_signed():
    assert cosignature.message(EXAMPLE, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + EXAMPLE


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", "cosignature-length", id="nothing"),
        pytest.param(bytes(71), "cosignature-length", id="a byte short"),
        pytest.param(bytes(73), "cosignature-length", id="a byte more"),
        pytest.param(bytes(72), "cosignature-time", id="time 0"),
        pytest.param(b"\x80" + bytes(71), "cosignature-time", id="2^63"),
        pytest.param(b"\xff" * 72, "cosignature-time", id="2^64 - 1"),
    ],
)
def test_what_is_no_cosignature_is_refused_by_name(raw, code):
    assert refused(cosignature.parse, raw) == code


def test_no_cosignature_of_another_length_is_made():
    with pytest.raises(Malformed):
        Cosignature(1, bytes(63))
