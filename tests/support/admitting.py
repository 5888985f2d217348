"""A door to a log in memory, by admission, and a statement of somebody else's format."""

from __future__ import annotations

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.app.records.quotas import Quotas
from keyturn.app.records.submit import Admission
from keyturn.formats import trust_version
from keyturn.formats.provenance import PROVENANCE
from keyturn.formats.statement import STATEMENT_V1
from support.labs import NOW, Lab, make_lab
from support.signed_records import sign

__all__ = ["LAB", "At", "door", "foreign", "replace_metadata"]


class At:
    """A clock that a test sets."""

    def __init__(self, now: int) -> None:
        self.time = now

    def now(self) -> int:
        return self.time


LAB = make_lab(agents={"ada+coder": ("ada",)})


def door(
    lab: Lab = LAB, *, log: LogInMemory | None = None, clock: At | None = None, quotas: Quotas | None = None
) -> tuple[Admission, LogInMemory]:
    log = log or LogInMemory()
    admission = Admission(
        log=log,
        reader=log,
        index=log,
        root_sha256=lambda: lab.root_sha256,
        clock=clock or At(NOW),
        quotas=quotas or Quotas(),
    )
    for container in lab.containers:
        admission.submit(container)
    return admission, log


def foreign(lab: Lab, *keys: object, payload: bytes | None = None) -> bytes:
    body = payload or (
        b'{"_type":"%s","predicate":{},"predicateType":"%s","subject":[{"digest":{"sha256":"%s"}}]}'
        % (STATEMENT_V1.encode(), PROVENANCE.encode(), b"a" * 64)
    )
    return sign(body, *keys)  # type: ignore[arg-type]


def replace_metadata(value: trust_version.TrustVersion, metadata: bytes) -> trust_version.TrustVersion:
    return trust_version.TrustVersion(role=value.role, version=value.version, metadata=metadata, files=value.files)
