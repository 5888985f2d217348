"""Say what holds of a chain of custody, as the facts `custody.*` that policy reads.

Each fact is computed from an examined chain: nobody states one. A fact about evaluations is false when there is none, and
`custody.code_reviewed` is missing as long as nothing in a chain says who reviewed its code, so that whoever asks is told no.
"""

from __future__ import annotations

from keyturn.custody.verify import Chain
from keyturn.policy.facts import Facts

__all__ = ["facts_of"]

_INCOMPLETE = ("model-not-made", "step-request-missing", "evaluation-step-missing", "evaluation-request-missing")
_UNLINKED = ("link-", "chain-cycle", "model-not-made")
_NOT_ALLOWED = ("builder-", "level-", "chain-signer", "signature-", "step-builder")
_UNDECLARED = ("input-", "runtime-", "step-request-", "step-differs")
_CRITERIA = ("criteria-", "evaluation-request-")


def facts_of(chain: Chain) -> Facts:
    """Compute the facts of `chain`.

    `custody.verified`: no failure at all. `custody.evaluated`: verified, and criteria for this resource, logged before
    the run, were met. `custody.level_min`: the lowest SLSA build level of any step, 0 when one of them has none.
    `custody.sandboxed`: no step was a member's own word (`--no-sandbox`).
    """
    codes = [failure.code for failure in chain.failures]
    steps = chain.steps

    def without(prefixes: tuple[str, ...]) -> bool:
        return bool(steps) and not any(code.startswith(prefixes) for code in codes)

    verified = not codes
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
            "custody.sandboxed": bool(steps) and all(s.value.sandbox != "none" for s in steps),
            "custody.evaluated": verified and bool(chain.criteria_met),
            "custody.evaluations_passed": bool(chain.evaluations) and all(e.passed for e in chain.evaluations),
            "custody.criteria_before_run": bool(chain.evaluations) and without(_CRITERIA),
        }
    )
