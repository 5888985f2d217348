"""The chain of custody, and each way to break it, by the name of its failure."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from keyturn.custody.evidence import Entry
from keyturn.custody.facts import facts_of
from keyturn.custody.timeline import TrustTimeline
from keyturn.custody.verify import VerifiedChain, examine, verify_chain
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse, statement, steps
from keyturn.formats.provenance import BuilderId, Dependency, Origin, Output
from keyturn.formats.records import Sealed
from keyturn.formats.release import RELEASE
from keyturn.formats.statement import DigestSet, Subject
from keyturn.trust.outside import OutsideSigner
from support.chains import AURORA, MadeChain, artifact, changed, signed
from support.judged_chains import MODEL, NOBODY, WEIGHTS, codes, judge, payload_of
from support.labs import make_key, make_lab


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
        entry for entry in chain.entries(MODEL) if f"keyturn.dev/build/{kind}/v1".encode() not in payload_of(entry)
    )
    expected = {"ingest": "link-missing", "train": "link-missing", "package": "model-not-made"}[kind]
    assert expected in codes(judge(chain, entries=without))


def test_a_removed_evaluation_step_is_missed(chain: MadeChain) -> None:
    chain.build()
    without = tuple(e for e in chain.entries(MODEL) if b"keyturn.dev/build/evaluate/v1" not in payload_of(e))
    assert codes(judge(chain, entries=without)) == ["evaluation-step-missing", "link-missing"]


def test_a_step_whose_request_is_not_in_the_log_is_refused(chain: MadeChain) -> None:
    chain.build()
    without = tuple(e for e in chain.entries(MODEL) if b'"build":"train"' not in payload_of(e))
    found = judge(chain, entries=without)
    assert codes(found) == ["step-request-missing"]
    assert facts_of(found)["custody.complete"] is False


def test_a_request_that_was_logged_after_the_step_ran_is_refused(chain: MadeChain) -> None:
    chain.build()
    entries = list(chain.entries(MODEL))
    request = next(e for e in entries if b'"build":"train"' in payload_of(e))
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


def test_a_chain_of_records_that_were_opened_before_is_judged_as_any_other(chain: MadeChain) -> None:
    chain.build()
    raw = chain.records[-1]
    payload = dsse.parse_foreign(raw).payload.replace(b"keyturn.dev/build/package/v1", b"evil.dev/build/package/v1")
    chain.append(signed(payload, chain.lab.builder_keys["builder"]))
    forged = dsse.parse_own(chain.records[-2]).payload
    forged_at = chain.append(signed(forged, chain.lab.member_keys["ada"]))
    entries = chain.entries(artifact("model"))
    sealed = [Entry(one.index, one.raw, Sealed(one.raw)) for one in entries]
    found = judge(chain, entries=sealed)
    assert found == judge(chain, entries=entries)
    assert found.steps
    assert forged_at in [failure.index for failure in found.failures]


def test_a_trust_version_is_no_statement_of_a_chain_opened_or_not(chain: MadeChain) -> None:
    raw = chain.records[0]
    for entry in (Entry(0, raw), Entry(0, raw, Sealed(raw))):
        with pytest.raises(Malformed, match="envelope"):
            judge(chain, entries=(entry,))


def test_an_entry_has_no_other_record_sealed(chain: MadeChain) -> None:
    chain.build()
    with pytest.raises(TypeError, match="its own record"):
        Entry(7, chain.records[7], Sealed(chain.records[8]))
