"""One record of the log is shown whole, long after it is over: who signed it, whether that counted, and what became of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.app.log.show_record import ShownRecord, show_record
from keyturn.errors import Refused, Tampered, Usage
from keyturn.formats import dsse, records
from keyturn.formats.dsse import Envelope
from support.hidden import hidden_leaf
from support.labs import make_key
from support.world import BREAK_GLASS, Witnessed, World, make_world

LATER_S = 30 * 86_400


def shown(world: World, what: Envelope | str | int, reader: Witnessed | None = None) -> ShownRecord:
    which = what if isinstance(what, str) else str(what) if isinstance(what, int) else f"req-{what.record_digest[:16]}"
    seen: list[int] = []
    reader = reader or Witnessed(world)
    found = show_record(reader, which, history=world.lab.history, clock=world.clock, progress=seen.append)  # type: ignore[arg-type]  # by delegation
    assert sum(seen) == found.size
    return found


def followed(found: ShownRecord) -> list[tuple[str, tuple[str, ...], bool]]:
    return [
        (one.leaf.kind, one.judged.signers if one.judged else (), bool(one.judged and one.judged.counts))
        for one in found.followed_by
    ]


def test_a_request_that_is_over_is_shown_with_its_text_its_signer_and_all_that_followed() -> None:
    world = make_world()
    asked = world.ask()
    other = world.ask()
    approvals = [world.approve(asked, "bob"), world.approve(asked, "eve", reason="seen the plot")]
    world.use(asked, *approvals)
    world.deny(other, "bob")
    renewed = world.ask(world.request(follows=asked.record_digest))
    world.now += LATER_S
    found = shown(world, asked)
    assert found.entry.judged is not None
    assert found.entry.judged.statement["predicate"]["justification"] == "a look at the loss"
    assert (found.entry.judged.signers, found.entry.judged.counts, found.entry.trust_version) == (
        ("member:ada",),
        True,
        1,
    )
    assert (found.became, found.cosigners, found.erased_by) == ("over", ("north",), None)
    assert followed(found) == [
        ("apr", ("member:bob",), True),
        ("apr", ("member:eve",), True),
        ("use", (f"gate:{world.gate}",), True),
        ("req", ("member:ada",), True),
    ]
    assert found.followed_by[-1].leaf.record == renewed.record_digest
    by_index = shown(world, found.entry.index)
    assert (by_index.entry, by_index.followed_by) == (found.entry, found.followed_by)
    assert shown(world, other).became == "denied"
    assert shown(world, renewed).became == "lapsed"
    root = shown(world, 0).entry
    assert root.judged is not None
    assert (root.judged.signers[:2], root.judged.counts, root.trust_version) == (("root:ada", "root:bob"), True, 0)


@pytest.mark.parametrize(
    ("glass", "by", "became"),
    [
        pytest.param(False, "cat", "revoked", id="a coworker ends a grant"),
        pytest.param(True, "cat", "revoked", id="a human of security ends a use by break-glass"),
        pytest.param(True, "eve", "open", id="somebody else does not end a use by break-glass"),
    ],
)
def test_what_became_of_a_grant_is_what_ended_it_first(glass: bool, by: str, became: str) -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    asked = world.ask(world.emergency() if glass else None)
    world.approve(asked, "bob")
    world.approve(asked, "eve")
    world.now += 60
    assert shown(world, asked).became == "open"
    world.revoke(asked, by)
    assert shown(world, asked).became == became
    world.now += LATER_S
    late = world.ask()
    world.now += LATER_S
    world.deny(late, "bob")
    assert shown(world, late).became == "lapsed", "whoever denies what is over ends nothing"


def test_what_somebody_else_signed_is_shown_and_does_not_count() -> None:
    world = make_world()
    world.held["dan"] = make_key("a thief of no key")
    asked = world.ask(world.request("dan"))
    found = shown(world, asked)
    assert found.entry.judged is not None
    assert (found.entry.judged.code, found.became) == ("signer-unknown", "refused")
    good = world.ask()
    world.approve(good, "ada+coder")
    world.held["bob"] = make_key("a thief of no key")
    world.deny(good, "bob")
    assert followed(shown(world, good)) == [("apr", (), False), ("den", (), False)]
    assert shown(world, good).became == "asked"


def test_the_trust_of_then_judges_and_not_that_of_now() -> None:
    world = make_world()
    asked = world.ask(world.request("dan"))
    roster = world.lab.state.roster
    dan = replace(roster.members["dan"], keys=(replace(roster.members["dan"].keys[0], key=make_key("new").public),))
    world.publish(roster=replace(roster, members={**roster.members, "dan": dan}))
    late = world.ask(world.request("dan"))
    assert shown(world, late).became == "refused"
    found = shown(world, asked)
    assert found.entry.judged is not None
    assert (found.entry.judged.counts, found.entry.trust_version) == (True, 1)


def test_an_erased_record_is_shown_by_its_leaf_with_the_tombstone_that_erased_it() -> None:
    world = make_world()
    asked = world.ask()
    world.now += LATER_S
    world.tombstone(asked, "bob")
    gone = Witnessed(world, lost=frozenset({records.leaf_of(dsse.render(asked)).envelope}))
    found = shown(world, asked, gone)
    assert (found.entry.text, found.entry.judged, found.became, found.erased_by) == ("missing", None, None, None)
    world.tombstone(asked, "ada")
    world.tombstone(asked, "cat")
    assert [kind for kind, _, _ in followed(shown(world, asked, gone))] == ["tmb", "tmb", "tmb"]
    assert shown(world, asked, gone).erased_by is not None


def test_lies_of_whoever_had_the_log_are_told_from_the_record() -> None:
    world = make_world()
    asked = world.ask()
    true = records.leaf_of(dsse.render(asked))
    world.log.append_leaf(b"gone", hidden_leaf("req", *true.about, number=9, record=true.record, until=true.until))
    assert shown(world, asked).entry.text == "there"
    with pytest.raises(Refused, match="record-twins"):
        shown(world, asked, Witnessed(world, lost=frozenset({true.envelope})))


@pytest.mark.parametrize(
    ("which", "code"),
    [
        pytest.param("99", "record-not-found", id="an entry that is not there"),
        pytest.param("req-00000000", "record-not-found", id="a record that is not there"),
        pytest.param("req-0000", "record-id", id="a prefix that is too short"),
    ],
)
def test_what_is_not_there_is_said(which: str, code: str) -> None:
    with pytest.raises((Refused, Usage)) as caught:
        shown(make_world(), which)
    assert caught.value.code == code


def test_leaves_that_the_witnesses_did_not_cosign_are_tampering() -> None:
    world = make_world()
    reader = Witnessed(world)
    reader.leaves = lambda start, end: [raw + b" " for raw in world.log.leaves(start, end)]  # type: ignore[attr-defined]  # shadows
    with pytest.raises(Tampered, match="log-tree"):
        shown(world, "0", reader)
