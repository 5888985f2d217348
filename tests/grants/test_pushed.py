"""What is pushed to a gate is verified by its own view, obeyed at once, and only ever takes away."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from keyturn.errors import KeyturnError, Malformed, Refused, Unavailable
from keyturn.formats import dsse
from keyturn.formats.dsse import Envelope
from keyturn.grants.pushed import has_read, obeying, read_pushed, verify_pushed
from keyturn.grants.verify_grant import verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS
from support.labs import make_key
from support.world import World, make_world


@pytest.fixture
def world() -> World:
    return make_world()


def granted(world: World) -> tuple[Envelope, tuple[Envelope, Envelope]]:
    asked = world.ask()
    return asked, (world.approve(asked, "bob"), world.approve(asked, "eve"))


def push(world: World, view: GateView, *envelopes: Envelope) -> GateView:
    found = [verify_pushed(dsse.render(one), view, now=world.now) for one in envelopes]
    return obeying(view, found, now=world.now)


def verdict(world: World, view: GateView, asked: Envelope, given: tuple[Envelope, ...]) -> set[str]:
    """The codes by which the gate refuses; none when it opens."""
    try:
        verify_grant(
            world.bundle(asked, *given),
            view,
            now=world.now,
            gate=world.gate,
            session_key=world.session.public,
            facts=NO_FACTS,
        )
    except Refused as err:
        return {err.code, *(code for code, _ in err.reasons)}
    return set()


def denial(world: World, asked: Envelope, member: str = "dan", **changed: object) -> Envelope:
    return world.authorization(asked, member, decision="deny", reason="no", **changed)


@pytest.mark.parametrize(
    ("what", "code"),
    [
        pytest.param("a denial", "request-denied", id="a denial"),
        pytest.param("a revocation", "request-revoked", id="a revocation"),
        pytest.param("a withdrawal", "request-revoked", id="a withdrawal"),
        pytest.param("an approver", "suspended", id="a suspension of an approver"),
        pytest.param("the requester", "suspended", id="a suspension of the requester"),
        pytest.param("oneself", "suspended", id="an approver's suspension of himself"),
        pytest.param("a key", "suspended", id="a suspension of a key"),
        pytest.param("the gate", "gate-closed", id="a suspension of the gate"),
    ],
)
def test_what_is_pushed_closes_before_the_log_has_it(world: World, what: str, code: str) -> None:
    asked, given = granted(world)
    view = world.view()
    assert verdict(world, view, asked, given) == set()
    made = {
        "a denial": lambda: denial(world, asked),
        "a revocation": lambda: world.revoke(asked, "dan", submit=False),
        "a withdrawal": lambda: world.revoke(asked, "ada", submit=False),
        "an approver": lambda: world.suspend("cat", submit=False, target_member="eve"),
        "the requester": lambda: world.suspend("cat", submit=False, target_member="ada"),
        "oneself": lambda: world.suspend("eve", submit=False, target_member="eve"),
        "a key": lambda: world.suspend("cat", submit=False, target_key=world.key("eve").public.keyid),
        "the gate": lambda: world.suspend("cat", submit=False, target_gate=str(world.gate)),
    }[what]()
    after = push(world, view, made)
    assert code in verdict(world, after, asked, given)
    assert verdict(world, view, asked, given) == set(), "the view that the log is read on with is as it was"
    assert after.frontier == view.frontier


def forged(world: World, asked: Envelope) -> Envelope:
    made = denial(world, asked)
    other = world.sign(read_pushed(dsse.render(made)).made, f"sha256:{asked.record_digest}", make_key("thief"))
    lie = replace_keyid(other, world.key("dan").public.keyid)
    assert lie.payload == made.payload
    return lie


def replace_keyid(envelope: Envelope, keyid: str) -> Envelope:
    lie = msgspec.structs.replace(envelope.signatures[0], keyid=keyid)
    return msgspec.structs.replace(envelope, signatures=(lie,))


def test_what_is_forged_foreign_old_or_somebody_elses_changes_nothing(world: World) -> None:
    asked, given = granted(world)
    lifted = world.suspend("cat", target_member="eve")
    world.lift(lifted, "dan")
    world.lift(lifted, "bob")
    elsewhere = make_world(name="other.example")
    other_gate = world.ask(world.request(gate=str(world.lab.gate_uri("other"))))
    view = world.view()
    day_s = 86400
    cases: dict[str, tuple[Envelope, str]] = {
        "an approval": (world.authorization(asked, "dan"), "pushed-not-negative"),
        "a request": (asked, "pushed-not-negative"),
        "a signature by another key": (forged(world, asked), "signature-invalid"),
        "a key of nobody's": (denial(world, asked, key=make_key("x").public.keyid), "signer-unknown"),
        "another lab's": (denial(elsewhere, elsewhere.ask()), "lab-other"),
        "an agent's": (denial(world, asked, "bob+ops"), "signer-not-human"),
        "somebody who is not of security": (
            world.suspend("dan", submit=False, target_member="eve"),
            "suspension-not-allowed",
        ),
        "over": (denial(world, asked, signed_at=world.now - 9, expires_at=world.now), "pushed-over"),
        "for ever": (denial(world, asked, expires_at=world.now + 91 * day_s), "lives-too-long"),
        "dated ahead": (
            world.suspend("bob", submit=False, target_member="eve", signed_at=world.now + 61, until=world.now + 3600),
            "signed-in-the-future",
        ),
        "for too long": (
            world.suspend("bob", submit=False, target_member="eve", until=world.now + 2 * day_s),
            "suspension-too-long",
        ),
        "lifted": (lifted, "suspension-lifted"),
        "again within the week": (world.suspend("cat", submit=False, target_member="eve"), "suspension-again"),
        "of another gate's request": (denial(world, other_gate), "gate-other"),
    }
    for what, (envelope, code) in cases.items():
        with pytest.raises(KeyturnError) as caught:
            push(world, view, envelope)
        assert caught.value.code == code, what
    for raw in (b"", b"{}", dsse.render(denial(world, asked))[:-1]):
        with pytest.raises(Malformed):
            verify_pushed(raw, view, now=world.now)
    assert verdict(world, view, asked, given) == set()


def test_a_denial_by_a_clock_that_is_ahead_takes_away_all_the_same(world: World) -> None:
    asked, given = granted(world)
    view = push(world, world.view(), denial(world, asked, signed_at=world.now + 600))
    assert verdict(world, view, asked, given) == {"request-denied"}


def test_a_suspended_member_pushes_nothing_but_his_own_suspension(world: World) -> None:
    asked, given = granted(world)
    world.suspend("cat", target_member="dan")
    view = world.view()
    for envelope in (denial(world, asked), world.revoke(asked, "dan", submit=False)):
        with pytest.raises(Refused, match="suspended"):
            push(world, view, envelope)
    push(world, view, world.suspend("dan", submit=False, target_member="dan"))
    assert verdict(world, view, asked, given) == set()


def test_what_was_pushed_ends_when_it_says_and_not_before(world: World) -> None:
    asked, given = granted(world)
    view = world.view()
    raw = dsse.render(denial(world, asked, expires_at=world.now + 60))
    found = verify_pushed(raw, view, now=world.now)
    assert (found.until, found.by, found.request) == (world.now + 60, "dan", asked.record_digest)
    world.now += 59
    assert verdict(world, obeying(view, [found], now=world.now), asked, given) == {"request-denied"}
    world.now += 1
    assert verdict(world, obeying(view, [found], now=world.now), asked, given) == set()


def test_a_suspension_that_was_pushed_and_then_logged_is_lifted_by_the_log(world: World) -> None:
    asked, given = granted(world)
    taken = world.suspend("cat", submit=False, target_member="eve")
    found = verify_pushed(dsse.render(taken), world.view(), now=world.now)
    assert found.request is None
    world.submit(taken)
    view = world.view()
    assert verify_pushed(dsse.render(taken), view, now=world.now) == found, "again, it is the same"
    assert "suspended" in verdict(world, obeying(view, [found], now=world.now), asked, given)
    world.lift(taken, "dan")
    world.lift(taken, "bob")
    assert verdict(world, obeying(world.view(), [found], now=world.now), asked, given) == set()


def test_what_was_pushed_and_is_in_the_log_by_now_is_there_once(world: World) -> None:
    asked, _ = granted(world)
    made = denial(world, asked)
    world.submit(made)
    view = world.view()
    after = push(world, view, made)
    assert after.known.withdrawals[asked.record_digest] == view.known.withdrawals[asked.record_digest]


def test_a_view_knows_whether_it_has_read_what_is_pushed(world: World) -> None:
    asked, _ = granted(world)
    for made in (denial(world, asked), world.suspend("cat", submit=False, target_member="eve")):
        found = read_pushed(dsse.render(made))
        assert not has_read(world.view(), found)
        world.submit(made)
        assert has_read(world.view(), found)


def test_a_request_that_the_gate_has_not_read_yet_can_be_ended(world: World) -> None:
    view = world.view()
    asked, given = granted(world)
    found = verify_pushed(dsse.render(denial(world, asked)), view, now=world.now)
    view = world.read_on(view)
    assert verdict(world, obeying(view, [found], now=world.now), asked, given) == {"request-denied"}


def test_an_agents_withdrawal_of_what_could_not_be_read_is_not_said_to_be_obeyed(world: World) -> None:
    asked = world.ask(world.request("ada+coder"))
    hidden = world.log.by_record(asked.record_digest)[0].envelope
    view = world.view(missing=frozenset({hidden}))
    with pytest.raises(Unavailable, match="request-unread"):
        push(world, view, world.revoke(asked, "ada+coder", submit=False))


def test_a_gate_that_knows_no_trust_yet_obeys_nothing_and_opens_nothing(world: World) -> None:
    asked, _ = granted(world)
    made = denial(world, asked)
    empty = world.start(None)
    with pytest.raises(Unavailable, match="view-empty"):
        push(world, empty, made)
    assert obeying(empty, [read_pushed(dsse.render(made))], now=world.now) is empty


def test_pushing_anything_at_all_never_opens_what_was_closed(world: World) -> None:
    """A pushed suspension of whoever denied must not make his denial void, as it would in the log before it."""
    asked, given = granted(world)
    world.deny(asked, "dan")
    view = world.view()
    assert verdict(world, view, asked, given) == {"request-denied"}
    after = push(
        world,
        view,
        world.suspend("cat", submit=False, target_member="dan"),
        world.suspend("dan", submit=False, target_member="dan"),
        denial(world, asked, "cat"),
    )
    assert "request-denied" in verdict(world, after, asked, given)
    assert set(view.known.suspensions) <= set(after.known.suspensions)
    for request, taken in view.known.withdrawals.items():
        assert set(taken) <= set(after.known.withdrawals[request])
    assert replace(after.known, suspensions=view.known.suspensions, withdrawals=view.known.withdrawals) == view.known
