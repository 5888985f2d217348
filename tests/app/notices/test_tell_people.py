"""What people are told of requests and suspensions: each thing once, to those whom it concerns, and nothing of the past."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from keyturn.app.log.follow_log import follow_log
from keyturn.app.notices.notice import Notice
from keyturn.app.notices.plain_notice import TEXT_MAX, plain_text
from keyturn.app.notices.tell_of_requests import Escalation, Telling
from keyturn.app.notices.tell_of_uses import AGAIN_S
from keyturn.app.notices.tell_people import Told, parse_told, render_told, what_to_tell
from keyturn.app.oversight.erase_records import erasable_record
from keyturn.errors import Malformed
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.records import Record
from keyturn.grants.freshness import require_trust
from keyturn.trust.roster import Limits
from support.world import BREAK_GLASS, Witnessed, World, make_world

PLAIN = Telling(link=None, expiring_s=600)


@dataclass
class Reader:
    """A reader of the world's log who is asked, each time, what is new. `hidden` envelopes cannot be had."""

    world: World
    settings: Telling = PLAIN
    told: Told | None = None
    hidden: frozenset[str] = frozenset()

    def new(self) -> dict[str, Notice]:
        """The new notices, by the part of their event behind the record's id."""
        now = self.world.now
        view = follow_log(self.world.start(None), Witnessed(self.world, lost=self.hidden), now=now)
        before = self.told and parse_told(render_told(self.told))
        notices, self.told = what_to_tell(
            before, view, require_trust(view, now=now), self.settings, record_of=self.record_of, now=now
        )
        assert len({one.event for one in notices}) == len(notices)
        return {one.event.rpartition("/")[2]: one for one in notices}

    def record_of(self, digest: str) -> Record | None:
        reader = Witnessed(self.world, lost=self.hidden)
        return erasable_record(reader, self.world.log, digest)  # type: ignore[arg-type]  # a log by delegation

    def later(self, seconds: int) -> dict[str, Notice]:
        self.world.now += seconds
        return self.new()


@pytest.fixture
def reader(world: World) -> Reader:
    reader = Reader(world)
    assert reader.new() == {}
    return reader


def test_whoever_could_approve_is_told_once_and_the_requester_is_not(world: World, reader: Reader) -> None:
    asked = world.ask()
    notice = reader.new()["asked"]
    assert notice.members == {"bob", "cat", "eve"}
    assert notice.groups == {"weights-owners", "security"}
    assert not notice.urgent
    assert f"keyturn grant show req-{asked.record_digest[:32]}" in notice.body
    assert 'ada writes: "a look at the loss"' in notice.body
    assert reader.new() == {}


def test_who_could_approve_is_the_policys_word_and_no_suspended_member(world: World, reader: Reader) -> None:
    world.suspend("bob", target_member="cat")
    world.ask()
    found = reader.new()
    assert found["asked"].members == {"bob", "eve"}
    world.publish(policy={"main": 'permit (principal, action, resource) when { "not" == "a policy" ;'})
    world.ask()
    assert "asked" not in reader.new()


def test_somebody_who_can_approve_only_later_is_told_then(world: World, reader: Reader) -> None:
    suspension = world.suspend("bob", target_member="cat")
    world.ask()
    reader.new()
    world.lift(suspension, "dan")
    world.lift(suspension, "eve")
    later = reader.new()
    assert later["asked"].members == {"cat"}
    assert later["asked"].groups == frozenset()


def test_the_requester_is_told_of_every_change(world: World, reader: Reader) -> None:
    asked = world.ask()
    reader.new()
    bob = world.approve(asked, "bob")
    approved = reader.new()
    assert {name: one.members for name, one in approved.items()} == {"approved:bob": {"ada"}}
    eve = world.approve(asked, "eve")
    granted = reader.new()
    assert granted.keys() == {"approved:eve", "granted"}
    assert granted["granted"].members == {"ada"}
    world.use(asked, bob, eve)
    assert reader.later(1).keys() == {"used"}
    assert reader.later(3600) == {}, "that the time of what was used is over is no news"
    assert reader.later(7200) == {}
    assert reader.told == Told()


def test_an_offer_of_less_is_told_to_whoever_asked_with_what_to_type(world: World, reader: Reader) -> None:
    asked = world.ask()
    reader.new()
    offer = world.offer(asked, "bob", duration_s=600)
    found = reader.new()
    (notice,) = found.values()
    assert (notice.members, "bob offers less" in notice.title) == ({"ada"}, True)
    assert f"10m. To take it: keyturn grant accept ofr-{offer.record_digest[:32]}" in notice.body
    assert reader.new() == {}


def test_a_request_that_became_hopeless_is_told_once_and_nobody_is_asked_for_it_any_more(
    world: World, reader: Reader
) -> None:
    world.ask()
    reader.new()
    world.publish(gates={})
    found = reader.new()
    assert found.keys() == {"hopeless"}
    assert (found["hopeless"].members, "is no gate of the lab" in found["hopeless"].body) == ({"ada"}, True)
    assert reader.later(3300) == {}, "that time runs out is no news then"


@pytest.mark.parametrize("target", ["member", "beneficiary", "gate"])
def test_a_request_that_a_suspension_holds_up_is_told_to_whoever_asked(
    target: str, world: World, reader: Reader
) -> None:
    world.ask(world.request(beneficiary="dan"))
    reader.new()
    hit = {
        "member": {"target_member": "ada"},
        "beneficiary": {"target_member": "dan"},
        "gate": {"target_gate": str(world.gate)},
    }
    world.suspend("bob", **hit[target])  # type: ignore[arg-type]  # the table above
    held = [one for one in reader.new().values() if "held up by a suspension" in one.title]
    assert [one.members for one in held] == [{"ada", "dan"}]
    assert not [one for one in reader.new().values() if "held up" in one.title]


def test_an_agents_request_is_told_to_the_human_who_answers_for_it(world: World, reader: Reader) -> None:
    asked = world.ask(world.request("ada+coder"))
    assert "ada" not in reader.new()["asked"].members
    world.deny(asked, "bob")
    [notice] = reader.new().values()
    assert notice.members == {"ada", "ada+coder"}


@pytest.mark.parametrize("verb", ["denied", "revoked", "withdrew"])
def test_what_takes_a_request_away_is_told_to_whom_it_concerns(world: World, reader: Reader, verb: str) -> None:
    asked = world.ask()
    world.approve(asked, "eve")
    reader.new()
    if verb == "denied":
        world.deny(asked, "bob")
    else:
        world.revoke(asked, "dan" if verb == "revoked" else "ada")
    [notice] = reader.new().values()
    assert notice.members == {"ada", "eve"}
    assert f" {verb}: " in notice.title
    assert reader.later(3600) == {}, "what is ended ends once"
    assert reader.later(7200) == {}


def test_a_request_that_nobody_grants_is_told_before_it_lapses_and_when_it_does(world: World, reader: Reader) -> None:
    world.ask()
    reader.new()
    assert reader.later(3600 - 601) == {}
    assert {name: one.members for name, one in reader.later(1).items()} == {"lapsing": {"ada"}}
    assert reader.later(601).keys() == {"lapsed"}
    assert reader.later(3600) == {}


def test_a_one_shot_that_is_forgotten_as_it_lapses_is_told_all_the_same(world: World, reader: Reader) -> None:
    made = world.release(start_by=world.now + 3600, not_after=world.now + 3600)
    world.ask(made)
    reader.new()
    found = reader.later(3600)
    assert found.keys() == {"lapsed"}
    assert found["lapsed"].members == {"ada"}
    assert reader.told == Told()


def test_a_grant_is_told_before_it_ends_and_when_it_is_over(world: World, reader: Reader) -> None:
    asked = world.ask()
    for member in ("bob", "eve"):
        world.approve(asked, member)
    reader.new()
    assert reader.later(3600 - 601) == {}
    assert reader.later(1).keys() == {"expiring"}
    assert reader.later(600).keys() == {"over"}
    assert reader.later(7200) == {}


def test_a_suspension_is_told_to_all_of_security_and_to_whom_it_hits(world: World, reader: Reader) -> None:
    taken = world.suspend("bob", target_member="dan")
    [notice] = reader.new().values()
    assert (notice.members, notice.groups, notice.urgent) == ({"bob", "cat", "dan"}, {"security"}, True)
    world.lift(taken, "cat")
    [notice] = reader.new().values()
    assert "One more human" in notice.body
    world.lift(taken, "eve")
    [notice] = reader.new().values()
    assert "It is lifted." in notice.body
    assert reader.later(3600) == {}


@pytest.mark.parametrize(
    ("target", "concerned"),
    [
        pytest.param("target_key", {"dan"}, id="a key's owner"),
        pytest.param("target_gate", set(), id="a gate's operator"),
    ],
)
def test_whose_key_or_gate_is_suspended_is_told(world: World, reader: Reader, target: str, concerned: set[str]) -> None:
    named = world.key("dan").public.keyid if target == "target_key" else str(world.gate)
    world.suspend("bob", **{target: named})
    [notice] = reader.new().values()
    operator = {world.lab.state.gates[str(world.gate)].operator} if target == "target_gate" else set()
    assert notice.members == {"bob", "cat"} | concerned | operator


def test_an_urgent_request_is_urgent_to_those_who_could_approve(world: World, reader: Reader) -> None:
    asked = world.ask(world.request(urgent=True))
    assert reader.new()["asked"].urgent
    world.approve(asked, "bob")
    assert not reader.new()["approved:bob"].urgent


def test_a_request_that_waits_is_told_to_more_people_and_needs_as_many(world: World) -> None:
    reader = Reader(world, Telling(link=None, expiring_s=1, escalation=(Escalation(600, "research"),)))
    reader.new()
    asked = world.ask()
    reader.new()
    assert reader.later(599) == {}
    notice = reader.later(1)["escalated:600:research"]
    assert notice.members == {"bob", "cat", "eve", "dan"}, "more than before, and never the requester"
    assert notice.groups == {"research", "weights-owners", "security"}
    assert reader.later(1) == {}
    world.approve(asked, "dan")
    assert "granted" not in reader.new(), "whoever is told does not count for that"


def test_nothing_that_was_before_the_first_start_is_told(world: World) -> None:
    asked = world.ask()
    world.suspend("bob", target_member="dan")
    reader = Reader(world, Telling(link=None, expiring_s=600, escalation=(Escalation(60, "research"),)))
    assert reader.new() == {}
    assert reader.later(600) == {}
    world.deny(asked, "cat")
    assert len(reader.new()) == 1


def test_what_may_be_wrong_is_not_told(world: World, reader: Reader) -> None:
    asked = world.ask()
    reader.new()
    taken = world.deny(asked, "bob")
    hidden = world.log.by_record(taken.record_digest)[0].envelope
    world.approve(asked, "cat")
    reader.hidden = frozenset({hidden})
    assert reader.new() == {}
    reader.hidden = frozenset()
    assert any(name.startswith("den-") for name in reader.new())


def test_a_request_that_cannot_be_read_for_a_moment_has_not_lapsed(world: World, reader: Reader) -> None:
    asked = world.ask()
    reader.new()
    reader.hidden = frozenset({world.log.by_record(asked.record_digest)[0].envelope})
    assert reader.new() == {}
    reader.hidden = frozenset()
    assert reader.new() == {}


def test_a_link_stands_where_the_operator_has_a_page(world: World) -> None:
    reader = Reader(world, Telling(link="https://keys.acme.example/request/", expiring_s=600))
    reader.new()
    asked = world.ask()
    body = reader.new()["asked"].body
    assert body.endswith(f"look: https://keys.acme.example/request/req-{asked.record_digest[:32]}")


HOSTILE = (
    "<b>hi</b> [click](https://evil.example/approve) *now* `rm -rf /` @everyone <!channel> ~x~ _y_ # h | t | $(id) {{7}}\n"
    'look: keyturn approve req-00000000 --yes \\x1b[31m www.evil.example evil.example/x 10.0.0.1/x bob"quoted"'
)


def test_text_from_a_request_is_plain_in_a_notification(world: World, reader: Reader) -> None:
    world.ask(world.request(justification=HOSTILE))
    notice = reader.new()["asked"]
    said = notice.body.splitlines()[2]
    assert said.startswith('ada writes: "')
    quoted = said.removeprefix('ada writes: "').removesuffix('"')
    assert not set(quoted) & set('<>[]{}*`@#|$~_&\\"\x1b\n')
    assert "//" not in quoted
    assert "evil.example" not in quoted
    assert "10.0.0.1" not in quoted
    assert len([line for line in notice.body.splitlines() if line.startswith("look:")]) == 1
    assert len(plain_text("é" * 2000)) == TEXT_MAX


def test_what_was_told_is_parsed_strictly() -> None:
    for raw in (b"", b"{}x", b'{"requests":{},"x":1}', b'{"suspensions":{"a":[1]}}'):
        with pytest.raises(Malformed):
            parse_told(raw)


def test_a_use_by_break_glass_is_told_to_whoever_could_review_it_each_day_until_somebody_did() -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    reader = Reader(world)
    assert reader.new() == {}
    use = world.glass_use(world.ask(world.emergency()))
    found = reader.new()
    first = found["unreviewed:0"]
    assert (first.members, first.groups, first.urgent) == ({"cat", "dan", "eve"}, {"security"}, True)
    assert f"keyturn grant review brk-{use.record_digest[:32]}" in first.body
    assert [name for name in reader.later(AGAIN_S - 1) if "unreviewed" in name] == []
    again = reader.later(1)["unreviewed:1"]
    assert "is not reviewed" in again.title
    assert [name for name in reader.new() if "unreviewed" in name] == []
    assert "unreviewed:4" in reader.later(3 * AGAIN_S), "what was missed while the notifier was down is told once"
    world.review(use, "eve")
    assert [name for name in reader.later(2 * AGAIN_S) if "unreviewed" in name] == []
    assert reader.told is not None
    assert reader.told.uses == {}


def test_a_use_of_before_the_notifier_is_told_the_next_day() -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    world.glass_use(world.ask(world.emergency()))
    reader = Reader(world)
    assert reader.new() == {}
    assert "unreviewed:1" in reader.later(AGAIN_S)


def test_who_could_sign_a_tombstone_that_waits_is_told_once_for_each_signature_and_nobody_whom_it_concerns() -> None:
    world = make_world(limits=Limits(tombstone_signers=3))
    world.suspend("bob", target_member="cat")
    denial = world.deny(world.ask(), "dan")
    reader = Reader(world, hidden=frozenset({sha256(dsse.render(denial))}))
    assert reader.new() == {}
    world.tombstone(denial, "bob")
    assert reader.new() == {}, "what it names cannot be had, so whom it concerns is not known"
    reader.hidden = frozenset()
    first = reader.new()["signed:1"]
    assert first.members == {"ada", "eve"}, "bob signed, cat is suspended, it is dan's, and agents sign none"
    assert f"keyturn tombstone sign den-{denial.record_digest[:32]}" in first.body
    assert reader.later(86_400) == {}
    reader.settings = Telling(link="https://keys.acme.example/", expiring_s=600)
    world.tombstone(denial, "bob")
    assert reader.new() == {}, "the same signer again"
    world.tombstone(denial, "eve")
    second = reader.new()["signed:2"]
    assert (second.members, "2 of 3 humans" in second.body) == ({"ada", "cat"}, True)
    assert second.body.endswith(f"look: https://keys.acme.example/den-{denial.record_digest[:32]}")
    world.tombstone(denial, "ada")
    assert reader.new() == {}
    world.tombstone(denial, "cat")
    assert reader.new() == {}, "it was complete before"
    assert reader.told is not None
    assert reader.told.tombstones == {}


def test_what_no_tombstone_may_erase_is_told_to_nobody(world: World, reader: Reader) -> None:
    asked = world.ask()
    use = world.use(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    world.tombstone(use, "bob")
    assert not [name for name in reader.new() if name.startswith("signed")]
