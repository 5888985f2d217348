"""Taken: root on the release gate. It signs what it likes, and whoever runs `keyturn verify` believes none of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

from keyturn.app.custody.open_release import read_label
from keyturn.bulk.read_chain import LogReading, claimed_size
from keyturn.formats import dsse, pack, pack_members, records, release, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest, AccessUse
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.pack import PackContents
from keyturn.formats.statement import DigestSet, Subject
from keyturn.gates.release.pack import collect
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from support.old_gate import approved
from support.taken_lab import GATE, LAB, MODEL, TakenLab, sign

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]

Members = dict[str, bytes]
EVIL = ArtifactDigest("dirHash", Sha256("e" * 64))


@pytest.fixture(scope="module")
def honest(lab: TakenLab) -> bytes:
    return lab.releases("honest.pack").read_bytes()


def resigned(
    lab: TakenLab, raw: bytes, change: Callable[[Members], object], *, model: ArtifactDigest | None = None
) -> bytes:
    """The pack with changed members, signed again with the gate's key."""
    found = pack.parse(raw)
    members = dict(found.members)
    change(members)
    old = statement.parse(dsse.parse_own(found.contents).payload, PackContents, pack.PACK)
    contents = msgspec.structs.replace(old.predicate, table=sha256(pack.make_table(members)))
    subject = old.subject if model is None else (Subject(digest=DigestSet.of(model)),)
    payload = statement.make(contents, pack.PACK, subject)
    return pack.render(dsse.render(sign(payload, lab.stolen("gates/release/key"))), members)


def drop(members: Members, kind: str) -> None:
    """Take every record of a kind out, with its proofs."""
    places = sorted(place for name in members if (place := pack_members.record_index(name)) is not None)
    kinds = {place: records.leaf_of(members[pack_members.record_name(place)]).kind for place in places}
    proofs = pack_members.parse_proofs(members[pack_members.PROOFS], count=len(places))
    kept = [proof for place, proof in zip(places, proofs, strict=True) if kinds[place] != kind]
    members[pack_members.PROOFS] = pack_members.render_proofs(kept)
    for place in places:
        if kinds[place] == kind:
            del members[pack_members.record_name(place)]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("apr", "quorum-not-met"),
        ("use", "pack-use-missing"),
        ("prv", "pack-statement-missing"),
        ("tst", "pack-statement-missing"),
    ],
)
def test_nothing_is_left_out_of_a_pack(lab: TakenLab, honest: bytes, kind: str, code: str) -> None:
    assert code in lab.judged(resigned(lab, honest, lambda members: drop(members, kind)))


def test_a_pack_brings_no_root(lab: TakenLab, honest: bytes) -> None:
    brought = resigned(lab, honest, lambda members: members.update({"root.json": lab.root_json}))
    assert lab.judged(brought) == {"pack-member-unknown"}


def test_the_gates_word_for_another_model_is_not_believed(lab: TakenLab, honest: bytes) -> None:
    key = lab.stolen("gates/release/key")
    said = dsse.render(sign(release.make_release(release.Release(EVIL, MODEL)), key))
    lie = resigned(lab, honest, lambda members: members.update({pack_members.RELEASE_STATEMENT: said}), model=EVIL)
    assert {"pack-contents-model", "release-statement-other"} <= lab.judged(lie)
    lab.log.append(said)  # in the log it is a false statement, for whoever reads those alone
    assert lab.judged(honest) == set()


def made_by_thief(lab: TakenLab, asked: Envelope, given: tuple[Envelope, ...], *, used_at: int) -> bytes:
    """The pack of a gate that asks nobody: its use, its statements, and every record and proof that there is."""
    key = lab.stolen("gates/release/key")
    use = AccessUse(
        lab=LAB,
        nonce="7" * 32,
        gate=str(GATE),
        key=key.public.keyid,
        request=asked.record_digest,
        approvals=tuple(sorted(one.record_digest for one in given)),
        used_at=used_at,
    )
    lab.submit(lab.sign_as(use, asked.record_digest, key))
    log, root = lab.log, lab.root_json
    note = log.checkpoint()
    size, as_of = label_of(asked)
    reading = LogReading(log, root_json=root, pinned_sha256=sha256(root))
    frontier = reading.to(size)
    index = reading.index(lab=LAB, model=lab.model, as_of=as_of)
    checkpoint = verify_checkpoint(note, lab.trust.log, now=None, skew_s=0)
    leaves = log.leaves(size, claimed_size(note))
    members = collect(
        log, index=index, frontier=frontier, leaves=leaves, checkpoint=checkpoint, request=asked.record_digest
    )
    summary = release.Summary(lab.model, MODEL, GATE, used_at, sha256(b""), (("x", sha256(b"")),), 1)
    members[pack_members.RELEASE_STATEMENT] = dsse.render(
        sign(release.make_release(release.Release(lab.model, MODEL)), key)
    )
    members[pack_members.SUMMARY] = dsse.render(sign(release.make_summary(summary), key))
    contents = PackContents(
        lab=LAB,
        nonce="8" * 32,
        gate=str(GATE),
        key=key.public.keyid,
        request=asked.record_digest,
        size=checkpoint.checkpoint.size,
        table=sha256(pack.make_table(members)),
        signed_at=used_at,
    )
    payload = statement.make(contents, pack.PACK, (Subject(digest=DigestSet.of(lab.model)),))
    return pack.render(dsse.render(sign(payload, key)), members)


def label_of(asked: Envelope) -> tuple[int, int]:
    return read_label(statement.parse(asked.payload, AccessRequest, ACCESS_REQUEST).subject[1].name)


def test_a_pack_by_a_gate_that_asks_nobody_is_what_people_granted_or_nothing(lab: TakenLab) -> None:
    now = int(time.time())
    asked = lab.ask()
    assert "quorum-not-met" in lab.judged(made_by_thief(lab, asked, (), used_at=now))
    asked = lab.ask()
    bob = lab.approval(asked, "bob")
    lab.submit(bob)
    assert "quorum-not-met" in lab.judged(made_by_thief(lab, asked, (bob,), used_at=now))
    asked = lab.ask()
    forged = tuple(lab.approval(asked, member, key=lab.stolen("gates/release/key")) for member in ("bob", "carol"))
    lab.write(*map(dsse.render, forged))
    assert "quorum-not-met" in lab.judged(made_by_thief(lab, asked, forged, used_at=now))
    asked = lab.ask()
    given = tuple(lab.approval(asked, member) for member in ("bob", "carol"))
    lab.submit(*given)
    assert lab.judged(made_by_thief(lab, asked, given, used_at=int(time.time()))) == set()  # this people did grant


def test_a_use_that_is_dated_back_does_not_get_around_a_denial(lab: TakenLab) -> None:
    asked = lab.ask()
    given = tuple(lab.approval(asked, member) for member in ("bob", "carol"))
    lab.submit(*given)
    between = int(time.time())
    lab.submit(lab.approval(asked, "dan", decision="deny", reason="no"))
    assert lab.judged(made_by_thief(lab, asked, given, used_at=between)) >= {"request-denied"}


def test_an_honest_gate_still_releases(lab: TakenLab) -> None:
    asked, given = approved(lab)
    assert lab.judged(lab.release(asked, *given)) == set()
