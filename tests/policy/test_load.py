"""The loader: what it accepts, and each thing that condemns a policy, by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.errors import Malformed, Refused
from keyturn.policy.facts import NO_FACTS, Facts
from keyturn.policy.load import Policy, load
from support.labs import make_lab

ANNOTATED = '@id("p") @quorum("1 security") @duration_max("2h") @pending_max("8h")'
SCOPE = 'permit (principal in Group::"research", action == Action::"weights:read", resource in Model::"aurora")'


def test_a_policy_is_loaded_with_its_limits(policy_of: Callable[..., Policy]) -> None:
    policy = policy_of()
    permit = policy.permits["weights-read"]
    assert (permit.duration_max_s, permit.pending_max_s, permit.one_shot) == (7200, 28800, False)
    assert permit.asks == {"ada", "dan", "ada+coder"}
    assert policy.forbids == frozenset()
    assert "weights-read" in repr(policy)


def test_a_one_shot_needs_only_pending_max(policy_of: Callable[..., Policy]) -> None:
    text = '@id("r") @quorum("2 security") @pending_max("1d") permit (principal, action == Action::"model:release", resource);'
    permit = policy_of(text).permits["r"]
    assert (permit.one_shot, permit.duration_max_s, permit.pending_max_s) == (True, None, 86400)


def test_a_permit_for_break_glass_is_over_within_an_hour(policy_of: Callable[..., Policy]) -> None:
    short = annotated(duration_max="20m", pending_max="40m")
    assert policy_of(f"@breakglass {short}").permits["p"].break_glass
    assert not policy_of(short).permits["p"].break_glass


@pytest.mark.parametrize(
    ("scope", "asks"),
    [
        pytest.param("principal", {"ada", "bob", "cat", "dan", "eve", "ada+coder", "bob+ops"}, id="everyone"),
        pytest.param('principal == Human::"ada"', {"ada"}, id="one human"),
        pytest.param('principal == Agent::"ada+coder"', {"ada+coder"}, id="one agent"),
        pytest.param("principal is Agent", {"ada+coder", "bob+ops"}, id="a kind"),
        pytest.param('principal is Human in Group::"research"', {"ada", "dan"}, id="a kind in a group"),
        pytest.param(
            'principal in Group::"everyone"', {"ada", "bob", "cat", "dan", "eve", "ada+coder"}, id="nested groups"
        ),
    ],
)
def test_who_may_ask_follows_the_scope(scope: str, asks: set[str], policy_of: Callable[..., Policy]) -> None:
    text = f'{ANNOTATED} permit ({scope}, action in [Action::"weights:read", Action::"weights:serve"], resource);'
    assert policy_of(text).permits["p"].asks == asks


@pytest.mark.parametrize(
    "condition",
    [
        "context.custody.verified && !(context.custody.level_min < 2) || context.time.hour >= 8",
        'principal in [Group::"research", Group::"security"] && principal is Human in Group::"research"',
        'if resource == Model::"aurora" then context.custody.steps != 0 else principal == Human::"ada"',
        "[1, 2, 3].contains(context.time.weekday) && [1, 2].containsAll([1]) && [1].containsAny([2])",
        "resource is Model && principal is Human",
    ],
)
def test_comparisons_sets_and_logic_are_allowed(condition: str, policy_of: Callable[..., Policy]) -> None:
    assert policy_of(f"{ANNOTATED} {SCOPE} when {{ {condition} }};").permits["p"]


def annotated(**changed: str | None) -> str:
    values: dict[str, str | None] = {
        "id": "p",
        "quorum": "1 security",
        "duration_max": "2h",
        "pending_max": "8h",
        **changed,
    }
    return " ".join(f'@{name}("{value}")' for name, value in values.items() if value is not None) + f" {SCOPE};"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", "policy-empty", id="no policy"),
        pytest.param("// nothing but a comment", "policy-empty", id="a comment alone"),
        pytest.param("permit (principal, action", "policy-syntax", id="a broken text"),
        pytest.param(
            f"{ANNOTATED} permit (principal == ?principal, action, resource);", "policy-template", id="a template"
        ),
        pytest.param(annotated(id=None), "policy-id", id="no id"),
        pytest.param(annotated(id=""), "policy-id", id="an empty id"),
        pytest.param(annotated(id="P p"), "policy-id", id="an id that is no name"),
        pytest.param(f"@id {SCOPE};", "policy-id", id="an id without value"),
        pytest.param(annotated() + annotated(), "policy-id-twice", id="one id twice"),
        pytest.param(annotated(quorum=None), "policy-quorum", id="no quorum"),
        pytest.param(annotated(quorum="0 security"), "policy-quorum", id="quorum 0"),
        pytest.param(annotated(quorum="1 nobody"), "policy-unknown-group", id="a quorum of an unknown group"),
        pytest.param(annotated(duration_max=None), "policy-limit-missing", id="no duration_max"),
        pytest.param(annotated(pending_max=None), "policy-limit-missing", id="no pending_max"),
        pytest.param(annotated(duration_max="0h"), "policy-limit", id="a limit of 0"),
        pytest.param(annotated(duration_max="2 h"), "policy-limit", id="a limit with a space"),
        pytest.param(annotated(duration_max="31d"), "policy-limit", id="a limit beyond the greatest"),
        pytest.param(annotated(pending_max="forever"), "policy-limit", id="a limit that is no time"),
        pytest.param(
            "@breakglass " + annotated(duration_max="30m", pending_max="31m"),
            "policy-break-glass",
            id="break-glass for more than an hour",
        ),
        pytest.param(
            '@breakglass("yes") ' + annotated(duration_max="30m", pending_max="30m"),
            "policy-break-glass",
            id="break-glass with a value",
        ),
        *(
            pytest.param(
                f'@breakglass @id("p") @quorum("2 security") @pending_max("30m") @duration_max("30m") '
                f'permit (principal, action == Action::"{action}", resource);',
                "policy-break-glass",
                id=f"break-glass for {action}, which cannot be taken back",
            )
            for action in ("model:release", "report:release", "weights:export")
        ),
        pytest.param(
            '@id("f") @breakglass forbid (principal, action, resource);',
            "policy-annotation",
            id="a forbid by break-glass",
        ),
        pytest.param("@breakglass " + annotated(quorum=None), "policy-quorum", id="break-glass without a quorum"),
        pytest.param(annotated(quroum="1 security"), "policy-annotation", id="a misspelt annotation"),
        pytest.param(
            '@id("f") @quorum("1 security") forbid (principal, action, resource);',
            "policy-annotation",
            id="a forbid with a quorum",
        ),
        pytest.param(
            f"{ANNOTATED} permit (principal, action, resource);", "policy-action", id="a permit for every action"
        ),
        pytest.param(
            f"{ANNOTATED} permit (principal, action in [], resource);", "policy-action", id="a permit for no action"
        ),
        pytest.param(
            f'{ANNOTATED} permit (principal, action == Action::"weights:sell", resource);',
            "policy-action",
            id="an unknown action",
        ),
        pytest.param(
            f'{ANNOTATED} permit (principal, action in [Action::"weights:read", Action::"model:release"], resource);',
            "policy-action",
            id="one-shots and sessions in one permit",
        ),
        pytest.param(
            f'{ANNOTATED} permit (principal in Group::"admins", action == Action::"weights:read", resource);',
            "policy-unknown-group",
            id="an unknown group in the scope",
        ),
        pytest.param(
            f'{ANNOTATED} permit (principal == Human::"mallory", action == Action::"weights:read", resource);',
            "policy-unknown-entity",
            id="an unknown member",
        ),
        pytest.param(
            f'{ANNOTATED} permit (principal, action == Action::"weights:read", resource == Model::"nova");',
            "policy-unknown-entity",
            id="an unknown resource",
        ),
        pytest.param(
            annotated() + '@id("f") forbid (principal, action, resource) when { principal in Group::"x" };',
            "policy-unknown-group",
            id="an unknown group in a condition of a forbid",
        ),
        pytest.param(f"{ANNOTATED} {SCOPE} when {{ context.time.hour + 1 > 8 }};", "policy-operator", id="addition"),
        pytest.param(
            f"{ANNOTATED} {SCOPE} when {{ context.time.hour * 2 > 8 }};", "policy-operator", id="multiplication"
        ),
        pytest.param(f"{ANNOTATED} {SCOPE} when {{ -context.time.hour < 8 }};", "policy-operator", id="negation"),
        pytest.param(
            f"{ANNOTATED} {SCOPE} unless {{ context has custody }};",
            "policy-operator",
            id="asking whether a fact is there",
        ),
        pytest.param(
            f'{ANNOTATED} {SCOPE} when {{ ip("10.0.0.1").isLoopback() }};', "policy-operator", id="a function"
        ),
        pytest.param(
            f"{ANNOTATED} {SCOPE} when {{ context.custody.verifed }};", "policy-invalid", id="a misspelt fact"
        ),
        pytest.param(
            f"{ANNOTATED} {SCOPE} when {{ context.custody.steps }};", "policy-invalid", id="a number as a condition"
        ),
        pytest.param(
            f'{ANNOTATED} permit (principal, action == Action::"host:shell", resource is Model);',
            "policy-invalid",
            id="an action on a resource that it is not for",
        ),
        pytest.param(
            "".join(f'@id("p{n}") forbid (principal, action, resource);' for n in range(1001)),
            "policy-too-many",
            id="more policies than are read",
        ),
    ],
)
def test_a_bad_policy_is_refused_whole_and_by_name(text: str, code: str, policy_of: Callable[..., Policy]) -> None:
    with pytest.raises(Refused) as caught:
        policy_of(text)
    assert caught.value.code == code, str(caught.value)


def test_an_id_used_in_two_files_is_refused() -> None:
    lab = make_lab(
        groups={"security": ("bob",)},
        policy=dict.fromkeys(("one", "two"), '@id("p") forbid (principal, action, resource);'),
    )
    with pytest.raises(Refused, match="policy-id-twice"):
        load(lab.state)


def test_a_lab_without_policy_files_allows_nothing() -> None:
    with pytest.raises(Refused, match="policy-empty"):
        load(make_lab().state)


def test_an_expression_with_two_operators_is_refused(policy_of: Callable[..., Policy]) -> None:
    from keyturn.policy import load as module

    with pytest.raises(Refused, match="policy-operator"):
        module._check_operators("p", {"conditions": [{"body": {"Value": True, "Var": "context"}}]})


@pytest.mark.parametrize(
    ("values", "code"),
    [
        pytest.param({"custody.trusted": True}, "fact-unknown", id="an unknown fact"),
        pytest.param({"custody.verified": 1}, "fact-type", id="a number for a truth value"),
        pytest.param({"custody.evaluations_met": "loss"}, "fact-type", id="a name for names"),
        pytest.param({"custody.evaluations_met": frozenset({1})}, "fact-type", id="a number among names"),
        pytest.param({"custody.steps": True}, "fact-type", id="a truth value for a number"),
        pytest.param({"custody.steps": 2**53}, "fact-type", id="a number that JSON cannot hold"),
    ],
)
def test_a_bad_fact_is_refused(values: dict[str, object], code: str) -> None:
    with pytest.raises(Malformed) as caught:
        Facts(values)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.code == code


def test_facts_are_a_frozen_mapping() -> None:
    facts = Facts({"custody.steps": 3, "custody.verified": True})
    assert facts == {"custody.steps": 3, "custody.verified": True}
    assert len(facts) == 2
    assert list(facts) == ["custody.steps", "custody.verified"]
    assert hash(facts) == hash(Facts(dict(facts)))
    assert facts != NO_FACTS
    assert repr(NO_FACTS) == "Facts({})"
    assert facts.adding({"custody.steps": 4}).nested() == {"custody": {"steps": 4, "verified": True}}
