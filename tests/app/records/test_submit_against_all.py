"""What one member, or nobody at all, can do to everybody by appending."""

from __future__ import annotations

import re

import pytest

from keyturn.app.access.recovery_file import add_signature, payload_of
from keyturn.app.records.quotas import Quotas
from keyturn.errors import Refused
from keyturn.formats import dsse, negatives, statement, trust_version
from keyturn.formats.dsse import Envelope
from keyturn.formats.negatives import Suspension
from keyturn.formats.provenance import PROVENANCE, BuilderId
from keyturn.formats.recovery import RecoveryGrant
from keyturn.formats.statement import STATEMENT_V1, DigestSet, Subject
from keyturn.formats.steps import STEP_REQUEST
from support.admitting import LAB, At, door, foreign, replace_metadata
from support.chains import MadeChain, artifact, changed, signed
from support.labs import NOW, Lab, make_key
from support.signed_records import authorization, request, revocation, sign


def test_the_newest_trust_version_written_in_another_way_is_not_appended_again() -> None:
    # Anybody can fetch it, and write its JSON in as many ways as there are bytes: each would be another record.
    admission, log = door()
    known = trust_version.parse(LAB.containers[-1])
    for number in range(1, 4):
        twin = trust_version.render(replace_metadata(known, known.metadata + b"\n" * number))
        with pytest.raises(Refused, match="trust-version-known"):
            admission.submit(twin)
    root = trust_version.parse(LAB.containers[0])
    with pytest.raises(Refused, match="trust-version-known"):
        admission.submit(trust_version.render(replace_metadata(root, root.metadata + b"\n")))
    assert log.settle().size == 2
    assert admission.submit(LAB.containers[-1]).index == 1


def test_nobody_puts_a_statement_that_names_somebody_else_into_a_chain() -> None:
    # The chain would be refused for it, and nobody could ever take it out again.
    admission, log = door()
    chain = MadeChain(LAB)
    _, made, digest = chain.request("train", {"data": artifact("data")})
    chain.provenance(made, digest, {"out": artifact("model")}, key=LAB.member_keys["ada+coder"])
    _, judged, digest = chain.request("evaluate", {"model": artifact("model")}, criteria=digest)
    chain.result(judged, digest, subject=artifact("model"), measurement=artifact("x"), key=LAB.member_keys["ada"])
    for bad in (chain.records[-3], chain.records[-1]):
        with pytest.raises(Refused, match="signer-other"):
            admission.submit(bad)
    with pytest.raises(Refused, match="signer-no-builder"):
        admission.submit(foreign(LAB, LAB.member_keys["ada"]))
    assert log.settle().size == 2


def test_nobody_puts_into_a_chain_what_no_chain_holds_with() -> None:
    # An agent could bar any model's release for good by one record.
    admission, log = door()
    chain = MadeChain(LAB)
    _, made, digest = chain.request("train", {"data": artifact("data")}, builder=None, member="ada+coder")
    evil = BuilderId("evil.example", "member", "ada+coder")
    chain.provenance(
        made, digest, {"out": artifact("model")}, alter=lambda p: changed(p, lab="evil.example", builder=evil)
    )
    with pytest.raises(Refused, match="lab-other"):
        admission.submit(chain.records[-1])
    _, made, digest = chain.request("evaluate", {"x": artifact("x")}, criteria=digest, member="ada+coder")
    subjects = (Subject(digest=DigestSet.of(artifact("model"))),)
    about = signed(statement.make(made, STEP_REQUEST, subjects), LAB.member_keys["ada+coder"])
    with pytest.raises(Refused, match="step-subjects"):
        admission.submit(about)
    assert log.settle().size == 2


def test_who_a_statement_names_puts_it_into_a_chain() -> None:
    admission, _ = door()
    chain = MadeChain(LAB)
    for builder in ("builder", None):
        _, made, digest = chain.request("train", {"data": artifact("data")}, builder=builder)
        chain.provenance(made, digest, {"out": artifact("model")})
        assert admission.submit(chain.records[-1]).leaf.kind == "prv"


def suspension(lab: Lab, *, signed_at: int, until: int) -> bytes:
    key = lab.member_keys["bob"]
    made = Suspension(
        lab=lab.name,
        nonce="5" * 32,
        member="bob",
        key=key.public.keyid,
        target_member="ada",
        reason="for good",
        signed_at=signed_at,
        until=until,
    )
    return sign(statement.make(made, negatives.SUSPENSION, (Subject(digest=DigestSet(sha256="6" * 64)),)), key)


def test_a_suspension_dated_ahead_does_not_outlast_what_targets_allow() -> None:
    # Its length is counted from when it says that it was signed, and it stands as soon as it is logged.
    admission, _ = door()
    ahead = NOW + 365 * 86400
    with pytest.raises(Refused, match="signed-in-the-future"):
        admission.submit(suspension(LAB, signed_at=ahead, until=ahead + 3600))
    admission.submit(suspension(LAB, signed_at=NOW + 60, until=NOW + 3600))


def test_an_approval_dated_ahead_is_refused_and_a_denial_takes_away_all_the_same() -> None:
    admission, _ = door()
    with pytest.raises(Refused, match="signed-in-the-future"):
        admission.submit(authorization(LAB, 1, at=NOW + 61, member="bob"))
    admission.submit(authorization(LAB, 1, at=NOW + 61, member="bob", deny=True))
    admission.submit(revocation(LAB, 1, at=NOW + 61))


def test_nothing_stays_in_the_memory_of_every_gate_for_ever() -> None:
    admission, _ = door()
    far = NOW + 91 * 86400
    with pytest.raises(Refused, match="lives-too-long") as caught:
        admission.submit(request(LAB, 1, at=far))
    assert re.search(r"over by 20\d\d-\d\d-\d\dT[\d:]+Z, got one until 20\d\d-\d\d-\d\dT[\d:]+Z", caught.value.message)
    with pytest.raises(Refused, match="lives-too-long"):
        admission.submit(authorization(LAB, 1, at=far, member="bob", deny=True))
    with pytest.raises(Refused, match="lives-too-long"):
        admission.submit(suspension(LAB, signed_at=NOW, until=far))


def test_a_large_record_uses_up_more_of_a_quota() -> None:
    clock = At(NOW)
    admission, _ = door(clock=clock, quotas=Quotas(records=3, window_s=100))
    body = b'{"_type":"%s","predicate":{"x":"%s"},"predicateType":"%s","subject":[{"digest":{"sha256":"%s"}}]}'
    key = LAB.builder_keys["builder"]

    def large(size: int, number: int) -> bytes:
        digest = b"%064x" % number
        return foreign(LAB, key, payload=body % (STATEMENT_V1.encode(), b"x" * size, PROVENANCE.encode(), digest))

    with pytest.raises(Refused, match="quota"):
        admission.submit(large(48 << 10, 1))
    admission.submit(large(16 << 10, 2))
    with pytest.raises(Refused, match="quota"):
        admission.submit(large(16 << 10, 3))
    admission.submit(large(100, 4))
    clock.time += 100
    admission.submit(large(16 << 10, 3))


def recovery(lab: Lab, *humans: str, name: str = "") -> bytes:
    made = RecoveryGrant(
        lab=name or lab.name,
        nonce="0" * 32,
        beneficiary="ada",
        action="host:root",
        resource=f"keyturn://{name or lab.name}/host/gpu1",
        gate=f"keyturn://{name or lab.name}/gate/release",
        justification="nobody can sign in",
        root_version=1,
        signed_at=NOW,
        not_before=NOW,
        not_after=NOW + 60,
        session_key=make_key("session").public.text,
    )
    envelope: Envelope | None = None
    for human in humans:
        envelope = add_signature(payload_of(made), envelope, lab.trust_keys[human], root=lab.history.root)
    assert envelope is not None
    return dsse.render(envelope)


def test_a_recovery_grant_is_logged_when_as_many_signed_it_as_root_needs() -> None:
    admission, _ = door()
    for raw, code in (
        (recovery(LAB, "ada"), "recovery-threshold"),
        (recovery(LAB, "ada", "bob", name="evil.example"), "lab-other"),
    ):
        with pytest.raises(Refused) as caught:
            admission.submit(raw)
        assert caught.value.code == code
    assert admission.submit(recovery(LAB, "ada", "bob")).leaf.kind == "rcv"
