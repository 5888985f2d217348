"""Records signed by a test lab's members and gates, as they would be submitted."""

from __future__ import annotations

from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import access, dsse, negatives, statement
from keyturn.formats.access import AccessRequest, GateCheckin, HumanAuthorization
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.negatives import Revocation
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.steps import EVALUATION_CRITERIA, EvaluationCriteria
from support.labs import Lab

__all__ = ["authorization", "checkin", "evaluation_criteria", "request", "revocation", "sign"]


def sign(payload: bytes, *keys: SoftwareKey) -> bytes:
    return dsse.render(dsse_signing.sign(payload, *(key for key in keys)))


def checkin(lab: Lab, number: int, *, at: int, gate: str = "release") -> bytes:
    """The signed check-in `number` of a gate."""
    uri = str(lab.gate_uri(gate))
    key = lab.gate_keys[gate]
    predicate = GateCheckin(lab=lab.name, nonce=f"{number:032x}", gate=uri, key=key.public.keyid, signed_at=at)
    return sign(statement.make(predicate, access.GATE_CHECKIN, (_resource(uri),)), key)


def request(lab: Lab, number: int, *, at: int, member: str = "ada", key: SoftwareKey | None = None) -> bytes:
    """The signed access request `number` of a member."""
    signer = key or lab.member_keys[member]
    resource = f"keyturn://{lab.name}/model/aurora"
    predicate = AccessRequest(
        lab=lab.name,
        nonce=f"{number:032x}",
        requester=member,
        key=signer.public.keyid,
        beneficiary=member,
        action="model:release",
        resource=resource,
        permit="release",
        gate=str(lab.gate_uri("release")),
        justification="to test the log",
        not_before=at,
        start_by=at + 3600,
        not_after=at + 7200,
        duration_s=600,
        trust_version=1,
    )
    return sign(statement.make(predicate, access.ACCESS_REQUEST, (_resource(resource),)), signer)


def evaluation_criteria(lab: Lab, number: int, *, at: int, member: str) -> bytes:
    """The signed evaluation criteria `number` by a member."""
    key = lab.member_keys[member]
    model = f"keyturn://{lab.name}/model/aurora"
    predicate = EvaluationCriteria(
        lab=lab.name,
        nonce=f"{number:032x}",
        member=member,
        key=key.public.keyid,
        model=model,
        metric="bits-per-byte",
        comparison="at-most",
        threshold="-0.5",
        against="baseline",
        trust_version=1,
        signed_at=at,
    )
    return sign(statement.make(predicate, EVALUATION_CRITERIA, (_resource(model),)), key)


def authorization(lab: Lab, number: int, *, at: int, member: str, deny: bool = False) -> bytes:
    """The signed approval or denial `number` by a member, of some request."""
    key = lab.member_keys[member]
    predicate = HumanAuthorization(
        lab=lab.name,
        nonce=f"{number:032x}",
        approver=member,
        key=key.public.keyid,
        request="a" * 64,
        trust_version=1,
        decision="deny" if deny else "approve",
        reason="to test",
        signed_at=at,
        expires_at=at + 3600,
    )
    return sign(statement.make(predicate, access.HUMAN_AUTHORIZATION, (_request(),)), key)


def revocation(lab: Lab, number: int, *, at: int, member: str = "ada") -> bytes:
    """The signed revocation `number` by a member, of some request."""
    key = lab.member_keys[member]
    predicate = Revocation(
        lab=lab.name,
        nonce=f"{number:032x}",
        member=member,
        key=key.public.keyid,
        request="a" * 64,
        reason="to test",
        signed_at=at,
        until=at + 3600,
    )
    return sign(statement.make(predicate, negatives.REVOCATION, (_request(),)), key)


def _resource(uri: str) -> Subject:
    return Subject(digest=DigestSet(sha256=sha256(uri.encode())), name=uri)


def _request() -> Subject:
    return Subject(digest=DigestSet(sha256=Sha256("a" * 64)), name="request")
