"""Verify the whole chain of custody behind a model, closed-world, and name every failure.

`examine` judges and never stops at the first failure; `verify_chain` raises `Refused` with all of them, and its
`VerifiedChain` is the only thing that whoever releases accepts. Places in the log are the only clock: a step's request
stands before its provenance, what it took before its request, criteria before the evaluation's request.

1. Every statement verifies, under the trust of then (`evidence`), and no signer is suspended now. What a member says himself
   counts for nothing beside what a builder says, or another member said before him (`own_words`).
2. Every step ran as its request said, which was logged before: same build, command, builder, inputs, outputs, runtime.
   What a job without a builder says on its way is by the key of its attempt, and of an attempt that goes on (`attempts`).
3. Every step's level is one that its signer may claim (`levels`).
4. The model was made by a step; whatever went into a step other than `ingest` was made by a step before it was
   requested; nothing went into its own making; and no two steps say that they made one model from different things. What
   another lab made has its pack for that, under a first root that targets listed then, and list still.
5. Every evaluation of the model followed criteria that were logged before it was requested, says what its values
   say, and passed; none was requested and left without a result (`evaluations`).

This is NOT the decision to release: people and policy take it, over the facts that `facts` makes of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from itertools import starmap
from typing import NoReturn

from keyturn.custody import attempts, evaluations
from keyturn.custody.evaluations import Evaluation
from keyturn.custody.evidence import Entry, Evidence, Failure, Logged, Map, in_turn, read
from keyturn.custody.levels import believed_level
from keyturn.custody.lineage import Lineage, Step, inputs_of, outputs_of
from keyturn.custody.made_otherwise import made_otherwise
from keyturn.custody.outside import Outside
from keyturn.custody.own_words import Word, hear
from keyturn.custody.reproduced import reproduced
from keyturn.custody.sources import Code, Suspended, code_of
from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import Refused
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.provenance import BuilderId, Dependency, DependencyRole, Provenance
from keyturn.formats.steps import Check, StepRequest
from keyturn.formats.uri import Uri
from keyturn.trust.outside import other_lab

__all__ = [
    "Chain",
    "Suspended",
    "VerifiedChain",
    "examine",
    "examine_read",
    "located",
    "verify_chain",
    "with_failures",
    "with_outside",
]

_VERIFIER = object()

_Ran = Sequence[tuple[Step, Logged[StepRequest] | None]]
"""Each step with its request, if that is in the log."""

_Inputs = Mapping[str, tuple[ArtifactDigest, DependencyRole, Check | None]]
"""What goes into a step, by name."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What was found about the chain behind `model`: its steps, evaluations, lowest level, and every failure.

    `outside` is what others signed about anything in it, as far as it verified here (`custody.outside`).
    """

    model: ArtifactDigest
    resource: Uri
    lineage: Lineage
    steps: tuple[Step, ...]
    evaluations: tuple[Evaluation, ...]
    level_min: int
    failures: tuple[Failure, ...]
    code: tuple[Code, ...]
    """What its steps took as code, and who stands behind that."""
    aside: tuple[Word, ...] = ()
    """What members said themselves, and counts for nothing beside what others said (`custody.own_words`)."""
    outside: tuple[Outside, ...] = ()
    reproduced: frozenset[ArtifactDigest] = frozenset()
    """What two builders of different operators made alike (`custody.reproduced`)."""

    @property
    def sources(self) -> tuple[ArtifactDigest, ...]:
        """Where custody begins: what went into the chain and was made by no step of it."""
        return self.lineage.sources(self.model)

    @property
    def artifacts(self) -> frozenset[ArtifactDigest]:
        """The model and whatever went into anything behind it, or was measured of it. Evidence about anything else, as about what
        a word names that was set aside (`own_words`), is none about this chain: it fails nothing and completes nothing."""
        taken = {digest for step in self.steps for digest in inputs_of(step)}
        measured = {digest for step in self.steps if step.value.build == "evaluate" for digest in outputs_of(step)}
        return frozenset({self.model, *taken, *measured})

    @property
    def criteria_met(self) -> frozenset[Sha256]:
        """The criteria for this resource that an evaluation met, when nothing at all failed about that evaluation."""
        return frozenset(one.criteria for one in self.evaluations if one.counts_for(self.resource))


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """A chain without failures. Only `verify_chain` makes one."""

    chain: Chain
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a VerifiedChain is made by verify_chain only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedChain is not pickled: keep its statements, and verify them again")


def verify_chain(chain: Chain) -> VerifiedChain:
    """Accept `chain`, which `examine` made, if nothing failed; or raise `Refused` with every failure as a reason."""
    if chain.failures:
        raise Refused(
            "chain-refused",
            f"the chain of custody behind `{chain.model}` has {len(chain.failures)} failure(s)",
            reasons=tuple((failure.code, located(failure)) for failure in chain.failures),
            hint=f"keyturn lineage show {chain.model}",
        )
    return VerifiedChain(chain, made_by=_VERIFIER)


def located(failure: Failure) -> str:
    """The failure's message with its place in the log."""
    return failure.message if failure.index is None else f"log index {failure.index}: {failure.message}"


def examine(
    model: ArtifactDigest,
    entries: Sequence[Entry],
    *,
    lab: str,
    resource: Uri,
    timeline: TrustTimeline,
    suspended: Suspended,
    each: Map = in_turn,
) -> Chain:
    """Judge the chain behind `model` that `entries` (proved to be in the log at their indices) make up.

    `entries` must be everything that the log has about the chain: `pack_index` says what that is, and a caller that
    leaves something out lies to itself.
    """
    everything = read(entries, lab=lab, timeline=timeline, each=each)
    return examine_read(model, everything, resource=resource, timeline=timeline, suspended=suspended)


def examine_read(
    model: ArtifactDigest, everything: Evidence, *, resource: Uri, timeline: TrustTimeline, suspended: Suspended
) -> Chain:
    """Judge the chain as `examine`, for whoever has read its entries: `everything` is what `evidence.read` made of them all."""
    heard = hear(model, everything)
    evidence, lineage = heard.evidence, heard.lineage
    requests = {one.digest: one for one in evidence.requests}
    ran = [(step, requests.get(step.value.request)) for step in evidence.provenance]
    failures = [*evidence.failures, *_signers(evidence, suspended)]  # (1)
    failures += _runs(ran)  # (2)
    levels: list[int] = []
    for step in evidence.provenance:  # (3)
        trust = timeline.before(step.index)
        level = believed_level(step, trust) if trust is not None else 0
        if isinstance(level, Failure):
            failures.append(level)
            level = 0
        levels.append(level)
    failures += _links(model, lineage, ran, timeline)  # (4)
    failures += made_otherwise(lineage)
    failures += attempts.resumed(ran, heard.said)
    found = evaluations.judge(model, lineage, evidence)  # (5)
    failures += (failure for one in found for failure in one.failures)
    failures += evaluations.unfinished(
        evidence, everything.results, timeline.states[-1].builders if timeline.states else ()
    )
    if failures:
        failures += evidence.unsigned
    return Chain(
        model=model,
        resource=resource,
        lineage=lineage,
        steps=evidence.provenance,
        evaluations=found,
        level_min=min(levels, default=0),
        failures=_in_order(failures),
        aside=heard.aside,
        code=code_of(ran, evidence.sources, timeline=timeline, suspended=suspended),
        reproduced=reproduced(
            lineage,
            {step.index: request for step, request in ran if request is not None},
            timeline=timeline,
            failed={failure.index for failure in failures},
        ),
    )


def with_failures(chain: Chain, failures: Iterable[Failure]) -> Chain:
    """The same chain with more failures: those of whoever read the log around it. None is ever taken away."""
    return replace(chain, failures=_in_order((*chain.failures, *failures)))


def with_outside(chain: Chain, found: tuple[Outside, ...], failures: Iterable[Failure]) -> Chain:
    """The same chain with the evidence that holds, and what failed of the rest."""
    return with_failures(replace(chain, outside=found), failures)


def _in_order(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    return tuple(sorted(set(failures), key=lambda f: (f.index is not None, f.index or 0, f.code, f.message)))


def _signers(evidence: Evidence, suspended: Suspended) -> Iterator[Failure]:
    if not suspended.members and not suspended.keys:
        return
    # What nothing here ran by is relied on for nothing, as an evaluation that a suspended agent asked for and never ran.
    ran = {one.value.request for one in evidence.provenance} | {one.value.request for one in evidence.results}
    judged = {one.value.criteria for one in evidence.results}
    signed: list[tuple[int, str, str]] = []
    signed += [(one.index, one.keyid, one.value.member) for one in evidence.requests if one.digest in ran]
    signed += [(one.index, one.keyid, one.value.member) for one in evidence.criteria if one.digest in judged]
    signed += [(one.index, one.keyid, _member(one.value.builder)) for one in evidence.provenance]
    signed += [(one.index, one.keyid, _member(one.value.builder)) for one in evidence.results]
    for index, keyid, member in signed:
        if member in suspended.members or keyid in suspended.keys:
            yield Failure(index, "chain-signer-suspended", f"`{member or keyid[:16]}`, who signed this, is suspended")


def _member(builder: BuilderId) -> str:
    return builder.name if builder.kind == "member" else ""


def _runs(ran: _Ran) -> Iterator[Failure]:
    run: dict[tuple[Sha256, int | None], int] = {}
    for step, request in ran:
        name = step.value.step
        if request is None:
            yield Failure(step.index, "step-request-missing", f"step `{name}`: its request is not in the log")
            continue
        if request.index > step.index:
            yield Failure(
                step.index,
                "step-request-late",
                f"step `{name}`: its request was logged after it ran, at index {request.index}",
            )
        if step.value.segment is not None or request.value.attempt is not None:
            yield from attempts.judge(step, request.value, closed_at=run.get((step.value.request, None)))
        first = run.setdefault((step.value.request, step.value.segment), step.index)
        if first != step.index:
            yield Failure(
                step.index, "step-request-reused", f"step `{name}`: its request already ran, see log index {first}"
            )
        if not _is_as_requested(step.value, request.value):
            yield from _differences(step, request.value)


def _is_as_requested(made: Provenance, asked: StepRequest) -> bool:
    """Whether the one is the other word for word, in the same order. If so, `_differences` has nothing to name."""
    taken, declared, runtime = made.dependencies, asked.inputs, asked.runtime
    if len(taken) != len(declared) + len(runtime):
        return False
    for one, wanted in zip(taken, declared, strict=False):  # the runtime comes last
        if (
            one.name != wanted.name
            or one.role != wanted.role
            or one.check != wanted.check
            or str(one.digest) != wanted.digest
        ):
            return False
    return (
        made.step == asked.step
        and made.build == asked.build
        and made.command == asked.command
        and made.builder.kind == "builder"
        and made.builder.name == asked.builder
        and tuple([output.name for output in made.outputs]) == asked.outputs
        and (not runtime or [(d.role, d.name) for d in taken[len(declared) :]] == [("runtime", r) for r in runtime])
    )


def _differences(step: Step, request: StepRequest) -> Iterator[Failure]:
    """Compare what ran with what was requested."""
    made = step.value

    def failure(code: str, message: str) -> Failure:
        return Failure(step.index, code, f"step `{made.step}`: {message}")

    for what, wanted, found in (
        ("name", request.step, made.step),
        ("build", request.build, made.build),
        ("command", " ".join(request.command), " ".join(made.command)),
    ):
        if found != wanted:
            yield failure("step-differs", f"expected the {what} `{wanted[:200]}` of its request, got `{found[:200]}`")
    asked = ("member", request.member) if request.builder is None else ("builder", request.builder)
    if (made.builder.kind, made.builder.name) != asked:
        yield failure("step-builder", f"the request asked {asked[0]} `{asked[1]}`, `{made.builder}` signed")
    declared = {one.name: (one.artifact, one.role, one.check) for one in request.inputs}
    taken = {one.name: (one.digest, one.role, one.check) for one in made.dependencies if one.role != "runtime"}
    if taken != declared:
        yield from starmap(failure, _inputs(declared, taken))
    runtime = {one.name for one in made.dependencies if one.role == "runtime"}
    if runtime != set(request.runtime):
        yield failure("runtime-differs", f"expected the runtime {sorted(request.runtime)}, got {sorted(runtime)}")
    outputs = {output.name for output in made.outputs}
    if made.segment is None and outputs != set(request.outputs):
        yield failure("output-differs", f"expected the outputs {sorted(request.outputs)}, got {sorted(outputs)}")


def _inputs(declared: _Inputs, taken: _Inputs) -> Iterator[tuple[str, str]]:
    for name in sorted(taken.keys() - declared.keys()):
        yield ("input-undeclared", f"it took `{name}`, which its request does not declare")
    for name in sorted(declared.keys() - taken.keys()):
        yield ("input-not-taken", f"its request declares `{name}`, which its provenance lacks")
    for name in sorted(taken.keys() & declared.keys()):
        (was, *how), (declared_as, *asked) = taken[name], declared[name]
        if was != declared_as:
            yield ("input-digest", f"`{name}` was declared as `{declared_as}`, and was `{was}`")
        if how != asked:
            wanted, found = (f"role `{role}`, check `{check}`" for role, check in (asked, how))
            yield ("input-differs", f"`{name}`: expected {wanted}, got {found}")


def _links(model: ArtifactDigest, lineage: Lineage, ran: _Ran, timeline: TrustTimeline) -> Iterator[Failure]:
    if model not in lineage.makers:
        yield Failure(None, "model-not-made", f"no step in the log made `{model}`")
    for step, request in ran:
        before = step.index if request is None else request.index
        for dependency in step.value.dependencies:
            if dependency.origin.pack:
                yield from _other_lab(step, dependency, timeline)
            if dependency.role != "input":
                continue
            makers = lineage.makers.get(dependency.digest)
            if makers is None:
                if step.value.build != "ingest" and not dependency.origin.pack:
                    yield Failure(
                        step.index,
                        "link-missing",
                        f"step `{step.value.step}`: no step in the log made its input `{dependency.name}` "
                        f"(`{dependency.digest}`)",
                    )
            elif makers[0].index > before:
                yield Failure(
                    step.index,
                    "link-late",
                    f"step `{step.value.step}`: its input `{dependency.name}` was made at log index {makers[0].index}, "
                    f"after the step was requested at {before}",
                )
    cycle = lineage.cycle()
    if cycle:
        yield Failure(None, "chain-cycle", "went into its own making: " + " <- ".join(str(one) for one in cycle))


def _other_lab(step: Step, taken: Dependency, timeline: TrustTimeline) -> Iterator[Failure]:
    """Whose pack proved an input: a lab whose first root targets listed then, and list still. The builder verified the pack."""
    lab = Uri.parse(taken.origin.uri).lab
    for trust, lacking in (
        (timeline.before(step.index), "listed no such lab then"),
        (timeline.states[-1], "list it no more"),
    ):
        signer = None if trust is None else other_lab(trust.outside, root_sha256=taken.origin.root)
        if signer is None or signer.identity != lab:
            yield Failure(
                step.index,
                "link-other-lab",
                f"step `{step.value.step}`: its input `{taken.name}` was released by `{lab}` under the root "
                f"{taken.origin.root}, and targets {lacking}",
            )
            return
