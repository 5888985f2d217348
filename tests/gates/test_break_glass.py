"""A gate that opens by break-glass: nobody is let in unless the use is kept, and what is kept comes into the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keyturn.adapters.files.break_glass_journal import BreakGlassJournalFiles
from keyturn.app.gates.follow_as_gate import FollowedLog, Stricter
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import dsse
from keyturn.formats.digest import Sha256, sha256
from keyturn.gates.break_glass import BreakGlassDoor
from keyturn.grants.break_glass import VerifiedBreakGlass
from keyturn.grants.bundle import Bundle
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.history import TrustHistory
from support.world import BREAK_GLASS, Witnessed, World, make_world

OTHER = "keyturn://acme.example/model/other"


@dataclass
class Reachable:
    """The world's log, as long as it is `up`; `unlogged` are the records that it refuses."""

    world: World
    up: bool = True
    unlogged: set[bytes] = field(default_factory=set)

    def _require_up(self) -> Witnessed:
        if not self.up:
            raise Unavailable("log-away", "the log does not answer")
        return Witnessed(self.world)

    def checkpoint(self) -> bytes:
        return self._require_up().checkpoint()

    def leaves(self, start: int, end: int) -> list[bytes]:
        return self._require_up().leaves(start, end)

    def hashes(self, level: int, start: int, end: int) -> list[bytes]:
        return self._require_up().hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        return self._require_up().envelope(digest)

    def append(self, envelope: bytes) -> int:
        self._require_up()
        if envelope in self.unlogged:
            raise Refused("signer-unknown", "he left")
        return self.world.log.append(envelope)


@dataclass
class Gate:
    """A gate with its journal in `place`; `restart` makes the next process of it."""

    world: World
    place: Path
    log: Reachable
    door: BreakGlassDoor

    @classmethod
    def start(cls, world: World, place: Path, log: Reachable | None = None) -> Gate:
        log = log or Reachable(world)
        machine = world.clock
        key = world.lab.gate_keys["release"]
        followed = FollowedLog(
            TrustHistory.start(world.lab.root_json, pinned_sha256=world.lab.root_sha256),
            gate=world.gate,
            key=key,
            stricter=Stricter(witnesses_min=None, log_age_max_s=None),
            log=log,
            clock=machine,
            entropy=machine,
            pause=lambda _: None,
            running=machine.now,
        )
        if log.up:
            followed.refresh()
        door = BreakGlassDoor(
            gate=world.gate,
            key=key,
            followed=followed,
            writer=log,
            journal=BreakGlassJournalFiles(place),
            clock=machine,
            entropy=machine,
        )
        return cls(world, place, log, door)

    def restart(self) -> Gate:
        return Gate.start(self.world, self.place, self.log)

    def open(self, bundle: Bundle) -> VerifiedBreakGlass:
        return self.door.open(bundle, session_key=self.world.session.public, facts=NO_FACTS)

    @property
    def kept(self) -> list[Path]:
        return list(self.place.glob("*.break-glass"))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate.start(make_world(policy={"main": BREAK_GLASS}), tmp_path / "state")


def agreed(world: World, requester: str = "ada", **changed: object) -> Bundle:
    asked = world.ask(world.emergency(requester, **changed), submit=False)
    return world.bundle(asked, world.authorization(asked, "bob"))


def logged(world: World) -> list[str]:
    size = world.log.settle().size
    kinds = [leaf.partition(b'"kind":"')[2][:3].decode() for leaf in world.log.leaves(0, size)]
    return [kind for kind in kinds if kind in ("req", "apr", "brk")]


def test_somebody_is_let_in_without_the_log_and_it_is_logged_when_that_is_there(gate: Gate) -> None:
    gate.log.up = False
    gate.world.now += 7200
    grant = gate.open(agreed(gate.world))
    assert grant.granted.approvers == ("bob",)
    assert (len(gate.kept), logged(gate.world)) == (1, [])
    with pytest.raises(Unavailable, match="log-away"):
        gate.door.log_what_waits()
    gate.log.up = True
    assert gate.door.log_what_waits() == 1
    assert (gate.kept, logged(gate.world)) == ([], ["req", "apr", "brk"])
    assert gate.door.log_what_waits() == 0


def test_nobody_is_let_in_when_the_use_cannot_be_kept(gate: Gate) -> None:
    gate.place.write_text("a file where the directory should be")
    with pytest.raises(Unavailable, match="journal-unwritable"):
        gate.open(agreed(gate.world))


def test_one_request_has_one_use_however_often_it_opens(gate: Gate) -> None:
    bundle = agreed(gate.world)
    gate.open(bundle)
    gate.open(bundle)
    assert len(gate.kept) == 1
    gate.door.log_what_waits()
    gate.open(bundle)
    assert gate.kept == []


def test_what_was_opened_locks_before_the_log_has_it_and_in_the_next_process(gate: Gate) -> None:
    gate.open(agreed(gate.world))
    for again in (gate, gate.restart()):
        with pytest.raises(Refused, match="break-glass-locked"):
            again.open(agreed(gate.world, resource=OTHER))
    gate.door.log_what_waits()
    with pytest.raises(Refused, match="break-glass-locked"):
        gate.open(agreed(gate.world, resource=OTHER))


def test_what_the_journal_forgot_is_in_the_view_by_which_the_next_is_judged(gate: Gate) -> None:
    gate.open(agreed(gate.world))
    gate.door.log_what_waits()
    gate.log.up = False
    with pytest.raises(Refused, match="break-glass-locked"):
        gate.open(agreed(gate.world, resource=OTHER))


def test_a_review_unlocks_the_gate(gate: Gate) -> None:
    gate.open(agreed(gate.world))
    ((*_, use),) = BreakGlassJournalFiles(gate.place).entries()
    gate.door.log_what_waits()
    gate.world.review(dsse.parse_own(use), "dan")
    assert gate.open(agreed(gate.world, resource=OTHER))


def test_a_use_is_logged_although_whoever_asked_left_the_lab(gate: Gate) -> None:
    bundle = agreed(gate.world)
    gate.open(bundle)
    gate.log.unlogged = {dsse.render(bundle.request), dsse.render(bundle.authorizations[0])}
    assert gate.door.log_what_waits() == 1
    assert logged(gate.world) == ["brk"]


def test_a_gate_that_never_believed_a_view_opens_nothing(tmp_path: Path) -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    gate = Gate.start(world, tmp_path / "state", Reachable(world, up=False))
    with pytest.raises(Unavailable, match="view-empty"):
        gate.open(agreed(world))


def test_a_journal_that_holds_something_else_opens_nothing(gate: Gate) -> None:
    bundle = agreed(gate.world)
    BreakGlassJournalFiles(gate.place).keep(sha256(b"x"), (dsse.render(bundle.request),))
    with pytest.raises(Malformed, match="journal-damaged"):
        gate.open(bundle)
