"""A checkpoint is believed when the log signed it and the quorum of its witnesses cosigned it, and never else."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.formats import cosignature, note
from keyturn.formats.note import NoteSignature
from keyturn.tlog import signing
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint

NOW = 1_790_000_000
FOUR = {"w1": NOW, "w2": NOW - 10, "w3": NOW - 20, "w4": NOW - 30}


def verify(lab, raw, *, now=NOW, skew_s=60):
    return verify_checkpoint(raw, lab.log, now=now, skew_s=skew_s)


def refused(lab, raw, **arguments):
    with pytest.raises(KeyturnError) as caught:
        verify(lab, raw, **arguments)
    return caught.value.code


def lines(raw):
    """Split a signed checkpoint into its body with the blank line, and its signature lines."""
    body, _, signatures = raw.rpartition(b"\n\n")
    return body + b"\n\n", signatures.splitlines(keepends=True)


def test_the_quorum_makes_a_witnessed_checkpoint(log_lab):
    checkpoint = log_lab.checkpoint()
    raw = log_lab.note(checkpoint, FOUR)
    witnessed = verify(log_lab, raw)
    assert witnessed.checkpoint == checkpoint
    assert witnessed.cosigners == {"w1", "w2", "w3", "w4"}
    assert witnessed.note == raw


def test_the_time_is_the_quorum_th_newest_so_one_lying_witness_cannot_make_it_newer(log_lab):
    checkpoint = log_lab.checkpoint()
    honest = verify(log_lab, log_lab.note(checkpoint, FOUR | {"w5": NOW - 40}))
    lying = verify(log_lab, log_lab.note(checkpoint, FOUR | {"w5": NOW + 10**9}))
    assert honest.cosigned_at == NOW - 30
    assert lying.cosigned_at == NOW - 20 <= max(FOUR.values())


def test_one_cosignature_short_of_the_quorum_is_refused_by_name(log_lab):
    raw = log_lab.note(log_lab.checkpoint(), {name: FOUR[name] for name in ("w1", "w2", "w3")})
    assert refused(log_lab, raw) == "checkpoint-quorum"


def test_no_cosignature_at_all_is_refused(log_lab):
    assert refused(log_lab, log_lab.note(log_lab.checkpoint(), {})) == "checkpoint-quorum"


def test_one_witness_signing_twice_counts_once_with_its_newest_time(log_lab):
    checkpoint = log_lab.checkpoint()
    three = log_lab.note(checkpoint, {"w1": NOW - 500, "w2": NOW - 10, "w3": NOW - 20})
    again = note.render(note.parse(three).with_signatures(log_lab.cosignature(checkpoint, "w1", NOW)))
    assert refused(log_lab, again) == "checkpoint-quorum"
    four = note.render(note.parse(again).with_signatures(log_lab.cosignature(checkpoint, "w4", NOW - 30)))
    assert verify(log_lab, four).cosigned_at == NOW - 30
    older_last = note.render(note.parse(four).with_signatures(log_lab.cosignature(checkpoint, "w4", NOW - 900)))
    assert verify(log_lab, older_last).cosigned_at == NOW - 30


def test_the_same_line_pasted_twice_counts_once(log_lab):
    body, signatures = lines(log_lab.note(log_lab.checkpoint(), {"w1": NOW, "w2": NOW, "w3": NOW}))
    assert refused(log_lab, body + b"".join([*signatures, signatures[-1]])) == "checkpoint-quorum"


def test_strangers_are_ignored_and_do_not_count(log_lab, new_key):
    checkpoint = log_lab.checkpoint()
    strangers = [
        signing.cosign(checkpoint, name="stranger", key=new_key(99), at=NOW),
        signing.cosign(checkpoint, name="w5", key=new_key(99), at=NOW),  # a known name, another key
        NoteSignature("stranger", b"\x00\x00\x00\x00", b"x"),
    ]
    three = note.parse(log_lab.note(checkpoint, {"w1": NOW, "w2": NOW, "w3": NOW})).with_signatures(*strangers)
    assert refused(log_lab, note.render(three)) == "checkpoint-quorum"
    four = three.with_signatures(log_lab.cosignature(checkpoint, "w4", NOW))
    assert verify(log_lab, note.render(four)).cosigners == {"w1", "w2", "w3", "w4"}


def test_the_log_cannot_cosign_for_its_witnesses(log_lab):
    checkpoint = log_lab.checkpoint()
    made = [signing.cosign(checkpoint, name=name, key=log_lab.log_key, at=NOW) for name in FOUR]
    raw = note.render(signing.sign_checkpoint(checkpoint, log_lab.log_key).with_signatures(*made))
    assert refused(log_lab, raw) == "checkpoint-quorum"


def test_witnesses_without_the_log_are_refused(log_lab):
    body, signatures = lines(log_lab.note(log_lab.checkpoint(), FOUR))
    assert refused(log_lab, body + b"".join(signatures[1:])) == "checkpoint-unsigned"


def test_a_checkpoint_of_another_log_is_refused_though_the_same_keys_signed_it(log_lab):
    raw = log_lab.note(log_lab.checkpoint(origin="evil.example/log"), FOUR)
    assert refused(log_lab, raw) == "checkpoint-other-log"


def test_a_key_used_for_another_type_of_signature_does_not_count(log_lab):
    # w4's own key signs the bare body as type 0x01: not a cosignature.
    checkpoint = log_lab.checkpoint()
    raw = note.parse(log_lab.note(checkpoint, {"w1": NOW, "w2": NOW, "w3": NOW}))
    key = log_lab.witness_keys["w4"]
    plain = NoteSignature("w4", note.key_id("w4", note.ED25519, key.public.raw_ed25519), key.sign(raw.text))
    assert refused(log_lab, note.render(raw.with_signatures(plain))) == "checkpoint-quorum"


def test_a_wrong_signature_under_a_known_key_condemns_the_whole_note(log_lab):
    checkpoint = log_lab.checkpoint()
    good = note.parse(log_lab.note(checkpoint, FOUR))
    other = log_lab.cosignature(log_lab.checkpoint(size=4), "w5", NOW)
    assert refused(log_lab, note.render(good.with_signatures(other))) == "checkpoint-signature"
    log_line = good.signatures[0]
    wrong = dataclasses.replace(log_line, signature=bytes(64))
    assert refused(log_lab, note.render(good.with_signatures(wrong))) == "checkpoint-signature"


@pytest.mark.parametrize("length", [1, 64, 71, 73])
def test_a_cosignature_of_another_length_under_a_known_key_is_malformed(log_lab, length):
    good = note.parse(log_lab.note(log_lab.checkpoint(), FOUR))
    wrong = dataclasses.replace(good.signatures[1], signature=bytes(length))
    assert refused(log_lab, note.render(good.with_signatures(wrong))) == "cosignature-length"


@pytest.mark.parametrize("time", [0, 2**63, 2**64 - 1])
def test_a_cosignature_at_an_impossible_time_is_malformed(log_lab, time):
    good = note.parse(log_lab.note(log_lab.checkpoint(), FOUR))
    wrong = dataclasses.replace(good.signatures[1], signature=time.to_bytes(8, "big") + bytes(64))
    assert refused(log_lab, note.render(good.with_signatures(wrong))) == "cosignature-time"


def test_a_changed_time_breaks_the_cosignature(log_lab):
    good = note.parse(log_lab.note(log_lab.checkpoint(), FOUR))
    made = cosignature.parse(good.signatures[1].signature)
    later = cosignature.render(dataclasses.replace(made, time=made.time + 1))
    wrong = dataclasses.replace(good.signatures[1], signature=later)
    signatures = (good.signatures[0], wrong, *good.signatures[2:])
    assert refused(log_lab, note.render(note.Note(good.text, signatures))) == "checkpoint-signature"


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        pytest.param(NOW - 30 - 60, None, id="exactly the skew that is allowed"),
        pytest.param(NOW - 30 - 61, "clock-skew", id="one second more"),
        pytest.param(0, "clock-skew", id="a clock set back to the beginning"),
        pytest.param(NOW + 10**6, None, id="later: freshness is judged elsewhere"),
        pytest.param(None, None, id="the past is judged without a clock"),
    ],
)
def test_a_clock_behind_the_witnesses_is_refused_by_name(log_lab, now, verdict):
    raw = log_lab.note(log_lab.checkpoint(), FOUR)
    if verdict is None:
        verify(log_lab, raw, now=now)
    else:
        assert refused(log_lab, raw, now=now) == verdict


def test_an_empty_log_has_the_empty_root_only(log_lab):
    assert refused(log_lab, log_lab.note(log_lab.checkpoint(size=0), FOUR)) == "checkpoint-empty-root"


def test_no_single_flipped_bit_is_accepted(log_lab):
    raw = log_lab.note(log_lab.checkpoint(), FOUR)
    for position in range(len(raw)):
        for bit in (0, 3, 6):
            altered = bytearray(raw)
            altered[position] ^= 1 << bit
            with pytest.raises((Malformed, Refused)):
                verify(log_lab, bytes(altered))


def test_a_truncated_note_is_never_accepted(log_lab):
    raw = log_lab.note(log_lab.checkpoint(), FOUR)
    for end in range(len(raw)):
        with pytest.raises((Malformed, Refused)):
            verify(log_lab, raw[:end])


def test_nobody_else_makes_a_witnessed_checkpoint(log_lab):
    witnessed = verify(log_lab, log_lab.note(log_lab.checkpoint(), FOUR))
    with pytest.raises(TypeError):
        WitnessedCheckpoint(log_lab.checkpoint(), NOW, frozenset(), b"", made_by=object())
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(witnessed, cosigned_at=NOW + 1)
    for escape in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            escape(witnessed)
