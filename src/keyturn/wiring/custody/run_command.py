"""What `keyturn run` does: resolve and sign a step's request, then have the builder run it, or run it here without one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from keyturn.adapters.clock import SystemClock, SystemEntropy, pause
from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.allowed_places import Allowed
from keyturn.adapters.files.config_files import read_small, write_new
from keyturn.adapters.files.job_files import NoJournal
from keyturn.adapters.files.outbox_files import StraightToLog
from keyturn.adapters.files.step_files import LocalStepFiles, require_free
from keyturn.adapters.inputs import oci_place, s3_place
from keyturn.adapters.inputs.held_inputs import ANYWHERE
from keyturn.adapters.no_sandbox import NoSandbox
from keyturn.adapters.over_http import errors_over_http
from keyturn.adapters.over_http.builder_over_http import BuilderOverHttp, JobState, Order, Outcome
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.app.custody.admit_step import AGE_MAX_S, admit_step
from keyturn.app.custody.other_lab import require_released
from keyturn.app.custody.run_step import Signer, run_step
from keyturn.app.records.find_record import find_record, only_one
from keyturn.app.records.nearest import meant
from keyturn.config import step as step_config
from keyturn.config.step import StepFile
from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import KeyturnError, Refused, Unavailable, Usage
from keyturn.formats import records
from keyturn.formats.digest import Sha256, parse_sha256
from keyturn.formats.provenance import BuilderId
from keyturn.formats.steps import StepRequest
from keyturn.trust.roster import TrustState
from keyturn.wiring.custody.steps import STEP_SOURCE, declared_inputs, layout_of, make_request, sign_request
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_person
from keyturn.wiring.log.log import lab_index, log_reader, log_writer, trust_behind

__all__ = [
    "OnProgress",
    "PreparedStep",
    "await_step",
    "find_job",
    "job_state",
    "order_step",
    "prepare",
    "run_here",
    "write_order",
]

OnProgress = Callable[[str, int, int], None]
"""Called with (what is being done, bytes done, bytes in all or 0)."""

_WAIT_S = 1.0
_SILENT_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStep:
    """A step whose request can be shown, and then signed with `key`."""

    raw: bytes
    step: StepFile
    base: Path
    destination: Path
    request: StepRequest
    criteria: bytes | None
    trust: TrustState
    key: RecordSigner


def prepare(
    place: LabPlace,
    path: Path,
    *,
    out: Path | None,
    criteria: str | None,
    builder: str | None,
    sandboxed: bool,
    key: str | None,
) -> PreparedStep:
    """Read the STEP.toml at `path`, resolve every digest, and make the request that its member signs."""
    raw = read_small(path)
    step = step_config.parse(raw, where=str(path))
    base = path.absolute().parent
    destination = (out or base / "out").absolute()
    require_free(destination)  # before anything is signed and logged
    person = find_person()
    with log_reader(place) as reader:
        trust = trust_behind(place, reader).newest
    signer = own_signer(person, approving=False, named=key, view=PageView(trust.roster))
    named = _criteria_record(place, step, criteria)
    request = make_request(
        step,
        declared_inputs(raw, step, base),
        trust=trust,
        member=person.config.member,
        key=signer,
        builder=_builder(trust, builder) if sandboxed else None,
        criteria=None if named is None else named[0],
        places=(str(base), str(destination)),
        nonce=SystemEntropy().nonce(),
        now=SystemClock().now(),
    )
    return PreparedStep(
        raw=raw,
        step=step,
        base=base,
        destination=destination,
        request=request,
        criteria=None if named is None else named[1],
        trust=trust,
        key=signer,
    )


def order_step(place: LabPlace, prepared: PreparedStep) -> Sha256:
    """Sign the request, and hand it to the lab's builder; the digest of the request, by which `await_step` asks for it."""
    return parse_sha256(_builder_of(place, prepared.request.builder).order(_order(prepared)).job)


def write_order(prepared: PreparedStep, path: Path) -> Sha256:
    """Sign the request, and keep the order in the new file `path`; the digest of the request."""
    order = _order(prepared)
    write_new(path, msgspec.json.encode(order))
    return records.parse(order.request).digest


def _order(prepared: PreparedStep) -> Order:
    return Order(
        request=sign_request(prepared.request, prepared.key),
        step_file=prepared.raw,
        base=str(prepared.base),
        destination=str(prepared.destination),
        criteria=prepared.criteria,
    )


def await_step(place: LabPlace, job: Sha256, on_progress: OnProgress, *, builder: str | None) -> JobState:
    """Wait until the builder is done with `job`: its last state, with an outcome; raises the builder's own error.

    Waiting changes nothing: whoever stops waiting can begin again.
    """
    state = _builder_of(place, builder).state(job, wait_s=0)
    silent = 0
    while state.outcome is None:
        if state.error is not None:
            raise errors_over_http.as_raised(state.error)
        on_progress(_said(state), state.done, state.total)
        try:
            # Found anew: it may have started again elsewhere.
            state = _builder_of(place, builder).state(state.job, wait_s=_WAIT_S)
            silent = 0
        except Unavailable as err:
            silent += 1
            if silent > _SILENT_MAX:
                raise Unavailable(
                    "builder-silent",
                    f"the builder does not answer: {err.message}",
                    hint=f"the step is kept, and goes on when the builder starts again; then keyturn step wait stp-{job[:32]}",
                ) from err
            on_progress("waiting for the builder to start again", 0, 0)
            pause(_WAIT_S)
    return state


def job_state(place: LabPlace, job: Sha256, *, builder: str | None) -> JobState:
    """How `job` stands at the builder now."""
    return _builder_of(place, builder).state(job, wait_s=0)


def find_job(place: LabPlace, named: str) -> tuple[Sha256, str | None]:
    """The step request that `named` (`stp-` and 8 to 64 digits) is in the log, and the builder that it asks."""
    with lab_index(place) as index:
        found = find_record(index, named if named.startswith("stp-") else f"stp-{named}")
    with log_reader(place) as reader:
        asked = records.parse(reader.envelope(Sha256(found.envelope))).statement.predicate
    return Sha256(found.record), asked.builder if isinstance(asked, StepRequest) else None


def _builder_of(place: LabPlace, name: str | None) -> BuilderOverHttp:
    """The builder `name`: at an address of its own, `builder-<name>`, or the lab's only one."""
    own = f"builder-{name}"
    return BuilderOverHttp(HttpClient(place.process_url(own if own in place.processes() else "builder")))


def run_here(place: LabPlace, prepared: PreparedStep, on_progress: OnProgress) -> Outcome:
    """Run the step as a plain process of this user, and sign its provenance as the member: level 1, no sandbox."""
    member, key = prepared.request.member, prepared.key
    admitted = admit_step(
        sign_request(prepared.request, key),
        trust=prepared.trust,
        builder=None,
        require_unsuspended=lambda *_: None,  # one's own machine: the log and every verifier look at suspensions
        now=SystemClock().now(),
        age_max_s=AGE_MAX_S,
    )
    anywhere = (Path("/"),)
    stage = ["starting"]
    with (
        log_writer(place) as log,
        LocalStepFiles(
            base=prepared.base,
            destination=prepared.destination,
            allowed=Allowed(work=anywhere, runtime=anywhere, private=()),
            memory=None,
            sources=ANYWHERE,
            s3=s3_place.place_of_environment(os.environ),
            oci=oci_place.place_of_environment(os.environ),
            progress=lambda done, total: on_progress(stage[0], done, total),
        ) as files,
    ):
        files.put_input(STEP_SOURCE, prepared.raw)

        def on_stage(name: str) -> None:
            stage[0] = name
            on_progress(name, 0, 0)

        receipt = run_step(
            admitted,
            layout_of(prepared.step),
            signer=Signer(
                BuilderId(prepared.request.lab, "member", member),
                1,
                lambda payload: dsse_signing.sign(payload, key),
            ),
            criteria=prepared.criteria,
            released=lambda artifact, pack, root: require_released(
                artifact, pack=pack, root=root, outside=prepared.trust.outside, verify=Verifiers().verify
            ),
            files=files,
            sandbox=NoSandbox(),
            log=log,
            outbox=StraightToLog(log),
            journal=NoJournal(),
            clock=SystemClock(),
            on_stage=on_stage,
            stopped=lambda: False,
        )
    return Outcome(
        provenance=receipt.provenance,
        outputs=receipt.outputs,
        destination=str(prepared.destination),
        test_result=receipt.test_result,
        passed=receipt.passed,
        undeclared=receipt.undeclared,
        unread=receipt.unread,
    )


def _said(state: JobState) -> str:
    if state.state == "queued":
        return f"waiting behind {state.ahead}" if state.ahead else "waiting"
    said = state.stage or "starting"
    return f"{said}, attempt {state.attempt}" if state.attempt > 1 else said


def _builder(trust: TrustState, named: str | None) -> str:
    if named is not None:
        if named not in trust.builders:
            raise Refused(
                "builder-unknown",
                f"the lab has no builder `{named[:80]}`",
                hint=meant(named, trust.builders, what="builders"),
            )
        return named
    if len(trust.builders) != 1:
        raise Usage(
            "builder-which",
            f"expected one builder in the lab's targets, there are {len(trust.builders)}",
            hint="--builder NAME, or --no-sandbox",
        )
    return next(iter(trust.builders))


def _criteria_record(place: LabPlace, step: StepFile, named: str | None) -> tuple[str, bytes] | None:
    """Find the criteria in the log by record id, digest or unique prefix; its digest and its envelope."""
    if step.criteria is not None and named is not None and not step.criteria.startswith(named.removeprefix("crt-")):
        raise Usage("step-criteria", "the STEP.toml names other criteria than --criteria")
    wanted = step.criteria or (named or "").removeprefix("crt-")
    if not wanted:
        return None
    with lab_index(place) as index:
        found = index.by_record(wanted, "crt")
    if not found:
        raise Refused(
            "criteria-unknown",
            f"the log has no criteria `{wanted[:80]}`",
            hint="keyturn step criteria logs some; keyturn log show lists what there is",
        )
    only = only_one(wanted, found)
    with log_reader(place) as reader:
        try:
            return only.record, reader.envelope(Sha256(only.envelope))
        except KeyturnError as err:
            raise Unavailable("criteria-unreadable", f"criteria `{wanted[:80]}` cannot be read: {err.message}") from err
