"""What a postgres gate signs for whoever connects: parsed strictly, about that one certificate."""

from __future__ import annotations

import msgspec
import pytest

from keyturn.crypto import dsse_signing
from keyturn.errors import Malformed
from keyturn.formats import dsse, gate_entry, statement
from keyturn.formats.gate_entry import GATE_ENTRY, GateEntry
from keyturn.formats.statement import DigestSet, Subject
from support.labs import make_key

KEY = make_key("gate")
SAID = GateEntry(
    lab="acme.example",
    gate="keyturn://acme.example/gate/main",
    key=KEY.public.keyid,
    role="kt_" + "ab" * 16,
    certificate="-----BEGIN CERTIFICATE-----",
    address="db.acme.example",
    port=5432,
    database="main",
    ends_at=1_790_000_600,
    signed_at=1_790_000_000,
)


def signed(payload: bytes) -> bytes:
    return dsse.render(dsse_signing.sign(payload, KEY))


def test_an_entry_is_read_as_it_was_made() -> None:
    envelope, found = gate_entry.parse(signed(gate_entry.make(SAID)))
    assert found == SAID
    dsse_signing.verify_one(envelope, KEY.public)


def test_an_entry_is_about_its_certificate_and_nothing_else() -> None:
    subjects = (Subject(digest=DigestSet(sha256="cd" * 32), name="certificate"),)
    with pytest.raises(Malformed, match="gate-entry-subject"):
        gate_entry.parse(signed(statement.make(SAID, GATE_ENTRY, subjects)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("gate", "main", id="a gate that is no URI"),
        pytest.param("role", "postgres", id="a role of no grant"),
        pytest.param("address", "/run/postgresql", id="a socket, where no TLS is"),
        pytest.param("address", "a,b", id="two servers"),
        pytest.param("database", "main user=x", id="more than a name"),
        pytest.param("port", 0, id="no port"),
        pytest.param("certificate", "", id="no certificate"),
    ],
)
def test_an_entry_of_another_form_is_malformed(field: str, value: object) -> None:
    with pytest.raises(Malformed):
        gate_entry.parse(signed(gate_entry.make(msgspec.structs.replace(SAID, **{field: value}))))
