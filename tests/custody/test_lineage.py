"""The lineage of an artifact, both ways."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from keyturn.custody.evidence import read
from keyturn.custody.lineage import Lineage, link
from support.chains import MadeChain, artifact
from support.labs import make_lab


def lineage_of(chain: MadeChain, name: str) -> Lineage:
    entries = chain.entries(artifact(name))
    return link(read(entries, lab=chain.lab.name, timeline=chain.timeline).provenance)


@pytest.fixture
def chain() -> MadeChain:
    made = MadeChain(make_lab())
    made.build()
    return made


def test_behind_a_model_is_everything_that_it_was_made_from(chain: MadeChain) -> None:
    found = lineage_of(chain, "model")
    assert [s.value.build for s in found.behind(artifact("model"))] == ["ingest", "train", "evaluate", "package"]
    assert found.sources(artifact("model")) == (artifact("raw"),)


def test_ahead_of_data_is_everything_that_was_made_from_it(chain: MadeChain) -> None:
    found = lineage_of(chain, "model")
    assert [s.value.build for s in found.ahead(artifact("data"))] == ["train", "evaluate", "package"]
    assert [s.value.build for s in found.ahead(artifact("raw"))] == ["ingest", "train", "evaluate", "package"]


def test_what_nobody_made_or_took_has_no_lineage(chain: MadeChain) -> None:
    found = lineage_of(chain, "model")
    assert found.behind(artifact("raw")) == found.ahead(artifact("model")) == ()
    assert found.cycle() == ()


def test_a_chain_of_twenty_thousand_steps_is_walked_without_recursion(chain: MadeChain) -> None:
    one = read(chain.entries(artifact("model")), lab=chain.lab.name, timeline=chain.timeline).provenance[0]
    digests = [artifact(f"a{n}") for n in range(20_001)]
    steps = [
        replace(
            one,
            index=n,
            value=replace(
                one.value,
                dependencies=(replace(one.value.dependencies[0], digest=digests[n], role="input"),),
                outputs=(replace(one.value.outputs[0], digest=digests[n + 1]),),
            ),
        )
        for n in range(20_000)
    ]
    found = link(steps)
    assert len(found.behind(digests[-1])) == len(found.ahead(digests[0])) == 20_000
    assert found.cycle() == ()
