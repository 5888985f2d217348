"""Who is suspended when a chain is judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keyturn.bulk.read_chain import suspended_at
from keyturn.crypto.signers import SoftwareKey
from keyturn.custody.evidence import Entry
from keyturn.formats import negatives, statement
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.negatives import Lift, Suspension
from keyturn.formats.statement import DigestSet, Subject
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import Group, Roster
from support.chains import MadeChain, artifact, signed
from support.labs import NOW, make_key, make_lab

SUBJECT = (Subject(digest=DigestSet(sha256=Sha256("1" * 64))),)


@pytest.fixture
def chain() -> MadeChain:
    return MadeChain(
        make_lab(
            humans=("ada", "bob", "cyd", "dan"), agents={"bob+bot": ("bob",)}, groups={"security": ("bob", "bob+bot")}
        )
    )


def suspend(
    chain: MadeChain, member: str, *, key: SoftwareKey | None = None, until: int = NOW + 100, **target: Any
) -> Sha256:
    key = key or chain.lab.member_keys[member]
    made = Suspension(
        lab=chain.lab.name,
        nonce=chain.nonce(),
        member=member,
        key=key.public.keyid,
        reason="lost",
        signed_at=NOW,
        until=until,
        **target,
    )
    payload = statement.make(made, negatives.SUSPENSION, SUBJECT)
    chain.append(signed(payload, key))
    return sha256(payload)


def lift(chain: MadeChain, member: str, suspension: Sha256, *, key: SoftwareKey | None = None) -> None:
    key = key or chain.lab.member_keys[member]
    made = Lift(
        lab=chain.lab.name,
        nonce=chain.nonce(),
        member=member,
        key=key.public.keyid,
        suspension=suspension,
        reason="found",
        signed_at=NOW,
    )
    chain.append(signed(statement.make(made, negatives.LIFT, SUBJECT), key))


def judged(chain: MadeChain, *, as_of: int = NOW) -> tuple[frozenset[str], frozenset[str]]:
    start = TrustHistory.start(chain.lab.root_json, pinned_sha256=chain.lab.root_sha256)
    found = suspended_at(as_of, [Entry(i, raw) for i, raw in enumerate(chain.records)], start=start)
    return found.members, found.keys


def test_a_human_of_security_suspends_a_member(chain: MadeChain) -> None:
    suspend(chain, "bob", target_member="ada")
    assert judged(chain) == ({"ada"}, set())
    assert judged(chain, as_of=NOW + 100) == (set(), set())


def test_a_member_suspends_his_own_key_and_himself(chain: MadeChain) -> None:
    key = chain.lab.member_keys["ada"].public.keyid
    suspend(chain, "ada", target_key=key)
    suspend(chain, "cyd", target_member="cyd")
    assert judged(chain) == ({"cyd"}, {key})


def test_who_is_suspended_suspends_nobody_else_but_his_own_key(chain: MadeChain) -> None:
    chain.publish(chain.lab.with_contents(replace(chain.lab.contents, roster=_security(chain, "bob", "dan"))))
    suspend(chain, "dan", target_member="bob")
    suspend(chain, "bob", target_member="cyd")
    key = chain.lab.member_keys["bob"].public.keyid
    suspend(chain, "bob", target_key=key)
    assert judged(chain) == ({"bob"}, {key})


def _security(chain: MadeChain, *members: str) -> Roster:
    roster = chain.lab.contents.roster
    return replace(roster, groups={"security": Group("security", frozenset(members), frozenset())})


def test_a_suspension_for_longer_than_targets_allow_counts_for_nothing(chain: MadeChain) -> None:
    suspend(chain, "bob", target_member="ada", until=NOW + 10 * 365 * 86400)
    suspend(chain, "cyd", target_member="cyd", until=NOW + 10 * 365 * 86400)  # his own lasts as long as he says
    assert judged(chain) == ({"cyd"}, set())


def test_a_closed_gate_suspends_nobody(chain: MadeChain) -> None:
    suspend(chain, "bob", target_gate="keyturn://acme.example/gate/release")
    assert judged(chain) == (set(), set())


@pytest.mark.parametrize("member", ["ada", "bob+bot"])
def test_who_is_no_human_of_security_suspends_nobody_else(chain: MadeChain, member: str) -> None:
    suspend(chain, member, target_member="cyd")
    assert judged(chain) == (set(), set())


def test_a_suspension_by_a_strangers_key_counts_for_nothing(chain: MadeChain) -> None:
    suspend(chain, "bob", key=make_key("thief"), target_member="ada")
    assert judged(chain) == (set(), set())


def test_a_suspension_before_any_trust_counts_for_nothing(chain: MadeChain) -> None:
    suspend(chain, "bob", target_member="ada")
    start = TrustHistory.start(chain.lab.root_json, pinned_sha256=chain.lab.root_sha256)
    assert suspended_at(NOW, [Entry(0, chain.records[-1])], start=start).members == frozenset()


def test_another_record_is_no_suspension(chain: MadeChain) -> None:
    chain.request("train", {"data": artifact("data")})
    assert judged(chain) == (set(), set())


def test_two_different_humans_lift(chain: MadeChain) -> None:
    suspension = suspend(chain, "bob", target_member="ada")
    lift(chain, "cyd", suspension)
    lift(chain, "cyd", suspension)
    assert judged(chain)[0] == {"ada"}
    lift(chain, "dan", suspension)
    assert judged(chain)[0] == set()


def test_neither_the_target_nor_an_agent_nor_a_suspended_human_lifts(chain: MadeChain) -> None:
    suspension = suspend(chain, "bob", target_member="ada")
    suspend(chain, "bob", target_key=chain.lab.member_keys["dan"].public.keyid)
    for member in ("ada", "bob+bot", "dan", "cyd"):
        lift(chain, member, suspension)
    assert judged(chain)[0] == {"ada"}


def test_nobody_lifts_the_suspension_of_one_of_his_keys_by_another_one() -> None:
    lab = make_lab(humans=("ada", "bob", "cyd", "dan"), groups={"security": ("bob",)})
    ada = lab.contents.roster.members["ada"]
    second = make_key("ada's second")
    members = dict(lab.contents.roster.members)
    members["ada"] = replace(ada, keys=(*ada.keys, replace(ada.keys[0], key=second.public)))
    chain = MadeChain(lab.with_contents(replace(lab.contents, roster=replace(lab.contents.roster, members=members))))
    stolen = chain.lab.member_keys["ada"].public.keyid
    suspension = suspend(chain, "bob", target_key=stolen)
    lift(chain, "ada", suspension, key=second)
    lift(chain, "cyd", suspension)
    assert judged(chain) == (set(), {stolen})


def test_a_suspension_of_who_lifted_undoes_no_lift(chain: MadeChain) -> None:
    suspension = suspend(chain, "bob", target_member="ada")
    lift(chain, "cyd", suspension)
    lift(chain, "dan", suspension)
    suspend(chain, "bob", target_member="cyd")
    assert judged(chain)[0] == {"cyd"}


def test_a_new_targets_version_lifts_by_taking_the_right_away(chain: MadeChain) -> None:
    suspend(chain, "bob", target_member="ada")
    chain.publish(chain.lab.with_contents(replace(chain.lab.contents, roster=_security(chain, "dan"))))
    assert judged(chain)[0] == set()
