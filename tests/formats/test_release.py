"""What the release gate signs for readers of standard statements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.formats import release
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.posix_time import posix, rfc3339
from keyturn.formats.release import Release, Summary
from keyturn.formats.uri import Uri

MODEL = ArtifactDigest("dirHash", Sha256("4" * 64))
AURORA = Uri("acme.example", "model", "aurora")
SUMMARY = Summary(
    model=MODEL,
    resource=AURORA,
    gate=Uri("acme.example", "gate", "release"),
    verified_at=1_790_000_000,
    targets=Sha256("5" * 64),
    inputs=(("request", Sha256("6" * 64)), ("pack-index", Sha256("7" * 64))),
    level=1,
)


def test_a_release_statement_reads_back_as_it_was() -> None:
    assert release.read_release(release.make_release(Release(MODEL, AURORA))) == Release(MODEL, AURORA)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_summary_reads_back_as_it_was(level: Any) -> None:
    for reproduced in (False, True):
        value = replace(SUMMARY, level=level, reproduced=reproduced)
        assert release.read_summary(release.make_summary(value)) == value


def test_the_statements_are_those_of_the_specifications() -> None:
    vsa = msgspec.json.decode(release.make_summary(SUMMARY))
    assert vsa["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert vsa["predicate"]["verificationResult"] == "PASSED"
    assert vsa["predicate"]["verifiedLevels"] == ["SLSA_BUILD_LEVEL_1"]
    vsa = msgspec.json.decode(release.make_summary(replace(SUMMARY, reproduced=True)))
    assert vsa["predicate"]["verifiedLevels"] == ["SLSA_BUILD_LEVEL_1", "SLSA_BUILD_REPRODUCED"]
    made = msgspec.json.decode(release.make_release(Release(MODEL, AURORA)))
    assert made["predicateType"] == "https://in-toto.io/attestation/release/v0.2"
    assert made["predicate"]["purl"] == f"pkg:generic/acme.example/aurora@{MODEL.hex}"


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(lambda d: d["subject"].append(d["subject"][0]), id="two subjects"),
        pytest.param(lambda d: d["predicate"].update(verificationResult="FAILED"), id="FAILED"),
        pytest.param(lambda d: d["predicate"].update(verifiedLevels=["SLSA_BUILD_LEVEL_4"]), id="level 4"),
        pytest.param(lambda d: d["predicate"].update(verifiedLevels=[]), id="no level"),
        pytest.param(lambda d: d["predicate"].update(verifiedLevels=["SLSA_BUILD_REPRODUCED"]), id="a property alone"),
        pytest.param(
            lambda d: d["predicate"].update(verifiedLevels=["SLSA_BUILD_LEVEL_1", "SLSA_FRIENDLY"]),
            id="no such property",
        ),
        pytest.param(lambda d: d["predicate"].update(timeVerified="yesterday"), id="no time"),
        pytest.param(lambda d: d["predicate"].update(resourceUri="https://x"), id="another resource"),
        pytest.param(lambda d: d["predicate"].update(extra=1), id="an unknown field"),
    ],
)
def test_another_summary_is_refused(mutate: Callable[[Any], object]) -> None:
    document = msgspec.json.decode(release.make_summary(SUMMARY))
    mutate(document)
    with pytest.raises(Malformed):
        release.read_summary(msgspec.json.encode(document, order="sorted"))


def test_a_release_statement_whose_purl_names_another_model_is_refused() -> None:
    raw = release.make_release(Release(MODEL, AURORA)).replace(b"@4444", b"@5555")
    with pytest.raises(Malformed) as caught:
        release.read_release(raw)
    assert caught.value.code == "release-purl"


@given(st.integers(0, 253_402_300_799))
def test_every_time_reads_back_as_it_was(at: int) -> None:
    assert posix(rfc3339(at)) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T12:00:00+00:00",
        "2026-01-31T24:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-02-30T00:00:00Z",
    ],
)
def test_another_text_of_a_time_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        posix(text)
