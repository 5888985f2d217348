"""What an evaluation must be to count for a model, and each way in which it does not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from keyturn.custody.evidence import Entry
from keyturn.custody.facts import facts_of
from keyturn.formats.digest import Sha256
from keyturn.formats.provenance import BuilderId
from keyturn.formats.uri import Uri
from support.chains import MadeChain, artifact
from support.judged_chains import MODEL, WEIGHTS, codes, judge, payload_of, with_evaluation


def test_criteria_that_were_logged_after_the_run_was_requested_are_refused(chain: MadeChain) -> None:
    chain.build()
    entries = list(chain.entries(MODEL))
    criteria = next(e for e in entries if b"evaluation-criteria/v1" in payload_of(e))
    asked = next(e for e in entries if b'"build":"evaluate"' in payload_of(e))
    moved = [e for e in entries if e not in (criteria, asked)]
    moved += [Entry(asked.index, criteria.raw), Entry(criteria.index, asked.raw)]
    found = judge(chain, entries=moved)
    assert "criteria-late" in codes(found)
    assert facts_of(found)["custody.criteria_before_run"] is False


def test_criteria_that_are_not_in_the_log_are_refused(chain: MadeChain) -> None:
    chain.build()
    without = tuple(e for e in chain.entries(MODEL) if b"evaluation-criteria/v1" not in payload_of(e))
    assert codes(judge(chain, entries=without)) == ["criteria-missing"]


def test_an_evaluation_whose_request_is_missing_or_late_is_refused(chain: MadeChain) -> None:
    chain.build()
    asked = next(e for e in chain.entries(MODEL) if b'"build":"evaluate"' in payload_of(e))
    others = tuple(e for e in chain.entries(MODEL) if e != asked)
    assert "evaluation-request-missing" in codes(judge(chain, entries=others))
    assert "evaluation-request-late" in codes(judge(chain, entries=(*others, Entry(10_000, asked.raw))))


def test_a_failed_evaluation_is_a_failure_of_the_chain(chain: MadeChain) -> None:
    found = with_evaluation(
        chain,
        alter_result=lambda r: replace(r, passed=False, values=(("baseline", "4.75"), ("bits-per-byte", "4.5"))),
    )
    assert codes(found) == ["evaluation-failed"]
    assert facts_of(found)["custody.evaluations_passed"] is False


def test_a_failed_evaluation_counts_even_after_another_one_passed(chain: MadeChain) -> None:
    chain.build()
    _, easier = chain.criteria((artifact("held-out"),), threshold="9")
    chain.evaluate(
        WEIGHTS,
        easier,
        name="again",
        alter_result=lambda r: replace(r, passed=False, values=(("baseline", "1"), ("bits-per-byte", "11"))),
    )
    assert codes(judge(chain)) == ["evaluation-failed"]


@pytest.mark.parametrize("evaluated", [True, False])
def test_a_model_that_was_evaluated_lends_its_result_only_to_a_package_that_keeps_it(
    chain: MadeChain, evaluated: bool
) -> None:
    # Else a small model that passes is packed beside the one that is released, which nobody measured.
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    decoy = artifact("decoy")
    chain.step("train", {"data": artifact("data")}, {"model": decoy}, step="decoy")
    chain.evaluate(WEIGHTS if evaluated else decoy, criteria)
    inputs = {"model": WEIGHTS, "extra": decoy, "results": artifact("results")}
    chain.step("package", inputs, {"model": MODEL})
    found = judge(chain)
    assert codes(found) == []
    assert facts_of(found)["custody.evaluated"] is evaluated


def test_a_failed_evaluation_of_whatever_was_packed_counts(chain: MadeChain) -> None:
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    chain.evaluate(WEIGHTS, criteria, alter_result=lambda r: replace(r, passed=False))
    chain.step("train", {"data": artifact("data")}, {"model": artifact("decoy")}, step="decoy")
    chain.step("package", {"model": artifact("decoy"), "extra": WEIGHTS}, {"model": MODEL})
    assert "evaluation-failed" in codes(judge(chain))


def test_a_failed_evaluation_of_something_else_on_the_same_data_is_not_this_models(chain: MadeChain) -> None:
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    other = artifact("other-weights")
    chain.step("train", {"data": artifact("data")}, {"model": other})
    chain.evaluate(other, criteria, name="others", alter_result=lambda r: replace(r, passed=False))
    assert codes(judge(chain)) == []


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param(
            {"alter_result": lambda r: replace(r, values=(("baseline", "4.75"), ("bits-per-byte", "4.5")))},
            ["evaluation-result-false"],
            id="it says PASSED, and its values say FAILED",
        ),
        pytest.param(
            {"alter_result": lambda r: replace(r, values=(("bits-per-byte", "3"),))},
            ["evaluation-values"],
            id="the baseline is missing",
        ),
        pytest.param(
            {"alter_result": lambda r: replace(r, metric="accuracy")}, ["evaluation-values"], id="another metric"
        ),
        pytest.param(
            {"alter_result": lambda r: replace(r, measurement=artifact("elsewhere"))},
            ["evaluation-measurement", "link-missing"],
            id="a measurement from elsewhere",
        ),
        pytest.param(
            {"alter_result": lambda r: replace(r, criteria=Sha256("9" * 64))},
            ["criteria-missing", "evaluation-criteria", "evaluation-unfinished"],
            id="other criteria than requested",
        ),
        pytest.param(
            {"inputs": {"model": WEIGHTS, "data": artifact("data")}},
            ["evaluation-inputs"],
            id="not the data that the criteria ask for",
        ),
        pytest.param(
            {"inputs": {"held-out": artifact("held-out")}}, ["evaluation-subject"], id="the model did not go in"
        ),
    ],
)
def test_an_evaluation_that_does_not_hold_is_named(chain: MadeChain, more: Any, expected: list[str]) -> None:
    found = with_evaluation(chain, **more)
    assert set(expected) - {"link-missing", "evaluation-unfinished"} <= set(codes(found))
    assert facts_of(found)["custody.evaluated"] is False


def test_a_result_signed_by_another_builder_than_was_asked_is_refused(chain: MadeChain) -> None:
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    inputs = {"model": WEIGHTS, "held-out": artifact("held-out")}
    _, request, digest = chain.request("evaluate", inputs, criteria=criteria, outputs=("results",))
    chain.provenance(request, digest, {"results": artifact("results")})
    chain.result(
        request,
        digest,
        subject=WEIGHTS,
        measurement=artifact("results"),
        key=chain.lab.builder_keys["other"],
        alter=lambda r: replace(r, builder=BuilderId("acme.example", "builder", "other")),
    )
    assert codes(judge(chain, WEIGHTS)) == ["evaluation-builder", "evaluation-unfinished"]


def test_an_evaluation_that_a_member_ran_himself_counts_as_his_word(chain: MadeChain) -> None:
    found = with_evaluation(chain, builder=None)
    assert codes(found) == []
    assert facts_of(found)["custody.sandboxed"] is False


def test_an_evaluation_that_was_requested_and_has_no_result_is_named(chain: MadeChain) -> None:
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.request("evaluate", {"model": WEIGHTS, "held-out": artifact("held-out")}, criteria=criteria)
    assert codes(judge(chain)) == ["evaluation-unfinished"]
    chain.evaluate(WEIGHTS, criteria, name="again")
    assert codes(judge(chain)) == []


def test_another_builders_result_does_not_stand_for_one_that_was_kept_back(chain: MadeChain) -> None:
    """A log that was taken over drops the result that says FAILED, and whoever asked tries another builder."""
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    inputs = {"model": WEIGHTS, "held-out": artifact("held-out")}
    chain.request("evaluate", inputs, criteria=criteria)
    chain.evaluate(WEIGHTS, criteria, name="again", builder="other")
    assert codes(judge(chain)) == ["evaluation-unfinished"]
    left = {name: one for name, one in chain.lab.contents.builders.items() if name != "builder"}
    chain.publish(chain.lab.with_contents(dataclasses.replace(chain.lab.contents, builders=left)))
    assert codes(judge(chain)) == [], "a builder that is no more gives no result"


def test_a_request_by_criteria_that_nobody_logged_bars_no_release(chain: MadeChain) -> None:
    """Else one record of one member, an agent even, would bar the model for good: no result could ever end it."""
    chain.build()
    inputs = {"model": WEIGHTS, "held-out": artifact("held-out")}
    chain.request("evaluate", inputs, criteria=Sha256("0" * 64), member="ada+coder")
    assert codes(judge(chain)) == []


def test_criteria_by_a_machine_are_none(chain: MadeChain) -> None:
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),), threshold="-1000", member="ada+coder")
    chain.request("evaluate", {"model": WEIGHTS, "held-out": artifact("held-out")}, criteria=criteria)
    assert codes(judge(chain)) == [], "it asks for what could never be met"
    chain.evaluate(WEIGHTS, criteria, name="again")
    assert codes(judge(chain)) == ["criteria-missing"]


def test_an_agents_request_by_a_humans_criteria_is_ended_by_a_result(chain: MadeChain) -> None:
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    inputs = {"model": WEIGHTS, "held-out": artifact("held-out")}
    chain.request("evaluate", inputs, criteria=criteria, member="ada+coder")
    assert codes(judge(chain)) == ["evaluation-unfinished"]
    chain.evaluate(WEIGHTS, criteria, name="again")
    assert codes(judge(chain)) == []


def test_a_model_without_evaluation_verifies_and_is_not_evaluated(chain: MadeChain) -> None:
    chain.ingest()
    chain.train()
    found = judge(chain, WEIGHTS)
    assert codes(found) == []
    facts = facts_of(found)
    assert (facts["custody.verified"], facts["custody.evaluated"]) == (True, False)
    assert (facts["custody.evaluations_passed"], facts["custody.criteria_before_run"]) == (False, False)


def test_criteria_for_another_model_do_not_count(chain: MadeChain) -> None:
    found = judge(chain, chain.build(), resource=Uri("acme.example", "model", "borealis"))
    assert codes(found) == []
    assert facts_of(found)["custody.evaluated"] is False


def test_the_evaluation_of_a_base_model_is_not_that_of_what_was_made_from_it(chain: MadeChain) -> None:
    chain.build()
    chain.step("finetune", {"base": WEIGHTS}, {"model": artifact("tuned")})
    found = judge(chain, artifact("tuned"))
    assert codes(found) == []
    assert facts_of(found)["custody.evaluated"] is False


def test_facts_name_the_evaluations_that_were_met_and_the_least_check(chain: MadeChain) -> None:
    nothing = facts_of(judge(chain))
    assert (nothing["custody.evaluations_met"], nothing["custody.statements"], nothing["custody.check_min"]) == (
        frozenset(),
        0,
        0,
    )
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.evaluate(artifact("model"), criteria, name="again", alter_result=lambda r: replace(r, passed=False))
    failed = facts_of(judge(chain))
    assert failed["custody.evaluations_met"] == frozenset(), "when anything failed, nothing counts as met"
    assert failed["custody.statements"] == 9
