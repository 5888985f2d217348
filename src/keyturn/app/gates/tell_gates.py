"""Tell gates of a denial, revocation or suspension directly, and say of each whether it is in force there.

It is, when the gate said so in a statement that its key signed, over this very record. What a gate, or whoever answers for it,
says otherwise is worth nothing: then it is NOT IN FORCE there, as far as could be found out, until the gate has read the log.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.crypto.dsse_signing import verify_one
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import gate_answer, records
from keyturn.formats.leaf import NEGATIVES
from keyturn.grants import checks
from keyturn.grants.bastion import bastion_gate_of
from keyturn.grants.known import Known
from keyturn.ports import Clock, Gates
from keyturn.trust.roster import Gate, TrustState

__all__ = ["AtGate", "gates_concerned", "tell_gates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtGate:
    """How a record stands at one gate, by URI. `size` is of the gate's view; `acted`: it had used the grant before it heard.

    `why` says why it is not in force; then `closes_by_s` is when the gate closes unless it read the log, in seconds from now.
    """

    gate: str
    in_force: bool
    size: int | None = None
    acted: bool = False
    why: str = ""
    code: str = ""
    closes_by_s: int | None = None


def gates_concerned(raw: bytes, trust: TrustState, known: Known) -> tuple[str, ...]:
    """The gates, by URI, that must hear of the record `raw`: none, when it takes nothing away.

    A suspension concerns all, that of a gate itself alone; the end of a request those that the request is for,
    and the bastion that it names.
    """
    record = records.parse(raw)
    if record.kind not in NEGATIVES:
        return ()
    made = record.statement.predicate
    if record.kind == "sus":
        return tuple(sorted(trust.gates)) if made.target_gate is None else (made.target_gate,)
    asked = known.requests.get(made.request)
    bastion = None if asked is None else bastion_gate_of(asked.raw)
    return tuple(
        gate for gate in sorted(trust.gates) if asked is None or gate == bastion or _is_for(asked.gate, gate, trust)
    )


def tell_gates(
    raw: bytes, gates: tuple[str, ...], trust: TrustState, door: Gates, *, clock: Clock
) -> tuple[AtGate, ...]:
    """Give the record `raw` to each of `gates`, and verify what each answers, in their order."""
    record = records.parse(raw)
    answers = door.tell(gates, raw)
    now = clock.now()
    found = []
    for gate in gates:
        answer = answers[gate]
        try:
            if isinstance(answer, KeyturnError):
                raise answer
            found.append(_verified(answer, trust.gates[gate], record.digest, trust, now=now))
        except KeyturnError as err:
            found.append(
                AtGate(
                    gate=gate, in_force=False, why=err.message, code=err.code, closes_by_s=trust.limits.log_age_max_s
                )
            )
    return tuple(found)


def _is_for(named: str, gate: str, trust: TrustState) -> bool:
    try:
        checks.require_addressed(named, gate, trust)
    except Refused:
        return False
    return True


def _verified(raw: bytes, gate: Gate, record: str, trust: TrustState, *, now: int) -> AtGate:
    envelope, said = gate_answer.parse(raw)
    verify_one(envelope, gate.key)
    if (said.lab, said.gate, said.key, said.record) != (trust.lab, str(gate.uri), gate.key.keyid, record):
        raise Refused("gate-answer-other", "the gate's statement is about another record, or by another gate")
    if abs(said.signed_at - now) > trust.limits.clock_skew_max_s:
        raise Refused(
            "gate-answer-old",
            f"the gate's statement was signed at {said.signed_at}, it is {now}",
            hint="set the clocks of both machines; an answer of another time says nothing of now",
        )
    return AtGate(gate=said.gate, in_force=True, size=said.size, acted=said.acted)
