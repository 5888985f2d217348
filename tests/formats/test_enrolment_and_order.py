"""Invitations, acceptances and release orders: one text each, and every nonsense in them refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keyturn.errors import Malformed
from keyturn.formats import enrolment, release_order
from keyturn.formats.digest import Sha256
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.enrolment import Acceptance, AcceptedKey, Invitation
from keyturn.formats.release_order import ReleaseOrder
from support.labs import NOW, make_key

HUMAN: dict[str, Any] = {"lab": "acme.example", "nonce": "0" * 32, "member": "eve", "kind": "human", "until": NOW}
ACCEPTED: dict[str, Any] = {
    "lab": "acme.example",
    "nonce": "0" * 32,
    "invitation": Sha256("1" * 64),
    "member": "eve",
    "name": "Eve",
    "member_keys": (AcceptedKey(key=EnrolledKey(kind="software", public=make_key("eve").public.text)),),
    "signed_at": NOW,
}


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="a human"),
        pytest.param({"groups": ("research",), "signs_trust": True}, id="a human who signs trust"),
        pytest.param({"member": "eve+bot", "kind": "agent", "responsible": ("ada",)}, id="an agent"),
        pytest.param({"member": "batch", "kind": "workload", "responsible": ("ada", "bob")}, id="a workload"),
        pytest.param({"kind": "custodian", "signs_trust": True}, id="a custodian"),
    ],
)
def test_an_invitation_survives_its_text(changed: dict[str, Any]) -> None:
    value = Invitation(**{**HUMAN, **changed})
    assert enrolment.parse_invitation(enrolment.render_invitation(value)) == value


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"responsible": ("ada",)}, id="a human for whom another answers"),
        pytest.param({"kind": "agent"}, id="an agent for whom nobody answers"),
        pytest.param(
            {"kind": "workload", "responsible": ("ada",), "signs_trust": True}, id="a machine that signs trust"
        ),
        pytest.param({"kind": "custodian"}, id="a custodian without a trust key"),
        pytest.param({"kind": "custodian", "signs_trust": True, "groups": ("research",)}, id="a custodian in a group"),
    ],
)
def test_an_invitation_that_contradicts_itself_is_neither_made_nor_read(changed: dict[str, Any]) -> None:
    fields = {**HUMAN, **changed}
    with pytest.raises(ValueError, match="expected"):
        Invitation(**fields)
    raw = enrolment.render_invitation(Invitation(**HUMAN))
    table = msgspec.json.decode(raw) | {name: value for name, value in changed.items() if value}
    with pytest.raises(Malformed):
        enrolment.parse_invitation(msgspec.json.encode(table, order="sorted"))


def test_an_acceptance_survives_its_text_and_needs_a_key() -> None:
    value = Acceptance(**ACCEPTED)
    assert enrolment.parse_acceptance(enrolment.acceptance_payload(value)) == value
    with pytest.raises(ValueError, match="at least one key"):
        Acceptance(**{**ACCEPTED, "member_keys": ()})
    with pytest.raises(Malformed, match="name"):
        Acceptance(**{**ACCEPTED, "name": "Eve\x1b[31m"})


@pytest.mark.parametrize("path", [None, "/srv/models/aurora", "/srv/mod\u00e8les"])
def test_a_release_order_survives_its_text(path: str | None) -> None:
    value = ReleaseOrder(
        bundle=msgspec.Raw(b"{}"), model="dirHash:" + "a" * 64, size=7, as_of=NOW, path=path, version=1
    )
    raw = release_order.render(value)
    assert release_order.render(release_order.parse(raw)) == raw
    assert release_order.parse(raw).path == path


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        pytest.param(b"dirHash:a", b"dirHash:A", "digest-invalid", id="another text of the model"),
        pytest.param(b'"size":7', b'"size":-1', "json-invalid", id="a log of negative size"),
        pytest.param(b'"version":1', b'"version":2', "json-invalid", id="another version"),
        pytest.param(b'"version":1', b'"version":1,"wait":true', "json-invalid", id="an unknown field"),
        pytest.param(b'"size":7', b'"size": 7', "json-not-canonical", id="white space"),
    ],
)
def test_another_release_order_is_refused(old: bytes, new: bytes, code: str) -> None:
    raw = b'{"as_of":1790000000,"bundle":{},"model":"dirHash:%s","size":7,"version":1}' % (b"a" * 64)
    release_order.parse(raw)
    with pytest.raises(Malformed) as caught:
        release_order.parse(raw.replace(old, new))
    assert caught.value.code == code
