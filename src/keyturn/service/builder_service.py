"""A builder: takes signed orders, runs one step at a time in its sandbox, and signs what it saw.

The order's request must be signed by an enrolled, unsuspended member for this builder, as the builder's own trust says
(`app.custody.admit_step`); the STEP.toml must be the one that was signed. Each request runs once: a mark on disk is made before
it is queued, and outlives a crash and a loss of power. The key is in this process alone; a step reaches neither the process nor
the file.

What an order gets back is its state, by the digest of its request. Who can reach the port can order nothing without a
member's signature, and can read the state of jobs whose digest he knows.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from keyturn.adapters import process_log
from keyturn.adapters.files import durable_files
from keyturn.adapters.files.step_files import LocalStepFiles
from keyturn.adapters.over_http import errors_over_http
from keyturn.adapters.over_http.builder_over_http import About, JobState, Order, Outcome, decode
from keyturn.app.custody.admit_step import AdmittedStep, admit_step
from keyturn.app.custody.run_step import Stage, require_criteria, run_step
from keyturn.config import step as step_config
from keyturn.config.step import STEP_NAME, StepFile
from keyturn.errors import Conflict, KeyturnError, Refused, Unavailable, defect
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.steps import places_digest
from keyturn.service import shell
from keyturn.service.metrics import Metrics
from keyturn.service.openapi import takes
from keyturn.wiring.builder import BuilderParts
from keyturn.wiring.steps import STEP_SOURCE, layout_of

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["BuilderService", "create_app"]

_STATES_MAX = 1024
_WAIT_MAX_S = 10.0
_RESUME_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class _Job:
    admitted: AdmittedStep
    step: StepFile
    order: Order


class BuilderService:
    """The queue, the one worker, and the states. `start` and `stop` it; every method may be called from any thread."""

    def __init__(self, parts: BuilderParts) -> None:
        self._parts = parts
        self._queue: queue.Queue[_Job | None] = queue.Queue()
        self._lock = threading.Condition()
        self._states: OrderedDict[str, JobState] = OrderedDict()
        self._waiting: list[str] = []
        self._stopping = threading.Event()
        self._worker = threading.Thread(target=self._work, name="keyturn-builder", daemon=True)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """Stop the step that runs, drop those that wait, and return when the worker ended."""
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
        )
        step = step_config.parse(order.step_file)
        _check_step_file(order.step_file, step, admitted)
        _check_order(order, admitted)
        self._parts.probe()  # starts a process: only for whoever may have one run
        state = JobState(job=admitted.digest, step=admitted.request.step, state="queued")
        with self._lock:
            if len(self._waiting) >= self._parts.about.queue_max or self._stopping.is_set():
                raise Unavailable("builder-busy", f"{len(self._waiting)} steps wait already", hint="try again later")
            self._mark(admitted.digest)
            self._waiting.append(admitted.digest)
            self._remember(state)
        self._queue.put(_Job(admitted, step, order))
        return state

    def state(self, job: str, *, wait_s: float = 0.0) -> JobState:
        """Say how `job` stands, at its end or after `wait_s`, whichever comes first."""
        with self._lock:
            self._lock.wait_for(lambda: self._ended(job), timeout=wait_s)
            known = self._states.get(job)
            if known is None:
                raise Unavailable("job-unknown", f"no job `{job[:64]}` is known here: ask the log for its provenance")
            ahead = self._waiting.index(job) if job in self._waiting else 0
            return msgspec.structs.replace(known, ahead=ahead)

    def _ended(self, job: str) -> bool:
        known = self._states.get(job)
        return known is None or known.state in ("done", "failed")

    def _mark(self, digest: str) -> None:
        try:
            durable_files.create(self._parts.marks / digest, b"", mode=0o600, directory_mode=0o700)
        except FileExistsError as err:
            raise Conflict(
                "step-ran",
                f"request `stp-{digest[:32]}` was ordered before",
                hint="sign a new one: run the command again",
            ) from err
        except OSError as err:
            raise Unavailable(
                "mark-unwritable",
                f"not queued: the mark that it ran cannot be kept: {err.strerror}",
                hint="free space in the builder's directory, then try again",
            ) from err

    def _remember(self, state: JobState) -> None:
        self._states[state.job] = state
        while len(self._states) > _STATES_MAX:
            oldest = next(iter(self._states))
            if oldest in self._waiting:
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
        while (job := self._queue.get()) is not None and not self._stopping.is_set():
            self._log_what_is_left()
            digest = job.admitted.digest
            with self._lock:
                self._waiting.remove(digest)
            self._update(digest, state="running")
            try:
                self._update(digest, state="done", stage="", outcome=self._run(job))
                process_log.say("info", "step-done", about={"job": digest})
            except KeyturnError as err:
                process_log.say(
                    "info", "step-failed", about={"job": digest, "code": err.code}
                )  # a step's output stays out
                self._update(digest, state="failed", error=errors_over_http.of(err))
            except Exception as err:  # noqa: BLE001  # the worker's last border: one defect must not stop the builder
                said = defect(err)
                process_log.say("error", "defect", err=said, trace=True, about={"job": digest})
                self._update(digest, state="failed", error=errors_over_http.of(said))

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

    def _run(self, job: _Job) -> Outcome:
        parts, digest = self._parts, job.admitted.digest

        def on_stage(stage: Stage) -> None:
            self._update(digest, stage=stage, done=0, total=0)

        def on_bytes(done: int, total: int) -> None:
            self._update(digest, done=done, total=total)

        destination = Path(job.order.destination)
        with LocalStepFiles(
            base=Path(job.order.base),
            destination=destination,
            allowed=parts.allowed,
            memory=parts.memory,
            progress=on_bytes,
        ) as files:
            files.put_input(STEP_SOURCE, job.order.step_file)
            receipt = run_step(
                job.admitted,
                layout_of(job.step),
                signer=parts.signer,
                criteria=job.order.criteria,
                files=files,
                sandbox=parts.sandbox,
                log=parts.log,
                outbox=parts.outbox,
                clock=parts.clock,
                on_stage=on_stage,
                stopped=self._stopping.is_set,
            )
        return Outcome(
            provenance=receipt.provenance,
            outputs=receipt.outputs,
            destination=str(destination),
            test_result=receipt.test_result,
            passed=receipt.passed,
        )


def _check_step_file(raw: bytes, step: StepFile, admitted: AdmittedStep) -> None:
    signed = {i.name: i.artifact for i in admitted.request.inputs}.get(STEP_NAME)
    if signed != ArtifactDigest("sha256", sha256(raw)):
        raise Refused("step-differs", "the STEP.toml is not the one whose digest was signed")
    step_config.check_is_of(step, admitted.request)


def _check_order(order: Order, admitted: AdmittedStep) -> None:
    """INVARIANT: nothing in an order but what was signed: the request is in the log, and whoever reads it there could otherwise
    order it first, elsewhere, and use it up."""
    request = admitted.request
    if request.places != places_digest(base=order.base, destination=order.destination, nonce=request.nonce):
        raise Refused(
            "step-places",
            f"`stp-{admitted.digest[:32]}` was not signed for `{order.base[:200]}` and `{order.destination[:200]}`",
            hint="run the command again, of this version of Keyturn: it signs a new request",
        )
    require_criteria(request, order.criteria)


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
