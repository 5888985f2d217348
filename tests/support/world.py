"""A lab with a log in memory and everybody's keys: make records, log them, witness them, and see them as a gate.

world = make_world()
asked = world.ask(); world.approve(asked, "bob"); world.approve(asked, "eve")
verify_grant(world.bundle(asked), world.view(), now=world.now, gate=world.gate, session_key=world.session.public, facts=NO_FACTS)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.crypto import dsse_signing
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Unavailable
from keyturn.formats import dsse, note, records, statement
from keyturn.formats.access import AccessRequest, AccessUse, BreakGlass, GateCheckin, HumanAuthorization
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.leaf import Kind
from keyturn.formats.negatives import Lift, Revocation, Suspension
from keyturn.formats.note import Note
from keyturn.formats.review import Review
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.tombstone import Tombstone
from keyturn.formats.uri import Uri
from keyturn.grants import bundle as bundles
from keyturn.grants.bundle import Bundle
from keyturn.grants.view import GateView, refresh
from keyturn.tlog import signing
from keyturn.tlog.frontier import Frontier
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import SigningPage
from support.authenticators import ORIGIN
from support.hidden import hidden_leaf
from support.labs import NOW, Lab, make_key, make_lab

__all__ = ["BREAK_GLASS", "POLICY", "Witnessed", "World", "make_world"]

POLICY = """
@id("weights-read") @quorum("1 weights-owners + 1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"weights:read", resource in Model::"aurora");

@id("release") @quorum("2 security") @pending_max("1d")
permit (principal in Group::"research", action == Action::"model:release", resource in Model::"aurora");
"""

BREAK_GLASS = (
    POLICY
    + """
@id("repair") @quorum("1 security") @duration_max("30m") @pending_max("30m") @breakglass
permit (principal in Group::"research", action == Action::"weights:read", resource);
"""
)

P = TypeVar(
    "P",
    AccessRequest,
    AccessUse,
    CounterOffer,
    GateCheckin,
    HumanAuthorization,
    Lift,
    Review,
    Revocation,
    Suspension,
    Tombstone,
)


@dataclass
class World:
    """Mutable, for one test. `now` is the time of everything that is not told another."""

    lab: Lab
    now: int = NOW
    log: LogInMemory = field(default_factory=LogInMemory)
    made: int = 0
    held: dict[str, RecordSigner] = field(default_factory=dict)
    logged_containers: int = 1  # the root is pinned, and is in the log first

    def __post_init__(self) -> None:
        self.log.append(self.lab.containers[0])
        self.sync_trust()

    @property
    def gate(self) -> Uri:
        return self.lab.gate_uri("release")

    @property
    def session(self) -> SoftwareKey:
        return make_key("session")

    def sync_trust(self) -> None:
        """Log the trust versions that the lab has and the log has not."""
        for container in self.lab.containers[self.logged_containers :]:
            self.log.append(container)
        self.logged_containers = len(self.lab.containers)

    def publish(self, **changed: Any) -> None:
        """Publish the next targets version with what is given changed (`Lab.publish`), and log it."""
        self.lab = self.lab.publish(**changed)
        self.sync_trust()

    def key(self, member: str) -> RecordSigner:
        """What `member` signs with: the key in `held`, or the software key of the lab."""
        return (
            self.held.get(member)
            or self.lab.member_keys.get(member)
            or self.lab.gate_keys.get(member)
            or make_key(member)
        )

    def nonce(self) -> str:
        self.made += 1
        return f"{self.made:032x}"

    @property
    def clock(self) -> WorldClock:
        """What a use case takes for its clock and its entropy."""
        return WorldClock(self)

    def sign(self, predicate: P, subject: str, *signers: RecordSigner) -> Envelope:
        payload = statement.make(
            predicate,
            records.PREDICATE_TYPES[type(predicate)],
            (Subject(digest=DigestSet.of(ArtifactDigest.parse(subject))),),
        )
        return dsse_signing.sign(payload, *(key for key in signers))

    def submit(self, envelope: Envelope) -> Envelope:
        self.log.append(dsse.render(envelope))
        return envelope

    def request(self, requester: str = "ada", **changed: object) -> AccessRequest:
        values: dict[str, object] = {
            "lab": self.lab.name,
            "nonce": self.nonce(),
            "requester": requester,
            "key": self.key(requester).public.keyid,
            "beneficiary": requester,
            "action": "weights:read",
            "resource": f"keyturn://{self.lab.name}/model/aurora",
            "permit": "weights-read",
            "gate": str(self.gate),
            "justification": "a look at the loss",
            "not_before": self.now,
            "start_by": self.now + 3600,
            "not_after": self.now + 7200,
            "duration_s": 3600,
            "trust_version": self.lab.history.targets_version,
            "session_key": self.session.public.text,
            **changed,
        }
        return AccessRequest(**values)  # type: ignore[arg-type]  # the table above, field by field

    def release(self, **changed: object) -> AccessRequest:
        more = {"action": "model:release", "permit": "release", "session_key": None, **changed}
        return self.request(**more)  # type: ignore[arg-type]  # as above

    def emergency(self, requester: str = "ada", **changed: object) -> AccessRequest:
        more = {
            "permit": "repair",
            "break_glass_at": self.now,
            "start_by": self.now + 1800,
            "not_after": self.now + 3600,
            "duration_s": 1800,
            **changed,
        }
        return self.request(requester, **more)

    def ask(self, made: AccessRequest | None = None, *, submit: bool = True) -> Envelope:
        made = made or self.request()
        envelope = self.sign(made, f"sha256:{Uri.parse(made.resource).digest}", self.key(made.requester))
        return self.submit(envelope) if submit else envelope

    def authorization(self, asked: Envelope, approver: str, **changed: object) -> Envelope:
        digest = asked.record_digest
        values: dict[str, object] = {
            "lab": self.lab.name,
            "nonce": self.nonce(),
            "approver": approver,
            "key": self.key(approver).public.keyid,
            "request": digest,
            "trust_version": self.lab.history.targets_version,
            "decision": "approve",
            "reason": "agreed",
            "signed_at": self.now,
            "expires_at": self.now + 7200,
            **changed,
        }
        made = HumanAuthorization(**values)  # type: ignore[arg-type]  # the table above, field by field
        return self.sign(made, f"sha256:{made.request}", self.key(approver))

    def approve(self, asked: Envelope, approver: str, **changed: object) -> Envelope:
        return self.submit(self.authorization(asked, approver, **changed))

    def deny(self, asked: Envelope, approver: str, **changed: object) -> Envelope:
        return self.approve(asked, approver, **{"decision": "deny", "reason": "not now", **changed})

    def by_member(
        self, kind: type[P], member: str, about: str, fields: dict[str, object], *, submit: bool = True
    ) -> Envelope:
        """A record of `kind` by `member`, about the digest `about`, with what every such record has and `fields` besides."""
        values = {
            "lab": self.lab.name,
            "nonce": self.nonce(),
            "member": member,
            "key": self.key(member).public.keyid,
            "signed_at": self.now,
            **fields,
        }
        made = kind(**values)  # type: ignore[arg-type]  # the table above, field by field
        envelope = self.sign(made, f"sha256:{about}", self.key(member))
        return self.submit(envelope) if submit else envelope

    def revoke(self, asked: Envelope, member: str, *, submit: bool = True, **changed: object) -> Envelope:
        fields = {"request": asked.record_digest, "reason": "enough", "until": self.now + 7200, **changed}
        return self.by_member(Revocation, member, str(fields["request"]), fields, submit=submit)

    def suspend(self, member: str, *, submit: bool = True, **changed: object) -> Envelope:
        target = changed.get("target_member") or changed.get("target_key") or changed.get("target_gate") or ""
        fields = {"reason": "laptop lost", "until": self.now + 3600, **changed}
        return self.by_member(Suspension, member, sha256(str(target).encode()), fields, submit=submit)

    def lift(self, suspension: Envelope, member: str, **changed: object) -> Envelope:
        fields = {"suspension": suspension.record_digest, "reason": "found again", **changed}
        return self.by_member(Lift, member, str(fields["suspension"]), fields)

    def use(
        self, asked: Envelope, *approvals: Envelope, gate: str = "release", submit: bool = True, **changed: object
    ) -> Envelope:
        values: dict[str, object] = {
            "lab": self.lab.name,
            "nonce": self.nonce(),
            "gate": str(self.lab.gate_uri(gate)),
            "key": self.lab.gate_keys[gate].public.keyid,
            "request": asked.record_digest,
            "approvals": tuple(sorted(one.record_digest for one in approvals)),
            "used_at": self.now,
            **changed,
        }
        made = AccessUse(**values)  # type: ignore[arg-type]  # the table above, field by field
        envelope = self.sign(made, f"sha256:{made.request}", self.lab.gate_keys[gate])
        return self.submit(envelope) if submit else envelope

    def offer(self, asked: Envelope, member: str, **changed: object) -> Envelope:
        offered = {"duration_s": 60, "reason": "a minute will do", "until": self.now + 7200}
        fields = {"request": asked.record_digest, **offered, **changed}
        return self.by_member(CounterOffer, member, asked.record_digest, fields)

    def glass_use(
        self,
        asked: Envelope,
        *,
        members: tuple[str, ...] = ("ada",),
        approvers: tuple[str, ...] = ("bob",),
        **changed: object,
    ) -> Envelope:
        """The use by break-glass that the gate logs for `asked`."""
        resource = changed.pop("resource", f"keyturn://{self.lab.name}/model/aurora")
        glass = BreakGlass(members=members, approvers=approvers, resource=str(resource))
        return self.use(asked, break_glass=glass, **changed)  # type: ignore[arg-type]  # fields of a use

    def review(self, use: Envelope, member: str, /, **changed: object) -> Envelope:
        fields = {"use": use.record_digest, "finding": "the disk was full, and is not any more", **changed}
        return self.by_member(Review, member, use.record_digest, fields)

    def tombstone(self, record: Envelope, member: str, *, submit: bool = True, **changed: object) -> Envelope:
        fields = {"record": record.record_digest, "ground": "consent-withdrawn", **changed}
        return self.by_member(Tombstone, member, str(fields["record"]), fields, submit=submit)

    def check_in(self, gate: str = "release", *, observes: bool = False) -> Sha256:
        made = GateCheckin(
            lab=self.lab.name,
            nonce=self.nonce(),
            gate=str(self.lab.gate_uri(gate)),
            key=self.lab.gate_keys[gate].public.keyid,
            signed_at=self.now,
            observes=observes,
        )
        uri = self.lab.gate_uri(gate)
        return self.submit(self.sign(made, f"sha256:{uri.digest}", self.lab.gate_keys[gate])).record_digest

    def hide(self, kind: Kind, *about: str, until: int | None = None) -> int:
        """Log a leaf whose envelope nobody has, as whoever took the log over can; gives its index."""
        self.made += 1
        made = hidden_leaf(kind, *about, number=self.made, until=until)
        return self.log.append_leaf(b"gone: %d" % self.made, made)

    def bundle(self, asked: Envelope, *given: Envelope) -> Bundle:
        return bundles.make(asked, given)

    def note(self, *, at: int | None = None, lab: Lab | None = None, frontier: Frontier | None = None) -> bytes:
        """The checkpoint of everything logged (or of `frontier`), cosigned by every witness at `at`."""
        lab = lab or self.lab
        frontier = frontier or self.log.settle()
        checkpoint = Checkpoint(lab.state.log.origin, frontier.size, frontier.root)
        signed = signing.sign_checkpoint(checkpoint, lab.log_key)
        lines = [
            signing.cosign(checkpoint, name=name, key=key, at=self.now if at is None else at)
            for name, key in lab.witness_keys.items()
        ]
        return note.render(Note(signed.text, (*signed.signatures, *lines)))

    def start(self, nonce_record: Sha256 | None, *, gate: str = "release") -> GateView:
        history = TrustHistory.start(self.lab.root_json, pinned_sha256=self.lab.root_sha256)
        return GateView.start(history, gate=self.lab.gate_uri(gate), nonce_record=nonce_record)

    def read_on(
        self, view: GateView, *, now: int | None = None, at: int | None = None, missing: frozenset[str] = frozenset()
    ) -> GateView:
        """Refresh `view` up to the log's end; envelopes whose digest is in `missing` cannot be had."""
        now = self.now if now is None else now
        leaves = self.log.leaves(view.frontier.size, self.log.settle().size)
        found = {}
        for digest in view.needed(leaves, now=now):
            try:
                if digest not in missing:
                    found[digest] = self.log.envelope(digest)
            except Unavailable:
                continue
        return refresh(view, checkpoint_note=self.note(at=at), leaves=leaves, envelopes=found, now=now)

    def view(self, *, gate: str = "release", missing: frozenset[str] = frozenset()) -> GateView:
        """What the gate sees after it checked in, from the log's first leaf."""
        return self.read_on(self.start(self.check_in(gate), gate=gate), missing=missing)


@dataclass
class WorldClock:
    """`ports.Clock` and `ports.Entropy` of a world."""

    world: World

    def now(self) -> int:
        return self.world.now

    def nonce(self) -> str:
        return self.world.nonce()


class Holder(Protocol):
    """What verifies its user: in memory, or a real device."""

    @property
    def credential(self) -> Credential: ...

    @property
    def public(self) -> PublicKey: ...

    def sign_record(self, message: bytes) -> bytes: ...


def make_production(*holders: Holder, more_pages: tuple[SigningPage, ...] = (), **more: object) -> World:
    """A world in production, in which bob, cat and eve hold `holders` in this order, and the rest software keys."""
    held = dict(zip(("bob", "cat", "eve"), holders, strict=False))
    world = make_world(
        profile="production",
        witnesses=("north", "south", "west"),
        credentials={member: holder.credential for member, holder in held.items()},
        pages=(SigningPage(ORIGIN, "localhost", None), *more_pages),
        **more,
    )
    world.held.update(held)
    return world


def make_world(**more: object) -> World:
    """Ada and dan research, bob and cat are security, cat and eve own weights; ada and bob answer for agents."""
    arguments: dict[str, object] = {
        "humans": ("ada", "bob", "cat", "dan", "eve"),
        "agents": {"ada+coder": ("ada",), "bob+ops": ("bob",)},
        "groups": {
            "research": ("ada", "dan", "ada+coder"),
            "security": ("bob", "cat", "bob+ops"),
            "weights-owners": ("cat", "eve"),
        },
        "resources": {"model/aurora": (), "model/other": (), "gate/all": (), "gate/release": ("gate/all",)},
        "gates": (("release", "release"), ("other", "release")),
        "policy": {"main": POLICY},
        **more,
    }
    return World(make_lab(**arguments))  # type: ignore[arg-type]  # keywords of make_lab


class Witnessed:
    """`ports.LogReader` of a world: its checkpoint is always the newest."""

    def __init__(self, world: World, *, lost: frozenset[str] = frozenset()) -> None:
        self._world = world
        self.lost = lost

    def checkpoint(self) -> bytes:
        return self._world.note()

    def leaves(self, start: int, end: int) -> list[bytes]:
        return list(self._world.log.leaves(start, end))

    def hashes(self, level: int, start: int, end: int) -> list[bytes]:
        return list(self._world.log.hashes(level, start, end))

    def envelope(self, digest: Sha256) -> bytes:
        if digest in self.lost:
            raise Unavailable("envelope-unknown", "lost")
        return self._world.log.envelope(digest)
