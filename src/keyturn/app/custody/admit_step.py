"""Admit a step request at a builder: only what an enrolled, unsuspended member signed for this very builder may run.

The builder asks its own trust history, never the service. `AdmittedStep` is made here only, and `app.custody.run_step` takes
nothing else.

1. parse: a step request of this lab;
2. the member is in the roster, not suspended, and the key is the member's, not suspended;
3. the signature is by that key;
4. it asks for this builder, or, at a member's own machine (`--no-sandbox`), for none;
5. it names the newest trust version, and was signed within `AGE_MAX_S`, or as long ago as a cluster's queue takes. An order
   that was admitted before, and is taken up again by the process after the one that admitted it, was held against these when
   it came in, and is not again: people may have signed other trust while the machine was down, and who asked must be a member
   of that too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import NoReturn

from keyturn.crypto import dsse_signing
from keyturn.errors import Malformed, Refused
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.steps import StepRequest
from keyturn.trust.roster import TrustState

__all__ = ["AGE_MAX_S", "AdmittedStep", "admit_step"]

AGE_MAX_S = 15 * 60

_ADMITTED = object()


@dataclass(frozen=True, slots=True)
class AdmittedStep:
    """A step request that may run here, once. Only `admit_step` makes one."""

    request: StepRequest
    digest: Sha256
    raw: bytes
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _ADMITTED:
            raise TypeError("an AdmittedStep is made by admit_step only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AdmittedStep is not pickled: admit the request again")


def admit_step(
    raw: bytes,
    *,
    trust: TrustState,
    builder: str | None,
    require_unsuspended: Callable[[str, str], None],
    now: int,
    age_max_s: int,
    again: bool = False,
) -> AdmittedStep:
    """Check the signed step request `raw` for `builder` (`None`: the member's own machine), or raise `Refused`.

    `require_unsuspended` takes member and key id, and raises when either is suspended, or when that could not be found out.
    `age_max_s`: how long ago it may have been signed. `again`: the caller keeps that it was admitted before.
    """
    record = records.parse(raw)  # (1)
    request = record.statement.predicate
    if not isinstance(request, StepRequest):
        raise Malformed("step-request-expected", f"expected a step request, got a record of kind `{record.kind}`")
    if record.statement.subject != request.subjects:
        raise Malformed("step-request-subject", "step request: expected its inputs as subjects, in their order")
    if request.lab != trust.lab:
        raise Refused("step-lab", f"expected a step of lab `{trust.lab}`, got one of `{request.lab}`")
    held = trust.roster.key_of(request.member, request.key)  # (2)
    if held is None:
        raise Refused("step-member", f"key `{request.key[:16]}` is not enrolled for a member `{request.member}`")
    require_unsuspended(request.member, request.key)
    dsse_signing.verify_one(record.envelope, held)  # (3)
    if request.builder != builder:  # (4)
        raise Refused("step-builder", f"expected a step for {_name(builder)}, got one for {_name(request.builder)}")
    if again:
        return AdmittedStep(request, record.digest, raw, made_by=_ADMITTED)
    if request.trust_version != trust.targets_version:  # (5)
        raise Refused(
            "step-trust-version",
            f"expected trust version {trust.targets_version}, the request names {request.trust_version}",
            hint="run the command again: it signs a new request",
        )
    skew = trust.limits.clock_skew_max_s
    if not now - age_max_s <= request.signed_at <= now + skew:
        raise Refused(
            "step-request-old",
            f"expected a request signed within {age_max_s} s, this one was signed at {request.signed_at}, now is {now}",
            hint="run the command again: it signs a new request",
        )
    return AdmittedStep(request, record.digest, raw, made_by=_ADMITTED)


def _name(builder: str | None) -> str:
    return "no builder" if builder is None else f"builder `{builder}`"
