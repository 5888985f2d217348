"""The table of parsers that hostile bytes reach, each with good examples that mutations start from.

A target's name is where its parser stands below `keyturn`. An architecture test holds this table against the source: every
function called `parse`, `parse_...` or `read` that takes bytes or text is here, or in `NOT_ALONE` with the reason.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from formats.conftest import COMMIT, PREDICATES, envelope_of
from keyturn.adapters.keys.session_certificates import request_for
from keyturn.adapters.log_on_disk import batch
from keyturn.adapters.over_http import errors_over_http
from keyturn.adapters.over_http.builder_over_http import Order
from keyturn.bulk import manifest as bulk_manifest
from keyturn.config import builder, lab, notify, person
from keyturn.crypto import dsse_signing
from keyturn.crypto.credentials import Credential
from keyturn.custody import pack_index
from keyturn.errors import KeyturnError, Malformed, Refused, Tampered, Usage
from keyturn.formats import (
    add_checkpoint,
    carried,
    checkpoint,
    cosignature,
    decision,
    dsse,
    enrolment,
    gate_answer,
    gate_entry,
    git_commit,
    leaf,
    log_part,
    manifest,
    note,
    oci_image,
    pack,
    pack_members,
    release,
    release_order,
    review,
    safetensors,
    sshsig,
    standing_acceptance,
    statement,
    tile,
    tlog_proof,
    trust_version,
    watch,
)
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.cosignature import Cosignature
from keyturn.formats.digest import Sha256
from keyturn.formats.enrolment import AcceptedKey
from keyturn.formats.note import Note, NoteSignature
from keyturn.formats.oci_image import Descriptor
from keyturn.formats.records import leaf_of
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.tlog_proof import TlogProof
from keyturn.formats.uri import Uri
from keyturn.service.authzen_wire import Evaluation, Submission
from keyturn.standing import ledger
from keyturn.standing.finding import found, gathered
from keyturn.trust import draft
from keyturn.trust.render import render_contents
from support.attesters import FidoMetadata
from support.authenticators import Passkey, SshHolder
from support.chains import AURORA, MadeChain, artifact
from support.labs import NOW, make_key, make_lab
from support.world import make_world

__all__ = ["NOT_ALONE", "TARGETS", "Target", "resolve"]

NOT_ALONE = {
    "formats.sshsig.parse_public_line": "takes text: tests/formats/test_sshsig.py",
    "config.toml.parse": "takes the struct to make: reached through every file in config/",
    "formats.statement.parse": "takes the predicate's type: reached through records, provenance and test results",
    "formats.outside_statement.parse_builder": "takes the predicate type: tests/formats/test_outside_statement.py",
    "formats.tlog_proof.parse_hashes": "takes lines: reached through tlog_proof.parse and add_checkpoint.parse",
    "formats.checkpoint.parse_size": "one number: reached through checkpoint.parse_body and add_checkpoint.parse",
    "trust.targets.parse_targets": "takes several files: its parts are trust.targets.parse_contents",
    "trust.target_files.read_toml": "one of the files that trust.targets.parse_contents takes",
}


@dataclass(frozen=True)
class Target:
    """One parser: `call` feeds it bytes, `render` is its inverse where one text stands for one value, `refusals` its errors."""

    name: str
    seeds: Callable[[], tuple[bytes, ...]]
    call: Callable[[bytes], object]
    render: Callable[[object], bytes] | None = None
    refusals: tuple[type[KeyturnError], ...] = field(default=(Malformed,))


def resolve(name: str) -> Callable[..., object]:
    """Find the function called `name` below `keyturn`; a class's method is `room.file.Class.method`."""
    parts = name.split(".")
    last = 2 if parts[-2][:1].isupper() else 1
    found: object = import_module("keyturn." + ".".join(parts[:-last]))
    for part in parts[-last:]:
        found = getattr(found, part)
    assert callable(found)
    return found


# --- examples -----------------------------------------------------------------------------------------------------

ROOT = bytes(range(32))
RECEIPT = b'{"step": "train", "request": "ab", "provenance": "cd", "outputs": {"model": "dirHash:ef"}, "passed": true}'
OPENED = b'{"left_off":0,"opened":[{"of":"own","path":"/tmp/x"}],"undeclared":[],"unread":["data"],"version":1}'
MODEL_SIGNATURE = msgspec.json.encode(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [{"name": f"a/{n}", "algorithm": "sha256", "digest": f"{n:064x}"} for n in range(3)],
        },
    }
)
LOG_KEY = make_key("fuzz log")


@cache
def _chain() -> MadeChain:
    made = MadeChain(make_lab(policy={"release": "// none\n"}))
    made.build()
    return made


def _images() -> tuple[bytes, ...]:
    one = Descriptor(Sha256("a" * 64), 2)
    blob = b'{"mediaType":"x","digest":"sha256:%s","size":2}' % (b"a" * 64)
    return oci_image.render_index(one, "x"), b'{"schemaVersion":2,"config":%s,"layers":[%s]}' % (blob, blob)


def _ledgers() -> tuple[bytes, ...]:
    door = found("ssh-key", "ssh", "/root/x", opens="root", to="eve", severity="high", close="true", line=3)
    whole, _ = ledger.record(ledger.EMPTY, "host:gpu1", gathered([door]), owner="ada", now=NOW)
    half = ledger.keep(whole, door.id("host:gpu1"), _acceptance())
    return tuple(map(ledger.render, (ledger.EMPTY, whole, half)))


def _envelopes() -> tuple[bytes, ...]:
    return tuple(raw for raw in _chain().records if raw.startswith(b'{"payload":'))


def _acceptance() -> bytes:
    made = standing_acceptance.StandingAcceptance(
        lab="acme.example",
        nonce="ab" * 16,
        member="ada",
        key="ab" * 32,
        place="host:gpu1",
        finding="cd" * 32,
        first_seen=NOW,
        code="ssh-key",
        where="/root/x",
        opens="root",
        to="eve",
        severity="high",
        reason="until the bastion is there",
        signed_at=NOW,
        until=NOW + 9,
    )
    subject = (Subject(digest=DigestSet(sha256="cd" * 32)),)
    payload = statement.make(made, standing_acceptance.STANDING_ACCEPTANCE, subject)
    return dsse.render(dsse_signing.sign(payload, make_key("x")))


def _watch() -> bytes:
    made = watch.Watch(
        lab="acme.example",
        nonce="ab" * 16,
        member="cat",
        key="ab" * 32,
        request="cd" * 32,
        gate="keyturn://acme.example/gate/front",
        session_key="AAAA",
        signed_at=1,
    )
    payload = statement.make(made, watch.WATCH, (Subject(digest=DigestSet(sha256="cd" * 32)),))
    return dsse.render(dsse_signing.sign(payload, make_key("x")))


def _records() -> tuple[bytes, ...]:
    return tuple(raw for raw in _envelopes() if b'"predicateType":"https://keyturn.dev/' in dsse.parse_own(raw).payload)


def _each_kind_of_ours() -> tuple[bytes, ...]:
    """A record of each kind of ours, and a review of a report: most are in no chain."""
    subject = (Subject(digest=DigestSet(dirHash="ab" * 32)),)
    report = review.AccessReport(sha256=Sha256("ab" * 32), log_size=7, trust_version=2, as_of=NOW)
    of_report = msgspec.structs.replace(PREDICATES["rvw"][1], use=None, report=report)
    made = (*PREDICATES.values(), (review.REVIEW, of_report))
    return tuple(envelope_of(statement.make(predicate, kind, subject)) for kind, predicate in made)


def _each_kind() -> tuple[bytes, ...]:
    """The same, and what gates say of a release in formats of others."""
    of_gates = (release.make_release(_release()), release.make_summary(_summary()))
    return (*_each_kind_of_ours(), *map(envelope_of, of_gates))


def _payloads(predicate: bytes) -> tuple[bytes, ...]:
    payloads = [dsse.parse_own(raw).payload for raw in _envelopes()]
    return tuple(payload for payload in payloads if b'"predicateType":"%s"' % predicate in payload)


def _payloads_of_gates() -> tuple[bytes, ...]:
    return release.make_release(_release()), release.make_summary(_summary())


def _statements() -> tuple[bytes, ...]:
    return (*_payloads(b"https://slsa.dev/provenance/v1"), *_payloads_of_gates(), MODEL_SIGNATURE)


def _note() -> bytes:
    text = checkpoint.render_body(Checkpoint("log.acme.example", 7, ROOT))
    keys = (("log.acme.example", 1), ("north", 4))
    lines = tuple(
        NoteSignature(name, note.key_id(name, kind, LOG_KEY.public.raw_ed25519), bytes(64 if kind == 1 else 72))
        for name, kind in keys
    )
    return note.render(Note(text, lines))


def _proofs() -> tuple[bytes, ...]:
    return (
        tlog_proof.render(TlogProof(3, (ROOT, ROOT[::-1]), _note())),
        tlog_proof.render(TlogProof(0, (), _note(), extra="entre nous \u00e9".encode())),
    )


def _manifest() -> bytes:
    with TemporaryDirectory() as place:
        for name in ("model.safetensors", "config.json", "\u00e9.txt"):
            Path(place, name).write_bytes(name.encode())
        return manifest.render(bulk_manifest.make(Path(place)))


def _pack() -> bytes:
    return pack.render(_records()[0], {"index.json": b"{}", "log/leaves": b"\x00" * 40})


def _pack_index() -> bytes:
    return pack_index.render(_chain().index(artifact("model")))


def _targets_metadata() -> tuple[bytes, ...]:
    versions = [trust_version.parse(raw) for raw in _chain().lab.containers]
    return tuple(version.metadata for version in versions if version.role == "targets")


def _release() -> release.Release:
    return release.Release(artifact("model"), AURORA)


def _summary() -> release.Summary:
    return release.Summary(
        model=artifact("model"),
        resource=AURORA,
        gate=Uri("acme.example", "gate", "release"),
        verified_at=NOW,
        targets=Sha256("1" * 64),
        inputs=(("index.json", Sha256("2" * 64)),),
        level=2,
    )


def _bundles() -> tuple[bytes, ...]:
    """Bundles of any envelopes at all: what the records say is not this parser's."""
    one, *others = (dsse.parse_own(raw) for raw in _records())
    make: Callable[..., object] = resolve("grants.bundle.make")
    render = resolve("grants.bundle.render")
    return tuple(bytes(render(make(one, tuple(some)))) for some in ((), others[:1], others[:3]))  # type: ignore[call-overload]  # `render` gives bytes


def _decisions() -> tuple[bytes, ...]:
    granted = decision.Decision(
        version=1, sequence=7, at=NOW, gate="keyturn://acme.example/gate/release", outcome="granted", approvers=("bob",)
    )
    refused = msgspec.structs.replace(
        granted, outcome="refused", kind="refused", code="no", reasons=(decision.Why(code="no", text="why"),), unsaid=2
    )
    return decision.render(granted), decision.render(refused)


def _commit(raw: bytes) -> object:
    """A commit object under its own id, of either length."""
    digits = 64 if raw.startswith(b"tree " + b"0" * 64) else 40
    return git_commit.parse(raw, commit=git_commit.object_id("commit", raw, digits=digits))


def _orders() -> tuple[bytes, ...]:
    made = [
        release_order.ReleaseOrder(
            bundle=msgspec.Raw(raw), model=str(artifact("model")), size=42, as_of=NOW, path=path, version=1
        )
        for raw, path in zip(_bundles(), (None, "/srv/models", None), strict=True)
    ]
    return tuple(release_order.render(one) for one in made)


def _answers() -> tuple[bytes, ...]:
    said = gate_answer.GateObeys(
        lab="acme.example",
        gate="keyturn://acme.example/gate/release",
        key=make_key("gate").public.keyid,
        record="ab" * 32,
        size=7,
        acted=True,
        signed_at=NOW,
    )
    return (dsse.render(dsse_signing.sign(gate_answer.make(said), make_key("gate"))),)


def _questions() -> tuple[bytes, ...]:
    gate = "keyturn://acme.example/gate/gpu1"
    some = carried.Question(version=1, gate=gate, size=7, checkin=b"{}", records=(b"{}",), missing=("ab" * 32,))
    return (carried.render_question(some),)


def _log_parts() -> tuple[bytes, ...]:
    some = log_part.LogPart(start=7, note=b"n", leaves=(b"l",), envelopes=(b"{}",))
    return (log_part.render(some),)


def _carried() -> tuple[bytes, ...]:
    gate, leaves = "keyturn://acme.example/gate/gpu1", tuple(_chain().leaves[:2])
    some = carried.Answer(
        version=1, gate=gate, checkin="ab" * 32, start=5, note=b"note", leaves=leaves, envelopes=(b"{}",)
    )
    return (carried.render_answer(some),)


def _entries() -> tuple[bytes, ...]:
    said = gate_entry.GateEntry(
        lab="acme.example",
        gate="keyturn://acme.example/gate/main",
        key=make_key("gate").public.keyid,
        role="kt_" + "0" * 32,
        certificate="-----BEGIN CERTIFICATE-----",
        address="db.acme.example",
        port=5432,
        database="main",
        ends_at=NOW,
        signed_at=NOW,
    )
    return (dsse.render(dsse_signing.sign(gate_entry.make(said), make_key("gate"))),)


def _negatives() -> tuple[bytes, ...]:
    world = make_world()
    asked = world.ask()
    made = (world.deny(asked, "bob"), world.revoke(asked, "ada"), world.suspend("bob", target_member="dan"))
    return tuple(map(dsse.render, made))


def _draft_files() -> dict[str, bytes]:
    made = _chain().lab
    root = draft.RootDraft.of(made.history.root)
    return draft.Draft(root, made.contents).render()


def _drafts() -> tuple[bytes, ...]:
    return tuple(_draft_files().values())


def _draft(raw: bytes) -> object:
    good = _draft_files()
    name = sorted(good)[len(raw) % len(good)]
    return draft.Draft.parse({**good, name: raw})


def _acceptances() -> tuple[bytes, ...]:
    key = make_key("eve")
    acceptance = enrolment.Acceptance(
        lab="acme.example",
        nonce="0" * 32,
        invitation=Sha256("1" * 64),
        member="eve",
        name="Eve",
        member_keys=(AcceptedKey(key=Credential(key.public, "software").enrolled),),
        trust_key=make_key("eve trust").public.text,
        signed_at=NOW,
    )
    return (enrolment.acceptance_payload(acceptance),)


def _invitations() -> tuple[bytes, ...]:
    common = {"lab": "acme.example", "nonce": "0" * 32, "until": NOW}
    human = enrolment.Invitation(member="eve", kind="human", groups=("research",), signs_trust=True, **common)  # type: ignore[arg-type]  # a dict of both
    agent = enrolment.Invitation(member="eve+bot", kind="agent", responsible=("ada",), **common)  # type: ignore[arg-type]  # a dict of both
    return enrolment.render_invitation(human), enrolment.render_invitation(agent)


def _contents(raw: bytes) -> object:
    """`raw` in place of each target file in turn: whatever its name, it is refused by name or read."""
    good = render_contents(_chain().lab.contents)
    name = sorted(good)[len(raw) % len(good)]
    return resolve("trust.targets.parse_contents")({**good, name: raw}, lab="acme.example")


STEP = (
    b'version = 1\nname = "train"\nbuild_type = "train"\ncommand = ["python", "/in/code/train.py"]\n'
    b'[[inputs]]\nname = "data"\nsource = "../data"\ndigest = "from-step:ingest/data"\nmount = "/in/data"\n'
    b'[[outputs]]\nname = "model"\npath = "/out/model"\n[sandbox]\nruntime = ["/usr"]\ntimeout_s = 60\n'
)
SAFETENSORS = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}'
WITNESS = b'version = 1\nname = "north"\n[logs]\n"log.acme.example" = "%s"\n' % LOG_KEY.public.text.encode()
DATABASE_ENTRY = b'{"role": "kt_0", "signed": "{}"}'
HELD_GRANT = (
    b'{"account":"ada","bastion":"","ends_at":2,"identity":"/proc/7/fd/3","known_hosts":"","request":"req-%b","version":1}'
    % (b"ab" * 16)
)
HOST_SESSION = (
    b'{"account":"ada","asked_at":1,"boot":"00000000-0000-0000-0000-000000000000","cgroups":["/a"],"digest":"%b",'
    b'"ends_at":2,"how":"grant","key":"AAAA","pid":7,"started":9,"version":1}' % (b"ab" * 32)
)
HOST_GATE = (
    b'version = 1\nname = "gpu1"\nkind = "host"\nresource = "keyturn://acme.example/gate/gpu1"\n'
    b'service = "http://x"\npinned_root = "%b"\nmode = "enforce"\n'
    b'[host]\nuri = "keyturn://acme.example/host/gpu1"\nuser = "keyturn-host"\naccounts = ["ada"]\n' % (b"ab" * 32)
)
GATE = (
    b'version = 1\nname = "release"\nkind = "release"\nresource = "keyturn://acme.example/gate/release"\n'
    b'pinned_root = "%s"\nlog_age_max_s = 600\nmode = "enforce"\n[release]\nmodels = ["/srv/models"]\n' % (b"a" * 64)
)
BASTION_GATE = (
    b'version = 1\nname = "front"\nkind = "bastion"\nresource = "keyturn://acme.example/gate/front"\nservice = "https://k"\n'
    b'pinned_root = "%s"\nmode = "enforce"\n[bastion]\nlisten = "0.0.0.0"\nport = 2222\n'
    b'[[bastion.hosts]]\ngate = "keyturn://acme.example/gate/gpu1"\naddress = "gpu1"\nhost_key = "ssh-ed25519 AAAA"\n'
    % (b"a" * 64)
)
RECORDING_HEAD = (
    b'keyturn-recording-v1\n{"account":"ada","begun_at":1,"commitment":"%b","gate":"keyturn://acme.example/gate/front",'
    b'"host":"keyturn://acme.example/gate/gpu1","lab":"acme.example","quorum":2,"request":"%b","resource":"keyturn://acme.example/host/gpu1","shares":['
    b'{"holder":"carol","key":"%b","sealed":"AAAA"},{"holder":"dan","key":"%b","sealed":"AAAA"}],"targets_version":1,"version":1,"what":"shell"}\n'
    % ((b"ab" * 32,) * 4)
)
OWN_GATE = (
    b'version = 1\nname = "vault"\nkind = "local"\nresource = "keyturn://acme.example/gate/vault"\npinned_root = "%s"\n'
    b'mode = "enforce"\n[socket]\npath = "/run/vault.sock"\ngroup = "ask"\n[doors.rotate]\naction = "procedure:run"\n'
    b'resource = "keyturn://acme.example/procedure/rotate"\nusers = ["backup", "1004"]\n' % (b"a" * 64)
)
OPENED_SHARE = b'{"holder":"carol","recording":"%b","request":"%b","sealed":"AAAA","version":1}' % ((b"ab" * 32,) * 2)
POSTGRES_GATE = (
    b'version = 1\nname = "main"\nkind = "postgres"\nresource = "keyturn://acme.example/gate/main"\nservice = "https://k"\n'
    b'pinned_root = "%s"\nmode = "enforce"\n[database]\nuri = "keyturn://acme.example/db/main"\nname = "main"\n'
    b'address = "db"\n[actions."db:read"]\ntables = ["SELECT"]\n' % (b"a" * 64)
)
BUILDER = b'version = 1\nname = "b"\nlab = "acme.example"\nroot = "%s"\nwork = ["/w"]\nruntime = ["/usr"]\n' % (
    b"a" * 64
)

NOTIFY = (
    b'version = 1\nroot = "%s"\n[[receivers]]\nname = "bob"\nmember = "bob"\nurl_env = "X"\n'
    b'[[escalation]]\nafter_s = 60\ngroup = "security"\n'
    b'[[away]]\nmember = "bob"\ndeputy = "eve"\nuntil = 2026-12-31T00:00:00Z\n' % (b"a" * 64)
)
LOGIN = (
    b'version = 1\n[tokens]\nissuer = "https://id.example"\naudience = "k"\nalgorithms = ["ES256"]\nclock_skew_s = 60\n'
    b'member_claim = "email"\n[tokens.members]\n"ada@example" = "ada"\n[certificates]\ngate = "%s"\n'
    b'[proxy]\nsecret_file = "s"\n' % (b"a" * 64)
)
KEPT_CERTIFICATE = b'{"version":1,"service":"https://k.example","certificate_file":"/c","key_file":"/k"}'
KEPT_LOGIN = (
    b'{"version":1,"service":"https://k.example","issuer":"https://id.example","client":"keyturn","audience":"k",'
    b'"scope":"openid","access_token":"a.b.c","expires_at":1790000000,"refresh_token":"r"}'
)
TOKENS = b'{"access_token":"a.b.c","token_type":"Bearer","expires_in":300,"refresh_token":"r"}'
DEVICE_CODE = b'{"device_code":"d","user_code":"ABCD-EFGH","verification_uri":"https://id.example/device","expires_in":600,"interval":5}'
TOLD = (
    b'{"requests":{"ab":{"beneficiary":"ada","requester":"ada","seen_at":1,"told":["asked"],"what":"x of y"}},'
    b'"suspensions":{"cd":["bob"]}}'
)


def _batch() -> bytes:
    records = _records()[:3]
    return batch.render(0, records, tuple(leaf.render(leaf_of(raw)) for raw in records), (ROOT, ROOT))


def _redigested(raw: bytes) -> object:
    """A batch by somebody who can write to the log's disk: its digest is always right."""
    return batch.parse(raw[:-32] + hashlib.sha256(raw[:-32]).digest())


def _order() -> bytes:
    return msgspec.json.encode(
        Order(request=_records()[0], step_file=STEP, base="/srv/work", destination="/srv/out", criteria=b"{}")
    )


def _authzen() -> tuple[bytes, bytes]:
    asked = {
        "subject": {"type": "member", "id": "ada"},
        "action": {"name": "model:release"},
        "resource": {"type": "model", "id": "keyturn://acme.example/model/aurora"},
    }
    denial = {"evaluation_id": "1790000600.00.00", "expires_at": "2026-09-21T13:36:40Z"}
    approved = {"context": {"approval": {"id": "req-" + "a" * 32}}}
    signed = {"context": {"signed_request": base64.b64encode(_records()[0]).decode()}, "denial": denial}
    return msgspec.json.encode(asked | approved), msgspec.json.encode(asked | signed)


def _message(raw: bytes) -> object:
    """The body of any request that is JSON: read as whichever of them it is, and refused when it is none."""
    found, refused = [], []
    for kind in (Order, Evaluation, Submission):
        try:
            found.append(resolve("adapters.over_http.builder_over_http.decode")(raw, kind, what="message"))
        except Malformed as err:
            refused.append(err)
    if not found:
        raise refused[0]
    return found


def _error() -> bytes:
    refused = Refused("a-b", "no", reasons=(("a-b", "one"), ("c-d", "two")), hint="keyturn up")
    return errors_over_http.render(errors_over_http.of(refused))


def _raised(raw: bytes) -> object:
    """What a client makes of any answer at all."""
    said = errors_over_http.parse(raw)
    return None if said is None else errors_over_http.as_raised(said)


def _text(name: str) -> Callable[[bytes], object]:
    return lambda raw: resolve(name)(raw.decode("utf-8", "surrogateescape"))


def _made() -> Iterator[Target]:
    def own(
        name: str,
        *seeds: bytes,
        lazy: Callable[[], tuple[bytes, ...]] | None = None,
        call: Callable[[bytes], object] | None = None,
        render: str = "",
        refusals: tuple[type[KeyturnError], ...] = (Malformed,),
    ) -> Iterator[Target]:
        back = resolve(render) if render else None
        yield Target(
            name,
            lazy or (lambda: seeds),
            call or resolve(name),
            None if back is None else (lambda value: bytes(back(value))),  # type: ignore[call-overload]  # every `render` gives bytes
            refusals,
        )

    yield from own("formats.records.parse", lazy=lambda: (*_records(), *_each_kind_of_ours()))
    holders = (SshHolder(make_key("ssh"), "ssh:"), SshHolder(make_key("ssh")))
    blobs = [holder.blob(b"message") for holder in holders]
    keys = [sshsig.render_key(sshsig.parse(blob).key) for blob in blobs]
    inner = [sshsig.render_signature(sshsig.parse(blob).signature) for blob in blobs]
    passkey = Passkey(make_key("passkey"))
    yield from own("formats.sshsig.parse", *blobs, render="formats.sshsig.render")
    yield from own("formats.sshsig.parse_key", *keys, render="formats.sshsig.render_key")
    yield from own("formats.sshsig.parse_signature", *inner, render="formats.sshsig.render_signature")
    yield from own("formats.webauthn.parse", passkey.sign_record(b"message"), render="formats.webauthn.render")
    yield from own("formats.webauthn.parse_authenticator_data", passkey.answer(b"message").authenticator_data)
    yield from own("formats.fido_metadata.parse", lazy=lambda: (FidoMetadata().blob(),))
    yield from own("formats.dsse.parse_own", lazy=_envelopes, render="formats.dsse.render")
    yield from own("formats.dsse.parse_foreign", lazy=_envelopes)
    yield from own("formats.leaf.parse", lazy=lambda: _chain().leaves, render="formats.leaf.render")
    yield from own("formats.outside_statement.parse", lazy=_statements)
    yield from own("formats.outside_statement.parse_summary", lazy=lambda: _payloads_of_gates()[1:])
    yield from own("formats.outside_statement.parse_model", MODEL_SIGNATURE)
    yield from own("formats.outside_statement.parse_files", MODEL_SIGNATURE)
    yield from own("app.custody.run_step.read_receipt", RECEIPT)
    yield from own("app.custody.opened_files.parse", OPENED, render="app.custody.opened_files.render")
    yield from own("formats.provenance.read", lazy=lambda: _payloads(b"https://slsa.dev/provenance/v1"))
    yield from own(
        "formats.test_result.read", lazy=lambda: _payloads(b"https://in-toto.io/attestation/test-result/v0.1")
    )
    yield from own(
        "formats.trust_version.parse", lazy=lambda: _chain().lab.containers, render="formats.trust_version.render"
    )
    yield from own(
        "formats.enrolment.parse_invitation", lazy=_invitations, render="formats.enrolment.render_invitation"
    )
    yield from own("formats.enrolment.parse_acceptance", lazy=_acceptances)
    yield from own("formats.note.parse", lazy=lambda: (_note(),), render="formats.note.render")
    yield from own("formats.note.parse_signature_lines", lazy=lambda: (_note().partition(b"\n\n")[2],))
    yield from own(
        "formats.checkpoint.parse_body",
        checkpoint.render_body(Checkpoint("log.acme.example", 0, hashlib.sha256(b"").digest())),
        checkpoint.render_body(Checkpoint("log.acme.example", 2**53 - 1, ROOT)),
        render="formats.checkpoint.render_body",
    )
    yield from own(
        "formats.cosignature.parse",
        cosignature.render(Cosignature(NOW, bytes(64))),
        render="formats.cosignature.render",
    )
    yield from own(
        "formats.add_checkpoint.parse",
        lazy=lambda: (add_checkpoint.render(AddCheckpoint(3, (ROOT, ROOT), note.parse(_note()))),),
        render="formats.add_checkpoint.render",
    )
    yield from own("formats.tlog_proof.parse", lazy=_proofs, render="formats.tlog_proof.render")
    yield from own(
        "formats.tile.parse_tile",
        tile.render_tile((ROOT,) * 3),
        call=lambda raw: tile.parse_tile(raw, width=3),
        render="formats.tile.render_tile",
    )
    yield from own(
        "formats.tile.parse_bundle",
        tile.render_bundle((b"one", b"", b"three")),
        call=lambda raw: tile.parse_bundle(raw, width=3),
        render="formats.tile.render_bundle",
    )
    yield from own(
        "adapters.mlflow_store.flat_yaml",
        b'artifact_uri: file:///a\nsource: \'{"uri": "a\n  b"}\'\nstart_time: 17\ntags:\n  mlflow.user: "a\\n"\n',
        call=_text("adapters.mlflow_store.flat_yaml"),
    )
    yield from own("formats.safetensors.parse", SAFETENSORS, call=lambda raw: safetensors.parse(raw, body_bytes=8))
    yield from own("formats.git_commit.parse", COMMIT, call=_commit)
    yield from own("formats.manifest.parse", lazy=lambda: (_manifest(),), render="formats.manifest.render")
    yield from own("formats.pack.parse", lazy=lambda: (_pack(),), refusals=(Malformed, Tampered))
    yield from own(
        "custody.pack_index.parse",
        lazy=lambda: (_pack_index(),),
        render="custody.pack_index.render",
    )
    yield from own("trust.metadata.parse_root", lazy=lambda: (_chain().lab.root_json,), refusals=(Malformed, Refused))
    yield from own(
        "trust.metadata.parse_targets_metadata",
        lazy=_targets_metadata,
        refusals=(Malformed, Refused),
    )
    yield from own(
        "trust.targets.parse_contents",
        lazy=lambda: tuple(render_contents(_chain().lab.contents).values()),
        call=_contents,
        refusals=(Malformed, Refused),
    )
    yield from own(
        "config.lab.parse", lab.render(lab.LabConfig("acme.example", None, {"n": "http://n"})), refusals=(Usage,)
    )
    yield from own("config.person.parse", person.render(person.PersonConfig("ada", "/srv", {})), refusals=(Usage,))
    yield from own("config.step.parse", STEP, refusals=(Usage,))
    yield from own(
        "adapters.postgres.place.StorePlace.parse",
        b"postgresql://keyturn@db.acme.example:5432/keyturn?sslmode=verify-full&host=/run",
        call=_text("adapters.postgres.place.StorePlace.parse"),
        refusals=(Usage,),
    )
    yield from own("config.team.parse", b"member,kind,groups\nbob,human,a b\n", refusals=(Usage,))
    yield from own("config.builder.parse", builder.render(builder.parse(BUILDER)), refusals=(Usage,))
    yield from own(
        "crypto.signers.SoftwareKey.parse",
        make_key("x").render(passphrase=None),
        call=lambda raw: resolve("crypto.signers.SoftwareKey.parse")(raw, passphrase=None),
        refusals=(Malformed, Refused),
    )
    yield from own("config.witness.parse", WITNESS, refusals=(Usage,))
    yield from own("config.bastion_gate.parse", BASTION_GATE, refusals=(Usage, Malformed))
    yield from own("formats.sealed_recording.parse_head", RECORDING_HEAD)
    yield from own("formats.opened_share.parse", OPENED_SHARE, render="formats.opened_share.render")
    yield from own("formats.watch.parse", lazy=lambda: (_watch(),))
    yield from own("formats.standing_acceptance.parse", lazy=lambda: (_acceptance(),))
    yield from own("config.postgres_gate.parse", POSTGRES_GATE, refusals=(Usage, Malformed))
    yield from own("config.own_gate.parse", OWN_GATE, refusals=(Usage, Malformed))
    yield from own("config.release_gate.parse", GATE, refusals=(Usage, Malformed))
    yield from own("config.host_gate.parse", HOST_GATE, refusals=(Usage, Malformed))
    yield from own("formats.host_session.parse", HOST_SESSION, render="formats.host_session.render")
    yield from own(
        "adapters.keys.session_certificates.read_request",
        lazy=lambda: (request_for(make_key("session")),),
        refusals=(Malformed, Refused),
    )
    yield from own("adapters.files.held_grants.parse", HELD_GRANT)
    yield from own("adapters.over_http.database_gate_over_http.parse", DATABASE_ENTRY)
    yield from own("formats.gate_answer.parse", lazy=_answers)
    yield from own("formats.carried.parse_question", lazy=_questions, render="formats.carried.render_question")
    yield from own("formats.log_part.parse", lazy=_log_parts, render="formats.log_part.render")
    yield from own("formats.carried.parse_answer", lazy=_carried, render="formats.carried.render_answer")
    yield from own("formats.gate_entry.parse", lazy=_entries)
    yield from own("grants.pushed.read_pushed", lazy=_negatives, refusals=(Malformed, Refused))
    yield from own("config.notify.parse", notify.render(notify.parse(NOTIFY)), refusals=(Usage,))
    yield from own("config.login.parse", LOGIN, refusals=(Usage,))
    yield from own("adapters.login.login_files.parse", KEPT_LOGIN)
    yield from own("adapters.login.client_certificate.parse", KEPT_CERTIFICATE)
    yield from own("adapters.login.login_files.parse_tokens", TOKENS)
    yield from own("adapters.login.device_login.parse_code", DEVICE_CODE)
    yield from own("app.notices.tell_people.parse_told", TOLD, render="app.notices.tell_people.render_told")
    yield from own("grants.bundle.parse", lazy=_bundles, render="grants.bundle.render")
    yield from own("formats.release.read_release", lazy=lambda: (release.make_release(_release()),))
    yield from own("formats.release.read_summary", lazy=lambda: (release.make_summary(_summary()),))
    yield from own(
        "formats.pack_members.parse_frontier",
        lazy=lambda: (pack_members.render_frontier(7, (ROOT,) * 3),),
    )
    yield from own(
        "formats.pack_members.parse_leaves",
        lazy=lambda: (pack_members.render_leaves(_chain().leaves),),
    )
    yield from own(
        "formats.pack_members.parse_proofs",
        lazy=lambda: (pack_members.render_proofs((ROOT, b"", ROOT + ROOT)),),
        call=lambda raw: pack_members.parse_proofs(raw, count=3),
        render="formats.pack_members.render_proofs",
    )
    yield from own("formats.oci_image.parse", *_images())
    yield from own("formats.oci_image.parse_layout", oci_image.LAYOUT)
    yield from own("standing.ledger.parse", lazy=_ledgers, render="standing.ledger.render")
    yield from own("formats.decision.parse", lazy=_decisions, render="formats.decision.render")
    yield from own("formats.release_order.parse", lazy=_orders, render="formats.release_order.render")
    yield from own("formats.records.read", lazy=lambda: (*_chain().records, *_each_kind()))
    yield from own("formats.records.open_record", lazy=lambda: (*_chain().records, *_each_kind()))
    yield from own("trust.draft.Draft.parse", lazy=_drafts, call=_draft, refusals=(Malformed, Refused))
    yield from own("crypto.keys.PublicKey.from_spki", make_key("x").public.spki)
    yield from own("adapters.log_on_disk.batch.parse", lazy=lambda: (_batch(),), call=_redigested, refusals=(Tampered,))
    yield from own("adapters.log_on_disk.batch.parse_header", lazy=lambda: (_batch()[:64],))
    yield from own("adapters.over_http.errors_over_http.parse", lazy=lambda: (_error(),), call=_raised)
    yield from own(
        "adapters.over_http.builder_over_http.decode",
        lazy=lambda: (_order(), *_authzen()),
        call=_message,
    )
    for name, text in (
        ("crypto.keys.PublicKey.from_text", make_key("x").public.text),
        ("formats.uri.Uri.parse", "keyturn://acme.example/model/aurora/v1"),
        ("formats.input_source.parse", "git+https://git.example/train@" + "a" * 40 + "#subdirectory=src"),
        ("formats.oci_image.parse_platform", "linux/arm64/v8"),
        ("formats.digest.ArtifactDigest.parse", "dirHash:" + "a" * 64),
        ("formats.digest.parse_sha256", "a" * 64),
        ("formats.provenance.BuilderId.parse", "keyturn://acme.example/builder/main"),
        ("formats.tile.TilePath.parse", "tile/0/x001/067.p/8"),
        ("formats.posix_time.posix", "2026-11-24T12:00:00Z"),
        ("app.custody.open_release.read_label", "pack-index/42/1790000000"),
        ("policy.quorum.Quorum.parse", "1 weights-owners + 2 security"),
    ):
        yield from own(name, text.encode(), call=_text(name), refusals=(Malformed, Refused))


TARGETS: tuple[Target, ...] = tuple(_made())
