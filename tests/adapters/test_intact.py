"""What this process wrote as leaves is not parsed again, and is trusted in nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.adapters.log_on_disk import batch
from keyturn.adapters.log_on_disk import intact as reading
from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.intact import NO_LEAF, Written, intact
from keyturn.formats import leaf as leaf_format
from keyturn.formats.records import leaf_of
from keyturn.tlog.frontier import Frontier
from support.log_records import make_records

ENVELOPES = make_records(3)
LEAVES = tuple(leaf_format.render(leaf_of(raw)) for raw in ENVELOPES)
WRITTEN = Written(LEAVES, tuple(leaf_of(raw).envelope for raw in ENVELOPES))


def made(envelopes: list[bytes], leaves: tuple[bytes, ...]) -> Batch:
    found = batch.parse(batch.render(0, envelopes, leaves, Frontier.empty().extend(leaves).nodes))
    assert found is not None
    return found


def test_what_this_process_wrote_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(ENVELOPES, LEAVES)
    assert intact(found) == found
    monkeypatch.setattr(reading, "_named", None)
    assert intact(found, WRITTEN) is found
    with pytest.raises(TypeError):
        intact(found)


def test_a_text_that_was_put_in_the_place_of_what_this_process_wrote_is_read_as_what_it_is() -> None:
    found = made(ENVELOPES, (LEAVES[0], b"no leaf", LEAVES[2]))
    assert intact(found, WRITTEN) == replace(found, leaves=(LEAVES[0], NO_LEAF, LEAVES[2]))


def test_an_envelope_that_is_not_the_one_that_its_leaf_names_is_not_found_though_this_process_wrote_it() -> None:
    found = made([ENVELOPES[0], b"gone", ENVELOPES[2]], LEAVES)
    places = (found.places[0], (found.places[1][0], 0), found.places[2])
    assert intact(found, WRITTEN) == intact(found) == replace(found, places=places)
