"""Quorums: the text, and the matching of different humans to seats."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Refused
from keyturn.policy.quorum import Matching, Quorum, Shortfall, match_quorum

GROUPS = {"security": frozenset({"bob", "cat"}), "owners": frozenset({"cat", "eve"}), "empty": frozenset()}


def members_of(group: str) -> frozenset[str]:
    return GROUPS[group]


@pytest.mark.parametrize("text", ["1 security", "2 security", "1 weights-owners + 1 security", "16 a"])
def test_a_quorum_round_trips(text: str) -> None:
    assert str(Quorum.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("0 security", id="zero"),
        pytest.param("-1 security", id="a negative count"),
        pytest.param("01 security", id="a leading zero"),
        pytest.param("security", id="no count"),
        pytest.param("2", id="no group"),
        pytest.param("2 Security", id="an upper-case group"),
        pytest.param("2  security", id="two spaces"),
        pytest.param("2 security\n", id="a newline at the end"),
        pytest.param("1 security+1 owners", id="no spaces around the plus"),
        pytest.param("1 security + ", id="an empty term"),
        pytest.param("1 security + 1 security", id="one group twice"),
        pytest.param("17 security", id="too many"),
        pytest.param("9 security + 8 owners", id="too many together"),
        pytest.param("1 ségurity", id="a letter that is no ASCII"),
        pytest.param("١ security", id="a digit that is no ASCII"),
        pytest.param("1 " + "a" * 2000, id="too long"),
    ],
)
def test_a_bad_quorum_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        Quorum.parse(text)
    assert caught.value.code == "policy-quorum"


@pytest.mark.parametrize(
    ("text", "people", "met"),
    [
        pytest.param("2 security", ("bob", "cat"), True, id="two different people"),
        pytest.param("2 security", ("cat", "cat"), False, id="the same person twice"),
        pytest.param("1 owners + 1 security", ("cat",), False, id="one person in two groups counts once"),
        pytest.param("1 owners + 1 security", ("cat", "bob"), True, id="whoever fits both makes room for the other"),
        pytest.param("1 security + 1 owners", ("cat", "bob"), True, id="in either order of the terms"),
        pytest.param("1 security", ("eve",), False, id="somebody of another group"),
        pytest.param("1 empty", ("bob", "cat", "eve"), False, id="a group without members"),
        pytest.param("1 security", (), False, id="nobody"),
        pytest.param("1 security", ("bob", "cat", "eve"), True, id="more people than it takes"),
    ],
)
def test_a_quorum_is_met_by_different_humans_of_its_groups(text: str, people: tuple[str, ...], met: bool) -> None:
    assert isinstance(match_quorum(Quorum.parse(text), people, members_of), Matching) is met


def test_a_shortfall_says_what_is_missing() -> None:
    short = match_quorum(Quorum.parse("2 security + 1 owners"), ("cat",), members_of)
    assert isinstance(short, Shortfall)
    assert str(short) == "1 of 3 approvals; missing: 1 of `security`, 1 of `owners`"


PEOPLE = ("a", "b", "c", "d", "e")


@given(
    st.dictionaries(st.sampled_from(("x", "y", "z")), st.frozensets(st.sampled_from(PEOPLE)), min_size=1),
    st.frozensets(st.sampled_from(PEOPLE)),
    st.data(),
)
def test_a_matching_is_found_exactly_when_brute_force_finds_one(
    groups: dict[str, frozenset[str]], people: frozenset[str], data: st.DataObject
) -> None:
    counts = {group: data.draw(st.integers(1, 2)) for group in sorted(groups)}
    quorum = Quorum.parse(" + ".join(f"{count} {group}" for group, count in counts.items()))
    found = match_quorum(quorum, people, groups.__getitem__)
    seats = quorum.seats
    brute = any(
        all(person in groups[seat] for person, seat in zip(chosen, seats, strict=True))
        for chosen in permutations(sorted(people), len(seats))
    )
    assert isinstance(found, Matching) is brute
    if isinstance(found, Matching):
        assert len(set(found.seated)) == len(seats)
        assert all(person in groups[seat] for person, seat in zip(found.seated, seats, strict=True))
