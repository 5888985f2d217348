"""Proof files and add-checkpoint requests: text round trips, and everything that is neither."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.formats import add_checkpoint, note, tlog_proof
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.note import Note, NoteSignature
from keyturn.formats.tlog_proof import TlogProof

HASH = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ="
NOTE = Note(b"log\n1\nx\n", (NoteSignature("a", bytes(4), b"signature"),))
NOTE_TEXT = note.render(NOTE).decode()

hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple)
sizes = st.integers(0, 2**53 - 1)
proofs = st.builds(
    TlogProof, sizes, hashes, st.binary(min_size=1, max_size=99), st.none() | st.binary(min_size=1, max_size=99)
)
requests = st.builds(AddCheckpoint, sizes, hashes, st.just(NOTE))


def refused(call):
    with pytest.raises(Malformed) as caught:
        call()
    return caught.value.code


@given(proofs)
def test_a_proof_survives_its_text(proof):
    assert tlog_proof.parse(tlog_proof.render(proof)) == proof


def test_a_proof_is_written_as_the_specification_writes_it():
    proof = TlogProof(73894, (base64.b64decode(HASH),), NOTE_TEXT.encode(), b"extra")
    assert tlog_proof.render(proof).decode() == (
        f"c2sp.org/tlog-proof@v1\nextra ZXh0cmE=\nindex 73894\n{HASH}\n\n{NOTE_TEXT}"
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", "tlog-proof-form", id="nothing"),
        pytest.param("c2sp.org/tlog-proof@v1\nindex 0\n", "tlog-proof-form", id="no checkpoint"),
        pytest.param("c2sp.org/tlog-proof@v1\nindex 0\n\n", "tlog-proof-form", id="an empty checkpoint"),
        pytest.param("c2sp.org/tlog-proof@v2\nindex 0\n\nx", "tlog-proof-form", id="another version"),
        pytest.param("c2sp.org/tlog-proof@v1\n\nx", "tlog-proof-form", id="no index"),
        pytest.param("c2sp.org/tlog-proof@v1\nextra AAAA\n\nx", "tlog-proof-form", id="extra data and no index"),
        pytest.param("c2sp.org/tlog-proof@v1\nextra \nindex 0\n\nx", "tlog-proof-extra", id="empty extra data"),
        pytest.param("c2sp.org/tlog-proof@v1\nextra AAB=\nindex 0\n\nx", "base64-not-canonical", id="loose base64"),
        pytest.param("c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA\n\nx", "base64-invalid", id="extra after index"),
        pytest.param("c2sp.org/tlog-proof@v1\nindex 00\n\nx", "checkpoint-size", id="a leading zero"),
        pytest.param(f"c2sp.org/tlog-proof@v1\nindex {2**63}\n\nx", "checkpoint-size", id="2^63"),
        pytest.param("c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx", "tlog-proof-hashes", id="a hash of 3 bytes"),
        pytest.param(f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH}\r\n\nx", "base64-invalid", id="a carriage return"),
        pytest.param(f"c2sp.org/tlog-proof@v1\nindex 0\né{HASH}\n\nx", "tlog-proof-form", id="not ASCII"),
        pytest.param(
            "c2sp.org/tlog-proof@v1\nindex 0\n" + f"{HASH}\n" * 64 + "\nx", "tlog-proof-hashes", id="64 hashes"
        ),
        pytest.param("c2sp.org/tlog-proof@v1\n" + "a" * 512 * 1024, "tlog-proof-too-large", id="too many bytes"),
    ],
)
def test_what_is_no_proof_is_refused_by_name(text, code):
    assert refused(lambda: tlog_proof.parse(text.encode())) == code


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: TlogProof(-1, (), b"x"), id="a negative index"),
        pytest.param(lambda: TlogProof(0, (bytes(31),), b"x"), id="a short hash"),
        pytest.param(lambda: TlogProof(0, (), b""), id="no checkpoint"),
        pytest.param(lambda: TlogProof(0, (), b"x", bytes(65537)), id="too much extra data"),
    ],
)
def test_no_such_proof_is_made(make):
    refused(make)


@given(st.binary(max_size=200))
def test_any_bytes_after_the_first_line_are_a_proof_or_malformed(raw):
    text = b"c2sp.org/tlog-proof@v1\n" + raw
    try:
        proof = tlog_proof.parse(text)
    except Malformed:
        return
    assert tlog_proof.render(proof) == text


@given(proofs, st.data())
def test_a_proof_with_one_byte_changed_is_malformed_or_another_proof(proof, data):
    raw = bytearray(tlog_proof.render(proof))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    try:
        again = tlog_proof.parse(bytes(raw))
    except Malformed:
        return
    assert again != proof


@given(requests)
def test_a_request_to_a_witness_survives_its_text(request):
    assert add_checkpoint.parse(add_checkpoint.render(request)) == request


def test_a_request_is_written_as_the_specification_writes_it():
    request = AddCheckpoint(20852014, (base64.b64decode(HASH),), NOTE)
    assert add_checkpoint.render(request).decode() == f"old 20852014\n{HASH}\n\n{NOTE_TEXT}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", "add-checkpoint-form", id="nothing"),
        pytest.param("old 0\n", "add-checkpoint-form", id="no checkpoint"),
        pytest.param("old 0\n\n", "note-form", id="an empty checkpoint"),
        pytest.param(f"new 0\n\n{NOTE_TEXT}", "add-checkpoint-form", id="another first line"),
        pytest.param(f"old  0\n\n{NOTE_TEXT}", "checkpoint-size", id="two spaces"),
        pytest.param(f"old -1\n\n{NOTE_TEXT}", "checkpoint-size", id="a negative size"),
        pytest.param(f"old {2**63}\n\n{NOTE_TEXT}", "checkpoint-size", id="2^63"),
        pytest.param(f"old 1\nAAAA\n\n{NOTE_TEXT}", "tlog-proof-hashes", id="a hash of 3 bytes"),
        pytest.param(f"old 1\né\n\n{NOTE_TEXT}", "add-checkpoint-form", id="not ASCII"),
        pytest.param("old 1\n" + f"{HASH}\n" * 64 + f"\n{NOTE_TEXT}", "tlog-proof-hashes", id="64 hashes"),
        pytest.param("old 1\n" + "a" * 300 * 1024, "add-checkpoint-too-large", id="too many bytes"),
    ],
)
def test_what_is_no_request_is_refused_by_name(text, code):
    assert refused(lambda: add_checkpoint.parse(text.encode())) == code


@pytest.mark.parametrize(("old_size", "proof"), [(-1, ()), (2**53, ()), (0, (bytes(31),)), (0, (bytes(32),) * 64)])
def test_no_such_request_is_made(old_size, proof):
    assert refused(lambda: AddCheckpoint(old_size, proof, NOTE)) == "add-checkpoint-form"
