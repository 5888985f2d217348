"""Two people have the text of a record erased; the log stays what its witnesses cosigned, and nothing opens by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.app.access.take_away import Hand
from keyturn.app.log.follow_log import follow_log
from keyturn.app.log.verify_log import read_log, refuse_faults
from keyturn.app.oversight.check_up import Finding, check_up
from keyturn.app.oversight.erase_records import Asked, asked_for, erase, find_erasable, sign_tombstone
from keyturn.app.oversight.show_stats import Stats, read_whole, show_stats
from keyturn.app.records.quotas import Quotas
from keyturn.app.records.submit import Admission
from keyturn.app.trust.void_hidden import closing, require_hidden
from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.formats import dsse, records
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.grants.negatives import PAIR_REST_S
from keyturn.standing.ledger import EMPTY
from support.chains import changed
from support.labs import NOW
from support.world import BREAK_GLASS, Witnessed, World, make_world

OVER = NOW + 7200
"""When a request of a world is over."""


class At:
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> int:
        return self._world.now


class Fixed:
    def __init__(self, world: World) -> None:
        self._world = world

    def nonce(self) -> str:
        return self._world.nonce()


def id_of(record: Envelope) -> str:
    return records.parse(dsse.render(record)).id


def asked(world: World) -> list[Asked]:
    reader = Witnessed(world)
    whole = read_log(reader, history=world.lab.history, clock=At(world), progress=lambda count: None)
    refuse_faults(whole)
    known = follow_log(world.start(None), reader, now=world.now).known
    return list(asked_for(reader, world.log, whole, known, world.lab.state, now=world.now))


def states(world: World) -> list[tuple[str, str]]:
    return [(one.state, one.why) for one in asked(world)]


def erase_all(world: World) -> int:
    due = [one for one in asked(world) if one.state == "due"]
    return erase(due, Witnessed(world), world.log)


def sign(world: World, record: Envelope, member: str) -> int:
    """`member` signs by the use case, and the log admits it."""
    reader = Witnessed(world)
    view = follow_log(world.start(None), reader, now=world.now)
    found = find_erasable(reader, world.log, view.known, id_of(record), now=world.now)
    assert found.record.digest == record.record_digest
    hand = Hand(member, world.key(member), world.log, At(world), Fixed(world))
    return sign_tombstone(found, hand, world.lab.state, view, ground="objection", case="2026-017").index


def door(world: World) -> Admission:
    return Admission(
        log=world.log,
        reader=world.log,
        index=world.log,
        root_sha256=lambda: world.lab.root_sha256,
        clock=At(world),
        quotas=Quotas(),
    )


def over() -> tuple[World, Envelope, Envelope]:
    """A world in which a request of ada's was granted, and is over; with bob's approval."""
    world = make_world()
    request = world.ask()
    approval = world.approve(request, "bob")
    world.approve(request, "eve")
    world.now = OVER
    return world, request, approval


def test_two_people_erase_what_is_over_and_the_log_verifies_and_says_so() -> None:
    world, request, _ = over()
    before = world.log.leaves(0, world.log.settle().size)
    sign(world, request, "bob")
    assert states(world) == [("waiting", "")]
    assert erase_all(world) == 0
    last = sign(world, request, "cat")
    assert states(world) == [("due", "")]
    assert erase_all(world) == 1
    (one,) = asked(world)
    assert (one.id, one.state, one.signers, one.tombstone) == (id_of(request), "erased", ("bob", "cat"), last)
    with pytest.raises(Unavailable):
        world.log.envelope(sha256(dsse.render(request)))
    assert world.log.leaves(0, len(before)) == before
    whole = read_log(Witnessed(world), history=world.lab.history, clock=At(world), progress=lambda count: None)
    (fault,) = whole.faults
    assert (fault.what, fault.tombstone, fault.stands) == ("erased", last, False)


def test_a_missing_envelope_without_tombstones_of_two_remains_a_fault() -> None:
    world, request, approval = over()
    world.tombstone(request, "bob")
    world.log.erase([sha256(dsse.render(request))])
    with pytest.raises(Unavailable, match="log-envelope-missing"):
        asked(world)
    world.tombstone(request, "cat")
    assert states(world) == [("erased", "")]
    world.log.erase([sha256(dsse.render(approval))])
    with pytest.raises(Unavailable, match="log-envelope-missing"):
        asked(world)


def test_a_record_that_must_stay_is_missed_whatever_tombstones_say() -> None:
    world, request, approval = over()
    use = world.use(request, approval)
    for member in ("bob", "cat"):
        world.tombstone(use, member)
    assert asked(world) == []
    world.log.erase([sha256(dsse.render(use))])
    with pytest.raises(Unavailable, match="log-envelope-missing"):
        asked(world)


def test_a_tombstone_that_nobody_may_sign_is_passed_over_when_the_log_is_verified() -> None:
    world, request, _ = over()
    world.tombstone(request, "bob")
    world.tombstone(request, "bob+ops")
    forged = world.tombstone(request, "cat", key=world.key("bob").public.keyid)
    assert forged
    assert states(world) == [("waiting", "")]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda w, r, a: (r, "ada"), "tombstone-own", id="who asked"),
        pytest.param(lambda w, r, a: (a, "bob"), "tombstone-own", id="who approved"),
        pytest.param(lambda w, r, a: (w.use(r, a), "cat"), "tombstone-kind", id="a use"),
        pytest.param(lambda w, r, a: (w.tombstone(r, "bob"), "cat"), "tombstone-kind", id="a tombstone"),
        pytest.param(lambda w, r, a: (w.ask(w.request("dan")), "cat"), "tombstone-live", id="a live request"),
        pytest.param(
            lambda w, r, a: (w.approve(w.ask(w.request("dan")), "bob", expires_at=w.now + 1), "cat"),
            "tombstone-live",
            id="an approval of a live request",
        ),
        pytest.param(
            lambda w, r, a: (
                w.lift(w.suspend("cat", target_member="dan", signed_at=w.now, until=w.now + 9), "eve"),
                "bob",
            ),
            "tombstone-live",
            id="a lift of a live suspension",
        ),
        pytest.param(
            lambda w, r, a: (
                (w.suspend("cat", target_member="eve", signed_at=w.now, until=w.now + 9), "eve")[:0] or (r, "eve")
            ),
            "suspended",
            id="somebody who is suspended",
        ),
    ],
)
def test_whoever_may_not_and_what_may_not_is_refused_before_it_is_signed(
    make: Callable[[World, Envelope, Envelope], tuple[Envelope, str]], code: str
) -> None:
    world, request, approval = over()
    record, member = make(world, request, approval)
    size = world.log.settle().size
    with pytest.raises(Refused, match=code):
        sign(world, record, member)
    assert world.log.settle().size == size


def test_the_keeper_looks_again_and_keeps_what_is_live_or_what_its_own_people_would_erase() -> None:
    """Two who collude sign with a program of their own: what the record itself says is held against them before it goes."""
    world = make_world()
    request = world.ask()
    for member in ("bob", "cat"):
        world.tombstone(request, member)
    ((state, why),) = states(world)
    assert (state, "matters to gates until" in why, erase_all(world)) == ("kept", True, 0)
    world.now = OVER
    assert states(world) == [("due", "")]

    world, request, _ = over()
    for member in ("ada", "bob"):
        world.tombstone(request, member)
    ((state, why),) = states(world)
    assert (state, why.endswith("got bob"), erase_all(world)) == ("kept", True, 0)

    for target in ({"target_member": "bob"}, {"target_key": world.key("bob").public.keyid}):
        world, request, _ = over()
        for member in ("cat", "bob"):
            world.tombstone(request, member)
        world.suspend("cat", signed_at=OVER, until=OVER + 60, **target)
        ((state, why),) = states(world)
        assert (state, why.endswith("got cat")) == ("kept", True)


def test_what_was_asked_for_in_an_emergency_stays_until_it_was_reviewed() -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    request = world.ask(world.emergency())
    approval = world.approve(request, "bob", expires_at=NOW + 60)
    use = world.glass_use(request)
    world.now = NOW + 3600
    for record in (request, approval):
        with pytest.raises(Refused, match="tombstone-unreviewed"):
            sign(world, record, "cat")
    world.review(use, "eve")
    sign(world, request, "cat")
    sign(world, request, "eve")
    assert erase_all(world) == 1


def test_a_lift_goes_when_its_suspension_is_over_for_good() -> None:
    world = make_world()
    suspension = world.suspend("cat", target_member="dan")
    lift = world.lift(suspension, "eve")
    world.now = NOW + 3600 + PAIR_REST_S
    for member in ("bob", "ada"):
        sign(world, lift, member)
    assert erase_all(world) == 1


def test_a_live_denial_may_go_and_is_no_void_entry_nor_a_finding() -> None:
    world = make_world()
    request = world.ask()
    denial = world.deny(request, "dan")
    for member in ("eve", "bob"):
        sign(world, denial, member)
    assert erase_all(world) == 1
    reader = Witnessed(world)
    assert closing(reader, history=world.lab.history, clock=At(world), progress=lambda count: None) == ()
    with pytest.raises(Refused, match="trust-void-readable"):
        require_hidden((range(4, 5),), found=())
    view = follow_log(world.start(None), reader, now=world.now)
    assert view.known.unread == {f"request:{request.record_digest}"}
    reader.envelope = lambda digest: pytest.fail("nobody looks for it")  # type: ignore[method-assign, assignment]
    assert follow_log(view, reader, now=world.now).known == view.known
    examined = check_up(
        view,
        world.lab.state,
        lambda: stats(world),
        member="ada",
        own_keys=(),
        processes={},
        ledger=lambda: EMPTY,
        gates_seen=dict,
        erasures=tuple,
        now=NOW,
    )
    records_found = [one for one in examined if one.check == "records"]
    assert records_found == [
        Finding("ok", "records", "1 records were erased, and what they took away stays taken until they are over")
    ]


def stats(world: World) -> Stats:
    reader = Witnessed(world)
    view = follow_log(world.start(None), reader, now=world.now)
    return show_stats(view, read_whole(view, reader), world.lab.state, since=NOW - 1, now=world.now)


@pytest.mark.parametrize("which", ["the request", "an approval", "a denial"])
def test_what_was_erased_is_counted_as_erased_and_makes_no_request_look_otherwise_than_it_was(which: str) -> None:
    world, request, approval = over()
    denial = world.deny(request, "dan", expires_at=OVER + 60)
    assert (stats(world).asked, stats(world).denied, stats(world).erased) == (1, 1, 0)
    record = {"the request": request, "an approval": approval, "a denial": denial}[which]
    for member in {"bob", "cat", "eve"} - {"bob" if record is approval else "eve"}:
        sign(world, record, member)
    assert erase_all(world) == 1
    found = stats(world)
    assert (found.asked, found.lapsed, found.erased, found.unread) == (0, 0, 1, 0)


def test_an_erased_record_does_not_come_back_when_somebody_sends_it_again() -> None:
    world, request, _ = over()
    running = door(world)
    for member in ("bob", "cat"):
        sign(world, request, member)
    assert erase_all(world) == 1
    world.now += 1  # a service reads what came since, once a second
    for admission in (door(world), running):
        index = admission.submit(dsse.render(request)).index
        assert (index, states(world)) == (2, [("erased", "")])


@pytest.mark.parametrize(
    "members", [(), ("bob",), ("bob", "bob+ops")], ids=["nobody", "one person", "one person and an agent"]
)
def test_a_record_that_the_log_lost_comes_back_unless_two_people_said_that_it_goes(members: tuple[str, ...]) -> None:
    world, request, _ = over()
    for member in members:
        world.tombstone(request, member)
    world.log.erase([sha256(dsse.render(request))])
    door(world).submit(dsse.render(request))
    assert world.log.envelope(sha256(dsse.render(request))) == dsse.render(request)


def test_the_log_takes_tombstones_of_what_it_has_and_may_lose_by_humans_alone() -> None:
    world, request, approval = over()
    use, never = world.use(request, approval), world.ask(submit=False)
    admission = door(world)
    for record, member, code in (
        (request, "bob+ops", "signer-not-human"),
        (use, "bob", "tombstone-kind"),
        (never, "bob", "record-not-found"),
        (world.tombstone(request, "cat"), "bob", "tombstone-kind"),
    ):
        with pytest.raises(Refused, match=code):
            admission.submit(dsse.render(world.tombstone(record, member, submit=False)))
    assert admission.submit(dsse.render(world.tombstone(request, "bob", submit=False))).leaf.kind == "tmb"
    software = make_world(profile="production", witnesses=("north", "south", "west"))
    raw = dsse.render(software.tombstone(software.ask(), "bob", submit=False))
    with pytest.raises(Refused, match="approver-key-software"):
        door(software).submit(raw)


def test_an_eraser_that_erases_nothing_is_found_out() -> None:
    world, request, _ = over()
    for member in ("bob", "cat"):
        sign(world, request, member)

    class Lazy:
        def erase(self, envelopes: object) -> int:
            return 1

    with pytest.raises(Unavailable, match="not-erased"):
        erase(asked(world), Witnessed(world), Lazy())


def test_an_index_that_lies_about_a_record_erases_nothing_else() -> None:
    world, request, _ = over()
    raw = dsse.render(request)
    world.log.append_leaf(raw, changed(records.leaf_of(raw), about=("member:bob",)))
    for member in ("bob", "cat"):
        world.tombstone(request, member)
    with pytest.raises(Tampered, match="log-leaf"):  # the entry of no record is named first
        asked(world)
    whole = read_log(Witnessed(world), history=world.lab.history, clock=At(world), progress=lambda count: None)
    known = follow_log(world.start(None), Witnessed(world), now=world.now).known
    found = list(asked_for(Witnessed(world), world.log, whole, known, world.lab.state, now=world.now))
    assert [one.state for one in found] == ["due", "kept"]
