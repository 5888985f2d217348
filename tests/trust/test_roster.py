"""The roster's own rules: who is in a group, whose a key is, and how many cosignatures a log needs."""

from __future__ import annotations

import pytest

from keyturn.crypto.credentials import Credential
from keyturn.errors import Malformed
from keyturn.trust.roster import Group, Log, Member, Roster, SigningPage, Witness
from support.labs import Lab, make_key


def _log(count: int, lying_max: int, *, names: tuple[str, ...] | None = None) -> Log:
    called = names or tuple(f"w{n}" for n in range(count))
    witnesses = tuple(Witness(name, make_key(f"w{n}").public, "op") for n, name in enumerate(called))
    return Log(origin="log", key=make_key("log").public, witnesses=witnesses, lying_max=lying_max)


@pytest.mark.parametrize(
    ("count", "lying_max", "quorum"),
    [(1, 0, 1), (2, 0, 2), (3, 0, 2), (3, 1, 3), (4, 0, 3), (4, 1, 3), (5, 1, 4), (5, 2, 4), (7, 2, 5)],
)
def test_a_quorum_is_more_than_half_of_witnesses_and_liars_together(count: int, lying_max: int, quorum: int) -> None:
    assert _log(count, lying_max).quorum == quorum
    assert 2 * quorum > count + lying_max


def test_two_witnesses_of_one_name_are_refused() -> None:
    with pytest.raises(Malformed, match="witness-name-shared"):
        _log(2, 0, names=("north", "north"))


def test_groups_that_contain_each_other_have_the_same_members() -> None:
    members = {name: Member(id=name, kind="human", name=name, keys=()) for name in ("ada", "bob")}
    groups = {
        "a": Group("a", frozenset({"ada"}), frozenset({"b"})),
        "b": Group("b", frozenset({"bob"}), frozenset({"a"})),
    }
    roster = Roster(lab="acme.example", members=members, groups=groups)
    assert roster.members_of("a") == roster.members_of("b") == {"ada", "bob"}
    assert roster.members_of("unknown") == frozenset()


def test_a_key_belongs_to_the_member_who_enrolled_it_and_to_nobody_else(lab: Lab) -> None:
    roster = lab.state.roster
    ada = lab.member_keys["ada"].public
    assert roster.key_of("ada", ada.keyid) == Credential(ada, "software")
    assert roster.key_of("bob", ada.keyid) is None
    assert roster.key_of("eve", ada.keyid) is None


def test_a_software_key_does_not_verify_its_user(lab: Lab) -> None:
    assert not lab.state.roster.members["ada"].keys[0].can_verify_user


def test_one_key_twice_for_one_member_is_refused() -> None:
    held = Credential(make_key("x").public, "software")
    with pytest.raises(Malformed, match="key-shared"):
        Roster(lab="l", members={"ada": Member(id="ada", kind="human", name="a", keys=(held, held))}, groups={})


@pytest.mark.parametrize(
    ("page", "code"),
    [
        pytest.param(("http://sign.acme.example", "sign.acme.example", "it"), "signing-page-origin", id="not https"),
        pytest.param(("https://sign.acme.example/x", "sign.acme.example", "it"), "signing-page-origin", id="a path"),
        pytest.param(("https://evil.example", "acme.example", "it"), "signing-page-origin", id="of another site"),
        pytest.param(
            ("https://xacme.example", "acme.example", "it"), "signing-page-origin", id="whose name ends alike"
        ),
        pytest.param(("http://localhost:8722\n", "localhost", None), "signing-page-origin", id="a line end"),
        pytest.param(("https://sign.acme.example", "acme.example", None), "signing-page-operator", id="by nobody"),
        pytest.param(("http://localhost:8722", "localhost", "it"), "signing-page-operator", id="localhost by somebody"),
        pytest.param(
            ("keyturn:acme.example", "acme.example", None), "signing-page-terminal", id="a terminal as a site"
        ),
        pytest.param(("https://acme.example", "keyturn:acme.example", "it"), "signing-page-terminal", id="a site's"),
        pytest.param(("keyturn:a.example", "keyturn:b.example", None), "signing-page-terminal", id="of two labs"),
        pytest.param(("keyturn:a.example", "keyturn:a.example", "it"), "signing-page-terminal", id="which IT serves"),
        pytest.param(("keyturn:a.example/", "keyturn:a.example/", None), "signing-page-terminal", id="no lab's name"),
    ],
)
def test_a_signing_page_that_could_mislead_is_refused(page: tuple[str, str, str | None], code: str) -> None:
    with pytest.raises(Malformed) as caught:
        SigningPage(*page)
    assert caught.value.code == code


def test_a_terminal_is_the_labs_own() -> None:
    page = SigningPage("keyturn:acme.example", "keyturn:acme.example", None)
    assert Roster(lab="acme.example", members={}, groups={}, signing=(page,)).signing == (page,)
    with pytest.raises(Malformed, match="signing-page-terminal"):
        Roster(lab="b.example", members={}, groups={}, signing=(page,))


def test_a_signing_page_may_be_below_its_relying_party() -> None:
    assert SigningPage("https://sign.acme.example:8443", "acme.example", "it").origin.endswith(":8443")
