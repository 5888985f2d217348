"""Show the evidence from outside that the witnessed log holds, verified again by whoever asks.

Everything is computed from the log under the caller's own pinned root; evidence that does not hold is shown with the reason.
Whoever has the files has them compared again (`compare`), and then rests on no member's word that he did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keyturn.bulk.read_chain import LogReading, claimed_size, read_evidence
from keyturn.custody.evidence import Entry, Failure
from keyturn.custody.evidence_parts import original_of, parts_in
from keyturn.custody.outside import Outside, Verify
from keyturn.errors import Refused
from keyturn.formats import dsse, statement
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.evidence import EVIDENCE, Evidence, Presented
from keyturn.ports import LogReader
from keyturn.trust.outside import OutsideSigner

__all__ = ["ShownEvidence", "show_evidence"]


@dataclass(frozen=True, slots=True)
class ShownEvidence:
    """One record of evidence: `held` when it verified again, else the `failure`; `compared`: its files, here and now.

    `original`: the whole of it; `None` when parts are missing, or are not those of the record."""

    id: str
    index: int
    evidence: Evidence
    held: Outside | None
    failure: Failure | None
    original: bytes | None
    compared: bool = False


def show_evidence(
    log: LogReader,
    *,
    root_json: bytes,
    pinned_sha256: str,
    records: tuple[str, ...],
    about: ArtifactDigest | None,
    now: int,
    verify: Verify,
    compare: Callable[[Presented, OutsideSigner], None] | None = None,
) -> tuple[ShownEvidence, ...]:
    """Give the evidence whose ids begin with any of `records` (of all when there are none), `about` an artifact if one is said.

    Raises `Refused` `record-not-found` for one of `records` that the log does not have.
    """
    note = log.checkpoint()
    reading = LogReading(log, root_json=root_json, pinned_sha256=pinned_sha256)
    reading.to(claimed_size(note))
    reading.verify(note, now=now)
    wanted = [one.removeprefix("evd-") for one in records]
    shown: list[ShownEvidence] = []
    for index in reading.of_kind("evd"):
        raw = reading.fetch(index)
        envelope = dsse.parse_own(raw)
        evidence = statement.parse(envelope.payload, Evidence, EVIDENCE).predicate
        if wanted and not any(envelope.record_digest.startswith(one) for one in wanted):
            continue
        if about is not None and evidence.about != about:
            continue
        held, failures = read_evidence(reading, index, now=now, verify=verify)
        original = held[0].original if held else _put_together(evidence, reading.parts_of(Entry(index, raw)))
        compared = compare is not None and bool(held) and evidence.bound == "files"
        if compare is not None and compared:
            try:
                compare(evidence.presented(held[0].original), reading.trust()[1].states[-1].outside[evidence.outside])
            except Refused as err:
                held, failures, compared = (), (Failure(index, err.code, err.message),), False
        shown.append(
            ShownEvidence(
                f"evd-{envelope.record_digest[:32]}",
                index,
                evidence,
                held[0] if held else None,
                next(iter(failures), None)
                or (None if held else Failure(index, "signer-unknown", "nobody of the lab signed it")),
                original,
                compared,
            )
        )
    for one in wanted:
        if not any(found.id.startswith(f"evd-{one[:32]}") for found in shown):
            raise Refused(
                "record-not-found", f"the log has no evidence `evd-{one[:32]}`", hint="keyturn evidence verify"
            )
    return tuple(shown)


def _put_together(evidence: Evidence, parts: Sequence[Entry]) -> bytes | None:
    try:
        return original_of(evidence, parts_in(parts))
    except Refused:
        return None  # the failure says it
