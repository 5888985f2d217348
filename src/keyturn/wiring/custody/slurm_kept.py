"""What a builder beside Slurm keeps of its jobs, in lab/builder/slurm/, from before one starts until the log has what it made.

    JOB.json      what was held before the job started; and how it ended, as soon as that is known: Slurm forgets it in minutes
    JOB.signed    the statement that was signed, until the log has it
    JOB.failed    as JOB.json, of a job for which nothing is signed, with the reason; until the same job runs again

One process at a time works on a job: Slurm may begin it again while what it left before is still being read.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.attempt_files import Held
from keyturn.errors import Unavailable, Usage
from keyturn.formats.built import built
from keyturn.formats.digest import Sha256

__all__ = ["Ended", "HeldJob", "SlurmJobs"]


class Ended(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What Slurm said of a job that was over, and when."""

    state: str
    exit_code: str
    derived_exit_code: str
    at: int
    well: bool
    """Whether it may be signed for: it completed, in the run that was held."""


class HeldJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job that was held against its order. `places` are the outputs, by name."""

    request: bytes
    user: str
    nodes: str
    script: Sha256
    image: str | None
    inputs: dict[str, Held]
    runtime: dict[str, Held]
    places: dict[str, str]
    started_at: int
    restarts: int
    """Which run of the job was held: between two, its user may take `keyturn:` out of the comment, and put it back."""
    attempt: int
    """How many of its runs were held, with this one."""
    ended: Ended | None = None
    failure: str = ""
    """Why nothing is signed."""


class SlurmJobs:
    """The jobs that are kept in `directory`, by their numbers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def left(self) -> tuple[str, ...]:
        """The jobs of which something is still to be said: those that run, and those whose epilog did not get to its end."""
        found = {path.stem for kind in ("json", "signed") for path in self._directory.glob(f"*.{kind}")}
        return tuple(sorted(found, key=int))

    @contextmanager
    def alone(self, job: str) -> Iterator[None]:
        """Keep other processes from this job meanwhile."""
        path = self._path(job, "lock")
        try:
            durable_files.make_directories(self._directory, mode=0o700)
            descriptor = _locked(path)
        except OSError as err:
            raise _unwritable(path, err) from err
        try:
            yield
        finally:
            if not any(self._path(job, kind).exists() for kind in ("json", "failed", "signed")):
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def held(self, job: str) -> HeldJob | None:
        """What was held of it; also of one that failed."""
        for kind in ("json", "failed"):
            path = self._path(job, kind)
            try:
                return msgspec.json.decode(path.read_bytes(), type=built(HeldJob))
            except FileNotFoundError:
                continue
            except (OSError, msgspec.MsgspecError) as err:
                raise Unavailable(
                    "slurm-job-unreadable",
                    f"`{path}` is nothing that this version keeps of a job: {err}",
                    hint="move it away: nothing is signed for that job then",
                ) from err
        return None

    def hold(self, job: str, held: HeldJob) -> None:
        self._keep(job, "json", msgspec.json.encode(held))
        self._path(job, "failed").unlink(missing_ok=True)

    def fail(self, job: str, held: HeldJob) -> None:
        self._keep(job, "failed", msgspec.json.encode(held))
        self._path(job, "json").unlink(missing_ok=True)

    def sign(self, job: str, statement: bytes) -> None:
        self._keep(job, "signed", statement)

    def signed(self, job: str) -> bytes | None:
        path = self._path(job, "signed")
        return path.read_bytes() if path.exists() else None

    def forget(self, job: str) -> None:
        """The log has it."""
        for kind in ("json", "failed", "signed"):  # the statement last: it is what a second call sends again
            self._path(job, kind).unlink(missing_ok=True)

    def _path(self, job: str, kind: str) -> Path:
        if not (job.isascii() and job.isdigit()):
            raise Usage("slurm-job", f"expected a job's number, got `{job[:80]}`", hint="squeue --format %A")
        return self._directory / f"{job}.{kind}"

    def _keep(self, job: str, kind: str, content: bytes) -> None:
        path = self._path(job, kind)
        try:
            durable_files.replace(path, content, mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise _unwritable(path, err) from err


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # whoever had it before took it away


def _unwritable(path: Path, err: OSError) -> Unavailable:
    return Unavailable("job-unwritable", f"`{path}`: {err.strerror}", hint="free space there")
