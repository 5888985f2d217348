"""How a gate follows the log: with its own nonce, its own root, and only ever stricter than targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from keyturn.app.gates.follow_as_gate import CHECKIN_EVERY_S, FollowedLog, Stricter
from keyturn.app.log.follow_log import ASKED_AGAIN_MAX
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats import dsse
from keyturn.formats.digest import Sha256
from keyturn.trust.history import TrustHistory
from support.world import World, make_world

AS_TARGETS = Stricter(witnesses_min=None, log_age_max_s=None)


@dataclass
class Published:
    """The world's log, as its service shows it: everything is cosigned at once, at the time `at`; `lost` is not given."""

    world: World
    at: int
    lost: set[Sha256] = field(default_factory=set)
    unsigned: bool = False
    kept: dict[Sha256, bytes] = field(default_factory=dict)
    leaves_read: int = 0
    envelopes_asked: int = 0

    def checkpoint(self) -> bytes:
        if self.unsigned:
            raise Unavailable("log-unpublished", "nothing is cosigned yet")
        return self.world.note(at=self.at)

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        self.leaves_read += end - start
        return self.world.log.leaves(start, end)

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self.world.log.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        self.envelopes_asked += 1
        if digest in self.lost:
            raise Unavailable("envelope-missing", "it was here a moment ago")
        if digest in self.kept:
            return self.kept[digest]
        return self.world.log.envelope(digest)

    def append(self, envelope: bytes) -> int:
        return self.world.log.append(envelope)


@dataclass
class Machine:
    """A gate, the clock it sees, the log it is shown, and how often it waited."""

    log: Published
    at: int
    waited: int = 0
    made: int = 0
    ran_s: float = 7.0

    def running(self) -> float:
        return self.ran_s

    def now(self) -> int:
        return self.at

    def nonce(self) -> str:
        self.made += 1
        return f"{self.made:032x}"

    def pause(self, seconds: float) -> None:
        self.waited += 1


@pytest.fixture
def world() -> World:
    return make_world()


def gate_of(
    world: World, *, stricter: Stricter = AS_TARGETS, cosigned_at: int | None = None
) -> tuple[FollowedLog, Machine]:
    machine = Machine(Published(world, world.now if cosigned_at is None else cosigned_at), world.now)
    history: TrustHistory = TrustHistory.start(world.lab.root_json, pinned_sha256=world.lab.root_sha256)
    gate = FollowedLog(
        history,
        gate=world.gate,
        key=world.lab.gate_keys["release"],
        stricter=stricter,
        log=machine.log,
        clock=machine,
        entropy=machine,
        pause=machine.pause,
        running=machine.running,
    )
    return gate, machine


def test_a_gate_logs_a_nonce_and_believes_a_view_that_has_it(world: World) -> None:
    gate, _ = gate_of(world)
    assert gate.refresh().nonce_seen
    size = world.log.settle().size
    assert gate.refresh().frontier.size == size  # once an hour is enough


def test_after_an_hour_it_logs_another_nonce(world: World) -> None:
    gate, machine = gate_of(world)
    gate.refresh()
    size = world.log.settle().size
    machine.at += CHECKIN_EVERY_S
    machine.log.at += CHECKIN_EVERY_S
    assert gate.refresh().frontier.size == size + 1


def test_a_nonce_that_is_never_witnessed_keeps_the_gate_closed(world: World) -> None:
    gate, machine = gate_of(world)
    old = world.note(at=world.now)
    machine.log.checkpoint = lambda: old  # type: ignore[method-assign]  # the log that stays as it was
    with pytest.raises(Unavailable) as caught:
        gate.refresh()
    assert caught.value.code == "not-in-force"
    assert machine.waited > 100


@pytest.mark.parametrize(
    ("stricter", "age_s", "code"),
    [
        pytest.param(Stricter(witnesses_min=2, log_age_max_s=None), 0, "gate-witnesses", id="more witnesses"),
        pytest.param(Stricter(witnesses_min=None, log_age_max_s=10), 30, "view-stale", id="a fresher log"),
    ],
)
def test_gate_toml_may_ask_for_more_than_targets(world: World, stricter: Stricter, age_s: int, code: str) -> None:
    gate, _ = gate_of(world, stricter=stricter, cosigned_at=world.now - age_s)
    with pytest.raises(Refused) as caught:
        gate.refresh()
    assert caught.value.code == code


def test_gate_toml_never_asks_for_less_than_targets(world: World) -> None:
    limit_s = world.lab.state.limits.log_age_max_s
    loose = Stricter(witnesses_min=1, log_age_max_s=10 * limit_s)
    gate, _ = gate_of(world, stricter=loose, cosigned_at=world.now - limit_s - 1)
    with pytest.raises(Refused) as caught:
        gate.refresh()
    assert caught.value.code == "view-stale"


def test_a_record_is_awaited_until_the_view_has_it(world: World) -> None:
    gate, _ = gate_of(world)
    asked = world.ask()
    entry = world.log.by_record(asked.record_digest)[0]
    raw = world.log.envelope(entry.envelope)
    gate.await_witnessed(entry.index, raw)
    with pytest.raises(Refused) as caught:
        gate.await_witnessed(0, raw)
    assert caught.value.code == "use-not-logged"


def test_a_log_that_shows_less_than_before_is_not_followed(world: World) -> None:
    gate, machine = gate_of(world)
    gate.refresh()
    machine.log.world = make_world()
    with pytest.raises(Unavailable) as caught:
        gate.refresh()
    assert caught.value.code == "log-behind"


def test_what_could_not_be_read_for_a_moment_is_not_lost_for_good(world: World) -> None:
    gate, machine = gate_of(world)
    asked = world.ask()
    taken = world.deny(asked, "bob")
    machine.log.lost.add(Sha256(world.log.by_record(taken.record_digest)[0].envelope))
    assert gate.refresh().known.unread
    machine.log.lost.clear()
    view = gate.refresh()
    assert view.nonce_seen
    assert not view.known.unread
    assert view.known.withdrawals[asked.record_digest][0].by == "bob"


def test_what_is_hidden_for_long_costs_a_question_and_not_the_log(world: World) -> None:
    gate, machine = gate_of(world)
    asked = world.ask()
    taken = world.deny(asked, "bob")
    machine.log.lost.add(Sha256(world.log.by_record(taken.record_digest)[0].envelope))
    gate.refresh()
    before, questions = machine.log.leaves_read, machine.log.envelopes_asked
    for _ in range(3):
        assert gate.refresh().known.unread, "nobody forgets what is hidden"
    assert machine.log.leaves_read == before
    assert machine.log.envelopes_asked == questions + 3


def test_what_was_hidden_is_found_again_though_the_log_is_full_of_what_never_was(world: World) -> None:
    """Whoever had the log can write leaves whose envelopes nobody has: they stay when the log is in good hands again."""
    gate, machine = gate_of(world)
    asked = world.ask()
    taken = world.deny(asked, "bob")
    never = [world.deny(asked, "dan") for _ in range(3 * ASKED_AGAIN_MAX)]
    for one in (taken, *never):
        machine.log.lost.add(Sha256(world.log.by_record(one.record_digest)[0].envelope))
    gate.refresh()
    machine.log.lost.discard(Sha256(world.log.by_record(taken.record_digest)[0].envelope))
    questions = machine.log.envelopes_asked
    for refreshes in range(1, 101):
        machine.at += 1
        machine.log.at += 1
        if asked.record_digest in gate.refresh().known.withdrawals:
            break
        assert machine.log.envelopes_asked - questions <= refreshes * ASKED_AGAIN_MAX
    assert gate.refresh().known.withdrawals[asked.record_digest][0].by == "bob"


def test_an_approval_that_was_hidden_for_a_moment_is_in_the_bundle_again(world: World) -> None:
    gate, machine = gate_of(world)
    asked = world.ask()
    given = world.approve(asked, "bob")
    machine.log.lost.add(Sha256(world.log.by_record(given.record_digest)[0].envelope))
    assert gate.refresh().bundle_of(asked.record_digest) is None
    machine.log.lost.clear()
    assert gate.refresh().bundle_of(asked.record_digest) is not None


def test_a_gate_that_waits_for_its_own_record_asks_for_nothing_that_is_hidden(world: World) -> None:
    gate, machine = gate_of(world)
    asked = world.ask()
    taken = world.deny(asked, "bob")
    machine.log.lost.add(Sha256(world.log.by_record(taken.record_digest)[0].envelope))
    gate.refresh()
    questions = machine.log.envelopes_asked
    with pytest.raises(Unavailable):
        gate.await_witnessed(world.log.settle().size, dsse.render(asked))
    assert machine.waited > 100
    assert machine.log.envelopes_asked == questions


def test_a_gate_that_reads_again_does_not_forget_which_log_it_read(world: World) -> None:
    """Hiding one envelope makes a gate begin at the first leaf again; another log than before is then a fork all the same."""
    gate, machine = gate_of(world)
    asked = world.ask()
    taken = world.revoke(asked, "ada")
    hidden = Sha256(world.log.by_record(taken.record_digest)[0].envelope)
    machine.log.lost.add(hidden)
    view = gate.refresh()
    assert view.known.unread
    machine.log.lost.clear()
    machine.log.kept[hidden] = world.log.envelope(hidden)
    forked = make_world()
    while forked.log.settle().size <= view.frontier.size:
        forked.ask()
    machine.log.world = forked
    with pytest.raises(Tampered) as caught:
        gate.refresh()
    assert caught.value.code == "log-fork"


def test_a_gate_follows_the_log_without_a_nonce_and_keeps_what_it_knew_when_it_cannot(world: World) -> None:
    gate, machine = gate_of(world)
    size = world.log.settle().size
    gate.follow()
    assert gate.seen.known.newest is not None
    assert world.log.settle().size == size, "no check-in: that would wait for witnesses"
    asked = world.ask()
    machine.log.unsigned = True
    with pytest.raises(KeyturnError):
        gate.follow()
    assert gate.seen.frontier.size == size
    machine.log.unsigned = False
    gate.follow()
    assert set(gate.seen.known.requests) == {asked.record_digest}


def test_a_clock_that_is_held_while_the_log_is_withheld_closes_the_gate(world: World) -> None:
    gate, machine = gate_of(world)
    gate.refresh()
    allowed_s = world.lab.state.limits.clock_skew_max_s
    machine.ran_s += allowed_s
    assert gate.refresh() is gate.believed
    machine.ran_s += 1  # the clock stands still, as the log does
    for asked in (gate.refresh, lambda: gate.believed):
        with pytest.raises(Refused, match=f"{allowed_s + 1} s behind") as caught:
            asked()
        assert caught.value.code == "clock-skew"
    machine.log.at += 1  # an older checkpoint than the time that has gone says nothing newer
    machine.at += 1
    machine.ran_s += 1
    with pytest.raises(Refused, match="behind"):
        gate.refresh()
    machine.at += 1  # set again
    assert gate.refresh() is gate.believed
