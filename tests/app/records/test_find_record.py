"""Of several log entries that name one record, the one whose leaf is the record's own is found, or all of them are named."""

from __future__ import annotations

import pytest

from keyturn.app.records.find_record import find_entry
from keyturn.errors import Refused
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.records import leaf_of
from support.hidden import hidden_leaf
from support.world import Witnessed, World, make_world


def twin(world: World, record: Envelope, number: int) -> None:
    """An entry that names `record`, with the digest of an envelope that nobody has."""
    true = leaf_of(dsse.render(record))
    lie = hidden_leaf(true.kind, *true.about, number=number, record=true.record, until=true.until)
    world.log.append_leaf(b"gone: %d" % number, lie)


def entry_of(world: World, record: Envelope, *, lost: bool = False) -> int:
    gone = frozenset({sha256(dsse.render(record))}) if lost else frozenset()
    reader = Witnessed(world, lost=gone)
    return find_entry(reader, world.log, f"req-{record.record_digest[:16]}").index  # type: ignore[arg-type]  # by delegation


def test_the_entry_of_a_record_is_its_own_whatever_else_names_it_before_or_behind() -> None:
    world = make_world()
    envelope = world.ask()
    index = world.log.settle().size - 1
    assert entry_of(world, envelope) == index
    assert entry_of(world, envelope, lost=True) == index, "the only one that names it"
    twin(world, envelope, 1)
    twin(world, envelope, 2)
    assert entry_of(world, envelope) == index


def test_what_names_a_record_before_it_is_passed_over() -> None:
    world = make_world()
    other = make_world()
    envelope = other.ask()
    twin(world, envelope, 1)
    world.log.append(dsse.render(envelope))
    assert entry_of(world, envelope) == world.log.settle().size - 1


def test_all_that_name_a_record_are_named_when_its_text_cannot_be_had() -> None:
    world = make_world()
    asked = world.ask()
    index = world.log.settle().size - 1
    twin(world, asked, 1)
    with pytest.raises(Refused, match=rf"{index}, {index + 1}") as caught:
        entry_of(world, asked, lost=True)
    assert caught.value.code == "record-twins"
