"""Signed notes: C2SP's own example, round trips, and everything that is no note."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed
from keyturn.formats import base64_text, note
from keyturn.formats.note import Note, NoteSignature

# From the specification's "Verifier keys" example.
EXAMPLE = (
    b"This is an example message.\n\n"
    b"\xe2\x80\x94 example.com/foo "
    b"Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"

text_without_controls = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="".join(map(chr, range(32))))
)
key_names = st.text(st.characters(categories=("L", "N", "P"), exclude_characters="+"), min_size=1, max_size=40)
signatures = st.builds(NoteSignature, key_names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=100))
texts = st.lists(text_without_controls, min_size=1, max_size=6).map(lambda lines: ("\n".join(lines) + "\n").encode())
parsed_notes = st.builds(Note, texts, st.lists(signatures, min_size=1, max_size=5).map(tuple))


def refused(raw, parse=note.parse):
    with pytest.raises(Malformed) as caught:
        parse(raw)
    return caught.value.code


def test_the_specification_s_example_verifies_under_its_key_and_key_id():
    parsed = note.parse(EXAMPLE)
    public = base64.b64decode(EXAMPLE_VKEY.split("+", 2)[2])[1:]
    (signature,) = parsed.signatures
    assert note.verifier_key("example.com/foo", note.ED25519, public) == EXAMPLE_VKEY
    assert signature.key_id == note.key_id("example.com/foo", note.ED25519, public) == bytes.fromhex("530d903a")
    PublicKey.from_ed25519(public).verify(signature.signature, parsed.text)


def test_one_key_has_another_id_for_another_type_of_signature_or_name():
    ids = {note.key_id(name, kind, bytes(32)) for name in ("a", "b") for kind in (note.ED25519, note.COSIGNATURE_V1)}
    assert len(ids) == 4


@given(parsed_notes)
def test_what_is_rendered_parses_to_the_same_note(value):
    assert note.parse(note.render(value)) == value


def test_the_text_may_hold_blank_lines_and_lines_like_signatures():
    raw = "a\n\n— b c\n\n— example AAAAAAA=\n".encode()
    parsed = note.parse(raw)
    assert parsed.text == "a\n\n— b c\n".encode()
    assert note.render(parsed) == raw


def test_a_non_ascii_text_and_name_are_kept_byte_for_byte():
    raw = "è subito sera.\n\n— esempio.example/poéta AAAAAAA=\n".encode()
    assert note.render(note.parse(raw)) == raw


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", "note-form", id="nothing"),
        pytest.param(b"text\n", "note-form", id="no signatures"),
        pytest.param(b"text\n\n", "note-signature-count", id="a blank line and nothing after it"),
        pytest.param("text\n\n— a AAAAAAA=".encode(), "note-signature-count", id="no newline at the end"),
        pytest.param("text\n\n— a AAAAAAA=\nmore\n".encode(), "note-signature", id="text after the signatures"),
        pytest.param(b"text\n\n- a AAAAAAA=\n", "note-signature", id="a hyphen for a dash"),
        pytest.param("text\n\n—a AAAAAAA=\n".encode(), "note-signature", id="no space after the dash"),
        pytest.param("text\n\n— AAAAAAA=\n".encode(), "note-signature", id="no name"),
        pytest.param("text\n\n—  AAAAAAA=\n".encode(), "note-key-name", id="an empty name"),
        pytest.param("text\n\n— a+b AAAAAAA=\n".encode(), "note-key-name", id="a plus sign in the name"),
        pytest.param("text\n\n— a\u00a0b AAAAAAA=\n".encode(), "note-key-name", id="a no-break space in the name"),
        pytest.param("text\n\n— a\u2003 AAAAAAA=\n".encode(), "note-key-name", id="an em space in the name"),
        pytest.param(f"text\n\n— {'é' * 128} AAAAAAA=\n".encode(), "note-key-name", id="a name of 256 bytes"),
        pytest.param("text\n\n— a AAAAAAA\n".encode(), "base64-invalid", id="base64 without padding"),
        pytest.param("text\n\n— a AAAAAAB=\n".encode(), "base64-not-canonical", id="base64 with trailing bits"),
        pytest.param("text\n\n— a AAAA AAA=\n".encode(), "base64-invalid", id="base64 with a space"),
        pytest.param("text\n\n— a AAAA-_A=\n".encode(), "base64-invalid", id="base64 for URLs"),
        pytest.param("text\n\n— a AAAAAA==\n".encode(), "note-signature", id="a key id without a signature"),
        pytest.param(b"te\x1bxt\n\n\xe2\x80\x94 a AAAAAAA=\n", "note-text", id="a terminal escape"),
        pytest.param(b"text\r\n\n\xe2\x80\x94 a AAAAAAA=\n", "note-text", id="a carriage return"),
        pytest.param(b"te\xffxt\n\n\xe2\x80\x94 a AAAAAAA=\n", "note-text", id="no UTF-8"),
        pytest.param(b"te\xed\xa0\x80xt\n\n\xe2\x80\x94 a AAAAAAA=\n", "note-text", id="a surrogate in UTF-8"),
        pytest.param(b"t\n\n" + "— a AAAAAAA=\n".encode() * 65, "note-signature-count", id="65 signatures"),
        pytest.param(b"a" * (256 * 1024) + "\n\n— a AAAAAAA=\n".encode(), "note-too-large", id="too many bytes"),
    ],
)
def test_what_is_no_note_is_refused_by_name(raw, code):
    assert refused(raw) == code


def test_signatures_are_added_after_those_that_are_there():
    parsed = note.parse(EXAMPLE)
    more = NoteSignature("witness", bytes(4), b"x")
    assert parsed.with_signatures(more).signatures == (*parsed.signatures, more)


def test_signature_lines_alone_are_what_a_witness_answers():
    lines = "— a AAAAAAA=\n— b AAAAAAE=\n".encode()
    parsed = note.parse_signature_lines(lines)
    assert [signature.name for signature in parsed] == ["a", "b"]
    assert b"".join(map(note.render_signature_line, parsed)) == lines
    assert refused(b"\n", note.parse_signature_lines) == "note-signature"
    assert refused(b"", note.parse_signature_lines) == "note-signature-count"
    assert refused(b"a" * (256 * 1024 + 1), note.parse_signature_lines) == "note-too-large"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Note(b"text", (NoteSignature("a", bytes(4), b"x"),)), id="a text without a newline"),
        pytest.param(lambda: Note(b"text\n", ()), id="no signatures"),
        pytest.param(lambda: Note(b"t\x00\n", (NoteSignature("a", bytes(4), b"x"),)), id="a control character"),
        pytest.param(lambda: NoteSignature("a", bytes(3), b"x"), id="a key id of 3 bytes"),
        pytest.param(lambda: NoteSignature("a", bytes(4), b""), id="an empty signature"),
        pytest.param(lambda: NoteSignature("a\x7f b", bytes(4), b"x"), id="a name with a space"),
        pytest.param(lambda: note.verifier_key("", note.ED25519, bytes(32)), id="a verifier key without a name"),
    ],
)
def test_no_such_note_is_made(make):
    with pytest.raises(Malformed):
        make()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_malformed(raw):
    try:
        value = note.parse(raw)
    except Malformed:
        return
    assert note.render(value) == raw


@given(parsed_notes, st.data())
def test_a_note_that_parses_renders_to_the_same_bytes_after_any_single_byte_changed(value, data):
    raw = bytearray(note.render(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = note.parse(bytes(raw))
    except Malformed:
        return
    assert note.render(again) == bytes(raw)


@given(st.binary(max_size=80))
def test_base64_has_one_text(raw):
    assert base64_text.decode(base64_text.encode(raw), what="test") == raw


@given(st.text("ABab01+/=-_ \n", max_size=12))
def test_a_base64_text_that_decodes_is_the_one_of_its_bytes(text):
    try:
        raw = base64_text.decode(text, what="test")
    except Malformed:
        return
    assert base64_text.encode(raw) == text


def test_base64_that_is_not_ascii_is_malformed():
    assert refused("ÄÄÄÄ", lambda text: base64_text.decode(text, what="test")) == "base64-invalid"
