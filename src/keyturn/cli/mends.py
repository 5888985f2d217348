"""What mends each failure of a chain or a pack: these are judged whole, and so each failure says what helps for it alone.

Nothing in a log is ever changed: what is wrong there is made anew, and the new chain is released. Codes of errors that are raised
are in `next_steps`. docs/errors.md lists both.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.cli.next_steps import AFTER

__all__ = ["MENDS", "mend_of"]

_AGAIN = "run the step again, and those after it: `keyturn run`; then release what they make"
_EVALUATE = "evaluate it again by criteria that are in the log: `keyturn run STEP.toml --criteria CRT`"
_PACK = (
    "do not use the model: whoever has the gate's key signed what the gate would not have; tell the lab that made it"
)
_FETCH = "fetch the pack again: it is not whole as the gate made it"
_SIGNED_FOR = "`keyturn source attest` and `keyturn source review`, by two humans, before the next run of the step"
_BUILDER = "find out who has the builder's key, and suspend it if in doubt: `keyturn trust suspend`; then run the step on another"

_MENDS: tuple[tuple[str, str], ...] = (
    (_AGAIN, "step-request-missing step-request-late step-request-reused step-differs runtime-differs output-differs"),
    (_AGAIN, "input-undeclared input-not-taken input-digest input-differs link-late"),
    ("run the step that makes it, under custody; what comes from outside begins with an ingest", "link-missing"),
    (
        "have targets list that lab with its first root, or make the model from what the lab itself made",
        "link-other-lab",
    ),
    ("release what a step made: `keyturn lineage show` says what the log has of it", "model-not-made"),
    ("find out which of the steps made it; a model of which that is not certain is made again", "made-otherwise"),
    ("find out who signed that: a step cannot take what comes out of it; then make the model again", "chain-cycle"),
    (_BUILDER, "step-builder builder-level builder-without-sandbox builder-key builder-not-allowed"),
    ("have a builder run the step: `keyturn run` without --no-sandbox", "level-of-member"),
    ("open the next attempt from a checkpoint of the one before: `keyturn step resume`", "resumes-other"),
    (
        "find out who has the attempt's key; then run the job again: `keyturn step open`",
        "segment-of-no-attempt segment-late",
    ),
    (_EVALUATE, "evaluation-request-missing evaluation-request-late evaluation-step-missing evaluation-measurement"),
    (_EVALUATE, "evaluation-criteria evaluation-builder evaluation-subject evaluation-inputs evaluation-values"),
    (_EVALUATE, "evaluation-unfinished criteria-missing"),
    (
        "log the criteria first, and then evaluate: what was chosen with the result in view proves nothing",
        "criteria-late",
    ),
    (
        "this model did not do what was asked: another one has to, and another result does not take this one back",
        "evaluation-failed",
    ),
    (_BUILDER, "evaluation-result-false"),
    ("open the release again, so that people see it: `keyturn release`", "chain-changed-since release-subjects"),
    (_FETCH, "pack-table-other pack-contents-size pack-contents-model pack-other-files"),
    (_PACK, "pack-contents-key release-after-grant release-statement-other"),
    (_FETCH, "pack-record-unknown pack-statement-missing pack-record-missing pack-record-unproved pack-record-other"),
    (
        _SIGNED_FOR,
        "source-review-late source-other-kind source-signer-suspended source-review-missing source-other-revision",
    ),
    (_SIGNED_FOR, "source-one-human source-not-reviewed source-not-attested"),
)

MENDS: Mapping[str, str] = {code: said for said, codes in _MENDS for code in codes.split()}
"""Code of a failure -> what mends it."""


def mend_of(code: str) -> str:
    """What mends the failure `code`, or nothing when nobody knows."""
    return MENDS.get(code) or AFTER.get(code, "")
