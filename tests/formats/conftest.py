"""One valid value of each record type, and how an envelope of it looks; the fields are told apart by their bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from keyturn.formats import (
    access,
    base64_text,
    counter_offer,
    deployment,
    disposal,
    dsse,
    evidence,
    git_commit,
    negatives,
    recording,
    recovery,
    review,
    source,
    statement,
    tombstone,
)
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import IN_TOTO, Envelope, Signature
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.statement import DigestSet, Subject

GATE = "keyturn://acme.example/gate/release"
MODEL = "keyturn://acme.example/model/aurora"
COMMON: dict[str, Any] = {"lab": "acme.example", "nonce": "0123456789abcdef" * 2, "key": "cd" * 32}

COMMIT = (
    b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent da39a3ee5e6b4b0d3255bfef95601890afd80709\n"
    b"author Ada <a@acme.example> 9 +0000\ncommitter Ada <a@acme.example> 9 +0000\n\nwhy\n"
)

PREDICATES: dict[str, tuple[str, msgspec.Struct]] = {
    "req": (
        access.ACCESS_REQUEST,
        access.AccessRequest(
            **COMMON,
            requester="ada+coder",
            beneficiary="ada",
            action="model:release",
            resource=MODEL,
            permit="release",
            gate=GATE,
            justification="pour la « release » ☃\nsecond line",
            ticket="T-1",
            not_before=100,
            start_by=200,
            not_after=300,
            duration_s=60,
            trust_version=3,
            session_key="AAAA",
            bytes_max=2**53 - 1,
            follows="ef" * 32,
            urgent=True,
        ),
    ),
    "req-host": (
        access.ACCESS_REQUEST,
        access.AccessRequest(
            **COMMON,
            requester="ada",
            beneficiary="ada",
            action="host:shell",
            resource="keyturn://acme.example/host/gpu1",
            permit="shell",
            gate=GATE,
            justification="a look at the disk",
            not_before=100,
            start_by=200,
            not_after=300,
            duration_s=60,
            trust_version=3,
            session_key="AAAA",
            session=SessionTerms(
                account="deploy",
                sources=("10.0.0.0/8", "2001:db8::/32"),
                sftp=True,
                forwards=("[::1]:80", "db1.example:5432"),
            ),
        ),
    ),
    "req-db": (
        access.ACCESS_REQUEST,
        access.AccessRequest(
            **COMMON,
            requester="ada",
            beneficiary="ada",
            action="db:read",
            resource="keyturn://acme.example/db/main/app",
            permit="read",
            gate=GATE,
            justification="a look at the runs",
            not_before=100,
            start_by=200,
            not_after=300,
            duration_s=60,
            trust_version=3,
            session_key="AAAA",
            database=DatabaseTerms(read_only=True, tables=("runs", "users"), statement_s=30, connections=1),
        ),
    ),
    "apr": (
        access.HUMAN_AUTHORIZATION,
        access.HumanAuthorization(
            **COMMON,
            approver="bob",
            request="ab" * 32,
            trust_version=3,
            decision="approve",
            signed_at=100,
            expires_at=200,
        ),
    ),
    "den": (
        access.HUMAN_AUTHORIZATION,
        access.HumanAuthorization(
            **COMMON,
            approver="bob",
            request="ab" * 32,
            trust_version=3,
            decision="deny",
            reason="not today",
            signed_at=100,
            expires_at=200,
        ),
    ),
    "use": (
        access.ACCESS_USE,
        access.AccessUse(**COMMON, gate=GATE, request="ab" * 32, approvals=("12" * 32, "34" * 32), used_at=150),
    ),
    "brk": (
        access.ACCESS_USE,
        access.AccessUse(
            **COMMON,
            gate=GATE,
            request="ab" * 32,
            approvals=("12" * 32,),
            used_at=150,
            break_glass=access.BreakGlass(members=("ada", "ada+coder"), approvers=("bob",), resource=MODEL),
        ),
    ),
    "ofr": (
        counter_offer.COUNTER_OFFER,
        counter_offer.CounterOffer(
            **COMMON,
            member="bob",
            request="ab" * 32,
            duration_s=60,
            reason="a minute will do",
            signed_at=100,
            until=300,
        ),
    ),
    "evd": (
        evidence.EVIDENCE,
        evidence.Evidence(
            **COMMON,
            member="ada",
            artifact="dirHash:" + "ab" * 32,
            outside="vendor",
            format="sigstore-bundle",
            original=b"{}",
            digest=sha256(b"{}"),
            materials=(evidence.Material(name="trusted-root", content=b"root"),),
            found=evidence.Found(
                signer="ci@vendor.example",
                issuer="https://vendor.example",
                statement="https://slsa.dev/provenance/v1",
                subjects=("dirHash:" + "ab" * 32,),
                level=2,
            ),
            bound="digest",
            trust_version=3,
            signed_at=100,
        ),
    ),
    "evd-parts": (
        evidence.EVIDENCE,
        evidence.Evidence(
            **COMMON,
            member="ada",
            artifact="dirHash:" + "ab" * 32,
            outside="vendor",
            format="oms",
            parts=("ab" * 32, "cd" * 32),
            size=evidence.ORIGINAL_BYTES_MAX,
            digest=sha256(b"the whole"),
            found=evidence.Found(signer="key:x", statement="https://x.example/v1", subjects=("dirHash:" + "ab" * 32,)),
            bound="digest",
            trust_version=3,
            signed_at=100,
        ),
    ),
    "evp": (
        evidence.EVIDENCE_PART,
        evidence.EvidencePart(
            **COMMON, member="ada", artifact="dirHash:" + "ab" * 32, content=b"a part", signed_at=100
        ),
    ),
    "dep": (
        deployment.DEPLOYMENT,
        deployment.Deployment(
            **COMMON,
            member="dan",
            host="keyturn://acme.example/host/gpu1",
            resource=MODEL,
            request="ab" * 32,
            ends="cd" * 32,
            reason="the next one serves",
            signed_at=100,
        ),
    ),
    "dsp": (
        disposal.DISPOSAL,
        disposal.Disposal(
            **COMMON,
            member="dan",
            place="store1:/srv/runs/7",
            reason="retention: 90 days ☃",
            request="ab" * 32,
            signed_at=100,
        ),
    ),
    "rcd": (
        recording.RECORDING,
        recording.Recording(
            **COMMON,
            gate=GATE,
            request="ab" * 32,
            digest="cd" * 32,
            size_bytes=17,
            what="shell",
            begun_at=100,
            ended_at=150,
        ),
    ),
    "rcv": (
        recovery.RECOVERY_GRANT,
        recovery.RecoveryGrant(
            lab="acme.example",
            nonce="0123456789abcdef" * 2,
            beneficiary="ada",
            action="host:root",
            resource="keyturn://acme.example/host/gpu1",
            gate=GATE,
            justification="nobody can sign in any more",
            root_version=2,
            signed_at=100,
            not_before=100,
            not_after=200,
            session_key="AAAA",
        ),
    ),
    "rvw": (
        review.REVIEW,
        review.Review(**COMMON, member="eve", use="ab" * 32, finding="as it should be", signed_at=100),
    ),
    "src": (
        source.SOURCE_REVIEW,
        source.SourceReview(
            **COMMON,
            member="ada",
            role="attester",
            kind="code",
            repository="https://git.acme.example/train",
            ref="refs/heads/main",
            commit=git_commit.object_id("commit", COMMIT, digits=40),
            commit_object=base64_text.encode(COMMIT),
            tree="ab" * 32,
            controls=3,
            reason="as tested",
            signed_at=100,
        ),
    ),
    "tmb": (
        tombstone.TOMBSTONE,
        tombstone.Tombstone(
            **COMMON, member="bob", record="ab" * 32, ground="consent-withdrawn", case="2026-017", signed_at=100
        ),
    ),
    "chk": (access.GATE_CHECKIN, access.GateCheckin(**COMMON, gate=GATE, signed_at=150)),
    "rev": (
        negatives.REVOCATION,
        negatives.Revocation(**COMMON, member="ada", request="ab" * 32, reason="done", signed_at=100, until=400),
    ),
    "sus": (
        negatives.SUSPENSION,
        negatives.Suspension(
            **COMMON, member="eve", target_member="bob", reason="laptop lost", signed_at=100, until=400
        ),
    ),
    "lft": (
        negatives.LIFT,
        negatives.Lift(**COMMON, member="ada", suspension="ab" * 32, reason="laptop found", signed_at=100),
    ),
}


def envelope_of(payload: bytes) -> bytes:
    return dsse.render(
        Envelope(payload_type=IN_TOTO, payload=payload, signatures=(Signature(keyid="cd" * 32, sig=b"\x01" * 64),))
    )


@pytest.fixture(params=sorted(PREDICATES))
def record(request: pytest.FixtureRequest) -> tuple[str, str, msgspec.Struct]:
    """Kind, predicate type and a valid predicate, of each of our record types in turn."""
    return (request.param, *PREDICATES[request.param])


@pytest.fixture(scope="session")
def envelope() -> Callable[[bytes], bytes]:
    """Put a payload into an envelope with one signature."""
    return envelope_of


@pytest.fixture(scope="session")
def raw_record() -> Callable[[str], bytes]:
    """Render the valid record of a kind."""

    def render(kind: str, *more: Subject) -> bytes:
        predicate_type, predicate = PREDICATES[kind]
        subject = (Subject(digest=DigestSet(dirHash="ab" * 32)), *more)
        return envelope_of(statement.make(predicate, predicate_type, subject))

    return render


@pytest.fixture(scope="session")
def predicate() -> Callable[[str], msgspec.Struct]:
    """The valid predicate of a kind."""
    return lambda kind: PREDICATES[kind][1]
