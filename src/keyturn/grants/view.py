"""See the log as one gate: what it knows, up to the newest checkpoint that the quorum of witnesses cosigned.

    view = GateView.start(history, gate=uri, nonce_record=digest)
    view = refresh(view, checkpoint_note=note, leaves=leaves, envelopes=found, now=now)     # found: those that `needed` names

A GateView is made by `start` and `refresh` only. `refresh` reads every leaf in order (`grants.following`), recomputes the
root and accepts it only when a witnessed checkpoint of that very size says the same, under the log that targets named when
the view was last refreshed, and every one since: a change of witnesses or log key needs the old quorum and the new.

Its size is that of what is live. Whether it is fresh enough to open a door: `grants.freshness`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import NoReturn, Self

from keyturn.errors import Refused, Tampered
from keyturn.formats.digest import Sha256
from keyturn.formats.uri import Uri
from keyturn.grants import leaves as gate_leaves
from keyturn.grants.bundle import Bundle
from keyturn.grants.following import Following
from keyturn.grants.known import Known
from keyturn.policy.load import Policy, load
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import Log, TrustState

__all__ = ["GateView", "PolicyShelf", "refresh"]

_MAKER = object()


class PolicyShelf:
    """Policies of a trust history, each loaded once: a memo of a pure function, shared by the views of one gate."""

    __slots__ = ("_loaded",)

    KEPT_MAX = 8

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, int, int], Policy | Refused] = {}

    def policy(self, state: TrustState) -> Policy:
        """The policy of `state`, or the `Refused` that loading it raised."""
        key = (state.lab, state.root_version, state.targets_version)
        found = self._loaded.get(key)
        if found is None:
            try:
                found = load(state)
            except Refused as err:
                found = err
            while len(self._loaded) >= self.KEPT_MAX:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[key] = found
        if isinstance(found, Refused):
            raise Refused(found.code, found.message, reasons=found.reasons, hint=found.hint, detail=found.detail)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """What a gate knows. `gate` is None for readers that open nothing; `nonce_record` is the digest of its check-in."""

    gate: Uri | None
    nonce_record: Sha256 | None
    nonce_seen: bool
    pinned: TrustHistory = field(repr=False)
    frontier: Frontier
    checkpoint: WitnessedCheckpoint | None
    known: Known = field(repr=False)
    shelf: PolicyShelf = field(repr=False, compare=False)
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _MAKER:
            raise TypeError("a GateView is made by GateView.start and refresh only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a GateView is not pickled: read the log again")

    @classmethod
    def start(cls, history: TrustHistory, *, gate: Uri | None, nonce_record: Sha256 | None) -> Self:
        """Begin at the log's first leaf, with the trust that is pinned."""
        return cls(
            gate=gate,
            nonce_record=nonce_record,
            nonce_seen=False,
            pinned=history,
            frontier=Frontier.empty(),
            checkpoint=None,
            known=Known(history=history),
            shelf=PolicyShelf(),
            made_by=_MAKER,
        )

    def expecting(self, nonce_record: Sha256) -> GateView:
        """This view, not believed until the check-in `nonce_record` is seen; a gate does this every hour."""
        return replace(self, nonce_record=nonce_record, nonce_seen=False, made_by=_MAKER)

    def knowing(self, known: Known) -> GateView:
        """This view, for a decision, with what was pushed to the gate besides (`grants.pushed`): not one to read on with."""
        return replace(self, known=known, made_by=_MAKER)

    def again(self) -> GateView:
        """A view that begins at the first leaf again: what could not be read before may be there now."""
        return type(self).start(self.pinned, gate=self.gate, nonce_record=self.nonce_record)

    @property
    def trust(self) -> TrustHistory:
        return self.known.history

    def needed(self, leaves: Sequence[bytes], *, now: int) -> tuple[Sha256, ...]:
        """The envelopes that reading `leaves` next will look for."""
        return gate_leaves.needed(self.known.requests, leaves, now=now)

    def following(self, *, now: int) -> Following:
        """Begin to read on, in as many runs of leaves as there are; `finish` makes the next view of it."""
        return Following(self.known, self.frontier, nonce_record=self.nonce_record, now=now)

    def bundle_of(self, request: str) -> Bundle | None:
        """The live request `request` with its live approvals, as read from the log; None when any could not be read."""
        return self.known.bundle_of(request)

    def finish(self, read: Following, checkpoint_note: bytes, *, now: int | None) -> GateView:
        """The view after `read`, if a witnessed checkpoint says that this is the log; otherwise raise and change nothing.

        `now` is None only for whoever judges the past.
        """
        known = read.known()
        witnessed = self._witnessed(known, checkpoint_note, now)
        size, root = witnessed.checkpoint.size, witnessed.checkpoint.root
        if size != read.frontier.size:
            raise Refused("view-size", f"read {read.frontier.size} leaves, and the checkpoint is of {size}")
        if root != read.frontier.root:
            raise Tampered(
                "log-fork",
                f"the first {size} leaves hash to another root than the witnessed checkpoint's",
                hint="keep both, and compare with another gate: the log shows different leaves to different readers",
            )
        earlier = self.checkpoint
        if earlier is not None and size == earlier.checkpoint.size and earlier.cosigned_at > witnessed.cosigned_at:
            witnessed = earlier
        return replace(
            self,
            nonce_seen=self.nonce_seen or read.nonce_seen,
            frontier=read.frontier,
            checkpoint=witnessed,
            known=known,
            made_by=_MAKER,
        )

    def _witnessed(self, known: Known, note: bytes, now: int | None) -> WitnessedCheckpoint:
        newest = known.history.newest
        skew_s = newest.limits.clock_skew_max_s
        witnessed = verify_checkpoint(note, newest.log, now=now, skew_s=skew_s)
        if self.checkpoint is not None:
            for log in known.history.logs_since(self.trust.targets_version):
                _require_earlier(note, log, newest, now=now, skew_s=skew_s)
        return witnessed


def _require_earlier(note: bytes, log: Log, newest: TrustState, *, now: int | None, skew_s: int) -> None:
    # INVARIANT: whoever can publish targets, and runs the witnesses that they name, moves no view that knew other witnesses.
    try:
        verify_checkpoint(note, log, now=now, skew_s=skew_s)
    except Refused as err:
        raise Refused(
            "checkpoint-old-quorum",
            f"targets version {newest.targets_version} changed the log's witnesses or key since this view, and the checkpoint "
            f"does not satisfy those of before: {err.message}",
            reasons=((err.code, err.message),),
            hint="the witnesses of before must cosign once more: keep them, and the log's old key, until every gate has moved",
        ) from err


def refresh(
    previous: GateView, *, checkpoint_note: bytes, leaves: Sequence[bytes], envelopes: Mapping[Sha256, bytes], now: int
) -> GateView:
    """Read the `leaves` that follow `previous`, up to the checkpoint, and return the view with them.

    Raises `Refused` or `Malformed` for a checkpoint that is not believed, `Tampered` for leaves that are not its, `Unavailable`
    for a trust version that could not be read. Then nothing has changed.
    """
    read = previous.following(now=now)
    read.take(leaves, envelopes)
    return previous.finish(read, checkpoint_note, now=now)
