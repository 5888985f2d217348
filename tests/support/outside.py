"""Evidence from outside for tests: published bundles of public projects, who signed them, and the trusted root of their time.

GITHUB.present(), GITHUB.signer, SLSA, GITLAB; `changed` alters a field of a bundle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import Presented
from keyturn.formats.evidence_format import EvidenceFormat
from keyturn.trust.outside import OutsideSigner
from support.labs import NOW

__all__ = ["GITHUB", "GITLAB", "PUBLISH", "SLSA", "Published", "changed", "trusted_root"]

DATA = Path(__file__).resolve().parents[1] / "data" / "outside"
PUBLISH = "https://docs.pypi.org/attestations/publish/v1"
_GITHUB_TOKENS = "https://token.actions.githubusercontent.com"


def trusted_root() -> bytes:
    """The trusted root of Sigstore's public instance, as sigstore-python ships it."""
    store = files("sigstore").joinpath("_store", "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev", "trusted_root.json")
    return store.read_bytes()


@dataclass(frozen=True)
class Published:
    """One published attestation, what it is about, and who must have signed it."""

    name: str
    format: EvidenceFormat
    artifact: ArtifactDigest
    statement: str
    identity: str
    issuer: str

    @property
    def path(self) -> Path:
        return DATA / self.name

    @cached_property
    def raw(self) -> bytes:
        return self.path.read_bytes()

    @property
    def signer(self) -> OutsideSigner:
        return OutsideSigner(
            name="publisher",
            method="sigstore",
            statements=frozenset({self.statement}),
            identity=self.identity,
            issuer=self.issuer,
            trusted_root=sha256(trusted_root()),
        )

    def present(self, raw: bytes | None = None, *, artifact: ArtifactDigest | None = None) -> Presented:
        return Presented(self.format, raw or self.raw, artifact or self.artifact, trusted_root(), b"", NOW)


def changed(raw: bytes, alter: Callable[[Any], None]) -> bytes:
    """The JSON `raw`, altered."""
    value = json.loads(raw)
    alter(value)
    return json.dumps(value).encode()


def _file(digest: str) -> ArtifactDigest:
    return ArtifactDigest("sha256", Sha256(digest))


GITHUB = Published(
    "github-publish.sigstore.json",
    "sigstore-bundle",
    _file("c9709ce6fd5b67b59b4a28758cf14d3f411803c4b89b6068b1f1a8e4ee94c8ef"),
    PUBLISH,
    "https://github.com/trailofbits/pypi-attestation-models/.github/workflows/release.yml@refs/tags/v0.0.4a2",
    _GITHUB_TOKENS,
)
SLSA = Published(
    "github-slsa.attestation",
    "pep740",
    _file("9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3"),
    "https://slsa.dev/provenance/v1",
    "https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@refs/tags/v0.0.19",
    _GITHUB_TOKENS,
)
GITLAB = Published(
    "gitlab-publish.attestation",
    "pep740",
    _file("c1ca9b0d85df1606451098233018534497bf584362e10e4a8c21dfaea92c02a8"),
    PUBLISH,
    "https://gitlab.com/facutuesca/gitlab-oidc-project//.gitlab-ci.yml@refs/heads/main",
    "https://gitlab.com",
)
