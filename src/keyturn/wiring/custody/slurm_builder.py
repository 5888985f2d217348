"""A builder beside Slurm's controller: before a job of a signed order starts, and when it is over.

The job names the order in its comment, `keyturn:<path of the order>`. Before anything runs (`begin`):

1. the order is a file of the job's own user, in a work directory, and its request is one that a member signed for this builder;
2. the batch script that Slurm keeps is the request's input `script`, and its arguments are those of the request's command;
3. it runs once: a mark names the job, which Slurm may requeue, until the job has ended well;
4. every input has the digest that was signed; the runtimes are digested; no output is there but what its earlier run left;
5. the request is logged; what was held is kept in lab/builder/slurm/, until

the job is over (`finish`): nothing of it runs any more, Slurm says COMPLETED and `0:0`, and what was held is what it was. Then
the outputs are digested, and the builder signs. Of a job that ended otherwise nothing is signed, and how it ended is kept.
The hooks write in no member's directory.

This is NOT a sandbox: what the job reads and runs besides, nobody watches; decisions 0141 and 0150.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from msgspec.structs import replace

from keyturn.adapters.clock import pause, running
from keyturn.adapters.files import durable_files, settling
from keyturn.adapters.files.attempt_files import Held, hold_input, hold_runtime, require_held
from keyturn.adapters.over_http.builder_over_http import Order, decode
from keyturn.adapters.slurm_commands import SlurmCommands
from keyturn.app.custody.admit_step import AdmittedStep, admit_step
from keyturn.app.custody.hold_inputs import require_declared
from keyturn.app.custody.judge_outputs import require_made
from keyturn.bulk import manifest
from keyturn.config.step import StepFile
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Unavailable, Usage
from keyturn.formats import dsse, provenance, records
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.provenance import EXITED_WELL, NOWHERE, Dependency, Job, Output, Provenance
from keyturn.formats.records import leaf_of
from keyturn.formats.steps import StepRequest
from keyturn.wiring.custody.builder import BuilderParts
from keyturn.wiring.custody.slurm_kept import Ended, HeldJob, SlurmJobs
from keyturn.wiring.custody.steps import STEP_SOURCE, layout_of, require_as_signed
from keyturn.wiring.lab.places import LabPlace

__all__ = ["COMMENT", "SCRIPT", "begin", "finish", "slurm_jobs"]

COMMENT = "keyturn:"
SCRIPT = "script"
"""The input that is the batch script."""

_AGE_MAX_S = 14 * 86400
"""How long a signed order may wait in the queue. It runs once, and names the newest trust version all the same."""
_ORDER_BYTES_MAX = 1 << 20
_LOOK_EVERY_S = 0.5
_ENDS_WITHIN_S = 3600.0
"""How long a node may take to end a job, and a controller to answer again."""
_ENDED = b""
"""The mark of an order whose job ended well: it runs no more, whatever Slurm queues again."""
_OVER = frozenset(
    [
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    ]
)


def slurm_jobs(place: LabPlace) -> SlurmJobs:
    """What the builder of the lab at `place` keeps of its jobs."""
    return SlurmJobs(place.directory / "builder" / "slurm")


def begin(parts: BuilderParts, jobs: SlurmJobs, job: str, *, comment: str, nodes: str) -> str:
    """Admit `job` before it starts; the step's name. Raises `Unavailable` when it may be tried again, and else what is wrong."""
    slurm = SlurmCommands(job)
    user, uid = slurm.user()
    order = decode(_read_order(parts, comment.removeprefix(COMMENT), uid), Order, what="order")  # (1)
    trust_now = parts.trust_now()
    admitted = admit_step(
        order.request,
        trust=trust_now.trust,
        builder=parts.about.name,
        require_unsuspended=trust_now.require_unsuspended,
        now=parts.clock.now(),
        age_max_s=_AGE_MAX_S,
    )
    step = require_as_signed(order, admitted)
    request = admitted.request
    if request.criteria is not None:
        raise Refused(
            "step-slurm", "an evaluation is measured by a builder with a sandbox", hint="keyturn run STEP.toml"
        )
    script = slurm.script()
    _require_script(request, script, slurm.command())  # (2)
    image = slurm.container()
    if image is not None and not slurm.runs_containers():
        raise Refused(
            "job-image",
            f"the job asks for the container `{image[:200]}`, and Slurm has no oci.conf: it would run without",
            hint="submit it without --container; or its operators set containers up, on every node",
        )
    mark = parts.jobs.marks / admitted.digest
    _mark(mark, job)  # (3)
    with jobs.alone(job):
        _mark(mark, job)  # what it ran before may have ended well meanwhile
        earlier = jobs.held(job)
        again = earlier is not None and earlier.request == admitted.raw
        attempt = 1 if earlier is None or not again else earlier.attempt + 1
        started, restarts = parts.clock.now(), slurm.restarts()
        inputs, runtime = _hold(parts, order, step, admitted)  # (4)
        destination = Path(order.destination)
        parts.allowed.check(destination, what="destination", roots=parts.allowed.work)
        places = {o.name: str(destination / o.path.rpartition("/")[2]) for o in step.outputs}
        if not again and (taken := [place for place in places.values() if os.path.lexists(place)]):
            raise Usage(
                "destination-taken", f"`{taken[0]}` is there already", hint="sign a new order with another --out"
            )
        parts.log.append(admitted.raw)  # (5)
        held = HeldJob(
            request=admitted.raw,
            user=user,
            nodes=nodes,
            script=script,
            image=image,
            inputs=inputs,
            runtime=runtime,
            places=places,
            started_at=started,
            restarts=restarts,
            attempt=attempt,
        )
        jobs.hold(job, held)
    return request.step


def finish(parts: BuilderParts, jobs: SlurmJobs, job: str) -> str | None:
    """Say what came out of `job`, once Slurm is done with it; the record id, or None when there is nothing to say.

    A second call sends the same statement again: what was signed is kept until the log has it. Of a job that ended well, and
    whose outputs could not be taken, a second call tries again.
    """
    with jobs.alone(job):
        raw = jobs.signed(job)
        if raw is None:
            held = jobs.held(job)
            if held is None or (held := _ended(parts, jobs, job, held)) is None:
                return None
            try:
                raw = _made(parts, job, held)
            except Unavailable:
                raise
            except KeyturnError as err:
                jobs.fail(job, replace(held, failure=f"{err.message} [{err.code}]"))
                raise
            jobs.sign(job, raw)
        parts.log.append(raw)
        jobs.forget(job)
        return f"prv-{leaf_of(raw).record[:32]}"


def _ended(parts: BuilderParts, jobs: SlurmJobs, job: str, held: HeldJob) -> HeldJob | None:
    """Wait for how `job` ended, and keep that; None when Slurm runs it again. `Refused` unless it ended well, as it was held."""
    if held.ended is None:
        state, (exit_code, derived), restarts = _await_end(SlurmCommands(job))
        if state not in _OVER:
            return None  # it runs again, and is held again
        well = state == "COMPLETED" and exit_code == EXITED_WELL and restarts == held.restarts
        if well:
            _close(parts.jobs.marks / records.parse(held.request).digest)
        elif restarts != held.restarts:
            held = replace(
                held, failure=f"job {job} was held in another run than the one that ended: nothing is signed"
            )
        else:
            held = replace(held, failure=f"job {job} ended as {state}, exit code {exit_code}: nothing is signed")
        at = max(parts.clock.now(), held.started_at)
        ended = Ended(state=state, exit_code=exit_code, derived_exit_code=derived, at=at, well=well)
        held = replace(held, ended=ended)
        (jobs.hold if well else jobs.fail)(job, held)
    assert held.ended is not None
    if not held.ended.well:
        raise Refused("step-failed", held.failure)
    return held


def _made(parts: BuilderParts, job: str, held: HeldJob) -> bytes:
    record = records.parse(held.request)
    request = record.statement.predicate
    assert isinstance(request, StepRequest)
    assert held.ended is not None
    require_held(held.inputs, held.runtime)
    outputs = tuple(Output(name, _output(parts, Path(held.places[name]))) for name in request.outputs)
    require_made(request, outputs)
    derived = held.ended.derived_exit_code
    made = Provenance(
        lab=request.lab,
        build=request.build,
        step=request.step,
        request=record.digest,
        command=request.command,
        dependencies=(
            *(Dependency(i.name, i.role, i.artifact, NOWHERE, i.check) for i in request.inputs),
            *(Dependency(p, "runtime", ArtifactDigest.parse(held.runtime[p].digest)) for p in request.runtime),
        ),
        outputs=outputs,
        builder=parts.signer.id,
        level=parts.signer.level,
        sandbox="slurm",
        started_at=held.started_at,
        finished_at=held.ended.at,
        attempt=held.attempt,
        job=Job(
            id=job,
            user=held.user,
            nodes=held.nodes,
            script=held.script,
            exit_code=held.ended.exit_code,
            derived_exit_code=None if derived == EXITED_WELL else derived,
            image=held.image,
        ),
    )
    return dsse.render(parts.signer.sign(provenance.make(made)))


def _read_order(parts: BuilderParts, named: str, uid: int) -> bytes:
    path = Path(named)
    if not path.is_absolute():
        raise Malformed("order-path", "expected `keyturn:` and an absolute path in the job's comment")
    place = parts.allowed.check(path, what="order", roots=parts.allowed.work)
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        raise Refused("order-unreadable", f"`{place}`: {err.strerror}", hint="keyturn step order writes it") from err
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
            # One's own order alone: it runs once, and whoever could read another's would use it up.
            raise Refused(
                "order-of-another",
                f"`{place}` is no file of the job's user",
                hint="whoever submits the job orders it: keyturn step order",
            )
        raw = file.read(_ORDER_BYTES_MAX + 1)
    if len(raw) > _ORDER_BYTES_MAX:
        raise Malformed("order-too-large", f"order: expected at most {_ORDER_BYTES_MAX} bytes")
    return raw


def _require_script(request: StepRequest, script: Sha256, command: str) -> None:
    signed = {i.name: str(i.artifact) for i in request.inputs}.get(SCRIPT)
    if signed != f"sha256:{script}":
        raise Refused(
            "job-script",
            f"expected the batch script `{signed}`, which was signed as the input `{SCRIPT}`; Slurm has `sha256:{script}`",
            hint="submit the script that the STEP.toml names, unchanged",
        )
    words = request.command
    if words[0] != "sbatch" or len(words) < 2 or any(len(word.split()) != 1 for word in words):
        raise Refused(
            "job-command",
            'expected the command ["sbatch", "SCRIPT", ...] of words without spaces',
            hint="mend the STEP.toml, and sign a new order",
        )
    if command.split(" ")[1:] != list(words[2:]):
        raise Refused(
            "job-command",
            f"expected the arguments {list(words[2:])}, the job has others",
            hint="submit the script with the arguments that were signed",
        )


def _mark(path: Path, job: str) -> None:
    try:
        durable_files.create(path, job.encode(), mode=0o600, directory_mode=0o700)
    except FileExistsError as err:
        if path.read_bytes() != job.encode():
            raise Conflict("step-ran", "this order ran before", hint="sign a new one: keyturn step order") from err
    except OSError as err:
        raise _unmarked(err) from err


def _close(path: Path) -> None:
    try:
        durable_files.replace(path, _ENDED, mode=0o600, directory_mode=0o700)
    except OSError as err:
        raise _unmarked(err) from err


def _unmarked(err: OSError) -> Unavailable:
    return Unavailable(
        "mark-unwritable",
        f"the mark that it ran cannot be kept: {err.strerror}",
        hint="free space in the builder's directory",
    )


def _hold(
    parts: BuilderParts, order: Order, step: StepFile, admitted: AdmittedStep
) -> tuple[dict[str, Held], dict[str, Held]]:
    base, sources = Path(order.base), layout_of(step).inputs
    held: dict[str, Held] = {}
    for declared in admitted.request.inputs:
        source, _ = sources[declared.name]
        if source == STEP_SOURCE:
            continue  # its bytes are in the order, and were held against the request
        if declared.check != "full":
            raise Refused("step-check", f"`{declared.check}` cannot be had of a job: say `full`")
        path = parts.allowed.check(base / source, what="input", roots=parts.allowed.work)
        found = hold_input(path)
        require_declared(declared, ArtifactDigest.parse(found.digest))
        held[declared.name] = found
    runtimes = {
        path: hold_runtime(
            parts.allowed.check(Path(os.path.normpath(base / path)), what="runtime", roots=parts.allowed.runtime)
        )
        for path in admitted.request.runtime
    }
    return held, runtimes


def _output(parts: BuilderParts, place: Path) -> ArtifactDigest:
    settling.require_left(place, called=str(place))
    if place.is_symlink():
        raise Refused("file-symlink", f"output `{place.name}` is a symbolic link: an artifact holds files only")
    return manifest.contents(parts.allowed.check(place, what="output", roots=parts.allowed.work)).identity


def _await_end(slurm: SlurmCommands) -> tuple[str, tuple[str, str], int]:
    """Wait until no node of the job has anything of it: state, exit codes, and how often it was queued again.

    The number comes last: when it is that of the run that was held, so is what was asked before.
    """
    until = running() + _ENDS_WITHIN_S
    while True:
        try:
            if (state := slurm.state()) != "COMPLETING":
                return state, slurm.exit_codes(), slurm.restarts()
            late = Unavailable("job-not-ended", "a node of the job has not ended it in time", hint="look at the node")
        except Unavailable as err:  # a controller that is started again
            if err.code == "slurm-forgot":
                raise
            late = err
        if running() > until:
            raise late
        pause(_LOOK_EVERY_S)
