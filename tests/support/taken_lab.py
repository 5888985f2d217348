"""A real lab that runs, and whose every key, file and port a test may take: founded, run and fed by the real command line.

Ada researches, Bob owns weights, Carol, Dan and Eve are security, and Ada's agent stands in the group `security` too. A model was
built by four tiny steps in the sandbox. Every member has a home of their own; `by` types commands as one of them.

What an attacker has is what `key`, `stolen` and `disk` give: the files themselves. Records that he makes go through `sign_as`,
which can lie about whose key signed.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from keyturn.adapters.clock import SystemClock, SystemEntropy, pause
from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.files.run_files import find
from keyturn.adapters.group_commit import Waiting
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.adapters.over_http.release_over_http import ReleaseOverHttp
from keyturn.app.custody.make_pack import order_of
from keyturn.app.custody.open_release import make_release_request, open_release, sign_release_request
from keyturn.app.custody.verify_pack import examine_pack
from keyturn.app.log.publish_checkpoint import confirm_with_witnesses
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.app.records.sign_record import about
from keyturn.bulk import manifest
from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.formats import access, dsse, leaf, records, statement
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.leaf import Leaf
from keyturn.formats.uri import Uri
from keyturn.grants import bundle as bundles
from keyturn.trust.roster import TrustState
from keyturn.wiring.log.log import LabLog, lab_log
from keyturn.wiring.log.witnesses import witnesses_of
from support.builders import RUNTIME
from support.commands import KEYTURN, error_of, keyturn, said_by
from support.processes import Process, running

__all__ = [
    "GATE",
    "KEYTURN",
    "LAB",
    "MODEL",
    "TakenLab",
    "authorization_of",
    "build",
    "code_of",
    "found",
    "relabelled",
    "serving",
    "sign",
]

LAB = "acme.example"
MODEL = Uri(LAB, "model", "tiny")
GATE = Uri(LAB, "gate", "release")
POLICY = """
@id("model-release") @quorum("1 weights-owners + 1 security") @pending_max("8h")
permit (principal in Group::"research", action == Action::"model:release", resource == Model::"tiny")
  when { context.custody.verified && context.custody.evaluated };
"""
RESOURCES = f'version = 1\n\n[[resources]]\nuri = "{MODEL}"\n'
STEPS = {
    "ingest": (
        {"source": ("../source", "$source")},
        "mkdir /out/train /out/heldout; cat /in/source/a.txt > /out/train/t; cat /in/source/b.txt > /out/heldout/t",
        ("train", "heldout"),
    ),
    "train": (
        {"train": ("../ingest/out/train", "from-step:ingest/train")},
        "mkdir /out/model; cat /in/train/t > /out/model/weights",
        ("model",),
    ),
    "evaluate": (
        {
            "model": ("../train/out/model", "from-step:train/model"),
            "heldout": ("../ingest/out/heldout", "from-step:ingest/heldout"),
        },
        'echo -n \'{\\"loss\\":\\"0.5\\"}\' > /out/measurement',
        ("measurement",),
    ),
    "package": (
        {
            "model": ("../train/out/model", "from-step:train/model"),
            "measurement": ("../evaluate/out/measurement", "from-step:evaluate/measurement"),
        },
        "mkdir /out/model; cat /in/model/weights > /out/model/weights; cat /in/measurement > /out/model/card",
        ("model",),
    ),
}


@dataclass
class TakenLab:
    """The lab at `place`, as its members use it and as its attackers find it."""

    place: Path

    # --- what honest people do ------------------------------------------------------------------------------------------

    @property
    def lab(self) -> Path:
        return self.place / "lab"

    def run(self, member: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Type a command as `member`."""
        return keyturn(*words, place=self.place, home=self.home(member), lab=self.lab)

    def by(self, member: str, *words: str | Path) -> Any:
        """Type a command that must succeed, and give what it said as JSON."""
        return said_by(self.run(member, *words, "--json"))

    def refused(self, member: str, *words: str | Path, status: int = 1) -> set[str]:
        """Type a command that must be refused, and give the codes of its error and its reasons."""
        error = error_of(self.run(member, *words, "--json"), status=status)
        return {error["code"], *(reason["code"] for reason in error.get("reasons", ()))}

    def releases(self, out: str) -> Path:
        """The honest way, from the first command to the last: a release by Ada, Bob and Carol, verified by somebody else."""
        request = self.by("ada", "release", "model", "--as", str(MODEL), "--reason", "it is good", "--yes")["request"]
        for member in ("bob", "carol"):
            self.by(member, "approve", request, "--reason", "agreed", "--yes")
        self.by("ada", "release", "model", "--request", request, "--out", out)
        self.by("nobody", "verify", "model", "--pack", out, "--root", "root.json")
        return self.place / out

    # --- what lies about for whoever takes something over ---------------------------------------------------------------

    def home(self, member: str) -> Path:
        return self.place / "homes" / member

    def key(self, member: str) -> SoftwareKey:
        """A member's key, from his laptop."""
        return read_key(self.home(member) / "keys" / "member.pem", passphrase=None)

    def trust_key(self, member: str) -> SoftwareKey:
        return read_key(self.home(member) / "keys" / "trust.pem", passphrase=None)

    def stolen(self, path: str) -> SoftwareKey:
        """A key of the service, a gate or the builder, from its disk."""
        return read_key(self.lab / path, passphrase=None)

    @property
    def root_json(self) -> bytes:
        return (self.place / "root.json").read_bytes()

    @property
    def log(self) -> LogOverHttp:
        return LogOverHttp(self.url("service"))

    def url(self, name: str) -> str:
        found = find(self.lab / "run", name)
        assert found is not None, name
        return found

    @contextmanager
    def disk(self) -> Iterator[LabLog]:
        """The service's disk: what is appended here passed no admission."""
        with lab_log(self.lab) as opened:
            log = opened.trust().log
            confirm_with_witnesses(opened.log, log=log, witnesses=witnesses_of(self.lab, log))
            yield opened

    def write(self, *raws: bytes, leaves: tuple[Leaf, ...] = ()) -> int:
        """Write records to the log on the service's disk, and wait until they are witnessed; gives the last one's index."""
        with self.disk() as opened:
            index = -1
            one = leaf.Leaf(kind="chk", record="0" * 64, envelope="0" * 64)
            for number, raw in enumerate(raws):
                one = leaves[number] if leaves else records.leaf_of(raw)
                index = opened.log.append_leaf(raw, one)
            self.witnessed(index, one)
        return index

    def write_texts(self, *entries: tuple[bytes, bytes]) -> int:
        """Write envelopes with any text as their leaf, also what the log has already; gives the last one's index."""
        with self.disk() as opened:
            assert isinstance(opened.log, LogOnDisk)
            waiting = [Waiting(envelope, os.urandom(32).hex(), text) for envelope, text in entries]
            return opened.log._group.submit_all(waiting)[-1]

    def witnessed(self, index: int, one: Leaf, *, deadline_s: float = 30) -> None:
        """Wait until the leaf at `index` is under a checkpoint of the quorum."""
        trust = self.trust
        await_witnessed(
            self.log,
            index=index,
            leaf=one,
            log=trust.log,
            limits=trust.limits,
            clock=SystemClock(),
            pause=pause,
            deadline_s=deadline_s,
        )

    @cached_property
    def trust(self) -> TrustState:
        """Version 1: no test publishes another one."""
        with lab_log(self.lab) as opened:
            return opened.trust()

    # --- records, by whoever has whatever key ---------------------------------------------------------------------------

    def sign_as(self, made: Any, subject: str, key: SoftwareKey, *, keyid: str | None = None) -> Envelope:
        """Sign a predicate with `key`; `keyid` is the lie about whose key it was."""
        envelope = dsse_signing.sign(statement.make(made, records.PREDICATE_TYPES[type(made)], about(subject)), key)
        return relabelled(envelope, keyid) if keyid is not None else envelope

    def ask(
        self, member: str = "ada", *, submit: bool = True, model: ArtifactDigest | None = None, **changed: Any
    ) -> Envelope:
        """A release request for the model, as `member` would make it; `changed` fields are signed with it."""
        made, raw = self._release_request(member, model or self.model)
        if changed:
            parsed = statement.parse(dsse.parse_own(raw).payload, AccessRequest, access.ACCESS_REQUEST)
            payload = statement.make(msgspec.structs.replace(made, **changed), access.ACCESS_REQUEST, parsed.subject)
            raw = dsse.render(dsse_signing.sign(payload, self.key(member)))
        if submit:
            self.submit(dsse.parse_own(raw))
        return dsse.parse_own(raw)

    def _release_request(self, member: str, model: ArtifactDigest) -> tuple[AccessRequest, bytes]:
        draft = open_release(
            self.log,
            root_json=self.root_json,
            pinned_sha256=sha256(self.root_json),
            model=model,
            resource=MODEL,
            now=SystemClock().now(),
        )
        key = self.key(member)
        made = make_release_request(
            draft,
            requester=member,
            key=key.public,
            permit="model-release",
            resource=MODEL,
            gate=GATE,
            justification="it is good",
            ticket="",
            duration_s=8 * 3600,
            nonce=SystemEntropy().nonce(),
            now=SystemClock().now(),
        )
        return made, sign_release_request(draft, made, key)

    @property
    def model(self) -> ArtifactDigest:
        return manifest.make(self.place / "model").identity

    def approval(self, asked: Envelope, member: str, *, key: SoftwareKey | None = None, **changed: Any) -> Envelope:
        """An approval of `asked` that names `member` and his key, signed by `key` (his own unless said)."""
        own = self.key(member).public.keyid
        now = int(time.time())
        values: dict[str, Any] = {
            "lab": LAB,
            "nonce": os.urandom(16).hex(),
            "approver": member,
            "key": own,
            "request": asked.record_digest,
            "trust_version": 1,
            "decision": "approve",
            "reason": "agreed",
            "signed_at": now,
            "expires_at": now + 8 * 3600,
            **changed,
        }
        made = HumanAuthorization(**values)
        return self.sign_as(made, made.request, key or self.key(member), keyid=own if key else None)

    def negative(
        self, kind: type, member: str, subject: str, *, key: SoftwareKey | None = None, **fields: Any
    ) -> Envelope:
        """A revocation, suspension or lift by `member`."""
        own = self.key(member).public.keyid
        values = {"lab": LAB, "nonce": os.urandom(16).hex(), "member": member, "key": own, "reason": "because"}
        made = kind(**{**values, "signed_at": int(time.time()), **fields})
        return self.sign_as(made, subject, key or self.key(member), keyid=own if key else None)

    def submit(self, *envelopes: Envelope) -> None:
        """Give records to the service, and wait until the last one is witnessed."""
        log = self.log
        placed = [(log.append(raw), records.leaf_of(raw)) for raw in map(dsse.render, envelopes)]
        self.witnessed(*placed[-1])

    def release(self, asked: Envelope, *given: Envelope, url: str | None = None, **changed: Any) -> bytes:
        """Go to the gate with a bundle; `changed` fields of the order."""
        order = order_of(bundles.make(asked, given), path=None)
        if changed:
            order = msgspec.json.encode({**msgspec.json.decode(order), **changed}, order="sorted")
        return ReleaseOverHttp(url or self.url("gate-release")).release(order)

    def judged(self, pack: bytes) -> set[str]:
        """The codes of everything that an outsider finds wrong with `pack`."""
        found = examine_pack(pack, root_json=self.root_json, pinned_sha256=sha256(self.root_json))
        return {code for code, _ in found.failures}


def sign(payload: bytes, key: SoftwareKey, *, keyid: str | None = None) -> Envelope:
    """Sign `payload`; `keyid` is the lie about whose key it was."""
    envelope = dsse_signing.sign(payload, key)
    return envelope if keyid is None else relabelled(envelope, keyid)


def authorization_of(envelope: Envelope) -> HumanAuthorization:
    """What an approval says."""
    return statement.parse(envelope.payload, HumanAuthorization, access.HUMAN_AUTHORIZATION).predicate


def relabelled(envelope: Envelope, keyid: str) -> Envelope:
    """The envelope with its first signature under another key id."""
    lie = msgspec.structs.replace(envelope.signatures[0], keyid=keyid)
    return msgspec.structs.replace(envelope, signatures=(lie, *envelope.signatures[1:]))


def code_of(attempt: Callable[[], object]) -> set[str]:
    """The codes by which `attempt` is refused; fails when it goes through."""
    try:
        answer = attempt()
    except KeyturnError as err:
        return {err.code, *(code for code, _ in getattr(err, "reasons", ()))}
    raise AssertionError(f"expected a refusal, and it went through: {str(answer)[:300]}")


def found(place: Path) -> TakenLab:
    """Found the lab, up to the point where its processes can run."""
    lab = TakenLab(place)
    words = ("--profile", "demo", "--name", LAB, "--member", "ada", "--full-name", "Ada", "--group", "research")
    lab.by("ada", "init", "lab", *words)
    members = {
        "bob": ("--new-group", "weights-owners"),
        "carol": ("--new-group", "security"),
        "dan": ("--group", "security"),
        "eve": ("--group", "security"),
        "ada+coder": ("--kind", "agent", "--responsible", "ada", "--group", "security"),
    }
    for member, more in members.items():
        lab.by("ada", "trust", "invite", member, *more)
        lab.by(member, "trust", "accept", f"{member}.invitation.json", "--full-name", member)
    draft = lab.lab / "trust" / "draft"
    (draft / "policy").mkdir(exist_ok=True)
    (draft / "policy" / "main.cedar").write_text(POLICY)
    (draft / "resources.toml").write_text(RESOURCES)
    lab.by("ada", "trust", "propose", *(w for m in members for w in ("--acceptance", f"{m}.acceptance.json")))
    for member in ("ada", "bob"):
        lab.by(member, "trust", "sign", "--yes")
    lab.by("ada", "trust", "publish")
    root = (lab.lab / "trust" / "root.json").read_bytes()
    (place / "root.json").write_bytes(root)
    for member in ("ada", *members):
        lab.by(member, "trust", "pin", hashlib.sha256(root).hexdigest())
    (place / "work").mkdir()
    runtime = (w for path in json.loads(RUNTIME) for w in ("--runtime", path))
    lab.by("ada", "builder", "init", "--work", place / "work", *runtime, "--private", place / "homes")
    return lab


@contextmanager
def serving(lab: TakenLab) -> Iterator[Process]:
    """Run the lab's processes with `keyturn up`."""
    environment = {"KEYTURN_HOME": str(lab.home("ada")), "KEYTURN_LAB": str(lab.lab)}
    with ExitStack() as stack:
        process = stack.enter_context(running([*KEYTURN, "up"], cwd=lab.place, environment=environment))
        process.wait_for_line("ready")
        stack.callback(process.wait, deadline_s=30)
        stack.callback(process.signal, signal.SIGINT)
        yield process


def build(lab: TakenLab, *, by: Callable[..., Any] | None = None) -> None:
    """Make the model: four steps, each in the sandbox. `by` types commands, as `TakenLab.by` does."""
    by = by or lab.by
    work = lab.place / "work"
    (work / "source").mkdir()
    (work / "source" / "a.txt").write_text("to train on\n")
    (work / "source" / "b.txt").write_text("held out\n")
    source = str(manifest.make(work / "source").identity)
    for name, (inputs, script, outputs) in STEPS.items():
        criteria = ""
        if name == "evaluate":
            words = ("--metric", "loss", "--comparison", "at-most", "--threshold", "1", "--reason", "good enough")
            on = ("--on", work / "ingest" / "out" / "heldout")
            criteria = by("carol", "step", "criteria", str(MODEL), *words, *on, "--yes")["digest"]
        text = f'version = 1\nname = "{name}"\nbuild_type = "{name}"\ncommand = ["sh", "-c", "{script}"]\n'
        text += f'criteria = "{criteria}"\n' if criteria else ""
        for mount, (path, digest) in inputs.items():
            text += f'[[inputs]]\nname = "{mount}"\nsource = "{path}"\n'
            text += f'digest = "{digest.replace("$source", source)}"\nmount = "/in/{mount}"\n'
        for output in outputs:
            text += f'[[outputs]]\nname = "{output}"\npath = "/out/{output}"\n'
        text += f"[sandbox]\nruntime = {RUNTIME}\ntimeout_s = 30\n"
        (work / name).mkdir()
        (work / name / "STEP.toml").write_text(text)
        by("ada", "run", work / name / "STEP.toml", "--yes")
    (work / "package" / "out" / "model").rename(lab.place / "model")
