"""Inviting, accepting and enrolling: who joins with which keys, and what each step refuses."""

from __future__ import annotations

import msgspec
import pytest

from keyturn.app.trust.accept_invitation import accept_invitation
from keyturn.crypto.dsse_signing import sign
from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.formats import dsse
from keyturn.formats.enrolment import acceptance_payload, parse_acceptance, parse_invitation

from .conftest import DAY_S, Ceremony, code_of


def test_an_agent_joins_with_a_member_key_and_nothing_else(ceremony: Ceremony) -> None:
    ceremony.found()
    ceremony.enrol(
        ceremony.accept(
            ceremony.invite("ada+coder", kind="agent", responsible=("ada",), new_groups=("coders",), signs_trust=False),
            "coder",
        )
    )
    assert b"ada+coder" in ceremony.store.draft()["roster.toml"]
    assert b"ada+coder" not in ceremony.store.draft()["root.toml"]


def test_an_invitation_must_make_sense(ceremony: Ceremony) -> None:
    ceremony.found()
    for kwargs, code in (
        ({"member": "ada"}, "member-id-taken"),
        ({"member": "bot", "kind": "agent", "responsible": ("eve",), "signs_trust": False}, "member-responsible"),
        ({"member": "bot", "kind": "agent", "signs_trust": False}, "invitation-invalid"),
        ({"member": "bot", "kind": "agent", "responsible": ("ada",), "signs_trust": True}, "invitation-invalid"),
        ({"member": "Bob"}, "invitation-invalid"),
        ({"member": "bob", "responsible": ("ada",)}, "invitation-invalid"),
        ({"member": "vault", "kind": "custodian", "groups": ("releasers",)}, "invitation-invalid"),
    ):
        with pytest.raises(KeyturnError) as caught:
            ceremony.invite(**kwargs)  # type: ignore[arg-type]
        assert code_of(caught) == code


def test_an_invitation_ends(ceremony: Ceremony) -> None:
    ceremony.found()
    invitation = ceremony.invite("bob")
    acceptance = ceremony.accept(invitation, "bob")
    ceremony.clock.at += 7 * DAY_S
    with pytest.raises(Refused, match="invitation-expired"):
        ceremony.accept(invitation, "bob2")
    assert not (ceremony.directory / "homes" / "bob2").exists()
    with pytest.raises(Refused, match="invitation-expired"):
        ceremony.enrol(acceptance)


def test_an_acceptance_is_signed_by_every_key_that_it_enrols(ceremony: Ceremony) -> None:
    ceremony.found()
    envelope = dsse.parse_own(ceremony.accept(ceremony.invite("bob"), "bob"))
    one = dsse.Envelope(
        payload_type=envelope.payload_type, payload=envelope.payload, signatures=envelope.signatures[:1]
    )
    with pytest.raises(Refused, match="signature-missing"):
        ceremony.enrol(dsse.render(one))
    broken = msgspec.structs.replace(envelope.signatures[1], sig=bytes(64))
    forged = msgspec.structs.replace(envelope, signatures=(envelope.signatures[0], broken))
    with pytest.raises(Refused, match="signature-invalid"):
        ceremony.enrol(dsse.render(forged))
    assert b"bob" not in ceremony.store.draft()["roster.toml"]


def _accepted(ceremony: Ceremony, acceptance: bytes, **changes: object) -> bytes:
    value = parse_acceptance(dsse.parse_own(acceptance).payload)
    keys = [ceremony.home("bob").read(name) for name in ("member", "trust")]
    changed = msgspec.structs.replace(value, **changes)
    if changed.trust_key is None:
        keys = keys[:1]
    return dsse.render(sign(acceptance_payload(changed), *keys))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"member": "eve"}, "acceptance-other", id="as somebody else"),
        pytest.param({"lab": "other.example"}, "acceptance-other", id="into another lab"),
        pytest.param({"invitation": "0" * 64}, "invitation-unknown", id="of an invitation that was never made"),
        pytest.param({"trust_key": None}, "acceptance-keys", id="with fewer keys than asked for"),
    ],
)
def test_an_acceptance_answers_its_own_invitation(ceremony: Ceremony, changes: dict[str, object], code: str) -> None:
    ceremony.found()
    acceptance = ceremony.accept(ceremony.invite("bob"), "bob")
    with pytest.raises(Refused) as caught:
        ceremony.enrol(_accepted(ceremony, acceptance, **changes))
    assert code_of(caught) == code


def test_an_acceptance_twice_changes_nothing_and_a_second_one_with_other_keys_is_refused(ceremony: Ceremony) -> None:
    ceremony.found()
    invitation = ceremony.invite("bob", new_groups=("new-group",))
    acceptance = ceremony.accept(invitation, "bob")
    ceremony.enrol(acceptance)
    before = ceremony.store.draft()
    ceremony.enrol(acceptance)
    assert ceremony.store.draft() == before
    with pytest.raises(Refused, match="member-id-taken"):
        ceremony.enrol(ceremony.accept(invitation, "eve-as-bob"))
    agent = ceremony.invite("helper", kind="agent", responsible=("ada",), signs_trust=False)
    ceremony.enrol(ceremony.accept(agent, "helper"))
    with pytest.raises(Refused, match="member-id-taken"):
        ceremony.enrol(ceremony.accept(agent, "another-helper"))


def test_enrolling_keeps_comments_in_the_files_that_it_does_not_change(ceremony: Ceremony) -> None:
    ceremony.found()
    ceremony.edit("resources.toml", lambda text: text + "# what we have\n")
    ceremony.join("bob")
    assert b"# what we have" in ceremony.store.draft()["resources.toml"]


def test_a_home_is_never_given_to_a_second_member(ceremony: Ceremony) -> None:
    ceremony.found()
    invitation = ceremony.invite("bob")
    with pytest.raises(Refused, match="key-exists"):
        ceremony.accept(invitation, "ada")


def test_names_are_checked_when_accepting(ceremony: Ceremony) -> None:
    ceremony.found()
    with pytest.raises(Malformed):
        accept_invitation(
            ceremony.invite("bob"),
            name="Bob \x1b[2J",
            own=lambda _: ceremony.own_keys("bob"),
            own_trust=lambda: ceremony.home("bob").create("trust"),
            clock=ceremony.clock,
            entropy=ceremony.entropy,
        )
    assert not (ceremony.directory / "homes" / "bob").exists()
    with pytest.raises(Malformed):
        ceremony.enrol(b"{}")
    with pytest.raises(Malformed):
        parse_invitation(b"{}")
