"""Whose word a step of a chain is: builders and members, at which level, under the trust of when they signed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from keyturn.custody.evidence import Failure
from keyturn.custody.facts import facts_of
from keyturn.custody.levels import believed_level
from keyturn.custody.timeline import TrustTimeline
from keyturn.custody.verify import Suspended, examine
from keyturn.formats import dsse
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.provenance import BuilderId, Job
from support.chains import AURORA, MadeChain, artifact, changed
from support.judged_chains import MODEL, NOBODY, WEIGHTS, codes, judge
from support.labs import make_key


def test_a_lower_level_than_allowed_is_believed_as_it_says(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(alter_provenance=lambda p: replace(p, level=2))
    found = judge(chain, WEIGHTS)
    assert (codes(found), found.level_min) == ([], 1)


def test_a_builder_that_trust_does_not_list_is_refused(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(builder="stranger", builder_key=make_key("stranger"))
    found = judge(chain, WEIGHTS)
    assert codes(found) == ["builder-not-allowed", "model-not-made"]
    assert facts_of(found)["custody.builders_allowed"] is False


def test_a_foreign_builder_key_is_refused(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(builder_key=make_key("thief"))
    assert "builder-key" in codes(judge(chain, WEIGHTS))


def test_one_builder_does_not_sign_for_another(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(
        alter_provenance=lambda p: replace(p, builder=BuilderId("acme.example", "builder", "other")),
        builder_key=chain.lab.builder_keys["other"],
    )
    assert codes(judge(chain, WEIGHTS)) == ["step-builder"]


def test_a_broken_signature_under_the_right_key_id_is_refused(chain: MadeChain) -> None:
    chain.ingest()
    _, made = chain.train()
    broken(chain, made)
    assert "signature-invalid" in codes(judge(chain, WEIGHTS))


def test_a_builder_that_trust_removed_later_was_allowed_then(chain: MadeChain) -> None:
    chain.build()
    contents = dataclasses.replace(chain.lab.contents, builders={})
    chain.publish(chain.lab.with_contents(contents))
    assert codes(judge(chain)) == []
    chain.train()  # whoever was removed says nothing more about it, neither good nor bad
    assert codes(judge(chain)) == []


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(
            lambda chain: chain.train(builder_key=make_key("thief")), id="provenance by a key that is nobody's"
        ),
        pytest.param(
            lambda chain: chain.train(builder="stranger", builder_key=make_key("x")), id="by a builder of nobody's"
        ),
        pytest.param(
            lambda chain: chain.request("evaluate", {"model": WEIGHTS}, criteria=sha256(b""), key=make_key("thief")),
            id="an evaluation that nobody asked for",
        ),
        pytest.param(lambda chain: broken(chain, chain.train()[1]), id="a signature that is broken"),
    ],
)
def test_what_nobody_of_the_lab_signed_fails_no_chain(chain: MadeChain, forge: Callable[[MadeChain], object]) -> None:
    chain.build()
    forge(chain)  # whoever keeps the log can write whatever he likes into it
    assert codes(judge(chain)) == []


def test_what_a_member_signed_in_anothers_name_fails_the_chain(chain: MadeChain) -> None:
    chain.build()
    chain.train(builder_key=chain.lab.member_keys["ada"])
    assert codes(judge(chain)) == ["builder-key"]


def broken(chain: MadeChain, index: int) -> None:
    """Break the signature of the record at `index`."""
    envelope = dsse.parse_foreign(chain.records[index])
    forged = changed(envelope.signatures[0], sig=bytes(64))
    chain.records[index] = dsse.render(changed(envelope, signatures=(forged,)))


def test_a_builder_that_was_removed_before_is_refused_whatever_version_the_request_names(chain: MadeChain) -> None:
    chain.ingest()
    chain.publish(chain.lab.with_contents(dataclasses.replace(chain.lab.contents, builders={})))
    chain.train(alter=lambda r: changed(r, trust_version=1))
    assert "builder-not-allowed" in codes(judge(chain, WEIGHTS))


def test_a_statement_before_any_trust_is_refused(chain: MadeChain) -> None:
    entries = chain.entries(chain.build())
    found = examine(
        MODEL, entries, lab="acme.example", resource=AURORA, timeline=TrustTimeline((), ()), suspended=NOBODY
    )
    assert codes(found) == ["chain-before-trust", "model-not-made"]


def test_a_member_may_run_a_step_himself_and_it_counts_as_level_1(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(builder=None)
    found = judge(chain, WEIGHTS)
    assert (codes(found), found.level_min) == ([], 1)
    assert facts_of(found)["custody.sandboxed"] is False


JOB = Job(id="4711", user="ada", nodes="n1", script=Sha256("b" * 64), exit_code="0:0")


def test_what_slurm_ran_for_a_builder_is_in_no_sandbox(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(alter_provenance=lambda p: replace(p, sandbox="slurm", job=JOB))
    found = judge(chain, WEIGHTS)
    assert (codes(found), found.level_min) == ([], 1)
    assert facts_of(found)["custody.sandboxed"] is False


def test_a_builder_of_level_3_claims_no_more_than_2_for_what_slurm_ran(chain: MadeChain) -> None:
    chain.ingest()
    chain.train()
    step, trust = judge(chain, WEIGHTS).steps[-1], chain.lab.state
    listed = {name: dataclasses.replace(one, level_max=3) for name, one in trust.builders.items()}
    trust = dataclasses.replace(trust, builders=listed)
    made = replace(step.value, level=3)
    assert believed_level(replace(step, value=made), trust) == 3
    found = believed_level(replace(step, value=replace(made, sandbox="slurm", job=JOB)), trust)
    assert isinstance(found, Failure)
    assert found.code == "builder-level"
    assert believed_level(replace(step, value=replace(made, level=2, sandbox="slurm", job=JOB)), trust) == 2


@pytest.mark.parametrize("change", [{"level": 2}, {"sandbox": "bubblewrap"}])
def test_a_members_own_word_is_never_more_than_level_1(chain: MadeChain, change: dict[str, Any]) -> None:
    chain.ingest()
    chain.train(builder=None, alter_provenance=lambda p: replace(p, **change))
    assert codes(judge(chain, WEIGHTS)) == ["level-of-member"]


def test_a_members_step_signed_by_a_builder_is_refused(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(builder=None, builder_key=chain.lab.builder_keys["builder"])
    assert "chain-signer-unknown" in codes(judge(chain, WEIGHTS))


def test_a_member_does_not_sign_for_another_member(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(builder=None, alter_provenance=lambda p: replace(p, builder=BuilderId("acme.example", "member", "bob")))
    assert "chain-signer-unknown" in codes(judge(chain, WEIGHTS))


def test_a_request_by_a_key_that_is_not_the_members_is_refused(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(key=make_key("thief"))
    assert codes(judge(chain, WEIGHTS)) == ["signer-unknown", "step-request-missing"]


def test_a_suspended_members_statements_are_not_relied_on(chain: MadeChain) -> None:
    found = judge(chain, chain.build(), suspended=Suspended(frozenset({"ada"}), frozenset()))
    assert codes(found) == ["chain-signer-suspended"]


def test_a_suspended_key_of_a_builder_is_not_relied_on(chain: MadeChain) -> None:
    key = chain.lab.builder_keys["builder"].public.keyid
    found = judge(chain, chain.build(), suspended=Suspended(frozenset(), frozenset({key})))
    assert codes(found) == ["chain-signer-suspended"]


def test_a_suspended_member_who_ran_a_step_himself_is_not_relied_on(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(builder=None, member="bob")
    found = judge(chain, WEIGHTS, suspended=Suspended(frozenset({"bob"}), frozenset()))
    assert len(found.failures) == 2


def test_a_suspended_signer_of_a_test_result_is_not_relied_on(chain: MadeChain) -> None:
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.ingest()
    chain.train()
    inputs = {"model": WEIGHTS, "held-out": artifact("held-out")}
    _, request, digest = chain.request("evaluate", inputs, criteria=criteria, outputs=("results",))
    chain.provenance(request, digest, {"results": artifact("results")})
    other = chain.lab.builder_keys["other"]
    chain.result(
        request,
        digest,
        subject=WEIGHTS,
        measurement=artifact("results"),
        key=other,
        alter=lambda r: replace(r, builder=BuilderId("acme.example", "builder", "other")),
    )
    found = judge(chain, WEIGHTS, suspended=Suspended(frozenset(), frozenset({other.public.keyid})))
    assert codes(found) == ["chain-signer-suspended", "evaluation-builder", "evaluation-unfinished"]
