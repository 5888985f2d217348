"""The chain of custody, and each way to break it, by the name of its failure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from keyturn.custody.evidence import Entry, Failure
from keyturn.custody.facts import facts_of
from keyturn.custody.levels import believed_level
from keyturn.custody.timeline import TrustTimeline
from keyturn.custody.verify import Chain, Suspended, VerifiedChain, examine, verify_chain
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse, statement, steps
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.provenance import BuilderId, Dependency, Job, Origin, Output
from keyturn.formats.release import RELEASE
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.trust.outside import OutsideSigner
from keyturn.trust.void import NOTHING_VOID
from support.chains import AURORA, MadeChain, artifact, changed, signed
from support.labs import make_key, make_lab

NOBODY = Suspended(frozenset(), frozenset())
MODEL = artifact("model")
WEIGHTS = artifact("weights")


@pytest.fixture
def chain() -> MadeChain:
    return MadeChain(make_lab(builders=("builder", "other"), agents={"ada+coder": ("ada",)}))


def judge(
    chain: MadeChain,
    model: ArtifactDigest = MODEL,
    *,
    entries: Sequence[Entry] | None = None,
    suspended: Suspended = NOBODY,
    resource: Uri = AURORA,
) -> Chain:
    return examine(
        model,
        chain.entries(model) if entries is None else entries,
        lab=chain.lab.name,
        resource=resource,
        timeline=chain.timeline,
        suspended=suspended,
    )


def codes(found: Chain) -> list[str]:
    return sorted({failure.code for failure in found.failures})


def with_evaluation(chain: MadeChain, **more: Any) -> Chain:
    """A whole chain whose evaluation is altered by `more`."""
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    chain.evaluate(WEIGHTS, criteria, **more)
    chain.package()
    return judge(chain)


def test_a_whole_chain_verifies_and_says_what_holds(chain: MadeChain) -> None:
    found = judge(chain, chain.build())
    assert codes(found) == []
    assert verify_chain(found).chain is found
    assert dict(facts_of(found)) == {
        "custody.verified": True,
        "custody.complete": True,
        "custody.linked": True,
        "custody.steps": 4,
        "custody.level_min": 1,
        "custody.builders_allowed": True,
        "custody.inputs_declared": True,
        "custody.inputs_checked_full": True,
        "custody.evidence_count": 0,
        "custody.evidence_complete": False,
        "custody.evidence_level_min": 0,
        "custody.sandboxed": True,
        "custody.evaluated": True,
        "custody.evaluations_passed": True,
        "custody.criteria_before_run": True,
        "custody.evaluations_met": frozenset({"bits-per-byte"}),
        "custody.statements": 6,
        "custody.check_min": 3,
        "custody.code_reviewed": False,
        "custody.reproduced": False,
        "custody.chain_reproduced": False,
        "custody.own_words_aside": 0,
    }
    assert found.sources == (artifact("raw"),)


def test_only_the_verifier_makes_a_verified_chain(chain: MadeChain) -> None:
    found = judge(chain, chain.build())
    with pytest.raises(TypeError):
        VerifiedChain(found, made_by=object())
    with pytest.raises(TypeError):
        verify_chain(found).__reduce__()


def test_nothing_at_all_is_no_chain(chain: MadeChain) -> None:
    found = judge(chain)
    assert codes(found) == ["model-not-made"]
    facts = facts_of(found)
    assert not any(value for value in facts.values())
    with pytest.raises(Refused) as caught:
        verify_chain(found)
    assert caught.value.reasons == (("model-not-made", f"no step in the log made `{MODEL}`"),)


def test_every_failure_is_named_not_only_the_first(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(builder_key=make_key("thief"))
    chain.package(alter_provenance=lambda p: replace(p, level=3))
    found = judge(chain)
    assert codes(found) == ["builder-key", "builder-level", "link-missing"]
    with pytest.raises(Refused) as caught:
        verify_chain(found)
    assert len(caught.value.reasons) == len(found.failures) == 4


@pytest.mark.parametrize("kind", ["ingest", "train", "package"])
def test_a_removed_step_is_missed(chain: MadeChain, kind: str) -> None:
    chain.build()
    without = tuple(
        entry for entry in chain.entries(MODEL) if f"keyturn.dev/build/{kind}/v1".encode() not in _payload(entry)
    )
    expected = {"ingest": "link-missing", "train": "link-missing", "package": "model-not-made"}[kind]
    assert expected in codes(judge(chain, entries=without))


def test_a_removed_evaluation_step_is_missed(chain: MadeChain) -> None:
    chain.build()
    without = tuple(e for e in chain.entries(MODEL) if b"keyturn.dev/build/evaluate/v1" not in _payload(e))
    assert codes(judge(chain, entries=without)) == ["evaluation-step-missing", "link-missing"]


def test_a_step_whose_request_is_not_in_the_log_is_refused(chain: MadeChain) -> None:
    chain.build()
    without = tuple(e for e in chain.entries(MODEL) if b'"build":"train"' not in _payload(e))
    found = judge(chain, entries=without)
    assert codes(found) == ["step-request-missing"]
    assert facts_of(found)["custody.complete"] is False


def test_a_request_that_was_logged_after_the_step_ran_is_refused(chain: MadeChain) -> None:
    chain.build()
    entries = list(chain.entries(MODEL))
    request = next(e for e in entries if b'"build":"train"' in _payload(e))
    moved = [e for e in entries if e is not request] + [Entry(10_000, request.raw)]
    assert "step-request-late" in codes(judge(chain, entries=moved))


def test_a_request_runs_once(chain: MadeChain) -> None:
    chain.build()
    _, request, digest = chain.request(
        "train", {"data": artifact("data"), "code": artifact("code")}, outputs=("model",)
    )
    chain.provenance(request, digest, {"model": WEIGHTS})
    chain.provenance(request, digest, {"model": WEIGHTS}, alter=lambda p: replace(p, finished_at=p.finished_at + 1))
    assert codes(judge(chain)) == ["step-request-reused"]


def test_a_rerun_that_gives_the_same_is_no_failure(chain: MadeChain) -> None:
    chain.build()
    chain.ingest()
    chain.train()
    assert codes(judge(chain)) == []


@pytest.mark.parametrize(
    ("alter", "code"),
    [
        pytest.param(
            lambda p: replace(p, dependencies=(replace(p.dependencies[0], digest=artifact("x")), *p.dependencies[1:])),
            "input-digest",
            id="the digest of an input changed",
        ),
        pytest.param(
            lambda p: replace(
                p, dependencies=(*p.dependencies, Dependency("more", "code", artifact("x"), check="full"))
            ),
            "input-undeclared",
            id="an undeclared input",
        ),
        pytest.param(
            lambda p: replace(p, dependencies=(p.dependencies[0], p.dependencies[2])),
            "input-not-taken",
            id="a declared input left out",
        ),
        pytest.param(
            lambda p: replace(
                p, dependencies=(p.dependencies[0], replace(p.dependencies[1], check="on_read"), p.dependencies[2])
            ),
            "input-differs",
            id="an input checked otherwise",
        ),
        pytest.param(
            lambda p: replace(p, dependencies=(replace(p.dependencies[0], role="parameters"), *p.dependencies[1:])),
            "input-differs",
            id="data that calls itself parameters",
        ),
        pytest.param(lambda p: replace(p, dependencies=p.dependencies[:2]), "runtime-differs", id="no runtime"),
        pytest.param(lambda p: replace(p, command=("sh",)), "step-differs", id="another command"),
        pytest.param(lambda p: replace(p, build="finetune"), "step-differs", id="another build"),
        pytest.param(lambda p: replace(p, step="other"), "step-differs", id="another name"),
        pytest.param(
            lambda p: replace(p, outputs=(*p.outputs, Output("more", artifact("x")))),
            "output-differs",
            id="more came out",
        ),
        pytest.param(lambda p: replace(p, level=3), "builder-level", id="level above what trust allows"),
        pytest.param(lambda p: replace(p, sandbox="none"), "builder-without-sandbox", id="a builder without sandbox"),
    ],
)
def test_a_step_that_ran_otherwise_than_requested_is_refused(chain: MadeChain, alter: Any, code: str) -> None:
    chain.ingest()
    chain.train(alter_provenance=alter)
    found = judge(chain, WEIGHTS)
    assert code in codes(found)
    assert facts_of(found)["custody.verified"] is False


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


JOB = Job(id="4711", user="ada", nodes="n1", script=Sha256("b" * 64))


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


def test_statements_of_another_lab_are_refused(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(
        alter=lambda r: changed(r, lab="evil.example"),
        alter_provenance=lambda p: replace(
            p, lab="evil.example", builder=BuilderId("evil.example", "builder", "builder")
        ),
    )
    assert "chain-other-lab" in codes(judge(chain, WEIGHTS))


def test_criteria_of_another_lab_are_refused(chain: MadeChain) -> None:
    index, _ = chain.criteria((WEIGHTS,))
    envelope = dsse.parse_own(chain.records[index])
    made = statement.parse(envelope.payload, steps.EvaluationCriteria, steps.EVALUATION_CRITERIA)
    payload = statement.make(changed(made.predicate, lab="evil.example"), steps.EVALUATION_CRITERIA, made.subject)
    entry = Entry(index, signed(payload, chain.lab.member_keys["ada"]))
    assert "chain-other-lab" in codes(judge(chain, entries=(entry,)))


def test_a_step_request_about_other_things_than_its_inputs_is_refused(chain: MadeChain) -> None:
    index, request, _ = chain.request("train", {"data": artifact("data")})
    subject = (Subject(digest=DigestSet.of(artifact("other"))),)
    raw = signed(statement.make(request, steps.STEP_REQUEST, subject), chain.lab.member_keys["ada"])
    assert "step-subjects" in codes(judge(chain, entries=(Entry(index, raw),)))


def test_foreign_provenance_about_the_model_is_no_link(chain: MadeChain) -> None:
    chain.build()
    raw = chain.records[-1]
    payload = dsse.parse_foreign(raw).payload.replace(b"keyturn.dev/build/package/v1", b"evil.dev/build/package/v1")
    chain.append(signed(payload, chain.lab.builder_keys["builder"]))
    assert codes(judge(chain)) == ["provenance-build-type"]


def test_a_statement_of_another_kind_is_no_part_of_a_chain(chain: MadeChain) -> None:
    payload = b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example.com/x","subject":[]}'
    entry = Entry(5, signed(payload, chain.lab.builder_keys["builder"]))
    assert "chain-foreign-statement" in codes(judge(chain, entries=(entry,)))


def test_an_input_that_no_step_made_is_a_missing_link(chain: MadeChain) -> None:
    chain.train()
    found = judge(chain, WEIGHTS)
    assert codes(found) == ["link-missing"]
    assert facts_of(found)["custody.linked"] is False


def test_an_input_that_was_made_only_after_it_was_taken_is_refused(chain: MadeChain) -> None:
    chain.train()
    chain.ingest()
    assert codes(judge(chain, WEIGHTS)) == ["link-late"]


def test_a_model_that_went_into_its_own_making_is_refused(chain: MadeChain) -> None:
    chain.ingest()
    chain.step("train", {"data": artifact("data")}, {"model": WEIGHTS})
    chain.step("finetune", {"base": WEIGHTS}, {"model": artifact("tuned")})
    chain.step("merge", {"one": artifact("tuned")}, {"model": WEIGHTS})
    found = judge(chain, WEIGHTS)
    assert codes(found) == ["chain-cycle", "made-otherwise"]
    assert str(artifact("tuned")) in found.failures[0].message


def test_two_steps_that_say_they_made_one_model_from_different_things_are_refused(chain: MadeChain) -> None:
    chain.build()
    many = {f"data-{n}": artifact(f"unknown {n}") for n in range(7)}
    chain.step("finetune", many, {"model": WEIGHTS})
    found = judge(chain)
    assert codes(found) == ["link-missing", "made-otherwise"]
    said = next(one.message for one in found.failures if one.code == "made-otherwise")
    assert str(WEIGHTS) in said
    assert str(artifact("data")) in said, "what the first one took"
    assert "and 2 more" in said
    with pytest.raises(Refused):
        verify_chain(found)


def test_equal_results_and_what_goes_on_from_a_checkpoint_contradict_nothing(chain: MadeChain) -> None:
    chain.build()
    chain.step("train", {"data": artifact("data")}, {"checkpoint": artifact("half way")})
    chain.step("train", {"data": artifact("data"), steps.CHECKPOINT: artifact("half way")}, {"model": WEIGHTS})
    chain.step("ingest", {"elsewhere": artifact("elsewhere")}, {"data": artifact("data")})
    assert codes(judge(chain)) == []


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


# --- evaluations ------------------------------------------------------------------------------------------------------


def test_criteria_that_were_logged_after_the_run_was_requested_are_refused(chain: MadeChain) -> None:
    chain.build()
    entries = list(chain.entries(MODEL))
    criteria = next(e for e in entries if b"evaluation-criteria/v1" in _payload(e))
    asked = next(e for e in entries if b'"build":"evaluate"' in _payload(e))
    moved = [e for e in entries if e not in (criteria, asked)]
    moved += [Entry(asked.index, criteria.raw), Entry(criteria.index, asked.raw)]
    found = judge(chain, entries=moved)
    assert "criteria-late" in codes(found)
    assert facts_of(found)["custody.criteria_before_run"] is False


def test_criteria_that_are_not_in_the_log_are_refused(chain: MadeChain) -> None:
    chain.build()
    without = tuple(e for e in chain.entries(MODEL) if b"evaluation-criteria/v1" not in _payload(e))
    assert codes(judge(chain, entries=without)) == ["criteria-missing"]


def test_an_evaluation_whose_request_is_missing_or_late_is_refused(chain: MadeChain) -> None:
    chain.build()
    asked = next(e for e in chain.entries(MODEL) if b'"build":"evaluate"' in _payload(e))
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


def test_a_timeline_needs_rising_indices(chain: MadeChain) -> None:
    with pytest.raises(Malformed):
        TrustTimeline((3, 3), (chain.lab.state, chain.lab.state))
    with pytest.raises(Malformed):
        TrustTimeline((3,), ())


def test_what_is_void_for_a_chain_stood_before_the_version_that_says_so(chain: MadeChain) -> None:
    said = chain.lab.publish(void=(range(2, 9),)).state
    assert [index for index in range(12) if index in TrustTimeline((0, 5), (chain.lab.state, said)).void] == [2, 3, 4]
    assert TrustTimeline((), ()).void == NOTHING_VOID


def _payload(entry: Entry) -> bytes:
    return dsse.parse_foreign(entry.raw).payload


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


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        pytest.param({}, [], id="listed"),
        pytest.param(None, ["link-other-lab"], id="no lab listed"),
        pytest.param({"trusted_root": "d" * 64}, ["link-other-lab"], id="another root"),
        pytest.param({"identity": "third.example"}, ["link-other-lab"], id="another lab's name"),
        pytest.param({"statements": frozenset({"signature"})}, ["link-other-lab"], id="its releases do not count"),
    ],
)
def test_what_another_lab_released_is_a_link_when_targets_list_that_lab(
    listed: dict[str, Any] | None, expected: list[str]
) -> None:
    lab_of = {"name": "other", "method": "keyturn", "statements": frozenset({RELEASE}), "identity": "other.example"}
    signer = OutsideSigner(**{**lab_of, "trusted_root": "c" * 64, **(listed or {})})
    chain = MadeChain(make_lab(resources={"model/aurora": ()}, outside=() if listed is None else (signer,)))
    base = Origin("keyturn://other.example/model/tiny", pack="b" * 64, root="c" * 64)
    chain.step(
        "finetune",
        {"base": artifact("theirs")},
        {"model": MODEL},
        alter_provenance=lambda p: replace(
            p, dependencies=(replace(p.dependencies[0], origin=base), *p.dependencies[1:])
        ),
    )
    found = judge(chain)
    assert codes(found) == expected
    assert found.sources == (artifact("theirs"),)
    now = chain.lab.publish(outside=()).state
    after = TrustTimeline((*chain.timeline.indices, 99), (*chain.timeline.states, now))
    later = examine(MODEL, chain.entries(MODEL), lab=chain.lab.name, resource=AURORA, timeline=after, suspended=NOBODY)
    assert codes(later) == ["link-other-lab"], "a lab that is taken out of targets takes away what came from it"
