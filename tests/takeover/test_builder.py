"""Taken: the builder's key. It lies about what it built, until it is removed; nothing is released for it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from keyturn.bulk.read_chain import claimed_size
from keyturn.formats import access, dsse, leaf, provenance, records, statement
from keyturn.formats.access import AccessUse
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.provenance import Provenance
from support.taken_lab import GATE, LAB, TakenLab, code_of, sign

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]


def packaged(lab: TakenLab) -> Provenance:
    """What the builder said of the step that made the model."""
    log = lab.log
    for raw in log.leaves(0, claimed_size(log.checkpoint())):
        one = leaf.parse(raw)
        if one.kind == "prv" and str(lab.model) in one.about:
            return provenance.read(dsse.parse_foreign(log.envelope(Sha256(one.envelope))).payload)
    raise AssertionError("the model's provenance is not in the log")


def approved(lab: TakenLab, asked: Envelope) -> list[Envelope]:
    given = [lab.approval(asked, member) for member in ("bob", "carol")]
    lab.submit(*given)
    return given


def said_to_be_made(lab: TakenLab, number: int, **changed: object) -> ArtifactDigest:
    """Another model, of which the builder's key says in the log that the packaging step made it."""
    evil = ArtifactDigest("dirHash", Sha256(f"{number:064x}"))
    honest = packaged(lab)
    lie = replace(honest, outputs=(replace(honest.outputs[0], digest=evil),), **changed)
    raw = dsse.render(sign(provenance.make(lie), lab.stolen("builder/key")))
    lab.witnessed(lab.log.append(raw), records.leaf_of(raw))
    return evil


def test_what_only_the_builder_knows_to_be_false_is_not_released_without_people(lab: TakenLab) -> None:
    asked = lab.ask(model=said_to_be_made(lab, 1))  # as the outcome of a step that Ada did ask for
    assert code_of(lambda: lab.release(asked)) == {"quorum-not-met"}
    given = [lab.approval(asked, member, key=lab.stolen("builder/key")) for member in ("bob", "carol")]
    lab.write(*map(dsse.render, given))
    assert code_of(lambda: lab.release(asked, *given)) == {"signature-invalid"}


@pytest.mark.parametrize(
    ("number", "changed", "code"),
    [
        pytest.param(2, {"request": Sha256("1" * 64)}, "step-request-missing", id="of a step that nobody asked for"),
        pytest.param(3, {"command": ("sh",)}, "step-differs", id="of a step that ran something else"),
        pytest.param(4, {"level": 3}, "builder-level", id="at a level that is not its own"),
        pytest.param(5, {"build": "ingest"}, "step-differs", id="of another kind of step"),
    ],
)
def test_a_model_that_the_builder_only_says_it_made_is_not_released(
    lab: TakenLab, number: int, changed: dict[str, object], code: str
) -> None:
    asked = lab.ask(model=said_to_be_made(lab, number, **changed))
    codes = code_of(lambda: lab.release(asked, *approved(lab, asked)))  # even when two people were deceived
    assert {"chain-refused", code} <= codes


def test_the_builders_key_asks_and_approves_nothing(lab: TakenLab) -> None:
    stolen, asked = lab.stolen("builder/key"), lab.ask()
    as_ada = sign(asked.payload, stolen, keyid=lab.key("ada").public.keyid)
    approvals = [lab.approval(asked, member, key=stolen) for member in ("bob", "carol")]
    for one in (as_ada, *approvals):
        assert code_of(lambda one=one: lab.log.append(dsse.render(one))) == {"signature-invalid"}
    use = AccessUse(
        lab=LAB,
        nonce="1" * 32,
        gate=str(GATE),
        key=stolen.public.keyid,
        request=asked.record_digest,
        approvals=(),
        used_at=1,
    )
    raw = dsse.render(lab.sign_as(use, asked.record_digest, stolen))
    assert code_of(lambda: lab.log.append(raw)) == {"gate-unknown"}
    lab.write(raw)
    assert statement.peek(dsse.parse_own(raw).payload) == access.ACCESS_USE
    assert lab.judged(lab.release(asked, *approved(lab, asked))) == set()
