"""Three attacks on the demo's model and lab, each with what its attacker would really have in hand.

Each shows what the attacker did in a sentence, runs the real thing against it, and raises `Stop` if it went through.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from demo.custody import somebody_runs
from demo.doors import attempt, process_url, write_past_admission
from demo.founding import DemoLab
from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.over_http.release_over_http import ReleaseOverHttp
from keyturn.adapters.over_http.witness_over_http import WitnessOverHttp
from keyturn.app.custody.make_pack import order_of
from keyturn.app.records.sign_record import about
from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.custody import pack_index
from keyturn.formats import access, dsse, pack, pack_members, statement
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.dsse import Envelope
from keyturn.formats.leaf import Kind
from keyturn.formats.pack import PackContents
from keyturn.grants import bundle as bundles
from keyturn.tlog.signing import sign_checkpoint
from keyturn.wiring.log.log import LabLog, lab_log

__all__ = ["flipped_bit", "removed_step", "stolen_service"]


def flipped_bit(lab: DemoLab) -> None:
    """Whoever stores the weights flips one bit of them."""
    out = lab.out
    with tempfile.TemporaryDirectory(prefix="keyturn-attack-") as name:
        place = Path(name)
        shutil.copytree(out / "model", place / "model")
        weights = place / "model" / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
        lab.teller.say("\n(a) One bit of the weights is flipped where they are stored.")
        _somebody_is_refused(lab, place, "verify", "model", "--pack", "model.pack", "--root", "root.json")


def removed_step(lab: DemoLab) -> None:
    """Whoever has the release gate's key removes the training step from the pack, and signs the pack anew."""
    out = lab.out
    gate_key = read_key(out / "lab" / "gates" / "release" / "key", passphrase=None)
    real = pack.parse((out / "model.pack").read_bytes())
    training = next(name for name, content in real.members.items() if b"build/train/v1" in _payload(content))
    members = _without(real.members, training)
    contents = statement.parse(dsse.parse_own(real.contents).payload, PackContents, pack.PACK)
    table = pack.make_table(members)
    forged = msgspec.structs.replace(contents.predicate, table=pack.Pack(b"", table, {}).table_digest)
    payload = statement.make(forged, pack.PACK, contents.subject)
    with tempfile.TemporaryDirectory(prefix="keyturn-attack-") as name:
        place = Path(name)
        signed = dsse.render(dsse_signing.sign(payload, gate_key))
        (place / "model.pack").write_bytes(pack.render(signed, members))
        lab.teller.say(
            "\n(b) The release gate's key is stolen. The training step is removed from the pack, with its proof and its line in\n"
            "    the pack index, so that nothing is missing; and the pack is signed anew."
        )
        _somebody_is_refused(lab, place, "verify", "model.pack", "--root", "root.json")


def _without(members: Mapping[str, bytes], record: str) -> dict[str, bytes]:
    """The members of a pack without `record`, its inclusion proof, and what the pack index says of it."""
    names = sorted(name for name in members if pack_members.record_index(name) is not None)
    proofs = pack_members.parse_proofs(members[pack_members.PROOFS], count=len(names))
    kept = [proof for name, proof in zip(names, proofs, strict=True) if name != record]
    index = pack_index.parse(members[pack_members.INDEX])
    left = tuple(one for one in index.statements if one.index != pack_members.record_index(record))
    return {name: content for name, content in members.items() if name != record} | {
        pack_members.PROOFS: pack_members.render_proofs(kept),
        pack_members.INDEX: pack_index.render(msgspec.structs.replace(index, statements=left)),
    }


def stolen_service(lab: DemoLab) -> None:
    """Whoever has every key, file and database of the service tries to release a model that nobody approved."""
    directory = lab.out / "lab"
    lab.teller.say(
        "\n(c) The service is taken over: its log key, its online key, its database and its disk are the attacker's."
    )
    stolen = read_key(directory / "keys" / "log", passphrase=None)
    with lab_log(directory) as service:
        asked, given = (_newest(service, kind) for kind in ("req", "apr"))
        forged_request, forged_approval = _forge(asked, given, stolen)
        write_past_admission(service, forged_request, forged_approval)  # the disk is his
        honest = checkpoints.parse_body(notes.parse(service.log.checkpoint()).text)
    order = order_of(bundles.make(forged_request, (forged_approval,)), path=None)
    gate = ReleaseOverHttp(process_url(directory, "gate-release"))
    attempt(
        lab,
        "He writes a request as Ada and an approval as Carol into the log, has it witnessed, and goes to the gate",
        lambda: gate.release(order),
    )
    fork = sign_checkpoint(replace(honest, root=bytes(32)), stolen)
    witness = WitnessOverHttp(process_url(directory, _witness(directory)))
    attempt(
        lab,
        "He signs another history of the same length, and asks the witness to cosign it",
        lambda: witness.add_checkpoint(AddCheckpoint(old_size=honest.size, proof=(), note=fork)),
    )


def _newest(service: LabLog, kind: Kind) -> Envelope:
    found = service.index.of_kinds([kind])[-1]
    return dsse.parse_own(service.log.envelope(found.envelope))


def _witness(directory: Path) -> str:
    return next(place.stem for place in sorted((directory / "run").glob("witness-*.json")))


def _forge(asked: Envelope, given: Envelope, stolen: SoftwareKey) -> tuple[Envelope, Envelope]:
    """Make a request that names its requester's key and an approval that names its approver's, signed with another key."""
    request = statement.parse(asked.payload, AccessRequest, access.ACCESS_REQUEST)
    again = msgspec.structs.replace(request.predicate, nonce=os.urandom(16).hex(), justification="ship it")
    forged = _signed_as(again.key, statement.make(again, access.ACCESS_REQUEST, request.subject), stolen)
    approval = statement.parse(given.payload, HumanAuthorization, access.HUMAN_AUTHORIZATION)
    named = msgspec.structs.replace(approval.predicate, nonce=os.urandom(16).hex(), request=forged.record_digest)
    payload = statement.make(named, access.HUMAN_AUTHORIZATION, about(forged.record_digest))
    return forged, _signed_as(named.key, payload, stolen)


def _payload(member: bytes) -> bytes:
    return dsse.parse_foreign(member).payload if member.startswith(b'{"payload"') else b""


def _signed_as(keyid: str, payload: bytes, key: SoftwareKey) -> Envelope:
    made = dsse_signing.sign(payload, key)
    lie = msgspec.structs.replace(made.signatures[0], keyid=keyid)
    return msgspec.structs.replace(made, signatures=(lie,))


def _somebody_is_refused(lab: DemoLab, place: Path, *words: str) -> None:
    for file in ("root.json", "model.pack"):
        if not (place / file).exists():
            shutil.copyfile(lab.out / file, place / file)
    somebody_runs(lab, place, *words, expect=1)
