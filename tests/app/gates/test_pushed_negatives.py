"""What a gate holds of what was pushed to it, and what whoever took access away is told of each gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec
import pytest

from keyturn.adapters.files.pushed_files import PushedFiles
from keyturn.app.gates import obey_pushed
from keyturn.app.gates.obey_pushed import HELD_OF_ONE_MAX, PushedNegatives
from keyturn.app.gates.tell_gates import AtGate, gates_concerned, tell_gates
from keyturn.crypto import dsse_signing
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, gate_answer
from keyturn.formats.dsse import Envelope
from keyturn.formats.gate_answer import GateObeys
from support.labs import make_key
from support.releases import PushedInMemory
from support.world import World, make_world


@pytest.fixture
def world() -> World:
    return make_world()


def held(world: World, store: PushedInMemory) -> PushedNegatives:
    clock = type("Clock", (), {"now": lambda _: world.now})()
    return PushedNegatives(store, clock)


def denial(world: World, asked: Envelope, member: str = "dan", **changed: object) -> bytes:
    return dsse.render(world.authorization(asked, member, decision="deny", reason="no", **changed))


# --- the gate -----------------------------------------------------------------------------------------------------


def test_a_gate_that_starts_again_goes_on_obeying(world: World) -> None:
    asked, store = world.ask(), PushedInMemory()
    view = world.view()
    raw = denial(world, asked)
    first = held(world, store)
    found = first.take(raw, view)
    assert first.take(raw, view) == found, "the same again is the same"
    assert len(store.raws) == 1
    store.raws["damaged"] = b"garbage"
    again = held(world, store).over(view)
    assert again.known.withdrawals[asked.record_digest][0].digest == found.digest
    assert asked.record_digest not in view.known.withdrawals


def test_what_is_refused_is_not_held(world: World) -> None:
    asked, store = world.ask(), PushedInMemory()
    pushed = held(world, store)
    with pytest.raises(Refused):
        pushed.take(dsse.render(world.authorization(asked, "bob")), world.view())
    assert store.raws == {}


def test_one_member_fills_no_gate_and_all_of_them_do_not_either(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store, view = PushedInMemory(), world.view()
    pushed = held(world, store)
    asked = world.ask()
    for _ in range(HELD_OF_ONE_MAX):
        pushed.take(denial(world, asked), view)
    with pytest.raises(Unavailable, match="pushed-full"):
        pushed.take(denial(world, asked), view)
    pushed.take(denial(world, asked, "cat"), view)
    monkeypatch.setattr(obey_pushed, "HELD_MAX", HELD_OF_ONE_MAX + 1)
    with pytest.raises(Unavailable, match="pushed-full"):
        pushed.take(denial(world, asked, "bob"), view)
    assert len(store.raws) == HELD_OF_ONE_MAX + 1


def test_nobody_keeps_a_member_from_being_heard_with_his_own_words_that_the_log_has(world: World) -> None:
    """Who reads the log pushes all of them again, of denials, revocations and suspensions; each is held, and none counts."""
    pushed = held(world, PushedInMemory())
    asked = world.ask()
    logged = [dsse.render(world.deny(asked, "dan")) for _ in range(HELD_OF_ONE_MAX)]
    logged += [dsse.render(world.suspend("cat", target_member=member)) for member in ("eve", "bob")]
    view = world.view()
    for raw in logged:
        pushed.take(raw, view)
    other = world.ask()
    view = world.view()
    found = pushed.take(denial(world, other), view)
    assert found.digest in {one.digest for one in pushed.over(view).known.withdrawals[other.record_digest]}


def test_what_is_over_makes_room(world: World) -> None:
    store, view = PushedInMemory(), world.view()
    pushed = held(world, store)
    asked = world.ask()
    pushed.take(denial(world, asked, expires_at=world.now + 5), view)
    world.now += 5
    pushed.take(denial(world, asked, "cat"), view)
    assert len(store.raws) == 1


def test_a_full_disk_is_said_and_the_gate_obeys_all_the_same(world: World) -> None:
    @dataclass
    class Full(PushedInMemory):
        def keep(self, digest: str, envelope: bytes) -> None:
            raise Unavailable("journal-unwritable", "full")

    asked, view = world.ask(), world.view()
    pushed = held(world, Full())
    with pytest.raises(Unavailable, match="journal-unwritable"):
        pushed.take(denial(world, asked), view)
    assert asked.record_digest in pushed.over(view).known.withdrawals


def test_it_is_kept_in_files_that_are_whole(world: World, tmp_path) -> None:  # type: ignore[no-untyped-def]
    store = PushedFiles(tmp_path / "state" / "pushed")
    assert store.kept() == ()
    raw = denial(world, world.ask())
    digest = dsse.parse_own(raw).record_digest
    store.keep(digest, raw)
    store.keep(digest, raw)
    assert store.kept() == (raw,)
    store.drop(digest)
    store.drop(digest)
    assert store.kept() == ()
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="journal-unwritable"):
        PushedFiles(tmp_path / "file" / "pushed").keep(digest, raw)


# --- whoever takes away -------------------------------------------------------------------------------------------


@dataclass
class Doors:
    """Gates that answer what a test has them answer."""

    answers: Mapping[str, bytes | KeyturnError] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)

    def tell(self, gates: Collection[str], envelope: bytes) -> Mapping[str, bytes | KeyturnError]:
        self.heard += gates
        return {gate: self.answers[gate] for gate in gates}


def told(world: World, raw: bytes, answer: bytes | KeyturnError) -> AtGate:
    clock = type("Clock", (), {"now": lambda _: world.now})()
    gate = str(world.gate)
    [found] = tell_gates(raw, (gate,), world.lab.state, Doors({gate: answer}), clock=clock)
    return found


def said(world: World, raw: bytes, *, key: str = "release", **changed: object) -> bytes:
    """The answer of the gate whose key is `key`, with `changed` fields."""
    held = world.lab.gate_keys.get(key) or make_key(key)
    value = GateObeys(
        lab=world.lab.name,
        gate=str(world.gate),
        key=held.public.keyid,
        record=dsse.parse_own(raw).record_digest,
        size=17,
        signed_at=world.now,
    )
    return dsse.render(dsse_signing.sign(gate_answer.make(msgspec.structs.replace(value, **changed)), held))


def test_a_gates_signed_word_over_this_record_is_in_force(world: World) -> None:
    raw = denial(world, world.ask())
    assert told(world, raw, said(world, raw)) == AtGate(gate=str(world.gate), in_force=True, size=17)
    assert told(world, raw, said(world, raw, acted=True)).acted


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"record": "ab" * 32}, "gate-answer-other", id="about another record"),
        pytest.param({"lab": "other.example"}, "gate-answer-other", id="of another lab"),
        pytest.param({"gate": "keyturn://acme.example/gate/other"}, "gate-answer-other", id="of another gate"),
        pytest.param({"key": "other"}, "signature-key", id="by another gate's key"),
        pytest.param({"key": "thief"}, "signature-key", id="by nobody's key"),
        pytest.param({"signed_at": 1}, "gate-answer-old", id="of another time"),
    ],
)
def test_anybody_elses_word_is_not_in_force(world: World, changed: dict[str, object], code: str) -> None:
    raw = denial(world, world.ask())
    key = str(changed.pop("key", "release"))
    found = told(world, raw, said(world, raw, key=key, **changed))
    assert (found.in_force, found.code) == (False, code)
    assert found.closes_by_s == world.lab.state.limits.log_age_max_s


@pytest.mark.parametrize("answer", [b"", b'{"in_force":true}', Unavailable("no-answer", "no answer")])
def test_no_answer_is_not_in_force(world: World, answer: bytes | KeyturnError) -> None:
    found = told(world, denial(world, world.ask()), answer)
    assert not found.in_force
    assert found.code


def test_the_gates_that_a_record_concerns_are_told_and_no_others(world: World) -> None:
    release, other = str(world.gate), str(world.lab.gate_uri("other"))
    here, there = world.ask(), world.ask(world.request(gate=other))
    everywhere = world.ask(world.request(gate=str(world.lab.gate_uri("all"))))
    view, trust = world.view(), world.lab.state

    def of(raw: bytes) -> set[str]:
        return set(gates_concerned(raw, trust, view.known))

    assert of(denial(world, here)) == {release}
    assert of(denial(world, there)) == {other}
    assert of(denial(world, everywhere)) == {release}, "an ancestor of one gate, and not of the other"
    assert of(dsse.render(world.revoke(here, "ada"))) == {release}
    assert of(denial(world, world.ask())) == {release, other}, "a request that was not read yet"
    assert of(dsse.render(world.suspend("bob", target_member="eve"))) == {release, other}
    assert of(dsse.render(world.suspend("bob", target_gate=other))) == {other}
    assert of(dsse.render(world.authorization(here, "bob"))) == set()
    assert of(dsse.render(here)) == set()
