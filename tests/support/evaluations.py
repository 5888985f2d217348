"""The criteria that an evaluation at `support.builders.Place` is judged by."""

from __future__ import annotations

from keyturn.bulk import manifest
from keyturn.crypto import dsse_signing
from keyturn.formats import dsse, statement
from keyturn.formats.digest import Sha256
from keyturn.formats.steps import EVALUATION_CRITERIA, DeclaredInput, EvaluationCriteria
from support.builders import Place
from support.labs import NOW

__all__ = ["criteria"]


def criteria(place: Place, threshold: str = "3.5") -> tuple[bytes, Sha256]:
    key = place.lab.member_keys["bob"]
    rule = EvaluationCriteria(
        lab=place.lab.name,
        nonce="f" * 32,
        member="bob",
        key=key.public.keyid,
        model=f"keyturn://{place.lab.name}/model/tiny",
        metric="bits-per-byte",
        comparison="below",
        threshold=threshold,
        trust_version=1,
        signed_at=NOW,
    )
    held = DeclaredInput(name="model", digest=str(manifest.make(place.data()).identity))
    subject = statement.Subject(digest=statement.DigestSet.of(held.artifact), name="model")
    envelope = dsse_signing.sign(statement.make(rule, EVALUATION_CRITERIA, (subject,)), key)
    return dsse.render(envelope), envelope.record_digest
