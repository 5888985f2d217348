"""What every gate says under its own key: that a grant was used, and that it obeys what takes access away."""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import access, dsse, gate_answer, statement
from keyturn.formats.access import AccessUse
from keyturn.formats.digest import Sha256
from keyturn.formats.gate_answer import GateObeys
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.grants.pushed import Pushed
from keyturn.ports import Clock, Entropy

__all__ = ["signed_obedience", "signed_use"]


def signed_use(
    request: str, approvals: Iterable[Sha256 | str], *, gate: Uri, key: SoftwareKey, clock: Clock, entropy: Entropy
) -> bytes:
    """The envelope by which `gate` says that the grant of `request` is used, by these `approvals` (record digests)."""
    made = AccessUse(
        lab=gate.lab,
        nonce=entropy.nonce(),
        gate=str(gate),
        key=key.public.keyid,
        request=request,
        approvals=tuple(sorted(approvals)),
        used_at=clock.now(),
    )
    subject = (Subject(digest=DigestSet(sha256=request), name="request"),)
    return dsse.render(dsse_signing.sign(statement.make(made, access.ACCESS_USE, subject), key))


def signed_obedience(found: Pushed, *, size: int, acted: bool, gate: Uri, key: SoftwareKey, clock: Clock) -> bytes:
    """The envelope by which `gate` says that it obeys `found`, having seen `size` entries of the log, and whether it `acted`."""
    said = GateObeys(
        lab=gate.lab,
        gate=str(gate),
        key=key.public.keyid,
        record=found.digest,
        size=size,
        acted=acted,
        signed_at=clock.now(),
    )
    return dsse.render(dsse_signing.sign(gate_answer.make(said), key))
