"""Taken: one member, keys and laptop; and an AI agent, even with its human's uid. One person of a quorum, never two."""

from __future__ import annotations

import time

import msgspec
import pytest

from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import dsse
from keyturn.formats.dsse import Envelope
from keyturn.formats.negatives import Lift, Revocation, Suspension
from support.taken_lab import LAB, TakenLab, authorization_of, code_of, relabelled

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]


def name_of(asked: Envelope) -> str:
    return f"req-{asked.record_digest[:32]}"


# --- Ada, who asks -------------------------------------------------------------------------------------------------------


def test_who_asks_cannot_approve(lab: TakenLab) -> None:
    asked = lab.ask()
    assert lab.refused("ada", "approve", name_of(asked), "--yes") == {"approver-concerned"}
    own = lab.approval(asked, "ada")  # his own client does not stop him; the log admits what a human signed
    bob = lab.approval(asked, "bob")
    lab.submit(own, bob)
    assert code_of(lambda: lab.release(asked, own, bob)) == {"quorum-not-met"}


def test_an_agent_is_no_second_account(lab: TakenLab) -> None:
    asked = lab.ask()
    assert lab.refused("ada+coder", "approve", name_of(asked), "--yes") == {"approver-not-human"}
    forced = lab.approval(asked, "ada+coder")
    assert code_of(lambda: lab.log.append(dsse.render(forced))) == {"signer-not-human"}
    bob = lab.approval(asked, "bob")
    lab.submit(bob)
    lab.write(dsse.render(forced))  # even if whoever keeps the log helps
    assert code_of(lambda: lab.release(asked, bob, forced)) == {"approver-not-human"}
    assert code_of(lambda: lab.release(asked, bob)) == {"quorum-not-met"}


def test_who_answers_for_an_agent_does_not_approve_for_it(lab: TakenLab) -> None:
    for_agent, by_agent = lab.ask(beneficiary="ada+coder", submit=False), lab.ask("ada+coder", submit=False)
    for asked in (for_agent, by_agent):  # no permit is for it, and the log's door says so at once
        assert "request-hopeless" in code_of(lambda asked=asked: lab.submit(asked))
    lab.write(*map(dsse.render, (for_agent, by_agent)))  # even if whoever keeps the log helps
    assert lab.refused("ada", "approve", name_of(for_agent), "--yes") == {"approver-concerned"}
    given = [lab.approval(by_agent, member) for member in ("bob", "carol")]
    lab.submit(*given)
    assert code_of(lambda: lab.release(by_agent, *given)) == {"policy-not-permitted"}


def test_an_agent_takes_nothing_away_from_others(lab: TakenLab) -> None:
    asked = lab.ask()
    given = [lab.approval(asked, member) for member in ("bob", "carol")]
    lab.submit(*given)
    denial = lab.approval(asked, "ada+coder", decision="deny", reason="no")
    assert code_of(lambda: lab.log.append(dsse.render(denial))) == {"signer-not-human"}
    now = int(time.time())
    suspension = lab.negative(Suspension, "ada+coder", "0" * 64, target_member="carol", until=now + 3600)
    assert code_of(lambda: lab.log.append(dsse.render(suspension))) == {"signer-not-human"}
    revocation = lab.negative(
        Revocation, "ada+coder", asked.record_digest, request=asked.record_digest, until=now + 3600
    )
    lab.write(*map(dsse.render, (denial, suspension, revocation)))
    assert lab.judged(lab.release(asked, *given)) == set()


# --- Carol, who approves -------------------------------------------------------------------------------------------------


def test_one_approver_is_one_person(lab: TakenLab) -> None:
    asked = lab.ask()
    first, again = lab.approval(asked, "carol"), lab.approval(asked, "carol", reason="again")
    lab.submit(first, again)
    assert code_of(lambda: lab.release(asked, first, again)) == {"quorum-not-met"}
    as_bob = lab.approval(asked, "bob", key=lab.key("carol"))
    assert code_of(lambda: lab.log.append(dsse.render(as_bob))) == {"signature-invalid"}
    hers = lab.approval(asked, "carol", approver="bob")
    assert code_of(lambda: lab.log.append(dsse.render(hers))) == {"signer-unknown"}
    stranger = SoftwareKey.generate()
    mallory = lab.sign_as(
        msgspec.structs.replace(authorization_of(first), approver="mallory", key=stranger.public.keyid),
        asked.record_digest,
        stranger,
    )
    assert code_of(lambda: lab.log.append(dsse.render(mallory))) == {"signer-unknown"}
    lab.write(*map(dsse.render, (as_bob, hers, mallory)))
    assert code_of(lambda: lab.release(asked, first, again, as_bob)) == {"signature-invalid"}
    assert code_of(lambda: lab.release(asked, first, again, hers)) == {"approver-key-unknown"}
    assert code_of(lambda: lab.release(asked, first, again, mallory)) == {"approver-unknown"}


def test_an_approval_is_of_one_request(lab: TakenLab) -> None:
    old, new = lab.ask(), lab.ask()
    bob = lab.approval(old, "bob")
    carol = lab.approval(new, "carol")
    lab.submit(bob, carol)
    assert code_of(lambda: lab.release(new, bob, carol)) == {"approval-other-request"}
    moved = msgspec.structs.replace(authorization_of(bob), request=new.record_digest)
    resigned = relabelled(lab.sign_as(moved, new.record_digest, lab.key("carol")), lab.key("bob").public.keyid)
    pasted = msgspec.structs.replace(resigned, signatures=bob.signatures)
    for one in (resigned, pasted):
        assert code_of(lambda one=one: lab.log.append(dsse.render(one))) == {"signature-invalid"}


@pytest.mark.parametrize(
    ("changed", "codes"),
    [
        pytest.param({"lab": "evil.example"}, {"lab-other"}, id="of another lab"),
        pytest.param({"gate": "keyturn://acme.example/gate/other"}, {"gate-other"}, id="for another gate"),
        pytest.param({"trust_version": 7}, {"trust-version-unknown"}, id="under trust that there is not"),
        pytest.param({"permit": "another"}, {"permit-unknown"}, id="by a permit that there is not"),
        pytest.param({"action": "weights:read"}, {"release-action"}, id="of something else than a release"),
        pytest.param(
            {"resource": "keyturn://acme.example/model/other"}, {"resource-unknown"}, id="of another resource"
        ),
        pytest.param({"beneficiary": "bob"}, {"policy-not-permitted", "quorum-not-met"}, id="for the one who approves"),
    ],
)
def test_a_request_for_something_else_is_approved_in_vain(
    lab: TakenLab, changed: dict[str, object], codes: set[str]
) -> None:
    asked = lab.ask(submit=False, **changed)
    given = [lab.approval(asked, m, trust_version=changed.get("trust_version", 1)) for m in ("bob", "carol")]
    lab.write(*map(dsse.render, (asked, *given)))
    assert code_of(lambda: lab.release(asked, *given)) == codes


def test_a_window_that_is_over_stays_over(lab: TakenLab) -> None:
    now = int(time.time())
    past = {"not_before": now - 9000, "start_by": now - 8000, "not_after": now - 7000}
    asked = lab.ask(submit=False, **past)
    given = [lab.approval(asked, m, signed_at=now - 8500, expires_at=now + 9000) for m in ("bob", "carol")]
    lab.write(*map(dsse.render, (asked, *given)))
    assert code_of(lambda: lab.release(asked, *given)) == {"leaf-missing"}  # gates forget what is over


def test_one_human_ends_a_request(lab: TakenLab) -> None:
    asked = lab.ask()
    given = [lab.approval(asked, member) for member in ("bob", "carol")]
    lab.submit(*given)
    assert lab.by("dan", "deny", name_of(asked), "--reason", "the numbers are wrong", "--yes")["witnessed_at"] > 0
    assert code_of(lambda: lab.release(asked, *given)) == {"request-denied"}
    assert code_of(lambda: lab.release(asked, *given)) == {"request-denied"}
    withdrawn = lab.ask()
    given = [lab.approval(withdrawn, member) for member in ("bob", "carol")]
    lab.submit(*given)
    lab.by("bob", "grant", "revoke", name_of(withdrawn), "--reason", "enough", "--yes")
    assert code_of(lambda: lab.release(withdrawn, *given)) == {"request-revoked"}


# --- suspended ------------------------------------------------------------------------------------------------------------


def test_a_suspended_member_is_out_until_two_others_lift_it(lab: TakenLab) -> None:
    asked = lab.ask()
    given = [lab.approval(asked, member) for member in ("bob", "eve")]
    lab.submit(*given)
    now = int(time.time())
    suspension = lab.negative(Suspension, "dan", "0" * 64, target_member="eve", until=now + 3600)
    lab.submit(suspension)
    digest, name = suspension.record_digest, f"sus-{suspension.record_digest[:32]}"
    # what she signed before counts for nothing now; what she signs now, even dated back, neither
    assert code_of(lambda: lab.release(asked, *given)) == {"suspended"}
    lab.submit(lab.approval(asked, "eve", signed_at=now - 3600, reason="dated back"))
    assert code_of(lambda: lab.release(asked, *given)) == {"suspended"}
    # her veto is gone too, and she takes nobody with her
    lab.submit(lab.negative(Suspension, "eve", "0" * 64, target_member="carol", until=now + 3600))
    other = lab.ask()
    pair = [lab.approval(other, member) for member in ("bob", "carol")]
    lab.submit(*pair, lab.approval(other, "eve", decision="deny", reason="no"))
    assert lab.judged(lab.release(other, *pair)) == set()
    # she cannot lift it, nor can one other, nor that one twice
    assert lab.refused("eve", "trust", "lift", name, "--reason", "found", "--yes") == {"suspended"}
    again = {"suspension": digest, "reason": "again"}
    lab.submit(*(lab.negative(Lift, member, digest, **again) for member in ("eve", "ada", "ada")))
    assert lab.refused("eve", "approve", name_of(asked), "--yes") == {"suspended"}
    assert code_of(lambda: lab.release(asked, *given)) == {"suspended"}
    assert lab.by("bob", "trust", "lift", name, "--reason", "found", "--yes")["lifted"] is True
    last = lab.ask()
    lab.by("eve", "approve", name_of(last), "--yes")


def test_a_member_who_is_not_of_security_suspends_nobody_else(lab: TakenLab) -> None:
    words = ("trust", "suspend", "--member", "bob", "--reason", "x", "--yes")
    assert lab.refused("ada", *words) == {"suspension-not-allowed"}
    until = int(time.time()) + 3600
    forced = lab.negative(Suspension, "ada", "0" * 64, target_member="bob", until=until)
    closed = lab.negative(Suspension, "ada", "0" * 64, target_gate=f"keyturn://{LAB}/gate/release", until=until)
    lab.submit(forced, closed)
    asked = lab.ask()
    given = [lab.approval(asked, member) for member in ("bob", "dan")]
    lab.submit(*given)
    assert lab.judged(lab.release(asked, *given)) == set()
