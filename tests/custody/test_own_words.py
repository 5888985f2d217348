"""What a member says himself takes nothing away from what a builder, or another member before him, said."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from keyturn.custody.facts import facts_of
from keyturn.custody.verify import Suspended
from keyturn.formats import statement, steps
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.provenance import BuilderId, Origin, Provenance
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.steps import BuildKind
from support.chains import MadeChain, artifact, signed
from support.judged_chains import MODEL, WEIGHTS, codes, judge

RESULTS, OTHER = artifact("results"), artifact("other")
FAILING = (("baseline", "4.75"), ("bits-per-byte", "4.75"))


def agents(chain: MadeChain, build: BuildKind, taken: str, made: ArtifactDigest) -> tuple[int, int]:
    """The agent's own word that it made `made` from something."""
    return chain.step(build, {"data": artifact(taken)}, {"out": made}, builder=None, member="ada+coder")


@pytest.mark.parametrize(
    "made", [MODEL, WEIGHTS, RESULTS, artifact("data")], ids=["model", "weights", "results", "data"]
)
@pytest.mark.parametrize("build", ["train", "package", "ingest"])
def test_an_agents_word_that_it_made_what_a_builder_made_bars_no_chain(
    chain: MadeChain, build: BuildKind, made: ArtifactDigest
) -> None:
    chain.build()
    whole = judge(chain)
    _, said = agents(chain, build, "nowhere", made)
    found = judge(chain)
    assert codes(found) == []
    assert (found.steps, found.evaluations, found.level_min) == (whole.steps, whole.evaluations, whole.level_min)
    assert found.lineage.makers == whole.lineage.makers
    assert found.sources == whole.sources
    assert [one.index for one in found.aside] == [said]
    assert facts_of(found)["custody.own_words_aside"] == 1
    assert codes(judge(chain, suspended=Suspended(frozenset({"ada+coder"}), frozenset()))) == []


@pytest.mark.parametrize("build", ["train", "package", "ingest"])
@pytest.mark.parametrize("builder", ["builder", None], ids=["a builder's ingest", "a member's ingest"])
def test_an_agents_word_from_after_an_ingest_about_what_went_into_it_bars_no_chain(
    chain: MadeChain, build: BuildKind, builder: str | None
) -> None:
    chain.step("ingest", {"raw": artifact("raw")}, {"data": artifact("data"), "more": OTHER}, builder=builder)
    chain.train()
    _, said = agents(chain, build, "nowhere", artifact("raw"))
    found = judge(chain, WEIGHTS)
    assert codes(found) == []
    assert [one.index for one in found.aside] == [said]
    assert found.sources == (artifact("raw"),)


def test_a_word_from_before_an_ingest_about_what_went_into_it_counts(chain: MadeChain) -> None:
    agents(chain, "train", "nowhere", artifact("raw"))
    chain.build()
    chain.step("ingest", {"raw": artifact("raw")}, {"other": artifact("unrelated")}, builder=None)
    assert codes(judge(chain)) == ["link-missing"]
    assert judge(chain).aside == ()


def test_a_builders_word_from_after_an_ingest_about_what_went_into_it_counts(chain: MadeChain) -> None:
    chain.build()
    chain.step("train", {"data": artifact("nowhere")}, {"out": artifact("raw")})
    assert codes(judge(chain)) == ["link-late", "link-missing"]


def test_an_agents_word_about_what_another_lab_released_bars_no_chain(chain: MadeChain) -> None:
    origin = Origin("keyturn://other.example/model/base", pack="ab" * 32, root="cd" * 32)

    def from_other_lab(made: Provenance) -> Provenance:
        first, *more = made.dependencies
        return replace(made, dependencies=(replace(first, origin=origin), *more))

    chain.step("finetune", {"base": artifact("base")}, {"model": WEIGHTS}, alter_provenance=from_other_lab)
    before = codes(judge(chain, WEIGHTS))
    agents(chain, "train", "nowhere", artifact("base"))
    assert codes(judge(chain, WEIGHTS)) == before == ["link-other-lab"], "this lab lists no other one"


def test_a_result_by_criteria_that_no_human_logged_bars_no_chain(chain: MadeChain) -> None:
    chain.build()
    inputs = {"model": MODEL, "held-out": artifact("held-out")}
    for criteria in (sha256(b"nothing"), chain.criteria((), member="ada+coder")[1]):
        _, asked, digest = chain.request(
            "evaluate", inputs, criteria=criteria, outputs=("out",), builder=None, member="ada+coder"
        )
        chain.result(
            asked, digest, subject=MODEL, measurement=OTHER, alter=lambda r: replace(r, passed=False, values=FAILING)
        )
    found = judge(chain)
    assert codes(found) == []
    assert len(found.aside) == 2
    _, asked, digest = chain.request("evaluate", inputs, criteria=sha256(b"nothing"), outputs=("out",))
    chain.result(asked, digest, subject=MODEL, measurement=OTHER)
    assert "criteria-missing" in codes(judge(chain)), "a builder's word counts"


def test_what_an_agent_signed_and_does_not_verify_bars_no_chain(chain: MadeChain) -> None:
    chain.build()
    key = chain.lab.member_keys["ada+coder"]
    _, asked, digest = chain.request("evaluate", {"x": OTHER}, criteria=sha256(b"nothing"), member="ada+coder")
    about = (Subject(digest=DigestSet.of(MODEL)),)
    chain.append(signed(statement.make(asked, steps.STEP_REQUEST, about), key))  # about what it does not ask for
    _, asked, digest = chain.request("train", {"data": artifact("data")}, builder=None, member="ada+coder")
    for lab, kind, name in (("evil.example", "member", "ada+coder"), (chain.lab.name, "builder", "builder")):
        by = BuilderId(lab, kind, name)  # type: ignore[arg-type]  # one of the two, as above
        chain.provenance(asked, digest, {"out": MODEL}, alter=lambda p, by=by: replace(p, lab=by.lab, builder=by))  # type: ignore[misc]
    assert codes(judge(chain)) == []
    alone = codes(judge(chain, entries=chain.entries(MODEL)[-4:]))
    assert {"step-subjects", "chain-other-lab", "builder-key"} <= set(alone), "they help to explain one that fails"


def test_what_hangs_by_a_word_that_is_set_aside_is_set_aside_with_it(chain: MadeChain) -> None:
    agents(chain, "train", "nowhere", OTHER)  # nobody made what it says it took
    chain.build()
    agents(chain, "package", "other", MODEL)
    found = judge(chain)
    assert codes(found) == []
    assert len(found.aside) == 2
    assert len(found.steps) == 4
    names = ("raw", "data", "held-out", "weights", "results", "model")
    assert found.artifacts == {artifact(name) for name in names}, (
        "evidence about the other artifact is none about this chain"
    )


def test_what_is_set_aside_about_one_artifact_counts_about_another(chain: MadeChain) -> None:
    chain.ingest()
    chain.train()
    chain.step(
        "finetune",
        {"base": WEIGHTS, "more": artifact("nowhere")},
        {"tuned": artifact("tuned"), "again": WEIGHTS},
        builder=None,
    )
    found = judge(chain, artifact("tuned"))
    assert "link-missing" in codes(found), "the one step that says it made the model took what nobody made"
    assert found.aside == ()
    assert [step.value.build for step in found.lineage.makers[WEIGHTS]] == ["train"]


def test_a_word_from_before_an_ingest_says_where_the_data_came_from(chain: MadeChain) -> None:
    agents(chain, "train", "nowhere", artifact("data"))
    chain.build()
    found = judge(chain)
    assert codes(found) == ["link-missing"]
    assert found.aside == ()


def test_a_word_from_before_a_builders_training_says_nothing_of_what_the_builder_made(chain: MadeChain) -> None:
    _, said = agents(chain, "train", "nowhere", WEIGHTS)
    chain.build()
    found = judge(chain)
    assert codes(found) == []
    assert [one.index for one in found.aside] == [said]


def test_a_word_from_after_an_ingest_was_requested_says_nothing_of_where_its_data_came_from(chain: MadeChain) -> None:
    _, request, digest = chain.request("ingest", {"raw": artifact("raw"), "code": artifact("code")}, outputs=("data",))
    _, said = agents(chain, "train", "nowhere", artifact("data"))
    chain.provenance(request, digest, {"data": artifact("data")})
    chain.train()
    found = judge(chain, WEIGHTS)
    assert codes(found) == []
    assert [one.index for one in found.aside] == [said]


def test_a_measurement_of_another_model_that_was_packed_keeps_its_request(chain: MadeChain) -> None:
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    chain.step("train", {"data": artifact("data")}, {"model": OTHER})
    chain.evaluate(OTHER, criteria)
    chain.step("package", {"model": WEIGHTS, "measured": RESULTS}, {"model": MODEL})
    agents(chain, "package", "other", MODEL)
    assert codes(judge(chain)) == []


def test_of_what_no_builder_made_the_first_member_who_said_so_did(chain: MadeChain) -> None:
    chain.ingest()
    chain.train(builder=None)
    agents(chain, "train", "nowhere", WEIGHTS)
    found = judge(chain, WEIGHTS)
    assert codes(found) == []
    assert [one.value.builder.name for one in found.aside] == ["ada+coder"]
    chain.train(builder=None)
    assert codes(judge(chain, WEIGHTS)) == [], "who says the same again is heard again"
    assert len(judge(chain, WEIGHTS).aside) == 1


def test_a_word_that_came_first_is_not_outdone_by_another_members(chain: MadeChain) -> None:
    agents(chain, "train", "nowhere", WEIGHTS)
    chain.ingest()
    chain.train(builder=None)
    assert codes(judge(chain, WEIGHTS)) == ["link-missing"]


def test_an_agents_failed_result_bars_nothing_that_a_builder_judged(chain: MadeChain) -> None:
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    ran = chain.evaluate(
        WEIGHTS,
        criteria,
        name="made up",
        builder=None,
        member="ada+coder",
        alter_result=lambda r: replace(r, passed=False, values=FAILING),
    )
    assert codes(judge(chain, WEIGHTS)) == ["evaluation-failed"], "while no builder judged it, it is all there is"
    chain.evaluate(WEIGHTS, criteria)
    chain.package()
    found = judge(chain)
    assert codes(found) == []
    assert [one.index for one in found.aside] == [ran[1], ran[2]]
    assert facts_of(found)["custody.evaluated"] is True
    assert codes(judge(chain, suspended=Suspended(frozenset({"ada+coder"}), frozenset()))) == []


def test_a_failed_result_of_a_builder_is_not_outdone_by_a_members(chain: MadeChain) -> None:
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    chain.evaluate(
        WEIGHTS,
        criteria,
        alter_result=lambda r: replace(r, passed=False, values=FAILING),
    )
    chain.evaluate(WEIGHTS, criteria, name="mine", builder=None)
    chain.package()
    found = judge(chain)
    assert codes(found) == ["evaluation-failed"]
    assert facts_of(found)["custody.evaluations_met"] == frozenset()


def test_another_models_evaluations_do_not_come_in_by_a_false_word(chain: MadeChain) -> None:
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.step("train", {"data": artifact("data")}, {"model": OTHER})
    chain.evaluate(
        OTHER,
        criteria,
        name="of another",
        alter_result=lambda r: replace(r, passed=False, values=FAILING),
    )
    chain.request(
        "evaluate",
        {"model": OTHER, "held-out": artifact("held-out"), "code": artifact("code")},
        criteria=criteria,
        outputs=("results",),
    )
    agents(chain, "package", "other", MODEL)
    found = judge(chain)
    assert codes(found) == []
    assert len(found.aside) == 4


def test_an_evaluation_of_the_model_that_was_asked_for_is_missed_though_another_model_went_in(chain: MadeChain) -> None:
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.step("train", {"data": artifact("data")}, {"model": OTHER})
    agents(chain, "package", "other", MODEL)
    chain.request(
        "evaluate",
        {"model": MODEL, "other": OTHER, "held-out": artifact("held-out")},
        criteria=criteria,
        outputs=("results",),
    )
    assert codes(judge(chain)) == ["evaluation-unfinished"]


def test_an_evaluation_that_a_suspended_agent_asked_for_is_finished_by_anybodys_result(chain: MadeChain) -> None:
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    inputs = {"model": WEIGHTS, "held-out": artifact("held-out"), "code": artifact("code")}
    chain.request("evaluate", inputs, criteria=criteria, outputs=("results",), member="ada+coder")
    chain.evaluate(WEIGHTS, criteria)
    chain.package()
    assert codes(judge(chain, suspended=Suspended(frozenset({"ada+coder"}), frozenset()))) == []
