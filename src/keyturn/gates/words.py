"""What gates say under their own keys: that a grant was used, that they obey what takes access away, and where one comes in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.crypto import dsse_signing
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import access, dsse, gate_answer, gate_entry, statement
from keyturn.formats.access import AccessUse
from keyturn.formats.digest import Sha256
from keyturn.formats.gate_answer import GateObeys
from keyturn.formats.gate_entry import GateEntry
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.grants.pushed import Pushed
from keyturn.ports import Clock, Entropy

__all__ = ["Serves", "signed_entry", "signed_obedience", "signed_use"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serves:
    """Where people reach a gate's database, and its name there."""

    address: str
    port: int
    database: str


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


def signed_entry(
    role: str, certificate: bytes, serves: Serves, *, ends_at: int, gate: Uri, key: SoftwareKey, clock: Clock
) -> bytes:
    """The envelope by which `gate` says that the key of `certificate` comes in as `role`, and where."""
    said = GateEntry(
        lab=gate.lab,
        gate=str(gate),
        key=key.public.keyid,
        role=role,
        certificate=certificate.decode("ascii"),
        address=serves.address,
        port=serves.port,
        database=serves.database,
        ends_at=ends_at,
        signed_at=clock.now(),
    )
    return dsse.render(dsse_signing.sign(gate_entry.make(said), key))


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
