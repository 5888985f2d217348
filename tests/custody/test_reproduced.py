"""What two builders of different operators made alike is reproduced; whatever else looks like it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from keyturn.custody.facts import facts_of
from keyturn.custody.verify import Chain, Suspended, examine, verify_chain
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.provenance import Output
from support.chains import AURORA, MadeChain, artifact
from support.labs import make_lab

MODEL, WEIGHTS, RESULTS = artifact("model"), artifact("weights"), artifact("results")

Again = Callable[[MadeChain], object]


def made(**more: Any) -> MadeChain:
    names = ("builder", "other", "third")
    chain = MadeChain(make_lab(builders=names, agents={"coder": ("ada",)}, **more))
    chain.build()
    return chain


def judge(chain: MadeChain, model: ArtifactDigest = MODEL) -> Chain:
    return examine(
        model,
        chain.entries(model),
        lab=chain.lab.name,
        resource=AURORA,
        timeline=chain.timeline,
        suspended=Suspended(frozenset(), frozenset()),
    )


def test_what_a_second_operators_builder_makes_alike_is_reproduced() -> None:
    chain = made()
    assert judge(chain).reproduced == frozenset()
    chain.package(builder="other", member="bob")
    found = judge(chain)
    assert verify_chain(found).chain.reproduced == {MODEL}
    facts = facts_of(found)
    assert facts["custody.reproduced"] is True
    assert facts["custody.chain_reproduced"] is False  # packing is easy to repeat; training was not repeated


def test_a_chain_is_reproduced_when_every_step_of_it_is() -> None:
    chain = made()
    chain.ingest()  # by the same builder again: nothing new
    chain.train(builder="other")
    chain.package(builder="other")
    assert facts_of(judge(chain))["custody.chain_reproduced"] is False
    chain.step(
        "ingest",
        {"raw": artifact("raw"), "code": artifact("code")},
        {"data": artifact("data"), "held-out": artifact("held-out")},
        builder="other",
    )
    criteria = next(one.value.criteria for one in _requests(chain) if one.value.criteria)
    chain.evaluate(WEIGHTS, criteria, builder="third")
    found = judge(chain)
    assert not found.failures
    assert {MODEL, WEIGHTS, RESULTS, artifact("data")} <= found.reproduced
    assert facts_of(found)["custody.chain_reproduced"] is True


def test_a_second_making_from_fewer_inputs_fails_the_chain_and_counts_for_nothing() -> None:
    chain = made()
    chain.step("package", {"model": WEIGHTS, "code": artifact("code")}, {"model": MODEL}, builder="other")
    found = judge(chain)
    assert {one.code for one in found.failures} == {"made-otherwise"}
    assert found.reproduced == frozenset()


@pytest.mark.parametrize(
    ("again", "lab"),
    [
        pytest.param(lambda c: c.package(), {}, id="the same builder again"),
        pytest.param(
            lambda c: c.package(builder="other"),
            {"builder_operators": {"builder": "ada", "other": "ada"}},
            id="another builder of the same operator",
        ),
        pytest.param(
            lambda c: c.package(builder="other"),
            {"builder_operators": {"builder": "ada", "other": "coder"}},
            id="a builder of the operator's own agent",
        ),
        pytest.param(lambda c: c.package(builder=None), {}, id="a member's own word"),
        pytest.param(lambda c: c.package(builder="other", step="packed"), {}, id="a step of another name"),
        pytest.param(
            lambda c: c.package(builder="other", alter=lambda r: replace(r, inputs=_other_parameters(r.inputs))),
            {},
            id="other code",
        ),
        pytest.param(
            lambda c: c.package(
                builder="other",
                alter_provenance=lambda p: replace(p, dependencies=(*p.dependencies[:-1], _other_runtime(p))),
            ),
            {},
            id="another runtime",
        ),
        pytest.param(
            lambda c: c.step(
                "package",
                {"model": WEIGHTS, "results": RESULTS, "code": artifact("code")},
                {"copy": MODEL},
                builder="other",
            ),
            {},
            id="an output of another name",
        ),
        pytest.param(
            lambda c: c.step(
                "package",
                {"model": WEIGHTS, "results": RESULTS, "code": artifact("code")},
                {"model": artifact("model that differs")},
                builder="other",
            ),
            {},
            id="another output",
        ),
        pytest.param(
            lambda c: c.package(builder="other", alter=lambda r: replace(r, command=("sh",))), {}, id="another command"
        ),
    ],
)
def test_what_is_no_second_making_of_the_same_does_not_count(again: Again, lab: dict[str, Any]) -> None:
    chain = made(**lab)
    again(chain)
    found = judge(chain)
    assert not found.failures
    assert found.reproduced == frozenset()
    facts = facts_of(found)
    assert facts["custody.reproduced"] is facts["custody.chain_reproduced"] is False


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(
            lambda c: c.package(builder="other", alter_provenance=lambda p: replace(p, level=3)), id="above its level"
        ),
        pytest.param(
            lambda c: c.package(builder="other", alter_provenance=lambda p: replace(p, sandbox="none")),
            id="without a sandbox",
        ),
        pytest.param(
            lambda c: c.package(
                builder="other", alter_provenance=lambda p: replace(p, outputs=(*p.outputs, Output("x", artifact("x"))))
            ),
            id="other outputs than it was asked for",
        ),
    ],
)
def test_a_second_making_that_fails_reproduces_nothing_and_fails_the_chain(again: Again) -> None:
    chain = made()
    again(chain)
    found = judge(chain)
    assert found.failures
    assert found.reproduced == frozenset()


def test_a_second_making_without_its_request_reproduces_nothing() -> None:
    chain = made()
    asked, _ = chain.package(builder="other")
    entries = tuple(entry for entry in chain.entries(MODEL) if entry.index != asked)
    found = examine(
        MODEL,
        entries,
        lab=chain.lab.name,
        resource=AURORA,
        timeline=chain.timeline,
        suspended=Suspended(frozenset(), frozenset()),
    )
    assert [failure.code for failure in found.failures] == ["step-request-missing"]
    assert found.reproduced == frozenset()


def _requests(chain: MadeChain) -> Any:
    from keyturn.custody.evidence import read

    return read(chain.entries(MODEL), lab=chain.lab.name, timeline=chain.timeline).requests


def _other_parameters(inputs: Any) -> Any:
    return tuple(replace(one, digest=str(artifact("other"))) if one.role == "code" else one for one in inputs)


def _other_runtime(made: Any) -> Any:
    return replace(made.dependencies[-1], digest=artifact("other runtime"))
