"""The on-call policy that ships: it loads, warns of nothing that bars its use, and grants what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.errors import Refused
from keyturn.formats.dsse import Envelope
from keyturn.grants.break_glass import verify_break_glass
from keyturn.grants.bundle import Bundle
from keyturn.grants.verify_grant import verify_grant
from keyturn.policy.facts import NO_FACTS
from keyturn.policy.lint import lint, refuse_unapprovable
from keyturn.policy.load import load
from support.labs import NOW
from support.members import RESOURCES, People
from support.page_words import require_known_options
from support.world import World, make_world

ROOT = Path(__file__).resolve().parents[2]
POLICY = (ROOT / "examples" / "policies" / "on-call.cedar").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "guide" / "on-call.md").read_text(encoding="utf-8")
HOST = "keyturn://acme.example/host/gpu1"


@pytest.fixture
def world() -> World:
    return make_world(
        groups={"on-call": ("ada", "dan", "ada+coder"), "security": ("bob", "cat")},
        resources={"host/gpu1": (), "gate/release": ()},
        policy={"main": POLICY},
    )


def agreed(world: World, approver: str, requester: str = "ada", **changed: object) -> tuple[Envelope, Bundle]:
    values: dict[str, object] = {"action": "host:root", "resource": HOST, "permit": "on-call", **changed}
    make = world.emergency if "break_glass_at" in changed else world.request
    asked = world.ask(make(requester, **values))
    return asked, world.bundle(asked, world.approve(asked, approver, signed_at=world.now))


def opens(world: World, bundle: Bundle) -> bool:
    key = world.session.public
    return bool(verify_grant(bundle, world.view(), now=world.now, gate=world.gate, session_key=key, facts=NO_FACTS))


def test_it_can_be_published(world: World) -> None:
    policy = load(world.lab.state)
    refuse_unapprovable(policy)
    assert {finding.code for finding in lint(policy)} <= {"permit-group-not-human"}
    assert [name for name, permit in policy.permits.items() if permit.break_glass] == ["on-call-break-glass"]


def test_one_of_security_lets_the_pager_in_and_nobody_else_does(world: World) -> None:
    assert opens(world, agreed(world, "bob")[1])
    with pytest.raises(Refused, match="quorum-not-met"):
        opens(world, agreed(world, "dan")[1])
    with pytest.raises(Refused, match="policy-forbids"):
        opens(world, agreed(world, "bob", "ada+coder")[1])


def test_a_session_starts_within_the_hour_or_not_at_all(world: World) -> None:
    with pytest.raises(Refused, match="pending-too-long"):
        opens(world, agreed(world, "bob", start_by=NOW + 3601, not_after=NOW + 7201)[1])
    asked = world.ask(world.request(action="host:root", resource=HOST, permit="on-call"))
    world.now += 3601
    with pytest.raises(Refused, match="window-missed"):
        opens(world, world.bundle(asked, world.approve(asked, "bob", signed_at=world.now)))


def test_without_the_log_another_of_the_team_agrees(world: World) -> None:
    more = {"break_glass_at": NOW, "permit": "on-call-break-glass", "start_by": NOW + 1200, "duration_s": 2400}
    _, bundle = agreed(world, "dan", **more)
    found = verify_break_glass(
        bundle,
        world.view(),
        now=NOW,
        gate=world.gate,
        session_key=world.session.public,
        facts=NO_FACTS,
        journal=(),
    )
    assert found.granted.approvers == ("dan",)


def test_policy_check_takes_it_and_says_which_permit_is_break_glass(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found(group="on-call")
    people.by("bob", "trust", "accept", "bob.invitation.json")
    for member, group in (("cat", "on-call"), ("dan", "security")):
        people.by("ada", "trust", "invite", member, "--group", group)
        people.by(member, "trust", "accept", f"{member}.invitation.json", "--full-name", member)
    people.publish(
        policy=POLICY, members=("bob", "cat", "dan"), resources=RESOURCES.replace("model/aurora", "host/gpu1")
    )
    found = people.by("ada", "policy", "check", str(ROOT / "examples" / "policies"))
    assert {one["code"] for one in found["findings"]} == {"permit-one-coalition"}, "ada and cat are the whole team here"
    assert {name: permit["break_glass"] for name, permit in found["permits"].items()} == {
        "on-call": False,
        "on-call-break-glass": True,
    }


def test_its_page_names_commands_and_options_that_there_are() -> None:
    require_known_options(PAGE, count=10)
