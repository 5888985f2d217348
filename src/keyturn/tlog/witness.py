"""Decide what a witness cosigns: only a log that grows. A pure state machine over the newest checkpoint it cosigned.

Follows C2SP tlog-witness, `add-checkpoint`, after the log's signature was checked (`verify_checkpoint.verify_log_signature`).
The caller keeps `next_state` durably, replacing exactly the state it asked with, before it lets the cosignature out.

    state         the log offers                                               the witness says
    any           old size above the checkpoint's size                         400 going-back
    any           old size that is not the witness's newest                    409 other-size, with that size
    any           size 0 with another root than the empty tree's               422 empty-root
    size n        size n with another root                                     422 forked: two logs under one name
    any           a proof that does not lead from the one to the other         422 not-consistent
    any           anything else                                                200, and cosigns
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from keyturn.errors import Malformed, Tampered
from keyturn.formats.checkpoint import Checkpoint
from keyturn.tlog import merkle

__all__ = ["Cosign", "Refusal", "RefusalCode", "WitnessState", "cosign_decision"]

RefusalCode = Literal["going-back", "other-size", "empty-root", "forked", "not-consistent"]

_STATUS: dict[RefusalCode, int] = {
    "going-back": 400,
    "other-size": 409,
    "empty-root": 422,
    "forked": 422,
    "not-consistent": 422,
}


@dataclass(frozen=True, slots=True)
class WitnessState:
    """The newest tree head that the witness cosigned for one log; `empty` before the first."""

    size: int
    root: bytes

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.root) != 32 or (self.size == 0 and self.root != merkle.EMPTY_ROOT):
            raise Malformed("witness-state", f"witness state: no tree of {self.size} leaves has such a root")

    @classmethod
    def empty(cls) -> Self:
        """What a witness knows of a log that it never cosigned."""
        return cls(0, merkle.EMPTY_ROOT)


@dataclass(frozen=True, slots=True)
class Cosign:
    """Cosign it, once `next_state` is durable."""

    next_state: WitnessState


@dataclass(frozen=True, slots=True)
class Refusal:
    """Do not cosign. `size` is the witness's newest; `evidence` says that this request may prove misbehaviour: keep it."""

    code: RefusalCode
    message: str
    size: int
    evidence: bool

    @property
    def status(self) -> int:
        """The HTTP status that tlog-witness prescribes."""
        return _STATUS[self.code]


def cosign_decision(
    state: WitnessState, old_size: int, proof: Sequence[bytes], checkpoint: Checkpoint
) -> Cosign | Refusal:
    """Say whether a witness in `state` cosigns `checkpoint`, which the log signed and offers with `proof` from `old_size`."""
    new = checkpoint.size
    if old_size > new:
        return _refuse(state, "going-back", f"old size {old_size} is above the checkpoint's {new}")
    if old_size != state.size:
        return _refuse(state, "other-size", f"the newest size cosigned is {state.size}, not {old_size}")
    if new == 0 and checkpoint.root != merkle.EMPTY_ROOT:
        return _refuse(state, "empty-root", "the empty tree has another root")
    if new == state.size and checkpoint.root != state.root:
        return _refuse(state, "forked", f"another root was cosigned for size {new}", evidence=True)
    try:
        merkle.verify_consistency(old=state.size, old_root=state.root, new=new, new_root=checkpoint.root, proof=proof)
    except (Malformed, Tampered) as err:
        return _refuse(state, "not-consistent", err.message, evidence=True)
    return Cosign(WitnessState(new, checkpoint.root))


def _refuse(state: WitnessState, code: RefusalCode, message: str, *, evidence: bool = False) -> Refusal:
    return Refusal(code, message, state.size, evidence)
