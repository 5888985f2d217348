"""Taken: the service, in a lab that erases. Its leaves that only name an erased record are no erased records: people find them,
and end by `keyturn trust void` what they close; and no such leaf keeps people from erasing."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.oversight.test_erase_records import At, asked, door, erase_all, over, sign, states
from keyturn.app.log.follow_log import follow_log
from keyturn.app.trust.void_hidden import closing
from keyturn.errors import Unavailable
from keyturn.formats import checkpoint, dsse, leaf, note
from keyturn.formats.leaf import Kind
from support.hidden import hidden_leaf
from support.taken_lab import found, serving
from support.world import Witnessed, World, make_world

FAR = 2**33
ERASE = ("--ground", "objection", "--yes")


def closes(world: World) -> list[int]:
    return [
        fault.index
        for fault in closing(Witnessed(world), history=world.lab.history, clock=At(world), progress=lambda count: None)
    ]


def test_a_leaf_that_names_a_record_after_it_was_erased_is_void_when_people_say_so() -> None:
    world = make_world()
    denial = world.deny(world.ask(), "dan")
    for member in ("eve", "bob"):
        sign(world, denial, member)
    assert erase_all(world) == 1
    at = world.log.append_leaf(
        b"gone", hidden_leaf("sus", "member:ada", number=1, record=denial.record_digest, until=FAR)
    )
    world.log.erase([hidden_leaf("sus", number=1).envelope])
    assert "member:ada" in follow_log(world.start(None), Witnessed(world), now=world.now).known.unread
    assert closes(world) == [at]
    with pytest.raises(Unavailable, match="log-envelope-missing"):
        asked(world)


@pytest.mark.parametrize("kind", ["sus", "den"])
def test_a_leaf_that_names_a_record_before_it_is_erased_is_no_record_of_it(kind: Kind) -> None:
    world = make_world()
    request = world.ask()
    denial = world.deny(request, "dan")
    sign(world, denial, "eve")
    lie = hidden_leaf(kind, "member:ada", number=1, record=denial.record_digest, until=FAR)
    at = world.log.append_leaf(b"gone", lie)
    sign(world, denial, "bob")  # by its id, which the lie has as well
    assert closes(world) == [at]
    with pytest.raises(Unavailable, match="log-envelope-missing"):
        erase_all(world)


def test_no_leaf_that_names_a_record_with_a_kind_that_stays_keeps_people_from_erasing_it() -> None:
    world, request, _ = over()
    world.log.append_leaf(b"gone", hidden_leaf("rel", "sha256:" + "0" * 64, number=1, record=request.record_digest))
    for member in ("bob", "cat"):
        door(world).submit(dsse.render(world.tombstone(request, member, submit=False)))
    assert ("due", "") in states(world)
    assert erase_all(world) == 1


@pytest.mark.timeout(600)
def test_a_running_lab_gets_over_what_names_a_record_that_it_erased(tmp_path: Path) -> None:
    lab = found(tmp_path)
    with serving(lab):
        made = lab.by("carol", "trust", "suspend", "--member", "dan", "--reason", "his laptop is lost", "--yes")["id"]
        for member in ("ada", "bob"):
            lab.by(member, "tombstone", "sign", made, *ERASE)
        assert lab.by("ada", "log", "erase", "--yes")["erased"] == 1
        size = checkpoint.parse_body(note.parse(lab.log.checkpoint()).text).size
        (erased,) = (one for one in map(leaf.parse, lab.log.leaves(0, size)) if one.kind == "sus")
        assert made == f"sus-{erased.record[:32]}"
        lie = hidden_leaf("sus", "member:ada", number=1, record=erased.record, until=FAR)
        last = lab.write(b"gone", leaves=(lie,))
        assert lab.refused("bob", "log", "verify", status=3) == {"log-envelope-missing"}
        assert [one["index"] for one in lab.by("bob", "trust", "void")["entries"]] == [last]
        lab.by("bob", "trust", "void", "--all")
        lab.by("ada", "trust", "propose")
        for member in ("ada", "bob"):
            lab.by(member, "trust", "sign", "--yes")
        lab.by("ada", "trust", "publish")
        assert [one["index"] for one in lab.by("bob", "log", "verify")["faults"] if one["void"]] == [last]
