"""A share is opened for what the log says that its bastion recorded, sealed to whom targets named, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from grants.test_replay import HEADER, HOLDERS, POLICY, RECORDING, asked, replay_world, say, verified
from keyturn.app.records.find_recording import find_recording
from keyturn.errors import KeyturnError, Unavailable
from keyturn.formats import dsse
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.sealed_recording import SealedShare
from keyturn.grants.recorded import LoggedWord, require_recorded
from keyturn.trust.roster import Gate
from support.labs import keyholders, make_key
from support.world import Witnessed, World, make_world

OTHER = Sha256("12" * 32)


def silent_world() -> World:
    """A lab whose log has no word for the recording."""
    gates = (("gpu1", "host"), ("front", "bastion"), ("back", "bastion"))
    return make_world(resources={"host/gpu1": ()}, gates=gates, policy={"main": POLICY}, recordings=HOLDERS)


def judge(world: World, *more: LoggedWord, recording: Sha256 = RECORDING, **changed: Any) -> None:
    """What a keyholder asks of the log, as he sees it now."""
    view = world.read_on(world.start(None))
    header = msgspec.structs.replace(HEADER, **changed)
    words = find_recording(Witnessed(world), recording, request=header.request, size=view.frontier.size)
    require_recorded((*words, *more), view, recording=recording, header=header)


def refused(code: str, world: World, *more: LoggedWord, **changed: Any) -> None:
    with pytest.raises(KeyturnError) as found:
        judge(world, *more, **changed)
    assert found.value.code == code, found.value


def test_a_recording_that_the_log_has_is_opened_and_one_that_it_has_not_is_not() -> None:
    world = silent_world()
    refused("recording-unlogged", world)
    say(world, digest=OTHER)
    refused("recording-unlogged", world)
    envelope = asked(world)
    with pytest.raises(KeyturnError) as found:
        verified(world, envelope)
    assert found.value.code == "recording-unlogged", "whoever granted the replay cannot spare it this"
    say(world)
    judge(world)
    verified(world, envelope)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        pytest.param("recording-other", {"what": "sftp"}, id="of another kind"),
        pytest.param("recording-other", {"begun_at": 0}, id="of another time"),
        pytest.param("recording-other", {"lab": "other.example"}, id="of another lab"),
        pytest.param(
            "recording-other", {"gate": "keyturn://acme.example/gate/back", "by": "back"}, id="of another bastion"
        ),
        pytest.param("recording-unlogged", {"request": "00" * 32}, id="of another session"),
        pytest.param("recording-signer", {"by": "back"}, id="by another bastion, in the name of this one"),
        pytest.param("signature-key", {"signer": "back"}, id="signed by somebody else"),
    ],
)
def test_the_word_is_of_this_very_recording_by_its_own_bastion(code: str, word: dict[str, Any]) -> None:
    world = silent_world()
    say(world, **word)
    refused(code, world)
    say(world)
    judge(world)  # whoever holds the log can write what is wrong before what is right, and keeps nobody from it


def test_the_word_stands_in_the_tree_that_witnesses_cosigned() -> None:
    world = silent_world()
    raw = dsse.render(say(world))
    size = world.log.settle().size
    (good,) = find_recording(Witnessed(world), RECORDING, request=HEADER.request, size=size)
    empty = silent_world()
    say(empty, digest=OTHER)
    refused("proof-inclusion", empty, replace(good, index=size - 1))
    refused("proof-shape", silent_world(), replace(good, index=size))
    use = silent_world()
    made = use.use(use.ask(), gate="gpu1")
    refused("recording-unlogged", use, LoggedWord(dsse.render(made), 1, ()))
    assert good.envelope == raw


def test_a_word_that_cannot_be_read_is_not_one_that_is_not_there() -> None:
    world = silent_world()
    lost = Witnessed(world, lost=frozenset({sha256(dsse.render(say(world)))}))
    size = world.log.settle().size
    with pytest.raises(Unavailable) as found:
        find_recording(lost, RECORDING, request=HEADER.request, size=size)
    assert found.value.code == "recording-unread"
    world.hide("rcd", f"gate:{HEADER.gate}", f"request:{HEADER.request}")
    judge(world)


def test_a_bastion_with_another_key_since_has_signed_for_what_it_recorded_before() -> None:
    world = replay_world()
    uri = world.lab.gate_uri("front")
    gates = dict(world.lab.contents.gates)
    gates[str(uri)] = Gate(uri, "bastion", make_key("another").public, "op-front")
    world.publish(gates=gates)
    judge(world)
    refused("recording-keyholders", world, targets_version=3)
    refused("recording-signer", world, targets_version=2)
    world.publish(gates={})
    refused("recording-signer", world, targets_version=3)


def _shares(*names: str) -> tuple[SealedShare, ...]:
    holders = keyholders(*names).holders
    return tuple(SealedShare(holder=one.human, key=sha256(one.spki), sealed="AAAA") for one in holders)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda: {"shares": _shares("carol", "mallory")}, id="to somebody else"),
        pytest.param(lambda: {"shares": _shares("carol", "dan", "mallory")}, id="to somebody more"),
        pytest.param(lambda: {"shares": _shares("dan", "carol")}, id="in another order, so to other numbers"),
        pytest.param(
            lambda: {
                "shares": (
                    _shares("carol", "dan")[0],
                    msgspec.structs.replace(_shares("dan", "mallory")[1], holder="dan"),
                )
            },
            id="to another key in a keyholder's name",
        ),
        pytest.param(lambda: {"targets_version": 2, "shares": _shares("carol", "dan")}, id="whom targets name no more"),
        pytest.param(lambda: {"targets_version": 9}, id="by targets that there are not"),
    ],
)
def test_a_recording_that_is_sealed_to_others_than_targets_name_is_opened_by_no_keyholder(
    changed: Callable[[], dict[str, Any]],
) -> None:
    world = replay_world()
    world.publish(recordings=keyholders("carol", "eve"))
    refused("recording-keyholders", world, **changed())
    judge(world)


def test_where_targets_name_nobody_no_recording_is_one_of_the_lab() -> None:
    world = make_world(resources={"host/gpu1": ()}, gates=(("front", "bastion"),), policy={"main": POLICY})
    say(world)
    refused("recording-keyholders", world)
