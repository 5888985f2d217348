"""People join in one go, get other keys, and leave: in the draft, which counts when the threshold has signed it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ceremony.conftest import Ceremony
from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
from keyturn.app.trust.enrol_member import enrol_members
from keyturn.app.trust.invite_member import INVITATION_LIFETIME_S, Offer, invite_members
from keyturn.app.trust.remove_member import remove_member
from keyturn.errors import Refused, Usage
from keyturn.formats.enrolment import parse_invitation
from keyturn.trust.draft import Draft, leave


def invite(at: Ceremony, *offers: Offer) -> tuple[bytes, ...]:
    return invite_members(offers, store=at.store, clock=at.clock, entropy=at.entropy)


def draft(at: Ceremony) -> Draft:
    return Draft.parse(at.store.draft())


def test_an_agent_is_invited_together_with_who_answers_for_it(founded: Ceremony) -> None:
    made = invite(
        founded,
        Offer(member="cyd", kind="human"),
        Offer(member="cyd+coder", kind="agent", responsible=("cyd",)),
    )
    assert len(made) == 2


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        pytest.param(Offer(member="bob", kind="human"), "member-id-taken", id="an id that is taken"),
        pytest.param(Offer(member="CYD", kind="human"), "invitation-invalid", id="no id"),
        pytest.param(Offer(member="cyd", kind="human"), "invitation-twice", id="twice the same"),
        pytest.param(
            Offer(member="x+coder", kind="agent", responsible=("eve",)),
            "member-responsible",
            id="nobody answers for it",
        ),
        pytest.param(Offer(member="dan", kind="human", new_keys="beside"), "member-unknown", id="new keys for nobody"),
        pytest.param(Offer(member="bob", kind="agent", new_keys="beside"), "member-unknown", id="for another kind"),
        pytest.param(
            Offer(member="bob", kind="custodian", new_keys="instead"), "member-unknown", id="for no custodian"
        ),
        pytest.param(
            Offer(member="bob", kind="human", groups=("releasers",), new_keys="beside"),
            "invitation-invalid",
            id="groups with keys",
        ),
    ],
)
def test_when_one_of_a_team_cannot_be_invited_nobody_is(founded: Ceremony, offer: Offer, code: str) -> None:
    before = sorted((founded.trust / "invitations").glob("*"))
    with pytest.raises((Refused, Usage)) as caught:
        invite(founded, Offer(member="cyd", kind="human"), offer)
    assert caught.value.code == code
    assert sorted((founded.trust / "invitations").glob("*")) == before


def test_an_agents_acceptance_may_be_named_before_that_of_who_answers_for_it(founded: Ceremony) -> None:
    made = invite(
        founded,
        Offer(member="cyd+coder", kind="agent", responsible=("cyd",)),
        Offer(member="cyd", kind="human"),
    )
    accepted = [founded.accept(offer, who) for offer, who in zip(made, ("cyd+coder", "cyd"), strict=True)]
    enrol_members(accepted, store=founded.store, clock=founded.clock, registrations=WebauthnEnrolment())
    assert {"cyd", "cyd+coder"} < draft(founded).contents.roster.members.keys()


def test_who_holds_no_trust_key_gets_no_other_one(founded: Ceremony) -> None:
    founded.enrol(founded.accept(founded.invite("cyd", signs_trust=False), "cyd"))
    with pytest.raises(Refused, match="member-no-trust-key"):
        founded.invite("cyd", new_keys="instead", signs_trust=True)
    founded.enrol(founded.accept(founded.invite("cyd", new_keys="instead"), "cyd-new"))
    assert [holder.human for holder in draft(founded).root.holders] == ["ada", "bob"]


def test_keys_beside_the_earlier_ones_leave_those_and_the_trust_key(founded: Ceremony) -> None:
    before = draft(founded)
    founded.enrol(founded.accept(founded.invite("bob", new_keys="beside"), "bob-new"))
    after = draft(founded)
    assert after.root == before.root
    first, second = after.contents.roster.members["bob"].keys
    assert first == before.contents.roster.members["bob"].keys[0]
    assert second.key == founded.home("bob-new").read("member").public


def test_the_same_acceptance_again_changes_nothing(founded: Ceremony) -> None:
    acceptance = founded.accept(founded.invite("bob", new_keys="beside"), "bob-new")
    founded.enrol(acceptance)
    once = founded.store.draft()
    founded.enrol(acceptance)
    assert founded.store.draft() == once


def test_keys_instead_replace_every_key_and_the_trust_key_and_keep_the_place(founded: Ceremony) -> None:
    before = draft(founded).contents.roster
    founded.enrol(founded.accept(founded.invite("bob", new_keys="instead"), "bob-new"))
    after = draft(founded)
    new = founded.home("bob-new")
    assert [held.key for held in after.contents.roster.members["bob"].keys] == [new.read("member").public]
    assert {h.human: h.key for h in after.root.holders}["bob"] == new.read("trust").public
    assert after.contents.roster.groups == before.groups
    founded.propose()
    for signer in ("bob-new", "ada"):
        founded.sign(signer)
    with pytest.raises(
        Refused, match="trust-threshold"
    ):  # the new key counts for nothing before the old threshold said so
        founded.publish()


def test_a_lost_key_is_replaced_by_those_who_are_left(founded: Ceremony) -> None:
    founded.join("cyd")
    founded.propose()
    for human in ("ada", "bob"):
        founded.sign(human)
    founded.publish()
    founded.enrol(founded.accept(founded.invite("bob", new_keys="instead"), "bob-new"))
    founded.propose()
    for human in ("ada", "cyd"):
        founded.sign(human)
    founded.publish()
    founded.propose(renew=True)
    with pytest.raises(Refused):
        founded.sign("bob")
    founded.sign("bob-new")


def test_who_leaves_is_in_no_group_and_holds_no_key(founded: Ceremony) -> None:
    founded.join("cyd", groups=("releasers",))
    remove_member("cyd", store=founded.store)
    after = draft(founded)
    assert "cyd" not in after.contents.roster.members
    assert all("cyd" not in group.members for group in after.contents.roster.groups.values())
    assert all(holder.human != "cyd" for holder in after.root.holders)


def _agent_of(at: Ceremony, agent: str, *responsible: str) -> None:
    at.enrol(at.accept(at.invite(agent, kind="agent", responsible=responsible), "coder"))


@pytest.mark.parametrize(
    ("prepared", "member", "code"),
    [
        pytest.param(lambda at: None, "eve", "member-unknown", id="nobody"),
        pytest.param(lambda at: _agent_of(at, "coder", "bob"), "bob", "member-answers-for", id="who alone answers"),
        pytest.param(lambda at: _agent_of(at, "bob+c", "ada", "bob"), "bob", "member-answers-for", id="his own agent"),
    ],
)
def test_a_removal_that_cannot_be_changes_nothing(
    founded: Ceremony, prepared: Callable[[Ceremony], None], member: str, code: str
) -> None:
    prepared(founded)
    before = founded.store.draft()
    with pytest.raises(Refused) as caught:
        remove_member(member, store=founded.store)
    assert caught.value.code == code
    assert founded.store.draft() == before


def test_an_agent_for_which_another_answers_as_well_stays(founded: Ceremony) -> None:
    _agent_of(founded, "coder", "ada", "bob")
    remove_member("bob", store=founded.store)
    assert draft(founded).contents.roster.members["coder"].responsible == {"ada"}


def test_a_custodian_gets_another_key(founded: Ceremony) -> None:
    founded.enrol(founded.accept(founded.invite("vault", kind="custodian"), "vault"))
    founded.enrol(founded.accept(founded.invite("vault", kind="custodian", new_keys="instead"), "vault-new"))
    (holder,) = [h for h in draft(founded).root.holders if h.human == "vault"]
    assert holder.key == founded.home("vault-new").read("trust").public
    assert holder.recovery
    remove_member("vault", store=founded.store)
    assert all(h.human != "vault" for h in draft(founded).root.holders)


@pytest.mark.parametrize("signs_trust", [None, True], ids=["as before", "asked for"])
def test_another_trust_key_gives_no_right_that_the_earlier_one_had_not(
    founded: Ceremony, signs_trust: bool | None
) -> None:
    """Bob's trust key is the offline one, which signs root alone; he is a member all the same."""

    def offline(text: str) -> str:
        first, second = text.split("[[holders]]")[1:]
        changed = second.replace("targets = true", "targets = false").replace("recovery = false", "recovery = true")
        return text.replace(second, changed) if 'human = "bob"' in second else text.replace(first, changed)

    founded.edit("root.toml", offline)
    (before,) = [h for h in draft(founded).root.holders if h.human == "bob"]
    assert (before.targets, before.recovery) == (False, True)
    founded.enrol(founded.accept(founded.invite("bob", new_keys="instead", signs_trust=signs_trust), "bob-new"))
    (after,) = [h for h in draft(founded).root.holders if h.human == "bob"]
    assert after.key == founded.home("bob-new").read("trust").public
    assert (after.root, after.targets, after.recovery) == (before.root, before.targets, before.recovery)


def test_new_keys_bring_nobody_back_who_left_meanwhile(founded: Ceremony) -> None:
    founded.join("cyd")
    instead = founded.accept(founded.invite("cyd", new_keys="instead"), "cyd-new")
    beside = founded.accept(founded.invite("cyd", new_keys="beside"), "cyd-beside")
    files = founded.store.draft()  # as an editor would: no invitation is taken back
    founded.store.swap_draft(files, leave(draft(founded), "cyd").render())
    before = founded.store.draft()
    for acceptance in (beside, instead):
        with pytest.raises(Refused, match="member-unknown"):
            founded.enrol(acceptance)
    assert founded.store.draft() == before


def test_new_keys_instead_make_every_earlier_invitation_void(founded: Ceremony) -> None:
    """Bob's laptop is stolen twice in a week; what it accepted the first time, and what it was offered, is the thief's."""
    beside = founded.accept(founded.invite("bob", new_keys="beside"), "bob-beside")
    first = founded.accept(founded.invite("bob", new_keys="instead"), "bob-first")
    founded.enrol(first)
    founded.clock.at += 60
    founded.enrol(founded.accept(founded.invite("bob", new_keys="instead"), "bob-second"))
    before = founded.store.draft()
    for stolen in (first, beside):
        with pytest.raises(Refused, match="invitation-unknown"):
            founded.enrol(stolen)
    assert founded.store.draft() == before


def test_an_acceptance_brings_nobody_back_who_left(founded: Ceremony) -> None:
    acceptance = founded.accept(founded.invite("cyd", groups=("releasers",)), "cyd")
    founded.enrol(acceptance)
    founded.propose()
    for human in ("ada", "bob"):
        founded.sign(human)
    founded.publish()
    (founded.trust / "invitations" / ("0" * 64 + ".json")).write_text("somebody's notes")
    remove_member("cyd", store=founded.store)
    before = founded.store.draft()
    with pytest.raises(Refused, match="invitation-unknown"):
        founded.enrol(acceptance)
    assert founded.store.draft() == before


def test_a_misspelt_group_founds_none(founded: Ceremony) -> None:
    with pytest.raises(Refused, match="group-unknown") as caught:
        invite(founded, Offer(member="cyd", kind="human"), Offer(member="dan", kind="human", groups=("releaser",)))
    assert caught.value.hint == "did you mean `releasers`? groups: releasers; to found it: --new-group releaser"
    assert list((founded.trust / "invitations").glob("*cyd*")) == []
    with pytest.raises(Refused, match="group-exists"):
        invite(founded, Offer(member="cyd", kind="human", new_groups=("releasers",)))


def test_a_group_is_joined_once_the_policy_names_it_or_somebody_is_invited_to_found_it(founded: Ceremony) -> None:
    founded.edit(
        "policy/main.cedar",
        lambda _: (
            '@id("a") @quorum("1 owners") permit(principal in Group::"research", action, resource);\n'
            '@id("b") @quorum("none") permit(principal, action, resource);'
        ),
    )
    named = Offer(member="cyd", kind="human", groups=("owners", "research"))
    invite(founded, named, Offer(member="dan", kind="human", new_groups=("operators",)))
    (joins,) = invite(founded, Offer(member="eve", kind="human", groups=("operators",)))
    assert parse_invitation(joins).groups == ("operators",)
    founded.clock.at += INVITATION_LIFETIME_S + 1
    with pytest.raises(Refused, match="group-unknown"):
        invite(founded, Offer(member="fay", kind="human", groups=("operators",)))
