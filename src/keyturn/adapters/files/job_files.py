"""Keep a builder's orders on disk, from when they are taken in until they ended: what a builder that starts again goes on with.

`ran/<request>` marks that a request was ordered, forever; when its job ended, it holds how. `jobs/<request>` is the order and
how far it came, rewritten at each step of it (`ports.RunJournal`), and goes at the end; beside it, `<request>.held/` remembers
the inputs. All are durable before anybody is told, and lie in the builder's own directory, as its key does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.clearing import clear
from keyturn.adapters.files.remembered_inputs import RememberedInputs
from keyturn.errors import Conflict, Unavailable
from keyturn.formats.built import built
from keyturn.ports import Earlier, EndedCommand, SignedRun

__all__ = ["JobFiles", "JobJournal", "KeptJob", "NoJournal"]

HISTORY_MAX = 64


class KeptJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A job that has not ended. `order` is as it came in; `died` counts commands that were running when a builder died."""

    version: Literal[1] = 1
    job: str
    number: int
    order: bytes
    taken_at: int
    room: str
    attempts: int = 0
    died: int = 0
    running: bool = False
    resumed: str | None = None
    ended: EndedCommand | None = None
    signed: SignedRun | None = None
    history: tuple[str, ...] = ()


class JobFiles:
    """The orders of one builder. One process at a time has them."""

    def __init__(self, directory: Path) -> None:
        self.marks = directory / "ran"
        """Where each request that was ordered here has a file of its digest, for good: it runs once."""
        self._jobs = directory / "jobs"

    def take(self, job: str, order: bytes, *, now: int, number: int) -> KeptJob:
        """Keep `order`, whose request is `job`; `Conflict` when that was ordered before, however it ended."""
        kept = KeptJob(job=job, number=number, order=order, taken_at=now, room=secrets.token_hex(16))
        if (self.marks / job).exists():
            raise _ran(job)
        try:
            durable_files.create(self._jobs / job, msgspec.json.encode(kept), mode=0o600, directory_mode=0o700)
            try:
                durable_files.create(self.marks / job, b"", mode=0o600, directory_mode=0o700)
            except OSError:
                with suppress(OSError):
                    (self._jobs / job).unlink()
                raise
        except FileExistsError as err:
            raise _ran(job) from err
        except OSError as err:
            raise Unavailable(
                "mark-unwritable",
                f"not queued: the mark that it ran cannot be kept: {err.strerror}",
                hint="free space in the builder's directory, then try again",
            ) from err
        return kept

    def left(self) -> tuple[KeptJob, ...]:
        """The jobs that have not ended, in the order in which they were taken."""
        return tuple(sorted(self._left(), key=lambda kept: kept.number))

    def keep(self, kept: KeptJob) -> None:
        """Replace what is kept of a job; `Unavailable` when the disk does not take it."""
        try:
            durable_files.replace(self._jobs / kept.job, msgspec.json.encode(kept), mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise Unavailable(
                "job-unwritable",
                f"how far the step came cannot be kept: {err.strerror}",
                hint="free space in the builder's directory",
            ) from err

    def end(self, job: str, how: bytes) -> None:
        """Keep how `job` ended, and forget the order."""
        durable_files.replace(self.marks / job, how, mode=0o600, directory_mode=0o700)
        (self._jobs / job).unlink(missing_ok=True)
        clear(self._jobs / f"{job}.held")

    def how_it_ended(self, job: str) -> bytes | None:
        """What `end` kept, or `None`: of an older version nothing was kept."""
        if len(job) != 64 or not job.isalnum():
            return None
        try:
            return (self.marks / job).read_bytes() or None
        except OSError:
            return None

    def held(self, job: str) -> RememberedInputs:
        return RememberedInputs(self._jobs / f"{job}.held")

    def _left(self) -> Iterator[KeptJob]:
        for path in self._jobs.glob("*"):
            if len(path.name) == 64 and path.is_file():
                try:
                    yield msgspec.json.decode(path.read_bytes(), type=built(KeptJob))
                except (OSError, msgspec.MsgspecError, UnicodeError) as err:
                    raise Unavailable(
                        "job-unreadable",
                        f"`{path}` is no job that this version keeps",
                        hint="start the version that wrote it, or move the file away: its step is then given up",
                        detail=str(err),
                    ) from err


class JobJournal:
    """`ports.RunJournal` of one job; `kept` is what is known of it now."""

    def __init__(self, files: JobFiles, kept: KeptJob, on_change: Callable[[KeptJob], None]) -> None:
        self._files = files
        self._on_change = on_change
        self.kept = kept

    def earlier(self) -> Earlier:
        return Earlier(self.kept.attempts, self.kept.resumed, self.kept.ended, self.kept.signed)

    def begin(self, resumed: str | None) -> int:
        self.change(attempts=self.kept.attempts + 1, running=True, resumed=resumed, ended=None)
        return self.kept.attempts

    def ended(self, command: EndedCommand) -> None:
        self.change(running=False, ended=command)

    def signed(self, run: SignedRun) -> None:
        self.change(ended=None, signed=run)

    def change(self, **changes: object) -> None:
        """Keep `changes`, durably."""
        kept = msgspec.structs.replace(self.kept, **changes)
        self._files.keep(kept)
        self.kept = kept
        self._on_change(kept)

    def say(self, text: str, **changes: object) -> None:
        """Keep `changes`, and `text` for people who ask what happened."""
        self.change(history=(*self.kept.history, text)[-HISTORY_MAX:], **changes)


class NoJournal:
    """Keeps nothing: for a run on one's own machine, which its member repeats when it breaks off."""

    def earlier(self) -> Earlier:
        return Earlier()

    def begin(self, resumed: str | None) -> int:
        return 1

    def ended(self, command: EndedCommand) -> None:
        pass

    def signed(self, run: SignedRun) -> None:
        pass


def _ran(job: str) -> Conflict:
    return Conflict(
        "step-ran",
        f"request `stp-{job[:32]}` was ordered before",
        hint=f"keyturn step show stp-{job[:32]}; or sign a new one: run the command again",
    )
