"""Keep the checkpoints of an attempt, and close it: the word of a member about a job that no builder starts.

A checkpoint's statement is durable beside the job before anybody tries to log it: a job without a way to the log goes on, and
what waits is sent with the next checkpoint, by `keyturn step resume`, and by `keyturn step close`. How an attempt begins:
`wiring.custody.open_attempt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from keyturn.adapters.clock import SystemClock, pause
from keyturn.adapters.files import settling
from keyturn.adapters.files.attempt_files import (
    AttemptFiles,
    Kept,
)
from keyturn.adapters.files.config_files import read_small
from keyturn.adapters.files.step_files import require_free
from keyturn.app.custody.attempt import Attempt, attempt_of
from keyturn.app.custody.judge_outputs import require_made
from keyturn.app.custody.run_step import LOG_NAME, RECEIPT_NAME, Receipt
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.bulk import manifest
from keyturn.config import step as step_config
from keyturn.config.step import PARAMETERS_MOUNT, PARAMETERS_NAME, STEP_NAME
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Usage, together
from keyturn.formats import dsse, provenance
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.provenance import Output
from keyturn.formats.records import leaf_of
from keyturn.wiring.custody.attempt_inputs import (
    OnBytes,
)
from keyturn.wiring.lab.places import LabPlace, find_lab
from keyturn.wiring.log.log import log_reader, log_writer, trust_behind

__all__ = [
    "Closed",
    "StepPlaces",
    "attempt_in",
    "checkpoints_of",
    "close_attempt",
    "commit_checkpoint",
    "find_step",
    "send_waiting",
]

_IN_FORCE_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Closed:
    """What came out of an attempt, and where it lies."""

    step: str
    destination: Path
    outputs: Mapping[str, str]
    provenance: str
    checkpoints: int


@dataclass(frozen=True, slots=True)
class StepPlaces:
    """Where a program that is a step finds its inputs, makes its outputs, and may write checkpoints."""

    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    checkpoints: Path


def find_step(environment: Mapping[str, str]) -> tuple[StepPlaces, AttemptFiles | None]:
    """The step that a program with `environment` is a part of; without an attempt in a sandbox, whose builder speaks for it."""
    named, inside, outside = (environment.get(name) for name in ("KEYTURN_STEP", "KEYTURN_IN", "KEYTURN_OUT"))
    if inside is not None and outside is not None:
        step = step_config.parse(read_small(Path(inside, STEP_NAME)))
        inputs = {i.name: Path(inside, i.mount.removeprefix("/in/")) for i in step.inputs}
        if step.parameters is not None:
            inputs[PARAMETERS_NAME] = Path(inside, PARAMETERS_MOUNT.removeprefix("/in/"))
        outputs = {o.name: Path(outside, o.path.removeprefix("/out/")) for o in step.outputs}
        return StepPlaces(inputs, outputs, Path(environment.get("TMPDIR", outside), "checkpoints")), None
    if named is None or not Path(named).is_absolute():
        raise Usage(
            "step-not-open",
            "expected KEYTURN_STEP to name the directory of an attempt",
            hint="keyturn step open STEP.toml prints what to set",
        )
    attempt = AttemptFiles(Path(named))
    place = attempt.place
    return (
        StepPlaces(
            {name: Path(held.path) for name, held in place.inputs.items()},
            {name: attempt.directory / "out" / path.rpartition("/")[2] for name, path in place.outputs.items()},
            attempt.directory / "checkpoints",
        ),
        attempt,
    )


def commit_checkpoint(files: AttemptFiles, checkpoint: Path, ranks: int, *, within_s: float) -> Kept:
    """Make the files at `checkpoint` the attempt's next one: wait for all ranks, hash what nobody did, sign, keep, log."""
    key, attempt = files.key(), attempt_in(files)
    written = files.parts(str(checkpoint), ranks, within_s=within_s)
    made = manifest.contents(checkpoint, written=written)
    number = max((one.number for one in files.segments()), default=0) + 1
    statement = attempt.segment(number, made.identity, key=key, now=SystemClock().now())
    kept = Kept(
        number=number,
        digest=str(made.identity),
        path=str(checkpoint),
        bytes=made.size_bytes,
        record=leaf_of(statement).record,
        logged=False,
    )
    files.keep_segment(kept, statement)
    files.forget_parts(str(checkpoint), ranks)
    try:
        send_waiting(files, find_lab(files.place.lab))
    except KeyturnError:
        return kept  # it waits beside the job; `keyturn step close` says what is wrong if it still is
    return msgspec.structs.replace(kept, logged=True)


def close_attempt(lab: LabPlace | None, directory: Path, *, on_bytes: OnBytes) -> Closed:
    """Digest the outputs, log all that waits and the last statement, put the outputs where they go, and forget the key.

    Done again after it broke off, it does what is left.
    """
    files = AttemptFiles(directory.absolute())
    place, attempt, key = files.place, attempt_in(files), files.key()
    found = lab or find_lab(place.lab)
    destination = Path(place.destination)
    require_free(destination)
    outputs, wrong = {}, list[KeyturnError]()
    for name, path in place.outputs.items():
        made = files.directory / "out" / path.rpartition("/")[2]
        try:
            settling.require_left(made, called=str(made))
            outputs[name] = manifest.contents(made, progress=partial(on_bytes, name)).identity
        except KeyturnError as err:
            wrong.append(err)
    try:
        files.require_held()
    except KeyturnError as err:
        wrong.append(err)
    if wrong:
        raise together(wrong)
    require_made(attempt.request, tuple(Output(name, digest) for name, digest in outputs.items()))
    send_waiting(files, found)
    statement = files.closing() or _closing(files, attempt, outputs, key)
    if {one.name: one.digest for one in provenance.read(dsse.parse_own(statement).payload).outputs} != outputs:
        raise Refused(
            "output-changed",
            "the outputs are not what was signed when somebody closed the attempt before, and it broke off",
            hint="put the outputs back as they were; nothing of an attempt can be signed twice",
        )
    record = leaf_of(statement).record
    with log_writer(found) as writer:
        index = writer.append(statement)
    _await_witnessed(found, index, statement)
    receipt = Receipt(
        step=attempt.request.step,
        request=attempt.digest,
        provenance=record,
        outputs={name: str(digest) for name, digest in outputs.items()},
    )
    files.publish(destination, {RECEIPT_NAME: msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n"})
    files.forget_key()
    return Closed(attempt.request.step, destination, receipt.outputs, record, len(files.segments()))


def _closing(files: AttemptFiles, attempt: Attempt, outputs: Mapping[str, ArtifactDigest], key: SoftwareKey) -> bytes:
    log = files.directory / LOG_NAME
    byproducts = {"log": manifest.contents(log).identity} if log.is_file() else {}
    statement = attempt.close(outputs, byproducts, key=key, now=SystemClock().now())
    files.keep_closing(statement)  # before the log has it: a second one by another clock would be a second end
    return statement


def checkpoints_of(directory: Path) -> tuple[Kept, ...]:
    """The checkpoints of the attempt in `directory`, by number."""
    files = AttemptFiles(directory.absolute())
    attempt_in(files)
    return files.segments()


def send_waiting(files: AttemptFiles, lab: LabPlace) -> int:
    """Log every checkpoint that the log lacks, in order; how many there were."""
    waiting = [one for one in files.segments() if not one.logged]
    if waiting:
        with log_writer(lab) as log:
            for one in waiting:
                log.append(files.statement(one))
                files.keep_segment(msgspec.structs.replace(one, logged=True))
    return len(waiting)


def attempt_in(files: AttemptFiles) -> Attempt:
    """The attempt that is kept in `files`."""
    place = files.place
    runtime = {name: ArtifactDigest.parse(held.digest) for name, held in place.runtime.items()}
    origins = {name: held.origin for name, held in place.inputs.items()}
    return attempt_of(files.request, runtime, origins=origins, started_at=place.started_at)


def _await_witnessed(lab: LabPlace, index: int, statement: bytes) -> None:
    with log_reader(lab) as reader:
        trust = trust_behind(lab, reader).newest
        await_witnessed(
            reader,
            index=index,
            leaf=leaf_of(statement),
            log=trust.log,
            limits=trust.limits,
            clock=SystemClock(),
            pause=pause,
            deadline_s=_IN_FORCE_WITHIN_S,
        )
