"""A check-up names what is wrong with a lab, each thing by itself, and says what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from keyturn.app.log.follow_log import follow_log
from keyturn.app.oversight.check_up import Finding, check_up, in_order
from keyturn.app.oversight.erase_records import Asked
from keyturn.app.oversight.gate_checkins import last_checkins
from keyturn.app.oversight.show_stats import Stats, read_whole, show_stats
from keyturn.errors import Unavailable
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.review import AccessReport
from keyturn.standing.finding import found as a_door
from keyturn.standing.finding import gathered
from keyturn.standing.ledger import EMPTY, Ledger, keep, record
from support.acceptances import acceptance
from support.labs import NOW, keyholders
from support.world import Witnessed, World, make_world

DAY_S = 86_400


def examined(
    world: World,
    *,
    member: str = "ada",
    key: str | None = None,
    now: int = NOW,
    lost: frozenset[str] = frozenset(),
    processes: Mapping[str, Callable[[], str]] | None = None,
    ledger: Callable[[], Ledger] = lambda: EMPTY,
    erasures: Callable[[], tuple[Asked, ...]] = lambda: (),
) -> dict[str, Finding]:
    """The worst finding of each check."""
    reader = Witnessed(world, lost=lost)
    view = follow_log(world.start(None), reader, now=world.now)

    def stats() -> Stats:
        return show_stats(view, read_whole(view, reader), world.lab.state, since=now - 90 * DAY_S, now=now)

    own = world.key(member).public.keyid if key is None else key
    found = in_order(
        check_up(
            view,
            world.lab.state,
            stats,
            member=member,
            own_keys=(own,),
            processes=processes or {},
            ledger=ledger,
            gates_seen=lambda: last_checkins(reader, world.log, world.lab.state, size=view.frontier.size),
            erasures=erasures,
            now=now,
        )
    )
    return {one.check: one for one in reversed(found)}


def test_a_lab_in_good_health_says_so() -> None:
    world = make_world()
    world.ask()
    found = examined(world)
    assert {check: one.level for check, one in found.items()} == {
        "profile": "warning",
        "trust": "ok",
        "log": "ok",
        "witnesses": "ok",
        "you": "ok",
        "policy": "warning",
        "gates": "warning",
    }
    assert found["gates"].hint.startswith("nothing, if it answers"), "a gate that answers is no fault"
    assert found["profile"].found.startswith("demo")


def test_a_permit_that_nobody_used_is_a_finding_once_the_lab_is_old_enough_to_know() -> None:
    world = make_world()
    world.ask()
    ends = world.lab.state.targets_expires_at
    assert "permits" not in examined(world, now=ends - 1)
    assert "was not asked for in 90 days" in examined(world, now=ends)["permits"].found


def test_trust_that_ends_soon_and_trust_that_ended() -> None:
    world = make_world()
    world.ask()
    ends = world.lab.state.targets_expires_at
    assert examined(world, now=ends - 10 * DAY_S)["trust"].level == "warning"
    assert examined(world, now=ends)["trust"].level == "error"


def test_a_log_that_nobody_cosigns_any_more_is_an_error() -> None:
    world = make_world()
    world.ask()
    assert examined(world, now=NOW + DAY_S)["log"].level == "error"


def test_keys_that_the_roster_does_not_list_and_people_whom_it_does_not() -> None:
    world = make_world()
    world.ask()
    assert examined(world, key="0" * 64)["you"].hint.startswith("keyturn trust invite ID --new-keys")
    assert examined(world, member="nobody", key="0" * 64)["you"].level == "error"


def test_who_is_suspended_is_told_so_and_everybody_sees_it() -> None:
    world = make_world()
    world.suspend("cat", target_member="ada")
    found = examined(world)
    assert (found["you"].level, found["you"].found) == ("error", "`ada` is suspended")
    assert "suspended until" in found["suspensions"].found


def test_a_keyholder_who_left_or_is_suspended_is_a_finding_and_so_is_a_bastion_without_any() -> None:
    gates = (("release", "release"), ("front", "bastion"))
    assert examined(make_world(gates=gates))["recordings"].level == "error"
    world = make_world(gates=gates, recordings=keyholders("cat", "dan", "eve"))
    world.ask()
    found = examined(world)["recordings"]
    assert (found.level, found.found) == ("ok", "open with 2 of cat, dan, eve")
    world.suspend("bob", target_member="dan")
    assert "`dan` is suspended" in examined(world)["recordings"].found
    world = make_world(gates=gates, recordings=keyholders("cat", "mallory"))
    world.ask()
    found = examined(world)["recordings"]
    assert found.level == "warning"
    assert found.found.startswith("`mallory` is no member of the lab, or no more, and has a share")


def test_a_lab_without_a_policy_is_examined_and_told_so() -> None:
    world = make_world(policy={})
    world.suspend("bob", target_member="eve")
    found = examined(world)
    assert (found["policy"].level, found["policy"].found) == (
        "error",
        "expected at least one policy, got none: nothing is allowed",
    )
    assert "keyturn trust propose" in found["policy"].hint
    assert {found[check].level for check in ("trust", "log", "you")} == {"ok"}, "the rest is examined all the same"


def test_a_record_that_could_not_be_read_is_an_error() -> None:
    world = make_world()
    denial = world.deny(world.ask(), "bob")
    assert examined(world, lost=frozenset({sha256(dsse.render(denial))}))["records"].level == "error"


def test_a_process_that_does_not_answer_or_is_another_one() -> None:
    def away() -> str:
        raise Unavailable("no-answer", "nobody there")

    world = make_world()
    world.ask()
    found = examined(world, processes={"builder": away, "gate-release": lambda: "is another", "gate-ok": lambda: ""})
    assert (found["builder"].level, found["builder"].found) == ("warning", "nobody there")
    assert found["gate-release"].level == "warning"
    assert found["gate-ok"].level == "ok"


def test_what_was_opened_by_break_glass_awaits_a_review() -> None:
    world = make_world()
    use = world.glass_use(world.ask(world.emergency(), submit=False))
    found = examined(world)["break-glass"]
    assert (found.level, found.hint) == ("warning", f"keyturn grant review brk-{use.record_digest[:32]}")
    world.review(use, "dan")
    assert "break-glass" not in examined(world)


def test_access_that_nobody_reviewed_for_long_is_named() -> None:
    world = make_world()
    use = world.glass_use(world.ask(world.emergency(), submit=False))
    ends = world.lab.state.targets_expires_at
    assert "access" not in examined(world)
    assert examined(world, now=ends)["access"].found.startswith("nobody has reviewed")
    report = AccessReport(sha256="ab" * 32, log_size=1, trust_version=1, as_of=NOW)
    world.review(use, "eve", use=None, report=report)
    assert "access" not in examined(world, now=NOW + 90 * DAY_S)
    assert "last by eve at" in examined(world, now=NOW + 90 * DAY_S + 1)["access"].found


def test_standing_access_is_counted_whoever_accepted_it_and_a_scan_that_is_old_is_named() -> None:
    world = make_world()
    world.ask()
    door = a_door("ssh-key", "ssh", "/root/.ssh/authorized_keys", opens="root", to="eve", severity="high", close="")
    ledger, _ = record(EMPTY, "host:gpu1", gathered([door]), owner="ada", now=NOW)
    found = examined(world, ledger=lambda: ledger)["standing access"]
    assert (found.level, found.found) == (
        "warning",
        "host:gpu1: 1 doors open without a grant, 1 of them open all of it",
    )
    standing = ledger.places[0].standing[0]
    for member in ("ada", "bob"):
        signed = acceptance("host:gpu1", standing, member=member, key=world.key(member))
        ledger = keep(ledger, door.id("host:gpu1"), signed)
    ends = rfc3339(NOW + DAY_S)
    found = examined(world, ledger=lambda: ledger)["standing access"]
    assert (found.level, found.found) == (
        "ok",
        f"host:gpu1: no door that nobody accepted, and 1 that two people accepted (ada, bob), the first until {ends}",
    )
    world.suspend("cat", target_member="bob")
    found = examined(world, ledger=lambda: ledger)["standing access"]
    assert (found.level, found.found.partition("; ")[2]) == ("warning", "1 acceptances of them do not count")
    assert "was scanned last" in examined(world, ledger=lambda: ledger, now=NOW + 3 * DAY_S)["standing access"].found

    def unreadable() -> Ledger:
        raise Unavailable("ledger-unreadable", "no ledger", hint="look")

    assert examined(world, ledger=unreadable)["standing access"].level == "error"


def test_when_each_gate_signed_into_the_log_last_is_said_and_of_which_nothing_is_known() -> None:
    world = make_world()
    world.check_in()
    world.now += 3600
    world.check_in()
    for _ in range(3):
        world.ask()
    assert "gate/other" in examined(world)["gates"].found
    world.check_in("other")
    found = examined(world, now=world.now + DAY_S)["gates"]
    assert (found.level, "1d ago" in found.found) == ("ok", True), found
    seen = last_checkins(Witnessed(world), world.log, world.lab.state, size=world.log.settle().size)
    assert {made.signed_at for made in seen.values() if made} == {world.now}, "the newest one counts"


def test_a_gate_that_observes_is_a_warning_for_as_long_as_it_says_so() -> None:
    world = make_world()
    for gate in ("release", "other"):
        world.check_in(gate, observes=gate == "other")
    found = examined(world)["gates"]
    assert (found.level, "gate/other observes" in found.found) == ("warning", True)
    world.check_in("other")
    assert examined(world)["gates"].level == "ok"


def test_a_check_in_that_no_gate_signed_or_that_is_hidden_says_nothing() -> None:
    world = make_world()
    world.hide("chk", f"gate:{world.gate}")
    world.check_in()
    other = world.lab.state.gates[str(world.lab.gate_uri("other"))]
    stranger = dataclasses.replace(world.lab.state, gates={str(world.gate): other})
    size = world.log.settle().size
    assert last_checkins(Witnessed(world), world.log, stranger, size=size) == {str(world.gate): None}
    known = last_checkins(Witnessed(world), world.log, world.lab.state, size=size)[str(world.gate)]
    assert known is not None
    assert known.signed_at == world.now
    lost = Witnessed(world, lost=frozenset(one.envelope for one in world.log.of_kinds(("chk",))))
    assert last_checkins(lost, world.log, world.lab.state, size=size)[str(world.gate)] is None


def test_a_tombstone_that_waits_and_an_erasure_that_is_due_are_named() -> None:
    world = make_world()
    waits = Asked("req-1", 3, ("eve",), None, "waiting")
    found = examined(world, erasures=lambda: (waits,))["erasures"]
    assert ("req-1" in found.found, found.hint) == (True, "another human: keyturn tombstone sign req-1")
    due = Asked("apr-2", 4, ("bob", "eve"), 9, "due")
    found = examined(world, erasures=lambda: (due,))["erasures"]
    assert (found.level, "apr-2" in found.found, found.hint) == (
        "warning",
        True,
        "keyturn log erase, where the log lies",
    )
    assert "erasures" not in examined(world, erasures=lambda: (Asked("apr-2", 4, (), 9, "erased"),))

    def away() -> tuple[Asked, ...]:
        raise Unavailable("log-behind", "gone")

    assert examined(world, erasures=away)["erasures"].level == "error"
