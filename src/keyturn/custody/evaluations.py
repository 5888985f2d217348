"""Judge the evaluations of a model: criteria first, then the request, then the run, then what its values say.

What counts as the model: the released artifact, and what went into it through `package` steps only. A FAILED result about any of
these is a failure, whoever would rather not show it, and so is an evaluation that was requested and never gave a result. A
PASSED one counts for the release only when what it judged is in the released model as it was: it is that model, or the input
`model` of `package` steps, which builders let add files and change none.

This is NOT a choice of criteria: people log those, and policy can ask how many were met.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from keyturn.custody.evidence import Evidence, Failure, Logged
from keyturn.custody.lineage import Lineage
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.steps import EvaluationCriteria, StepRequest
from keyturn.formats.test_result import TestResult
from keyturn.formats.uri import Uri

__all__ = ["Evaluation", "judge", "packed_from", "unfinished"]

_KEPT = frozenset({"model"})
"""The input of a `package` step whose files builders find in its outputs again, unchanged."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One test result about the model, with whatever is wrong about it. `rule` is what it was held against (none when its
    criteria are not in the log); `kept`: what it judged is in the released model as it was."""

    index: int
    subject: ArtifactDigest
    metric: str
    criteria: Sha256
    rule: Logged[EvaluationCriteria] | None
    kept: bool
    passed: bool
    values: tuple[tuple[str, str], ...]
    failures: tuple[Failure, ...]

    def counts_for(self, resource: Uri) -> bool:
        """Whether criteria for `resource` were met, beyond doubt."""
        spoken_of = self.rule is not None and self.rule.value.model == str(resource)
        return self.passed and self.kept and not self.failures and spoken_of


def packed_from(model: ArtifactDigest, lineage: Lineage) -> frozenset[ArtifactDigest]:
    """The model, and what went into it through `package` steps only."""
    return _packed(model, lineage, names=None)


def _packed(model: ArtifactDigest, lineage: Lineage, *, names: frozenset[str] | None) -> frozenset[ArtifactDigest]:
    found = {model}
    todo = [model]
    while todo:
        for step in lineage.makers.get(todo.pop(), ()):
            if step.value.build != "package":
                continue
            taken = [d for d in step.value.dependencies if d.role == "input" and (names is None or d.name in names)]
            fresh = [d.digest for d in taken if d.digest not in found]
            found.update(fresh)
            todo.extend(fresh)
    return frozenset(found)


def judge(model: ArtifactDigest, lineage: Lineage, evidence: Evidence) -> tuple[Evaluation, ...]:
    """Judge every test result about the model."""
    same = packed_from(model, lineage)
    kept = _packed(model, lineage, names=_KEPT)
    requests = {one.digest: one for one in evidence.requests}
    criteria = {one.digest: one for one in evidence.criteria}
    asked = {result.value.request for result in evidence.results}
    measured = {
        one.value.request: frozenset(output.digest for output in one.value.outputs)
        for one in evidence.provenance
        if one.value.request in asked
    }
    found = []
    for result in evidence.results:
        if result.value.subject not in same:
            continue
        rule = criteria.get(result.value.criteria)
        wrong = [
            *_order(result, requests.get(result.value.request), rule),
            *_run(result, requests.get(result.value.request), rule, measured.get(result.value.request)),
            *_values(result, rule),
        ]
        found.append(
            Evaluation(
                index=result.index,
                subject=result.value.subject,
                metric=result.value.metric,
                criteria=result.value.criteria,
                rule=rule,
                kept=result.value.subject in kept,
                passed=result.value.passed,
                values=result.value.values,
                failures=tuple(Failure(result.index, code, f"evaluation: {message}") for code, message in wrong),
            )
        )
    return tuple(found)


def unfinished(evidence: Evidence, given: Iterable[Logged[TestResult]], builders: Collection[str]) -> Iterator[Failure]:
    """Name every requested evaluation without a result in `given`, unless its criteria gave one later, by the same builder.

    A builder measures again only once its earlier results are in the log, so its next one says that nothing was kept back. Of a
    builder that is none of `builders`, the newest ones, anybody's next result will do: it will never give one.

    A request by criteria that no human logged asks for nothing: no result could ever end it, and so anybody who may ask, an AI
    agent too, could bar a release for good (docs/decisions/0041).
    """
    logged = {one.digest for one in evidence.criteria}
    for request in evidence.requests:
        if request.value.build != "evaluate" or request.value.criteria not in logged:
            continue
        by = request.value.builder
        results = [
            r
            for r in given
            if r.value.criteria == request.value.criteria
            and (by is None or by not in builders or (r.value.builder.kind, r.value.builder.name) == ("builder", by))
        ]
        if not any(r.value.request == request.digest or r.index > request.index for r in results):
            yield Failure(
                request.index,
                "evaluation-unfinished",
                f"evaluation `{request.value.step}` was requested and has no result: run it again by the same criteria"
                + ("" if by is None or by not in builders else f", on builder `{by}`"),
            )


_Wrong = Iterator[tuple[str, str]]


def _order(
    result: Logged[TestResult], request: Logged[StepRequest] | None, criteria: Logged[EvaluationCriteria] | None
) -> _Wrong:
    if request is None:
        yield "evaluation-request-missing", "its step request is not in the log"
    elif request.index > result.index:
        yield "evaluation-request-late", f"its step request was logged after it, at index {request.index}"
    if criteria is None:
        yield "criteria-missing", "its criteria are not in the log"
    elif criteria.index > (result.index if request is None else request.index):
        yield "criteria-late", f"its criteria were logged at index {criteria.index}, after it was requested"


def _run(
    result: Logged[TestResult],
    request: Logged[StepRequest] | None,
    criteria: Logged[EvaluationCriteria] | None,
    measured: frozenset[ArtifactDigest] | None,
) -> _Wrong:
    value = result.value
    if measured is None:
        yield "evaluation-step-missing", "the provenance of its step is not in the log"
    elif value.measurement not in measured:
        yield "evaluation-measurement", f"its measurement `{value.measurement}` is no output of its step"
    if request is None:
        return
    asked = request.value
    if asked.criteria != value.criteria:
        wanted = "none, and is no evaluation" if asked.criteria is None else f"crt-{asked.criteria[:32]}"
        yield "evaluation-criteria", f"it is by crt-{value.criteria[:32]}, its step was requested for {wanted}"
    signer = ("member", asked.member) if asked.builder is None else ("builder", asked.builder)
    if (value.builder.kind, value.builder.name) != signer:
        yield "evaluation-builder", f"expected a result of {signer[0]} `{signer[1]}`, got one of `{value.builder}`"
    inputs = {declared.artifact for declared in asked.inputs}
    if value.subject not in inputs:
        yield "evaluation-subject", f"what it judges, `{value.subject}`, did not go into its step"
    if criteria is not None and not inputs.issuperset(criteria.artifacts):
        lacking = ", ".join(f"`{one}`" for one in criteria.artifacts if one not in inputs)
        yield "evaluation-inputs", f"its step did not take what its criteria ask for: {lacking}"


def _values(result: Logged[TestResult], criteria: Logged[EvaluationCriteria] | None) -> _Wrong:
    value = result.value
    if not value.passed:
        yield "evaluation-failed", f"`{value.metric}` FAILED: {dict(value.values)}"
    if criteria is None:
        return
    met = criteria.value.met_by(dict(value.values))
    if value.metric != criteria.value.metric or met is None:
        yield (
            "evaluation-values",
            f"it lacks the values that its criteria compare, for `{criteria.value.metric}`: it has "
            + (", ".join(f"`{name}`" for name, _ in value.values) or "none"),
        )
    elif met != value.passed:
        said, meant = ("PASSED", "FAILED") if value.passed else ("FAILED", "PASSED")
        yield "evaluation-result-false", f"it says {said}, its values say {meant}: {dict(value.values)}"
