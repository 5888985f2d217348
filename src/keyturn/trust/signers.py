"""Say whose key must have signed a record: the one that it names, of the member or gate that it names, as trust lists it.

This is NOT whether that key signed (`crypto.dsse_signing`), nor whether its owner may issue the record (`grants.negatives`).
A builder's statements name no key: see `custody.evidence`.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest, AccessUse, GateCheckin, HumanAuthorization
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.deployment import Deployment
from keyturn.formats.disposal import Disposal
from keyturn.formats.evidence import Evidence, EvidencePart
from keyturn.formats.negatives import Lift, Revocation, Suspension
from keyturn.formats.recording import Recording
from keyturn.formats.review import Review
from keyturn.formats.source import SourceReview
from keyturn.formats.steps import EvaluationCriteria, StepRequest
from keyturn.formats.tombstone import Tombstone
from keyturn.trust.roster import TrustState

__all__ = ["NamesItsSigner", "SignedBy", "signed_by"]

NamesItsSigner = (
    AccessRequest
    | AccessUse
    | CounterOffer
    | Deployment
    | Disposal
    | EvaluationCriteria
    | Evidence
    | EvidencePart
    | GateCheckin
    | HumanAuthorization
    | Lift
    | Recording
    | Review
    | Revocation
    | SourceReview
    | StepRequest
    | Suspension
    | Tombstone
)


@dataclass(frozen=True, slots=True)
class SignedBy:
    """Who must have signed, as `member:ada` or `gate:<uri>`, and the enrolled key by which."""

    who: str
    key: PublicKey | Credential


def signed_by(made: NamesItsSigner, trust: TrustState) -> SignedBy:
    """Who must have signed `made` under `trust`; `Refused` `signer-unknown` or `gate-unknown` when trust lists nobody such."""
    match made:
        case AccessUse() | GateCheckin() | Recording():
            return _by_gate(made.gate, made.key, trust)
        case Deployment() if made.member is None:
            return _by_gate(made.gate or "", made.key, trust)
        case AccessRequest():
            member = made.requester
        case HumanAuthorization():
            member = made.approver
        case _:
            member = made.member or ""
    held = trust.roster.key_of(member, made.key)
    if held is None:
        raise Refused(
            "signer-unknown",
            f"trust version {trust.targets_version} lists no key `{made.key[:16]}` for a member `{member}`",
        )
    return SignedBy(f"member:{member}", held)


def _by_gate(uri: str, keyid: str, trust: TrustState) -> SignedBy:
    gate = trust.gates.get(uri)
    if gate is None or gate.key.keyid != keyid:
        raise Refused("gate-unknown", f"`{uri}` with key `{keyid[:16]}` is no gate of this lab")
    return SignedBy(f"gate:{uri}", gate.key)
