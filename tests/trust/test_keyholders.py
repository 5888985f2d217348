"""Who opens recordings stands in targets: several people, each once, and none of them a machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.errors import KeyturnError
from keyturn.formats import base64_text
from keyturn.trust.draft import Draft, RootDraft, leave
from keyturn.trust.history import TrustHistory
from keyturn.trust.keyholders import Keyholders
from keyturn.trust.render import render_contents
from keyturn.trust.targets import parse_contents
from support.labs import Lab, keyholders, make_lab

THREE = keyholders("ada", "bob", "eve")


@pytest.fixture
def lab() -> Lab:
    return make_lab(humans=("ada", "bob", "cat"), agents={"coder": ("ada",)}, recordings=THREE)


def test_keyholders_are_signed_with_targets_and_read_back(lab: Lab) -> None:
    files = render_contents(lab.contents)
    assert parse_contents(files, lab=lab.name) == lab.contents
    assert lab.state.recordings == THREE
    assert THREE.text == "2 of ada, bob, eve"
    later = lab.publish(recordings=keyholders("ada", "cat"))
    before, after = later.history.at(1), later.history.at(2)
    assert before is not None
    assert after is not None
    assert (before.recordings, after.recordings) == (THREE, keyholders("ada", "cat"))
    assert make_lab().state.recordings is None
    with pytest.raises(KeyturnError, match="expected signatures of 2 humans"):
        lab.with_contents(replace(lab.contents, recordings=keyholders("mallory", "ada")), signers=("ada",))


def _said(*holders: tuple[str, str], quorum: int = 2) -> bytes:
    text = f"version = 1\n[recordings]\nquorum = {quorum}\n"
    for human, public in holders:
        text += f'[[recordings.keyholders]]\nhuman = "{human}"\npublic = "{public}"\n'
    return text.encode() if holders else (text + "keyholders = []\n").encode()


ADA, BOB, COD = (base64_text.encode(one.spki) for one in keyholders("ada", "bob", "coder").holders)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(_said(("ada", ADA), ("bob", BOB), quorum=1), "targets-file-invalid", id="one alone"),
        pytest.param(_said(("ada", ADA), ("bob", BOB), quorum=3), "keyholder-quorum", id="more than there are"),
        pytest.param(_said(("ada", ADA)), "keyholder-quorum", id="one keyholder"),
        pytest.param(_said(), "keyholder-quorum", id="nobody"),
        pytest.param(_said(("ada", ADA), ("ada", BOB)), "keyholder-twice", id="one twice"),
        pytest.param(_said(("ada", ADA), ("bob", ADA)), "keyholder-twice", id="one key twice"),
        pytest.param(_said(("ada", ADA), ("coder", COD)), "keyholder-not-human", id="an AI agent"),
        pytest.param(_said(("ada", ADA), ("bob", "AAAA")), "holder-key", id="a key that is none"),
        pytest.param(_said(("ada", ADA), ("bob", "?")), "base64-invalid", id="a text that is no key"),
        pytest.param(_said(("ada", ADA), ("Bob!", BOB)), "targets-file-invalid", id="a name that is none"),
    ],
)
def test_what_targets_may_not_say_of_keyholders_is_refused(lab: Lab, text: bytes, code: str) -> None:
    with pytest.raises(KeyturnError) as refused:
        parse_contents(render_contents(lab.contents) | {"gates.toml": text}, lab=lab.name)
    assert refused.value.code == code


def test_a_signing_key_of_the_lab_seals_nothing(lab: Lab) -> None:
    text = _said(("ada", lab.member_keys["ada"].public.text), ("bob", BOB))
    with pytest.raises(KeyturnError, match="X25519"):
        parse_contents(render_contents(lab.contents) | {"gates.toml": text}, lab=lab.name)


def test_who_leaves_is_no_keyholder_of_what_is_recorded_next_while_enough_are_left(lab: Lab) -> None:
    history: TrustHistory = lab.history
    draft = Draft(RootDraft.of(history.root), lab.contents)
    gone = leave(leave(draft, "cat"), "bob")
    assert gone.contents.recordings == keyholders("ada", "eve")
    alone = keyholders("bob", "eve")
    kept = leave(Draft(draft.root, replace(lab.contents, recordings=alone)), "bob")
    assert kept.contents.recordings == alone, (
        "he would leave one alone: nothing is sealed to one, and doctor says who left"
    )
    none = leave(Draft(draft.root, replace(lab.contents, recordings=None)), "bob")
    assert none.contents.recordings is None


def test_the_class_refuses_too_many() -> None:
    with pytest.raises(KeyturnError, match="2 to 32 keyholders"):
        Keyholders(2, keyholders(*(f"h{n}" for n in range(33))).holders)
