"""FIDO's metadata is read as it is published: a JWT, of which only what a lab needs is looked at."""

from __future__ import annotations

import base64
import json

import pytest

from keyturn.errors import Malformed
from keyturn.formats import fido_metadata
from keyturn.formats.fido_metadata import SIZE_BYTES_MAX, Entry

AAGUID = "2fc0579f-8113-47ea-b116-bb5a8db9202a"


def part(value: object) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def blob(*, header: object | None = None, payload: object | None = None, signature: bytes = b"signature") -> bytes:
    known = {
        "aaguid": AAGUID,
        "metadataStatement": {"description": "A key", "attestationRootCertificates": ["cm9vdA=="], "more": [1]},
        "statusReports": [{"status": "FIDO_CERTIFIED", "effectiveDate": "2020-01-01"}, {"status": "REVOKED"}],
    }
    others: list[object] = [{"attestationCertificateKeyIdentifiers": ["00"]}, {"aaid": "1234#5678"}]
    bare = {"aaguid": AAGUID[:-1] + "b"}
    said = {"nextUpdate": "2026-12-01", "no": 12, "entries": [known, *others, bare, {"aaguid": "none of those"}]}
    return b".".join(
        (
            part({"alg": "RS256", "x5c": ["Y2VydA=="]} if header is None else header),
            part(said if payload is None else payload),
            part(signature),
        )
    )


def test_what_a_lab_needs_of_it_is_read_and_the_rest_is_not_looked_at() -> None:
    raw = blob()
    read = fido_metadata.parse(raw + b"\n")
    assert read.entries == {
        AAGUID.replace("-", ""): Entry("A key", (b"root",), frozenset({"FIDO_CERTIFIED", "REVOKED"})),
        (AAGUID[:-1] + "b").replace("-", ""): Entry("", (), frozenset()),
    }
    assert (read.next_update, read.algorithm, read.certificates) == ("2026-12-01", "RS256", (b"cert",))
    assert (read.signed, read.signature) == (raw.rpartition(b".")[0], b"signature")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"aaaa.bbbb", id="two parts"),
        pytest.param(b"aaaa.b+bb.cccc", id="no base64url"),
        pytest.param(blob(header={"alg": "RS256"}), id="a header without certificates"),
        pytest.param(blob(payload={"nextUpdate": "soon", "entries": []}), id="no day"),
        pytest.param(blob(payload=b"{" * 5000), id="no JSON"),
        pytest.param(b"[" * 100_000, id="brackets"),
        pytest.param(blob(header={"alg": "RS256", "x5c": ["a"]}), id="a certificate that is no base64"),
        pytest.param(b"a" * (SIZE_BYTES_MAX + 1), id="too large"),
    ],
)
def test_what_is_not_fidos_metadata_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="fido-metadata-invalid"):
        fido_metadata.parse(raw)
