"""Judge what came out of a step, before anything is signed of it.

No output is one of its inputs; what was packed holds its `model` unchanged, since that model's evaluations count for it; and
what an evaluation measured is compared with the criteria that were logged before. Whether those were chosen in time is judged
by whoever reads the chain: `custody.evaluations`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from keyturn.app.custody.admit_step import AdmittedStep
from keyturn.errors import Malformed, Refused
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.provenance import BuilderId, Output
from keyturn.formats.steps import EvaluationCriteria, StepRequest, check_decimal
from keyturn.formats.test_result import TestResult
from keyturn.ports import StepFiles

__all__ = [
    "MEASUREMENT",
    "MEASUREMENT_BYTES_MAX",
    "MODEL",
    "judge_measurement",
    "keeps_model",
    "require_criteria",
    "require_kept",
    "require_made",
]

MODEL = "model"
"""The input of an evaluation that is judged, and of a package that is kept as it was."""
MEASUREMENT = "measurement"
"""The output of an evaluation that holds the values: one JSON object of decimal texts by metric."""
MEASUREMENT_BYTES_MAX = 64 << 10


def require_made(request: StepRequest, outputs: tuple[Output, ...]) -> None:
    """Refuse, as `output-is-input`, an output that is an input of the step unchanged."""
    # Logged, it would be a circle: the artifact in its own making, and no chain with it could ever be released.
    given = {declared.artifact: declared.name for declared in request.inputs if declared.role == "input"}
    for output in outputs:
        if output.digest in given:
            raise Refused(
                "output-is-input",
                f"output `{output.name}` is the input `{given[output.digest]}` unchanged: `{output.digest}`",
                hint="name the input itself where it is needed; an ingest puts what it takes into a directory of its own",
            )


def keeps_model(request: StepRequest) -> bool:
    """Whether `request` is of a package that must hold its `model` as it was."""
    return request.build == "package" and MODEL in {declared.name for declared in request.inputs}


def require_kept(outputs: Mapping[str, str], *, model: str, files: StepFiles) -> None:
    """Refuse, as `package-other-model`, outputs (place by name) that lack a file of the input at `model`."""
    for name, place in outputs.items():
        if wrong := files.lacks(place, model):
            raise Refused(
                "package-other-model",
                f"output `{name}` lacks a file of the input `{MODEL}`, or holds another one in its place: {wrong[0]}",
                reasons=tuple(("package-other-model", f"output `{name}`: {one}") for one in wrong),
                hint="packing adds files and changes none; a step that changes a model is another build_type",
            )


def require_criteria(request: StepRequest, raw: bytes | None) -> tuple[Sha256, EvaluationCriteria] | None:
    """The criteria `raw` that `request` names, or None for what is no evaluation; `Refused` `step-criteria` for any others."""
    if (raw is None) != (request.criteria is None):
        raise Refused("step-criteria", "expected the criteria's record for an evaluation, and for no other step")
    if raw is None:
        return None
    record = records.parse(raw)
    criteria = record.statement.predicate
    if not isinstance(criteria, EvaluationCriteria) or record.digest != request.criteria:
        raise Refused("step-criteria", f"expected the criteria `crt-{str(request.criteria)[:32]}`, got another record")
    if MODEL not in {i.name for i in request.inputs} or MEASUREMENT not in request.outputs:
        raise Refused("step-evaluation", f"an evaluation takes an input `{MODEL}` and leaves an output `{MEASUREMENT}`")
    return record.digest, criteria


def judge_measurement(
    raw: bytes,
    admitted: AdmittedStep,
    judge: tuple[Sha256, EvaluationCriteria],
    outputs: tuple[Output, ...],
    *,
    builder: BuilderId,
) -> TestResult:
    """The result of an evaluation whose output `measurement` holds `raw`; `judge` is what `require_criteria` gave."""
    digest, criteria = judge
    values = _values(raw)
    passed = criteria.met_by(values)
    if passed is None:
        raise Refused("measurement-lacks", f"the measurement lacks what the criteria compare: `{criteria.metric}`")
    return TestResult(
        subject=next(i.artifact for i in admitted.request.inputs if i.name == MODEL),
        subject_name=MODEL,
        passed=passed,
        metric=criteria.metric,
        criteria=digest,
        request=admitted.digest,
        builder=builder,
        measurement=next(output.digest for output in outputs if output.name == MEASUREMENT),
        values=tuple(sorted(values.items())),
    )


def _values(raw: bytes) -> dict[str, str]:
    try:
        values = msgspec.json.decode(raw, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("measurement-invalid", f"measurement: expected decimal texts by metric: {err}") from err
    for value in values.values():
        check_decimal(value)
    return values
