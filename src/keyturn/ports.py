"""What the use cases need from the world, as Protocols: the only way for effects to reach `app`.

Each method's docstring states its atomicity. Every adapter, the in-memory ones included, passes the contract suite
in tests/contracts/. Nothing here has a body, and the core below never imports this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.steps import Check

__all__ = [
    "Clock",
    "Entropy",
    "LogReader",
    "LogWriter",
    "Sandbox",
    "SandboxJob",
    "SandboxRun",
    "StepFiles",
    "StepMount",
]


class Clock(Protocol):
    """Tell the time."""

    def now(self) -> int:
        """POSIX seconds."""


class Entropy(Protocol):
    """Make what nobody can guess."""

    def nonce(self) -> str:
        """16 random bytes as 32 lower-case hex digits."""


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
        see `app.await_witnessed`.
        """


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

    def read_output(self, path: str, *, size_bytes_max: int) -> bytes:
        """Read one small output file that was taken."""

    def publish(self, outputs: Sequence[str], more: Mapping[str, bytes]) -> None:
        """Move the outputs and the files `more` to where they were asked for: all at once, or `Conflict` and none."""
