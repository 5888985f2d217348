"""What the use cases need from the world, as Protocols: the only way for effects to reach `app`.

Each method's docstring states its atomicity. Every adapter, the in-memory ones included, passes the contract suite
in tests/contracts/. Nothing here has a body, and the core below never imports this file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.decision import Decision
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.enrolment import Registration
from keyturn.formats.leaf import Kind, Leaf
from keyturn.formats.note import NoteSignature
from keyturn.formats.steps import Check
from keyturn.tlog.frontier import Frontier
from keyturn.trust.attestation import Authenticator

__all__ = [
    "BreakGlassJournal",
    "Clock",
    "Confirming",
    "CosignStore",
    "Cosigner",
    "Decisions",
    "Entropy",
    "Gates",
    "IndexedRecord",
    "LogAppender",
    "LogKeeper",
    "LogNotes",
    "LogReader",
    "LogWriter",
    "NoticeOutbox",
    "NoticeReceiver",
    "OutgoingNotice",
    "Pause",
    "PushedStore",
    "RecordIndex",
    "RecordOutbox",
    "RegistrationVerifier",
    "ReleaseJournal",
    "ReleaseOrders",
    "Sandbox",
    "SandboxJob",
    "SandboxRun",
    "StepFiles",
    "StepMount",
    "TrustStore",
    "Witnesses",
]


class Clock(Protocol):
    """Tell the time."""

    def now(self) -> int:
        """POSIX seconds."""


class Entropy(Protocol):
    """Make what nobody can guess."""

    def nonce(self) -> str:
        """16 random bytes as 32 lower-case hex digits."""


class Pause(Protocol):
    """Wait a moment: a test's own does not."""

    def __call__(self, seconds: float) -> None:
        """Return after about `seconds`."""


class BreakGlassJournal(Protocol):
    """What a gate opened by break-glass and has not seen in the log yet."""

    def entries(self) -> Sequence[tuple[bytes, ...]]:
        """The records of each use, in the order in which to log them: request, approvals, use; oldest first."""

    def keep(self, use: Sha256, records: tuple[bytes, ...]) -> None:
        """Keep the `records` of the use with this digest durably before it returns; the same again changes nothing."""

    def forget(self, use: Sha256) -> None:
        """Forget a use that is in the log; durable before it returns."""


class LogReader(Protocol):
    """Read a log, from disk, from memory or over HTTP. Nothing it returns is believed: callers verify it."""

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint with the cosignatures it has by now (a signed note)."""

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Leaves `start <= i < end`, all of them, or raise `Unavailable`."""

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        """Tree hashes at `level` (0 is leaf hashes), of complete subtrees only, or raise `Unavailable`."""

    def envelope(self, digest: Sha256) -> bytes:
        """The envelope with that SHA-256 (checked by the adapter), or raise `Unavailable`."""


class LogWriter(Protocol):
    """Append to the log."""

    def append(self, envelope: bytes) -> int:
        """Make one record durable and return its index; the same record again returns the index it has.

        Returns after the batch with the record is on disk: acknowledged is durable. In force is another thing:
        see `app.records.await_witnessed`.
        """


class LogAppender(LogWriter, Protocol):
    """Append to the log at hand, by whoever has computed the leaf already."""

    def append_leaf(self, envelope: bytes, leaf: Leaf) -> int:
        """`append`, of an envelope whose leaf is `leaf` (`formats.records.leaf_of`)."""


class RecordOutbox(Protocol):
    """Log several records that say something only together: the provenance of a step, and what the step measured."""

    def send(self, records: Sequence[bytes]) -> None:
        """Keep `records` durably, then append them in order.

        Once this raised nothing, all are in the log. When the process dies in the middle, or the log does not answer, those that
        are left follow when the outbox is opened again; `Unavailable` says so.
        """

    def waits(self) -> bool:
        """Whether records of an earlier `send` are not in the log yet."""


class LogEraser(Protocol):
    """Erase text from the log at hand, by whoever keeps it."""

    def erase(self, envelopes: Collection[Sha256]) -> int:
        """Put nothing in the place of each of these envelopes, durably, and give how many there were.

        Leaves, tree and indexes stay as they are. After a crash in the middle some are erased and the log is whole; the same
        again does the rest.
        """


class Confirming(Protocol):
    """Whoever has the log, and compares it with what its witnesses know."""

    def confirm(self, size: int, root: bytes) -> None:
        """Compare with the newest tree that a quorum of witnesses knows (root of `size` leaves).

        Until this succeeds a log that was ever published takes no appends. `Refused` when the log is behind, `Tampered`
        when it is another tree; then it never takes an append again in this process.
        """


class LogKeeper(LogReader, LogAppender, Confirming, Protocol):
    """Keep the log of this lab: for whoever publishes its checkpoints."""

    def settle(self) -> Frontier:
        """Derive tiles and index up to what is durable now, and give the tree there: what may be signed next."""

    def note(self, which: Literal["checkpoint", "signed"]) -> bytes | None:
        """The checkpoint that readers get, or the newest that the log signed; `None` before the first."""

    def swap(self, which: Literal["checkpoint", "signed"], old: bytes | None, new: bytes) -> None:
        """Replace the note `old` by `new` durably, or raise `Conflict` and change nothing; `Tampered` to go back or fork."""


class LogNotes(Confirming, Protocol):
    """A log whose notes may be lost or damaged, held still: nobody appends to it or publishes it meanwhile."""

    @property
    def size(self) -> int:
        """How many entries it holds."""

    def sound(self, which: Literal["checkpoint", "signed"]) -> bytes | None:
        """The note; `None` when there is none, or something else in its place."""

    def replace(self, which: Literal["checkpoint", "signed"], new: bytes | None) -> str | None:
        """Put what lies there aside, and `new` in its place, durably; gives where it was put, `None` when there was nothing."""


class Cosigner(Protocol):
    """A witness, as a log sees it. Its answers are verified by whoever uses them."""

    def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
        """Offer a checkpoint: the witness's signature lines, or the size that it has when `old_size` is another.

        `Refused` when it says no, `Unavailable` when it does not answer.
        """

    def newest(self, origin: str) -> bytes | None:
        """The newest checkpoint of log `origin` that it cosigned, with its cosignature; `None` when it never did."""


T = TypeVar("T")


class Witnesses(Protocol):
    """The witnesses of a log by name, to be asked all at once."""

    def ask(
        self,
        needed: Collection[str],
        welcome: Collection[str],
        question: Callable[[str, Cosigner], T],
        *,
        enough: int,
    ) -> Mapping[str, T | KeyturnError]:
        """Put `question` to each, and give each one's answer, or the error that it raised.

        Returns when `enough` of the `needed` answered without an error, or all of them with one, and a moment later for the rest:
        who is late has an `Unavailable`. A witness that hangs costs that moment, and keeps no checkpoint from being published.
        """


class CosignStore(Protocol):
    """What a witness must never forget: the newest checkpoint that it cosigned, for each log."""

    def read(self, origin: str) -> bytes | None:
        """The note, or `None` before the first."""

    def swap(self, origin: str, old: bytes | None, new: bytes) -> None:
        """Replace `old` by `new` durably, or raise `Conflict` and change nothing."""

    def keep_evidence(self, origin: str, raw: bytes) -> None:
        """Keep a request that may prove that the log misbehaved; bounded, and durable before it returns."""


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """Where a record is in the log. From the index, which is not evidence: verify what you act on."""

    index: int
    kind: Kind
    record: Sha256
    envelope: Sha256
    until: int | None


class RecordIndex(Protocol):
    """Look records up. Derived from the log, and rebuilt from it at any time; at most 1000 records per answer."""

    def by_record(self, prefix: str, kind: Kind | None = None) -> Sequence[IndexedRecord]:
        """Records whose digest begins with `prefix` (hex), of one kind or any, in log order."""

    def about(self, tag: str) -> Sequence[IndexedRecord]:
        """Records whose leaf carries `tag` (as `request:<digest>`, `sha256:<hex>`, `member:ada`), in log order."""

    def of_kinds(self, kinds: Iterable[Kind], *, start: int = 0) -> Sequence[IndexedRecord]:
        """Records of `kinds` from log index `start` on, in log order."""


@dataclass(frozen=True, slots=True)
class StepMount:
    """A path of this machine, and where a step finds it, read-only."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class SandboxJob:
    """What one step gets to see: nothing else of this machine is there. `outputs` is the directory at `/out`."""

    command: tuple[str, ...]
    mounts: tuple[StepMount, ...]
    runtime: tuple[str, ...]
    outputs: str
    network: tuple[str, ...]
    devices: tuple[str, ...]
    timeout_s: int
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SandboxRun:
    """How a step ended. `output` is what it printed, bounded; bytes of a stranger, shown through `cli.output.plain` only."""

    status: int
    timed_out: bool
    output: bytes


class Sandbox(Protocol):
    """Run one command, and leave nothing of it running."""

    @property
    def kind(self) -> Literal["bubblewrap", "none"]:
        """What provenance says of it."""

    def run(self, job: SandboxJob, *, stopped: Callable[[], bool]) -> SandboxRun:
        """Run `job` to its end, its timeout, or until `stopped()`. When this returns, no process of the step is left.

        Raises `Unavailable` when no sandbox can be had here, `Refused` for what it cannot confine; then nothing ran.
        """


class StepFiles(Protocol):
    """The files of one run of one step: inputs held against their digests, outputs staged until all is well."""

    def hold_input(self, source: str, check: Check) -> tuple[ArtifactDigest, str]:
        """Digest `source`, and give the path to mount; a `snapshot` is a copy that nobody else can write to."""

    def hold_runtime(self, path: str) -> tuple[ArtifactDigest, str]:
        """Digest what lies at `path` (or reuse the digest while nothing changed), and give the path to mount."""

    def staging(self) -> str:
        """Make the empty directory that the step writes to; nobody sees it before `publish`."""

    def check_held(self) -> None:
        """Raise `Refused` when an input or the runtime changed since it was held."""

    def take_output(self, path: str) -> ArtifactDigest:
        """Digest the output at `path` below the staging directory, with its modes made plain; refuses links and devices."""

    def keeps(self, path: str, source: str) -> bool:
        """Whether the output at `path`, which was taken, holds every file of the input `source`, which is held, unchanged."""

    def read_output(self, path: str, *, size_bytes_max: int) -> bytes:
        """Read one small output file that was taken."""

    def publish(self, outputs: Sequence[str], more: Mapping[str, bytes]) -> None:
        """Move the outputs and the files `more` to where they were asked for: all at once, or `Conflict` and none."""


class KeyStore(Protocol):
    """Software keys by name (`member`, `trust`, `log`, `online`, `north`), each kept where its owner alone reads."""

    def create(self, name: str) -> SoftwareKey:
        """Make a key and keep it durably; `Refused` `key-exists` when there is one: a key is never overwritten."""

    def read(self, name: str) -> SoftwareKey:
        """The key `name`; `Usage` when there is none, `Refused` when others could have read it, else `Unavailable`."""


class RegistrationVerifier(Protocol):
    """Verify how a passkey was made."""

    def prove(
        self, registration: Registration, *, invitation: bytes, rp_id: str, origins: frozenset[str]
    ) -> EnrolledKey:
        """The key as `registration` proves it, made for `invitation` at one of `origins`, its user verified; or `Refused`."""

    def judge(self, registration: Registration, authenticators: Mapping[str, Authenticator]) -> str:
        """The SHA-256 of the root certificate that carries its attestation, listed for its very model; or `Refused` by name."""


class TrustStore(Protocol):
    """A lab's trust: what is published, what is staged for signing, and the draft. Nothing it returns is believed."""

    def versions(self) -> Sequence[bytes]:
        """Every published trust version (`formats.trust_version`), oldest first."""

    def add_version(self, number: int, container: bytes) -> None:
        """Publish the `number`-th version (from 1) durably; `Conflict` when another one is there. The same again is done."""

    def read_file(self, path: str) -> bytes | None:
        """One file that TUF clients read, or `None`."""

    def write_file(self, path: str, content: bytes) -> None:
        """Put one file that TUF clients read (`metadata/1.root.json`, `targets/<sha256>.<name>`), atomically."""

    def staged(self) -> Sequence[bytes]:
        """The versions that await signatures, in order; empty when there are none."""

    def swap_staged(self, old: Sequence[bytes], new: Sequence[bytes]) -> None:
        """Replace the staged versions `old` by `new` atomically, or raise `Conflict` and change nothing."""

    def draft(self) -> Mapping[str, bytes]:
        """The files of the draft by name; empty when there is none."""

    def swap_draft(self, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> None:
        """Make the draft `old` say exactly `new`, or raise `Conflict` and change nothing; each file is replaced atomically."""

    def invitation(self, digest: Sha256) -> bytes:
        """The invitation with that SHA-256, or `Refused` `invitation-unknown`."""

    def add_invitation(self, raw: bytes) -> None:
        """Remember an invitation durably."""

    def invitations(self) -> Sequence[bytes]:
        """Every invitation that is remembered, in no order."""

    def withdraw_invitation(self, digest: Sha256) -> None:
        """Forget an invitation durably: nobody accepts it any more. One that is not there is forgotten."""


class ReleaseJournal(Protocol):
    """What a release gate remembers of its acts, by the digest of the request. Each write is durable before it returns."""

    def use(self, request: Sha256) -> bytes | None:
        """The access-use that the gate signed for `request`, logged or not; `None` when it signed none."""

    def keep_use(self, request: Sha256, envelope: bytes) -> None:
        """Keep the signed access-use before it is logged; `Conflict` when there is another one, and nothing changes."""

    def pack(self, request: Sha256) -> bytes | None:
        """The pack that the gate made for `request`; `None` when it made none."""

    def keep_pack(self, request: Sha256, pack: bytes) -> None:
        """Keep the pack before anybody gets it; `Conflict` when there is another one, and nothing changes."""


class Decisions(Protocol):
    """What a gate decided, in the order in which it did."""

    def keep(self, made: Decision) -> None:
        """Append `made` durably under the next sequence number, whatever its own says; `Unavailable`, and nothing is kept."""


class PushedStore(Protocol):
    """What a gate was given directly, verified and obeys, by the digest of the record: bounded by whoever keeps it."""

    def keep(self, digest: Sha256, envelope: bytes) -> None:
        """Keep it durably; the same again is done."""

    def drop(self, digest: str) -> None:
        """Forget it; one that is not there is forgotten."""

    def kept(self) -> Sequence[bytes]:
        """All that is kept."""


class Gates(Protocol):
    """The gates of a lab, to be told of what takes access away."""

    def tell(self, gates: Collection[str], envelope: bytes) -> Mapping[str, bytes | KeyturnError]:
        """Give `envelope` to each of `gates` (URIs), all at once: what it answered, or the error that kept it from answering.

        Returns within seconds, whatever they do. An answer is not believed, but verified by whoever asked.
        """


class ReleaseOrders(Protocol):
    """Ask a release gate to release what people granted."""

    def release(self, order: bytes) -> bytes:
        """Give the pack of the release that `order` (`formats.release_order`) asks for; the same order again, the same pack.

        Raises what the gate raised; what it gives is not believed, but verified like any pack.
        """


@dataclass(frozen=True, slots=True)
class OutgoingNotice:
    """A notification on its way: `number` in the outbox, the receiver's name, and the text, which is plain."""

    number: int
    receiver: str
    title: str
    body: str


class NoticeOutbox(Protocol):
    """What must be told, until it was: at least once, whatever crashes. One process at a time has it."""

    def told(self) -> bytes | None:
        """What the last `keep` kept, `None` before the first."""

    def keep(self, told: bytes, notices: Sequence[tuple[str, str, str, str]], *, now: int) -> None:
        """Keep `told`, and each notice (event, receiver, title, body) that is not there yet: all of it durably, or nothing."""

    def next_for(self, receiver: str, *, now: int) -> OutgoingNotice | None:
        """What to give to `receiver` next; `None` when nothing waits, or while it rests after a failure."""

    def delivered(self, notice: OutgoingNotice, *, now: int) -> None:
        """`notice` was taken by its receiver, which is no longer failing."""

    def failed(self, notice: OutgoingNotice, *, now: int) -> int:
        """`notice` was not taken: the receiver rests, longer each time, and this gives for how many seconds."""

    def forget(self, *, before: int) -> int:
        """Drop what was kept before then: notices that no receiver took (gives how many), and those that one did."""

    def waiting(self) -> Mapping[str, int]:
        """How many notices wait for each receiver that any waits for."""


class NoticeReceiver(Protocol):
    """A place where somebody reads notifications."""

    def give(self, title: str, body: str) -> None:
        """Give it one notification, or raise `Unavailable` `receiver-failed`; it may have got it all the same."""
