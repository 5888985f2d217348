"""Step requests, evaluation criteria and test results: what is logged before a step, and what comes of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Malformed
from keyturn.formats import dsse, records, statement, steps, test_result
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.provenance import BuilderId
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.steps import DeclaredInput, EvaluationCriteria, StepRequest

DATA = "dirHash:" + "1" * 64
CODE = "sha256:" + "2" * 64
MODEL = ArtifactDigest("dirHash", Sha256("4" * 64))

REQUEST = StepRequest(
    lab="acme.example",
    nonce="0" * 32,
    member="ada",
    key="f" * 64,
    step="train",
    build="train",
    builder="main",
    command=("python", "/in/code/train.py"),
    inputs=(DeclaredInput(name="data", digest=DATA), DeclaredInput(name="code", digest=CODE, role="code")),
    outputs=("model",),
    runtime=("/usr",),
    timeout_s=3600,
    trust_version=1,
    signed_at=1_790_000_000,
)
CRITERIA = EvaluationCriteria(
    lab="acme.example",
    nonce="1" * 32,
    member="ada",
    key="f" * 64,
    model="keyturn://acme.example/model/aurora",
    metric="bits-per-byte",
    comparison="at-most",
    threshold="-0.5",
    against="order-0-bits-per-byte",
    trust_version=1,
    signed_at=1_790_000_000,
)
RESULT = test_result.TestResult(
    subject=MODEL,
    subject_name="model",
    passed=True,
    metric="bits-per-byte",
    criteria=Sha256("c" * 64),
    request=Sha256("d" * 64),
    builder=BuilderId("acme.example", "builder", "main"),
    measurement=ArtifactDigest("sha256", Sha256("e" * 64)),
    values=(("bits-per-byte", "3.25"), ("order-0-bits-per-byte", "4.75")),
)


def envelope_of(predicate: msgspec.Struct, kind: str, subject: tuple[Subject, ...]) -> bytes:
    key = SoftwareKey.generate()
    return dsse.render(dsse_signing.sign(statement.make(predicate, kind, subject), key))


def test_a_step_request_is_a_record_whose_leaf_is_about_what_goes_in() -> None:
    raw = envelope_of(REQUEST, steps.STEP_REQUEST, REQUEST.subjects)
    record = records.parse(raw)
    assert record.kind == "stp"
    assert record.statement.predicate == REQUEST
    assert records.leaf_of(raw).about == ("build:train", DATA, "member:ada", CODE)


def test_the_leaf_of_an_evaluation_names_its_criteria() -> None:
    request = msgspec.structs.replace(REQUEST, build="evaluate", criteria="c" * 64)
    leaf = records.leaf_of(envelope_of(request, steps.STEP_REQUEST, request.subjects))
    assert "criteria:" + "c" * 64 in leaf.about


def test_evaluation_criteria_are_a_record_whose_leaf_is_about_the_model_and_the_data() -> None:
    subject = (Subject(digest=DigestSet(sha256="2" * 64)),)
    raw = envelope_of(CRITERIA, steps.EVALUATION_CRITERIA, subject)
    assert records.parse(raw).kind == "crt"
    assert records.leaf_of(raw).about == ("model:keyturn://acme.example/model/aurora", CODE)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"command": ()}, id="no command"),
        pytest.param({"command": ("a\x1b[31m",)}, id="a terminal escape in the command"),
        pytest.param({"inputs": ()}, id="no inputs"),
        pytest.param({"inputs": (REQUEST.inputs[0], REQUEST.inputs[0])}, id="one input twice"),
        pytest.param({"inputs": tuple(DeclaredInput(name=f"i{n}", digest=CODE) for n in range(101))}, id="101 inputs"),
        pytest.param({"outputs": ("model", "model")}, id="one output twice"),
        pytest.param({"runtime": ("/usr", "/usr")}, id="one runtime twice"),
        pytest.param({"criteria": "c" * 64}, id="criteria for a training"),
        pytest.param({"build": "evaluate"}, id="an evaluation without criteria"),
        pytest.param({"build": "bake"}, id="an unknown build"),
        pytest.param({"timeout_s": 0}, id="no time"),
        pytest.param({"timeout_s": 2**63}, id="2^63 seconds"),
        pytest.param({"step": "../train"}, id="a path for a name"),
    ],
)
def test_a_step_request_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((Malformed, ValueError)):
        request = msgspec.structs.replace(REQUEST, **change)
        records.parse(envelope_of(request, steps.STEP_REQUEST, REQUEST.subjects))


def test_an_input_needs_a_digest_with_its_algorithm() -> None:
    with pytest.raises(Malformed):
        DeclaredInput(name="data", digest="1" * 64)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"model": "keyturn://acme.example/host/aurora"}, id="a host instead of a model"),
        pytest.param({"threshold": "1e3"}, id="an exponent"),
        pytest.param({"threshold": "-0.0"}, id="minus zero"),
        pytest.param({"threshold": "01"}, id="a leading zero"),
        pytest.param({"threshold": "1.0\n"}, id="a trailing newline"),
        pytest.param({"threshold": "1" * 19}, id="too many digits"),
        pytest.param({"threshold": "\u0661"}, id="an Arabic digit"),
        pytest.param({"against": "bits-per-byte"}, id="a metric against itself"),
        pytest.param({"reason": "a\u202eb"}, id="a direction override"),
    ],
)
def test_criteria_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises((Malformed, ValueError)):
        msgspec.structs.replace(CRITERIA, **change)


@pytest.mark.parametrize(
    ("comparison", "difference", "met"),
    [
        ("above", "0.5", False),
        ("above", "0.500000000000000001", True),
        ("at-least", "0.5", True),
        ("at-least", "0.499999999999999999", False),
        ("at-most", "0.5", True),
        ("at-most", "0.500000000000000001", False),
        ("below", "0.5", False),
        ("below", "-3", True),
    ],
)
def test_comparisons_are_exact(comparison: str, difference: str, met: bool) -> None:
    absolute = msgspec.structs.replace(CRITERIA, comparison=comparison, threshold="0.5", against=None)
    assert absolute.met_by({"bits-per-byte": difference}) is met


def test_a_metric_is_compared_with_its_baseline() -> None:
    assert CRITERIA.met_by({"bits-per-byte": "4.25", "order-0-bits-per-byte": "4.75"}) is True
    assert CRITERIA.met_by({"bits-per-byte": "4.26", "order-0-bits-per-byte": "4.75"}) is False


def test_criteria_say_what_they_ask_for() -> None:
    assert CRITERIA.asks == "bits-per-byte - order-0-bits-per-byte at-most -0.5"
    assert msgspec.structs.replace(CRITERIA, against=None).asks == "bits-per-byte at-most -0.5"


@pytest.mark.parametrize("values", [{}, {"bits-per-byte": "1"}, {"order-0-bits-per-byte": "1"}])
def test_a_missing_metric_is_neither_met_nor_failed(values: dict[str, str]) -> None:
    assert CRITERIA.met_by(values) is None


@pytest.mark.parametrize("passed", [True, False])
def test_a_test_result_reads_back_as_it_was(passed: bool) -> None:
    value = msgspec.structs.replace(RESULT, passed=passed)
    assert test_result.read(test_result.make(value)) == value


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        pytest.param(
            lambda d: d["predicate"]["configuration"].reverse(), "test-result-configuration", id="other order"
        ),
        pytest.param(
            lambda d: d["predicate"]["configuration"][1].update(digest={"dirHash": "c" * 64}),
            "test-result-configuration",
            id="criteria by dirHash",
        ),
        pytest.param(
            lambda d: d["predicate"]["configuration"].pop(), "json-invalid", id="no step in the configuration"
        ),
        pytest.param(lambda d: d["predicate"].update(failedTests=["x"]), "test-result-tests", id="passed and failed"),
        pytest.param(lambda d: d["predicate"].update(passedTests=[]), "test-result-tests", id="no test"),
        pytest.param(
            lambda d: d["predicate"].update(result="FAILED"), "test-result-tests", id="result and test disagree"
        ),
        pytest.param(lambda d: d["predicate"].update(result="WARNED"), "json-invalid", id="warned"),
        pytest.param(lambda d: d["subject"].append(d["subject"][0]), "test-result-subject", id="two subjects"),
        pytest.param(
            lambda d: d["predicate"]["configuration"][2]["annotations"].update({"bits-per-byte": "NaN"}),
            "json-invalid",
            id="not a number",
        ),
    ],
)
def test_another_test_result_is_refused(mutate: Callable[[Any], object], code: str) -> None:
    document = msgspec.json.decode(test_result.make(RESULT))
    mutate(document)
    if document["predicate"].get("passedTests") == []:
        del document["predicate"]["passedTests"]
    with pytest.raises(Malformed) as caught:
        test_result.read(msgspec.json.encode(document, order="sorted"))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("lab", "Acme"),
        ("nonce", "0" * 31),
        ("member", "Ada"),
        ("key", "F" * 64),
        ("step", "train\n"),
        ("builder", ""),
        ("outputs", ("model", "../model")),
    ],
)
def test_a_step_request_with_a_name_of_another_form_is_refused(field: str, wrong: object) -> None:
    good = statement.make(REQUEST, steps.STEP_REQUEST, REQUEST.subjects)
    changed = msgspec.json.decode(good)
    changed["predicate"][field] = wrong
    with pytest.raises(Malformed) as caught:
        statement.parse(msgspec.json.encode(changed, order="sorted"), StepRequest, steps.STEP_REQUEST)
    assert caught.value.code == "json-invalid"
    assert field in caught.value.message


def test_an_input_with_a_name_of_another_form_is_refused() -> None:
    with pytest.raises(Malformed, match="`name` in `inputs`") as caught:
        DeclaredInput(name="Data", digest="sha256:nothing")
    assert caught.value.code == "json-invalid"


@pytest.mark.parametrize(
    "subjects",
    [
        pytest.param((), id="none"),
        pytest.param(REQUEST.subjects[:1], id="one is missing"),
        pytest.param(REQUEST.subjects[::-1], id="another order"),
        pytest.param((*REQUEST.subjects, REQUEST.subjects[0]), id="one more"),
        pytest.param((REQUEST.subjects[0], Subject(digest=REQUEST.subjects[1].digest, name="x")), id="another name"),
        pytest.param(
            (REQUEST.subjects[0], Subject(digest=REQUEST.subjects[0].digest, name="code")), id="another digest"
        ),
        pytest.param(
            (REQUEST.subjects[0], Subject(digest=DigestSet(dirHash="2" * 64), name="code")), id="another algorithm"
        ),
    ],
)
def test_a_step_request_is_about_its_inputs_and_nothing_else(subjects: tuple[Subject, ...]) -> None:
    assert REQUEST.is_about(REQUEST.subjects)
    assert not REQUEST.is_about(subjects)


def test_places_are_named_by_a_digest_that_each_of_them_changes() -> None:
    said = {"base": "/home/ada/work", "destination": "/srv/models", "nonce": "0" * 32}
    digest = steps.places_digest(**said)
    raw = b'{"base":"/home/ada/work","destination":"/srv/models","nonce":"%s"}' % (b"0" * 32)
    assert digest == sha256(raw)
    for name in said:
        assert steps.places_digest(**{**said, name: "another"}) != digest
