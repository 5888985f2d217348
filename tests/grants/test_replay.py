"""A grant to replay a recording: for that one, of that session, and verified as every grant is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from keyturn.app.records.find_recording import find_recording
from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.formats import opened_share, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.opened_share import OpenedShare, opened_info
from keyturn.formats.recording import RECORDING as RECORDING_TYPE
from keyturn.formats.recording import Recording
from keyturn.formats.sealed_recording import Header, SealedShare, title
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.statement import DigestSet, Subject
from keyturn.grants.replay import VerifiedReplay, verify_replay
from support.labs import keyholders
from support.world import Witnessed, World, make_world

POLICY = """
@id("replay") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"host:replay", resource == Host::"gpu1");
@id("shell") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"host:shell", resource == Host::"gpu1");
"""
RECORDING = Sha256("ab" * 32)
HOLDERS = keyholders("carol", "dan")
HEADER = Header(
    version=1,
    lab="acme.example",
    gate="keyturn://acme.example/gate/front",
    request="cd" * 32,
    host="keyturn://acme.example/gate/gpu1",
    resource="keyturn://acme.example/host/gpu1",
    account="ada",
    what="shell",
    begun_at=1,
    targets_version=1,
    quorum=2,
    commitment="ef" * 32,
    shares=tuple(SealedShare(holder=one.human, key=sha256(one.spki), sealed="AAAA") for one in HOLDERS.holders),
)


def replay_world() -> World:
    gates = (("gpu1", "host"), ("front", "bastion"))
    world = make_world(
        resources={"host/gpu1": (), "host/gpu2": ()}, gates=gates, policy={"main": POLICY}, recordings=HOLDERS
    )
    say(world)
    return world


def say(
    world: World, *, by: str = "front", digest: str = RECORDING, signer: str | None = None, **changed: Any
) -> Envelope:
    """The bastion's word for the recording, in the log."""
    values: dict[str, Any] = {
        "lab": HEADER.lab,
        "nonce": world.nonce(),
        "gate": HEADER.gate,
        "key": world.lab.gate_keys[by].public.keyid,
        "request": HEADER.request,
        "digest": digest,
        "size_bytes": 1,
        "what": HEADER.what,
        "begun_at": HEADER.begun_at,
        "ended_at": 2,
        **changed,
    }
    subjects = (Subject(digest=DigestSet(sha256=values["digest"]), name="recording"),)
    payload = statement.make(Recording(**values), RECORDING_TYPE, subjects)
    return world.submit(dsse_signing.sign(payload, world.lab.gate_keys[signer or by]))


def asked(
    world: World, *, digest: str = RECORDING, name: str = title(HEADER), approved: bool = True, **changed: object
) -> Envelope:
    key = SoftwareKey.generate("ecdsa-sha2-nistp256")
    values: dict[str, Any] = {
        "action": "host:replay",
        "resource": HEADER.resource,
        "permit": "replay",
        "gate": HEADER.gate,
        "session_key": key.public.text,
        **changed,
    }
    subjects = (Subject(digest=DigestSet(sha256=digest), name=name),)
    payload = statement.make(world.request(**values), ACCESS_REQUEST, subjects)
    envelope = world.submit(dsse_signing.sign(payload, world.key("ada")))
    if approved:
        world.approve(envelope, "bob")
    return envelope


def verified(world: World, envelope: Envelope, *, recording: Sha256 = RECORDING, **changed: object) -> VerifiedReplay:
    view = world.read_on(world.start(None))
    bundle = view.bundle_of(envelope.record_digest)
    assert bundle is not None
    header = msgspec.structs.replace(HEADER, **changed)
    words = find_recording(Witnessed(world), recording, request=header.request, size=view.frontier.size)
    return verify_replay(bundle, view, now=world.now, recording=recording, header=header, words=words)


def test_a_replay_that_people_agreed_to_is_verified_and_names_whom_shares_are_for() -> None:
    world = replay_world()
    envelope = asked(world)
    found = verified(world, envelope)
    assert (found.request, found.recording) == (envelope.record_digest, RECORDING)
    assert (found.beneficiary, found.approvers) == ("ada", ("bob",))
    assert found.recipient.scheme == "ecdsa-sha2-nistp256"
    with pytest.raises(TypeError):
        pickle.dumps(found)
    with pytest.raises(TypeError):
        VerifiedReplay(found.request, RECORDING, found.recipient, "ada", (), "demo", None)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        pytest.param("quorum-not-met", lambda w: verified(w, asked(w, approved=False)), id="nobody agreed"),
        pytest.param(
            "replay-other", lambda w: verified(w, asked(w), recording=Sha256("00" * 32)), id="another recording"
        ),
        pytest.param("replay-misnamed", lambda w: verified(w, asked(w, name="a harmless one")), id="called another"),
        pytest.param("replay-misnamed", lambda w: verified(w, asked(w), request="00" * 32), id="of another session"),
        pytest.param("replay-elsewhere", lambda w: verified(w, asked(w), lab="other.example"), id="of another lab"),
        pytest.param(
            "replay-elsewhere",
            lambda w: verified(w, asked(w), resource="keyturn://acme.example/host/gpu2"),
            id="of another host",
        ),
        pytest.param(
            "replay-elsewhere",
            lambda w: verified(w, asked(w), gate="keyturn://acme.example/gate/gpu1"),
            id="by another bastion",
        ),
        pytest.param(
            "bastion-unknown",
            lambda w: verified(
                w, asked(w, gate="keyturn://acme.example/gate/gpu1"), gate="keyturn://acme.example/gate/gpu1"
            ),
            id="by a gate that is no bastion",
        ),
        pytest.param(
            "replay-action",
            lambda w: verified(
                w,
                asked(
                    w,
                    action="host:shell",
                    permit="shell",
                    digest=str(_digest_of(HEADER.resource)),
                ),
            ),
            id="a grant for a shell",
        ),
        pytest.param("key-invalid", lambda w: verified(w, asked(w, session_key=None)), id="for no key"),
    ],
)
def test_no_other_grant_replays_a_recording(code: str, found: Callable[[World], VerifiedReplay]) -> None:
    with pytest.raises(KeyturnError) as refused:
        found(replay_world())
    assert refused.value.code == code


def _digest_of(uri: str) -> str:
    from keyturn.formats.uri import Uri

    return Uri.parse(uri).digest


def test_a_replay_that_is_revoked_or_over_or_seen_in_an_old_log_opens_nothing() -> None:
    world = replay_world()
    envelope = asked(world)
    world.revoke(envelope, "bob")
    with pytest.raises(KeyturnError, match="revoked"):
        verified(world, envelope)
    world = replay_world()
    envelope = asked(world)
    view = world.read_on(world.start(None))
    bundle = view.bundle_of(envelope.record_digest)
    assert bundle is not None
    with pytest.raises(KeyturnError, match="old, expected at most"):
        verify_replay(bundle, view, now=world.now + 3601, recording=RECORDING, header=HEADER, words=())


def test_a_replay_has_no_terms_of_a_session_on_a_host() -> None:
    with pytest.raises(ValueError, match="opens one on a host"):
        _request(session=SessionTerms(sftp=True))


def _request(**changed: object) -> AccessRequest:
    return replay_world().request(
        action="host:replay", resource=HEADER.resource, permit="replay", gate=HEADER.gate, **changed
    )


def test_an_opened_share_reads_back_and_is_bound_to_all_of_it() -> None:
    made = OpenedShare(version=1, recording=RECORDING, request="cd" * 32, holder="carol", sealed="AAAA")
    assert opened_share.parse(opened_share.render(made)) == made
    infos = {
        opened_info(recording=recording, request=request, holder=holder)
        for recording in ("a", "b")
        for request in ("a", "b")
        for holder in ("a", "b")
    }
    assert len(infos) == 8
