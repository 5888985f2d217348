"""Find which artifacts were made by two builders that nobody operates both of: SLSA 1.2's property `SLSA_BUILD_REPRODUCED`.

https://slsa.dev/spec/v1.2/verified-properties asks for provenance of the artifact from two or more independently operated build
platforms that the verifier trusts. Two steps agree on an artifact when

1. nothing failed about either, and builders of the lab signed them from a sandbox: a member's own word is no second builder;
2. they are the same build word for word: build type, name, command, and every dependency by role, name, digest and check (so
   parameters, code, inputs, the STEP.toml and the runtime's content), and the artifact has the same name in both;
3. builder id, key and operator differ, as the trust said that was in force where each was logged. Operators who are members
   count as the humans that answer for them: a person and an agent of that person's are one.

That an operator's name is another person is the word of those who sign targets. A step that was run again and made something
else is no failure here: what it made has another digest, and the artifact is then not reproduced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

from keyturn.custody.evidence import Logged
from keyturn.custody.lineage import Lineage, Step, inputs_of
from keyturn.custody.timeline import TrustTimeline
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.steps import StepRequest
from keyturn.trust.roster import TrustState

__all__ = ["all_behind", "reproduced"]


def reproduced(
    lineage: Lineage,
    asked: Mapping[int, Logged[StepRequest]],
    *,
    timeline: TrustTimeline,
    failed: Collection[int | None],
) -> frozenset[ArtifactDigest]:
    """Give the artifacts that two builders agree on. `asked` are the steps' requests, and `failed` what failed, by log index."""
    found = []
    for artifact, makers in lineage.makers.items():
        if len(makers) == 1:
            continue
        sound = [step for step in makers if _counts(step, asked.get(step.index), failed)]
        if any(_agree(a, b, artifact, timeline) for a, b in combinations(sound, 2)):
            found.append(artifact)
    return frozenset(found)


def all_behind(model: ArtifactDigest, lineage: Lineage, found: Collection[ArtifactDigest]) -> bool:
    """Whether `model`, and all behind it that a step made, is among `found`; not when nothing made it."""
    if model not in found:
        return False
    taken = {digest for step in lineage.behind(model) for digest in inputs_of(step)}
    return all(one in found for one in (model, *(digest for digest in taken if digest in lineage.makers)))


def _counts(step: Step, request: Logged[StepRequest] | None, failed: Collection[int | None]) -> bool:
    # (1)
    if request is None or step.index in failed or request.index in failed:
        return False
    return step.value.builder.kind == "builder"


def _agree(a: Step, b: Step, artifact: ArtifactDigest, timeline: TrustTimeline) -> bool:
    one, other = a.value, b.value
    if (one.build, one.step, one.command) != (other.build, other.step, other.command):  # (2)
        return False
    if set(_taken(a)) != set(_taken(b)) or not set(_names(a, artifact)) & set(_names(b, artifact)):
        return False
    if one.builder == other.builder or a.keyid == b.keyid:  # (3)
        return False
    return not _operators(a, timeline) & _operators(b, timeline)


def _taken(step: Step) -> Iterator[tuple[str, str, ArtifactDigest, str | None]]:
    return ((d.role, d.name, d.digest, d.check) for d in step.value.dependencies)


def _names(step: Step, artifact: ArtifactDigest) -> Sequence[str]:
    return [output.name for output in step.value.outputs if output.digest == artifact]


def _operators(step: Step, timeline: TrustTimeline) -> frozenset[str]:
    trust = timeline.before(step.index)
    assert trust is not None  # a statement that was logged before any trust did not verify
    operator = trust.builders[step.value.builder.name].operator
    return _humans(operator, trust)


def _humans(operator: str, trust: TrustState) -> frozenset[str]:
    member = trust.roster.members.get(operator)
    return frozenset({operator}) if member is None else member.responsible or frozenset({operator})
