"""Acceptances of a door: two humans of the lab let it stand open, and whatever else somebody put into the ledger does not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from keyturn.app.log.follow_log import follow_log
from keyturn.app.oversight.accept_door import draft_acceptance, shown, sign_acceptance, take_acceptances
from keyturn.app.oversight.standing_access import doors, verdict
from keyturn.errors import Refused, Usage
from keyturn.formats import dsse
from keyturn.grants.view import GateView
from keyturn.standing import ledger as ledgers
from keyturn.standing.accepted import ACCEPTED_MAX_S, Judge, Judged, Signed, VerifiedAcceptance, verify_acceptance
from keyturn.standing.finding import Finding, found, gathered
from keyturn.standing.ledger import EMPTY, Ledger, Standing
from support.acceptances import acceptance
from support.authenticators import Passkey
from support.labs import NOW, make_key
from support.world import Witnessed, World, make_production, make_world

HOST, DAY_S = "host:gpu1", 86_400


def a_door(mark: str = "k", opens: str = "`root`, by ssh") -> Finding:
    return found(
        "ssh-key",
        "ssh",
        "/root/.ssh/authorized_keys",
        opens=opens,
        to="eve",
        severity="high",
        close="true",
        mark=(mark,),
    )


def found_in(*findings: Finding, place: str = HOST, ledger: Ledger = EMPTY, at: int = NOW) -> Ledger:
    return ledgers.record(ledger, place, gathered(findings), owner="", now=at)[0]


def only(ledger: Ledger) -> Standing:
    (one,) = (standing for place in ledger.places for standing in place.standing)
    return one


DOOR = only(found_in(a_door()))


def view_of(world: World) -> GateView:
    return follow_log(world.start(None), Witnessed(world), now=world.now)


def kept(world: World, *people: str, **changed: object) -> Standing:
    signed = tuple(acceptance(HOST, DOOR, member=one, key=world.key(one), **changed).decode() for one in people)
    return msgspec.structs.replace(DOOR, acceptances=signed)


def judged(world: World, standing: Standing, *, place: str = HOST, now: int = NOW) -> Judged:
    return Judge(lambda: view_of(world), now=now)(place, standing)


def codes(found: Judged) -> list[str]:
    return [one.code for one in found.signed]


def test_two_humans_accept_a_door_and_one_does_not_however_often() -> None:
    world = make_world()
    assert judged(world, DOOR) == Judged()
    both = judged(world, kept(world, "ada", "bob"))
    assert (both.state, both.by, both.until, both.reason) == ("accepted", ("ada", "bob"), NOW + DAY_S, "until the move")
    assert codes(both) == ["", ""]
    alone = judged(world, kept(world, "ada", "ada"))
    assert (alone.state, alone.by) == ("half-accepted", ("ada",))
    assert judged(world, kept(world, "ada", "ada+coder")).state == "half-accepted", "her agent is no second"
    third = judged(world, kept(world, "ada", "bob", "cat"))
    assert third.by == ("ada", "bob", "cat")


def test_two_who_signed_another_end_or_reason_did_not_accept_the_same() -> None:
    world = make_world()
    ada, bob = kept(world, "ada"), kept(world, "bob", until=NOW + 2 * DAY_S, signed_at=NOW + 1)
    cat = kept(world, "cat", reason="until the bastion is there", signed_at=NOW + 2)
    three = msgspec.structs.replace(DOOR, acceptances=(*ada.acceptances, *bob.acceptances, *cat.acceptances))
    found = judged(world, three, now=NOW + 2)
    assert (found.state, found.by, codes(found)) == ("half-accepted", ("cat",), ["", "", ""])
    dan = kept(world, "dan")
    four = msgspec.structs.replace(three, acceptances=(*dan.acceptances, *three.acceptances))
    assert judged(world, four, now=NOW + 2).by == ("ada", "dan")


def forged(world: World) -> bytes:
    raw = acceptance(HOST, DOOR, member="bob", key=world.key("bob"))
    other = dsse.parse_own(acceptance(HOST, DOOR, member="bob", key=world.key("bob"), reason="for good"))
    return dsse.render(msgspec.structs.replace(other, signatures=dsse.parse_own(raw).signatures))


def of(member: str = "bob", **changed: object) -> Callable[[World], bytes]:
    return lambda world: acceptance(HOST, DOOR, member=member, key=world.key(member), **changed)


REFUSED = {
    "of nobody": (lambda world: b"{}", "json-invalid"),
    "changed after it was signed": (forged, "signature-invalid"),
    "signed by somebody else": (
        lambda world: acceptance(HOST, DOOR, member="bob", key=world.key("bob"), by=world.key("ada")),
        "signature-key",
    ),
    "by a key of his own": (
        lambda world: acceptance(HOST, DOOR, member="bob", key=make_key("another")),
        "approver-key-unknown",
    ),
    "by nobody of the lab": (of("mallory"), "approver-unknown"),
    "by an AI agent": (of("ada+coder"), "approver-not-human"),
    "of another lab": (of(lab="other.example"), "lab-other"),
    "of another host": (of(place="host:gpu2"), "acceptance-place"),
    "of another finding": (of(finding="ab" * 32), "acceptance-other-door"),
    "of something else that was shown": (of(opens="nothing of interest"), "acceptance-other-words"),
    "of less than it is": (of(severity="low"), "acceptance-other-words"),
    "of when it was open before": (of(first_seen=NOW - DAY_S), "acceptance-reopened"),
    "over": (of(until=NOW, signed_at=NOW - DAY_S), "acceptance-over"),
    "for more than 90 days": (of(until=NOW + ACCEPTED_MAX_S + 1), "acceptance-until"),
    "of tomorrow": (of(signed_at=NOW + DAY_S, until=NOW + 2 * DAY_S), "acceptance-early"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_acceptance_that_is_not_what_it_must_be_leaves_the_door_open_and_says_why(what: str) -> None:
    world = make_world()
    make, code = REFUSED[what]
    standing = kept(world, "ada")
    standing = msgspec.structs.replace(standing, acceptances=(*standing.acceptances, make(world).decode()))
    found = judged(world, standing)
    assert codes(found) == ["", code]
    assert (found.state, found.by) == ("half-accepted", ("ada",))
    place = ledgers.Place(name=HOST, scanned_at=NOW, standing=(standing,))
    assert verdict(doors([place], lambda *_: found)) == "open"
    (door,) = doors([place], lambda *_: found)
    assert (door.acceptances[1].code, bool(door.acceptances[1].why)) == (code, True)


def test_for_90_days_is_long_enough_and_the_last_second_counts() -> None:
    world = make_world()
    longest = kept(world, "ada", "bob", until=NOW + ACCEPTED_MAX_S)
    assert judged(world, longest).state == "accepted"
    day = kept(world, "ada", "bob")
    assert judged(world, day, now=NOW + DAY_S).state == "open", "and the log was not looked at for a day"
    world.now = NOW + DAY_S - 1
    assert judged(world, day, now=world.now).state == "accepted"
    world.now += 1
    assert codes(judged(world, day, now=world.now)) == ["acceptance-over"] * 2


def test_who_is_suspended_or_removed_accepts_nothing_any_more() -> None:
    world = make_world()
    both = kept(world, "ada", "dan")
    world.suspend("cat", target_member="dan")
    found = judged(world, both)
    assert (found.state, codes(found)) == ("half-accepted", ["", "suspended"])
    world.now += 3601
    assert judged(world, both, now=world.now).state == "accepted"
    roster = world.lab.contents.roster
    left = {name: member for name, member in roster.members.items() if name != "dan"}
    groups = {name: replace(group, members=group.members - {"dan"}) for name, group in roster.groups.items()}
    world.publish(roster=replace(roster, members=left, groups=groups), now=world.now)
    found = judged(world, both, now=world.now)
    assert (found.state, codes(found)) == ("half-accepted", ["", "approver-unknown"])


def test_in_production_it_takes_keys_that_verify_their_user() -> None:
    world = make_production(Passkey(make_key("bob's")), Passkey(make_key("cat's")))
    assert judged(world, kept(world, "bob", "cat")).state == "accepted"
    found = judged(world, kept(world, "bob", "ada"))
    assert (found.state, codes(found)) == ("half-accepted", ["", "approver-key-software"])
    world.held["cat"] = Passkey(make_key("cat's"), flags=0x01)
    found = judged(world, kept(world, "bob", "cat"))
    assert found.state == "half-accepted", "present, and not verified"


def test_without_a_lab_and_with_an_old_view_nobody_accepted_anything() -> None:
    world = make_world()
    both = kept(world, "ada", "bob")
    asked = []

    def nowhere() -> GateView:
        asked.append(1)
        raise Usage("acceptance-no-lab", "no lab", hint="--lab")

    judge = Judge(nowhere, now=NOW)
    assert judge(HOST, DOOR) == Judged()
    assert not asked, "where nothing is kept nothing is asked"
    assert codes(judge(HOST, both)) == ["acceptance-no-lab"] * 2
    assert judge(HOST, both).signed[0] == Signed(
        "ada", world.key("ada").public.keyid, NOW, NOW + DAY_S, "until the move", "acceptance-no-lab", "no lab", "--lab"
    )
    assert len(asked) == 1
    view = view_of(world)
    late = NOW + world.lab.state.limits.log_age_max_s + 1
    assert codes(Judge(lambda: view, now=late)(HOST, both)) == ["view-stale"] * 2
    assert codes(Judge(lambda: world.start(None), now=NOW)(HOST, both)) == ["view-empty"] * 2


def test_what_was_verified_is_made_by_the_verifier_alone() -> None:
    world = make_world()
    raw = acceptance(HOST, DOOR, key=world.key("ada"))
    verified = verify_acceptance(raw, view_of(world), place=HOST, standing=DOOR, now=NOW)
    assert verified.digest == dsse.parse_own(raw).record_digest
    with pytest.raises(TypeError):
        VerifiedAcceptance(verified.made, verified.digest, object())
    with pytest.raises(TypeError):
        pickle.dumps(verified)


def drafted(world: World, standing: Standing, member: str, *, until: int | None = None, reason: str = "") -> bytes:
    view = view_of(world)
    key = world.key(member)
    made = draft_acceptance(
        HOST,
        standing,
        view,
        Judge(lambda: view, now=world.now),
        member=member,
        keyid=key.public.keyid,
        until=until,
        reason=reason,
        clock=world.clock,
        entropy=world.clock,
    )
    said = dict(shown(made))
    for signed in (made.finding, made.where, made.opens, made.to, made.reason, made.nonce, made.lab, made.key):
        assert any(signed in text for text in said.values()), signed
    return sign_acceptance(made, key)


def test_the_second_signs_what_the_first_said_and_nobody_is_both() -> None:
    world = make_world()
    ledger = found_in(a_door())
    id_ = DOOR.finding.id(HOST)
    ledger = ledgers.keep(ledger, id_, drafted(world, DOOR, "ada", until=NOW + DAY_S, reason="until the move"))
    with pytest.raises(Refused, match="acceptance-needs-two"):
        drafted(world, only(ledger), "ada")
    world.now += 9
    ledger = ledgers.keep(ledger, id_, drafted(world, only(ledger), "bob"))
    assert judged(world, only(ledger), now=world.now).by == ("ada", "bob")
    ledger = ledgers.keep(ledger, id_, drafted(world, only(ledger), "bob", until=NOW + 2 * DAY_S, reason="longer"))
    assert judged(world, only(ledger), now=world.now).state == "half-accepted", (
        "who signs anew takes back what he signed"
    )


def test_who_could_not_accept_is_told_before_a_key_is_used() -> None:
    world = make_world()
    said = {"until": NOW + DAY_S, "reason": "x"}
    cases: dict[str, tuple[str, dict[str, object]]] = {
        "approver-not-human": ("ada+coder", said),
        "approver-unknown": ("mallory", said),
        "suspended": ("dan", said),
    }
    world.suspend("cat", target_member="dan")
    for code, (member, words) in cases.items():
        with pytest.raises(Refused, match=code):
            drafted(world, DOOR, member, **words)  # type: ignore[arg-type]  # until and reason
    for until, reason in ((None, "x"), (NOW + 1, ""), (None, "")):
        with pytest.raises(Usage, match="acceptance-incomplete"):
            drafted(world, DOOR, "ada", until=until, reason=reason)
    for until in (NOW - 1, NOW, NOW + ACCEPTED_MAX_S + 1):
        with pytest.raises(Usage, match="acceptance-until"):
            drafted(world, DOOR, "ada", until=until, reason="x")


def test_of_a_copy_only_what_counts_here_is_taken_and_nothing_else_changes() -> None:
    world = make_world()
    here = found_in(a_door())
    id_ = DOOR.finding.id(HOST)
    judge = Judge(lambda: view_of(world), now=NOW)
    there = ledgers.own(found_in(a_door("another"), ledger=here, place="host:gpu2"), id_, owner="mallory")[0]
    for raw in (of("ada")(world), of("bob")(world), of("ada+coder")(world)):
        there = ledgers.keep(there, id_, raw)
    gpu2 = there.places[1].standing[0]
    there = ledgers.keep(there, gpu2.finding.id("host:gpu2"), acceptance("host:gpu2", gpu2, key=world.key("ada")))
    after, taken = take_acceptances(here, there, judge)
    assert [(one.by, one.code) for one in taken] == [
        ("ada", ""),
        ("bob", ""),
        ("", "approver-not-human"),
        ("", "finding-unknown"),
    ]
    assert (only(after).owner, len(after.places)) == ("", 1)
    assert judge(HOST, only(after)).state == "accepted"
    assert take_acceptances(after, after, judge) == (after, ())
    newer = ledgers.keep(after, id_, of("ada", until=NOW + 9, reason="only today", signed_at=NOW + 1)(world))
    assert take_acceptances(newer, there, judge)[0] == newer, "an older one takes nothing back"
    closed = found_in(ledger=after, at=NOW + 1)
    opened = found_in(a_door(), ledger=closed, at=NOW + 2)
    replayed, taken = take_acceptances(opened, there, judge)
    assert (only(replayed).acceptances, [one.code for one in taken][:2]) == ((), ["acceptance-reopened"] * 2)
