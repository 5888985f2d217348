"""Show a chain of custody to people, and as JSON: one form for whoever asks for a release, approves it, or verifies its pack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keyturn.cli.custody.evidence_lines import evidence_lines
from keyturn.cli.mends import mend_of

if TYPE_CHECKING:
    from keyturn.app.custody.open_release import ReleaseDraft
    from keyturn.custody.evaluations import Evaluation
    from keyturn.custody.outside import Outside
    from keyturn.custody.own_words import Word
    from keyturn.custody.verify import Chain
    from keyturn.formats.provenance import Dependency

__all__ = [
    "as_json",
    "aside_lines",
    "code_lines",
    "evaluation_lines",
    "input_json",
    "release_lines",
    "reproduced_lines",
]


def release_lines(draft: ReleaseDraft) -> list[str]:
    """The chain behind a release, as whoever asks for it and whoever approves it see it."""
    from keyturn.formats.posix_time import rfc3339

    chain = draft.chain
    return [
        f"  chain      {len(chain.steps)} steps, lowest level {chain.level_min}",
        f"  log        {draft.index.size} entries, as of {rfc3339(draft.index.as_of)}",
        *(f"  step       {s.value.step} ({s.value.build}) by {s.value.builder}" for s in chain.steps),
        *(f"  source     {digest}" for digest in chain.sources),
        *(f"  {line}" for one in chain.outside for line in evidence_lines(one.evidence)),
        *(f"  {line}" for line in reproduced_lines(chain)),
        *(f"  {line}" for line in evaluation_lines(chain)),
        *(f"  {line}" for line in code_lines(chain)),
        *(f"  {line}" for line in aside_lines(chain)),
        *(f"  FAILURE    {failure.message} [{failure.code}]" for failure in chain.failures),
    ]


def evaluation_lines(chain: Chain) -> list[str]:
    """Each evaluation of the model: what came of it, what was measured, and who asked for what, how long before."""
    found = []
    for result in chain.evaluations:
        verdict = "PASSED" if result.passed else "FAILED"
        if result.failures:
            verdict += ", and does not count"
        values = ", ".join(f"{name} {value}" for name, value in result.values)
        found.append(f"evaluation {verdict}: {values}")
        found.append(f"             of {result.subject}")
        found.append(f"             {_rule(result)}")
    return found or ["evaluation none"]


def reproduced_lines(chain: Chain) -> list[str]:
    """What builders of different operators made alike, and which these were."""
    found = []
    for artifact in sorted(chain.reproduced):
        makers = sorted({step.value.builder.name for step in chain.lineage.makers[artifact]})
        found.append(f"reproduced {artifact}: {', '.join(makers)}")
    return found


def code_lines(chain: Chain) -> list[str]:
    """Who stands behind what the steps took as code; or why two humans do not."""
    found = []
    for one in chain.code:
        for revision in one.revisions:
            if revision.two_humans:
                behind = sorted({*revision.signers("attester", "author"), *revision.authors})
                found.append(f"reviewed   {one.artifact}: {revision.commit[:12]} of {revision.repository}")
                found.append(
                    f"             by {', '.join(behind)}; reviewed by {', '.join(revision.signers('reviewer'))}"
                )
        found += [f"unreviewed {one.artifact}: {failure.message} [{failure.code}]" for failure in one.missing]
    return found


def aside_lines(chain: Chain) -> list[str]:
    """What members said themselves, and is set aside beside what others said."""
    return [f"set aside  {_said(one)}, by {one.value.builder} at log index {one.index}" for one in chain.aside]


def _said(word: Word) -> str:
    from keyturn.formats.provenance import Provenance

    if isinstance(word.value, Provenance):
        return f"that step {word.value.step} made {', '.join(str(output.digest) for output in word.value.outputs)}"
    return f"that {word.value.subject} {'PASSED' if word.value.passed else 'FAILED'} `{word.value.metric}`"


def input_json(taken: Dependency) -> dict[str, Any]:
    """What went into a step, with where it came from when that is more than a path."""
    origin = {name: said for name in taken.origin.__struct_fields__ if (said := getattr(taken.origin, name))}
    return {"name": taken.name, "role": taken.role, "digest": str(taken.digest), **origin}


def _rule(result: Evaluation) -> str:
    named = f"crt-{result.criteria[:32]}"
    if result.rule is None:
        return f"by {named}, which is not in the log"
    rule = result.rule.value
    return f"asked {rule.asks}, by {rule.member} at log index {result.rule.index} ({named}), measured at {result.index}"


def as_json(chain: Chain) -> dict[str, Any]:
    """The chain behind a model, as one JSON value."""
    return {
        "model": str(chain.model),
        "level_min": chain.level_min,
        "steps": [
            {
                "step": s.value.step,
                "build": s.value.build,
                "builder": str(s.value.builder),
                "level": s.value.level,
                "sandbox": s.value.sandbox,
                "attempt": s.value.attempt,
                "inputs": [input_json(d) for d in s.value.dependencies],
                "outputs": [{"name": o.name, "digest": str(o.digest)} for o in s.value.outputs],
            }
            for s in chain.steps
        ],
        "sources": [str(digest) for digest in chain.sources],
        "evidence": [_evidence(one) for one in chain.outside],
        "evaluations": [_evaluation(result) for result in chain.evaluations],
        "reproduced": [str(digest) for digest in sorted(chain.reproduced)],
        "code": [
            {
                "digest": str(one.artifact),
                "two_humans": one.reviewed,
                "missing": [
                    {"code": failure.code, "message": failure.message, "hint": mend_of(failure.code)}
                    for failure in one.missing
                ],
            }
            for one in chain.code
        ],
        "aside": [{"log_index": one.index, "by": str(one.value.builder), "said": _said(one)} for one in chain.aside],
        "failures": [
            {"code": one.code, "message": one.message, "log_index": one.index, "hint": mend_of(one.code)}
            for one in chain.failures
        ],
    }


def _evaluation(result: Evaluation) -> dict[str, Any]:
    rule = result.rule
    return {
        "passed": result.passed,
        "counts": not result.failures,
        "index": result.index,
        "subject": str(result.subject),
        "metric": result.metric,
        "values": dict(result.values),
        "criteria": result.criteria,
        "asked": None if rule is None else rule.value.asks,
        "asked_by": None if rule is None else rule.value.member,
        "asked_at_index": None if rule is None else rule.index,
    }


def _evidence(one: Outside) -> dict[str, Any]:
    found = one.evidence.found
    return {
        "artifact": one.evidence.artifact,
        "record": one.record,
        "outside": one.evidence.outside,
        "signer": found.signer,
        "issuer": found.issuer,
        "statement": found.statement,
        "level": found.level,
        "bound": one.evidence.bound,
        "digest": one.evidence.digest,
    }
