"""Accept an input that another lab released: its pack proves it, under the first root of that lab which our own targets list.

1. The root at hand is one that targets list, for a lab of that name: a pack brings no root, and nor does whoever brings the pack.
2. The pack verifies, whole (`app.custody.verify_pack`).
3. The artifact is the model that it proves to have been released.

What that lab took back after the pack's checkpoint is not known here. Nothing of its chain becomes ours: the artifact is where
our custody begins, and provenance names the pack in which the rest is read.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.app.custody.verify_pack import verify_pack
from keyturn.custody.outside import Verify
from keyturn.errors import Refused
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.provenance import Origin
from keyturn.trust.outside import OutsideSigner, other_lab

__all__ = ["require_released"]


def require_released(
    artifact: ArtifactDigest, *, pack: bytes, root: bytes, outside: Mapping[str, OutsideSigner], verify: Verify
) -> Origin:
    """Say whose release `artifact` is; or raise `Refused` with everything that the pack lacks."""
    pinned = sha256(root)
    lab = other_lab(outside, root_sha256=pinned)  # (1)
    if lab is None:
        raise Refused(
            "pack-other-lab",
            f"the lab's targets list no other lab with the first root {pinned}",
            hint="compare that root with them by another way; keyholders then list it in evidence.toml, method `keyturn`",
        )
    verified = verify_pack(pack, root_json=root, pinned_sha256=pinned, verify=verify)  # (2)
    if verified.verdict.lab != lab.identity:
        raise Refused(
            "pack-other-lab",
            f"targets list the lab `{lab.identity}` with that root, which is `{verified.verdict.lab}`'s",
            hint="keyholders mend its name in evidence.toml, then keyturn trust propose",
        )
    if verified.model != artifact:  # (3)
        raise Refused(
            "pack-other-model",
            f"expected what the pack proves, `{verified.model}`, and the input is `{artifact}`",
            hint="take the files that were released, or the pack that proves these",
        )
    return Origin(str(verified.verdict.resource), pack=sha256(pack), root=pinned)
