"""Invitations and acceptances: round trips, and what their parsers refuse."""

from __future__ import annotations

import pytest

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.enrolment import (
    Acceptance,
    AcceptedKey,
    Invitation,
    Registration,
    acceptance_payload,
    parse_acceptance,
    parse_invitation,
    render_invitation,
)
from support.labs import make_key

INVITATION = Invitation(
    lab="acme.example", nonce="0" * 32, member="bob", kind="human", groups=("g",), signs_trust=True, until=1_790_000_000
)
ACCEPTANCE = Acceptance(
    lab="acme.example",
    nonce="0" * 32,
    invitation="a" * 64,
    member="bob",
    name="Bob É",
    member_keys=(AcceptedKey(key=EnrolledKey(kind="software", public=make_key("bob").public.text)),),
    signed_at=1_790_000_000,
)


def test_invitations_and_acceptances_round_trip() -> None:
    assert parse_invitation(render_invitation(INVITATION)) == INVITATION
    assert parse_acceptance(acceptance_payload(ACCEPTANCE)) == ACCEPTANCE


def test_an_acceptance_without_keys_enrols_nobody() -> None:
    keys = canonical_json.encode(ACCEPTANCE.member_keys)
    payload = acceptance_payload(ACCEPTANCE).replace(b'"member_keys":' + keys + b",", b"")
    with pytest.raises(Malformed, match="at least one key"):
        parse_acceptance(payload)


@pytest.mark.parametrize("raw", [render_invitation(INVITATION)])
def test_every_single_byte_mutation_of_an_invitation_is_malformed_or_says_something_else(raw: bytes) -> None:
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            other = parse_invitation(changed)
        except Malformed:
            continue
        assert other != INVITATION
        assert render_invitation(other) == changed


def test_unknown_fields_and_oversize_are_refused() -> None:
    for raw in (
        canonical_json.encode({**canonical_json.decode(render_invitation(INVITATION), dict, what="x"), "zz": 1}),
        render_invitation(INVITATION) + b"\n",
        b'{"lab":"' + b"a" * 20_000 + b'"}',
    ):
        with pytest.raises(Malformed):
            parse_invitation(raw)


def test_a_passkey_is_accepted_with_how_it_was_made_and_no_other_key_is() -> None:
    passkey = EnrolledKey(kind="webauthn", public=make_key("bob").public.text, credential="Y3JlZA==", rp_id="localhost")
    with pytest.raises(ValueError, match="a registration with a passkey"):
        AcceptedKey(key=passkey)
    made = Registration(attestation_object="AAAA", client_data="AAAA")
    assert AcceptedKey(key=passkey, registration=made).key == passkey
    with pytest.raises(ValueError, match="and with no other key"):
        AcceptedKey(key=ACCEPTANCE.member_keys[0].key, registration=made)
