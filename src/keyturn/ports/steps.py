"""The sandbox in which a step runs, and the files that it gets and makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.provenance import Origin
from keyturn.formats.steps import Check

__all__ = [
    "Earlier",
    "EndedCommand",
    "HeldInput",
    "RunJournal",
    "Sandbox",
    "SandboxJob",
    "SandboxRun",
    "SandboxTrace",
    "Seen",
    "SignedRun",
    "StepFiles",
    "StepMount",
]


Seen = Callable[[str], Path]
"""Where this process sees what a sandbox has at a path of its own."""


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
    traced: bool = False


@dataclass(frozen=True, slots=True)
class SandboxTrace:
    """What a traced step opened, as it saw the paths: at most so many, and how many more there were."""

    opened: tuple[str, ...]
    left_off: int


@dataclass(frozen=True, slots=True)
class SandboxRun:
    """How a step ended. `output` is what it printed, bounded; bytes of a stranger, shown through `cli.output.plain` only."""

    status: int
    timed_out: bool
    output: bytes
    trace: SandboxTrace | None = None
    """What it opened, when the job asked for that: never absent then."""


class Sandbox(Protocol):
    """Run one command, and leave nothing of it running."""

    @property
    def kind(self) -> Literal["bubblewrap", "none"]:
        """What provenance says of it."""

    def run(
        self, job: SandboxJob, *, stopped: Callable[[], bool], mounted: Callable[[Seen], None] | None = None
    ) -> SandboxRun:
        """Run `job` to its end, its timeout, or until `stopped()`. When this returns, no process of the step is left.

        `mounted` looks at what is mounted, once it is and before the command begins; what it raises, this raises. A sandbox
        that is none mounts nothing, and does not ask.

        Raises `Unavailable` when no sandbox can be had here, `Refused` for what it cannot confine; then nothing ran.
        """


@dataclass(frozen=True, slots=True)
class HeldInput:
    """An input that was digested: where it lies, to be mounted, and where it came from."""

    digest: ArtifactDigest
    place: str
    origin: Origin


class StepFiles(Protocol):
    """The files of one run of one step: inputs held against their digests, outputs staged until all is well."""

    def hold_input(self, source: str, check: Check) -> HeldInput:
        """Digest `source`; a `snapshot` is a copy that nobody else can write to. What is no path is taken as a snapshot only."""

    def read_beside(self, path: str, *, size_bytes_max: int) -> bytes:
        """Read one file that lies where inputs may lie, and is none."""

    def hold_runtime(self, path: str) -> tuple[ArtifactDigest, str]:
        """Digest what lies at `path` (or reuse the digest while nothing changed), and give the path to mount."""

    def staging(self, resume: str | None) -> tuple[str, ArtifactDigest | None]:
        """Make the directory that the step writes to; nobody sees it before `publish`.

        It is empty but for what an earlier attempt left at `resume`, whose digest is given with it.
        """

    def check_mounted(self, seen: Seen, mounts: Sequence[StepMount]) -> None:
        """Raise `Refused` when what a sandbox has at a mount, or at `/out`, is not what was held, or staged, under that name."""

    def check_held(self) -> None:
        """Raise `Refused` when an input or the runtime changed since it was held."""

    def settle(self, paths: Sequence[str]) -> None:
        """Make the outputs at `paths` durable, with their modes made plain; refuses links, devices, and what is not there."""

    def staged(self, paths: Sequence[str]) -> bool:
        """Whether all of `paths` lie below the staging directory, as an earlier process of this run may have left them."""

    def take_output(self, path: str) -> ArtifactDigest:
        """Digest the output at `path` below the staging directory, which was settled."""

    def lacks(self, path: str, source: str) -> Sequence[str]:
        """What the output at `path`, which was taken, lacks of the input `source`, which is held: the first files of it that are
        missing or another there, each in a sentence."""

    def read_output(self, path: str, *, size_bytes_max: int) -> bytes:
        """Read one small output file that was taken."""

    def publish(self, outputs: Sequence[str], more: Mapping[str, bytes]) -> None:
        """Move the outputs and the files `more` to where they were asked for: all at once, or `Conflict` and none.

        A process that died in the middle of this may have been here before.
        """


class EndedCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that ended well: when, what it printed, and (path, digest) of each runtime. Its outputs are durable."""

    started_at: int
    finished_at: int
    output: bytes
    runtime: tuple[tuple[str, str], ...]
    origins: tuple[tuple[str, Origin], ...] = ()
    """Where each input came from, by name."""
    opened: bytes | None = None
    """Of a traced step: the list of what it opened."""


class SignedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was signed of a run, which is to be logged, and what is published with its outputs."""

    records: tuple[bytes, ...]
    receipt: bytes
    output: bytes
    opened: bytes | None = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier processes did of a run: how often its command was begun, from which left checkpoint last, and how it ended."""

    attempts: int = 0
    resumed: str | None = None
    ended: EndedCommand | None = None
    signed: SignedRun | None = None


class RunJournal(Protocol):
    """How far one run came, for the process after this one. Each method returns when what it says is durable."""

    def earlier(self) -> Earlier:
        """What is known of this run."""

    def begin(self, resumed: str | None) -> int:
        """The command is about to begin, from the checkpoint `resumed`: the number of this attempt."""

    def ended(self, command: EndedCommand) -> None:
        """The command of this attempt ended well, and its outputs are durable."""

    def signed(self, run: SignedRun) -> None:
        """What came out is signed: nothing else will be said of this run."""
