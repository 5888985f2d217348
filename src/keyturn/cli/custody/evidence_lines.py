"""Show what somebody outside signed in two lines, for chains, packs and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyturn.formats.evidence import Evidence

__all__ = ["evidence_lines"]


_COMPARED = {"here": "were compared here", "gate": "are those that the release gate hashed"}


def evidence_lines(evidence: Evidence, compared: str = "") -> list[str]:
    """Whose word, in which form, under which pinned root: what a chain shows of evidence; `compared`: `here`, by the `gate`."""
    found = evidence.found
    by = found.signer if not found.issuer else f"{found.signer} ({found.issuer})"
    files = _COMPARED.get(compared, f"{evidence.member} compared")
    bound = "" if evidence.bound == "digest" else f", whose files {files}"
    level = f", level {found.level}" if found.level else ""
    return [
        f"evidence   {evidence.artifact}{bound}",
        f"             {found.statement}{level} signed outside by {by}, taken in by {evidence.member}",
    ]
