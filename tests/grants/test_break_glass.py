"""Break-glass: two people open one thing for an hour without the log, and it locks until a third one looked at it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import dsse, records
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.grants import withdrawing
from keyturn.grants.break_glass import VerifiedBreakGlass, verify_break_glass
from keyturn.grants.bundle import Bundle
from keyturn.grants.known import BreakGlassUse
from keyturn.grants.reviews import could_review
from keyturn.grants.verify_grant import verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import Limits
from support.labs import NOW, make_key
from support.world import BREAK_GLASS, World, make_world

HOUR_S = 3600
OTHER = "keyturn://acme.example/model/other"
ROOT = """
@id("root") @quorum("1 security") @duration_max("30m") @pending_max("30m") @breakglass
permit (principal in Group::"research", action == Action::"host:root", resource);
"""


def the_world(**more: object) -> World:
    return make_world(**{"policy": {"main": BREAK_GLASS}, **more})


def verify(
    world: World,
    bundle: Bundle,
    view: GateView | None = None,
    *,
    now: int | None = None,
    journal: Iterable[BreakGlassUse] = (),
    gate: str = "release",
) -> VerifiedBreakGlass:
    return verify_break_glass(
        bundle,
        view or world.view(gate=gate),
        now=world.now if now is None else now,
        gate=world.lab.gate_uri(gate),
        session_key=world.session.public,
        facts=NO_FACTS,
        journal=journal,
    )


def agreed(world: World, requester: str = "ada", *, logged: bool = True, **changed: object) -> tuple[Envelope, Bundle]:
    """A break-glass request that bob approved, and its bundle; in the log or not."""
    asked = world.ask(world.emergency(requester, **changed), submit=logged)
    given = world.approve(asked, "bob") if logged else world.authorization(asked, "bob")
    return asked, world.bundle(asked, given)


def used(envelope: Envelope) -> BreakGlassUse:
    record = records.parse(dsse.render(envelope))
    return BreakGlassUse.of(record.digest, record.statement.predicate)


def of_record(envelope: Envelope) -> str:
    return sha256(dsse.render(envelope))


def test_two_people_open_by_break_glass_what_the_log_has_not() -> None:
    world = the_world()
    asked, bundle = agreed(world, logged=False)
    grant = verify(world, bundle)
    assert (grant.granted.digest, grant.granted.permit.id, grant.gate) == (asked.record_digest, "repair", world.gate)
    assert (grant.glass.members, grant.glass.approvers) == (("ada",), ("bob",))
    assert grant.glass.resource == "keyturn://acme.example/model/aurora"
    assert grant.granted.window.ends_at == NOW + 1800
    assert verify(the_world(), agreed(the_world())[1]), "and what it has"


def test_one_person_opens_nothing_by_break_glass() -> None:
    world = the_world(
        groups={"research": ("ada", "ada+coder", "dan"), "security": ("ada", "bob"), "weights-owners": ("eve",)}
    )
    for requester, approvers in (("ada", ()), ("ada", ("ada",)), ("ada+coder", ("ada",)), ("ada", ("eve",))):
        asked = world.ask(world.emergency(requester), submit=False)
        bundle = world.bundle(asked, *(world.authorization(asked, who) for who in approvers))
        with pytest.raises(Refused, match="quorum-not-met"):
            verify(world, bundle)
    asked = world.ask(world.emergency(), submit=False)
    with pytest.raises(Refused, match="approver-not-human"):
        verify(world, world.bundle(asked, world.authorization(asked, "bob+ops")))


def test_nothing_else_opens_by_break_glass_and_break_glass_opens_by_nothing_else() -> None:
    world = the_world()
    _, bundle = agreed(world)
    with pytest.raises(Refused, match="break-glass-request"):
        verify_grant(bundle, world.view(), now=NOW, gate=world.gate, session_key=world.session.public, facts=NO_FACTS)
    asked = world.ask()
    ordinary = world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    with pytest.raises(Refused, match="break-glass-none"):
        verify(world, ordinary)


def test_break_glass_is_said_in_the_permit_and_in_the_request_or_not_at_all() -> None:
    world = the_world()
    asked = world.ask(world.emergency(permit="weights-read"))
    with pytest.raises(Refused, match="permit-other-glass"):
        verify(world, world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve")))
    asked = world.ask(world.request(permit="repair", duration_s=1800, start_by=NOW + 1800))
    with pytest.raises(Refused, match="permit-other-glass"):
        verify_grant(
            world.bundle(asked, world.approve(asked, "bob")),
            world.view(),
            now=NOW,
            gate=world.gate,
            session_key=world.session.public,
            facts=NO_FACTS,
        )


def test_a_permit_that_is_for_break_glass_since_the_request_is_not_enough() -> None:
    world = make_world()
    asked = world.ask(world.emergency(permit="weights-read"), submit=False)
    bundle = world.bundle(asked, world.authorization(asked, "bob"), world.authorization(asked, "eve"))
    loose = BREAK_GLASS.replace('@id("weights-read")', '@id("weights-read") @breakglass').replace('"2h"', '"30m"')
    world.publish(policy={"main": loose.replace('@pending_max("8h")', '@pending_max("30m")')})
    with pytest.raises(Refused, match="permit-other-glass"):
        verify(world, bundle)


# (2)


@pytest.mark.parametrize(
    ("age_s", "opens"),
    [(HOUR_S + 1, True), (4 * HOUR_S, True), (4 * HOUR_S + 1, False)],
    ids=["older than anything else may be", "as old as it may be", "older"],
)
def test_break_glass_opens_by_a_view_that_is_older_and_not_by_any(age_s: int, opens: bool) -> None:
    world = the_world()
    view = world.view()
    world.now += age_s
    _, bundle = agreed(world, logged=False)
    if opens:
        assert verify(world, bundle, view)
        return
    with pytest.raises(Refused, match="view-stale"):
        verify(world, bundle, view)


def test_targets_say_how_old_a_view_break_glass_may_use_and_never_younger_than_the_rest() -> None:
    for limits, age_s, opens in (
        (Limits(breakglass_view_age_max_s=600), HOUR_S, True),
        (Limits(breakglass_view_age_max_s=600), HOUR_S + 1, False),
        (Limits(log_age_max_s=60, breakglass_view_age_max_s=600), 600, True),
        (Limits(log_age_max_s=60, breakglass_view_age_max_s=600), 601, False),
    ):
        world = the_world(limits=limits)
        view = world.view()
        world.now += age_s
        _, bundle = agreed(world, logged=False)
        if opens:
            assert verify(world, bundle, view)
            continue
        with pytest.raises(Refused, match="view-stale"):
            verify(world, bundle, view)


def test_an_old_snapshot_of_a_gate_opens_nothing_by_break_glass() -> None:
    world = the_world()
    _, bundle = agreed(world, logged=False)
    view = world.view().expecting(world.check_in("other"))
    with pytest.raises(Refused, match="view-without-nonce"):
        verify(world, bundle, view)


def test_trust_that_expired_opens_nothing_by_break_glass() -> None:
    world = the_world(limits=Limits(log_age_max_s=366 * 86400))
    view = world.view()
    world.now = world.lab.state.targets_expires_at
    _, bundle = agreed(world, logged=False)
    with pytest.raises(Refused, match="trust-expired"):
        verify(world, bundle, view)


# (3) (4): the hour


def test_a_break_glass_request_lives_an_hour_from_its_signature_and_no_policy_makes_it_longer() -> None:
    world = the_world()
    with pytest.raises(ValueError, match="over within 3600 s"):
        world.emergency(not_after=NOW + HOUR_S + 1)
    _, bundle = agreed(world, logged=False, duration_s=1800, not_before=NOW, start_by=NOW + 1800)
    view = world.view()
    for later_s, code in ((1799, None), (1800, "window-over")):
        if code is None:
            assert verify(world, bundle, view, now=NOW + later_s)
        else:
            with pytest.raises(Refused, match=code):
                verify(world, bundle, view, now=NOW + later_s)


def test_a_request_that_dates_its_signature_ahead_to_live_longer_is_refused() -> None:
    world = the_world()
    ahead = {"break_glass_at": NOW + 3000, "not_before": NOW, "start_by": NOW + 1800, "not_after": NOW + 6600}
    _, bundle = agreed(world, logged=False, **ahead)
    with pytest.raises(Refused, match="break-glass-time"):
        verify(world, bundle)
    # and when its time has come, the approval of before shows that it was signed before
    with pytest.raises(Refused, match="break-glass-time"):
        verify(world, bundle, now=NOW + 2950)
    asked = world.ask(world.emergency(**{**ahead, "break_glass_at": NOW + 100, "not_after": NOW + 3700}), submit=False)
    with pytest.raises(Refused, match="signed at"):  # although the approver's clock is as far ahead as it may be
        verify(world, world.bundle(asked, world.authorization(asked, "bob", signed_at=NOW + 50)))
    near = {**ahead, "break_glass_at": NOW + 60, "not_after": NOW + 3600}
    assert verify(world, agreed(world, logged=False, **near)[1]), "clocks differ by a minute"


# (6)


def test_no_denial_ends_break_glass_and_a_revocation_by_anybody_does_not_either() -> None:
    world = the_world()
    asked, bundle = agreed(world)
    denial = world.deny(asked, "dan")
    world.deny(asked, "cat")  # also not by one of security, who could suspend or revoke
    world.revoke(asked, "eve")
    assert verify(world, bundle)
    assert verify(world, world.bundle(asked, *bundle.authorizations, denial))


@pytest.mark.parametrize("who", ["ada", "dan", "cat"], ids=["the requester", "the beneficiary", "one of security"])
def test_break_glass_is_revoked_by_its_parties_and_by_security(who: str) -> None:
    world = the_world()
    asked, bundle = agreed(world, beneficiary="dan")
    world.revoke(asked, who)
    with pytest.raises(Refused, match="request-revoked"):
        verify(world, bundle)


@pytest.mark.parametrize("target", ["ada", "bob", "gate"])
def test_a_suspension_ends_break_glass(target: str) -> None:
    world = the_world()
    _, bundle = agreed(world)
    world.suspend("cat", **({"target_gate": str(world.gate)} if target == "gate" else {"target_member": target}))
    with pytest.raises(Refused, match="gate-closed" if target == "gate" else "suspended"):
        verify(world, bundle)


def test_a_bundle_that_lacks_an_approval_that_the_log_has_is_refused_for_break_glass_too() -> None:
    world = the_world()
    asked, bundle = agreed(world)
    world.approve(asked, "cat")
    with pytest.raises(Refused, match="authorization-withheld"):
        verify(world, bundle)


def test_what_ends_a_request_is_not_known_without_trust() -> None:
    world = the_world()
    made = world.emergency()
    assert not withdrawing.may_end("cat", made, None)
    assert withdrawing.may_end("ada", made, None)


# (10)


def test_break_glass_is_for_one_resource_and_one_gate() -> None:
    world = the_world(
        resources={
            "model/aurora": (),
            "model/part": ("model/aurora",),
            "gate/all": (),
            "gate/release": ("gate/all",),
            "hosts/prod": (),
        },
        policy={"main": BREAK_GLASS + ROOT},
    )
    uri = f"keyturn://{world.lab.name}"
    for changed, code in (
        ({}, "break-glass-several"),
        ({"resource": f"{uri}/hosts/prod", "action": "host:root", "permit": "root"}, "break-glass-several"),
        ({"resource": f"{uri}/model/part", "gate": f"{uri}/gate/all"}, "gate-other"),
    ):
        _, bundle = agreed(world, **changed)
        with pytest.raises(Refused, match=code):
            verify(world, bundle)
    _, bundle = agreed(world, resource=f"{uri}/model/part")
    assert verify(world, bundle)
    with pytest.raises(Refused, match="gate-other"):
        verify_break_glass(
            bundle,
            world.view(),
            now=NOW,
            gate=world.lab.gate_uri("other"),
            session_key=world.session.public,
            facts=NO_FACTS,
            journal=(),
        )


def test_break_glass_is_bound_to_its_session_key() -> None:
    world = the_world()
    _, bundle = agreed(world, session_key=make_key("another").public.text)
    with pytest.raises(Refused, match="session-key-other"):
        verify(world, bundle)


# (11)


def test_an_unreviewed_use_locks_its_members_and_its_resource_and_nothing_else() -> None:
    world = the_world()
    asked, bundle = agreed(world)
    world.glass_use(asked)
    assert verify(world, bundle), "the same request goes on until its window ends"
    locked: tuple[tuple[str, dict[str, object]], ...] = (
        ("ada", {}),
        ("ada", {"resource": OTHER}),
        ("dan", {}),
        ("dan", {"beneficiary": "ada", "resource": OTHER}),
        ("ada+coder", {"resource": OTHER}),
    )
    for requester, changed in locked:
        with pytest.raises(Refused, match="break-glass-locked"):
            verify(world, agreed(world, requester, **changed)[1])
    assert verify(world, agreed(world, "dan", resource=OTHER)[1])


def test_what_an_agent_did_by_break_glass_locks_whoever_answers_for_it() -> None:
    world = the_world()
    _, bundle = agreed(world, "ada+coder")
    grant = verify(world, bundle)
    assert grant.glass.members == ("ada", "ada+coder")
    world.glass_use(bundle.request, members=grant.glass.members)
    with pytest.raises(Refused, match="break-glass-locked"):
        verify(world, agreed(world, "ada", resource=OTHER)[1])


def test_a_use_that_only_the_gates_journal_knows_locks() -> None:
    world = the_world()
    asked, _ = agreed(world)
    use = used(world.glass_use(asked))
    fresh = the_world()
    _, bundle = agreed(fresh, ticket="T-2")
    assert verify(fresh, bundle)
    with pytest.raises(Refused, match="break-glass-locked"):
        verify(fresh, bundle, journal=(use,))


def test_a_second_person_ends_the_lock_by_a_review() -> None:
    world = the_world()
    asked, _ = agreed(world)
    use = world.glass_use(asked)
    known = world.view().known
    assert could_review(world.lab.state, known.unreviewed[use.record_digest]) == ("cat", "dan", "eve")
    world.review(use, "dan")
    world.review(use, "eve")
    assert world.view().known.unreviewed == {}
    assert verify(world, agreed(world)[1])


def reviewed_by(member: str) -> Callable[[World, Envelope], None]:
    return lambda world, use: void(world.review(use, member))


def void(_: object) -> None:
    return


def suspended(world: World, use: Envelope) -> None:
    world.suspend("bob", target_member="dan")
    world.review(use, "dan")


def by_another_key(world: World, use: Envelope) -> None:
    world.held["dan"] = make_key("not dan's")
    world.review(use, "dan")


def of_another_use(world: World, use: Envelope) -> None:
    world.review(asked_again(world), "dan")


def asked_again(world: World) -> Envelope:
    return world.glass_use(world.ask(world.emergency(), submit=False))


@pytest.mark.parametrize(
    "review",
    [
        pytest.param(reviewed_by("ada"), id="the requester"),
        pytest.param(reviewed_by("bob"), id="the approver"),
        pytest.param(reviewed_by("bob+ops"), id="an agent"),
        pytest.param(suspended, id="somebody suspended"),
        pytest.param(by_another_key, id="somebody with another's name"),
        pytest.param(of_another_use, id="a review of something else"),
        pytest.param(
            lambda world, use: world.hide("rvw", f"use:{use.record_digest}"), id="a review that nobody can read"
        ),
    ],
)
def test_nobody_else_ends_the_lock(review: Callable[[World, Envelope], object]) -> None:
    world = the_world()
    asked, _ = agreed(world)
    use = world.glass_use(asked)
    review(world, use)
    assert use.record_digest in world.view().known.unreviewed
    with pytest.raises(Refused, match="break-glass-locked"):
        verify(world, agreed(world)[1])


def test_time_ends_no_lock() -> None:
    world = the_world()
    asked, _ = agreed(world)
    world.glass_use(asked)
    world.now += 30 * 86400
    view = world.view()
    assert asked.record_digest not in view.known.requests
    with pytest.raises(Refused, match="break-glass-locked"):
        verify(world, agreed(world)[1], view)


def test_a_use_that_was_logged_when_its_request_was_over_locks() -> None:
    world = the_world()
    asked, bundle = agreed(world, logged=False)
    world.now += 86400
    for envelope in (asked, *bundle.authorizations):
        world.submit(envelope)
    world.glass_use(asked, used_at=NOW)
    with pytest.raises(Refused, match="break-glass-locked"):
        verify(world, agreed(world)[1])


def test_a_use_that_nobody_can_read_locks_whom_its_leaf_names() -> None:
    world = the_world()
    asked, _ = agreed(world)
    use = world.glass_use(asked)
    missing = frozenset({of_record(use)})
    with pytest.raises(Unavailable, match="negative-unread"):
        verify(world, agreed(world)[1], world.view(missing=missing))
    elsewhere = agreed(world, "dan", resource=OTHER)[1]
    assert verify(world, elsewhere, world.view(missing=missing))


def test_the_word_of_a_gate_that_left_the_lab_locks_nothing() -> None:
    world = the_world()
    asked, _ = agreed(world)
    world.glass_use(asked, gate="other")
    with pytest.raises(Refused, match="break-glass-locked"):
        verify(world, agreed(world)[1])
    gates = {uri: gate for uri, gate in world.lab.contents.gates.items() if not uri.endswith("/other")}
    world.lab = world.lab.with_contents(replace(world.lab.contents, gates=gates))
    world.sync_trust()
    assert verify(world, agreed(world)[1])


def test_nobody_but_a_gate_says_that_the_glass_was_broken() -> None:
    world = the_world()
    asked, _ = agreed(world)
    made = records.parse(dsse.render(world.glass_use(asked))).statement.predicate
    fresh = the_world()
    fresh.submit(fresh.sign(made, f"sha256:{asked.record_digest}", make_key("mallory")))
    assert fresh.view().known.unreviewed == {}


def test_a_use_that_is_none_by_break_glass_is_no_break_glass_use() -> None:
    world = the_world()
    made = records.parse(dsse.render(world.use(world.ask()))).statement.predicate
    with pytest.raises(Malformed, match="use-not-break-glass"):
        BreakGlassUse.of(sha256(b"x"), made)


def test_only_the_verifier_makes_a_verified_break_glass() -> None:
    world = the_world()
    grant = verify(world, agreed(world)[1])
    with pytest.raises(TypeError, match="verify_break_glass only"):
        VerifiedBreakGlass(grant.granted, grant.gate, grant.glass, object())
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(grant)


def test_what_the_view_holds_of_break_glass_is_counted() -> None:
    world = the_world()
    before = world.view().known.size
    asked = world.ask(world.emergency(), submit=False)
    world.glass_use(asked)
    assert world.view().known.size == before + 1
