"""Judge what attempts say: jobs that no builder started, which log each checkpoint on their way, and go on after a crash.

A step request with a key of its own (`attempt`) is open from its place in the log on. Each checkpoint is a segment: provenance of
the same request whose one output is `checkpoint`, by a number of its own. The attempt is over with the statement that has
no number and the outputs that were asked for; nothing of it may be logged afterwards. An attempt that goes on from another
one (`resumes`) took a checkpoint of that one as its input `checkpoint`.

This is NOT who signed (`evidence`), nor whether a segment is what its request declared (`verify`). All of it is the word of
whoever runs the job: level 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keyturn.custody.evidence import Failure, Logged
from keyturn.custody.lineage import Lineage, Step
from keyturn.formats.steps import CHECKPOINT, StepRequest

__all__ = ["judge", "resumed"]


def judge(step: Step, request: StepRequest, *, closed_at: int | None) -> Iterator[Failure]:
    """What is wrong with `step` as part of the attempt `request`, which was closed at log index `closed_at` if at all."""
    name = step.value.step
    if request.attempt is None:
        yield Failure(
            step.index, "segment-of-no-attempt", f"step `{name}`: its request is of no attempt, and it is a part of one"
        )
    elif step.value.segment is not None and closed_at is not None:
        yield Failure(
            step.index,
            "segment-late",
            f"step `{name}`: checkpoint {step.value.segment} was logged after the attempt was closed at {closed_at}",
        )


def resumed(ran: Sequence[tuple[Step, Logged[StepRequest] | None]], lineage: Lineage) -> Iterator[Failure]:
    """Each attempt that says that it goes on from another one, and took no checkpoint of that."""
    for step, request in ran:
        if request is None or request.value.resumes is None:
            continue
        taken = next((one.artifact for one in request.value.inputs if one.name == CHECKPOINT), None)
        makers = lineage.makers.get(taken, ()) if taken is not None else ()
        if not any(maker.value.request == request.value.resumes for maker in makers):
            yield Failure(
                step.index,
                "resumes-other",
                f"step `{step.value.step}`: it goes on from stp-{request.value.resumes[:32]}, "
                f"and took no checkpoint that this one logged",
            )
