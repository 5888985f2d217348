"""The gate's view: what it believes of the log, who may take away, who may give back, and what it forgets."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.formats import dsse, leaf, trust_version
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.records import leaf_of
from keyturn.formats.trust_version import TrustVersion
from keyturn.grants.known import Known
from keyturn.grants.view import refresh
from keyturn.trust.roster import Gate, Roster
from support.labs import NOW, make_key, make_lab
from support.world import POLICY, World, make_world


def stored(envelope: Envelope) -> str:
    return sha256(dsse.render(envelope))


def suspended(world: World, member: str, *, now: int = NOW) -> bool:
    known = world.view().known
    targets = (f"member:{member}", f"key:{world.key(member).public.keyid}")
    return any(list(known.suspensions_of(target, now=now)) for target in targets)


# the log


def test_a_view_is_believed_only_under_a_witnessed_checkpoint_of_the_same_leaves() -> None:
    world = make_world()
    world.ask()
    view = world.view()
    assert view.checkpoint is not None
    assert view.checkpoint.checkpoint.size == view.frontier.size == world.log.settle().size
    assert view.nonce_seen
    assert view.trust.targets_version == 1


def test_leaves_that_the_checkpoint_does_not_vouch_for_are_tampering() -> None:
    world = make_world()
    world.ask()
    view = world.start(None)
    leaves = list(world.log.leaves(0, 3))
    found = {d: world.log.envelope(d) for d in view.needed(leaves, now=NOW)}
    with pytest.raises(Tampered, match="log-fork"):
        refresh(view, checkpoint_note=world.note(), leaves=[*leaves[:2], leaves[2] + b" "], envelopes=found, now=NOW)
    with pytest.raises(Refused, match="view-size"):
        refresh(view, checkpoint_note=world.note(), leaves=leaves[:2], envelopes=found, now=NOW)


def test_a_checkpoint_without_its_witnesses_is_not_believed() -> None:
    world = make_world(witnesses=("north", "south", "west"))
    lonely = replace(world.lab, witness_keys={"north": world.lab.witness_keys["north"]})
    view = world.view()
    with pytest.raises(Refused, match="checkpoint-quorum"):
        refresh(view, checkpoint_note=world.note(lab=lonely), leaves=[], envelopes={}, now=NOW)


def test_a_log_that_goes_back_is_refused() -> None:
    world = make_world()
    old = world.note()
    world.ask()
    view = world.view()
    with pytest.raises(Refused, match="view-size"):
        refresh(view, checkpoint_note=old, leaves=[], envelopes={}, now=NOW)


def test_the_newest_cosignatures_of_one_checkpoint_are_kept() -> None:
    world = make_world()
    view = world.view()
    later = world.read_on(view, at=NOW + 50)
    assert later.checkpoint is not None
    assert later.checkpoint.cosigned_at == NOW + 50
    again = world.read_on(later, at=NOW)
    assert again.checkpoint == later.checkpoint


def test_a_change_of_witnesses_needs_the_old_quorum_and_the_new() -> None:
    world = make_world()
    view = world.view()
    new_key = make_key("acme.example witness south")
    log = world.lab.contents.log
    south = replace(log.witnesses[0], name="south", key=new_key.public)
    old_lab = world.lab
    world.lab = replace(world.lab.publish(log=replace(log, witnesses=(south,))), witness_keys={"south": new_key})
    world.sync_trust()
    both = replace(world.lab, witness_keys={**old_lab.witness_keys, "south": new_key})
    leaves = world.log.leaves(view.frontier.size, world.log.settle().size)
    found = {d: world.log.envelope(d) for d in view.needed(leaves, now=NOW)}
    for note, code in ((world.note(), "checkpoint-old-quorum"), (world.note(lab=old_lab), "checkpoint-quorum")):
        with pytest.raises(Refused, match=code):
            refresh(view, checkpoint_note=note, leaves=leaves, envelopes=found, now=NOW)
    assert refresh(view, checkpoint_note=world.note(lab=both), leaves=leaves, envelopes=found, now=NOW)


def test_a_founding_lab_has_no_view_that_opens() -> None:
    world = make_world()
    view = world.start(None)
    with pytest.raises(Refused, match="trust-founding"):
        refresh(
            view,
            checkpoint_note=world.note(),
            leaves=world.log.leaves(0, 1),
            envelopes={Sha256(leaf_of(world.lab.containers[0]).envelope): world.lab.containers[0]},
            now=NOW,
        )


def test_a_trust_version_that_cannot_be_read_stops_the_reading() -> None:
    world = make_world()
    missing = frozenset({leaf_of(world.lab.containers[1]).envelope})
    with pytest.raises(Unavailable, match="trust-version-unread"):
        world.read_on(world.start(None), missing=missing)


def test_a_trust_version_that_does_not_verify_changes_nothing() -> None:
    world = make_world()
    forged = trust_version.parse(world.lab.containers[1])
    world.log.append(trust_version.render(TrustVersion(role="targets", version=2, metadata=forged.metadata + b" ")))
    assert world.view().trust.targets_version == 1


def test_a_new_root_and_new_targets_are_followed() -> None:
    world = make_world()
    view = world.view()
    world.lab = world.lab.with_root(humans=("ada", "bob", "cat")).publish(policy={"main": "permit"})
    world.sync_trust()
    after = world.read_on(view)
    assert (after.trust.root.version, after.trust.targets_version) == (2, 2)


def test_reading_in_pieces_gives_the_same_view() -> None:
    world = make_world()
    asked = world.ask()
    world.approve(asked, "bob")
    nonce = world.check_in()
    world.deny(asked, "dan")
    whole = world.read_on(world.start(nonce))
    pieces = world.start(nonce)
    read = pieces.following(now=NOW)
    for index in range(world.log.settle().size):
        leaves = world.log.leaves(index, index + 1)
        read.take(leaves, {digest: world.log.envelope(digest) for digest in read.needed(leaves)})
    assert pieces.finish(read, world.note(), now=NOW) == whole
    assert read.frontier == whole.frontier


def test_a_view_can_begin_again_at_the_first_leaf() -> None:
    view = make_world().view()
    again = view.again()
    assert (again.frontier.size, again.nonce_seen, again.checkpoint, again.nonce_record) == (
        0,
        False,
        None,
        view.nonce_record,
    )
    assert again.gate == view.gate


def test_a_view_is_made_by_start_and_refresh_only() -> None:
    view = make_world().view()
    with pytest.raises(TypeError, match=r"GateView\.start"):
        replace(view, made_by=object())
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(view)


# what has no effect


def test_records_that_nobody_signed_as_they_say_have_no_effect() -> None:
    world = make_world()
    asked = world.ask()
    nobody = make_key("nobody")

    def forged(good: Envelope) -> Envelope:
        return Envelope(
            payload_type=good.payload_type,
            payload=good.payload,
            signatures=(dsse.Signature(keyid=good.signatures[0].keyid, sig=nobody.sign(b"x")),),
        )

    world.submit(forged(world.authorization(asked, "dan", decision="deny", reason="no")))
    world.submit(forged(world.authorization(asked, "bob")))
    world.submit(forged(world.suspend("cat", submit=False, target_member="ada")))
    world.submit(forged(world.ask(submit=False)))
    world.deny(asked, "dan", lab="evil.example")
    world.deny(asked, "mallory")
    world.deny(asked, "ada+coder")
    world.revoke(asked, "bob+ops")
    world.use(asked, key="0" * 64)
    world.use(asked, gate="other", lab="evil.example")
    known = world.view().known
    assert (known.withdrawals, known.approvals, known.suspensions, known.uses) == ({}, {}, {}, {})
    assert set(known.requests) == {asked.record_digest}


def test_a_leaf_that_is_not_the_leaf_of_its_record_has_no_effect() -> None:
    world = make_world()
    asked = world.ask()
    denial = world.authorization(asked, "dan", decision="deny", reason="no")
    true = leaf_of(dsse.render(denial))
    for lie in (
        replace_leaf(true, about=(f"request:{'e' * 64}",)),
        replace_leaf(true, until=NOW + 1_000_000),
    ):
        world.log.append_leaf(dsse.render(denial), lie)
    assert world.view().known.withdrawals == {}


def replace_leaf(value: leaf.Leaf, **changed: object) -> leaf.Leaf:
    import msgspec

    return msgspec.structs.replace(value, **changed)


def test_a_trust_version_whose_leaf_lies_has_no_effect() -> None:
    world = make_world()
    lab = world.lab.publish(policy={"main": "permit"})
    world.log.append_leaf(lab.containers[2], replace_leaf(leaf_of(lab.containers[2]), about=("version:9",)))
    assert world.view().trust.targets_version == 1


def test_text_that_is_no_leaf_is_passed_over_and_still_hashed() -> None:
    world = make_world()
    view = world.view()
    junk = [b"", b"no json", b'{"kind":"den","x":1}', b'{"kind":"sus"']
    read = view.following(now=NOW)
    read.take(junk, {})
    assert read.frontier.size == view.frontier.size + 4
    assert read.known().size == view.known.size


def test_an_envelope_of_another_digest_is_as_good_as_none() -> None:
    world = make_world()
    asked = world.ask()
    denial = world.deny(asked, "dan")
    view = world.start(None)
    leaves = world.log.leaves(0, world.log.settle().size)
    found = {d: world.log.envelope(d) for d in view.needed(leaves, now=NOW)}
    found[Sha256(stored(denial))] = dsse.render(asked)
    view = refresh(view, checkpoint_note=world.note(), leaves=leaves, envelopes=found, now=NOW)
    with pytest.raises(Unavailable, match="negative-unread"):
        view.known.require_read(f"request:{asked.record_digest}", what="request")


# what somebody left in the log whose envelopes nobody has


@pytest.mark.parametrize("kind", ["tgt", "rot"])
def test_a_hidden_trust_version_closes_until_a_later_one_declares_it_void(kind: leaf.Kind) -> None:
    world = make_world()
    view = world.view()
    at = world.hide(kind, "version:2")
    world.publish(policy={"main": POLICY + "// a later version alone settles nothing"})
    for start in (view, world.start(None)):
        with pytest.raises(Unavailable, match="trust-version-unread"):
            world.read_on(start)
    world.publish(void=(range(at + 1, at + 5),))
    with pytest.raises(Unavailable, match="trust-version-unread"):
        world.read_on(view)
    world.publish(void=(range(at, at + 1),))
    for start in (view, world.start(None)):
        assert world.read_on(start).trust.targets_version == 4


def test_a_real_version_that_is_hidden_stays_what_the_next_one_needs() -> None:
    world = make_world()
    view = world.view()
    world.publish(policy={"main": POLICY})
    hidden = frozenset({leaf_of(world.lab.containers[-1]).envelope})
    world.publish(void=(range(world.log.settle().size - 1, world.log.settle().size),))
    with pytest.raises(Unavailable, match="trust-version-unread"):
        world.read_on(view, missing=hidden)


def test_a_hidden_suspension_closes_until_it_is_void_and_a_real_one_stands_though_it_is_void() -> None:
    world = make_world()
    real = world.log.append(dsse.render(world.suspend("bob", target_member="dan", submit=False)))
    at = world.hide("sus", "member:ada", "member:eve", until=2**32 - 1)
    asked = world.hide("req", "gate:x", until=2**32 - 1)
    view = world.view()
    assert view.known.unread == {"member:ada", "member:eve"}
    assert len(view.known.hidden) == 2
    world.publish(void=(range(real, at + 1), range(asked, asked + 1)))
    for start in (view, world.start(None)):
        after = world.read_on(start).known
        assert (after.unread, dict(after.hidden), dict(after.requests)) == (frozenset(), {}, {})
        assert after.suspended(now=NOW) == {"member:dan"}


def test_no_version_declares_void_what_comes_after_it() -> None:
    world = make_world()
    end = world.log.settle().size
    world.publish(void=(range(end, end + 1000),))
    at = world.hide("sus", "member:ada", until=2**32 - 1)
    world.publish(policy={"main": POLICY + "// the same run, and now it is before this version"})
    assert world.view().known.unread == {"member:ada"}
    world.publish(void=(range(at, at + 1),))
    assert world.view().known.unread == {"member:ada"}
    world.publish(void=())
    world.publish(void=(range(at, at + 1),))
    assert world.view().known.unread == frozenset()


def test_a_void_approval_does_not_keep_the_bundle_of_a_request_from_being_whole() -> None:
    world = make_world()
    asked = world.ask()
    given = world.approve(asked, "cat")
    tag = f"request:{asked.record_digest}"
    at = [world.hide(kind, tag, until=until) for kind, until in (("apr", 2**32 - 1), ("den", 2**32 - 1), ("use", None))]
    view = world.view()
    assert view.bundle_of(asked.record_digest) is None
    assert view.known.unread == {tag, f"use:{asked.record_digest}"}
    world.publish(void=(range(at[0], at[-1] + 1),))
    after = world.read_on(view)
    assert after.bundle_of(asked.record_digest) == world.bundle(asked, given)
    assert after.known.unread == frozenset()


def test_a_leaf_that_no_record_can_have_closes_nothing() -> None:
    world = make_world()
    world.hide("sus", "member:ada")
    world.hide("den", f"request:{'0' * 64}")
    world.hide("tgt", "version:2", until=2**32 - 1)
    assert dict(world.view().known.hidden) == {}


def test_a_hidden_denial_closes_its_request_alone() -> None:
    world = make_world()
    world.hide("den", f"request:{'0' * 64}", "member:ada", until=2**32 - 1)
    assert world.view().known.unread == {f"request:{'0' * 64}"}


# who may take away


@pytest.mark.parametrize(
    ("by", "target", "works"),
    [
        pytest.param("dan", {"target_member": "dan"}, True, id="any member himself"),
        pytest.param("ada+coder", {"target_member": "ada+coder"}, True, id="an agent itself"),
        pytest.param("dan", {"target_key": "dan"}, True, id="any member a key of his own"),
        pytest.param("cat", {"target_member": "dan"}, True, id="a human of security another"),
        pytest.param("cat", {"target_key": "dan"}, True, id="a human of security another's key"),
        pytest.param("ada", {"target_member": "dan"}, False, id="somebody outside security another"),
        pytest.param("bob+ops", {"target_member": "dan"}, False, id="an agent in security another"),
        pytest.param("cat", {"target_member": "dan", "until": NOW + 86401}, False, id="for longer than a day"),
        pytest.param(
            "cat", {"target_member": "dan", "until": NOW + 100, "signed_at": NOW + 100}, False, id="for no time"
        ),
        pytest.param("dan", {"target_member": "dan", "until": NOW + 50 * 86400}, True, id="himself for long"),
    ],
)
def test_who_may_suspend_whom(by: str, target: dict[str, object], works: bool) -> None:
    world = make_world()
    if "target_key" in target:
        target = {**target, "target_key": world.key(str(target["target_key"])).public.keyid}
    world.suspend(by, **target)
    assert suspended(world, "dan" if by != "ada+coder" else by) is works


def test_the_operator_of_a_gate_may_close_it_and_others_may_not() -> None:
    world = make_world()
    contents = world.lab.contents
    uri = str(world.gate)
    gate = contents.gates[uri]
    world.lab = world.lab.with_contents(
        replace(contents, gates={**contents.gates, uri: Gate(gate.uri, gate.kind, gate.key, "dan")})
    )
    world.sync_trust()
    world.suspend("ada", target_gate=uri)
    assert not list(world.view().known.suspensions_of(f"gate:{uri}", now=NOW))
    world.suspend("dan", target_gate=uri)
    known = world.view().known
    assert [found.by for found in known.suspensions_of(f"gate:{uri}", now=NOW)] == ["dan"]
    assert not list(replace(known, newest=None).suspensions_of(f"gate:{uri}", now=NOW + 3600))
    assert list(replace(known, newest=None).suspensions_of(f"gate:{uri}", now=NOW))


def test_the_same_pair_rests_for_a_week_and_another_of_security_need_not() -> None:
    world = make_world()
    world.suspend("cat", target_member="dan")
    week = 7 * 86400
    world.suspend("cat", target_member="dan", signed_at=NOW + week - 1, until=NOW + week + 3600)
    assert not suspended(world, "dan", now=NOW + week + 10)
    world.suspend("bob", target_member="dan", signed_at=NOW + week - 1, until=NOW + week + 100)
    assert suspended(world, "dan", now=NOW + week + 10)
    world.suspend("cat", target_member="dan", signed_at=NOW + week, until=NOW + week + 3600)
    assert suspended(world, "dan", now=NOW + week + 200)


def test_a_suspended_member_takes_nothing_away_from_others_whatever_date_he_writes() -> None:
    for signed_at in (NOW, NOW - 5000, NOW + 5000):
        world = make_world()
        asked = world.ask()
        world.suspend("cat", target_member="bob")
        world.deny(asked, "bob", signed_at=signed_at, expires_at=NOW + 9000)
        world.revoke(asked, "bob", signed_at=signed_at)
        world.suspend("bob", target_member="dan", signed_at=signed_at, until=signed_at + 3600)
        world.approve(asked, "bob", signed_at=signed_at, expires_at=NOW + 9000)
        known = world.view().known
        assert (known.withdrawals, known.approvals) == ({}, {})
        assert not suspended(world, "dan")


def test_a_suspended_key_takes_nothing_away_and_can_still_be_suspended_by_its_owner() -> None:
    world = make_world()
    asked = world.ask()
    world.suspend("cat", target_key=world.key("dan").public.keyid)
    world.deny(asked, "dan")
    world.suspend("dan", target_member="dan")
    assert world.view().known.withdrawals == {}
    assert len(world.view().known.suspensions) == 2


# who may give back


def test_two_unsuspended_humans_lift_and_never_the_target() -> None:
    world = make_world()
    suspension = world.suspend("cat", target_member="dan")
    for who in ("dan", "ada+coder", "bob", "bob"):
        world.lift(suspension, who)
        assert suspended(world, "dan"), who
    world.lift(suspension, "ada")
    assert not suspended(world, "dan")
    assert world.view().known.suspensions[suspension.record_digest].lifted_by == {"ada", "bob"}


def test_the_same_lift_twice_is_one() -> None:
    world = make_world()
    suspension = world.suspend("cat", target_member="dan")
    lift = world.lift(suspension, "bob")
    other = world.lift(suspension, "bob", reason="again")
    assert lift != other
    assert suspended(world, "dan")


def test_the_owner_of_a_suspended_key_lifts_nothing() -> None:
    world = make_world()
    suspension = world.suspend("cat", target_key=world.key("dan").public.keyid)
    world.lift(suspension, "dan")
    world.lift(suspension, "bob")
    assert suspended(world, "dan")


def test_nobody_lifts_the_suspension_of_another_key_of_his_own() -> None:
    world = make_world()
    roster = world.lab.contents.roster
    dan, second = roster.members["dan"], make_key("dan's second key")
    two_keys = replace(dan, keys=(*dan.keys, replace(dan.keys[0], key=second.public)))
    world.lab = world.lab.publish(roster=Roster(roster.lab, {**roster.members, "dan": two_keys}, roster.groups))
    world.sync_trust()
    suspension = world.suspend("cat", target_key=second.public.keyid)
    world.lift(suspension, "dan")
    world.lift(suspension, "bob")
    assert world.view().known.suspensions[suspension.record_digest].lifted_by == {"bob"}


def test_a_suspended_human_lifts_nothing() -> None:
    world = make_world()
    suspension = world.suspend("cat", target_member="dan")
    world.suspend("cat", target_member="eve")
    world.lift(suspension, "eve")
    world.lift(suspension, "bob")
    assert suspended(world, "dan")


def test_a_lift_of_nothing_or_that_cannot_be_read_lifts_nothing() -> None:
    world = make_world()
    suspension = world.suspend("cat", target_member="dan")
    world.lift(world.ask(), "ada")
    lift = world.lift(suspension, "ada")
    world.lift(suspension, "bob")
    view = world.view(missing=frozenset({stored(lift)}))
    assert list(view.known.suspensions_of("member:dan", now=NOW))


def test_a_new_targets_version_lifts_what_its_signer_may_no_longer_issue() -> None:
    world = make_world()
    world.suspend("cat", target_member="dan")
    world.suspend("dan", target_key=world.key("dan").public.keyid)
    roster = world.lab.contents.roster
    groups = {**roster.groups, "security": replace(roster.groups["security"], members=frozenset({"bob"}))}
    world.lab = world.lab.publish(roster=Roster(roster.lab, roster.members, groups))
    world.sync_trust()
    known = world.view().known
    assert not list(known.suspensions_of("member:dan", now=NOW))
    assert list(known.suspensions_of(f"key:{world.key('dan').public.keyid}", now=NOW)), "his own stands"


def test_whom_a_new_targets_version_lifted_takes_away_again() -> None:
    """He is told that his denial is in force, so every gate must take it."""
    world = make_world()
    world.suspend("cat", target_member="dan")
    denied, revoked = world.ask(), world.ask()
    roster = world.lab.contents.roster
    groups = {**roster.groups, "security": replace(roster.groups["security"], members=frozenset({"bob", "dan"}))}
    world.lab = world.lab.publish(roster=Roster(roster.lab, roster.members, groups))
    world.sync_trust()
    world.deny(denied, "dan")
    world.revoke(revoked, "dan")
    suspended = world.suspend("dan", target_member="eve")
    by_bob = world.suspend("bob", target_member="ada")
    world.lift(by_bob, "dan")
    known = world.view().known
    assert [(w.by, w.verb) for w in known.withdrawals[denied.record_digest]] == [("dan", "denied")]
    assert [(w.by, w.verb) for w in known.withdrawals[revoked.record_digest]] == [("dan", "revoked")]
    assert known.suspensions[suspended.record_digest].target == "member:eve"
    assert known.suspensions[by_bob.record_digest].lifted_by == {"dan"}


# what is live


def test_the_view_forgets_what_is_over() -> None:
    world = make_world()
    view = world.view()
    empty = view.known.size
    asked = world.ask()
    world.approve(asked, "bob")
    lasting = world.approve(asked, "cat", expires_at=NOW + 7100)
    other = world.ask(world.request(not_after=NOW + 9000, start_by=NOW + 9000))
    world.deny(other, "dan", expires_at=NOW + 50)
    world.approve(other, "dan", expires_at=NOW + 60)
    world.approve(other, "bob", expires_at=NOW + 9000)
    world.suspend("cat", target_member="eve")
    world.use(asked, lasting)
    view = world.read_on(view)
    assert view.known.size == empty + 13
    week = 8 * 86400
    assert world.read_on(view, now=NOW + 70, at=NOW + 70).known.size == empty + 11
    assert world.read_on(view, now=NOW + 7200, at=NOW + 7200).known.size == empty + 5
    assert world.read_on(view, now=NOW + 9000, at=NOW + 9000).known.size == empty + 1
    assert world.read_on(view, now=NOW + week, at=NOW + week).known.size == empty


def test_what_was_over_when_it_was_read_is_not_kept() -> None:
    world = make_world()
    asked = world.ask()
    world.deny(asked, "dan")
    nonce = world.check_in()
    view = world.read_on(world.start(nonce), now=NOW + 8000, at=NOW + 8000)
    assert view.known.size == 0


def test_one_approval_that_is_logged_twice_is_one() -> None:
    world = make_world()
    asked = world.ask()
    approval = dsse.render(world.approve(asked, "bob"))
    read = world.view().following(now=NOW)
    read.take([leaf.render(leaf_of(approval))], {Sha256(leaf_of(approval).envelope): approval})
    assert len(read.known().approvals[asked.record_digest]) == 1


def test_only_the_first_use_is_kept() -> None:
    world = make_world()
    asked = world.ask()
    first = world.use(asked)
    view = world.view()
    second = world.use(asked)
    assert {use.digest for use in world.read_on(view).known.uses.values()} == {first.record_digest}
    assert second != first


def test_what_is_over_is_not_even_asked_for() -> None:
    world = make_world()
    asked = world.ask()
    world.deny(asked, "dan")
    world.use(asked)
    view = world.start(None)
    leaves = world.log.leaves(0, world.log.settle().size)
    assert len(view.needed(leaves, now=NOW)) == 5
    assert len(view.needed(leaves, now=NOW + 8000)) == 2, "trust alone"


def test_repeating_a_denial_costs_the_gates_nothing() -> None:
    world = make_world()
    asked = world.ask()
    for lasts_s in (50, 70, 60):
        world.deny(asked, "dan", expires_at=NOW + lasts_s)
    world.deny(asked, "eve")
    world.revoke(asked, "dan")
    found = world.view().known.withdrawals[asked.record_digest]
    assert [(w.kind, w.by, w.until - NOW) for w in found] == [
        ("den", "dan", 70),
        ("den", "eve", 7200),
        ("rev", "dan", 7200),
    ]


def test_unread_negatives_are_forgotten_when_they_are_over() -> None:
    world = make_world()
    asked = world.ask()
    tag = f"request:{asked.record_digest}"
    missing = frozenset(
        {
            stored(world.deny(asked, "dan")),
            stored(world.deny(asked, "dan", expires_at=NOW + 7300)),
            stored(world.revoke(asked, "dan")),
        }
    )
    view = world.view(missing=missing)
    assert view.known.unread == {tag}
    assert world.read_on(view, now=NOW + 7300, at=NOW + 7300).known.unread == frozenset()


def test_an_unread_use_is_never_forgotten_while_unread() -> None:
    world = make_world()
    asked = world.ask()
    view = world.view(missing=frozenset({stored(world.use(asked)), stored(world.use(asked))}))
    assert view.known.unread == {f"use:{asked.record_digest}"}


def test_the_bundle_of_a_request_is_what_the_log_has() -> None:
    world = make_world()
    asked = world.ask()
    given = [world.approve(asked, who) for who in ("bob", "eve")]
    world.log.append(dsse.render(given[0]))
    view = world.view()
    assert view.bundle_of(asked.record_digest) == world.bundle(asked, *given)
    assert view.bundle_of("0" * 64) is None
    assert world.view(missing=frozenset({stored(given[0])})).bundle_of(asked.record_digest) is None
    assert world.view(missing=frozenset({stored(asked)})).bundle_of(asked.record_digest) is None


def test_approvals_and_uses_of_requests_that_are_not_in_the_log_are_passed_over() -> None:
    world = make_world()
    asked = world.ask(submit=False)
    world.approve(asked, "bob")
    world.use(asked)
    assert world.view().known.size == 0


def test_two_envelopes_of_one_approval_are_one() -> None:
    world = make_world()
    asked = world.ask()
    approval = world.approve(asked, "bob")
    known = world.view().known
    assert [one.digest for one in known.approvals[asked.record_digest]] == [approval.record_digest]


def test_nothing_has_effect_before_the_lab_is_founded() -> None:
    lab = make_lab()
    world = World(replace(lab, containers=lab.containers[:1]))
    world.lab = lab
    asked = world.ask()
    world.deny(asked, "ada")
    read = world.start(None).following(now=NOW)
    leaves = world.log.leaves(0, world.log.settle().size)
    read.take(
        leaves, {Sha256(one.envelope): world.log.envelope(Sha256(one.envelope)) for one in map(leaf.parse, leaves)}
    )
    known = read.known()
    assert known.newest is None
    assert known.size == 0
    assert isinstance(known, Known)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(("deny", "revoke", "suspend bob", "approve", "ask")), max_size=8))
def test_nothing_that_is_added_to_the_log_makes_a_refusal_a_grant(events: list[str]) -> None:
    """Approvals aside, whatever is logged can only take away."""
    world = make_world()
    asked = world.ask()
    world.approve(asked, "bob")
    sizes = []
    for event in events:
        match event:
            case "deny":
                world.deny(asked, "dan")
            case "revoke":
                world.revoke(asked, "dan")
            case "suspend bob":
                world.suspend("cat", target_member="bob")
            case "approve":
                world.approve(asked, "dan")
            case _:
                world.ask()
        known = world.view().known
        sizes.append((len(known.withdrawals.get(asked.record_digest, ())), len(known.suspensions)))
    assert sizes == sorted(sizes, key=lambda pair: pair[0])


def test_one_person_fills_no_memory_with_approvals() -> None:
    world = make_world()
    asked = world.ask()
    for _ in range(70):  # more than a bundle holds
        world.approve(asked, "bob")
    view = world.view()
    assert len(view.known.approvals[asked.record_digest]) == 1
    assert view.bundle_of(asked.record_digest) is not None


def test_a_view_says_who_and_what_is_suspended() -> None:
    world = make_world()
    world.suspend("bob", target_member="ada")
    world.suspend("ada", target_key=world.key("ada").public.keyid)
    lifted = world.suspend("bob", target_member="dan")
    world.lift(lifted, "eve")
    world.lift(lifted, "cat")
    known = world.view().known
    assert known.suspended(now=NOW) == {"member:ada", f"key:{world.key('ada').public.keyid}"}
    assert known.suspended(now=NOW + 3600) == frozenset()


def test_an_agent_takes_back_what_it_asked_for_and_nothing_else() -> None:
    world = make_world()
    own = world.ask(world.request(requester="ada+coder", key=world.key("ada+coder").public.keyid))
    other = world.ask()
    for asked in (own, other):
        world.revoke(asked, "ada+coder")
    withdrawals = world.view().known.withdrawals
    assert [one.by for one in withdrawals[own.record_digest]] == ["ada+coder"]
    assert other.record_digest not in withdrawals
