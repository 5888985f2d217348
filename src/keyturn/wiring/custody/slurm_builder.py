"""A builder beside Slurm's controller: before a job of a signed order starts, and when it is over.

The job names the order in its comment, `keyturn:<path of the order>`. Before anything runs (`begin`):

1. the order is a file of the job's own user, in a work directory, and its request is one that a member signed for this builder;
2. the batch script that Slurm keeps is the request's input `script`, and its arguments are those of the request's command;
3. it runs once: a mark names the job, which Slurm may requeue;
4. every input has the digest that was signed; the runtimes are digested;
5. the request is logged; what was held is kept in lab/builder/slurm/, until

the job is over (`finish`): nothing of it runs any more, Slurm says COMPLETED, and what was held is what it was. Then the outputs
are digested, and the builder signs. Of a job that ended otherwise nothing is signed. The hooks write in no member's directory.

This is NOT a sandbox: what the job reads and runs besides, nobody watches; decision 0141.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from keyturn.adapters.clock import pause
from keyturn.adapters.files import durable_files
from keyturn.adapters.files.attempt_files import Held, hold_input, hold_runtime, require_held
from keyturn.adapters.over_http.builder_over_http import Order, decode
from keyturn.adapters.slurm_commands import SlurmCommands
from keyturn.app.custody.admit_step import AdmittedStep, admit_step
from keyturn.bulk import manifest
from keyturn.config.step import StepFile
from keyturn.errors import Conflict, Malformed, Refused, Unavailable, Usage
from keyturn.formats import dsse, provenance, records
from keyturn.formats.built import built
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.provenance import NOWHERE, Dependency, Job, Output, Provenance
from keyturn.formats.records import leaf_of
from keyturn.formats.steps import StepRequest
from keyturn.wiring.custody.builder import BuilderParts
from keyturn.wiring.custody.steps import STEP_SOURCE, layout_of, require_as_signed

__all__ = ["COMMENT", "SCRIPT", "begin", "finish"]

COMMENT = "keyturn:"
SCRIPT = "script"
"""The input that is the batch script."""

_AGE_MAX_S = 14 * 86400
"""How long a signed order may wait in the queue. It runs once, and names the newest trust version all the same."""
_ORDER_BYTES_MAX = 1 << 20
_LOOK_EVERY_S = 0.5
_LOOKS_MAX = 7200


class _Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept while the job runs. `places` are the outputs, by name."""

    request: bytes
    job: Job
    inputs: dict[str, Held]
    runtime: dict[str, Held]
    places: dict[str, str]
    started_at: int
    restarts: int
    """Which run of the job was held: between two, its user may take `keyturn:` out of the comment, and put it back."""


def begin(parts: BuilderParts, directory: Path, job: str, *, comment: str, nodes: str) -> str:
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
    ran = Job(id=job, user=user, nodes=nodes, script=slurm.script(), image=slurm.container())
    _require_script(request, ran, slurm.command())  # (2)
    started, restarts = parts.clock.now(), slurm.restarts()
    _mark(parts.jobs.marks / admitted.digest, job)  # (3)
    inputs, runtime = _hold(parts, order, step, admitted)  # (4)
    destination = Path(order.destination)
    parts.allowed.check(destination, what="destination", roots=parts.allowed.work)
    places = {o.name: str(destination / o.path.rpartition("/")[2]) for o in step.outputs}
    if taken := [place for place in places.values() if os.path.lexists(place)]:
        raise Usage("destination-taken", f"`{taken[0]}` is there already", hint="sign a new order with another --out")
    parts.log.append(admitted.raw)  # (5)
    begun = _Begun(
        request=admitted.raw,
        job=ran,
        inputs=inputs,
        runtime=runtime,
        places=places,
        started_at=started,
        restarts=restarts,
    )
    _keep(directory / f"{job}.json", msgspec.json.encode(begun))
    return request.step


def finish(parts: BuilderParts, directory: Path, job: str) -> str | None:
    """Say what came out of `job`, once Slurm is done with it; the record id, or None when there is nothing to say.

    A second call sends the same statement again: what was signed is kept until the log has it.
    """
    held, signed = directory / f"{job}.json", directory / f"{job}.signed"
    if not signed.exists():
        if not held.exists():
            return None
        begun = msgspec.json.decode(held.read_bytes(), type=built(_Begun))
        slurm = SlurmCommands(job)
        state = _await_end(slurm)
        if state in ("PENDING", "CONFIGURING", "RUNNING", "REQUEUED"):
            return None  # it runs again, and is held again
        if state != "COMPLETED":
            held.unlink()
            raise Refused("step-failed", f"job {job} ended as {state[:40]}: nothing is signed")
        if slurm.restarts() != begun.restarts:
            held.unlink()
            raise Refused(
                "step-failed", f"job {job} was held in another run than the one that ended: nothing is signed"
            )
        _keep(signed, _made(parts, begun))
    raw = signed.read_bytes()
    parts.log.append(raw)
    held.unlink(missing_ok=True)
    signed.unlink()
    return f"prv-{leaf_of(raw).record[:32]}"


def _made(parts: BuilderParts, begun: _Begun) -> bytes:
    record = records.parse(begun.request)
    request = record.statement.predicate
    assert isinstance(request, StepRequest)
    require_held(begun.inputs, begun.runtime)
    outputs = tuple(Output(name, _output(parts, Path(begun.places[name]))) for name in request.outputs)
    given = {i.artifact: i.name for i in request.inputs if i.role == "input"}
    for output in outputs:
        if output.digest in given:
            raise Refused(
                "output-is-input",
                f"output `{output.name}` is the input `{given[output.digest]}` unchanged",
                hint="name the input itself where it is needed",
            )
    finished = max(parts.clock.now(), begun.started_at)
    durable_files.replace(
        parts.jobs.marks / record.digest, b"", mode=0o600, directory_mode=0o700
    )  # no requeue any more
    made = Provenance(
        lab=request.lab,
        build=request.build,
        step=request.step,
        request=record.digest,
        command=request.command,
        dependencies=(
            *(Dependency(i.name, i.role, i.artifact, NOWHERE, i.check) for i in request.inputs),
            *(Dependency(p, "runtime", ArtifactDigest.parse(begun.runtime[p].digest)) for p in request.runtime),
        ),
        outputs=outputs,
        builder=parts.signer.id,
        level=parts.signer.level,
        sandbox="slurm",
        started_at=begun.started_at,
        finished_at=finished,
        job=begun.job,
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


def _require_script(request: StepRequest, ran: Job, command: str) -> None:
    signed = {i.name: str(i.artifact) for i in request.inputs}.get(SCRIPT)
    if signed != f"sha256:{ran.script}":
        raise Refused(
            "job-script",
            f"expected the batch script `{signed}`, which was signed as the input `{SCRIPT}`; Slurm has `sha256:{ran.script}`",
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
        raise Unavailable(
            "mark-unwritable",
            f"the mark that it ran cannot be kept: {err.strerror}",
            hint="free space in the builder's directory",
        ) from err


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
        if found.digest != declared.digest:
            raise Refused(
                "input-digest",
                f"input `{declared.name}`: expected `{declared.digest}`, found `{found.digest}`",
                hint="find out who changed it; if the change is meant, declare the new digest",
            )
        held[declared.name] = found
    runtimes = {
        path: hold_runtime(
            parts.allowed.check(Path(os.path.normpath(base / path)), what="runtime", roots=parts.allowed.runtime)
        )
        for path in admitted.request.runtime
    }
    return held, runtimes


def _output(parts: BuilderParts, place: Path) -> ArtifactDigest:
    if not os.path.lexists(place):
        raise Refused("output-missing", f"the job left nothing at `{place}`")
    if place.is_symlink():
        raise Refused("file-symlink", f"output `{place.name}` is a symbolic link: an artifact holds files only")
    return manifest.contents(parts.allowed.check(place, what="output", roots=parts.allowed.work)).identity


def _await_end(slurm: SlurmCommands) -> str:
    """Wait until no node of the job has anything of it; what it came to."""
    for _ in range(_LOOKS_MAX):
        if (state := slurm.state()) != "COMPLETING":
            return state
        pause(_LOOK_EVERY_S)
    raise Unavailable("job-not-ended", "a node of the job has not ended it within an hour", hint="look at the node")


def _keep(path: Path, content: bytes) -> None:
    try:
        durable_files.replace(path, content, mode=0o600, directory_mode=0o700)
    except OSError as err:
        raise Unavailable("job-unwritable", f"`{path}`: {err.strerror}", hint="free space there") from err
