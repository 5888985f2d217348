"""What this process wrote is read back and hashed as any batch is, and not taken apart again; it is trusted in nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.adapters.log_on_disk import batch
from keyturn.adapters.log_on_disk import intact as reading
from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.intact import NO_LEAF, intact
from keyturn.formats import leaf as leaf_format
from keyturn.formats.records import leaf_of
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from support.log_records import make_records

ENVELOPES = make_records(3)
LEAVES = tuple(leaf_format.render(leaf_of(raw)) for raw in ENVELOPES)
NAMED = tuple(leaf_of(raw).envelope for raw in ENVELOPES)


def rendered(envelopes: list[bytes], leaves: tuple[bytes, ...]) -> tuple[bytes, Batch]:
    """The bytes of a batch, and what the process that wrote them keeps of it."""
    frontier = Frontier.empty().extend(leaves).nodes
    raw = batch.render(0, envelopes, leaves, frontier)
    hashes = merkle.leaf_hashes(leaves)
    return raw, batch.written(raw, 0, envelopes=envelopes, leaves=leaves, hashes=hashes, frontier=frontier, named=NAMED)


def parsed(raw: bytes, known: Batch | None = None) -> Batch:
    found = batch.parse(raw, known)
    assert found is not None
    return found


def test_what_this_process_wrote_is_what_stands_there_and_is_not_taken_apart_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, written = rendered(ENVELOPES, LEAVES)
    found = parsed(raw)
    assert intact(found) == found
    monkeypatch.setattr(batch, "_split", None)
    monkeypatch.setattr(reading, "_named", None)
    assert parsed(raw, written) == replace(found, named=NAMED)
    assert intact(parsed(raw, written)) == replace(found, named=NAMED)
    with pytest.raises(TypeError):
        parsed(raw)


def test_a_batch_that_was_put_in_the_place_of_what_this_process_wrote_is_read_as_what_it_is() -> None:
    _, written = rendered(ENVELOPES, LEAVES)
    raw, _ = rendered(ENVELOPES, (LEAVES[0], b"no leaf", LEAVES[2]))
    found = parsed(raw, written)
    assert found == parsed(raw)
    assert intact(found) == replace(found, leaves=(LEAVES[0], NO_LEAF, LEAVES[2]))


def test_what_this_process_wrote_and_is_damaged_is_not_intact() -> None:
    raw, written = rendered(ENVELOPES, LEAVES)
    for at in (0, 40, len(raw) // 2, len(raw) - 1):
        assert batch.parse(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], written) is None


def test_an_envelope_that_is_not_the_one_that_its_leaf_names_is_not_found_though_this_process_wrote_it() -> None:
    raw, written = rendered([ENVELOPES[0], b"gone", ENVELOPES[2]], LEAVES)
    found = parsed(raw)
    places = (found.places[0], (found.places[1][0], 0), found.places[2])
    assert intact(parsed(raw, written)) == replace(found, places=places, named=NAMED)
    assert intact(found) == replace(found, places=places)
