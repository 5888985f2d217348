"""Set aside what members say themselves of things about which another one's word counts, and what hangs by that alone.

A step that a member ran without a builder, and the result of an evaluation that he ran so, is that member's word and no more:
anybody who may ask for a step, an AI agent too, can say one of any digest. So it takes nothing away from what others said:

1. What a builder made, it made: no member's word about that artifact counts. A builder's `ingest` says where custody begins, and
   not where something came from, so beside it a member's word counts that was logged before that ingest was requested.
2. Of what no builder made, the member who said so first did; another member's word about it does not count.
3. Where custody begins (what a builder or member took into an `ingest`, and another lab's release) nobody here made anything as
   far as was known: a member's word that he did counts if it was logged before the first of these steps was requested.
4. A member's result does not count where a builder judged the same artifact by the same criteria, nor by criteria that no human
   logged: no builder could ever judge by those.

Nothing is lost by it: what was set aside stands in the log, in the pack, and in `Chain.aside`, which people see before they
sign; policy can refuse a chain that has any (`custody.own_words_aside`). Why: docs/decisions/0143.

This is NOT a judgment of what counts: `custody.verify` makes that, of what is left here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from keyturn.custody.evaluations import packed_from
from keyturn.custody.evidence import Evidence, Logged
from keyturn.custody.lineage import Lineage, Step, link
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.provenance import Provenance
from keyturn.formats.steps import StepRequest
from keyturn.formats.test_result import TestResult

__all__ = ["Heard", "Word", "hear"]

Word = Logged[Provenance] | Logged[TestResult]
_Result = Logged[TestResult]
_Asked = Mapping[Sha256, Logged[StepRequest]]


@dataclass(frozen=True, slots=True)
class Heard:
    """What counts of a chain's evidence, linked; and the steps and results that were set aside, in log order."""

    evidence: Evidence
    lineage: Lineage
    aside: tuple[Word, ...]
    said: Lineage
    """All that was said, linked."""


def hear(model: ArtifactDigest, evidence: Evidence) -> Heard:
    """Find what counts about `model`: all but that to which nothing leads except a member's word that does not count."""
    said = link(evidence.provenance)
    if not any(map(_own, evidence.provenance)) and not any(map(_own, evidence.results)):
        return Heard(evidence, said, (), said)
    asked = {one.digest: one for one in evidence.requests}
    results = tuple(_results(evidence))
    counting = {artifact: _makers(makers, asked) for artifact, makers in said.makers.items()}
    every = _reached(model, said, evidence.results)
    begins = _begins(_reached(model, Lineage(counting, said.takers), results), evidence.provenance, asked)
    counting = {artifact: _in_time(makers, begins.get(artifact)) for artifact, makers in counting.items()}
    heard = _reached(model, Lineage(counting, said.takers), results)
    idle = every.statements - heard.statements
    kept = tuple(one for one in evidence.provenance if one.index not in idle)
    judged = tuple(one for one in evidence.results if one.index not in idle)
    ran = {one.value.request for one in kept}
    about_others = frozenset(
        one.digest
        for one in evidence.requests
        if one.digest not in ran and _asks_of(one, every.models - heard.models) and not _asks_of(one, heard.models)
    )
    words: list[Word] = [*evidence.provenance, *evidence.results]
    return Heard(
        replace(
            evidence,
            provenance=kept,
            results=judged,
            requests=tuple(one for one in evidence.requests if one.digest not in about_others),
        ),
        Lineage(_without(counting, idle), link(kept).takers),
        tuple(sorted((one for one in words if one.index in idle), key=lambda one: one.index)),
        said,
    )


@dataclass(frozen=True, slots=True)
class _Reached:
    """The model and what it was packed from, and the log indices of all that leads to them or judges them."""

    models: frozenset[ArtifactDigest]
    statements: frozenset[int]


def _reached(model: ArtifactDigest, lineage: Lineage, results: Sequence[_Result]) -> _Reached:
    models = packed_from(model, lineage)
    judging = [one for one in results if one.value.subject in models]
    words: list[Word] = [*lineage.behind(model, *(one.value.measurement for one in judging)), *judging]
    return _Reached(models, frozenset(one.index for one in words))


def _makers(makers: Sequence[Step], asked: _Asked) -> tuple[Step, ...]:
    """Those of the steps that say they made one thing whose word counts for it, in log order."""
    built = [step for step in makers if not _own(step)]
    if any(step.value.build != "ingest" for step in built):  # (1)
        return tuple(built)
    own = [step for step in makers if _own(step)]
    if built:
        own = [step for step in own if step.index < _asked_at(built[0], asked)]
    first = [step for step in own if step.value.builder == own[0].value.builder]  # (2)
    return tuple(sorted((*built, *first), key=lambda step: step.index))


def _begins(reached: _Reached, steps: Iterable[Step], asked: _Asked) -> Mapping[ArtifactDigest, int]:
    """Where custody begins: what steps among `reached` took as made by nobody here, and where the first of them was requested."""
    found: dict[ArtifactDigest, int] = {}
    for step in steps:
        if step.index not in reached.statements:
            continue
        for taken in step.value.dependencies:
            if taken.role == "input" and (step.value.build == "ingest" or taken.origin.pack):
                at = _asked_at(step, asked)
                found[taken.digest] = min(at, found.get(taken.digest, at))
    return found


def _in_time(makers: tuple[Step, ...], begins: int | None) -> tuple[Step, ...]:
    return tuple(step for step in makers if begins is None or not _own(step) or step.index < begins)  # (3)


def _asked_at(step: Step, asked: _Asked) -> int:
    """The place in the log at which `step` was asked for; its own, if that is not there."""
    request = asked.get(step.value.request)
    return step.index if request is None else request.index


def _results(evidence: Evidence) -> Iterator[_Result]:
    built = {(one.value.subject, one.value.criteria) for one in evidence.results if not _own(one)}
    logged = {one.digest for one in evidence.criteria}
    for one in evidence.results:
        judged = one.value.subject, one.value.criteria
        if not _own(one) or (judged not in built and one.value.criteria in logged):  # (4)
            yield one


def _asks_of(request: Logged[StepRequest], models: frozenset[ArtifactDigest]) -> bool:
    """Whether `request` asks to evaluate one of `models`."""
    return request.value.build == "evaluate" and any(one.artifact in models for one in request.value.inputs)


def _without(
    makers: Mapping[ArtifactDigest, tuple[Step, ...]], idle: frozenset[int]
) -> Mapping[ArtifactDigest, tuple[Step, ...]]:
    left = {artifact: tuple(step for step in steps if step.index not in idle) for artifact, steps in makers.items()}
    return MappingProxyType({artifact: steps for artifact, steps in left.items() if steps})


def _own(one: Word) -> bool:
    return one.value.builder.kind == "member"
