"""Make and read the in-toto test result of an evaluation: which model, by which criteria, measured as what.

Predicate type `https://in-toto.io/attestation/test-result/v0.1` (in-toto/attestation spec/predicates/test-result.md).
`configuration` holds exactly four resource descriptors, in this order: `builder` (its id as `uri`), `criteria` (digest of the
evaluation-criteria record), `measurement` (digest of the step's output, the values as annotations) and `step` (digest of the
step-request record). The one test has the name of the criteria's metric. Normative page docs/formats/steps.md.

This is NOT verification: that PASSED follows from the values is checked by `custody.verify`, not believed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import statement
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.provenance import BuilderId
from keyturn.formats.statement import DigestSet, Statement, Subject
from keyturn.formats.steps import DecimalText
from keyturn.formats.text import Name

__all__ = ["TEST_RESULT", "TestResult", "make", "read"]

TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"


class TestResult(msgspec.Struct, frozen=True):
    """One evaluation of one artifact. `values` are decimal texts by metric, `measurement` the output that holds them."""

    subject: ArtifactDigest
    subject_name: str
    passed: bool
    metric: str
    criteria: Sha256
    request: Sha256
    builder: BuilderId
    measurement: ArtifactDigest
    values: tuple[tuple[str, str], ...]


class _Strict(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    pass


class _Descriptor(_Strict, frozen=True, kw_only=True):
    name: Literal["builder", "criteria", "measurement", "step"]
    uri: Annotated[str, Meta(max_length=400)] | None = None
    digest: DigestSet | None = None
    annotations: Annotated[dict[Name, DecimalText], Meta(max_length=256)] | None = None


class _Predicate(_Strict, frozen=True, kw_only=True):
    result: Literal["PASSED", "FAILED"]
    configuration: Annotated[tuple[_Descriptor, ...], Meta(min_length=4, max_length=4)]
    passed_tests: Annotated[tuple[Name, ...], Meta(max_length=1)] = ()
    failed_tests: Annotated[tuple[Name, ...], Meta(max_length=1)] = ()


def make(value: TestResult) -> bytes:
    """Render the payload that the builder of the evaluation signs."""
    payload = statement.make(
        _Predicate(
            result="PASSED" if value.passed else "FAILED",
            configuration=(
                _Descriptor(name="builder", uri=str(value.builder)),
                _Descriptor(name="criteria", digest=DigestSet(sha256=value.criteria)),
                _Descriptor(name="measurement", digest=DigestSet.of(value.measurement), annotations=dict(value.values)),
                _Descriptor(name="step", digest=DigestSet(sha256=value.request)),
            ),
            passed_tests=(value.metric,) if value.passed else (),
            failed_tests=() if value.passed else (value.metric,),
        ),
        TEST_RESULT,
        (Subject(digest=DigestSet.of(value.subject), name=value.subject_name),),
    )
    read(payload)
    return payload


def read(payload: bytes) -> TestResult:
    """Parse the test result of an evaluation, or raise `Malformed`."""
    parsed: Statement[_Predicate] = statement.parse(payload, _Predicate, TEST_RESULT)
    predicate = parsed.predicate
    match predicate.configuration:
        case (
            _Descriptor(name="builder", uri=str(builder), digest=None, annotations=None),
            _Descriptor(name="criteria", uri=None, digest=DigestSet(sha256=str(criteria)), annotations=None),
            _Descriptor(name="measurement", uri=None, digest=DigestSet() as measured, annotations=dict(values)),
            _Descriptor(name="step", uri=None, digest=DigestSet(sha256=str(request)), annotations=None),
        ):
            pass
        case _:
            raise Malformed(
                "test-result-configuration",
                "test result: expected `builder`, `criteria`, `measurement` and `step` in `configuration`, in this order",
            )
    passed = predicate.result == "PASSED"
    tests = predicate.passed_tests if passed else predicate.failed_tests
    if len(tests) != 1 or len(predicate.passed_tests) + len(predicate.failed_tests) != 1:
        raise Malformed("test-result-tests", "test result: expected exactly one test, listed under its result")
    if len(parsed.subject) != 1:
        raise Malformed("test-result-subject", f"test result: expected one subject, got {len(parsed.subject)}")
    return TestResult(
        subject=parsed.subject[0].digest.artifact,
        subject_name=parsed.subject[0].name,
        passed=passed,
        metric=tests[0],
        criteria=Sha256(criteria),
        request=Sha256(request),
        builder=BuilderId.parse(builder),
        measurement=measured.artifact,
        values=tuple(sorted(values.items())),
    )
