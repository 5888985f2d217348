"""Compare files at hand with what others signed of them, by a pack: what rested on the member who compared them rests on nobody.

Of evidence that names SHA-256s nothing is left to compare: it names the artifact. This is for the rest (`bound` by `files`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from keyturn.app.custody.verify_pack import PackVerdict
from keyturn.errors import Refused
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.evidence import Presented
from keyturn.trust.outside import OutsideSigner

__all__ = ["compare_evidence"]


def compare_evidence(
    verdict: PackVerdict,
    at_hand: Sequence[tuple[Path, ArtifactDigest]],
    *,
    needed: Sequence[Path],
    compare: Callable[[Presented, OutsideSigner, str], None],
) -> tuple[Sha256, ...]:
    """The records of evidence in the pack of `verdict` whose files are `at_hand`, each compared; raises what `compare` raises.

    Raises `Refused` `evidence-none` for one of `needed` that nothing in the pack is about.
    """
    outside = () if verdict.chain is None else verdict.chain.outside
    found: list[Sha256] = []
    for path, digest in at_hand:
        about = [one for one in outside if one.artifact == digest]
        if path in needed and not about:
            raise Refused(
                "evidence-none",
                f"the files at `{path}` are `{digest}`, and the pack has nothing that others signed about that",
                hint="keyturn verify PACK --root ROOT shows what it is about; the files may be others than were taken in",
            )
        for one in about:
            if not one.by_digest:
                compare(one.evidence.presented(one.original), one.signer, str(path))
                found.append(one.record)
    return tuple(found)
