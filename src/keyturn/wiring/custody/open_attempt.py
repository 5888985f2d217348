"""Open an attempt: digest what goes in, make the request that its member signs, and log it before the job runs.

An attempt may go on from a checkpoint of an earlier one, which is then an input of it. What is said of a job from then on:
`wiring.custody.attempts`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from keyturn.adapters.clock import SystemClock, SystemEntropy
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
from keyturn.config import step as step_config
from keyturn.config.step import PARAMETERS_NAME, STEP_NAME, StepFile
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused, Usage
from keyturn.formats.digest import Sha256
from keyturn.formats.records import leaf_of
from keyturn.formats.steps import CHECKPOINT, DeclaredInput, StepRequest
from keyturn.wiring.custody.attempt_inputs import (
    OnBytes,
    fetch_inputs,
    hold_inputs,
    released_inputs,
    require_attachable,
)
from keyturn.wiring.custody.attempts import attempt_in, send_waiting
from keyturn.wiring.custody.steps import declared_inputs, make_request, sign_request
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_lab, find_person
from keyturn.wiring.log.log import log_reader, log_writer, trust_behind

__all__ = ["Opened", "PreparedAttempt", "open_attempt", "prepare_attempt", "prepare_next"]


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
    before = attempt_in(files)
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
