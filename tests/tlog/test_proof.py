"""An offline proof shows that a leaf is in the witnessed log, to whoever computes the leaf itself."""

from __future__ import annotations

import dataclasses

import pytest

from keyturn.errors import KeyturnError, Malformed, Refused, Tampered
from keyturn.formats import tlog_proof
from keyturn.formats.checkpoint import Checkpoint
from keyturn.tlog.proof import make_proof, verify_proof
from keyturn.tlog.verify_checkpoint import verify_checkpoint

NOW = 1_790_000_000
FOUR = dict.fromkeys(("w1", "w2", "w3", "w4"), NOW)


@pytest.fixture(scope="module")
def tree(slow_tree):
    return slow_tree(21)


@pytest.fixture(scope="module")
def proof(log_lab, tree):
    checkpoint = Checkpoint(log_lab.log.origin, 21, tree.root(21))
    witnessed = verify_checkpoint(log_lab.note(checkpoint, FOUR), log_lab.log, now=NOW, skew_s=60)
    return make_proof(13, witnessed, tree.read, leaf=tree.leaves[13])


def verify(log_lab, proof, leaf):
    return verify_proof(proof, leaf, log_lab.log, now=NOW, skew_s=60)


def test_a_proof_survives_its_text_and_verifies(log_lab, tree, proof):
    again = tlog_proof.parse(tlog_proof.render(proof))
    assert again == proof
    assert again.extra == tree.leaves[13]
    assert verify(log_lab, again, tree.leaves[13]).cosigned_at == NOW


def test_another_leaf_or_another_place_is_tampering(log_lab, tree, proof):
    with pytest.raises(Tampered):
        verify(log_lab, proof, tree.leaves[12])
    with pytest.raises(Tampered):
        verify(log_lab, dataclasses.replace(proof, index=12), tree.leaves[13])


def test_the_extra_data_is_never_believed(log_lab, tree, proof):
    lying = dataclasses.replace(proof, extra=tree.leaves[12])
    verify(log_lab, lying, tree.leaves[13])
    with pytest.raises(Tampered):
        verify(log_lab, lying, tree.leaves[12])


def test_a_leaf_past_the_end_of_the_log_is_malformed(log_lab, tree, proof):
    with pytest.raises(Malformed) as caught:
        verify(log_lab, dataclasses.replace(proof, index=21), tree.leaves[13])
    assert caught.value.code == "tlog-proof-index"


def test_a_proof_under_too_few_witnesses_is_refused(log_lab, tree, proof):
    short = log_lab.note(Checkpoint(log_lab.log.origin, 21, tree.root(21)), {"w1": NOW})
    with pytest.raises(Refused):
        verify(log_lab, dataclasses.replace(proof, note=short), tree.leaves[13])


def test_no_single_changed_byte_of_a_proof_is_accepted_for_the_leaf(log_lab, tree, proof):
    bare = tlog_proof.render(dataclasses.replace(proof, extra=None))
    for position in range(len(bare)):
        for flip in (0x01, 0x20):
            altered = bytearray(bare)
            altered[position] ^= flip
            with pytest.raises(KeyturnError):
                verify(log_lab, tlog_proof.parse(bytes(altered)), tree.leaves[13])
