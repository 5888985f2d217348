"""Asking, agreeing, taking away and following, through the ports, against a log in memory."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from keyturn.app.access import authorize, request_access, show_grants, take_away
from keyturn.app.access.take_away import Target
from keyturn.app.log.follow_log import follow_log
from keyturn.app.records import sign_record
from keyturn.cli.access.asked import table
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.session_terms import SessionTerms
from keyturn.grants.verify_grant import verify_grant
from keyturn.policy.facts import NO_FACTS
from support.asking import asked, draft, hand, say, view_of
from support.labs import NOW
from support.world import POLICY, Witnessed, make_world


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
