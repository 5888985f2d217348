"""A world with a model's chain in its log, a release gate, and everything that it takes to release the model.

made = make_release_world(); asked = made.ask(); made.approve(asked, "bob", "cat"); raw = made.release(asked)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from keyturn.app.custody.open_release import release_subjects
from keyturn.app.gates.obey_pushed import PushedNegatives
from keyturn.bulk.read_chain import LogReading
from keyturn.custody.outside import Verify, nobody_verifies
from keyturn.custody.pack_index import PackIndex
from keyturn.errors import Conflict
from keyturn.formats import access, dsse, release_order, statement
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.manifest import Manifest
from keyturn.formats.release_order import ReleaseOrder
from keyturn.gates.release.gate import ReleaseGate, ReleaseGateParts
from keyturn.grants import bundle as bundles
from keyturn.grants.view import GateView
from support.chains import MadeChain, artifact, files, signed
from support.labs import NOW
from support.world import World, make_world

__all__ = ["POLICY", "JournalInMemory", "ReleaseWorld", "make_release_world"]

POLICY = """
@id("release") @quorum("2 security") @pending_max("1d")
permit (principal in Group::"research", action == Action::"model:release", resource in Model::"aurora")
  when { context.custody.verified && context.custody.evaluated };
"""

MODEL = artifact("model")


@dataclass
class JournalInMemory:
    """What the gate remembers, in two dictionaries."""

    uses: dict[str, bytes] = field(default_factory=dict)
    packs: dict[str, bytes] = field(default_factory=dict)

    def use(self, request: Sha256) -> bytes | None:
        return self.uses.get(request)

    def keep_use(self, request: Sha256, envelope: bytes) -> None:
        if self.uses.setdefault(request, envelope) != envelope:
            raise Conflict("release-kept", "another use is kept")

    def pack(self, request: Sha256) -> bytes | None:
        return self.packs.get(request)

    def keep_pack(self, request: Sha256, pack: bytes) -> None:
        if self.packs.setdefault(request, pack) != pack:
            raise Conflict("release-kept", "another pack is kept")


@dataclass
class PushedInMemory:
    """What was pushed to a gate, in a dictionary."""

    raws: dict[str, bytes] = field(default_factory=dict)

    def keep(self, digest: Sha256, envelope: bytes) -> None:
        self.raws[digest] = envelope

    def drop(self, digest: str) -> None:
        self.raws.pop(digest, None)

    def kept(self) -> tuple[bytes, ...]:
        return tuple(self.raws.values())


@dataclass
class ReleaseWorld:
    """Mutable, for one test. The chain is written to the world's log by `build`, or by the test."""

    world: World
    chain: MadeChain
    journal: JournalInMemory = field(default_factory=JournalInMemory)
    logged: int = 0
    hashed: Callable[[str], Manifest] = lambda _path: files("model")
    before_witness: Callable[[], None] = lambda: None
    index: PackIndex | None = None
    verify: Verify = nobody_verifies
    pushed_store: PushedInMemory = field(default_factory=PushedInMemory)

    @cached_property
    def pushed(self) -> PushedNegatives:
        """What the gate obeys besides the log; deleted, a gate that starts again has another one of the same store."""
        return PushedNegatives(self.pushed_store, _Clock(self.world))

    def sync(self) -> None:
        """Log what the chain has and the log has not. The chain's own trust versions are in the log already."""
        for raw in self.chain.records[max(self.logged, len(self.chain.lab.containers)) :]:
            self.world.log.append(raw)
        self.logged = len(self.chain.records)

    def build(self) -> None:
        self.chain.build()
        self.sync()

    def compute_index(self, *, as_of: int = NOW, model: ArtifactDigest = MODEL) -> PackIndex:
        lab = self.world.lab
        reading = LogReading(self.world.log, root_json=lab.root_json, pinned_sha256=lab.root_sha256)
        reading.to(self.world.log.settle().size)
        return reading.index(lab=lab.name, model=model, as_of=as_of)

    def ask(self, *, index: PackIndex | None = None, requester: str = "ada") -> Envelope:
        """Log a release request for the chain as it is now."""
        self.index = index or self.compute_index()
        made = self.world.release(requester=requester)
        payload = statement.make(made, access.ACCESS_REQUEST, release_subjects(self.index))
        return self.world.submit(dsse.parse_own(signed(payload, self.world.key(requester))))

    def order(self, asked: Envelope, *given: Envelope, path: str | None = None, **changed: object) -> bytes:
        assert self.index is not None
        order = ReleaseOrder(
            bundle=msgspec.Raw(bundles.render(bundles.make(asked, given))),
            model=self.index.model,
            size=self.index.size,
            as_of=self.index.as_of,
            path=path,
            version=1,
        )
        return release_order.render(msgspec.structs.replace(order, **changed))

    def refresh(self) -> GateView:
        return self.world.view()

    def gate(self) -> ReleaseGate:
        lab, world = self.world.lab, self.world

        def await_witnessed(_index: int, _raw: bytes) -> None:
            self.before_witness()

        return ReleaseGate(
            ReleaseGateParts(
                gate=world.gate,
                key=lab.gate_keys["release"],
                root_json=lab.root_json,
                pinned_sha256=lab.root_sha256,
                log=_Published(world),
                writer=world.log,
                journal=self.journal,
                clock=_Clock(world),
                entropy=_Entropy(world),
                refresh=self.refresh,
                await_witnessed=await_witnessed,
                hash_model=self.hashed,
                seen=self.refresh,
                obey=lambda raw: self.pushed.take(raw, self.refresh()),
                obeying=self.pushed.over,
                verify_evidence=self.verify,
            )
        )

    def released(self, *approvers: str, path: str | None = None) -> bytes:
        """Ask, approve, and release, with the files at `path` hashed if it is given: the pack."""
        asked = self.ask()
        given = [self.world.approve(asked, approver) for approver in approvers or ("bob", "cat")]
        return self.gate().release(self.order(asked, *given, path=path))


@dataclass
class _Clock:
    world: World

    def now(self) -> int:
        return self.world.now


@dataclass
class _Entropy:
    world: World

    def nonce(self) -> str:
        return self.world.nonce()


@dataclass
class _Published:
    """The log as readers see it, with a checkpoint of everything that is there."""

    world: World

    def checkpoint(self) -> bytes:
        return self.world.note()

    def leaves(self, start: int, end: int):  # type: ignore[no-untyped-def]  # as the log's
        return self.world.log.leaves(start, end)

    def hashes(self, level: int, start: int, end: int):  # type: ignore[no-untyped-def]  # as the log's
        return self.world.log.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        return self.world.log.envelope(digest)


def make_release_world(**more: object) -> ReleaseWorld:
    """A world whose policy asks two of security for a release of a verified and evaluated chain."""
    world = make_world(**{"policy": {"main": POLICY}, **more})
    return ReleaseWorld(world, MadeChain(world.lab))
