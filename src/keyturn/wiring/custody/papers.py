"""Join the papers of a release to this machine: the pack and root in files, the model's files, the key, and where papers go.

Every paper is rendered before the first is written, and none is written over anything: `--out` may be where other files lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.config_files import read_small, require_new, write_new
from keyturn.adapters.files.key_files import read_key
from keyturn.app.custody.papers import in_toto, ml_bom, model_card, model_signature, spdx
from keyturn.app.custody.papers.model_signature import OmsHash, require_signing_key
from keyturn.app.custody.papers.release_facts import gather
from keyturn.app.custody.verify_pack import VerifiedPack, verify_pack
from keyturn.bulk import manifest
from keyturn.errors import Malformed, Usage
from keyturn.formats.digest import sha256
from keyturn.wiring.custody.release import PACK_BYTES_MAX
from keyturn.wiring.gates.set_up import ROOT_BYTES_MAX
from keyturn.wiring.trust.trust import passphrase

__all__ = ["IN_TOTO", "ML_BOM", "MODEL_CARD", "SIGNATURE", "SPDX", "Papers", "write_papers"]

IN_TOTO = "in-toto"
ML_BOM = "bom.cdx.json"
MODEL_CARD = "README.md"
SIGNATURE = "model.sig"
SPDX = "model.spdx.json"


@dataclass(frozen=True, slots=True)
class Papers:
    """What was written, and the verified pack that it is from."""

    verified: VerifiedPack
    written: tuple[Path, ...]


def write_papers(
    pack: Path,
    root: Path,
    *,
    out: Path,
    version: str,
    model: Path | None = None,
    oms_key: Path | None = None,
    oms_hash: OmsHash = "sha256",
    oms_certificates: Path | None = None,
    in_toto_key: Path | None = None,
) -> Papers:
    """Verify the pack under the caller's own root, and write its papers into the directory `out`; or raise, and write none.

    With `oms_key`, a file, the files at `model` are verified and signed too: a pack has their one digest, and not their names.
    `oms_hash` says by which digests, `oms_certificates` is a PEM of the key's certificate and those above it.
    `in_toto_key`, a file, signs the chain as in-toto links. `version` is Keyturn's own, which papers name as what made them.
    """
    if (model is None) != (oms_key is None) or (oms_certificates is not None and oms_key is None):
        raise Usage(
            "oms-key-or-model",
            "expected --model and --oms-key together: the key signs the names and digests of the model's files",
            hint="keyturn release papers PACK --root ROOT --model MODEL --oms-key FILE",
        )
    key = None if oms_key is None else read_key(oms_key, passphrase=passphrase())
    if key is not None:
        require_signing_key(key.public)
    links_key = None if in_toto_key is None else read_key(in_toto_key, passphrase=passphrase())
    certificates = () if oms_certificates is None else _certificates(oms_certificates)
    raw, content = read_small(pack, size_bytes_max=PACK_BYTES_MAX), read_small(root, size_bytes_max=ROOT_BYTES_MAX)
    verified = verify_pack(raw, root_json=content, pinned_sha256=sha256(content), verify=Verifiers().verify)
    facts = gather(verified, sha256(raw))
    papers = {
        ML_BOM: ml_bom.render(facts, version=version),
        MODEL_CARD: model_card.render(facts),
        SPDX: spdx.render(facts, version=version),
    }
    if model is not None and key is not None:
        _require_outside(out, model)
        files = manifest.make(model) if oms_hash == "blake3" else manifest.contents(model)
        papers[SIGNATURE] = model_signature.sign(
            files, key, model=verified.model, name=facts.resource.name, hashed=oms_hash, certificates=certificates
        )
    if links_key is not None:
        papers |= {f"{IN_TOTO}/{name}": paper for name, paper in in_toto.render(facts, links_key).items()}
    for name in papers:
        require_new(out / name, hint="name another directory with --out, or move what is there")
    for name, paper in papers.items():
        write_new(out / name, paper)
    return Papers(verified, tuple(out / name for name in papers))


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(read_small(path)))
    except ValueError as err:
        raise Malformed("oms-certificate", f"`{path}` has no certificates in PEM: {str(err)[:200]}") from err


def _require_outside(out: Path, model: Path) -> None:
    if out.resolve().is_relative_to(model.resolve()):
        raise Usage(
            "papers-in-model",
            f"`{out}` is inside the model at `{model}`: with papers among its files it would be another model",
            hint="name a directory beside it with --out",
        )
