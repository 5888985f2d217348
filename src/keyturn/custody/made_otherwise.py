"""Name models that steps say they made from different things: of two such steps one did not.

Where a model came from is what its chain is for, and the log gives two answers. A rerun that agrees gives the same one: code and
parameters may differ, since a comment in them changes no model, and who goes on from a checkpoint took that besides. Artifacts of
other builds (data, results of an evaluation) can be equal by chance, and say nothing by it.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.custody.evidence import Failure
from keyturn.custody.lineage import Lineage, Step
from keyturn.custody.linked import MODEL_BUILDS
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.steps import CHECKPOINT

__all__ = ["made_otherwise"]

_SHOWN_MAX = 5


def made_otherwise(lineage: Lineage) -> Iterator[Failure]:
    """Each step of `lineage` that says it made a model from other things than the first that made the same one."""
    for artifact, makers in lineage.makers.items():
        if len(makers) == 1:
            continue
        made = [step for step in makers if step.value.build in MODEL_BUILDS]
        for step in made[1:]:
            taken, first = _taken(step), _taken(made[0])
            if taken != first:
                yield Failure(
                    step.index,
                    "made-otherwise",
                    f"step `{step.value.step}`: it says that it made `{artifact}` from {_said(taken)}, and step "
                    f"`{made[0].value.step}` at log index {made[0].index} says from {_said(first)}",
                )


def _taken(step: Step) -> frozenset[ArtifactDigest]:
    return frozenset(d.digest for d in step.value.dependencies if d.role == "input" and d.name != CHECKPOINT)


def _said(digests: frozenset[ArtifactDigest]) -> str:
    shown = [f"`{one}`" for one in sorted(map(str, digests))]
    return ", ".join(shown[:_SHOWN_MAX]) + (f" and {len(shown) - _SHOWN_MAX} more" if len(shown) > _SHOWN_MAX else "")
