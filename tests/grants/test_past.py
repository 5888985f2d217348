"""Judging the past offline, the bundle's text, and the table of a request's life."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed, Refused, Tampered
from keyturn.formats import dsse
from keyturn.formats.dsse import Envelope
from keyturn.formats.records import leaf_of
from keyturn.grants import bundle as bundles
from keyturn.grants import lifecycle
from keyturn.grants.bundle import Bundle
from keyturn.grants.verify_past import Proved, VerifiedPast, bundle_at, verify_past
from keyturn.policy.facts import NO_FACTS
from keyturn.tlog import merkle
from support.labs import NOW
from support.world import POLICY, World, make_world

ROOT = Path(__file__).resolve().parents[2]


def proofs(world: World, *, without: tuple[Envelope, ...] = ()) -> list[Proved]:
    size = world.log.settle().size
    left_out = {leaf_of(dsse.render(one)).envelope for one in without}
    found = []
    for index in range(1, size):
        record = _envelope_at(world, index)
        if leaf_of(record).envelope not in left_out:
            found.append(Proved(record, index, tuple(merkle.inclusion_proof(index, size, world.log.hashes))))
    return found


def _envelope_at(world: World, index: int) -> bytes:
    from keyturn.formats import leaf
    from keyturn.formats.digest import Sha256

    (raw,) = world.log.leaves(index, index + 1)
    return world.log.envelope(Sha256(leaf.parse(raw).envelope))


def judge(
    world: World,
    bundle: Bundle,
    *,
    at: int = NOW,
    proved: list[Proved] | None = None,
    note: bytes | None = None,
    gate: str = "release",
) -> VerifiedPast:
    return verify_past(
        bundle,
        history=world.start(None).trust,
        checkpoint_note=note or world.note(),
        proved=proofs(world) if proved is None else proved,
        at=at,
        gate=world.lab.gate_uri(gate),
        facts=NO_FACTS,
    )


def released(world: World) -> tuple[Envelope, Bundle]:
    asked = world.ask(world.release())
    given = [world.approve(asked, "bob"), world.approve(asked, "cat")]
    world.use(asked, *given)
    return asked, world.bundle(asked, *given)


def test_a_past_release_is_verified_as_of_the_checkpoint() -> None:
    world = make_world()
    asked, bundle = released(world)
    found = judge(world, bundle)
    assert (found.granted.digest, found.at, found.as_of) == (asked.record_digest, NOW, NOW)
    assert str(found) == f"as of {NOW}; later withdrawals unknown (profile: demo)"
    assert found.withdrawn_later == ()
    assert found.use is not None


def test_expired_trust_still_proves_the_past() -> None:
    world = make_world()
    _, bundle = released(world)
    assert judge(world, bundle, note=world.note(at=NOW + 400 * 86400)).as_of == NOW + 400 * 86400


def test_the_trust_of_then_counts_and_not_a_later_one() -> None:
    world = make_world()
    _, bundle = released(world)
    world.lab = world.lab.publish(policy={"main": POLICY.replace('@quorum("2 security")', '@quorum("9 security")')})
    world.sync_trust()
    assert judge(world, bundle).granted.trust_version == 1


def test_a_session_of_the_past_is_judged_at_its_time() -> None:
    world = make_world()
    asked = world.ask()
    bundle = world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    assert judge(world, bundle).use is None
    with pytest.raises(Refused, match="past-after-checkpoint"):
        judge(world, bundle, at=NOW + 61)
    with pytest.raises(Refused, match="window-over"):
        judge(world, bundle, at=NOW + 3700, note=world.note(at=NOW + 5000))


def test_a_withdrawal_before_the_act_counts_and_a_later_one_is_named() -> None:
    world = make_world()
    asked, bundle = released(world)
    later = world.revoke(asked, "dan")
    assert [one.digest for one in judge(world, bundle).withdrawn_later] == [later.record_digest]
    denied = make_world()
    asked = denied.ask(denied.release())
    given = [denied.approve(asked, "bob"), denied.approve(asked, "cat")]
    denial = denied.deny(asked, "dan")
    denied.use(asked, *given)
    with pytest.raises(Refused, match="request-denied"):
        judge(denied, denied.bundle(asked, *given))
    # Whoever hands the records over can leave the denial out: that is what the verdict's words say.
    assert judge(denied, denied.bundle(asked, *given), proved=proofs(denied, without=(denial,)))


@pytest.mark.parametrize("missing", ["request", "approval", "use"])
def test_a_past_grant_needs_each_of_its_records(missing: str) -> None:
    world = make_world()
    asked = world.ask(world.release())
    given = [world.approve(asked, "bob"), world.approve(asked, "cat")]
    use = world.use(asked, *given)
    without = {"request": asked, "approval": given[0], "use": use}[missing]
    with pytest.raises(Refused, match=r"leaf-missing|one-shot-not-logged"):
        judge(world, world.bundle(asked, *given), proved=proofs(world, without=(without,)))


def test_a_record_that_is_not_under_the_checkpoint_is_tampering() -> None:
    world = make_world()
    _, bundle = released(world)
    good = proofs(world)
    moved = [*good[:-1], Proved(good[-1].raw, good[-2].index, good[-1].hashes)]
    with pytest.raises(Tampered):
        judge(world, bundle, proved=moved)
    with pytest.raises(Refused, match="past-index"):
        judge(world, bundle, proved=[*good[:-1], Proved(good[-1].raw, 99, good[-1].hashes)])


def test_a_past_grant_is_for_its_gate() -> None:
    world = make_world()
    _, bundle = released(world)
    with pytest.raises(Refused, match="gate-other"):
        judge(world, bundle, gate="other")


def test_a_verified_past_is_made_by_verify_past_only() -> None:
    world = make_world()
    _, bundle = released(world)
    found = judge(world, bundle)
    with pytest.raises(TypeError, match="verify_past only"):
        VerifiedPast(found.granted, NOW, NOW, None, (), object())
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(found)


def test_every_failure_of_a_past_grant_is_named() -> None:
    world = make_world()
    asked = world.ask(world.release(requester="dan", beneficiary="eve"))
    given = [
        world.approve(asked, "bob", trust_version=7),
        world.approve(asked, "dan", expires_at=NOW + 1),
        world.approve(asked, "cat"),
    ]
    world.suspend("bob", target_member="eve")
    world.deny(asked, "bob")
    world.revoke(asked, "ada")
    bundle = world.bundle(asked, *given, world.authorization(asked, "ada"))
    world.use(asked, *given, gate="other")
    with pytest.raises(Refused) as caught:
        judge(world, bundle, at=NOW + 60, gate="other")
    assert Counter(code for code, _ in caught.value.reasons) == {
        "suspended": 1,
        "approval-expired": 1,
        "approval-other-trust": 1,
        "request-denied": 1,
        "request-revoked": 1,
        "policy-not-permitted": 1,
        "quorum-not-met": 2,
        "leaf-missing": 2,
        "gate-other": 1,
        "one-shot-not-logged": 1,
    }
    assert "more)" in caught.value.message


def test_a_permit_that_is_no_more_is_named_without_a_window() -> None:
    world = make_world()
    asked = world.ask(world.release(permit="no-such"))
    given = [world.approve(asked, "bob"), world.approve(asked, "cat")]
    world.use(asked, *given)
    with pytest.raises(Refused) as caught:
        judge(world, world.bundle(asked, *given))
    assert [code for code, _ in caught.value.reasons] == ["permit-unknown"]
    assert "more)" not in caught.value.message


def test_the_act_is_the_first_use_that_counts() -> None:
    world = make_world()
    asked = world.ask(world.release())
    world.use(asked, gate="other")  # no gate of this request: what came after it was before the act
    given = [world.approve(asked, "bob"), world.approve(asked, "cat")]
    world.use(asked, *given)
    assert judge(world, world.bundle(asked, *given)).use is not None


def test_the_bundle_of_the_past_is_what_the_log_held_with_the_act() -> None:
    world = make_world()
    asked = world.ask(world.release())
    given = [world.approve(asked, "bob"), world.approve(asked, "cat")]
    world.approve(asked, "cat")  # a person approves once
    world.use(asked, *given)
    world.approve(asked, "eve")  # too late to matter
    arguments = {"history": world.start(None).trust, "proved": proofs(world)}
    found = bundle_at(asked, at=NOW, **arguments)  # type: ignore[arg-type]  # as above
    assert found == world.bundle(asked, *given)
    assert judge(world, found).granted.approvals == tuple(sorted(one.record_digest for one in given))
    assert bundle_at(given[0], at=NOW, **arguments) == world.bundle(given[0])  # type: ignore[arg-type]  # as above


# bundles


@given(st.integers(0, 5))
def test_a_bundle_round_trips(count: int) -> None:
    world = make_world()
    asked = world.ask()
    bundle = world.bundle(asked, *(world.authorization(asked, "bob") for _ in range(count)))
    assert bundles.parse(bundles.render(bundle)) == bundle


def test_a_bundle_has_one_order_and_a_bound() -> None:
    world = make_world()
    asked = world.ask()
    one, two = world.bundle(asked, world.authorization(asked, "bob"), world.authorization(asked, "eve")).authorizations
    for wrong in ((two, one), (one, one)):
        with pytest.raises(Malformed, match="bundle-order"):
            Bundle(asked, wrong)
    with pytest.raises(Malformed, match="bundle-too-large"):
        Bundle(asked, (one,) * 65)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="no fields"),
        pytest.param(b'{"authorizations":[],"request":{},"version":1}', id="an empty envelope"),
        pytest.param(b'{"authorizations":[],"request":{},"version":2}', id="another version"),
        pytest.param(b'{"authorizations":[],"extra":1,"request":{},"version":1}', id="an unknown field"),
        pytest.param(b"[" * 5000, id="deep nesting"),
        pytest.param(b" " * (1 << 21), id="oversize"),
    ],
)
def test_a_bad_bundle_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        bundles.parse(raw)


# the life of a request


def test_the_table_and_the_diagram_in_the_docs_say_the_same() -> None:
    page = (ROOT / "docs" / "formats" / "grant-bundle.md").read_text(encoding="utf-8")
    found = re.search(r"```mermaid\n(.*?)```", page, re.DOTALL)
    assert found is not None
    assert found[1] == lifecycle.diagram()


def test_every_state_can_be_reached_and_every_end_is_an_end() -> None:
    reached: set[lifecycle.State] = {lifecycle.START}
    for _ in lifecycle.TABLE:
        reached |= {after for (state, _), after in lifecycle.TABLE.items() if state in reached}
    assert reached == {state for state, _ in lifecycle.TABLE} | lifecycle.END_STATES
    for state in lifecycle.END_STATES:
        assert not any(state == before for before, _ in lifecycle.TABLE)
        with pytest.raises(Refused, match="lifecycle-no-such-move"):
            lifecycle.step(state, "approve")


@given(st.lists(st.sampled_from(("approve", "quorum", "open", "use", "deny", "revoke", "lapse", "close")), max_size=8))
def test_what_was_taken_away_never_comes_back(events: list[lifecycle.Event]) -> None:
    try:
        state = lifecycle.run(events)
    except Refused:
        return
    if "deny" in events or "revoke" in events:
        assert state in {"denied", "revoked"}
    if state in {"open", "used"}:
        assert "quorum" in events
