"""What verifies evidence in the formats of others: Sigstore bundles, OMS signatures, in-toto links, cosign signatures."""

from __future__ import annotations

from typing import Protocol

from keyturn.formats.evidence import Found, Presented
from keyturn.trust.outside import OutsideSigner

__all__ = ["EvidenceVerifier"]


class EvidenceVerifier(Protocol):
    """Verify originals offline, each by what the lab pins, and nothing that stands in them alone."""

    def verify(self, presented: Presented, signer: OutsideSigner) -> Found:
        """Say what the original is, verified as `signer`'s.

        The same bytes give the same answer at any time and on any machine: `presented.at` is the clock. Raises `Refused`
        or `Malformed` by name, `Unavailable` `evidence-not-installed` when what verifies it is not installed here.
        """

    def compare_files(self, presented: Presented, signer: OutsideSigner, path: str) -> None:
        """Hash the files at `path`, and refuse when they are not those that the original, verified as `signer`'s, names."""
