"""What the log got after the pack index that people approved."""

from __future__ import annotations

import pytest

from keyturn.custody.afterwards import carried, changed_since, says_nothing_more
from keyturn.custody.evidence import Failure
from keyturn.custody.verify import Chain, Suspended, examine, with_failures
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Kind, Leaf, render
from support.chains import AURORA, MadeChain, artifact
from support.labs import make_lab

REQUEST = Sha256("a" * 64)
WEIGHTS = artifact("weights")


@pytest.fixture
def chain() -> MadeChain:
    made = MadeChain(make_lab())
    made.build()
    return made


def judged(chain: MadeChain) -> Chain:
    return examine(
        artifact("model"),
        chain.entries(artifact("model")),
        lab=chain.lab.name,
        resource=AURORA,
        timeline=chain.timeline,
        suspended=Suspended(frozenset(), frozenset()),
    )


def since(chain: MadeChain, before: Chain, size: int) -> list[int | None]:
    return [failure.index for failure in changed_since(before, chain.leaves[size:], start=size)]


def test_what_is_about_other_things_changes_nothing(chain: MadeChain) -> None:
    before, size = judged(chain), len(chain.records)
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.step("train", {"data": artifact("data")}, {"model": artifact("other")})
    chain.evaluate(artifact("other"), criteria, name="others")
    assert since(chain, before, size) == []


def test_another_maker_a_result_and_a_wanted_evaluation_are_named(chain: MadeChain) -> None:
    before, size = judged(chain), len(chain.records)
    chain.train()  # request, provenance
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.evaluate(WEIGHTS, criteria, name="again")  # request, provenance of other results, result
    assert since(chain, before, size) == [size + 1, size + 3, size + 5]


@pytest.mark.parametrize(
    ("kind", "about", "expected"),
    [
        ("tgt", (), True),
        ("sus", ("member:ada",), True),
        ("lft", (f"suspension:{REQUEST}",), True),
        ("den", (f"request:{REQUEST}",), True),
        ("rev", (f"request:{'b' * 64}",), False),
        ("use", (f"request:{REQUEST}",), True),
        ("chk", ("gate:x",), False),
        ("prv", (), False),
        ("req", (), False),
    ],
)
def test_a_pack_must_hold_what_can_count_against_the_release(
    kind: Kind, about: tuple[str, ...], expected: bool
) -> None:
    one = Leaf(kind=kind, record="c" * 64, envelope="d" * 64, about=about)
    assert list(carried([b"no leaf", render(one)], REQUEST, start=7)) == [(8, one)] * expected


def test_a_pack_must_hold_the_request_itself() -> None:
    one = Leaf(kind="req", record=REQUEST, envelope="d" * 64)
    assert list(carried([render(one)], REQUEST, start=0)) == [(0, one)]


def test_text_that_is_no_leaf_is_about_no_chain(chain: MadeChain) -> None:
    assert list(changed_since(judged(chain), [b'{"kind":"prv"'], start=0)) == []


def test_failures_are_added_and_never_taken_away(chain: MadeChain) -> None:
    one = Failure(3, "x", "y")
    assert with_failures(with_failures(judged(chain), (one,)), ()).failures == (one,)


@pytest.mark.parametrize(
    ("kind", "said", "lacks"),
    [
        pytest.param("req", "the same", True, id="a request once more, by another envelope"),
        pytest.param("apr", "the same", True, id="an approval once more"),
        pytest.param("use", "the same", True, id="a use once more"),
        pytest.param("den", "the same", False, id="a denial that may stand there, and not where it is held"),
        pytest.param("sus", "the same", False, id="a suspension that may stand there"),
        pytest.param("den", "something else", True, id="a denial's twin that lies, and is of no record"),
        pytest.param("sus", "something else", True, id="a suspension's twin that lies"),
        pytest.param("tgt", "something else", False, id="a trust version"),
        pytest.param("req", "of another record", False, id="another request"),
        pytest.param("den", "of another kind", False, id="another kind of record"),
    ],
)
def test_a_pack_may_lack_what_is_of_no_record_or_gives_once_more_and_no_negative_that_could_be_real(
    kind: Kind, said: str, lacks: bool
) -> None:
    about = (f"request:{REQUEST}",)
    other: Kind = "rev" if said == "of another kind" else kind
    held = Leaf(kind=other, record="1" * 64, envelope="2" * 64, about=about, until=100)
    record = "3" * 64 if said == "of another record" else held.record
    until = 2**32 if said == "something else" else 100
    hidden = Leaf(kind=kind, record=record, envelope="4" * 64, about=about, until=until)
    assert says_nothing_more(hidden, (held,)) is lacks
    assert not says_nothing_more(hidden, ())
