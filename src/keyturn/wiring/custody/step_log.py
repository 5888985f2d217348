"""Read what a step printed from beside its outputs, and hold it against the provenance that names its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.files.plain_files import read_plain
from keyturn.app.custody.run_step import LOG_NAME, RECEIPT_NAME, read_receipt
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats import dsse, provenance
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.log import lab_index, log_reader

__all__ = ["StepLog", "read_step_log"]

_LOG_BYTES_MAX = 64 << 20
_RECEIPT_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class StepLog:
    """What a step printed, as its provenance names it: bytes of a stranger."""

    step: str
    provenance: str
    content: bytes


def read_step_log(place: LabPlace, directory: Path) -> StepLog:
    """The log of the step whose outputs lie in `directory`; `Refused` when it is not the byproduct that was signed."""
    try:
        receipt = read_receipt(read_plain(directory / RECEIPT_NAME, size_bytes_max=_RECEIPT_BYTES_MAX))
        content = read_plain(directory / LOG_NAME, size_bytes_max=_LOG_BYTES_MAX)
    except OSError as err:
        raise Usage(
            "step-log-none",
            f"expected `{RECEIPT_NAME}` and `{LOG_NAME}` of a step in `{directory}`: {err.strerror}",
            hint="name the directory where the step's outputs lie; keyturn step show says where that is",
        ) from err
    with lab_index(place) as index, log_reader(place) as reader:
        found = index.by_record(receipt.provenance, "prv")
        envelope = None if not found else dsse.parse_own(reader.envelope(Sha256(found[0].envelope)))
    if envelope is None or envelope.record_digest != receipt.provenance:
        raise Unavailable(
            "step-log-unknown",
            f"the log has no provenance `{receipt.provenance[:64]}`",
            hint="--lab names the lab whose step it was",
        )
    made = provenance.read(envelope.payload)
    signed = {one.name: one.digest for one in made.byproducts}.get("log")
    digest = ArtifactDigest("sha256", sha256(content))
    if signed != digest:
        raise Refused(
            "step-log-differs",
            f"`{directory / LOG_NAME}` is `{digest}`, and `{signed or 'none'}` was signed",
            hint="somebody changed it after the step ended: find out who",
        )
    return StepLog(made.step, receipt.provenance, content)
