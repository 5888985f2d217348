"""Published bundles of GitHub and GitLab verify offline as whom the lab expects, and each way to break one is refused by name."""

from __future__ import annotations

import base64
import json
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyturn.adapters.evidence.verifiers import Verifiers, guessed
from keyturn.errors import KeyturnError, Unavailable
from keyturn.formats.evidence import Presented
from keyturn.trust.outside import OutsideSigner
from support.outside import GITHUB, GITLAB, SLSA, Published, changed, trusted_root


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def refused(presented: Presented, signer: OutsideSigner) -> str:
    with pytest.raises(KeyturnError) as caught:
        Verifiers().verify(presented, signer)
    return caught.value.code


@pytest.mark.parametrize("one", [GITHUB, GITLAB, SLSA], ids=lambda one: one.name)
def test_a_published_bundle_verifies_as_the_identity_that_is_expected_and_says_what_it_is_about(one: Published) -> None:
    found = Verifiers().verify(one.present(), one.signer)
    assert (found.signer, found.issuer, found.statement) == (one.identity, one.issuer, one.statement)
    assert found.subjects == (str(one.artifact),)
    assert guessed(one.raw) == one.format


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("identity", GITHUB.identity.replace("v0.0.4a2", "v0.0.4a3")),
        ("identity", GITHUB.identity[:-1]),
        ("identity", "mallory@example.com"),
        ("issuer", "https://gitlab.com"),
        ("issuer", GITHUB.issuer + "/"),
    ],
)
def test_another_identity_or_issuer_than_the_lab_expects_is_refused(field: str, value: str) -> None:
    assert refused(GITHUB.present(), replace(GITHUB.signer, **{field: value})) == "evidence-signer-other"


def _flip(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[-1] ^= 1
    return base64.b64encode(bytes(raw)).decode()


def _entry(bundle: Any) -> Any:
    return bundle["verificationMaterial"]["tlogEntries"][0]


def _alter(*path: str | int, to: Callable[[Any], Any]) -> Callable[[Any], None]:
    def alter(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = to(value[path[-1]])

    return alter


MATERIAL = ("verificationMaterial", "tlogEntries", 0)


@pytest.mark.parametrize(
    ("alter", "code"),
    [
        pytest.param(_alter("dsseEnvelope", "payload", to=_flip), "evidence-signature", id="other payload"),
        pytest.param(_alter("dsseEnvelope", "signatures", 0, "sig", to=_flip), "evidence-signature", id="signature"),
        pytest.param(lambda b: _entry(b).pop("inclusionProof"), "evidence-inclusion-missing", id="no inclusion proof"),
        pytest.param(
            _alter(*MATERIAL, "inclusionProof", "rootHash", to=_flip), "evidence-signature", id="another root hash"
        ),
        pytest.param(
            _alter(*MATERIAL, "inclusionProof", "logIndex", to=lambda i: str(int(i) + 1)),
            "evidence-signature",
            id="index",
        ),
        pytest.param(
            _alter(*MATERIAL, "integratedTime", to=lambda t: str(int(t) + 86400)),
            "evidence-signature",
            id="expired then",
        ),
        pytest.param(
            _alter("verificationMaterial", "tlogEntries", to=lambda e: e * 2), "evidence-bundle", id="two entries"
        ),
        pytest.param(lambda b: b.pop("dsseEnvelope"), "evidence-bundle", id="nothing signed"),
        pytest.param(_alter("mediaType", to=lambda m: m.replace("0.3", "9.9")), "evidence-bundle", id="other version"),
        pytest.param(_alter("verificationMaterial", to=lambda m: []), "evidence-bundle", id="no material"),
        pytest.param(
            _alter("verificationMaterial", "tlogEntries", to=lambda e: []), "evidence-inclusion-missing", id="no entry"
        ),
    ],
)
def test_each_way_to_break_a_bundle_is_refused(alter: Callable[[Any], None], code: str) -> None:
    assert refused(GITHUB.present(changed(GITHUB.raw, alter)), GITHUB.signer) == code


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(_alter("version", to=lambda v: 2), id="another version"),
        pytest.param(_alter("envelope", to=lambda e: {}), id="no statement"),
        pytest.param(_alter("verification_material", "transparency_entries", to=lambda e: []), id="no entry"),
    ],
)
def test_an_attestation_of_pypi_that_is_none_is_refused(alter: Callable[[Any], None]) -> None:
    assert refused(SLSA.present(changed(SLSA.raw, alter)), SLSA.signer) == "evidence-bundle"


def test_the_certificate_of_another_signer_does_not_carry_a_statement() -> None:
    other = changed(SLSA.raw, lambda _: None)

    def swap(value: Any) -> None:
        value["envelope"] = __import__("json").loads(GITLAB.raw)["envelope"]

    assert refused(SLSA.present(changed(other, swap)), SLSA.signer) == "evidence-signature"


def test_provenance_must_name_the_builder_that_the_lab_expects() -> None:
    expected = replace(SLSA.signer, builder=SLSA.identity)
    assert Verifiers().verify(SLSA.present(), expected).subjects == (str(SLSA.artifact),)
    assert refused(SLSA.present(), replace(expected, builder="https://builder.example")) == "evidence-builder"


def test_a_trusted_root_that_is_none_or_of_others_verifies_nothing() -> None:
    assert refused(replace(GITHUB.present(), trusted_root=b"{}"), GITHUB.signer) == "evidence-trusted-root"
    assert refused(replace(GITHUB.present(), trusted_root=b""), GITHUB.signer) == "evidence-trusted-root"
    other = trusted_root().replace(b"rekor.sigstore.dev", b"rekor.example.com")
    without = changed(other, lambda root: root.update(tlogs=root["tlogs"][1:]))
    assert refused(replace(GITHUB.present(), trusted_root=without), GITHUB.signer) == "evidence-signature"
    fewer = changed(trusted_root(), lambda root: root.update(certificateAuthorities=root["certificateAuthorities"][:1]))
    assert refused(replace(GITHUB.present(), trusted_root=fewer), GITHUB.signer) == "evidence-signature"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 5000, b'{"mediaType":1}', b"\xff"])
def test_what_is_no_bundle_is_refused(raw: bytes) -> None:
    one = replace(GITHUB.present(), original=raw or b" ")
    assert refused(one, GITHUB.signer) in ("evidence-bundle", "evidence-inclusion-missing")
    guessed(raw)


def _twice(raw: bytes, field: str, instead: str) -> bytes:
    """`raw` with `field` a second time in the object that has it: what one reader takes, another does not see."""
    assert raw.count(f'"{field}":'.encode()) == 1
    return raw.replace(f'"{field}":'.encode(), f'"{field}":{instead},"{field}":'.encode())


def test_a_bundle_or_trusted_root_that_says_something_twice_is_refused() -> None:
    raw = json.dumps(json.loads(GITHUB.raw), separators=(",", ":")).encode()
    assert Verifiers().verify(GITHUB.present(raw), GITHUB.signer).subjects
    for field, instead in (("payload", '"AAAA"'), ("tlogEntries", "[]"), ("mediaType", '"x"')):
        assert refused(GITHUB.present(_twice(raw, field, instead)), GITHUB.signer) == "evidence-bundle"
    root = _twice(trusted_root().replace(b" ", b"").replace(b"\n", b""), "certificateAuthorities", "[]")
    assert refused(replace(GITHUB.present(), trusted_root=root), GITHUB.signer) == "evidence-trusted-root"


@pytest.mark.parametrize("cut", range(0, 10000, 1201))
def test_a_bundle_that_ends_early_is_refused(cut: int) -> None:
    assert cut < len(GITHUB.raw)
    assert refused(GITHUB.present(GITHUB.raw[:cut] or b" "), GITHUB.signer) == "evidence-bundle"


def test_a_key_is_no_identity() -> None:
    keyed = OutsideSigner(name="x", method="key", statements=frozenset({"signature"}), public=b"x")
    assert refused(SLSA.present(), keyed) == "evidence-method"
    assert refused(GITHUB.present(), keyed) == "outside-key"


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    presented, signer = SLSA.present(), SLSA.signer
    monkeypatch.delitem(sys.modules, "keyturn.adapters.evidence.sigstore_bundle", raising=False)
    for name in ("sigstore", "sigstore.errors"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Unavailable) as caught:
        Verifiers().verify(presented, signer)
    assert (caught.value.code, caught.value.hint) == ("evidence-not-installed", "pip install 'keyturn[evidence]'")
