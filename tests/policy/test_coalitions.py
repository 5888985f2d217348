"""Coalitions against brute force, changes of policy, findings before publishing, and denials in words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest
from keyturn.policy import coalitions, persons
from keyturn.policy.coalitions import diff, report
from keyturn.policy.decide import Deny, decide
from keyturn.policy.explain import explain, who_could_approve
from keyturn.policy.facts import NO_FACTS
from keyturn.policy.lint import lint, refuse_unapprovable
from keyturn.policy.load import Policy, load
from keyturn.policy.quorum import Matching, match_quorum
from support.labs import NOW, make_lab

PolicyOf = Callable[..., Policy]
Ask = Callable[..., AccessRequest]

HEAD = (
    '@duration_max("2h") @pending_max("8h") '
    'permit (principal in Group::"research", action == Action::"weights:read", resource)'
)
HUMANS = ("ann", "ben", "cyn", "dov", "eli")


def brute_force(policy: Policy, permit: str) -> set[frozenset[str]]:
    """Every set of members of the least size in which one asks and the others meet the quorum."""
    rule = policy.permits[permit]
    found = set()
    for chosen in combinations(sorted(policy.roster.members), rule.quorum.size + 1):
        for asker in chosen:
            rest = persons.countable(policy.roster, set(chosen) - {asker}, asker, asker)
            met = isinstance(match_quorum(rule.quorum, rest, policy.roster.members_of), Matching)
            if asker in rule.asks and met and len(rest) == rule.quorum.size:
                found.add(frozenset(chosen))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.frozensets(st.sampled_from((*HUMANS, "ann+bot", "ben+bot")), max_size=5),
    st.frozensets(st.sampled_from((*HUMANS, "ann+bot")), max_size=4),
    st.frozensets(st.sampled_from(HUMANS), max_size=4),
    st.sampled_from(("1 x", "2 x", "1 x + 1 y", "2 x + 1 y")),
)
def test_coalitions_are_exactly_what_brute_force_finds(
    research: frozenset[str], x: frozenset[str], y: frozenset[str], quorum: str
) -> None:
    lab = make_lab(
        humans=HUMANS,
        agents={"ann+bot": ("ann",), "ben+bot": ("ben", "cyn")},
        groups={"research": tuple(sorted(research)), "x": tuple(sorted(x)), "y": tuple(sorted(y))},
        policy={"main": f'@id("p") @quorum("{quorum}") {HEAD};'},
    )
    policy = load(lab.state)
    found = report(policy).permits["p"]
    brute = brute_force(policy, "p")
    assert found.complete
    assert found.count == len(brute)
    assert (found.size is not None) is bool(brute)
    assert all(frozenset(row.example) in brute for row in found.coalitions)
    assert (not brute) is any(finding.level == "error" for finding in lint(policy))


def test_publishers_are_always_listed_as_a_coalition_for_everything(policy_of: PolicyOf) -> None:
    assert report(policy_of()).publishers == ("ada", "bob", "cat", "dan", "eve")


def test_classes_are_said_in_words(policy_of: PolicyOf) -> None:
    rows = report(policy_of()).permits["weights-read"].coalitions
    assert [(row.classes, row.count, row.example) for row in rows] == [
        (
            (("agent who may ask", 1), ("human in security", 1), ("human in security and weights-owners", 1)),
            1,
            ("ada+coder", "bob", "cat"),
        ),
        (
            (("agent who may ask", 1), ("human in security", 1), ("human in weights-owners", 1)),
            1,
            ("ada+coder", "bob", "eve"),
        ),
        (
            (("agent who may ask", 1), ("human in security and weights-owners", 1), ("human in weights-owners", 1)),
            1,
            ("ada+coder", "cat", "eve"),
        ),
        (
            (("human in security", 1), ("human in security and weights-owners", 1), ("human who may ask", 1)),
            2,
            ("bob", "cat", "ada"),
        ),
        (
            (("human in security", 1), ("human in weights-owners", 1), ("human who may ask", 1)),
            2,
            ("bob", "eve", "ada"),
        ),
        (
            (("human in security and weights-owners", 1), ("human in weights-owners", 1), ("human who may ask", 1)),
            2,
            ("cat", "eve", "ada"),
        ),
    ]


def test_a_report_that_looked_at_too_much_says_so(policy_of: PolicyOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalitions, "EXAMINED_MAX", 2)
    policy = policy_of()
    assert not report(policy).permits["weights-read"].complete
    assert lint(policy) == ()


def test_a_permit_that_nobody_can_approve_is_an_error_when_it_is_published(policy_of: PolicyOf) -> None:
    alone = '@id("p") @quorum("2 security") ' + HEAD.replace("research", "security")
    policy = policy_of(f"{alone};", groups={"security": ("bob", "cat"), "research": ("ada",)})
    assert [(f.level, f.code) for f in lint(policy)] == [("error", "permit-unapprovable")]
    with pytest.raises(Refused) as caught:
        refuse_unapprovable(policy)
    assert caught.value.code == "policy-unapprovable"
    refuse_unapprovable(policy_of())


def test_at_a_gate_a_dead_permit_leaves_the_others_alive(policy_of: PolicyOf, ask: Ask) -> None:
    dead = '@id("dead") @quorum("9 security") ' + HEAD + ";"
    live = '@id("weights-read") @quorum("1 security") ' + HEAD + ";"
    policy = policy_of(dead + live)
    assert not isinstance(decide(policy, ask(), ["bob"], NO_FACTS, now=NOW), Deny)
    assert isinstance(decide(policy, ask(permit="dead"), ["bob", "cat"], NO_FACTS, now=NOW), Deny)


def test_lint_warns_of_what_surprises(policy_of: PolicyOf) -> None:
    policy = policy_of(
        f'@id("p") @quorum("2 security") {HEAD}; @id("q") @quorum("1 security") {HEAD.replace("research", "nobody")};',
        groups={"security": ("bob", "cat", "ada+coder"), "research": ("ada",), "nobody": ()},
    )
    assert [(f.level, f.permit, f.code) for f in lint(policy)] == [
        ("error", "q", "permit-nobody-asks"),
        ("warning", "p", "permit-group-not-human"),
        ("warning", "p", "permit-one-coalition"),
        ("warning", "q", "permit-group-not-human"),
    ]


def test_lint_warns_of_break_glass_that_nobody_could_review(policy_of: PolicyOf) -> None:
    text = f'@breakglass @id("p") @quorum("1 security") {HEAD};'.replace('"2h"', '"30m"').replace('"8h"', '"30m"')
    three = {"humans": ("ada", "bob", "cat"), "agents": {"ada+coder": ("ada", "cat")}}
    few = policy_of(text, groups={"security": ("bob",), "research": ("ada", "ada+coder")}, **three)
    (found,) = [f for f in lint(few) if f.code == "permit-unreviewable"]
    assert (found.level, "when ada+coder used it" in found.text) == ("warning", True)
    many = policy_of(text, groups={"security": ("bob",), "research": ("ada",)}, humans=("ada", "bob", "cat"), agents={})
    assert "permit-unreviewable" not in [f.code for f in lint(many)]


def test_a_permit_that_becomes_break_glass_opens(policy_of: PolicyOf) -> None:
    plain = f'@id("p") @quorum("1 security") {HEAD};'.replace('"2h"', '"30m"').replace('"8h"', '"30m"')
    for old, new, opens, said in (
        (plain, f"@breakglass {plain}", True, "becomes break-glass"),
        (f"@breakglass {plain}", plain, False, "is break-glass no longer"),
    ):
        (change,) = diff(policy_of(old), policy_of(new))
        assert (change.opens, change.texts) == (opens, (said,))


@pytest.mark.parametrize(
    ("old", "new", "opens", "said"),
    [
        pytest.param('@quorum("2 security")', '@quorum("1 security")', True, "quorum `2 security` becomes", id="fewer"),
        pytest.param('@quorum("1 security")', '@quorum("2 security")', False, "of 3 members", id="more"),
        pytest.param('@duration_max("2h")', '@duration_max("3h")', True, "limits 7200/28800", id="longer"),
        pytest.param('@duration_max("2h")', '@duration_max("1h")', False, "become 3600/28800 s", id="shorter"),
        pytest.param('@pending_max("8h")', '@pending_max("9h")', True, "become 7200/32400 s", id="pending longer"),
        pytest.param('"weights:read"', '"weights:serve"', True, "actions become weights:serve", id="another action"),
        pytest.param("resource)", 'resource in Model::"aurora")', True, "read them", id="another scope"),
    ],
)
def test_a_change_of_policy_is_shown_as_a_change_of_coalitions(
    old: str, new: str, opens: bool, said: str, policy_of: PolicyOf
) -> None:
    text = f'@id("p") @quorum("1 security") {HEAD};'
    if "2 security" in old:
        text = text.replace('@quorum("1 security")', old)
    (change,) = diff(policy_of(text), policy_of(text.replace(old, new)))
    assert (change.permit, change.opens) == ("p", opens)
    assert said in " ".join(change.texts)


def test_permits_and_forbids_that_come_and_go_are_shown(policy_of: PolicyOf) -> None:
    permit = f'@id("p") @quorum("1 security") {HEAD};'
    dead = f'@id("dead") @quorum("9 security") {HEAD};'
    forbid = '@id("f") forbid (principal, action, resource) when { context.time.hour < 6 };'
    assert diff(policy_of(permit), policy_of(permit)) == ()
    added = diff(policy_of(forbid), policy_of(permit + forbid))
    assert [(c.permit, c.opens, c.texts) for c in added] == [("p", True, ("permit added: 6 of 2 members",))]
    assert [(c.permit, c.opens) for c in diff(policy_of(permit), policy_of(permit + dead))] == [("dead", False)]
    removed = diff(policy_of(permit + forbid), policy_of(forbid))
    assert [(c.permit, c.opens, c.texts) for c in removed] == [("p", False, ("permit removed",))]
    assert [(c.permit, c.opens) for c in diff(policy_of(permit + forbid), policy_of(permit))] == [("f", True)]
    assert [(c.permit, c.opens) for c in diff(policy_of(permit), policy_of(permit + forbid))] == [("f", False)]


def test_a_change_of_publishers_is_shown_first() -> None:
    text = {"main": '@id("f") forbid (principal, action, resource);'}
    two, three = (
        load(make_lab(humans=humans, policy=text).state) for humans in (("ada", "bob"), ("ada", "bob", "cat"))
    )
    assert diff(two, three)[0].texts == ("`cat` can now publish root or targets",)
    (lost,) = diff(three, two)
    assert (lost.opens, lost.texts) == (False, ("`cat` can no longer publish root or targets",))


def test_a_denial_says_who_could_still_approve(policy_of: PolicyOf, ask: Ask) -> None:
    policy, request = policy_of(), ask()
    deny = decide(policy, request, ["bob"], NO_FACTS, now=NOW)
    assert isinstance(deny, Deny)
    said = explain(policy, request, ["bob"], deny, suspended=frozenset())
    assert said.could_approve == ("cat", "eve")
    assert said.sentences[-1] == "who could still approve: cat, eve"
    assert who_could_approve(policy, request, [], suspended=frozenset({"bob"})) == ("cat", "eve")
    assert who_could_approve(policy, request, ["bob", "eve"], suspended=frozenset()) == ()
    assert who_could_approve(policy, ask(permit="nope"), [], suspended=frozenset()) == ()
    nobody = explain(policy, request, ["bob"], deny, suspended=frozenset({"cat", "eve"}))
    assert nobody.sentences[-1] == "nobody is left who could approve"
    other = decide(policy, ask(permit="nope"), ["bob"], NO_FACTS, now=NOW)
    assert isinstance(other, Deny)
    assert explain(policy, ask(permit="nope"), [], other, suspended=frozenset()).sentences == (other.reasons[0].text,)
