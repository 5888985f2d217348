"""Who took a release back: for good, by the rules of gates, and never read from what could not be had."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from keyturn.errors import Refused, Unavailable
from keyturn.formats import dsse, records
from keyturn.formats import leaf as leaf_format
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.grants.withdrawn import Entry, Withdrawn, matters, withdrawn
from keyturn.trust.history import TrustHistory
from keyturn.trust.signers import SignedBy, signed_by
from support.labs import NOW
from support.world import World, make_world

YEARS = 3 * 365 * 86400


def read(world: World, asked: Envelope, *, now: int | None = None, missing: Iterable[Envelope] = ()) -> Withdrawn:
    lab, gone = world.lab, {sha256(dsse.render(one)) for one in missing}
    entries = []
    for index, raw in enumerate(world.log.leaves(0, world.log.settle().size)):
        leaf = leaf_format.parse(raw)
        if matters(leaf, asked.record_digest):
            try:
                held = None if leaf.envelope in gone else world.log.envelope(Sha256(leaf.envelope))
            except Unavailable:
                held = None
            entries.append(Entry(index, leaf, held))
    start = TrustHistory.start(lab.root_json, pinned_sha256=lab.root_sha256)
    return withdrawn(dsse.render(asked), entries, history=start, now=world.now if now is None else now)


def by(found: Withdrawn) -> list[tuple[str, str]]:
    return [(one.verb, one.by) for one in found.by]


def test_one_human_withdraws_and_no_time_brings_it_back() -> None:
    world = make_world()
    asked = world.ask(world.release())
    assert by(read(world, asked)) == []
    world.revoke(asked, "dan", until=NOW + 1)
    world.deny(asked, "eve")
    assert by(read(world, asked, now=NOW + YEARS)) == [("revoked", "dan"), ("denied", "eve")]
    other = world.ask(world.release())
    assert by(read(world, other)) == [], "another release of the same model stands"


def test_whoever_may_not_withdraws_nothing() -> None:
    world = make_world()
    asked = world.ask(world.release())
    world.revoke(asked, "ada+coder")  # an agent that is no party of it
    world.suspend("bob", target_member="dan", until=NOW + 3600)
    world.revoke(asked, "dan", signed_at=NOW + 5)
    forged = world.sign(
        records.parse(dsse.render(world.revoke(asked, "dan", submit=False))).statement.predicate,
        f"sha256:{asked.record_digest}",
        world.key("eve"),
    )
    world.submit(forged)
    assert by(read(world, asked)) == []
    world.revoke(asked, "dan", signed_at=NOW + 7200)
    assert by(read(world, asked, now=NOW + YEARS)) == [("revoked", "dan")], "his suspension was over by then"


def test_an_agent_withdraws_what_it_asked_for() -> None:
    world = make_world()
    asked = world.ask(world.release(requester="ada+coder"))
    world.revoke(asked, "ada+coder")
    assert by(read(world, asked)) == [("revoked", "ada+coder")]


def test_a_lying_leaf_and_rubbish_withdraw_nothing() -> None:
    world = make_world()
    asked = world.ask(world.release())
    real = dsse.render(world.revoke(asked, "dan", submit=False))
    lying = leaf_format.parse(leaf_format.render(records.leaf_of(real)))
    tag = f"request:{asked.record_digest}"
    rubbish = b"rubbish"
    entries = [
        Entry(
            1, leaf_format.Leaf(kind="rev", record=lying.record, envelope=lying.envelope, about=(tag,), until=7), real
        ),
        Entry(
            2, leaf_format.Leaf(kind="rev", record="0" * 64, envelope=sha256(rubbish), about=(tag,), until=7), rubbish
        ),
    ]
    start = TrustHistory.start(world.lab.root_json, pinned_sha256=world.lab.root_sha256)
    versions = [Entry(0, records.leaf_of(raw), raw) for raw in world.lab.containers]
    assert by(withdrawn(dsse.render(asked), [*versions, *entries], history=start, now=NOW)) == []


def test_what_cannot_be_read_is_could_not_find_out() -> None:
    world = make_world()
    asked = world.ask(world.release())
    suspension = world.suspend("bob", target_member="dan", until=NOW + 3600)
    lifts = [world.lift(suspension, "eve"), world.lift(suspension, "cat")]
    revocation = world.revoke(asked, "dan", signed_at=NOW + 5)
    assert by(read(world, asked)) == [("revoked", "dan")]
    assert by(read(world, asked, missing=[suspension])) == [("revoked", "dan")], "keeps nobody from taking away"
    for one in (lifts[0], revocation):
        with pytest.raises(Unavailable) as caught:
            read(world, asked, missing=[one])
        assert caught.value.code == "withdrawal-unread"
    world.hide("rev", f"request:{'0' * 64}", until=NOW + 9)
    assert by(read(world, asked)) == [("revoked", "dan")], "of another request"


def test_what_the_lab_declared_void_is_no_withdrawal() -> None:
    world = make_world()
    asked = world.ask(world.release())
    hidden = world.hide("rev", f"request:{asked.record_digest}", until=NOW + 9)
    with pytest.raises(Unavailable):
        read(world, asked)
    world.publish(void=(range(hidden, hidden + 1),))
    assert by(read(world, asked)) == []


def test_a_deployment_is_signed_by_the_member_or_gate_that_it_names() -> None:
    lab = make_world().lab
    uri, key = lab.gate_uri("release"), lab.gate_keys["release"].public
    about = {"lab": lab.name, "nonce": "ab" * 16, "host": f"keyturn://{lab.name}/host/gpu1", "signed_at": NOW}
    about |= {"resource": f"keyturn://{lab.name}/model/aurora", "request": "cd" * 32}
    by_gate = Deployment(gate=str(uri), key=key.keyid, **about)  # type: ignore[arg-type]  # the table above
    by_member = Deployment(member="dan", key=lab.member_keys["dan"].public.keyid, **about)  # type: ignore[arg-type]
    assert signed_by(by_gate, lab.state) == SignedBy(f"gate:{uri}", key)
    assert signed_by(by_member, lab.state).who == "member:dan"
    for stranger, code in (
        (msgspec.structs.replace(by_gate, key="0" * 64), "gate-unknown"),
        (msgspec.structs.replace(by_gate, gate=f"{uri}-2"), "gate-unknown"),
        (msgspec.structs.replace(by_member, member="mallory"), "signer-unknown"),
    ):
        with pytest.raises(Refused) as caught:
            signed_by(stranger, lab.state)
        assert caught.value.code == code
