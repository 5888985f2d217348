"""Predicates of building: the step request, logged before a step runs, and the evaluation criteria, logged before that.

Predicate types `https://keyturn.dev/step-request/v1` (kind `stp`) and `https://keyturn.dev/evaluation-criteria/v1`
(kind `crt`); normative page docs/formats/steps.md. Both are records of ours: one signature, by the member and key that
they name. A step request's subjects are the artifacts that go in, so that its leaf is about them; an evaluation
criteria's subjects are its model (by the digest of the URI) and the artifacts, as held-out data, that an evaluation must take.

This is NOT where a step is judged: see `custody.verify`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.text import (
    HexDigest,
    KeyId,
    LabName,
    MemberId,
    Name,
    Nonce,
    PosixTime,
    Short,
    check_free_text,
    is_key_id,
    is_lab_name,
    is_member_id,
    is_name,
    is_nonce,
)
from keyturn.formats.uri import Uri

__all__ = [
    "CHECKPOINT",
    "EVALUATION_CRITERIA",
    "STEP_REQUEST",
    "BuildKind",
    "Check",
    "DecimalText",
    "DeclaredInput",
    "EvaluationCriteria",
    "InputRole",
    "StepRequest",
    "check_decimal",
    "places_digest",
]

STEP_REQUEST = "https://keyturn.dev/step-request/v1"
EVALUATION_CRITERIA = "https://keyturn.dev/evaluation-criteria/v1"

CHECKPOINT = "checkpoint"
"""What an attempt leaves on its way, as the output of a segment; and takes when it goes on, as an input."""

BuildKind = Literal["ingest", "train", "finetune", "merge", "quantize", "evaluate", "package"]
"""The last part of `https://keyturn.dev/build/<kind>/v1`."""

Check = Literal["full", "on_read", "snapshot"]
"""How an input was checked against its digest: read whole before the step, while it was read, or as a snapshot."""

InputRole = Literal["input", "code", "parameters"]
"""What an input is to the step. Artifacts of the chain are `input`; code and parameters come from outside it."""

Text = Annotated[str, Meta(max_length=4096)]
DecimalText = Annotated[str, Meta(pattern=r"\A-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?\Z")]
"""A decimal number as text, as `3.25`: no exponent, no leading zeros, no sign of zero."""

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,18}))?\Z")

_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "above": operator.gt,
    "at-least": operator.ge,
    "at-most": operator.le,
    "below": operator.lt,
}

TrustVersionNumber = Annotated[int, Meta(ge=1, le=2**31)]


@lru_cache(maxsize=4096)
def _artifact(text: str) -> ArtifactDigest:
    return ArtifactDigest.parse(text)


_ARTIFACT = re.compile(r"(?:dirHash|sha256):[0-9a-f]{64}\Z")


class DeclaredInput(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """One thing that goes into a step: its name in the step, its `dirHash:` or `sha256:` digest, how it is checked."""

    name: Short
    digest: Annotated[str, Meta(max_length=80)]
    role: InputRole = "input"
    check: Check = "full"

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise Malformed(
                "json-invalid", "step request: expected each `name` in `inputs` as docs/formats/steps.md says"
            )
        if not _ARTIFACT.match(self.digest):
            _artifact(self.digest)  # names what is wrong

    @property
    def artifact(self) -> ArtifactDigest:
        return _artifact(self.digest)


_FORMS: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("lab", is_lab_name),
    ("member", is_member_id),
    ("key", is_key_id),
    ("step", is_name),
    ("nonce", is_nonce),
)


class StepRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Say, before a step runs, exactly what will run, on what, and where.

    `builder` is the builder asked to run it; absent, the member runs it and signs the provenance (`--no-sandbox`).
    `runtime` are the paths whose content the builder digests; `criteria` is the record digest of the evaluation
    criteria, for `evaluate` and for nothing else. `places` binds the directories of the order to a builder (`places_digest`).

    A job that no builder starts is an attempt: `attempt` is the base64 SPKI DER of a key that was made for it alone and lies
    where the job runs; what the job says of itself is signed by that key. `resumes` is the digest of the request of the
    attempt that it goes on from, whose checkpoint is the input `CHECKPOINT`.
    """

    lab: Short
    nonce: Short
    member: Short
    key: Short
    step: Short
    build: BuildKind
    builder: Name | None = None
    command: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=256)]
    inputs: Annotated[tuple[DeclaredInput, ...], Meta(min_length=1, max_length=100)]
    outputs: Annotated[tuple[Short, ...], Meta(min_length=1, max_length=64)]
    runtime: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    network: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    devices: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    timeout_s: Annotated[int, Meta(ge=1, le=365 * 86400)]
    criteria: HexDigest | None = None
    places: HexDigest | None = None
    attempt: Annotated[str, Meta(min_length=1, max_length=400)] | None = None
    resumes: HexDigest | None = None
    trust_version: TrustVersionNumber
    signed_at: PosixTime

    def __post_init__(self) -> None:
        if not (
            is_lab_name(self.lab)
            and is_member_id(self.member)
            and is_key_id(self.key)
            and is_name(self.step)
            and is_nonce(self.nonce)
            and all(map(is_name, self.outputs))
        ):
            wrong = [field for field, has_form in _FORMS if not has_form(getattr(self, field))] or ["outputs"]
            raise Malformed("json-invalid", f"step request: expected `{wrong[0]}` as docs/formats/steps.md says")
        for what, texts in (
            ("command", self.command),
            ("runtime", self.runtime),
            ("network", self.network),
            ("devices", self.devices),
        ):
            for text in texts:
                check_free_text(text, what=what, size_bytes_max=4096)
        if len(self.inputs) > 1 and len({declared.name for declared in self.inputs}) != len(self.inputs):
            raise ValueError("expected each name in `inputs` once")
        if len(self.outputs) > 1 and len(set(self.outputs)) != len(self.outputs):
            raise ValueError("expected each name in `outputs` once")
        if len(self.runtime) > 1 and len(set(self.runtime)) != len(self.runtime):
            raise ValueError("expected each name in `runtime` once")
        if (self.build == "evaluate") != (self.criteria is not None):
            raise ValueError("expected `criteria` for build `evaluate` and for no other")
        if self.attempt is not None:
            self._check_attempt()
        elif self.resumes is not None:
            raise ValueError("expected `resumes` for an attempt and for nothing else")

    def _check_attempt(self) -> None:
        if self.builder is not None or self.criteria is not None:
            raise ValueError("expected an attempt without a builder and without criteria")
        if CHECKPOINT in self.outputs:
            raise ValueError(f"expected another output than `{CHECKPOINT}`, which is what an attempt leaves on its way")
        if self.resumes is not None and CHECKPOINT not in {i.name for i in self.inputs if i.role == "input"}:
            raise ValueError(f"expected an input `{CHECKPOINT}` of an attempt that goes on")

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The only subjects that a statement with this predicate may have: its inputs, in their order."""
        return tuple(Subject(digest=DigestSet.of(i.artifact), name=i.name) for i in self.inputs)

    def is_about(self, subjects: tuple[Subject, ...]) -> bool:
        """Whether `subjects` are `self.subjects`, without making them."""
        if len(subjects) != len(self.inputs):
            return False
        for subject, declared in zip(subjects, self.inputs, strict=True):
            if subject.name != declared.name or str(subject.digest) != declared.digest:
                return False
        return True


def places_digest(*, base: str, destination: str, nonce: str) -> Sha256:
    """The digest by which a step request names where its STEP.toml lies and its outputs go, without saying it in the log."""
    return sha256(canonical_json.encode({"base": base, "destination": destination, "nonce": nonce}))


class EvaluationCriteria(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say, before anybody measures, what a model must reach.

    Met when `metric <comparison> threshold`; with `against` (another metric of the same measurement, as a baseline's)
    when `metric - against <comparison> threshold`. `model` is the resource whose releases it speaks of.
    """

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    model: str
    metric: Name
    comparison: Literal["above", "at-least", "at-most", "below"]
    threshold: DecimalText
    against: Name | None = None
    reason: str = ""
    trust_version: TrustVersionNumber
    signed_at: PosixTime

    def __post_init__(self) -> None:
        if Uri.parse(self.model).type != "model":
            raise ValueError("expected the URI of a model in `model`")
        check_decimal(self.threshold)
        check_free_text(self.reason, what="reason")
        if self.against == self.metric:
            raise ValueError("expected `against` to be another metric than `metric`")

    @property
    def asks(self) -> str:
        """What must hold, as a person reads it: `bits-per-byte - bits-per-byte-order-0 at-most -1`."""
        measured = self.metric if self.against is None else f"{self.metric} - {self.against}"
        return f"{measured} {self.comparison} {self.threshold}"

    def met_by(self, values: dict[str, str]) -> bool | None:
        """Compare measured `values` (decimal texts by metric) exactly; `None` when a metric that it needs is missing."""
        measured = values.get(self.metric)
        base = "0" if self.against is None else values.get(self.against)
        if measured is None or base is None:
            return None
        return _COMPARE[self.comparison](check_decimal(measured) - check_decimal(base), check_decimal(self.threshold))


def check_decimal(text: str) -> int:
    """Read decimal `text` as a whole number of 10^-18, exactly; or raise `Malformed`.

    >>> check_decimal("-1.5")
    -1500000000000000000
    """
    found = _DECIMAL.match(text)
    if found is None:
        raise Malformed("decimal-invalid", f"expected a decimal number as `3.25`, got `{text[:60]}`")
    sign, whole, fraction = found.group(1), found.group(2), found.group(3) or ""
    value = int(whole) * 10**18 + int(fraction.ljust(18, "0"))
    if sign and value == 0:
        raise Malformed("decimal-invalid", f"expected zero without a sign, got `{text[:60]}`")
    return -value if sign else value
