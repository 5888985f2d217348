"""Name the formats in which evidence from outside is written: docs/formats/evidence.md has a row for each.

A file of its own: the command line shows the names in its help, and reads nothing else for it.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["EvidenceFormat"]

EvidenceFormat = Literal["cosign-signature", "dsse", "in-toto-links", "oms", "pep740", "sigstore-bundle"]
