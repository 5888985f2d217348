"""`evidence.toml`: who is believed from outside, complete for its method, and nobody when it is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keyturn.errors import KeyturnError
from keyturn.formats.release import RELEASE
from keyturn.trust.outside import OutsideSigner, other_lab
from keyturn.trust.render import render_contents
from keyturn.trust.targets import parse_contents
from support.labs import Lab, make_lab

DIGEST = "ab" * 32
SIGSTORE = OutsideSigner(
    name="ci",
    method="sigstore",
    statements=frozenset({"https://slsa.dev/provenance/v1", "signature"}),
    identity="https://ci.example/release.yml@refs/tags/v1",
    issuer="https://ci.example",
    trusted_root=DIGEST,
    builder="https://ci.example/builder",
)
KEY = OutsideSigner(
    name="verifier",
    method="key",
    statements=frozenset({"https://slsa.dev/verification_summary/v1"}),
    public=b"der",
    verifier="https://v.example",
    resource="pkg:generic/x",
    level=2,
    layout=DIGEST,
)
LAB = OutsideSigner(
    name="other",
    method="keyturn",
    statements=frozenset({RELEASE}),
    identity="other.example",
    trusted_root=DIGEST,
)
CERTIFICATE = OutsideSigner(
    name="vendor",
    method="certificate",
    statements=frozenset({"https://model_signing/signature/v1.0"}),
    identity="CN=Vendor Models",
    roots=(b"root", b"other"),
)


def test_every_kind_of_signer_round_trips() -> None:
    lab = make_lab(outside=(SIGSTORE, KEY, CERTIFICATE, LAB))
    files = render_contents(lab.contents)
    assert parse_contents(files, lab=lab.name) == lab.contents
    assert dict(lab.state.outside) == {"ci": SIGSTORE, "verifier": KEY, "vendor": CERTIFICATE, "other": LAB}


def test_another_lab_is_found_by_its_first_root_alone_and_only_when_its_releases_count() -> None:
    everyone = {one.name: one for one in (replace(SIGSTORE, statements=frozenset({RELEASE})), CERTIFICATE, LAB)}
    assert other_lab(everyone, root_sha256=DIGEST) is LAB, "the same digest is somebody else's trusted root too"
    assert other_lab(everyone, root_sha256="cd" * 32) is None
    silent = replace(LAB, statements=frozenset({"signature"}))
    assert other_lab({"other": silent}, root_sha256=DIGEST) is None


def test_without_the_file_nobody_from_outside_is_believed(lab: Lab) -> None:
    assert "evidence.toml" not in render_contents(lab.contents)
    assert lab.state.outside == {}


BASE = {"name": "x", "method": "key", "statements": ["signature"], "public": "AAAA"}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        pytest.param(BASE | {"surprise": 1}, "targets-file-invalid", id="an unknown field"),
        pytest.param(BASE | {"statements": []}, "targets-file-invalid", id="believed about nothing"),
        pytest.param(BASE | {"public": "AAA"}, "base64-invalid", id="no base64"),
        pytest.param({k: v for k, v in BASE.items() if k != "public"}, "outside-signer", id="no key"),
        pytest.param(BASE | {"identity": "x"}, "outside-signer", id="a key and an identity"),
        pytest.param(BASE | {"method": "sigstore"}, "outside-signer", id="an identity without one"),
        pytest.param(BASE | {"method": "gpg"}, "targets-file-invalid", id="another method"),
        pytest.param(BASE | {"verifier": "https://v.example"}, "outside-signer", id="a verifier of nothing"),
        pytest.param(BASE | {"level": 3}, "outside-signer", id="a level of nobody"),
        pytest.param(BASE | {"level": 5}, "targets-file-invalid", id="a level that there is not"),
        pytest.param(BASE | {"layout": "AB" * 32}, "targets-file-invalid", id="a digest in upper case"),
    ],
)
def test_a_signer_that_says_too_little_or_too_much_is_refused(lab: Lab, row: dict[str, Any], code: str) -> None:
    import tomli_w

    raw = tomli_w.dumps({"version": 1, "signers": [row]}).encode()
    with pytest.raises(KeyturnError) as caught:
        parse_contents(render_contents(lab.contents) | {"evidence.toml": raw}, lab=lab.name)
    assert caught.value.code == code


def test_a_name_stands_for_one_signer(lab: Lab) -> None:
    import tomli_w

    raw = tomli_w.dumps({"version": 1, "signers": [BASE, BASE]}).encode()
    with pytest.raises(KeyturnError, match="listed 2 times"):
        parse_contents(render_contents(lab.contents) | {"evidence.toml": raw}, lab=lab.name)
