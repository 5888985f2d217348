"""FIDO's metadata is believed when FIDO signed it, under the root that somebody named, and it is not old."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from keyturn.adapters.keys.fido_metadata import authenticator_of, read_root
from keyturn.errors import KeyturnError, Malformed
from keyturn.formats.fido_metadata import SIZE_BYTES_MAX
from support.attesters import FidoMetadata, Maker

AAGUID = "0102030405060708090a0b0c0d0e0f10"
ROOT = Maker("Acme Keys").root
NOW = 1_790_000_000


def refused(
    metadata: FidoMetadata, raw: bytes | None = None, *, root: bytes | None = None, aaguid: str = AAGUID
) -> str:
    with pytest.raises(KeyturnError) as caught:
        authenticator_of(raw or metadata.blob(), aaguid, root=root or metadata.root, now=NOW)
    return caught.value.code


def test_an_authenticator_is_taken_with_its_roots() -> None:
    metadata = FidoMetadata(roots=(ROOT,))
    found = authenticator_of(metadata.blob() + b"\n", AAGUID, root=metadata.root, now=NOW)
    assert (found.aaguid, found.name, found.roots) == (AAGUID, "Acme Key 1", (ROOT,))


@pytest.mark.parametrize(
    ("more", "code"),
    [
        pytest.param({"host": "mds.example"}, "fido-metadata-unsigned", id="by another host of the same authority"),
        pytest.param({"algorithm": "none"}, "fido-metadata-unsigned", id="by nobody"),
        pytest.param({"algorithm": "RS256"}, "fido-metadata-unsigned", id="with another algorithm"),
        pytest.param({"next_update": "2026-01-01"}, "fido-metadata-old", id="old"),
        pytest.param({"statuses": ("FIDO_CERTIFIED_L1", "REVOKED")}, "fido-metadata-withdrawn", id="revoked"),
        pytest.param({"statuses": ("USER_VERIFICATION_BYPASS",)}, "fido-metadata-withdrawn", id="verifies nobody"),
        pytest.param({"roots": ()}, "fido-metadata-unlisted", id="no roots"),
    ],
)
def test_metadata_that_says_no_is_refused_by_name(more: dict[str, object], code: str) -> None:
    assert refused(FidoMetadata(**{"roots": (ROOT,), **more})) == code  # type: ignore[arg-type]


def test_metadata_that_was_changed_or_is_under_another_root_is_refused() -> None:
    metadata = FidoMetadata(roots=(ROOT,))
    header, payload, signature = metadata.blob().split(b".")
    said = json.loads(urlsafe_b64decode(payload + b"=="))
    said["entries"][1]["metadataStatement"]["attestationRootCertificates"] = ["AAAA"]
    changed = b".".join((header, urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"="), signature))
    assert refused(metadata, changed) == "fido-metadata-unsigned"
    assert refused(metadata, root=FidoMetadata().root) == "fido-metadata-unsigned"
    assert refused(metadata, aaguid="02" * 16) == "fido-metadata-unlisted"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"x", id="no JWT"),
        pytest.param(b"x" * (SIZE_BYTES_MAX + 1), id="too large"),
        pytest.param(b"a.b.c", id="three short parts"),
        pytest.param(b"e30=.e30=.e30=", id="padded"),
        pytest.param(b"e30x.e30x.e30x", id="no JSON"),
        pytest.param(b"e30AA.e30A.e30A", id="no base64"),
    ],
)
def test_bytes_that_are_no_metadata_are_malformed(raw: bytes) -> None:
    assert refused(FidoMetadata(), raw) == "fido-metadata-invalid"


def test_a_root_is_read_as_people_have_it() -> None:
    pem = load_der_x509_certificate(ROOT).public_bytes(Encoding.PEM)
    assert read_root(ROOT) == read_root(pem) == read_root(b"\n" + pem) == ROOT
    for garbage in (b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(Malformed) as caught:
            read_root(garbage)
        assert caught.value.code == "attestation-root"
