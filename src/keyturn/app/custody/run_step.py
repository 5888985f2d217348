"""Run one admitted step: check what goes in, run it, digest what comes out, sign and log its provenance, publish.

1. hold every input, and compare it with the digest that was signed; what another lab released is what its pack proves;
2. log the criteria (of an evaluation), then the request: both before anything runs;
3. digest the runtime;
4. run the command in the sandbox;
5. check that nothing that was held changed meanwhile;
6. digest the outputs, and judge them: none is an input, and a package keeps its model;
7. sign the provenance, and for an evaluation the test result, and log both, also after a crash in between;
8. publish the outputs with the receipt, all at once.

Whatever fails, nothing of the step is visible; a step that failed has a request in the log, and no provenance.

A process may die at any point of this, and the next one calls it again with the same journal
(docs/decisions/0131-interrupted-steps.md): a command that ended is not run again, and what was signed is not signed again. A
command that was running is begun again as another attempt, whose number is in the provenance.
The signing key is the caller's: nothing here hands it to the sandbox, and the sandbox sees the files it was given only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from keyturn.app.custody import opened_files
from keyturn.app.custody.admit_step import AdmittedStep
from keyturn.app.custody.hold_inputs import Released, hold_inputs
from keyturn.app.custody.judge_outputs import (
    MEASUREMENT,
    MEASUREMENT_BYTES_MAX,
    MODEL,
    judge_measurement,
    keeps_model,
    require_criteria,
    require_kept,
    require_made,
)
from keyturn.app.custody.opened_files import OPENED, OPENED_NAME
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import dsse, provenance, test_result
from keyturn.formats.built import built
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.provenance import NOWHERE, BuilderId, Dependency, Level, Output, Provenance
from keyturn.formats.steps import StepRequest
from keyturn.ports import (
    Clock,
    EndedCommand,
    HeldInput,
    LogWriter,
    RecordOutbox,
    RunJournal,
    Sandbox,
    SandboxJob,
    SandboxRun,
    SignedRun,
    StepFiles,
    StepMount,
)

__all__ = [
    "LOG_NAME",
    "RECEIPT_NAME",
    "Layout",
    "Receipt",
    "Signer",
    "Stage",
    "finish_run",
    "read_receipt",
    "render_receipt",
    "require_criteria",
    "run_step",
]

RECEIPT_NAME = "step.json"
LOG_NAME = "step.log"
_SHOWN_MAX = 100

Stage = Literal["checking inputs", "checking runtime", "running", "digesting outputs", "signing", "logging"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a step's things are: (source, mount) by input; the path below /out of each output, and of `resume`.

    `traced`: what it opens is followed, and listed in a byproduct.
    """

    inputs: Mapping[str, tuple[str, str]]
    outputs: Mapping[str, str]
    resume: str | None = None
    traced: bool = False
    packs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Of an input that another lab released: (its pack, that lab's first root), by input."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs provenance here: its id, the level that it claims, and its key, which never leaves the closure."""

    id: BuilderId
    level: Level
    sign: Callable[[bytes], Envelope]


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a run left, for people and for `from-step:` in the next STEP.toml. Unsigned: the records in the log count."""

    version: Literal[1] = 1
    step: str
    request: str
    provenance: str
    outputs: dict[str, str]
    test_result: str | None = None
    passed: bool | None = None
    undeclared: tuple[str, ...] | None = None
    """Of a traced step: what it opened and did not declare; `unread` are the inputs of which it opened nothing."""
    unread: tuple[str, ...] | None = None


def run_step(
    admitted: AdmittedStep,
    layout: Layout,
    *,
    signer: Signer,
    criteria: bytes | None,
    released: Released,
    files: StepFiles,
    sandbox: Sandbox,
    log: LogWriter,
    outbox: RecordOutbox,
    journal: RunJournal,
    clock: Clock,
    on_stage: Callable[[Stage], None],
    stopped: Callable[[], bool],
) -> Receipt:
    """Run `admitted` as `layout` says. Raises `Refused` when an input, the step or an output is not as declared.

    Raises `Unavailable` `step-stopped` when `stopped()` while the command ran: it may be begun again, by the same journal.
    """
    request, earlier = admitted.request, journal.earlier()
    _check_names(request, layout)
    judge = require_criteria(request, criteria)
    if judge is not None and outbox.waits():
        # INVARIANT: a builder measures again only once everybody can see what it measured before.
        raise Unavailable(
            "results-wait",
            "what this builder measured before is not in the log yet, and nothing is measured again until it is",
            hint="its operator finds out why: the builder says `outbox-waits` or `outbox-refused`",
        )
    attempt, resumed, ended = earlier.attempts, earlier.resumed, earlier.ended
    if ended is None or not files.staged(tuple(layout.outputs.values())):
        on_stage("checking inputs")
        held = _hold(request, layout, files, released)  # (1)
        for raw in (criteria, admitted.raw):  # (2)
            if raw is not None:
                log.append(raw)
        on_stage("checking runtime")
        runtime = [(path, *files.hold_runtime(path)) for path in request.runtime]  # (3)
        staging, left = files.staging(layout.resume)
        resumed = None if left is None else str(left)
        on_stage("running")
        attempt = journal.begin(resumed)
        mounts = tuple(StepMount(held[name].place, mount) for name, (_, mount) in layout.inputs.items())
        job = _job(request, layout, mounts, [place for _, _, place in runtime], staging, attempt)
        started_at = clock.now()
        ran = sandbox.run(job, stopped=stopped, mounted=lambda seen: files.check_mounted(seen, mounts))  # (4)
        _refuse_failure(request, ran, stopped)
        listed = _opened(request, layout, ran)
        files.check_held()  # (5)
        files.settle(tuple(layout.outputs.values()))
        finished_at = max(clock.now(), started_at)
        ended = EndedCommand(
            started_at,
            finished_at,
            ran.output,
            runtime=tuple((path, str(digest)) for path, digest, _ in runtime),
            origins=tuple((name, one.origin) for name, one in held.items()),
            opened=listed,
        )
        journal.ended(ended)
    elif keeps_model(request):
        _hold(request, layout, files, released)
    on_stage("digesting outputs")
    outputs = tuple(Output(name, files.take_output(layout.outputs[name])) for name in request.outputs)  # (6)
    if keeps_model(request):
        made_at = {name: layout.outputs[name] for name in request.outputs}
        require_kept(made_at, model=layout.inputs[MODEL][0], files=files)
    require_made(request, outputs)
    on_stage("signing")
    opened = None if ended.opened is None else opened_files.parse(ended.opened)
    made = _provenance(admitted, ended, outputs, signer=signer, sandbox=sandbox.kind, attempt=(attempt, resumed))
    result = None
    if judge is not None:
        measured = files.read_output(layout.outputs[MEASUREMENT], size_bytes_max=MEASUREMENT_BYTES_MAX)
        result = judge_measurement(measured, admitted, judge, outputs, builder=signer.id)
    made_record = signer.sign(provenance.make(made))  # (7)
    result_record = None if result is None else signer.sign(test_result.make(result))
    receipt = Receipt(
        step=request.step,
        request=admitted.digest,
        provenance=made_record.record_digest,
        outputs={output.name: str(output.digest) for output in outputs},
        test_result=None if result_record is None else result_record.record_digest,
        passed=None if result is None else result.passed,
        undeclared=None if opened is None else opened.undeclared[:_SHOWN_MAX],
        unread=None if opened is None else opened.unread,
    )
    signed = SignedRun(
        tuple(dsse.render(record) for record in (made_record, result_record) if record is not None),
        render_receipt(receipt),
        ended.output,
        ended.opened,
    )
    journal.signed(signed)
    return finish_run(signed, layout, files=files, outbox=outbox, on_stage=on_stage)


def _hold(request: StepRequest, layout: Layout, files: StepFiles, released: Released) -> dict[str, HeldInput]:
    sources = {name: source for name, (source, _) in layout.inputs.items()}
    return hold_inputs(request, sources, layout.packs, files=files, released=released)


def _job(
    request: StepRequest,
    layout: Layout,
    mounts: tuple[StepMount, ...],
    runtime: Sequence[str],
    staging: str,
    attempt: int,
) -> SandboxJob:
    return SandboxJob(
        command=request.command,
        mounts=mounts,
        runtime=tuple(runtime),
        outputs=staging,
        network=request.network,
        devices=request.devices,
        timeout_s=request.timeout_s,
        environment={"KEYTURN_STEP": request.step, "KEYTURN_ATTEMPT": str(attempt)},
        traced=layout.traced,
    )


def finish_run(
    signed: SignedRun, layout: Layout, *, files: StepFiles, outbox: RecordOutbox, on_stage: Callable[[Stage], None]
) -> Receipt:
    """Log and publish what was signed, whoever may have begun with that before."""
    on_stage("logging")
    outbox.send(signed.records)
    files.publish(tuple(layout.outputs.values()), _beside(signed))  # (8)
    return read_receipt(signed.receipt)


def render_receipt(receipt: Receipt) -> bytes:
    """The text of a receipt, as it lies beside the outputs."""
    return msgspec.json.format(msgspec.json.encode(receipt, order="sorted"), indent=2) + b"\n"


def read_receipt(raw: bytes) -> Receipt:
    """Parse a receipt, or raise `Malformed`."""
    try:
        return msgspec.json.decode(raw, type=built(Receipt))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("receipt-invalid", f"no receipt of a step: {str(err)[:300]}") from err


def _provenance(
    admitted: AdmittedStep,
    ended: EndedCommand,
    outputs: tuple[Output, ...],
    *,
    signer: Signer,
    sandbox: Literal["bubblewrap", "none"],
    attempt: tuple[int, str | None],
) -> Provenance:
    request, (number, resumed), origins = admitted.request, attempt, dict(ended.origins)
    return Provenance(
        lab=request.lab,
        build=request.build,
        step=request.step,
        request=admitted.digest,
        command=request.command,
        dependencies=(
            *(Dependency(i.name, i.role, i.artifact, origins.get(i.name, NOWHERE), i.check) for i in request.inputs),
            *(Dependency(path, "runtime", ArtifactDigest.parse(digest)) for path, digest in ended.runtime),
        ),
        outputs=outputs,
        builder=signer.id,
        level=signer.level,
        sandbox=sandbox,
        started_at=ended.started_at,
        finished_at=ended.finished_at,
        byproducts=(
            Output("log", ArtifactDigest("sha256", sha256(ended.output))),
            *(() if ended.opened is None else (Output(OPENED, ArtifactDigest("sha256", sha256(ended.opened))),)),
        ),
        attempt=number,
        resumed=None if resumed is None else ArtifactDigest.parse(resumed),
    )


def _opened(request: StepRequest, layout: Layout, ran: SandboxRun) -> bytes | None:
    if not layout.traced:
        return None
    if ran.trace is None:
        raise Refused("step-untraced", "the STEP.toml says `traced`, and this sandbox did not follow what was opened")
    inputs = {name: mount for name, (_, mount) in layout.inputs.items()}
    found = opened_files.judge(ran.trace.opened, inputs=inputs, runtime=request.runtime, left_off=ran.trace.left_off)
    return opened_files.render(found)


def _beside(signed: SignedRun) -> dict[str, bytes]:
    made = {RECEIPT_NAME: signed.receipt, LOG_NAME: signed.output}
    return made if signed.opened is None else made | {OPENED_NAME: signed.opened}


def _check_names(request: StepRequest, layout: Layout) -> None:
    if set(layout.inputs) != {i.name for i in request.inputs} or set(layout.outputs) != set(request.outputs):
        raise Refused("step-differs", "the places given are not those of the step's inputs and outputs")
    taken = {path.rpartition("/")[2] for path in layout.outputs.values()} & {RECEIPT_NAME, LOG_NAME, OPENED_NAME}
    if taken:
        raise Refused("step-output-name", f"an output cannot be called `{min(taken)}`: the builder writes that file")


def _refuse_failure(request: StepRequest, ran: SandboxRun, stopped: Callable[[], bool]) -> None:
    said = ran.output[-2000:].decode("utf-8", "backslashreplace")
    if ran.timed_out and stopped():
        raise Unavailable(
            "step-stopped",
            f"step `{request.step}` was stopped with its builder",
            hint="it goes on when the builder starts again: keyturn step wait",
            detail=said,
        )
    if ran.timed_out:
        why = f"step `{request.step}` ran longer than {request.timeout_s} s"
        raise Refused("step-timeout", why, hint="raise timeout_s", detail=said)
    if ran.status != 0:
        raise Refused(
            "step-failed",
            f"step `{request.step}` ended with status {ran.status}; the last it said: {_plain(said)}",
        )


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text.strip()[-800:])
