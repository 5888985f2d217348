"""Join the papers of a release to this machine: the pack and root in files, the model's files, the key, and where papers go.

Every paper is rendered before the first is written, and none is written over anything: `--out` may be where other files lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.config_files import read_small, require_new, write_new
from keyturn.app.custody.papers import ml_bom, model_card
from keyturn.app.custody.papers.release_facts import gather
from keyturn.app.custody.verify_pack import VerifiedPack, verify_pack
from keyturn.formats.digest import sha256
from keyturn.wiring.release import PACK_BYTES_MAX
from keyturn.wiring.set_up import ROOT_BYTES_MAX

__all__ = ["ML_BOM", "MODEL_CARD", "Papers", "write_papers"]

ML_BOM = "bom.cdx.json"
MODEL_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Papers:
    """What was written, and the verified pack that it is from."""

    verified: VerifiedPack
    written: tuple[Path, ...]


def write_papers(pack: Path, root: Path, *, out: Path, version: str) -> Papers:
    """Verify the pack under the caller's own root, and write its papers into the directory `out`; or raise, and write none.

    `version` is Keyturn's own, which papers name as what made them.
    """
    raw, content = read_small(pack, size_bytes_max=PACK_BYTES_MAX), read_small(root, size_bytes_max=ROOT_BYTES_MAX)
    verified = verify_pack(raw, root_json=content, pinned_sha256=sha256(content), verify=Verifiers().verify)
    facts = gather(verified, sha256(raw))
    papers = {ML_BOM: ml_bom.render(facts, version=version), MODEL_CARD: model_card.render(facts)}
    for name in papers:
        require_new(out / name, hint="name another directory with --out, or move what is there")
    for name, paper in papers.items():
        write_new(out / name, paper)
    return Papers(verified, tuple(out / name for name in papers))
