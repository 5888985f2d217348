"""Say which SLSA build level a step is believed at: what it claims, if trust allowed its signer that much then.

A claim above what targets allow is a failure, never quietly lowered: somebody configured or forged something. A step
that a member ran without a builder (`--no-sandbox`) is that member's word: level 1, and policy can refuse it.
"""

from __future__ import annotations

from keyturn.custody.evidence import Failure, Logged
from keyturn.formats.provenance import Level, Provenance
from keyturn.trust.roster import TrustState

__all__ = ["believed_level"]

_SLURM_LEVEL_MAX: Level = 2
"""Jobs of a cluster are not isolated from each other: whoever is the job's user elsewhere can write where it writes."""


def believed_level(step: Logged[Provenance], trust: TrustState) -> Level | Failure:
    """Judge the level that the verified `step` claims, under `trust`, which was in force when it was logged."""
    made = step.value
    if made.builder.kind == "member":
        if made.level != 1 or made.sandbox != "none":
            return Failure(
                step.index,
                "level-of-member",
                f"step `{made.step}`: a member's own word is level 1 without a sandbox, "
                f"got level {made.level} with `{made.sandbox}`",
            )
        return 1
    if made.sandbox == "none":
        return Failure(
            step.index,
            "builder-without-sandbox",
            f"step `{made.step}`: builder `{made.builder.name}` signed a step that ran without a sandbox",
        )
    allowed = trust.builders[made.builder.name].level_max
    if made.sandbox == "slurm" and allowed > _SLURM_LEVEL_MAX:
        allowed = _SLURM_LEVEL_MAX
    if made.level > allowed:
        return Failure(
            step.index,
            "builder-level",
            f"step `{made.step}`: builder `{made.builder.name}` claims level {made.level}, "
            f"trust version {trust.targets_version} allows {allowed} in `{made.sandbox}`",
        )
    return made.level
