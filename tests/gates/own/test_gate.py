"""A gate of one's own: what it gives, once, to whom; everything that it does not; and when what it gave stands no more."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.use_journal import UseJournalFiles
from keyturn.app.gates.obey_pushed import PushedNegatives
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, gate_answer
from keyturn.formats.dsse import Envelope
from keyturn.formats.uri import Uri
from keyturn.gates.own.gate import OwnGate, OwnGateParts, Purpose
from keyturn.gates.recorder import Recorder
from keyturn.grants.verify_grant import VerifiedGrant
from keyturn.grants.view import GateView
from support.releases import PushedInMemory
from support.world import World, make_world

POLICY = """
@id("rotate") @quorum("2 security") @duration_max("30m") @pending_max("8h")
permit (principal in Group::"research", action == Action::"procedure:run", resource == Procedure::"rotate");

@id("release") @quorum("2 security") @pending_max("1d")
permit (principal in Group::"research", action == Action::"report:release", resource in Report::"aurora");
"""
ROTATE = Purpose("procedure:run", Uri("acme.example", "procedure", "rotate"))


@dataclass
class Clock:
    world: World

    def now(self) -> int:
        return self.world.now

    def nonce(self) -> str:
        return self.world.nonce()


@dataclass
class Place:
    """A gate called `vault` over a world, whose process can be started again."""

    world: World
    path: Path
    before_append: Callable[[], None] = lambda: None
    before_witness: Callable[[], None] = lambda: None
    pushed: PushedInMemory = field(default_factory=PushedInMemory)
    name: str = "vault"
    more_is_asked: Refused | None = None

    def ask(self, *approvers: str, **changed: object) -> Envelope:
        world = self.world
        made = {
            "action": "procedure:run",
            "permit": "rotate",
            "resource": str(ROTATE.resource),
            "gate": str(world.lab.gate_uri("vault")),
            "session_key": None,
            "duration_s": 1800,
            "not_after": world.now + 3600,
            **changed,
        }
        asked = world.ask(world.request("ada", **made))
        for approver in approvers:
            world.approve(asked, approver)
        return asked

    def gate(self) -> OwnGate:
        world, clock = self.world, Clock(self.world)
        pushed = PushedNegatives(self.pushed, clock)

        def view() -> GateView:
            return world.view(gate=self.name)

        return OwnGate(
            OwnGateParts(
                gate=world.lab.gate_uri(self.name),
                key=world.lab.gate_keys[self.name],
                journal=UseJournalFiles(self.path / "state"),
                recorder=Recorder(
                    DecisionFiles(self.path / "state" / "decisions"), gate=world.lab.gate_uri(self.name), clock=clock
                ),
                writer=self,
                clock=clock,
                entropy=clock,
                refresh=view,
                newest=view,
                seen=view,
                obeying=pushed.over,
                strict=self.strict,
                obey=lambda raw: pushed.take(raw, view()),
                await_witnessed=lambda _index, _raw: self.before_witness(),
            )
        )

    def strict(self, _view: GateView) -> None:
        if self.more_is_asked is not None:
            raise self.more_is_asked

    def append(self, envelope: bytes) -> int:
        """As the log's, which is slow to take it."""
        self.before_append()
        return self.world.log.append(envelope)

    def open(self, asked: Envelope, purpose: Purpose = ROTATE) -> VerifiedGrant:
        return self.gate().open(f"req-{asked.record_digest[:32]}", purpose)

    def refused(self, asked: Envelope, purpose: Purpose = ROTATE) -> str:
        with pytest.raises(KeyturnError) as caught:
            self.open(asked, purpose)
        assert self.decided()[-1] in {("refused", caught.value.code), ("failed", caught.value.code)}
        return caught.value.code

    def decided(self) -> list[tuple[str, str]]:
        return [(one.outcome, one.code) for one in DecisionFiles(self.path / "state" / "decisions").read(start=0)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    resources = {"procedure/rotate": (), "procedure/wipe": (), "report/aurora": (), "gate/all": ()}
    resources |= {"gate/vault": ("gate/all",), "gate/other": ("gate/all",)}
    groups = {"research": ("ada", "dan"), "security": ("bob", "cat", "eve")}
    world = make_world(
        gates=(("vault", "script"), ("other", "script")),
        resources=resources,
        groups=groups,
        policy={"main": POLICY},
    )
    return Place(world, tmp_path)


def test_two_people_open_it_once_and_it_is_written_down_and_logged(place: Place) -> None:
    asked = place.ask("bob", "cat")
    grant = place.open(asked)
    assert set(grant.granted.approvers) == {"bob", "cat"}
    assert grant.gate == place.world.lab.gate_uri("vault")
    [kept] = DecisionFiles(place.path / "state" / "decisions").read(start=0)
    assert (kept.outcome, kept.requester, kept.request, kept.permit) == (
        "granted",
        "ada",
        asked.record_digest,
        "rotate",
    )
    assert place.world.view(gate="vault").known.uses[asked.record_digest].digest == grant.use
    assert place.refused(asked) == "one-shot-used"
    with pytest.raises(TypeError):
        pickle.dumps(grant)


@pytest.mark.parametrize(
    "approvers",
    [
        pytest.param((), id="nobody"),
        pytest.param(("bob",), id="one"),
        pytest.param(("bob", "dan"), id="one of security and another"),
        pytest.param(("bob", "ada"), id="one and whoever asked"),
        pytest.param(("bob", "bob+ops"), id="one and his agent"),
    ],
)
def test_fewer_people_open_nothing_and_use_nothing_up(place: Place, approvers: tuple[str, ...]) -> None:
    asked = place.ask(*approvers)
    assert place.refused(asked) == "quorum-not-met"
    assert asked.record_digest not in place.world.view(gate="vault").known.uses


def test_it_opens_for_the_purpose_that_was_granted_and_no_other(place: Place) -> None:
    asked = place.ask("bob", "cat")
    assert place.refused(asked, Purpose("procedure:run", Uri("acme.example", "procedure", "wipe"))) == "purpose-other"
    assert place.refused(asked, Purpose("weights:export", Uri("acme.example", "model", "rotate"))) == "purpose-other"
    assert place.open(asked)  # a program that asked for something else uses nothing up


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("report:release", "keyturn://acme.example/report/aurora"),
        ("model:release", "keyturn://acme.example/model/aurora"),
        ("host:root", "keyturn://acme.example/host/a"),
        ("procedure:walk", "keyturn://acme.example/procedure/rotate"),
        ("procedure:run", "keyturn://acme.example/host/a"),
    ],
)
def test_a_purpose_that_is_no_one_shot_or_whose_content_must_be_compared_is_refused(action: str, resource: str) -> None:
    with pytest.raises(Refused, match=r"expected an action|is of a"):
        Purpose(action, Uri.parse(resource))


def test_it_opens_by_no_request_for_another_gate(place: Place) -> None:
    assert place.refused(place.ask("bob", "cat", gate=str(place.world.lab.gate_uri("other")))) == "gate-other"


def test_what_another_gate_used_is_used(place: Place) -> None:
    asked = place.ask("bob", "cat", gate="keyturn://acme.example/gate/all")
    other = Place(place.world, place.path / "other", name="other")
    assert other.open(asked)
    assert place.refused(asked) == "one-shot-used"


def test_it_opens_by_nothing_that_is_over_unknown_or_not_yet_open(place: Place) -> None:
    asked = place.ask("bob", "cat")
    place.world.now += 1800
    assert place.refused(asked) == "window-over"
    place.world.now += 3600
    assert place.refused(asked) == "request-not-live"
    later = place.ask("bob", "cat", not_before=place.world.now + 60, start_by=place.world.now + 600)
    assert place.refused(later) == "window-not-yet"


@pytest.mark.parametrize("way", ["denied", "revoked", "suspended", "pushed"])
def test_what_was_taken_away_before_opens_nothing(place: Place, way: str) -> None:
    asked = place.ask("bob", "cat")
    match way:
        case "denied":
            place.world.deny(asked, "eve")
        case "revoked":
            place.world.revoke(asked, "bob")
        case "suspended":
            place.world.suspend("cat", target_member="bob")
        case _:
            said = place.gate().obey(dsse.render(place.world.revoke(asked, "bob", submit=False)))
            assert gate_answer.parse(said)[1].acted is False
    assert place.refused(asked) in {"request-denied", "request-revoked", "suspended"}
    assert asked.record_digest not in place.world.view(gate="vault").known.uses, "nothing is used up"


@pytest.mark.parametrize("way", ["denied", "revoked", "suspended", "pushed", "over", "policy"])
def test_what_was_given_stands_no_more_once_it_is_taken_away_or_over(place: Place, way: str) -> None:
    asked, gate = place.ask("bob", "cat"), place.gate()
    grant = gate.open(str(asked.record_digest), ROTATE)
    gate.stands(grant)
    match way:
        case "denied":
            place.world.deny(asked, "eve")
        case "revoked":
            place.world.revoke(asked, "bob")
        case "suspended":
            place.world.suspend("cat", target_member="ada")
        case "over":
            place.world.now += 1800
        case "policy":
            place.world.publish(policy={"main": POLICY.replace("2 security", "3 security")})
        case _:
            said = gate.obey(dsse.render(place.world.revoke(asked, "bob", submit=False)))
            assert gate_answer.parse(said)[1].acted is True
    with pytest.raises(Refused):
        gate.stands(grant)


@pytest.mark.parametrize("way", ["logged", "pushed"])
def test_a_revocation_while_its_use_is_witnessed_gives_nothing(place: Place, way: str) -> None:
    asked, gate = place.ask("bob", "cat"), place.gate()
    revoked = place.world.revoke(asked, "bob", submit=False)

    def meanwhile() -> None:
        if way == "logged":
            place.world.submit(revoked)
        else:
            assert gate_answer.parse(gate.obey(dsse.render(revoked)))[1].acted is False

    place.before_witness = meanwhile
    with pytest.raises(Refused) as caught:
        gate.open(str(asked.record_digest), ROTATE)
    assert caught.value.code == "request-revoked"


def test_a_gate_whose_operator_asks_for_more_than_the_view_has_lets_nothing_stand(place: Place) -> None:
    gate = place.gate()
    grant = gate.open(str(place.ask("bob", "cat").record_digest), ROTATE)
    place.more_is_asked = Refused("gate-witnesses", "gate.toml asks for 2 witnesses")
    with pytest.raises(Refused) as caught:
        gate.stands(grant)
    assert caught.value.code == "gate-witnesses"


def test_a_process_that_died_before_its_use_was_logged_goes_on_with_the_same_use(place: Place) -> None:
    asked = place.ask("bob", "cat")

    def crash() -> None:
        raise KeyboardInterrupt

    place.before_append = crash
    with pytest.raises(KeyboardInterrupt):
        place.open(asked)
    place.before_append = lambda: None
    [kept] = (place.path / "state" / "uses").iterdir()
    use = dsse.parse_own(kept.read_bytes()).record_digest
    assert place.open(asked).use == use
    assert place.refused(asked) == "one-shot-used"


def test_a_process_goes_on_once_the_witnesses_are_back_and_the_next_one_does_not(place: Place) -> None:
    """Whether the next process finds what was left by a crash, or an old copy of what was given since, nobody can tell."""
    asked, gate, other = place.ask("bob", "cat"), place.gate(), place.ask("bob", "cat")

    def no_witness() -> None:
        raise Unavailable("not-in-force", "no witness answers")

    place.before_witness = no_witness
    for one in (asked, other):
        with pytest.raises(Unavailable):
            gate.open(str(one.record_digest), ROTATE)
    place.before_witness = lambda: None
    backup = place.path / "backup"
    shutil.copytree(place.path / "state", backup)

    def put_back() -> None:
        shutil.rmtree(place.path / "state")
        shutil.copytree(backup, place.path / "state")

    assert gate.open(str(asked.record_digest), ROTATE)
    put_back()
    with pytest.raises(Refused) as caught:
        gate.open(str(asked.record_digest), ROTATE)  # also when it was put back below a process that runs
    assert caught.value.code == "one-shot-used"
    put_back()
    assert {place.refused(asked), place.refused(other)} == {"one-shot-used"}


def test_a_gate_that_lost_its_journal_gives_nothing_again(place: Place) -> None:
    asked = place.ask("bob", "cat")
    place.open(asked)
    for kept in (place.path / "state" / "logged").iterdir():
        kept.unlink()
    assert place.refused(asked) == "one-shot-used"


def test_a_copy_of_the_gate_whose_use_is_not_the_first_gives_nothing(place: Place) -> None:
    asked = place.ask("bob", "cat")
    copy = Place(place.world, place.path / "copy")

    place.before_append = lambda: copy.open(asked) and None
    assert place.refused(asked) == "one-shot-used"


def test_what_cannot_be_written_down_is_not_given(place: Place) -> None:
    asked, gate = place.ask("bob", "cat"), place.gate()
    (place.path / "state" / "decisions").write_text("a file where a directory should be")
    with pytest.raises(Unavailable):
        gate.open(f"req-{asked.record_digest[:32]}", ROTATE)
    (place.path / "state" / "decisions").unlink()
    assert gate.open(f"req-{asked.record_digest[:32]}", ROTATE)
