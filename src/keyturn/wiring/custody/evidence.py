"""What `keyturn evidence` does: read what somebody outside signed, verify it, log that a member took it in, and show it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.evidence.verifiers import Verifiers, guessed
from keyturn.adapters.files.config_files import read_small
from keyturn.app.custody.show_evidence import ShownEvidence, show_evidence
from keyturn.app.custody.take_evidence import is_split, logged_parts, make_evidence, require_size, split, subjects_of
from keyturn.app.records.sign_record import Logged, sign_and_log
from keyturn.bulk.read_chain import LogReading, claimed_size
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.custody.outside import Verify
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import Evidence, EvidencePart, Presented
from keyturn.formats.evidence_format import EvidenceFormat
from keyturn.ports import LogReader
from keyturn.trust.outside import OutsideSigner
from keyturn.wiring.custody.release import artifact_digest
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_person
from keyturn.wiring.log.log import log_reader, log_writer, trust_behind
from keyturn.wiring.log.pinned_log import root_of

__all__ = ["Taken", "evidence_in", "evidence_verify", "log_evidence", "take"]

_READ_BYTES_MAX = 64 << 20
"""More than is taken in: what is too large is refused as evidence, by name."""

evidence_verify: Verify = Verifiers().verify
"""Verify what others signed with what is installed here."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Evidence that verified, the parts of its original that the log lacks, and the key that signs once its member agreed."""

    evidence: Evidence
    parts: tuple[EvidencePart, ...]
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
    presented = Presented(
        format=form or guessed(original),
        original=original,
        artifact=ArtifactDigest("sha256", sha256(original)),  # until it is hashed, which may take long
        trusted_root=root,
        layout=rules,
        at=SystemClock().now(),
    )
    require_size(presented)
    digest, path = artifact_digest(artifact)
    person, verifier = find_person(), Verifiers()
    with log_reader(place) as reader:
        trust = trust_behind(place, reader).newest
        presented = replace(presented, artifact=digest)
        known = _parts_known(place, reader, digest) if is_split(presented) else {}
    signer = own_signer(person, approving=False, named=key, view=PageView(trust.roster))
    names, parts = (
        split(
            presented,
            known,
            lab=trust.lab,
            member=person.config.member,
            keyid=signer.public.keyid,
            nonce=SystemEntropy().nonce,
        )
        if is_split(presented)
        else ((), ())
    )
    made = make_evidence(
        presented,
        outside=outside,
        path=None if path is None else str(path),
        verifier=verifier,
        trust=trust,
        member=person.config.member,
        keyid=signer.public.keyid,
        nonce=SystemEntropy().nonce(),
        parts=names,
    )
    return Taken(made, parts, signer)


def _parts_known(place: LabPlace, log: LogReader, artifact: ArtifactDigest) -> dict[Sha256, Sha256]:
    root, pin = root_of(place, log)
    reading, note = LogReading(log, root_json=root, pinned_sha256=pin), log.checkpoint()
    reading.to(claimed_size(note))
    reading.verify(note, now=SystemClock().now())
    return logged_parts(reading, artifact)


def log_evidence(place: LabPlace, taken: Taken, progress: Callable[[int], None]) -> Logged:
    """Sign the record, which was shown, and make it durable in the log, after the parts of its original."""
    with log_writer(place) as log:
        for part in taken.parts:
            sign_and_log(part, subjects_of(part), key=taken.key, log=log)
            progress(1)
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
