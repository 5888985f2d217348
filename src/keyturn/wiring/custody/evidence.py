"""What `keyturn evidence` does: read what somebody outside signed, verify it, log that a member took it in, and show it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.evidence.verifiers import Verifiers, guessed
from keyturn.adapters.files.config_files import read_small
from keyturn.app.custody.show_evidence import ShownEvidence, show_evidence
from keyturn.app.custody.take_evidence import make_evidence, require_size, subjects_of
from keyturn.app.records.sign_record import Logged, sign_and_log
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.custody.outside import Verify
from keyturn.formats.evidence import Evidence, Presented
from keyturn.formats.evidence_format import EvidenceFormat
from keyturn.trust.outside import OutsideSigner
from keyturn.wiring.custody.release import artifact_digest
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_person
from keyturn.wiring.log.log import log_reader, log_writer, trust_behind
from keyturn.wiring.log.pinned_log import root_of

__all__ = ["Taken", "evidence_in", "evidence_verify", "log_evidence", "take"]

_READ_BYTES_MAX = 64 << 20
"""More than a record takes: what is too large is refused as evidence, by name."""

evidence_verify: Verify = Verifiers().verify
"""Verify what others signed with what is installed here."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Evidence that verified, and the key that signs that it did once its member agreed."""

    evidence: Evidence
    key: RecordSigner


def take(
    place: LabPlace,
    file: Path,
    *,
    artifact: str,
    outside: str,
    form: EvidenceFormat | None,
    trusted_root: Path | None,
    layout: Path | None,
    key: str | None,
) -> Taken:
    """Read and verify the evidence in `file`; nothing is signed or written."""
    original, root, rules = (b"" if one is None else _read(one) for one in (file, trusted_root, layout))
    require_size(original, root, rules)  # before the artifact is hashed, which may take long
    digest, path = artifact_digest(artifact)
    person, verifier = find_person(), Verifiers()
    with log_reader(place) as reader:
        trust = trust_behind(place, reader).newest
    presented = Presented(
        format=form or guessed(original),
        original=original,
        artifact=digest,
        trusted_root=root,
        layout=rules,
        at=SystemClock().now(),
    )
    signer = own_signer(person, approving=False, named=key, view=PageView(trust.roster))
    made = make_evidence(
        presented,
        outside=outside,
        path=None if path is None else str(path),
        verifier=verifier,
        trust=trust,
        member=person.config.member,
        keyid=signer.public.keyid,
        nonce=SystemEntropy().nonce(),
    )
    return Taken(made, signer)


def log_evidence(place: LabPlace, taken: Taken) -> Logged:
    """Sign the record, which was shown, and make it durable in the log."""
    with log_writer(place) as log:
        return sign_and_log(taken.evidence, subjects_of(taken.evidence), key=taken.key, log=log)


def evidence_in(place: LabPlace, records: tuple[str, ...], about: str | None) -> tuple[ShownEvidence, ...]:
    """The evidence that the lab's log holds, verified again here, against the files too when `about` is where they are."""
    artifact, path = (None, None) if about is None else artifact_digest(about)
    verifier = Verifiers()

    def compare(presented: Presented, signer: OutsideSigner) -> None:
        verifier.compare_files(presented, signer, str(path))

    with log_reader(place) as log:
        root, pin = root_of(place, log)
        return show_evidence(
            log,
            root_json=root,
            pinned_sha256=pin,
            records=records,
            about=artifact,
            now=SystemClock().now(),
            verify=verifier.verify,
            compare=None if path is None else compare,
        )


def _read(path: Path) -> bytes:
    return read_small(path, size_bytes_max=_READ_BYTES_MAX)
