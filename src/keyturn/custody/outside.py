"""Verify evidence that members took in from outside, again: signed by them then, and by whom the lab expects still.

0. The parts of originals that are larger than a record are put together, and are what the record says (`custody.evidence_parts`).
1. The record parses, is of this lab, and its member signed it, under the trust of then; nobody did: it has no effect.
2. The outside signer is one that the lab's targets listed then and list the same now, and the pinned material is what they pin.
3. Verifying the original again (`verify`, which knows the formats of others) finds what the record says was found, and that is
   what targets expect of this signer.
4. The artifact is among its subjects, or the member alone said that files are the same: `Outside.by_digest` tells which.

Evidence is a fact about where custody begins. It is NOT a step: nothing in it makes an artifact, or links one to another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from keyturn.crypto.dsse_signing import verify_one
from keyturn.custody.evidence import Entry, Failure
from keyturn.custody.evidence_parts import original_of, parts_in
from keyturn.custody.expected import bound_to
from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, statement
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import EVIDENCE, Evidence, Found, Presented
from keyturn.trust.outside import OutsideSigner
from keyturn.trust.roster import TrustState
from keyturn.trust.signers import signed_by

__all__ = ["Outside", "Verify", "nobody_verifies", "read_outside", "require_expected", "require_pinned", "require_same"]

Verify = Callable[[Presented, OutsideSigner], Found]
"""Verify the original of evidence as the signer's; raises `Refused` or `Malformed` by name, `Unavailable` when it cannot be
done here."""


def nobody_verifies(_presented: Presented, _signer: OutsideSigner) -> Found:
    """The `Verify` of whoever has none: no evidence holds."""
    raise Unavailable("evidence-not-verified", "nothing here verifies evidence from outside")


@dataclass(frozen=True, slots=True)
class Outside:
    """Evidence that verified again, its place in the log, the whole original, and as whose it verified."""

    index: int
    record: Sha256
    evidence: Evidence
    original: bytes = field(repr=False)
    signer: OutsideSigner = field(repr=False)

    @property
    def artifact(self) -> ArtifactDigest:
        return self.evidence.about

    @property
    def by_digest(self) -> bool:
        """Whether the original names the artifact, so that nothing rests on the member's word."""
        return self.evidence.bound == "digest"


def read_outside(
    entries: Sequence[Entry],
    *,
    parts: Sequence[Entry],
    lab: str,
    timeline: TrustTimeline,
    suspended_members: frozenset[str],
    suspended_keys: frozenset[str],
    verify: Verify,
    about: frozenset[ArtifactDigest] | None,
) -> tuple[tuple[Outside, ...], tuple[Failure, ...]]:
    """Give the evidence in `entries` that holds, its originals put together of `parts`, and what fails of the rest.

    What nobody of the lab signed is neither, nor is what is about an artifact that is none of `about`, if that is said."""
    contents = parts_in(parts)
    found: list[Outside] = []
    failures: list[Failure] = []
    for entry in sorted(entries, key=lambda one: one.index):
        trust = timeline.before(entry.index)
        envelope = dsse.parse_own(entry.raw)
        made = statement.parse(envelope.payload, Evidence, EVIDENCE)
        evidence = made.predicate
        if trust is None or evidence.lab != lab or (about is not None and evidence.about not in about):
            continue
        try:
            verify_one(envelope, signed_by(evidence, trust).key)  # (1)
        except Refused:
            continue
        try:
            if evidence.member in suspended_members or evidence.key in suspended_keys:
                raise Refused("chain-signer-suspended", f"`{evidence.member}`, who signed this, is suspended")
            if [str(one.digest) for one in made.subject] != [evidence.artifact]:
                raise Refused(
                    "evidence-subject", "the subject of the record is not the artifact that it is evidence about"
                )
            signer = _listed(evidence, trust, timeline.states[-1])  # (2)
            presented = evidence.presented(original_of(evidence, contents))  # (0)
            require_pinned(presented, signer)
            require_same(evidence, verify(presented, signer))  # (3)
            require_expected(evidence.found, signer)
        except KeyturnError as err:
            failures.append(Failure(entry.index, err.code, f"evidence `{evidence.outside}`: {err.message}"))
            continue
        found.append(Outside(entry.index, envelope.record_digest, evidence, presented.original, signer))
    return tuple(found), tuple(failures)


def _listed(evidence: Evidence, then: TrustState, now: TrustState) -> OutsideSigner:
    signer = then.outside.get(evidence.outside)
    if signer is None:
        raise Refused(
            "outside-unknown",
            f"trust version {then.targets_version}, in force then, lists no outside signer `{evidence.outside}`",
        )
    if now.outside.get(evidence.outside) != signer:
        raise Refused(
            "outside-changed",
            f"trust version {now.targets_version} lists `{evidence.outside}` no more, or as somebody else",
        )
    return signer


def require_pinned(presented: Presented, signer: OutsideSigner) -> None:
    """Refuse material that is not what targets pin for `signer`: who brings the evidence could bring his own root with it."""
    for name, pinned, content in (
        ("trusted root", signer.trusted_root, presented.trusted_root),
        ("layout", signer.layout, presented.layout),
    ):
        digest = sha256(content)
        if (digest if content else "") != pinned:
            raise Refused(
                "evidence-material",
                f"expected the {name} {pinned or 'of nobody'}, which the lab pins for `{signer.name}`, "
                f"got {digest if content else 'none'}",
                hint="targets pin it by its SHA-256, in evidence.toml",
            )


def require_same(evidence: Evidence, found: Found) -> None:
    """Refuse a record that says something else of its original than verifying that finds, or is bound otherwise."""
    if (evidence.bound == "digest") != bound_to(found, evidence.artifact):
        raise Refused("evidence-bound", f"the record says that it is bound by {evidence.bound}, and it is not")
    if evidence.found != found:
        raise Refused("evidence-differs", "verifying the original finds something else than the record says")


def require_expected(found: Found, signer: OutsideSigner) -> None:
    """Refuse what `signer` is not believed about."""
    if found.statement not in signer.statements:
        raise Refused(
            "evidence-statement",
            f"expected of `{signer.name}` {', '.join(sorted(signer.statements))}, got `{found.statement}`",
        )
