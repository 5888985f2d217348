"""What a release request must name is computed from the witnessed log, under the caller's own root, or not at all."""

from __future__ import annotations

import pytest

from keyturn.app.custody.open_release import ReleaseDraft, open_release, release_subjects, review_release
from keyturn.bulk.read_chain import LogReading, claimed_size
from keyturn.errors import Malformed, Refused, Tampered, Unavailable
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.statement import Subject
from keyturn.ports import LogReader
from support.chains import AURORA, MadeChain, artifact, changed
from support.hidden import hidden_leaf
from support.labs import NOW, Lab, make_lab
from support.witnessed import log_of, publish, witnessed_note

MODEL = artifact("model")


@pytest.fixture
def chain() -> MadeChain:
    made = MadeChain(make_lab(humans=("ada", "bob", "cyd")))
    made.build()
    return made


def opened(chain: MadeChain, log: LogReader, *, lab: Lab | None = None, now: int = NOW) -> ReleaseDraft:
    lab = lab or chain.lab
    return open_release(
        log, root_json=lab.root_json, pinned_sha256=lab.root_sha256, model=MODEL, resource=AURORA, now=now
    )


def test_the_subjects_are_the_model_and_the_index_of_its_chain(chain: MadeChain) -> None:
    draft = opened(chain, log_of(chain.lab, chain.records))
    assert [str(subject.digest.artifact) for subject in draft.subjects] == [
        str(MODEL),
        f"sha256:{chain.index(MODEL).digest}",
    ]
    assert (draft.chain.failures, draft.facts["custody.verified"]) == ((), True)


def test_a_chain_that_fails_is_shown_with_its_failures(chain: MadeChain) -> None:
    draft = opened(chain, log_of(chain.lab, chain.records[:-1]))
    assert [failure.code for failure in draft.chain.failures] == ["model-not-made"]
    assert draft.facts["custody.verified"] is False


def test_another_root_than_the_pinned_one_is_refused(chain: MadeChain) -> None:
    with pytest.raises(Refused):
        opened(chain, log_of(chain.lab, chain.records), lab=make_lab(humans=("eve", "mal")))


def test_a_log_without_its_witnesses_is_not_believed(chain: MadeChain) -> None:
    log = log_of(chain.lab, chain.records)
    tree = log.settle()
    log.swap("checkpoint", log.note("checkpoint"), witnessed_note(chain.lab, tree.size, tree.root, witnesses=()))
    with pytest.raises(Refused) as caught:
        opened(chain, log)
    assert caught.value.code == "checkpoint-quorum"


def test_other_leaves_than_the_witnesses_saw_are_tampering(chain: MadeChain) -> None:
    log = log_of(chain.lab, chain.records)
    reading = LogReading(
        log_of(chain.lab, (*chain.records[:-2], chain.records[-1], chain.records[-2])),
        root_json=chain.lab.root_json,
        pinned_sha256=chain.lab.root_sha256,
    )
    reading.to(claimed_size(log.checkpoint()))
    with pytest.raises(Tampered) as caught:
        reading.verify(log.checkpoint(), now=NOW)
    assert caught.value.code == "log-other-leaves"


def test_a_leaf_that_lies_about_its_record_is_tampering(chain: MadeChain) -> None:
    log = log_of(chain.lab, chain.records[:-1])
    raw = chain.records[-1]
    log.append_leaf(raw, changed(records.leaf_of(raw), about=(str(MODEL), f"sha256:{'1' * 64}")))
    publish(chain.lab, log)
    with pytest.raises(Tampered) as caught:
        opened(chain, log)
    assert caught.value.code == "log-leaf-lies"


def test_a_record_that_cannot_be_had_is_could_not_find_out(chain: MadeChain) -> None:
    log = log_of(chain.lab, chain.records)

    class WithoutLast:
        checkpoint, leaves, hashes = log.checkpoint, log.leaves, log.hashes

        def envelope(self, digest: Sha256) -> bytes:
            if digest == records.leaf_of(chain.records[-1]).envelope:
                raise Unavailable("envelope-unknown", "gone")
            return log.envelope(digest)

    with pytest.raises(Unavailable):
        opened(chain, WithoutLast())


@pytest.mark.parametrize(
    "stored", [b"gone: %d", b"nobody's record %d"], ids=["no envelope", "an envelope of no record"]
)
def test_what_nobody_can_read_closes_until_it_is_void(chain: MadeChain, stored: bytes) -> None:
    made, shadowed = records.leaf_of(chain.records[-1]), records.leaf_of(chain.records[2])
    left = (
        hidden_leaf("tgt", "version:2", number=1),
        hidden_leaf("sus", "member:ada", number=2, until=NOW + 9000),
        hidden_leaf("prv", str(MODEL), number=3),
        hidden_leaf("tst", str(MODEL), number=4),
        hidden_leaf("stp", "build:evaluate", str(MODEL), number=5, record=shadowed.record),
        changed(made, kind="tgt", envelope=shadowed.envelope[::-1]),
    )
    before = opened(chain, log_of(chain.lab, chain.records))
    for count in range(1, len(left) + 1):
        for void, code in (
            (range(1, 2), "envelope-unknown"),
            (range(len(chain.records), len(chain.records) + count), ""),
        ):
            log = log_of(chain.lab, chain.records)
            for number, leaf in enumerate(left[:count], 1):
                log.append_leaf(stored % number, leaf)
            lab = chain.lab.publish(void=(void,))
            log.append(lab.containers[-1])
            publish(lab, log)
            if code:
                with pytest.raises((Unavailable, Tampered, Malformed)):
                    opened(chain, log)
                continue
            after = opened(chain, log)
            assert after.facts == before.facts
            assert [one.index for one in after.index.statements] == [
                *(one.index for one in before.index.statements),
                len(chain.records) + count,
            ]


def test_what_is_void_counts_all_the_same_when_it_can_be_read(chain: MadeChain) -> None:
    log = log_of(chain.lab, chain.records)
    lab = chain.lab.publish(void=(range(len(chain.records)),))
    log.append(lab.containers[-1])
    publish(lab, log)
    statements = opened(chain, log_of(chain.lab, chain.records)).index.statements
    assert opened(chain, log).index.statements[:-1] == statements


def review(chain: MadeChain, log: LogReader, subjects: tuple[Subject, ...]) -> ReleaseDraft:
    lab = chain.lab
    return review_release(
        log, subjects, root_json=lab.root_json, pinned_sha256=lab.root_sha256, resource=AURORA, now=NOW
    )


def test_an_approver_computes_again_what_the_request_names_though_the_log_went_on(chain: MadeChain) -> None:
    asked = opened(chain, log_of(chain.lab, chain.records)).subjects
    chain.request("train", {"data": artifact("data")})
    found = review(chain, log_of(chain.lab, chain.records), asked)
    assert found.subjects == asked
    assert [step.value.build for step in found.chain.steps] == ["ingest", "train", "evaluate", "package"]


def test_an_index_that_leaves_a_failed_result_out_is_not_approved_unseen(chain: MadeChain) -> None:
    # Only a gate that is taken over would act on it; an approver who signs what he is shown would have agreed to it.
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.evaluate(artifact("weights"), criteria, name="again", alter_result=lambda r: changed(r, passed=False))
    log = log_of(chain.lab, chain.records)
    index = opened(chain, log).index
    assert [f.code for f in review(chain, log, release_subjects(index)).chain.failures] == [
        "evaluation-failed",
        "evaluation-result-false",
    ]
    kept = index.statements[:-1]
    for lie in (
        release_subjects(changed(index, statements=kept)),
        release_subjects(
            chain.index(MODEL, as_of=NOW + 86400)
        ),  # as of a time to come: who is suspended now is left out
        opened(chain, log).subjects[:1],
    ):
        with pytest.raises(Refused) as caught:
            review(chain, log, lie)
        assert caught.value.code == "release-subjects"


def test_expired_trust_opens_no_release(chain: MadeChain) -> None:
    with pytest.raises(Refused):
        opened(chain, log_of(chain.lab, chain.records, at=NOW + 400 * 86400), now=NOW + 400 * 86400)


def test_a_long_log_is_read_in_batches(chain: MadeChain) -> None:
    reading = LogReading(
        log_of(chain.lab, chain.records), root_json=chain.lab.root_json, pinned_sha256=chain.lab.root_sha256
    )
    assert reading.to(3).size == 3
    assert reading.to(len(chain.records)) == chain.frontier
