"""A witness cosigns only a log that grows: C2SP tlog-witness, rule by rule."""

from __future__ import annotations

import pytest

from keyturn.errors import Malformed
from keyturn.formats.checkpoint import Checkpoint
from keyturn.tlog import merkle
from keyturn.tlog.witness import Cosign, Refusal, WitnessState, cosign_decision

ORIGIN = "acme.example/log"


def state(tree, size):
    return WitnessState(size, tree.root(size))


def offer(tree, old, new):
    return Checkpoint(ORIGIN, new, tree.root(new)), merkle.consistency_proof(old, new, tree.read)


def test_a_log_that_grows_is_cosigned_from_any_size_to_any_larger_one(slow_tree):
    tree = slow_tree(20)
    for new in range(21):
        for old in range(new + 1):
            checkpoint, proof = offer(tree, old, new)
            decision = cosign_decision(state(tree, old), old, proof, checkpoint)
            assert decision == Cosign(WitnessState(new, tree.root(new)))


def test_a_log_never_seen_is_cosigned_at_any_size(slow_tree):
    checkpoint, _ = offer(slow_tree(9), 0, 9)
    assert cosign_decision(WitnessState.empty(), 0, (), checkpoint) == Cosign(WitnessState(9, checkpoint.root))


def refusal(decision):
    assert isinstance(decision, Refusal)
    return decision.code, decision.status, decision.size, decision.evidence


def test_a_log_never_goes_back(slow_tree):
    tree = slow_tree(9)
    checkpoint, _ = offer(tree, 0, 5)
    assert refusal(cosign_decision(state(tree, 9), 9, (), checkpoint)) == ("going-back", 400, 9, False)
    assert refusal(cosign_decision(state(tree, 9), 5, (), checkpoint)) == ("other-size", 409, 9, False)


def test_a_log_that_does_not_know_the_witness_s_size_is_told(slow_tree):
    tree = slow_tree(9)
    checkpoint, proof = offer(tree, 4, 9)
    assert refusal(cosign_decision(state(tree, 6), 4, proof, checkpoint)) == ("other-size", 409, 6, False)
    assert refusal(cosign_decision(state(tree, 6), 0, (), checkpoint)) == ("other-size", 409, 6, False)
    assert refusal(cosign_decision(WitnessState.empty(), 4, proof, checkpoint)) == ("other-size", 409, 0, False)


def test_a_fork_at_the_same_size_is_refused_and_kept_as_evidence(slow_tree):
    forked = Checkpoint(ORIGIN, 9, b"\x66" * 32)
    decision = cosign_decision(state(slow_tree(9), 9), 9, (), forked)
    assert refusal(decision) == ("forked", 422, 9, True)


def test_a_fork_at_a_larger_size_is_refused_and_kept_as_evidence(slow_tree):
    tree = slow_tree(9)
    _, proof = offer(tree, 5, 9)
    forked = Checkpoint(ORIGIN, 9, b"\x66" * 32)
    assert refusal(cosign_decision(state(tree, 5), 5, proof, forked)) == ("not-consistent", 422, 5, True)


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [
        pytest.param(5, 9, (), id="no proof"),
        pytest.param(5, 9, (bytes(32),) * 3, id="a made-up proof"),
        pytest.param(0, 9, (bytes(32),), id="a proof from nothing"),
        pytest.param(9, 9, (bytes(32),), id="a proof between equals"),
        pytest.param(5, 9, (bytes(31),), id="a hash of 31 bytes"),
    ],
)
def test_a_proof_that_proves_nothing_is_refused(slow_tree, old, new, proof):
    tree = slow_tree(9)
    checkpoint, _ = offer(tree, old, new)
    assert refusal(cosign_decision(state(tree, old), old, proof, checkpoint))[:2] == ("not-consistent", 422)


def test_an_empty_log_has_the_empty_root_only():
    decision = cosign_decision(WitnessState.empty(), 0, (), Checkpoint(ORIGIN, 0, bytes(32)))
    assert refusal(decision) == ("empty-root", 422, 0, False)


@pytest.mark.parametrize(
    ("size", "root"),
    [
        pytest.param(-1, bytes(32), id="a negative size"),
        pytest.param(3, bytes(31), id="a short root"),
        pytest.param(0, bytes(32), id="no leaves and another root than the empty tree's"),
    ],
)
def test_a_state_that_no_log_has_is_refused(size, root):
    with pytest.raises(Malformed):
        WitnessState(size, root)
