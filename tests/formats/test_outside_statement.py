"""Statements of others: what is judged is read strictly, and a model signature is about names and digests of files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyturn.errors import Malformed
from keyturn.formats import outside_statement
from keyturn.formats.digest import Sha256, dir_hash
from keyturn.formats.outside_statement import OutsideSummary

ONE, TWO = "11" * 32, "22" * 32


def text(predicate: Any = None, *, kind: str = "https://x.example/v1", **head: Any) -> bytes:
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {"name": "b", "digest": {"sha256": TWO, "sha1": "x"}},
                {"name": "a", "digest": {"sha256": ONE}},
            ],
            "predicateType": kind,
            "predicate": predicate,
        }
        | head
    ).encode()


def refused(call: Any) -> str:
    with pytest.raises(Malformed) as caught:
        call()
    return caught.value.code


def test_subjects_are_read_by_digest_each_once_and_sorted() -> None:
    found = outside_statement.parse(
        text(subject=[{"digest": {"sha256": d, "gitCommit": "x"}} for d in (TWO, ONE, TWO)])
    )
    assert [str(one) for one in found.subjects] == [f"sha256:{ONE}", f"sha256:{TWO}"]
    assert (
        outside_statement.parse(text(_type="https://in-toto.io/Statement/v0.1")).predicate_type
        == "https://x.example/v1"
    )


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(text(_type="https://in-toto.io/Link/v0.3"), "statement-type", id="another type"),
        pytest.param(text(subject=[]), "statement-subject-count", id="no subject"),
        pytest.param(text(subject=[{"digest": {"sha256": "AB" * 32}}]), "digest-invalid", id="upper case"),
        pytest.param(text(predicateType=1), "statement-invalid", id="a number for a type"),
        pytest.param(b"[" * 5000, "statement-invalid", id="deep nesting"),
        pytest.param(
            text({"verificationResult": "FAILED"})[:-2] + b',"verificationResult":"PASSED"}}',
            "statement-invalid",
            id="a field twice",
        ),
        pytest.param(text()[:-1] + b',"more":' + b"[" * 100_000, "statement-invalid", id="deep in what is not judged"),
        pytest.param(
            text()[:-1] + b',"more":' + b"1" * 5000 + b"}", "statement-invalid", id="a number too long to read"
        ),
        pytest.param(b" " * ((16 << 20) + 1), "json-too-large", id="too large"),
    ],
)
def test_what_is_no_statement_is_refused(raw: bytes, code: str) -> None:
    assert refused(lambda: outside_statement.parse(raw)) == code


def test_the_builder_is_read_from_both_versions_of_provenance() -> None:
    v1 = text({"runDetails": {"builder": {"id": "https://b.example"}}})
    v02 = text({"builder": {"id": "https://b.example"}})
    assert outside_statement.parse_builder(v1, outside_statement.PROVENANCE_V1) == "https://b.example"
    assert outside_statement.parse_builder(v02, outside_statement.PROVENANCE_V02) == "https://b.example"
    for version in (outside_statement.PROVENANCE_V1, outside_statement.PROVENANCE_V02):
        assert (
            refused(lambda version=version: outside_statement.parse_builder(text({}), version)) == "statement-invalid"
        )


def summary(**said: Any) -> bytes:
    return text(
        {
            "verifier": {"id": "https://v.example"},
            "resourceUri": "pkg:generic/x",
            "verificationResult": "PASSED",
            "verifiedLevels": ["SLSA_SOURCE_LEVEL_4", "SLSA_BUILD_LEVEL_2", "SLSA_BUILD_LEVEL_UNEVALUATED"],
        }
        | said
    )


def test_a_summary_says_verifier_resource_result_and_the_highest_build_level() -> None:
    assert outside_statement.parse_summary(summary()) == OutsideSummary("https://v.example", "pkg:generic/x", True, 2)
    failed = outside_statement.parse_summary(summary(verificationResult="FAILED", verifiedLevels=["FAILED"]))
    assert (failed.passed, failed.level) == (False, 0)


@pytest.mark.parametrize(
    "said",
    [{"verificationResult": "passed"}, {"verifiedLevels": None}, {"verifier": {}}, {"resourceUri": 3}],
    ids=str,
)
def test_a_summary_that_does_not_say_what_is_judged_is_refused(said: dict[str, Any]) -> None:
    assert refused(lambda: outside_statement.parse_summary(summary(**said))) == "statement-invalid"


def model(*files: tuple[str, str], method: str = "files", algorithm: str = "sha256") -> bytes:
    resources = [{"name": name, "algorithm": algorithm, "digest": digest} for name, digest in files]
    return text({"serialization": {"method": method}, "resources": resources})


def test_a_model_is_named_by_its_files_names_and_digests_never_by_its_subject() -> None:
    both = outside_statement.parse_model(model(("b", TWO), ("a/c", ONE)))
    assert both == dir_hash([("a/c", Sha256(ONE)), ("b", Sha256(TWO))])
    assert both != outside_statement.parse_model(model(("a/c", TWO), ("b", ONE)))
    assert str(outside_statement.parse_model(model((".", ONE)))) == f"sha256:{ONE}"
    assert outside_statement.parse_model(model(("a", ONE), algorithm="blake3")) is None
    assert outside_statement.parse_model(model(("a:0:10", ONE), method="shards")) is None


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(text({"serialization": {"method": "files"}}), "statement-invalid", id="a root without names"),
        pytest.param(model(), "statement-invalid", id="no files"),
        pytest.param(model(("", ONE)), "statement-invalid", id="an empty name"),
        pytest.param(model(("../x", ONE)), "path-invalid", id="outside the model"),
        pytest.param(model(("a", ONE), ("a", TWO)), "path-duplicate", id="a name twice"),
        pytest.param(model(("a", "XX")), "digest-invalid", id="no digest"),
        pytest.param(model(("a", ONE), method="tree"), "statement-invalid", id="another method"),
    ],
)
def test_a_model_signature_whose_files_are_not_named_is_refused(raw: bytes, code: str) -> None:
    assert refused(lambda: outside_statement.parse_model(raw)) == code
