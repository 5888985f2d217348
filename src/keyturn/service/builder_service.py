"""A builder: takes signed orders, runs one step at a time in its sandbox, and signs what it saw.

The order's request must be signed by an enrolled, unsuspended member for this builder, as the builder's own trust says
(`app.custody.admit_step`); the STEP.toml must be the one that was signed. Each request is taken once, and kept on disk from then
until it ended: a builder that starts again goes on with what the one before it left, however that one ended
(docs/decisions/0131-interrupted-steps.md). The key is in this process alone; a step reaches neither the process nor the file.

What an order gets back is its state, by the digest of its request. Who can reach the port can order nothing without a
member's signature, and can read the state of jobs whose digest he knows.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from keyturn.adapters import process_log
from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.clearing import clear
from keyturn.adapters.files.job_files import JobJournal, KeptJob
from keyturn.adapters.files.plain_files import read_plain
from keyturn.adapters.files.step_files import LocalStepFiles, room_of
from keyturn.adapters.over_http import errors_over_http
from keyturn.adapters.over_http.builder_over_http import About, JobState, Order, Outcome, decode
from keyturn.app.custody.admit_step import AGE_MAX_S, AdmittedStep, admit_step
from keyturn.app.custody.other_lab import require_released
from keyturn.app.custody.run_step import (
    RECEIPT_NAME,
    Receipt,
    Stage,
    finish_run,
    read_receipt,
    run_step,
)
from keyturn.config import step as step_config
from keyturn.errors import KeyturnError, Refused, Unavailable, defect
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.provenance import Origin
from keyturn.ports import SignedRun
from keyturn.service import shell
from keyturn.service.metrics import Metrics
from keyturn.service.openapi import takes
from keyturn.wiring.custody.builder import BuilderParts
from keyturn.wiring.custody.steps import STEP_SOURCE, layout_of, require_as_signed

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["BuilderService", "create_app"]

_STATES_MAX = 1024
_WAIT_MAX_S = 10.0
_RESUME_EVERY_S = 2.0

DIED_MAX = 3
"""So many times a builder may die while one step's command runs, before that step is held to be what kills it."""


class BuilderService:
    """The queue, the one worker, and the states. `start` and `stop` it; every method may be called from any thread."""

    def __init__(self, parts: BuilderParts) -> None:
        self._parts = parts
        self._queue: queue.Queue[JobJournal | None] = queue.Queue()
        self._lock = threading.Condition()
        self._states: OrderedDict[str, JobState] = OrderedDict()
        self._waiting: list[str] = []
        self._taken = 0
        self._stopping = threading.Event()
        self._worker = threading.Thread(target=self._work, name="keyturn-builder", daemon=True)

    def start(self) -> None:
        """Go on with what was left, then take orders."""
        for kept in self._parts.jobs.left():
            self._taken = max(self._taken, kept.number)
            journal = self._journal(kept)
            order = decode(kept.order, Order, what="kept order")
            with self._lock:
                self._waiting.append(kept.job)
                self._remember(JobState(job=kept.job, step=step_config.parse(order.step_file).name, state="queued"))
            process_log.say("info", "step-taken-up", about={"job": kept.job, "attempts": kept.attempts})
            journal.say(f"{rfc3339(self._parts.clock.now())} {_taken_up(kept)}", running=False, died=_died(kept))
            self._queue.put(journal)
        self._worker.start()

    def stop(self) -> None:
        """Stop the step that runs, leave it and those that wait to the next process, and return when the worker ended."""
        self._stopping.set()
        self._queue.put(None)
        self._worker.join()

    @property
    def waiting(self) -> int:
        """How many steps wait behind the one that runs."""
        return len(self._waiting)

    def about(self) -> About:
        return msgspec.structs.replace(self._parts.about, trust_version=self._parts.trust_now().trust.targets_version)

    def order(self, order: Order) -> JobState:
        """Admit `order` and queue it, or raise; a request that was ordered before is a `Conflict`."""
        trust_now = self._parts.trust_now()
        admitted = admit_step(
            order.request,
            trust=trust_now.trust,
            builder=self._parts.about.name,
            require_unsuspended=trust_now.require_unsuspended,
            now=self._parts.clock.now(),
            age_max_s=AGE_MAX_S,
        )
        require_as_signed(order, admitted)
        self._parts.probe()  # starts a process: only for whoever may have one run
        state = JobState(job=admitted.digest, step=admitted.request.step, state="queued")
        with self._lock:
            if len(self._waiting) >= self._parts.about.queue_max or self._stopping.is_set():
                raise Unavailable("builder-busy", f"{len(self._waiting)} steps wait already", hint="try again later")
            self._taken += 1
            kept = self._parts.jobs.take(
                admitted.digest, msgspec.json.encode(order), now=self._parts.clock.now(), number=self._taken
            )
            self._waiting.append(admitted.digest)
            self._remember(state)
        self._queue.put(self._journal(kept))
        return state

    def state(self, job: str, *, wait_s: float = 0.0) -> JobState:
        """Say how `job` stands, at its end or after `wait_s`, whichever comes first."""
        with self._lock:
            self._lock.wait_for(lambda: self._ended(job), timeout=wait_s)
            known = self._states.get(job) or self._ended_before(job)
            if known is None:
                raise Unavailable("job-unknown", f"no job `{job[:64]}` is known here: ask the log for its provenance")
            ahead = self._waiting.index(job) if job in self._waiting else 0
            return msgspec.structs.replace(known, ahead=ahead)

    def _ended(self, job: str) -> bool:
        known = self._states.get(job)
        return known is None or known.state in ("done", "failed")

    def _ended_before(self, job: str) -> JobState | None:
        raw = self._parts.jobs.how_it_ended(job)
        return None if raw is None else decode(raw, JobState, what="kept state")

    def _journal(self, kept: KeptJob) -> JobJournal:
        return JobJournal(self._parts.jobs, kept, self._say_how_far)

    def _say_how_far(self, kept: KeptJob) -> None:
        self._update(kept.job, attempt=kept.attempts, resumed=kept.resumed, history=kept.history)

    def _remember(self, state: JobState) -> None:
        self._states[state.job] = state
        while len(self._states) > _STATES_MAX:
            oldest = next(iter(self._states))
            if self._states[oldest].state in ("queued", "running"):
                return
            del self._states[oldest]

    def _update(self, job: str, **changes: Any) -> None:
        with self._lock:
            known = self._states.get(job)
            if known is not None:
                self._states[job] = msgspec.structs.replace(known, **changes)
                self._lock.notify_all()

    def _work(self) -> None:
        self._log_what_is_left()
        while (journal := self._queue.get()) is not None and not self._stopping.is_set():
            self._log_what_is_left()
            job = journal.kept.job
            with self._lock:
                self._waiting.remove(job)
            self._update(job, state="running")
            try:
                self._end(job, state="done", stage="", outcome=self._run_to_its_end(journal))
                process_log.say("info", "step-done", about={"job": job})
            except _LeftToTheNext:
                self._update(job, state="queued", stage="")
            except KeyturnError as err:
                process_log.say(
                    "info", "step-failed", about={"job": job, "code": err.code}
                )  # a step's output stays out
                self._end(job, state="failed", error=errors_over_http.of(err))
            except Exception as err:  # noqa: BLE001  # the worker's last border: one defect must not stop the builder
                said = defect(err)
                process_log.say("error", "defect", err=said, trace=True, about={"job": job})
                self._end(job, state="failed", error=errors_over_http.of(said))

    def _end(self, job: str, **changes: Any) -> None:
        """Keep how `job` ended, then tell who waits."""
        with self._lock:
            ended = msgspec.structs.replace(self._states[job], **changes)
        try:
            self._parts.jobs.end(job, msgspec.json.encode(ended))
        except OSError as err:  # it is taken up again by the next process, which finds what there is
            process_log.say("warning", "job-unwritable", str(err), about={"job": job})
        self._update(job, **changes)

    def _log_what_is_left(self) -> None:
        """Log what was signed before the builder died, or the log did not answer; nothing runs until it is."""
        while not self._stopping.is_set():
            try:
                self._parts.outbox.resume()
                return
            except (KeyturnError, OSError) as err:
                known = err if isinstance(err, KeyturnError) else None
                process_log.say("warning", "outbox-waits", "" if known else str(err), err=known)
                self._stopping.wait(_RESUME_EVERY_S)

    def _run_to_its_end(self, journal: JobJournal) -> Outcome:
        """Run a job, again when what it signed could not be logged; `_LeftToTheNext` when this process is to end first."""
        while True:
            try:
                return self._run(journal)
            except Unavailable as err:
                if journal.kept.signed is not None and self._parts.outbox.waits():
                    process_log.say("warning", "outbox-waits", err=err)
                    self._log_what_is_left()
                elif not self._stopping.is_set():
                    raise
                if self._stopping.is_set():
                    journal.say(f"{rfc3339(self._parts.clock.now())} the builder was stopped", running=False)
                    raise _LeftToTheNext from err

    def _run(self, journal: JobJournal) -> Outcome:
        parts, kept = self._parts, journal.kept
        order = decode(kept.order, Order, what="kept order")
        step = step_config.parse(order.step_file)
        destination = Path(order.destination)

        def on_stage(stage: Stage) -> None:
            self._update(kept.job, stage=stage, done=0, total=0)

        if kept.signed is not None and _is_published(destination, kept.signed):
            clear(room_of(destination, kept.room))
            return _outcome(read_receipt(kept.signed.receipt), destination)
        if kept.died >= DIED_MAX and kept.signed is None and kept.ended is None:
            clear(room_of(destination, kept.room))
            raise Refused(
                "step-interrupted",
                f"the builder died {kept.died} times while the command of step `{step.name}` ran, the last time in attempt"
                f" {kept.attempts}: it is not begun again",
                hint="find out what ended the builder (memory is not confined); then run it again: that is a new request",
            )
        admitted = None if kept.signed is not None else self._admit(order, kept)
        with LocalStepFiles(
            base=Path(order.base),
            destination=destination,
            allowed=parts.allowed,
            memory=parts.memory,
            sources=parts.sources,
            s3=parts.s3,
            oci=parts.oci,
            progress=lambda done, total: self._update(kept.job, done=done, total=total),
            room=kept.room,
            held=parts.jobs.held(kept.job),
        ) as files:
            try:
                if admitted is None:
                    assert kept.signed is not None
                    receipt = finish_run(
                        kept.signed, layout_of(step), files=files, outbox=parts.outbox, on_stage=on_stage
                    )
                else:
                    files.put_input(STEP_SOURCE, order.step_file)
                    receipt = run_step(
                        admitted,
                        layout_of(step),
                        signer=parts.signer,
                        criteria=order.criteria,
                        released=self._released,
                        files=files,
                        sandbox=parts.sandbox,
                        log=parts.log,
                        outbox=parts.outbox,
                        journal=journal,
                        clock=parts.clock,
                        on_stage=on_stage,
                        stopped=self._stopping.is_set,
                    )
            except Unavailable:
                if self._stopping.is_set() or journal.kept.signed is not None:
                    files.leave()
                raise
        return _outcome(receipt, destination)

    def _released(self, artifact: ArtifactDigest, pack: bytes, root: bytes) -> Origin:
        outside = self._parts.trust_now().trust.outside
        return require_released(artifact, pack=pack, root=root, outside=outside, verify=Verifiers().verify)

    def _admit(self, order: Order, kept: KeptJob) -> AdmittedStep:
        """Admit what was admitted when it came in, by the trust of now: who asked may have been suspended meanwhile."""
        while True:
            try:
                trust_now = self._parts.trust_now()
                return admit_step(
                    order.request,
                    trust=trust_now.trust,
                    builder=self._parts.about.name,
                    require_unsuspended=trust_now.require_unsuspended,
                    now=kept.taken_at,
                    age_max_s=AGE_MAX_S,
                    again=True,
                )
            except Unavailable as err:
                process_log.say("warning", "step-waits", err=err, about={"job": kept.job})
                if self._stopping.wait(_RESUME_EVERY_S):
                    raise


class _LeftToTheNext(Exception):  # noqa: N818  # no error: this process is to end, and the next one goes on
    """This process ends before its job does."""


def _died(kept: KeptJob) -> int:
    return kept.died + kept.running


def _taken_up(kept: KeptJob) -> str:
    """Say what became of a job when the builder ended, and what is done with it now."""
    if kept.signed is not None:
        return "taken up again: what came out was signed already, and is logged and published; nothing runs again"
    if kept.ended is not None:
        return f"taken up again: the command had ended, in attempt {kept.attempts}; its outputs are digested, nothing runs again"
    if kept.running:
        return f"taken up again: the builder died while the command ran, in attempt {kept.attempts}; it is begun again"
    if kept.attempts:
        return f"taken up again: attempt {kept.attempts} was interrupted; the command is begun again"
    return "taken up again: the command had not begun"


def _is_published(destination: Path, signed: SignedRun) -> bool:
    try:
        return read_plain(destination / RECEIPT_NAME, size_bytes_max=1 << 20) == signed.receipt
    except OSError:
        return False


def _outcome(receipt: Receipt, destination: Path) -> Outcome:
    return Outcome(
        provenance=receipt.provenance,
        outputs=receipt.outputs,
        destination=str(destination),
        test_result=receipt.test_result,
        passed=receipt.passed,
        undeclared=receipt.undeclared,
        unread=receipt.unread,
    )


def create_app(parts: BuilderParts) -> Litestar:
    """Make the builder's HTTP shell: GET /about, POST /steps, GET /steps/<digest>."""
    service = BuilderService(parts)

    @get("/about", sync_to_thread=True)
    def about() -> Response[About]:
        """What the builder says of itself."""
        return Response(service.about())

    @post("/steps", status_code=202, opt=takes("application/json", Order))
    async def order(request: Request[Any, Any, Any]) -> Response[JobState]:
        """Queue a step that a member signed for this builder; each request runs once."""
        parsed = decode(await request.body(), Order, what="order")
        return Response(await asyncio.to_thread(service.order, parsed))

    @get("/steps/{job:str}", sync_to_thread=True)
    def state(job: FromPath[str], wait_s: FromQuery[float] = 0.0) -> Response[JobState]:
        """How a job stands, at its end or after `wait_s`, whichever comes first."""
        return Response(service.state(job, wait_s=min(max(wait_s, 0.0), _WAIT_MAX_S)))

    async def stop() -> None:
        await asyncio.to_thread(service.stop)

    metrics = Metrics()
    metrics.gauge("keyturn_builder_waiting", "Steps that wait behind the one that runs.", lambda: service.waiting)
    return shell.build(
        [about, order, state], title="A builder", metrics=metrics, on_startup=[service.start], on_shutdown=[stop]
    )
