"""A gate's signed word that it obeys a record: parsed strictly, about that one record."""

from __future__ import annotations

import msgspec
import pytest

from keyturn.crypto import dsse_signing
from keyturn.errors import Malformed
from keyturn.formats import dsse, gate_answer, statement
from keyturn.formats.gate_answer import GATE_OBEYS, GateObeys
from keyturn.formats.statement import DigestSet, Subject
from support.labs import make_key

KEY = make_key("gate")
SAID = GateObeys(
    lab="acme.example",
    gate="keyturn://acme.example/gate/release",
    key=KEY.public.keyid,
    record="ab" * 32,
    size=17,
    acted=True,
    signed_at=1_790_000_000,
)


def signed(payload: bytes) -> bytes:
    return dsse.render(dsse_signing.sign(payload, KEY))


@pytest.mark.parametrize("said", [SAID, msgspec.structs.replace(SAID, acted=False)])
def test_an_answer_is_read_as_it_was_made(said: GateObeys) -> None:
    envelope, found = gate_answer.parse(signed(gate_answer.make(said)))
    assert found == said
    dsse_signing.verify_one(envelope, KEY.public)


def test_an_answer_is_about_its_record_and_nothing_else() -> None:
    subjects = (Subject(digest=DigestSet(sha256="cd" * 32), name="record"),)
    with pytest.raises(Malformed, match="gate-answer-subject"):
        gate_answer.parse(signed(statement.make(SAID, GATE_OBEYS, subjects)))


@pytest.mark.parametrize(
    "change", [b'"size":-1', b'"size":17,"more":1', b'"size":"17"'], ids=["a negative size", "another field", "a text"]
)
def test_an_answer_of_another_form_is_malformed(change: bytes) -> None:
    payload = gate_answer.make(SAID)
    assert b'"size":17' in payload
    with pytest.raises(Malformed):
        gate_answer.parse(signed(payload.replace(b'"size":17', change)))


def test_a_gate_is_named_by_its_uri() -> None:
    with pytest.raises(Malformed):
        gate_answer.make(msgspec.structs.replace(SAID, gate="release"))
