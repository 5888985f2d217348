"""Packs that something is wrong with, as whoever has the release gate's key can make them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from keyturn.app.custody.verify_pack import PackVerdict, examine_pack
from keyturn.bulk.read_chain import LogReading
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import dsse, pack, pack_members, records, release, statement
from keyturn.formats.digest import sha256
from keyturn.formats.pack import PackContents
from keyturn.formats.statement import DigestSet, Subject
from keyturn.gates.release.pack import collect
from support.chains import AURORA, signed
from support.labs import Lab
from support.releases import MODEL, ReleaseWorld

__all__ = ["Members", "codes", "drop", "drop_kind", "forged", "judge", "records_of", "stolen_gate_pack"]

Members = dict[str, bytes]


def forged(raw: bytes, lab: Lab, change: Callable[[Members], object], *, key: SoftwareKey | None = None) -> bytes:
    """The pack with changed members, its contents signed again: what whoever has the gate's key can make."""
    found = pack.parse(raw)
    members = dict(found.members)
    change(members)
    old = statement.parse(dsse.parse_own(found.contents).payload, PackContents, pack.PACK)
    contents = msgspec.structs.replace(old.predicate, table=sha256(pack.make_table(members)))
    payload = statement.make(contents, pack.PACK, old.subject)
    return pack.render(signed(payload, key or lab.gate_keys["release"]), members)


def records_of(members: Members) -> dict[int, str]:
    return {
        place: records.leaf_of(raw).kind
        for name, raw in members.items()
        if (place := pack_members.record_index(name)) is not None
    }


def drop(members: Members, place: int) -> None:
    """Take a record out, with its proof."""
    places = sorted(records_of(members))
    proofs = list(pack_members.parse_proofs(members["proofs"], count=len(places)))
    del proofs[places.index(place)]
    members["proofs"] = pack_members.render_proofs(proofs)
    del members[pack_members.record_name(place)]


def drop_kind(kind: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        for place in [place for place, found in records_of(members).items() if found == kind]:
            drop(members, place)

    return change


def stolen_gate_pack(made: ReleaseWorld) -> bytes:
    """What a gate that checks nothing would sign: an honest index, over a chain that fails."""
    world, lab = made.world, made.world.lab
    asked = made.ask()
    given = (world.approve(asked, "bob"), world.approve(asked, "cat"))
    world.use(asked, *given)
    index = made.index
    assert index is not None
    view = world.view()
    assert view.checkpoint is not None
    reading = LogReading(world.log, root_json=lab.root_json, pinned_sha256=lab.root_sha256)
    frontier = reading.to(index.size)
    members = collect(
        world.log,
        index=index,
        frontier=frontier,
        leaves=tuple(world.log.leaves(index.size, view.frontier.size)),
        checkpoint=view.checkpoint,
        request=asked.record_digest,
    )
    resource = AURORA
    members["release.json"] = signed(release.make_release(release.Release(MODEL, resource)), lab.gate_keys["release"])
    members["vsa.json"] = signed(
        release.make_summary(
            release.Summary(MODEL, resource, world.gate, world.now, sha256(b""), (("x", sha256(b"")),), 1)
        ),
        lab.gate_keys["release"],
    )
    contents = PackContents(
        lab=lab.name,
        nonce=world.nonce(),
        gate=str(world.gate),
        key=lab.gate_keys["release"].public.keyid,
        request=asked.record_digest,
        size=view.frontier.size,
        table=sha256(pack.make_table(members)),
        signed_at=world.now,
    )
    subject = (Subject(digest=DigestSet.of(MODEL)),)
    return pack.render(signed(statement.make(contents, pack.PACK, subject), lab.gate_keys["release"]), members)


def judge(raw: bytes, lab: Lab) -> PackVerdict:
    """What whoever has the root of `lab` finds of the pack `raw`."""
    return examine_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256)


def codes(raw: bytes, lab: Lab) -> set[str]:
    """The codes of its failures."""
    return {code for code, _ in judge(raw, lab).failures}
