"""Say what holds of a chain of custody, as the facts `custody.*` that policy reads.

Each fact is computed from an examined chain: nobody states one. A fact about evaluations is false when there is none, and
`custody.code_reviewed` is false for a chain with a step that declares no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from keyturn.custody.reproduced import all_behind
from keyturn.custody.verify import Chain
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.steps import Check
from keyturn.policy.facts import Facts

__all__ = ["facts_of"]

_CHECKS: Mapping[Check, int] = MappingProxyType({"snapshot": 1, "on_read": 2, "full": 3})
"""How well a builder held an input against its digest, as a number that policy compares."""

_INCOMPLETE = ("model-not-made", "step-request-missing", "evaluation-step-missing", "evaluation-request-missing")
_UNLINKED = ("link-", "chain-cycle", "model-not-made")
_NOT_ALLOWED = ("builder-", "level-", "chain-signer", "signature-", "step-builder")
_UNDECLARED = ("input-", "runtime-", "step-request-", "step-differs")
_CRITERIA = ("criteria-", "evaluation-request-")


def facts_of(chain: Chain) -> Facts:
    """Compute the facts of `chain`.

    `custody.verified`: no failure at all. `custody.evaluated`: verified, and criteria for this resource, logged before
    the run, were met. `custody.level_min`: the lowest SLSA build level of any step, 0 when one of them has none.
    `custody.evaluations_met`: metrics of the criteria for this resource that were met beyond doubt; none when anything failed.
    `custody.statements`: how many statements say all this: of steps, of results, and of the criteria of these.
    `custody.check_min`: how well the least checked input of any step was held against its digest, as in `_CHECKS`.
    `custody.sandboxed`: each step ran in a sandbox of its builder. `custody.evidence_complete`: for everything that
    custody begins with, somebody whom the lab expects signed a statement that names its digest; `custody.evidence_level_min`:
    the lowest SLSA build level that verification summaries of others say of these, 0 when one has none.
    `custody.code_reviewed`: behind the final revision of all code stand two humans (`sources`); a chain without them is verified
    all the same. `custody.reproduced`: two builders of different operators made the model itself, alike;
    `custody.chain_reproduced`: so did they everything that a step made behind it (`reproduced`). `custody.own_words_aside`: how
    many statements that members made themselves were set aside beside what others said (`own_words`).
    """
    codes = [failure.code for failure in chain.failures]
    steps = chain.steps
    checks = [_CHECKS[d.check] for s in steps for d in s.value.dependencies if d.check is not None]
    rules = {one.criteria for one in chain.evaluations if one.rule is not None}

    def without(prefixes: tuple[str, ...]) -> bool:
        return bool(steps) and not any(code.startswith(prefixes) for code in codes)

    verified = not codes
    levels = _levels(chain)
    return Facts(
        {
            "custody.verified": verified,
            "custody.complete": without(_INCOMPLETE),
            "custody.linked": without(_UNLINKED),
            "custody.steps": len(steps),
            "custody.level_min": chain.level_min,
            "custody.builders_allowed": without(_NOT_ALLOWED),
            "custody.inputs_declared": without(_UNDECLARED),
            "custody.inputs_checked_full": bool(steps)
            and all(d.check == "full" for s in steps for d in s.value.dependencies if d.role != "runtime"),
            "custody.sandboxed": bool(steps) and all(s.value.sandbox == "bubblewrap" for s in steps),
            "custody.evaluated": verified and bool(chain.criteria_met),
            "custody.evaluations_passed": bool(chain.evaluations) and all(e.passed for e in chain.evaluations),
            "custody.evaluations_met": frozenset(
                one.metric for one in chain.evaluations if verified and one.counts_for(chain.resource)
            ),
            "custody.statements": len(steps) + len(chain.evaluations) + len(rules),
            "custody.check_min": min(checks, default=0),
            "custody.criteria_before_run": bool(chain.evaluations) and without(_CRITERIA),
            "custody.evidence_count": len(chain.outside),
            "custody.evidence_complete": bool(levels) and None not in levels,
            "custody.evidence_level_min": min((level or 0 for level in levels), default=0),
            "custody.code_reviewed": bool(steps)
            and all(any(d.role == "code" for d in s.value.dependencies) for s in steps)
            and all(one.reviewed for one in chain.code),
            "custody.reproduced": verified and chain.model in chain.reproduced,
            "custody.chain_reproduced": verified and all_behind(chain.model, chain.lineage, chain.reproduced),
            "custody.own_words_aside": len(chain.aside),
        }
    )


def _levels(chain: Chain) -> tuple[int | None, ...]:
    """For each source of `chain` the highest level that evidence says of it; `None` for one without evidence that names it."""
    best: dict[ArtifactDigest, int] = {}
    for one in chain.outside:
        if one.by_digest:
            best[one.artifact] = max(best.get(one.artifact, 0), one.evidence.found.level)
    return tuple(best.get(source) for source in chain.sources)
