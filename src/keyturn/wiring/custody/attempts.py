"""Open, resume and close attempts, and keep their checkpoints: the word of a member about a job that no builder starts.

A checkpoint's statement is durable beside the job before anybody tries to log it: a job without a way to the log goes on, and
what waits is sent with the next checkpoint, by `keyturn step resume`, and by `keyturn step close`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from keyturn.adapters.clock import SystemClock, SystemEntropy, pause
from keyturn.adapters.files import settling
from keyturn.adapters.files.attempt_files import (
    INPUTS,
    AttemptFiles,
    Held,
    Kept,
    Place,
    hold_input,
    hold_runtime,
)
from keyturn.adapters.files.clearing import clear
from keyturn.adapters.files.config_files import read_small
from keyturn.adapters.files.step_files import require_free
from keyturn.app.custody.attempt import Attempt, attempt_of
from keyturn.app.custody.judge_outputs import require_made
from keyturn.app.custody.run_step import LOG_NAME, RECEIPT_NAME, Receipt
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.bulk import manifest
from keyturn.config import step as step_config
from keyturn.config.step import PARAMETERS_MOUNT, PARAMETERS_NAME, STEP_NAME, StepFile
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Usage, together
from keyturn.formats import dsse, provenance
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.provenance import Output
from keyturn.formats.records import leaf_of
from keyturn.formats.steps import CHECKPOINT, DeclaredInput, StepRequest
from keyturn.wiring.custody.attempt_inputs import (
    OnBytes,
    fetch_inputs,
    hold_inputs,
    released_inputs,
    require_attachable,
)
from keyturn.wiring.custody.steps import declared_inputs, make_request, sign_request
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_lab, find_person
from keyturn.wiring.log.log import log_reader, log_writer, trust_behind

__all__ = [
    "Closed",
    "Opened",
    "PreparedAttempt",
    "StepPlaces",
    "checkpoints_of",
    "close_attempt",
    "commit_checkpoint",
    "find_step",
    "open_attempt",
    "prepare_attempt",
    "prepare_next",
]

_IN_FORCE_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAttempt:
    """An attempt whose request can be shown, and then signed with `key`. `attempt_key` is the key of the attempt itself.

    What was fetched for it lies in `fetched`, and goes when the block of `until_opened` ends, unless it was opened.
    """

    request: StepRequest
    place: Place
    directory: Path
    key: RecordSigner
    attempt_key: SoftwareKey
    step_file: bytes
    fetched: Path | None = None

    @contextmanager
    def until_opened(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self.fetched is not None:
                clear(self.fetched)


@dataclass(frozen=True, slots=True)
class Opened:
    """An attempt that the log knows. `directory` is what KEYTURN_STEP is set to."""

    directory: Path
    request: str
    index: int


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


def prepare_attempt(
    lab: LabPlace, path: Path, *, out: Path | None, directory: Path | None, key: str | None, on_bytes: OnBytes
) -> PreparedAttempt:
    """Digest everything that the STEP.toml at `path` takes, and make the request that its member signs."""
    raw = read_small(path)
    step = step_config.parse(raw, where=str(path))
    base = path.absolute().parent
    destination = (out or base / "out").absolute()
    require_free(destination)
    require_attachable(step)
    directory = (directory or destination.with_name(f"{destination.name}.attempt")).absolute()
    AttemptFiles(directory).require_new()
    inputs = declared_inputs(raw, step, base)
    place = directory.with_name(f".{directory.name}.{SystemEntropy().nonce()[:16]}.keyturn")
    try:
        origins = fetch_inputs(step, base, place, on_bytes)
        where = {i.name: place / i.name if i.name in origins else base / i.source for i in step.inputs}
        if step.parameters is not None:
            where[PARAMETERS_NAME] = base / step.parameters
        held = hold_inputs(inputs, where, on_bytes)
        for name, origin in origins.items():
            held[name] = msgspec.structs.replace(held[name], path=str(directory / INPUTS / name), origin=origin)
        if any(one.pack is not None for one in step.inputs):
            with log_reader(lab) as reader:
                outside = trust_behind(lab, reader).newest.outside
            for name, origin in released_inputs(step, base, held, outside).items():
                held[name] = msgspec.structs.replace(held[name], origin=origin)
        prepared = _prepared(
            lab,
            step,
            raw,
            inputs,
            held=held,
            runtime={name: hold_runtime((base / name).resolve()) for name in step.sandbox.runtime},
            base=base,
            destination=destination,
            directory=directory,
            key=key,
            resumes=None,
        )
    except BaseException:
        clear(place)
        raise
    return replace(prepared, fetched=place) if origins else prepared


def prepare_next(
    lab: LabPlace | None,
    earlier: Path,
    *,
    number: int | None,
    directory: Path | None,
    key: str | None,
    on_bytes: OnBytes,
) -> tuple[PreparedAttempt, Kept]:
    """Prepare the attempt that goes on from checkpoint `number` (the newest) of the one in `earlier`, after sending what waits.

    The checkpoint is read again: what was hashed while it was written may not be what the disk kept.
    """
    files = AttemptFiles(earlier.absolute())
    place = files.place
    found = lab or find_lab(place.lab)
    send_waiting(files, found)
    before = _attempt(files)
    kept = _chosen(files, number)
    checkpoint = hold_input(Path(kept.path), progress=partial(on_bytes, CHECKPOINT))
    if checkpoint.digest != kept.digest:
        raise Refused(
            "checkpoint-changed",
            f"checkpoint {kept.number} at `{kept.path}` was logged as `{kept.digest}`, and is `{checkpoint.digest}`",
            hint="keyturn step resume --checkpoint N goes on from an earlier one",
        )
    raw = files.step_file
    step = step_config.parse(raw, where=STEP_NAME)
    inputs = [i for i in before.request.inputs if i.name != CHECKPOINT]
    inputs.append(DeclaredInput(name=CHECKPOINT, digest=kept.digest))
    where = {name: Path(held.path) for name, held in place.inputs.items() if name != CHECKPOINT}
    again = hold_inputs(tuple(inputs[:-1]), where, on_bytes)
    held = {name: msgspec.structs.replace(one, origin=place.inputs[name].origin) for name, one in again.items()}
    held[CHECKPOINT] = checkpoint
    prepared = _prepared(
        found,
        step,
        raw,
        tuple(inputs),
        held=held,
        runtime={name: hold_runtime(Path(one.path)) for name, one in place.runtime.items()},
        base=Path(place.base),
        destination=Path(place.destination),
        directory=(directory or _following(earlier.absolute())).absolute(),
        key=key,
        resumes=before.digest,
    )
    return prepared, kept


def open_attempt(lab: LabPlace, prepared: PreparedAttempt) -> Opened:
    """Sign the request, keep the attempt's directory, and log the request: from then on its key counts."""
    files = AttemptFiles(prepared.directory)
    files.require_new()
    raw = sign_request(prepared.request, prepared.key)
    with log_writer(lab) as log:
        index = log.append(raw)
    files.create(raw, prepared.attempt_key, prepared.place, prepared.step_file, inputs=prepared.fetched)
    return Opened(prepared.directory, leaf_of(raw).record, index)


def commit_checkpoint(files: AttemptFiles, checkpoint: Path, ranks: int, *, within_s: float) -> Kept:
    """Make the files at `checkpoint` the attempt's next one: wait for all ranks, hash what nobody did, sign, keep, log."""
    key, attempt = files.key(), _attempt(files)
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
    place, attempt, key = files.place, _attempt(files), files.key()
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
    _attempt(files)
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


def _prepared(
    lab: LabPlace,
    step: StepFile,
    raw: bytes,
    inputs: tuple[DeclaredInput, ...],
    *,
    held: Mapping[str, Held],
    runtime: Mapping[str, Held],
    base: Path,
    destination: Path,
    directory: Path,
    key: str | None,
    resumes: Sha256 | None,
) -> PreparedAttempt:
    AttemptFiles(directory).require_new()
    person, clock = find_person(), SystemClock()
    with log_reader(lab) as reader:
        trust = trust_behind(lab, reader).newest
    signer = own_signer(person, approving=False, named=key, view=PageView(trust.roster))
    attempt_key = SoftwareKey.generate()
    request = make_request(
        step,
        inputs,
        trust=trust,
        member=person.config.member,
        key=signer,
        builder=None,
        criteria=None,
        places=(str(base), str(destination)),
        nonce=SystemEntropy().nonce(),
        now=clock.now(),
    )
    return PreparedAttempt(
        request=msgspec.structs.replace(request, attempt=attempt_key.public.text, resumes=resumes),
        place=Place(
            lab=lab.url or str(lab.directory.absolute()),
            base=str(base),
            destination=str(destination),
            inputs=dict(held),
            runtime=dict(runtime),
            outputs={one.name: one.path for one in step.outputs},
            started_at=clock.now(),
        ),
        directory=directory,
        key=signer,
        attempt_key=attempt_key,
        step_file=raw,
    )


def _attempt(files: AttemptFiles) -> Attempt:
    place = files.place
    runtime = {name: ArtifactDigest.parse(held.digest) for name, held in place.runtime.items()}
    origins = {name: held.origin for name, held in place.inputs.items()}
    return attempt_of(files.request, runtime, origins=origins, started_at=place.started_at)


def _chosen(files: AttemptFiles, number: int | None) -> Kept:
    there = files.segments()
    found = [one for one in there if number is None or one.number == number]
    if not found:
        have = f"there are {there[0].number} to {there[-1].number}" if there else "there is none"
        raise Usage(
            "checkpoint-unknown",
            f"expected a checkpoint{'' if number is None else f' {number}'} of `{files.directory}`: {have}",
            hint="keyturn step open begins from nothing" if not there else "keyturn step resume --checkpoint N",
        )
    return found[-1]


def _following(earlier: Path) -> Path:
    """`out.attempt-2` beside `out.attempt`, and so on: the first that is free."""
    stem, _, count = earlier.name.rpartition("-")
    name, start = (stem, int(count)) if stem and count.isdecimal() else (earlier.name, 1)
    number = start + 1
    while os.path.lexists(earlier.with_name(f"{name}-{number}")):
        number += 1
    return earlier.with_name(f"{name}-{number}")


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
