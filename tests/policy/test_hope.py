"""Whether anybody could ever approve a request: what all people together cannot change, and nothing that waits for an hour."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest
from keyturn.policy.decide import Reason
from keyturn.policy.facts import NO_FACTS, Facts
from keyturn.policy.hope import hopeless, plainly_hopeless, refuse_hopeless
from keyturn.policy.load import Policy
from support.labs import NOW

Ask = Callable[..., AccessRequest]
PolicyOf = Callable[..., Policy]

HEAD = (
    '@quorum("1 security") @duration_max("2h") @pending_max("8h") '
    'permit (principal in Group::"research", action == Action::"weights:read", resource)'
)
KEY = "AAAA"
AT_NIGHT = NOW - NOW % 86400


def codes(policy: Policy, request: AccessRequest, facts: Facts = NO_FACTS, *, now: int = NOW) -> set[str]:
    return {reason.code for reason in hopeless(policy, request, facts, now=now)}


def test_what_others_can_approve_is_not_hopeless(policy_of: PolicyOf, ask: Ask) -> None:
    assert codes(policy_of(f'@id("p") {HEAD};'), ask(permit="p", session_key=KEY)) == set()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"beneficiary": "mallory"}, "beneficiary-unknown", id="for nobody of the lab"),
        pytest.param({"permit": "nope"}, "permit-unknown", id="no such permit"),
        pytest.param({"action": "weights:serve"}, "permit-other-action", id="a permit for another action"),
        pytest.param({"duration_s": 7201}, "duration-too-long", id="more than its permit allows"),
        pytest.param({"requester": "bob", "beneficiary": "bob"}, "permit-not-determining", id="a permit for others"),
        pytest.param({"beneficiary": "bob"}, "permit-not-determining", id="a beneficiary whom it is not for"),
        pytest.param({"session_key": None}, "session-key-missing", id="a session that no key can prove"),
    ],
)
def test_what_nobody_can_change_is_hopeless(
    changed: dict[str, object], code: str, policy_of: PolicyOf, ask: Ask
) -> None:
    policy = policy_of(f'@id("p") {HEAD};')
    made = ask(**{"permit": "p", "session_key": KEY, **changed})
    assert {reason.code for reason in plainly_hopeless(policy, made)} == {code}
    assert codes(policy, made) == {code}


def test_a_quorum_that_all_others_together_do_not_fill_is_hopeless(policy_of: PolicyOf, ask: Ask) -> None:
    policy = policy_of(f'@id("p") {HEAD.replace("1 security", "1 security + 9 weights-owners")};')
    (reason,) = hopeless(policy, ask(permit="p", session_key=KEY), NO_FACTS, now=NOW)
    assert reason.code == "quorum-not-met"
    assert "if everybody approved who may" in reason.text


def test_what_a_forbid_refuses_whoever_approves_is_hopeless(policy_of: PolicyOf, ask: Ask) -> None:
    text = f'@id("p") {HEAD};\n@id("never") forbid (principal, action, resource);'
    made = ask(permit="p", session_key=KEY)
    assert plainly_hopeless(policy_of(text), made) == ()
    assert codes(policy_of(text), made) == {"policy-forbids"}


def test_a_fact_that_only_the_gate_knows_leaves_hope(policy_of: PolicyOf, ask: Ask) -> None:
    policy = policy_of(f'@id("p") {HEAD} when {{ context.custody.verified }};')
    assert codes(policy, ask(permit="p", session_key=KEY)) == set()


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        pytest.param("context.time.hour >= 6", set(), id="in its last hour"),
        pytest.param("context.time.hour >= 0", set(), id="at once"),
        pytest.param("context.time.hour >= 12", {"policy-not-permitted"}, id="after it is over"),
    ],
)
def test_a_permit_for_some_hours_leaves_hope_while_one_of_them_is_to_come(
    hours: str, expected: set[str], policy_of: PolicyOf, ask: Ask
) -> None:
    policy = policy_of(f'@id("p") {HEAD} when {{ {hours} }};')
    made = ask(
        permit="p",
        session_key=KEY,
        not_before=AT_NIGHT,
        start_by=AT_NIGHT + 5 * 3600,
        not_after=AT_NIGHT + 6 * 3600,
        duration_s=3600,
    )
    assert codes(policy, made, now=AT_NIGHT) == expected


def test_a_hopeless_request_is_refused_with_every_reason() -> None:
    reasons = (Reason("quorum-not-met", "two of `research`"), Reason("duration", "at most 1 h"))
    with pytest.raises(Refused) as refused:
        refuse_hopeless(reasons)
    assert (refused.value.code, [code for code, _ in refused.value.reasons]) == (
        "request-hopeless",
        ["quorum-not-met", "duration"],
    )
    refuse_hopeless(())
