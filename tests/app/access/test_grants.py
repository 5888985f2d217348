"""Asking, agreeing, taking away and following, through the ports, against a log in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.app.access import authorize, break_glass_file, request_access, review_use, show_grants, take_away
from keyturn.app.access.request_access import Wish
from keyturn.app.access.take_away import Hand, Target
from keyturn.app.log.follow_log import follow_log
from keyturn.app.oversight.show_stats import read_whole, show_stats
from keyturn.app.records import sign_record
from keyturn.cli.access.asked import table
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats.access import AccessRequest
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.uri import Uri
from keyturn.grants import bundle as bundles
from keyturn.grants.break_glass import verify_break_glass
from keyturn.grants.verify_grant import verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS
from support.labs import NOW
from support.world import BREAK_GLASS, POLICY, Witnessed, World, make_world

ONLY_RELEASES = POLICY[POLICY.index('@id("release")') :]


def hand(world: World, member: str) -> Hand:
    return Hand(member, world.key(member), world.log, world.clock, world.clock)


def wish(world: World, **changed: object) -> Wish:
    values: dict[str, object] = {
        "requester": "ada",
        "beneficiary": None,
        "action": "weights:read",
        "resource": Uri("acme.example", "model", "aurora"),
        "gate": world.gate,
        "permit": None,
        "justification": "a look at the loss",
        "ticket": "",
        "duration_s": None,
        "not_before": None,
        "pending_s": None,
        "session_key": world.session.public.text,
        "bytes_max": None,
        "follows": None,
        **changed,
    }
    return Wish(**values)  # type: ignore[arg-type]  # the table above, field by field


def draft(world: World, **changed: object) -> AccessRequest:
    policy = world.view().shelf.policy(world.lab.state)
    key = world.key(str(changed.get("requester", "ada"))).public.keyid
    return request_access.draft_request(
        wish(world, **changed), policy, keyid=key, clock=world.clock, entropy=world.clock
    )


def view_of(world: World) -> GateView:
    return follow_log(world.start(None), Witnessed(world), now=world.now)


def asked(world: World, **changed: object) -> authorize.Pending:
    made = draft(world, **changed)
    logged = request_access.request_access(
        made, subjects=request_access.of_resource(made), key=world.key(made.requester), log=world.log
    )
    return authorize.find_pending(view_of(world), logged.id)


def say(world: World, pending: authorize.Pending, member: str, decision: str = "approve") -> str:
    done = authorize.authorize(
        pending,
        "approve" if decision == "approve" else "deny",
        member=member,
        reason="no" if decision == "deny" else "",
        key=world.key(member),
        log=world.log,
        clock=world.clock,
        entropy=world.clock,
    )
    return done.id


def test_asking_and_two_approvals_open_the_gate() -> None:
    world = make_world()
    pending = asked(world)
    for member in ("bob", "eve"):
        assert say(world, pending, member).startswith("apr-")
    view = world.view()
    bundle = view.bundle_of(pending.digest)
    assert bundle is not None
    grant = verify_grant(bundle, view, now=NOW, gate=world.gate, session_key=world.session.public, facts=NO_FACTS)
    assert grant.granted.digest == pending.digest


def test_a_draft_takes_the_permits_limits_and_what_was_asked() -> None:
    world = make_world()
    made = draft(world)
    assert (made.permit, made.duration_s, made.start_by - made.not_before) == ("weights-read", 7200, 28800)
    assert made.not_after == made.start_by + 7200
    short = draft(world, duration_s=60, pending_s=600, not_before=NOW + 5, beneficiary="dan", permit="weights-read")
    assert (short.duration_s, short.not_before, short.start_by, short.beneficiary) == (60, NOW + 5, NOW + 605, "dan")
    one_shot = draft(world, action="model:release", session_key=None)
    assert (one_shot.permit, one_shot.not_after - one_shot.not_before) == ("release", 86400)


def test_a_permit_must_be_clear() -> None:
    world = make_world()
    with pytest.raises(Refused, match="permit-none"):
        draft(world, requester="bob")
    with pytest.raises(Refused, match="permit-unknown"):
        draft(world, permit="nope")
    twice = make_world(
        policy={"main": POLICY + POLICY.replace('"weights-read"', '"again"').replace('"release"', '"more"')}
    )
    with pytest.raises(Usage, match="again, weights-read"):
        draft(twice)


def test_a_request_that_nobody_could_approve_is_not_accepted_and_reported_as_fine() -> None:
    world = make_world(policy={"main": POLICY.replace("1 weights-owners + 1 security", "9 security")})
    policy = world.view().shelf.policy(world.lab.state)
    with pytest.raises(Refused, match="request-hopeless"):
        request_access.require_hope(draft(world), policy, gates=world.lab.state.gates, now=NOW)
    world = make_world()
    policy = world.view().shelf.policy(world.lab.state)
    request_access.require_hope(draft(world), policy, gates=world.lab.state.gates, now=NOW)
    with pytest.raises(Usage, match="session-key-missing"):
        request_access.require_hope(draft(world, session_key=None), policy, gates=world.lab.state.gates, now=NOW)


def test_a_request_for_a_gate_that_the_lab_lacks_is_refused_before_it_is_signed() -> None:
    world = make_world()
    gates = world.lab.state.gates
    made = msgspec.structs.replace(draft(world), gate="keyturn://acme.example/gate/relase")
    with pytest.raises(Refused, match="gate-unknown") as refused:
        request_access.require_hope(made, world.view().shelf.policy(world.lab.state), gates=gates, now=NOW)
    assert refused.value.hint.startswith("did you mean `keyturn://acme.example/gate/release`? gates: ")


def test_facts_that_only_the_gate_knows_leave_hope() -> None:
    text = POLICY.replace('Model::"aurora");', 'Model::"aurora") when { context.custody.verified };')
    world = make_world(policy={"main": text})
    request_access.require_hope(
        draft(world), world.view().shelf.policy(world.lab.state), gates=world.lab.state.gates, now=NOW
    )


def test_a_request_shows_itself_whole_before_it_is_signed() -> None:
    world = make_world()
    made = draft(world, ticket="T-1", bytes_max=5, follows="a" * 64)
    said = " ".join(value for _, value in request_access.shown(made, request_access.of_resource(made)))
    for field in made.__struct_fields__:
        value = getattr(made, field)
        if field in ("not_before", "start_by", "not_after"):
            assert "2026-09-" in said
        elif field == "break_glass_at":
            assert "YES, signed at" not in said
        elif field == "urgent":
            assert dict(request_access.shown(draft(world, urgent=True), ()))[field].startswith("yes")
        elif field in ("session", "database"):
            assert value is None, "neither on a host nor in a database"
        else:
            assert (str(value)[:32] if field == "follows" else str(value)) in said, field
    bare = dict(request_access.shown(draft(world), ()))
    assert (bare["ticket"], bare["bytes at most"], bare["follows"], bare["urgent"]) == ("-", "-", "-", "no")


def test_what_a_session_on_a_host_may_do_is_shown_with_what_it_may_not() -> None:
    host = "keyturn://acme.example/host/gpu1"
    made = make_world().request(action="host:shell", resource=host)
    assert dict(request_access.shown(made, ()))["session"] == (
        "a shell of the action's own account: no sftp, nothing forwarded"
    )
    terms = SessionTerms(account="deploy", sources=("10.1.0.0/16",), sftp=True, forwards=("db1:5432",))
    said = dict(request_access.shown(msgspec.structs.replace(made, session=terms), ()))
    assert [said[row] for row in ("account", "only from", "only runs", "sftp", "forwards to")] == [
        *("deploy", "10.1.0.0/16", "anything", "YES", "db1:5432"),
    ]
    said = dict(request_access.shown(msgspec.structs.replace(made, session=SessionTerms(command="uptime")), ()))
    assert [said[row] for row in ("account", "only from", "only runs", "sftp", "forwards to")] == [
        *("the action's own", "anywhere", "uptime", "no", "nowhere"),
    ]


def test_what_a_session_in_a_database_is_held_to_is_shown() -> None:
    made = make_world().request(action="db:read", resource="keyturn://acme.example/db/main/app")
    assert "whole schema" in dict(request_access.shown(made, ()))["in the database"]
    rows = ("read only", "only tables", "a statement lasts", "connections")
    for terms, shown in (
        (DatabaseTerms(read_only=True, tables=("a", "b")), ["yes", "a, b", "-", "-"]),
        (DatabaseTerms(statement_s=90, connections=1), ["no", "any of the schema", "1m 30s at most", "1 at most"]),
    ):
        said = dict(request_access.shown(msgspec.structs.replace(made, database=terms), ()))
        assert [said[row] for row in rows] == shown


def test_nothing_that_a_requester_writes_looks_like_another_field() -> None:
    world = make_world()
    made = draft(world, justification="fine\n  who asks  bob")
    named = sign_record.about("a" * 64, name="x; who asks: bob")
    rows = request_access.shown(made, named)
    assert dict(rows)["about"] == f"sha256:{'a' * 64} called 'x; who asks: bob'"
    lines = table(rows).splitlines()
    assert [line.split()[:3] for line in lines if line.split()[:2] == ["who", "asks"]] == [["who", "asks", "ada"]]
    assert any(line.split()[:3] == ["|", "who", "asks"] for line in lines)


def test_a_request_is_signed_with_the_key_that_it_names() -> None:
    world = make_world()
    made = draft(world)
    with pytest.raises(Refused, match="request-other-key"):
        request_access.request_access(
            made, subjects=request_access.of_resource(made), key=world.key("dan"), log=world.log
        )


@pytest.mark.parametrize(
    ("member", "approve", "code"),
    [
        pytest.param("ada+coder", True, "approver-not-human", id="an AI agent approves"),
        pytest.param("ada", True, "approver-concerned", id="the requester approves"),
        pytest.param("mallory", True, "approver-unknown", id="a stranger approves"),
        pytest.param("ada+coder", False, "signer-not-human", id="an AI agent denies"),
        pytest.param("mallory", False, "signer-not-human", id="a stranger denies"),
        pytest.param("ada", False, None, id="the requester denies"),
        pytest.param("bob", True, None, id="a coworker approves"),
        pytest.param("dan", True, "suspended", id="somebody suspended approves"),
    ],
)
def test_an_authorization_that_would_not_count_is_refused_before_it_is_signed(
    member: str, approve: bool, code: str | None
) -> None:
    world = make_world()
    pending = asked(world)
    world.suspend("cat", target_member="dan")
    view = view_of(world)

    def check() -> None:
        authorize.require_can_authorize(
            pending,
            world.lab.state,
            view,
            member=member,
            keyid=world.key(member).public.keyid,
            now=NOW,
            approve=approve,
        )

    if code is None:
        check()
        return
    with pytest.raises(Refused) as caught:
        check()
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("decision", "code"),
    [
        pytest.param("approve", "request-approved-already", id="he approved it already"),
        pytest.param("deny", "request-ended", id="it is denied"),
    ],
)
def test_nobody_is_told_that_he_approved_what_his_approval_cannot_change(
    decision: Literal["approve", "deny"], code: str
) -> None:
    world = make_world()
    pending = asked(world)
    say(world, pending, "bob", decision)
    with pytest.raises(Refused, match=code):
        authorize.require_can_authorize(
            pending,
            world.lab.state,
            view_of(world),
            member="bob",
            keyid=world.key("bob").public.keyid,
            now=NOW,
            approve=True,
        )


def test_facts_that_nobody_but_the_gate_knows_are_explained_as_such() -> None:
    text = POLICY.replace('Model::"aurora");', 'Model::"aurora") when { context.custody.verified };')
    world = make_world(policy={"main": text})
    pending = asked(world)
    said = " ".join(show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW).sentences)
    assert "the gate itself must find out the rest" in said
    assert "attribute" not in said


@pytest.mark.parametrize(
    ("kind", "name"), [("member", "bbo"), ("key", "0" * 64), ("gate", "keyturn://acme.example/gate/x")]
)
def test_whoever_is_not_there_cannot_be_suspended_by_a_slip_of_the_hand(
    kind: Literal["member", "key", "gate"], name: str
) -> None:
    trust = make_world().lab.state
    with pytest.raises(Refused, match="suspend-target-unknown"):
        take_away.require_known(take_away.Target(kind, name), trust)
    there = {
        "member": "bob",
        "key": next(iter(trust.builders.values())).key.keyid,
        "gate": next(iter(trust.gates)),
    }
    take_away.require_known(take_away.Target(kind, there[kind]), trust)


def test_a_request_is_named_by_a_unique_prefix() -> None:
    world = make_world()
    pending = asked(world)
    view = view_of(world)
    assert authorize.find_pending(view, pending.id[:12]).digest == pending.digest
    assert authorize.find_pending(view, pending.digest).digest == pending.digest
    with pytest.raises(Refused, match="request-unknown"):
        authorize.find_pending(view, "req-" + "0" * 32)
    for text in ("req-", "req-1234567", "apr-12345678", pending.id + "\n", "nonsense"):
        with pytest.raises(Usage, match="record-id"):
            authorize.find_pending(view, text)
    envelope = view.known.requests[pending.digest].envelope
    unread = follow_log(world.start(None), Witnessed(world, lost=frozenset({envelope})), now=NOW)
    with pytest.raises(Unavailable, match="request-unread"):
        authorize.find_pending(unread, pending.id)


def test_a_denial_stands_as_long_as_the_request_could() -> None:
    world = make_world()
    pending = asked(world)
    assert say(world, pending, "dan", "deny").startswith("den-")
    (denial,) = view_of(world).known.withdrawals[pending.digest]
    assert denial.until == pending.made.not_after


def test_revoking_withdrawing_suspending_and_lifting() -> None:
    world = make_world()
    trust = world.lab.state
    pending = asked(world)
    take_away.revoke(pending, hand(world, "dan"), trust, view_of(world), reason="enough")
    with pytest.raises(Refused, match="signer-not-human"):
        take_away.revoke(pending, hand(world, "bob+ops"), trust, view_of(world), reason="enough")
    view = view_of(world)
    assert [w.by for w in view.known.withdrawals[pending.digest]] == ["dan"]

    sus = take_away.suspend(
        Target("member", "dan"), hand(world, "cat"), trust, view, reason="laptop lost", duration_s=None
    )
    take_away.suspend(
        Target("key", world.key("eve").public.keyid), hand(world, "eve"), trust, view, reason="lost", duration_s=9
    )
    take_away.suspend(Target("gate", str(world.gate)), hand(world, "bob"), trust, view, reason="fire", duration_s=60)
    view = view_of(world)
    assert list(view.known.suspensions_of("member:dan", now=NOW))
    for member, code in (("ada", "suspension-not-allowed"), ("cat", "suspension-again"), ("dan", "suspended")):
        with pytest.raises(Refused, match=code):
            take_away.suspend(
                Target("member", "dan" if member != "dan" else "bob"),
                hand(world, member),
                trust,
                view,
                reason="x",
                duration_s=None,
            )

    suspended = take_away.find_suspended(view, sus.id[:12], now=NOW)
    with pytest.raises(Refused, match="suspended"):
        take_away.lift(suspended, hand(world, "dan"), trust, view, reason="found")
    for member in ("ada", "bob"):
        take_away.lift(suspended, hand(world, member), trust, view, reason="found")
    view = view_of(world)
    assert not list(view.known.suspensions_of("member:dan", now=NOW))
    with pytest.raises(Refused, match="suspension-unknown"):
        take_away.find_suspended(view, sus.id, now=NOW)


def test_following_goes_on_from_where_it_was_and_begins_again_after_a_loss() -> None:
    world = make_world()
    pending = asked(world)
    view = view_of(world)
    say(world, pending, "dan", "deny")
    lost = frozenset({world.log.about(f"request:{pending.digest}")[-1].envelope})
    blind = follow_log(view, Witnessed(world, lost=lost), now=NOW)
    assert blind.known.unread
    again = follow_log(blind, Witnessed(world), now=NOW)
    assert not again.known.unread
    assert again.known.withdrawals[pending.digest]
    assert again.frontier == blind.frontier


def test_a_log_that_gives_no_leaves_is_unavailable() -> None:
    world = make_world()

    class Empty(Witnessed):
        def leaves(self, start: int, end: int) -> list[bytes]:
            return []

    with pytest.raises(Unavailable, match="log-range"):
        follow_log(world.start(None), Empty(world), now=NOW)


def test_the_life_of_a_request_is_listed_and_explained() -> None:
    world = make_world()
    trust = world.lab.state
    pending = asked(world, duration_s=100)

    def explained(now: int = NOW) -> tuple[str, ...]:
        view = world.read_on(world.start(None), now=now, at=now)
        return show_grants.explain_grant(view, trust, pending.digest, now=now).sentences

    def state(now: int = NOW) -> str:
        (live,) = show_grants.list_grants(world.read_on(world.start(None), now=now, at=now), trust, now=now)
        assert live.profile == "demo"
        return live.state

    assert state() == "asked"
    assert state(pending.made.start_by + 1) == "lapsed"
    (lapsed,) = explained(pending.made.start_by + 1)
    assert lapsed.startswith("its quorum was not met by 20")
    found = show_grants.explain_grant(view_of(world), trust, pending.digest, now=NOW)
    assert found.could_approve == ("bob", "cat", "eve")
    world.suspend("cat", target_member="bob")
    assert show_grants.explain_grant(view_of(world), trust, pending.digest, now=NOW).could_approve == ("cat", "eve")
    for member in ("cat", "dan"):
        say(world, pending, member)
    assert state() == "asked"
    world.now = NOW + 3600
    say(world, pending, "eve")
    world.now = NOW
    assert state() == "agreed"
    assert state(NOW + 3600) == "open"
    assert state(NOW + 3700) == "over"
    (over,) = explained(NOW + 3700)
    assert over.startswith("it was open until 20")
    say(world, pending, "dan", "deny")
    assert state() == "denied"
    (denied,) = explained()
    assert denied.startswith("`dan` denied it: ")
    with pytest.raises(Refused, match="request-unknown"):
        show_grants.live_request(view_of(world), trust, "0" * 64, now=NOW)


def test_who_ended_a_request_is_said_by_what_he_did() -> None:
    for member, verb in (("ada", "withdrew"), ("cat", "revoked")):
        world = make_world()
        pending = asked(world)
        take_away.revoke(pending, hand(world, member), world.lab.state, view_of(world), reason="enough")
        found = show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW)
        assert found.sentences == (f"`{member}` {verb} it: enough; whoever needs it asks again",)
        assert found.could_approve == ()


def test_an_approval_by_somebody_suspended_is_explained_as_one_that_does_not_count() -> None:
    world = make_world()
    pending = asked(world)
    say(world, pending, "bob")
    world.suspend("cat", target_member="bob")
    found = show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW)
    assert found.sentences[0] == "`bob` is suspended: this approval does not count meanwhile"
    assert "bob" not in found.could_approve


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda world: {"policy": {"main": ONLY_RELEASES}}, "is no permit of", id="its permit is gone"),
        pytest.param(
            lambda world: {"policy": {"main": POLICY.replace("1 weights-owners + 1 security", "9 security")}},
            "if everybody approved who may",
            id="its quorum became one that nobody fills",
        ),
        pytest.param(
            lambda world: {"policy": {"main": POLICY.replace('Group::"research"', 'Group::"security"')}},
            "does not apply to `ada`",
            id="its permit is for others",
        ),
    ],
)
def test_a_request_that_nobody_can_approve_any_more_is_said_to_be_hopeless_and_names_nobody(
    change: Callable[[World], dict[str, Any]], why: str
) -> None:
    world = make_world()
    pending = asked(world)
    assert not show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW).hopeless
    world.publish(**change(world))
    found = show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW)
    assert (found.hopeless, found.could_approve) == (True, ())
    assert found.sentences[0].startswith("HOPELESS: ")
    assert any(why in sentence and "trust version 2" in sentence for sentence in found.sentences), found.sentences
    assert f"keyturn grant withdraw {pending.id}" in found.sentences[-1]


def test_a_request_whose_gate_is_gone_is_said_to_be_hopeless() -> None:
    world = make_world()
    pending = asked(world)
    world.publish(gates={})
    found = show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW)
    assert (found.hopeless, found.could_approve) == (True, ())
    assert "is no gate of the lab" in found.sentences[1]


def test_a_request_of_another_trust_version_than_the_log_has_is_hopeless() -> None:
    world = make_world()
    pending = asked(world)
    envelope = world.ask(msgspec.structs.replace(pending.made, trust_version=7, nonce="f" * 32))
    found = show_grants.explain_grant(view_of(world), world.lab.state, envelope.record_digest, now=NOW)
    assert found.hopeless
    assert "trust version 7" in found.sentences[1]


def test_a_used_one_shot_and_a_revoked_request_say_so() -> None:
    world = make_world()
    envelope = world.ask(world.release())
    given = [world.approve(envelope, member) for member in ("bob", "cat")]
    world.use(envelope, *given)
    view = view_of(world)
    live = show_grants.live_request(view, world.lab.state, envelope.record_digest, now=NOW)
    assert (live.state, live.approvers) == ("used", ("bob", "cat"))
    assert show_grants.explain_grant(view, world.lab.state, envelope.record_digest, now=NOW).sentences == ()
    world.revoke(envelope, "dan")
    assert show_grants.live_request(view_of(world), world.lab.state, envelope.record_digest, now=NOW).state == "revoked"


def test_a_request_by_an_unknown_permit_has_no_window() -> None:
    world = make_world()
    envelope = world.ask(world.request(permit="gone"))
    live = show_grants.live_request(view_of(world), world.lab.state, envelope.record_digest, now=NOW)
    assert (live.state, live.window) == ("asked", None)
    assert isinstance(world.key("ada"), SoftwareKey)
    assert isinstance(world.log, LogInMemory)


def emergency(world: World) -> authorize.Pending:
    return asked(world, break_glass=True)


def glass_world() -> World:
    return make_world(policy={"main": BREAK_GLASS})


def test_a_break_glass_request_is_over_within_the_hour_and_is_shown_as_one() -> None:
    world = glass_world()
    made = draft(world, break_glass=True)
    assert (made.permit, made.break_glass_at, made.not_after) == ("repair", NOW, NOW + 3600)
    assert "YES, signed at 2026-09-21T14:13:20Z" in dict(request_access.shown(made, ()))["break-glass"]
    assert draft(world).permit == "weights-read", "and nothing else is by such a permit"
    with pytest.raises(Refused, match="permit-none"):
        draft(make_world(), break_glass=True)
    with pytest.raises(Refused, match="permit-other-glass"):
        draft(world, break_glass=True, permit="weights-read")
    with pytest.raises(Refused, match="is for break-glass alone"):
        policy = world.view().shelf.policy(world.lab.state)
        request_access.require_hope(draft(world, permit="repair"), policy, gates=world.lab.state.gates, now=NOW)


def test_what_would_not_end_break_glass_is_refused_before_it_is_signed() -> None:
    world = glass_world()
    pending = emergency(world)
    view = view_of(world)
    keyid = world.key("dan").public.keyid
    with pytest.raises(Refused, match="denial-without-effect"):
        authorize.require_can_authorize(
            pending, world.lab.state, view, member="dan", keyid=keyid, now=NOW, approve=False
        )
    with pytest.raises(Refused, match="revocation-without-effect"):
        take_away.revoke(pending, hand(world, "dan"), world.lab.state, view, reason="no")
    world.deny(world.ask(world.emergency(), submit=False), "dan")
    take_away.revoke(pending, hand(world, "cat"), world.lab.state, view, reason="no")
    view = view_of(world)
    assert show_grants.live_request(view, world.lab.state, pending.digest, now=NOW).state == "revoked"
    with pytest.raises(Refused, match="request-ended"):
        authorize.require_can_authorize(
            pending,
            world.lab.state,
            view,
            member="bob",
            keyid=world.key("bob").public.keyid,
            now=NOW,
            approve=True,
        )


def test_a_denial_of_break_glass_is_not_shown_as_its_end() -> None:
    world = glass_world()
    request = world.ask(world.emergency())
    world.approve(request, "bob")
    world.deny(request, "dan")
    view = view_of(world)
    live = show_grants.live_request(view, world.lab.state, request.record_digest, now=NOW)
    assert (live.state, live.withdrawn_by) == ("open", None)
    stats = show_stats(view, read_whole(view, Witnessed(world)), world.lab.state, since=0, now=NOW)
    assert (stats.granted, stats.denied) == (1, 0)
    world.glass_use(request)
    assert show_grants.live_request(view_of(world), world.lab.state, request.record_digest, now=NOW).state == "used"


def test_break_glass_is_asked_and_approved_in_a_file_without_the_log() -> None:
    world = glass_world()
    made = draft(world, break_glass=True)
    bundle = break_glass_file.start_bundle(made, subjects=request_access.of_resource(made), key=world.key("ada"))
    pending = break_glass_file.pending_in(bundle)
    fixed = world.clock

    def approve(member: str, into: bundles.Bundle) -> bundles.Bundle:
        return break_glass_file.add_approval(
            into, pending, member=member, reason="", key=world.key(member), clock=fixed, entropy=fixed
        )

    done = approve("bob", bundle)
    with pytest.raises(Refused, match="request-approved-already"):
        approve("bob", done)
    grant = verify_break_glass(
        approve("cat", done),
        world.view(),
        now=NOW,
        gate=world.gate,
        session_key=world.session.public,
        facts=NO_FACTS,
        journal=(),
    )
    assert grant.granted.digest == pending.digest
    ordinary = draft(world)
    with pytest.raises(Refused, match="break-glass-none"):
        break_glass_file.start_bundle(ordinary, subjects=request_access.of_resource(ordinary), key=world.key("ada"))
    with pytest.raises(Refused, match="break-glass-none"):
        break_glass_file.pending_in(world.bundle(world.ask()))
    with pytest.raises(Refused, match="request-other-key"):
        break_glass_file.start_bundle(made, subjects=request_access.of_resource(made), key=world.key("dan"))


def test_a_use_by_break_glass_is_listed_until_a_second_person_reviewed_it() -> None:
    world = glass_world()
    request = world.ask(world.emergency())
    use = world.glass_use(request)
    view = view_of(world)
    (found,) = review_use.unreviewed(view)
    assert (found.id[4:], found.could_review) == (use.record_digest[:32], ("cat", "dan", "eve"))
    assert "keyturn://acme.example/model/aurora by ada" in found.text
    assert review_use.find_unreviewed(view, found.id[:12]) == found
    with pytest.raises(Refused, match="break-glass-unknown"):
        review_use.find_unreviewed(view, "brk-00000000")
    behind = review_use.request_behind(read_whole(view, Witnessed(world)), found.use)
    assert behind is not None
    assert behind.justification == "a look at the loss"
    assert review_use.request_behind(view_of(glass_world()).known, found.use) is None
    for member in ("ada", "bob"):
        with pytest.raises(Refused, match="review-own"):
            review_use.review_use(found, hand(world, member), world.lab.state, view, finding="fine")
    assert review_use.review_use(found, hand(world, "eve"), world.lab.state, view, finding="fine").id.startswith("rvw-")
    assert review_use.unreviewed(view_of(world)) == ()
