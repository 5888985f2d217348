"""Judge a statement that somebody outside signed by what the lab expects of that signer, once its signature was verified.

Provenance must name the builder that targets say. A verification summary passes the checks of https://slsa.dev/spec/v1.2
"verifying VSAs": (1) its signature, before this is called; (2) its subject is the artifact (`custody.outside`); (3) its predicate
type; (4) the verifier that targets tie to the key; (5) the resource; (6) PASSED; (7) the level. A model signature (OMS) is
about the names and digests of files, and never about its subject's digest, which leaves the names out.
"""

from __future__ import annotations

from keyturn.errors import Refused
from keyturn.formats import outside_statement
from keyturn.formats.evidence import Found
from keyturn.formats.outside_statement import OMS, PROVENANCE_V02, PROVENANCE_V1, VSA_V1
from keyturn.trust.outside import OutsideSigner

__all__ = ["SIGNATURE", "bound_to", "found_in"]

SIGNATURE = "signature"
"""Stands for the predicate type where an artifact's own bytes were signed."""

SUBJECTS_MAX = 1024


def found_in(payload: bytes, signer: OutsideSigner, *, by: str, issuer: str = "") -> Found:
    """What the statement `payload`, which `by` signed (vouched for by `issuer`), says; `Refused` when it is not as expected."""
    said = outside_statement.parse(payload)
    subjects, level = said.subjects, 0
    if said.predicate_type in (PROVENANCE_V1, PROVENANCE_V02):
        _require_builder(payload, said.predicate_type, signer)
    elif said.predicate_type == VSA_V1:
        level = _summary_level(payload, signer)
    elif said.predicate_type == OMS:
        model = outside_statement.parse_model(payload)
        subjects = () if model is None else (model,)
    if len(subjects) > SUBJECTS_MAX:
        raise Refused("evidence-subjects", f"expected at most {SUBJECTS_MAX} subjects, got {len(subjects)}")
    return Found(
        signer=by,
        issuer=issuer,
        statement=said.predicate_type,
        subjects=tuple(str(one) for one in subjects),
        level=level,
    )


def bound_to(found: Found, artifact: str) -> bool:
    """Whether `found` names `artifact` by its digest; raises `Refused` when it is about other bytes.

    A model signature whose digests are no SHA-256 names no artifact: whoever takes it in compares the files.
    """
    if artifact in found.subjects:
        return True
    if found.statement == OMS and not found.subjects:
        return False
    raise Refused(
        "evidence-other-subject",
        f"it is about {', '.join(found.subjects[:4]) or 'nothing that has a SHA-256'}, and not about `{artifact}`",
        hint="a model signature covers every file of a directory: keep its own file outside",
    )


def _require_builder(payload: bytes, predicate_type: str, signer: OutsideSigner) -> None:
    builder = outside_statement.parse_builder(payload, predicate_type)
    if signer.builder and builder != signer.builder:
        raise Refused("evidence-builder", f"expected the builder `{signer.builder}`, the provenance names `{builder}`")


def _summary_level(payload: bytes, signer: OutsideSigner) -> int:
    said = outside_statement.parse_summary(payload)  # (3) was looked at by the caller
    if not signer.verifier:
        raise Refused(
            "vsa-verifier", f"`evidence.toml` says no verifier for `{signer.name}`: its summaries count for nothing"
        )
    if said.verifier != signer.verifier:  # (4)
        raise Refused("vsa-verifier", f"expected the verifier `{signer.verifier}`, the summary names `{said.verifier}`")
    if said.resource != signer.resource:  # (5)
        raise Refused("vsa-resource", f"expected the resource `{signer.resource}`, the summary is of `{said.resource}`")
    if not said.passed:  # (6)
        raise Refused("vsa-failed", f"expected PASSED, `{said.verifier}` says FAILED of `{said.resource}`")
    if said.level < signer.level:  # (7)
        raise Refused(
            "vsa-level", f"expected SLSA_BUILD_LEVEL_{signer.level} or above, got {said.level or 'no build level'}"
        )
    return said.level
