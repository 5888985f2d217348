"""What a job that no builder started says of itself: its checkpoints, the attempts that go on from them, and its end."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.crypto.signers import SoftwareKey
from keyturn.custody.evidence import Entry
from keyturn.custody.verify import Chain, Suspended, examine
from keyturn.errors import Malformed
from keyturn.formats import dsse, provenance
from keyturn.formats.digest import Sha256
from keyturn.formats.provenance import BuilderId, Output
from keyturn.formats.steps import StepRequest
from support.chains import AURORA, MadeChain, artifact, changed
from support.labs import make_lab

KEY, OTHER = SoftwareKey.generate(), SoftwareKey.generate()
DATA = {"data": artifact("data"), "code": artifact("code")}
WEIGHTS = artifact("weights")


@pytest.fixture
def chain() -> MadeChain:
    made = MadeChain(make_lab())
    made.ingest()
    return made


def opened(chain: MadeChain, *, key: SoftwareKey = KEY, resumes: Sha256 | None = None, **more: Any) -> Any:
    """Log the request of an attempt by Ada."""
    inputs = {**DATA, **({"checkpoint": artifact("at 2")} if resumes else {}), **more.pop("inputs", {})}
    _, made, digest = chain.request(
        "train",
        inputs,
        builder=None,
        outputs=("model",),
        alter=lambda r: changed(r, attempt=key.public.text, resumes=resumes),
        **more,
    )
    return made, digest


def segment(
    chain: MadeChain, asked: tuple[StepRequest, Sha256], number: int, *, key: SoftwareKey = KEY, **more: Any
) -> int:
    return chain.provenance(
        *asked,
        {"checkpoint": artifact(f"at {number}")},
        key=key,
        alter=lambda p: changed(p, **{"segment": number, **more}),
    )


def closed(chain: MadeChain, asked: tuple[StepRequest, Sha256], *, key: SoftwareKey = KEY) -> int:
    return chain.provenance(*asked, {"model": WEIGHTS}, key=key)


def judge(chain: MadeChain, *, everything: bool = False) -> Chain:
    """Judge what is behind the model, or all that the log has."""
    whole = [Entry(index, raw) for index, raw in enumerate(chain.records) if raw.startswith(b'{"payload":')]
    return examine(
        WEIGHTS,
        whole if everything else chain.entries(WEIGHTS),
        lab=chain.lab.name,
        resource=AURORA,
        timeline=chain.timeline,
        suspended=Suspended(frozenset(), frozenset()),
    )


def wrong(chain: MadeChain) -> list[str]:
    return sorted({failure.code for failure in judge(chain, everything=True).failures})


def test_a_model_is_traced_through_every_attempt_that_it_came_from(chain: MadeChain) -> None:
    first = opened(chain)
    for number in (1, 2):
        segment(chain, first, number)
    second = opened(chain, key=OTHER, resumes=first[1], member="bob")
    segment(chain, second, 3, key=OTHER)
    closed(chain, second, key=OTHER)
    found = judge(chain)
    assert found.failures == ()
    assert [(s.value.step, s.value.segment, s.value.builder.name) for s in found.steps] == [
        ("ingest", None, "builder"),
        ("train", 2, "ada"),
        ("train", None, "bob"),
    ]
    assert found.level_min == 1
    assert [str(one) for one in found.sources] == [str(artifact("raw"))]
    assert wrong(chain) == []


def test_what_no_member_asked_for_is_nobodys(chain: MadeChain) -> None:
    asked = opened(chain)
    segment(chain, asked, 1, key=OTHER)
    assert wrong(chain) == ["chain-signer-unknown", "model-not-made"]


def test_a_request_whose_attempt_names_no_key_opens_nothing_and_stops_nobody_from_reading(chain: MadeChain) -> None:
    _, made, digest = chain.request(
        "train", DATA, builder=None, outputs=("model",), alter=lambda r: changed(r, attempt="no key")
    )
    closed(chain, opened(chain))
    garbage = chain.provenance(made, digest, {"model": WEIGHTS}, key=KEY)
    found = judge(chain, everything=True)
    assert [step.value.build for step in found.steps] == ["ingest", "train"]
    assert found.failures == (), "nobody signed it whom trust lists, so it fails nothing"
    assert garbage not in {step.index for step in found.steps}


def test_the_key_of_an_attempt_signs_for_nobody_else_and_for_no_other_request(chain: MadeChain) -> None:
    ada, _, plain = (
        opened(chain),
        opened(chain, key=OTHER),
        chain.request("train", DATA, builder=None, outputs=("model",)),
    )
    bobs = chain.provenance(
        ada[0],
        ada[1],
        {"model": WEIGHTS},
        key=KEY,
        alter=lambda p: changed(p, builder=BuilderId(p.lab, "member", "bob")),
    )
    of_no_attempt = chain.provenance(plain[1], plain[2], {"model": WEIGHTS}, key=KEY)
    unknown = chain.provenance(ada[0], Sha256("0" * 64), {"model": WEIGHTS}, key=KEY)
    found = judge(chain, everything=True)
    assert {(f.index, f.code) for f in found.failures if f.index in (bobs, of_no_attempt, unknown)} == {
        (index, "chain-signer-unknown") for index in (bobs, of_no_attempt, unknown)
    }
    assert found.steps[-1].value.build == "ingest"


def test_what_another_member_signed_in_adas_name_fails_the_chain_for_whoever_did_it(chain: MadeChain) -> None:
    asked = opened(chain)
    closed(chain, asked)
    closed(chain, asked, key=chain.lab.member_keys["bob"])
    assert wrong(chain) == ["chain-signer-unknown"]


def test_an_attempt_says_nothing_before_it_was_asked_for(chain: MadeChain) -> None:
    later = MadeChain(make_lab())
    later.ingest()
    asked = opened(later)
    segment(later, asked, 1)
    later.records[-2:] = reversed(later.records[-2:])
    assert "chain-signer-unknown" in wrong(later)


def test_nothing_is_logged_of_an_attempt_that_is_over(chain: MadeChain) -> None:
    asked = opened(chain)
    closed(chain, asked)
    segment(chain, asked, 1)
    assert wrong(chain) == ["segment-late"]
    closed(chain, asked)
    assert wrong(chain) == ["segment-late", "step-request-reused"]


def test_each_checkpoint_has_a_number_of_its_own(chain: MadeChain) -> None:
    asked = opened(chain)
    segment(chain, asked, 1)
    segment(chain, asked, 1, finished_at=chain.now + 2)
    closed(chain, asked)
    assert wrong(chain) == ["step-request-reused"]


def test_a_step_that_is_no_attempt_has_no_segments(chain: MadeChain) -> None:
    _, made, digest = chain.request("train", DATA, outputs=("model",))
    chain.provenance(made, digest, {"checkpoint": WEIGHTS}, alter=lambda p: changed(p, segment=1))
    assert wrong(chain) == ["segment-of-no-attempt"]


def test_whoever_goes_on_takes_a_checkpoint_of_the_attempt_that_he_names(chain: MadeChain) -> None:
    first, other = opened(chain), opened(chain)
    segment(chain, first, 2)
    closed(chain, opened(chain, resumes=other[1]))
    assert wrong(chain) == ["resumes-other"]


@pytest.mark.parametrize(
    "change", [{"attempt": None}, {"builder": "builder"}, {"criteria": "0" * 64}, {"outputs": ("checkpoint",)}, {}]
)
def test_a_request_of_an_attempt_that_makes_no_sense_is_refused(chain: MadeChain, change: dict[str, Any]) -> None:
    asked, digest = opened(chain)
    with pytest.raises(ValueError, match=r"attempt|criteria"):
        changed(asked, **{"resumes": digest, **change})


@pytest.mark.parametrize("change", [{"segment": 0}, {"segment": 10**7}, {"outputs": (Output("model", WEIGHTS),)}])
def test_a_segment_has_a_number_and_one_checkpoint(chain: MadeChain, change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        segment(chain, opened(chain), 1, **change)


def test_a_segment_is_read_as_it_was_made(chain: MadeChain) -> None:
    index = segment(chain, opened(chain), 7)
    assert provenance.read(dsse.parse_own(chain.records[index]).payload).segment == 7
