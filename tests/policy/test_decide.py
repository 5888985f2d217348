"""The decision: what allows, and every way to be denied."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.session_terms import SessionTerms
from keyturn.policy.decide import Allow, Deny, decide
from keyturn.policy.facts import NO_FACTS, Facts
from keyturn.policy.load import Policy, load
from keyturn.policy.persons import countable, excluded
from support.labs import NOW, make_lab

Ask = Callable[..., AccessRequest]
PolicyOf = Callable[..., Policy]

HEAD = (
    '@quorum("1 security") @duration_max("2h") @pending_max("8h") '
    'permit (principal, action == Action::"weights:read", resource)'
)
BROAD = f'@id("broad") {HEAD};'


def codes(decided: Allow | Deny) -> set[str]:
    assert isinstance(decided, Deny), decided
    assert decided.reasons
    return {reason.code for reason in decided.reasons}


def test_an_empty_policy_set_denies() -> None:
    with pytest.raises(Refused, match="policy-empty"):
        load(make_lab().state)


def test_two_different_people_of_the_right_groups_allow(policy_of: PolicyOf, ask: Ask) -> None:
    decided = decide(policy_of(), ask(), ["cat", "bob"], NO_FACTS, now=NOW)
    assert isinstance(decided, Allow)
    assert decided.permit.id == "weights-read"
    assert set(decided.approvers) == {"bob", "cat"}


@pytest.mark.parametrize(
    ("approvers", "what"),
    [
        pytest.param([], "nobody approves", id="nobody"),
        pytest.param(["cat"], "one person fills two required groups", id="one person in two groups"),
        pytest.param(["cat", "cat"], "one person counts twice", id="the same person twice"),
        pytest.param(["bob", "dan"], "somebody of no required group", id="a stranger to the quorum"),
        pytest.param(["bob", "ada"], "the requester approves for himself", id="the requester"),
        pytest.param(["bob", "mallory"], "somebody outside the roster", id="not in the roster"),
        pytest.param(["ada+coder", "bob+ops"], "agents approve", id="agents"),
    ],
)
def test_the_quorum_is_not_met(approvers: list[str], what: str, policy_of: PolicyOf, ask: Ask) -> None:
    assert codes(decide(policy_of(), ask(), approvers, NO_FACTS, now=NOW)) == {"quorum-not-met"}, what


def test_an_agent_in_the_approving_group_never_counts(ask: Ask, policy_of: PolicyOf) -> None:
    policy = policy_of(BROAD, groups={"security": ("bob+ops", "bob")})
    assert codes(decide(policy, ask(permit="broad"), ["bob+ops"], NO_FACTS, now=NOW)) == {"quorum-not-met"}
    assert isinstance(decide(policy, ask(permit="broad"), ["bob"], NO_FACTS, now=NOW), Allow)


def test_the_human_responsible_for_the_agent_that_asks_never_counts(policy_of: PolicyOf, ask: Ask) -> None:
    policy = policy_of(BROAD)
    request = ask(permit="broad", requester="bob+ops")
    assert codes(decide(policy, request, ["bob"], NO_FACTS, now=NOW)) == {"quorum-not-met"}
    assert isinstance(decide(policy, request, ["cat"], NO_FACTS, now=NOW), Allow)


def test_the_beneficiary_and_who_answers_for_it_never_count(policy_of: PolicyOf, ask: Ask) -> None:
    policy = policy_of(BROAD)
    for beneficiary in ("bob", "bob+ops"):
        request = ask(permit="broad", beneficiary=beneficiary)
        assert codes(decide(policy, request, ["bob"], NO_FACTS, now=NOW)) == {"quorum-not-met"}
    assert excluded(policy.roster, "ada", "bob+ops") == {"ada", "bob+ops", "bob", "dan"}
    assert excluded(policy.roster, "zed", "ada") == {"zed", "ada"}
    assert countable(policy.roster, ["ada", "cat", "zed", "ada+coder"], "ada", "ada") == {"cat"}


def test_the_beneficiary_too_must_be_permitted(policy_of: PolicyOf, ask: Ask) -> None:
    decided = decide(policy_of(), ask(beneficiary="bob"), ["cat", "eve"], NO_FACTS, now=NOW)
    assert codes(decided) >= {"policy-not-permitted"}


def test_a_member_of_a_nested_group_is_recognised(policy_of: PolicyOf, ask: Ask) -> None:
    text = BROAD.replace("(principal,", '(principal in Group::"everyone",').replace("1 security", "1 everyone")
    assert isinstance(decide(policy_of(text), ask(permit="broad"), ["eve"], NO_FACTS, now=NOW), Allow)


def test_a_child_of_the_resource_is_within_its_parent(policy_of: PolicyOf, ask: Ask) -> None:
    child = ask(resource="keyturn://acme.example/model/aurora-7b")
    assert isinstance(decide(policy_of(), child, ["bob", "eve"], NO_FACTS, now=NOW), Allow)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"lab": "evil.example"}, "lab-other", id="a request of another lab"),
        pytest.param(
            {"requester": "mallory"}, "requester-unknown", id="an unknown requester, even under an unscoped permit"
        ),
        pytest.param({"beneficiary": "mallory"}, "beneficiary-unknown", id="an unknown beneficiary"),
        pytest.param({"resource": "keyturn://acme.example/model/nova"}, "resource-unknown", id="an unknown resource"),
        pytest.param(
            {"resource": "keyturn://evil.example/model/aurora"}, "resource-unknown", id="another lab's resource"
        ),
        pytest.param({"action": "weights:sell"}, "action-unknown", id="an unknown action"),
        pytest.param({"permit": "no-such"}, "permit-unknown", id="an unknown permit"),
        pytest.param({"permit": "f"}, "permit-unknown", id="a forbid named as the permit"),
        pytest.param({"action": "weights:serve"}, "permit-other-action", id="a permit for another action"),
        pytest.param({"duration_s": 7201}, "duration-too-long", id="longer than the permit allows"),
        pytest.param(
            {"start_by": NOW + 28801, "not_after": NOW + 30000}, "pending-too-long", id="waiting longer than allowed"
        ),
        pytest.param(
            {"action": "host:shell", "permit": "shell"}, "policy-error", id="an action on a resource it is not for"
        ),
    ],
)
def test_a_request_that_the_policy_does_not_know_is_denied(
    changed: dict[str, object], code: str, policy_of: PolicyOf, ask: Ask
) -> None:
    text = (
        BROAD
        + '@id("f") forbid (principal, action == Action::"db:read", resource);'
        + BROAD.replace("broad", "shell").replace("weights:read", "host:shell")
    )
    assert code in codes(decide(policy_of(text), ask(**{"permit": "broad", **changed}), ["bob"], NO_FACTS, now=NOW))


def test_a_one_shot_must_be_over_within_pending_max(policy_of: PolicyOf, ask: Ask) -> None:
    text = '@id("r") @quorum("1 security") @pending_max("1h") permit (principal, action == Action::"model:release", resource);'
    one_shot = {"action": "model:release", "permit": "r", "start_by": NOW + 60}
    assert isinstance(decide(policy_of(text), ask(**one_shot, not_after=NOW + 3600), ["bob"], NO_FACTS, now=NOW), Allow)
    late = decide(policy_of(text), ask(**one_shot, not_after=NOW + 3601), ["bob"], NO_FACTS, now=NOW)
    assert codes(late) == {"pending-too-long"}


def test_only_the_named_permit_counts_with_its_own_limits(policy_of: PolicyOf, ask: Ask) -> None:
    """The most permissive rule does not win, and a limit is not taken from another rule than the one that matched."""
    text = BROAD + BROAD.replace("broad", "narrow").replace("2h", "1m").replace("1 security", "2 security")
    policy = policy_of(text)
    assert codes(decide(policy, ask(permit="narrow"), ["bob"], NO_FACTS, now=NOW)) == {
        "duration-too-long",
        "quorum-not-met",
    }
    assert isinstance(decide(policy, ask(permit="broad"), ["bob"], NO_FACTS, now=NOW), Allow)


def test_a_permit_that_is_not_determining_does_not_count(policy_of: PolicyOf, ask: Ask) -> None:
    text = BROAD + f'@id("agents") {HEAD.replace("(principal,", "(principal is Agent,")};'
    assert codes(decide(policy_of(text), ask(permit="agents"), ["bob"], NO_FACTS, now=NOW)) == {
        "permit-not-determining"
    }


def test_a_forbid_wins(policy_of: PolicyOf, ask: Ask) -> None:
    text = BROAD + '@id("never-ada") forbid (principal == Human::"ada", action, resource);'
    decided = decide(policy_of(text), ask(permit="broad"), ["bob"], NO_FACTS, now=NOW)
    assert codes(decided) == {"policy-forbids"}
    assert isinstance(decided, Deny)
    assert "never-ada" in decided.reasons[0].text


def test_a_forbid_that_errs_denies_although_cedar_skips_it(policy_of: PolicyOf, ask: Ask) -> None:
    text = BROAD + '@id("f") forbid (principal, action, resource) when { context.custody.level_min < 2 };'
    assert codes(decide(policy_of(text), ask(permit="broad"), ["bob"], NO_FACTS, now=NOW)) == {"policy-error"}
    good = Facts({"custody.level_min": 2})
    assert isinstance(decide(policy_of(text), ask(permit="broad"), ["bob"], good, now=NOW), Allow)


def test_a_missing_fact_denies(policy_of: PolicyOf, ask: Ask) -> None:
    policy = policy_of(f'@id("broad") {HEAD} when {{ context.custody.verified }};')
    request = ask(permit="broad")
    assert codes(decide(policy, request, ["bob"], NO_FACTS, now=NOW)) == {"policy-error"}
    assert codes(decide(policy, request, ["bob"], Facts({"custody.verified": False}), now=NOW)) == {
        "policy-not-permitted"
    }
    assert isinstance(decide(policy, request, ["bob"], Facts({"custody.verified": True}), now=NOW), Allow)


def test_a_policy_asks_for_evaluations_by_name(policy_of: PolicyOf, ask: Ask) -> None:
    asked = 'context.custody.evaluations_met.containsAll(["loss", "refusals"]) && context.custody.check_min >= 3'
    policy = policy_of(f'@id("broad") {HEAD} when {{ {asked} }};')
    request = ask(permit="broad")

    def decided(*names: str, check: int = 3) -> object:
        facts = Facts({"custody.evaluations_met": frozenset(names), "custody.check_min": check})
        return decide(policy, request, ["bob"], facts, now=NOW)

    assert isinstance(decided("refusals", "loss", "more"), Allow)
    assert not isinstance(decided("loss"), Allow)
    assert not isinstance(decided("refusals", "loss", check=2), Allow)
    assert not isinstance(decide(policy, request, ["bob"], NO_FACTS, now=NOW), Allow)


@pytest.mark.parametrize(
    ("condition", "changed", "allowed"),
    [
        pytest.param("context.request.bytes_max <= 1000", {"bytes_max": 1000}, True, id="within the bytes"),
        pytest.param("context.request.bytes_max <= 1000", {"bytes_max": 1001}, False, id="more bytes"),
        pytest.param("context.request.bytes_max <= 1000", {}, False, id="bytes not said"),
        pytest.param("context.request.duration_s < 3601", {}, True, id="a short session"),
        pytest.param("!context.request.for_other && !context.request.renewal", {}, True, id="for oneself, and new"),
        pytest.param("context.request.renewal", {"follows": "a" * 64}, False, id="a renewal by its own word"),
        # 1790000000 is a Monday, 2026-09-21, 14:13 UTC
        pytest.param("context.time.weekday == 1 && context.time.hour == 14", {}, True, id="the time of the decision"),
    ],
)
def test_facts_of_the_request_and_the_time_come_from_the_decision_itself(
    condition: str, changed: dict[str, object], allowed: bool, policy_of: PolicyOf, ask: Ask
) -> None:
    policy = policy_of(f'@id("broad") {HEAD} when {{ {condition} }};')
    decided = decide(policy, ask(permit="broad", **changed), ["bob"], NO_FACTS, now=NOW)
    assert isinstance(decided, Allow) is allowed


SHELL = (
    '@quorum("1 security") @duration_max("2h") @pending_max("8h") '
    'permit (principal, action == Action::"host:shell", resource)'
)


@pytest.mark.parametrize(
    ("condition", "terms"),
    [
        pytest.param("!context.request.sftp", SessionTerms(sftp=True), id="file transfer"),
        pytest.param("!context.request.forwards", SessionTerms(forwards=("db1:5432",)), id="a forwarded port"),
        pytest.param("!context.request.command", SessionTerms(command="uptime"), id="one command"),
        pytest.param("!context.request.sources", SessionTerms(sources=("10.0.0.0/8",)), id="a place to come from"),
    ],
)
def test_a_policy_can_ask_what_a_session_on_a_host_may_do(
    condition: str, terms: SessionTerms, policy_of: PolicyOf, ask: Ask
) -> None:
    policy = policy_of(f'@id("broad") {SHELL} when {{ {condition} }};')
    host = {"permit": "broad", "action": "host:shell", "resource": "keyturn://acme.example/host/gpu1"}
    for session in (None, SessionTerms(account="deploy")):
        assert isinstance(decide(policy, ask(**host, session=session), ["bob"], NO_FACTS, now=NOW), Allow)
    assert isinstance(decide(policy, ask(**host, session=terms), ["bob"], NO_FACTS, now=NOW), Deny)


QUERY = '@quorum("1 security") @duration_max("2h") @pending_max("8h") permit (principal, action == Action::"db:read", resource)'


@pytest.mark.parametrize(
    ("condition", "terms"),
    [
        pytest.param("context.request.read_only", DatabaseTerms(read_only=True), id="reading alone"),
        pytest.param("context.request.tables", DatabaseTerms(tables=("runs",)), id="named tables"),
        pytest.param("context.request.statement_timeout", DatabaseTerms(statement_s=30), id="short statements"),
        pytest.param("context.request.connections", DatabaseTerms(connections=1), id="few connections"),
    ],
)
def test_a_policy_can_ask_that_a_session_in_a_database_is_held_to_less(
    condition: str, terms: DatabaseTerms, policy_of: PolicyOf, ask: Ask
) -> None:
    policy = policy_of(f'@id("broad") {QUERY} when {{ {condition} }};')
    db = {"permit": "broad", "action": "db:read", "resource": "keyturn://acme.example/db/main"}
    assert isinstance(decide(policy, ask(**db, database=terms), ["bob"], NO_FACTS, now=NOW), Allow)
    other = DatabaseTerms(connections=2) if terms.connections is None else DatabaseTerms(statement_s=1)
    for held in (None, other):
        assert isinstance(decide(policy, ask(**db, database=held), ["bob"], NO_FACTS, now=NOW), Deny)


def test_a_caller_cannot_pass_off_facts_about_the_request(policy_of: PolicyOf, ask: Ask) -> None:
    policy = policy_of(f'@id("broad") {HEAD} when {{ context.request.duration_s < 10 }};')
    lied = Facts({"request.duration_s": 1})
    assert codes(decide(policy, ask(permit="broad"), ["bob"], lied, now=NOW)) == {"policy-not-permitted"}


@given(st.frozensets(st.sampled_from(("ada", "bob", "cat", "dan", "eve", "ada+coder", "bob+ops", "mallory"))))
def test_more_approvals_never_turn_a_yes_into_a_no(policy_of: PolicyOf, ask: Ask, approvers: frozenset[str]) -> None:
    policy, request = policy_of(), ask()
    if isinstance(decide(policy, request, approvers, NO_FACTS, now=NOW), Allow):
        for more in policy.roster.members:
            assert isinstance(decide(policy, request, approvers | {more}, NO_FACTS, now=NOW), Allow)
