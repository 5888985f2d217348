"""Join requests, approvals and what takes them away to this machine: the person, their key, the log, a verified view of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from keyturn.adapters.clock import SystemClock, SystemEntropy, pause
from keyturn.app.access.take_away import Hand
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.app.records.sign_record import Logged
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.grants.freshness import require_trust
from keyturn.grants.view import GateView
from keyturn.policy.load import Policy
from keyturn.ports import Clock, Entropy, LogReader
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint
from keyturn.trust.roster import TrustState
from keyturn.wiring.access.telling_gates import TellingGates
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_lab, find_person
from keyturn.wiring.log.log import log_reader, log_writer
from keyturn.wiring.log.pinned_log import followed

__all__ = ["Desk", "Pen", "Viewed", "desk", "followed", "pen", "viewed", "wait_until_in_force"]

IN_FORCE_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Viewed:
    """The lab's log as this machine verified it just now: the view, the trust in force, and the time."""

    place: LabPlace
    reader: LogReader
    view: GateView
    trust: TrustState
    now: int

    @property
    def policy(self) -> Policy:
        return self.view.shelf.policy(self.trust)


@dataclass(frozen=True, slots=True)
class Desk:
    """A member at work: what they see, and the hand that signs; and the gates, which hear at once of what takes away."""

    seen: Viewed
    hand: Hand
    gates: TellingGates


@dataclass(frozen=True, slots=True)
class Pen:
    """A member who signs what does not go to the log now."""

    seen: Viewed
    member: str
    key: RecordSigner
    clock: Clock
    entropy: Entropy


@contextmanager
def viewed(lab: str | None) -> Iterator[Viewed]:
    """Follow the log of `lab` from the root that this person pinned, to its newest witnessed checkpoint."""
    place = find_lab(lab)
    with log_reader(place) as reader:
        now = SystemClock().now()
        view = followed(reader, now=now)
        yield Viewed(place, reader, view, require_trust(view, now=now), now)


@contextmanager
def desk(
    lab: str | None,
    *,
    approving: bool = False,
    key: str | None = None,
    check: Callable[[Viewed], None] = lambda _: None,
) -> Iterator[Desk]:
    """As `viewed`, with the person's own key (the one that `key` names, if it does) and a way to write to the log.

    `check` refuses what the person typed, before the log is asked whether it can be written to, and its witnesses.
    """
    with pen(lab, approving=approving, key=key, payload=None) as own, ExitStack() as stack:
        check(own.seen)
        log = stack.enter_context(log_writer(own.seen.place))
        gates = TellingGates(log, own.seen.place, own.seen.trust, own.seen.view.known, own.clock)
        yield Desk(own.seen, Hand(own.member, own.key, gates, own.clock, own.entropy), gates)


@contextmanager
def pen(lab: str | None, *, approving: bool, key: str | None, payload: bytes | None) -> Iterator[Pen]:
    """As `desk`, without the way to write to the log; `payload` is that of a request which may not be in the log."""
    person = find_person()
    with viewed(lab) as seen:
        view = PageView(seen.trust.roster, partial(_request_payload, seen.view, payload))
        signer = own_signer(person, approving=approving, named=key, view=view)
        yield Pen(seen, person.config.member, signer, SystemClock(), SystemEntropy())


def _request_payload(view: GateView, known: bytes | None, digest: str) -> bytes | None:
    if known is not None and sha256(known) == digest:
        return known
    found = view.known.requests.get(digest)
    return None if found is None or found.raw is None else dsse.parse_own(found.raw).payload


def wait_until_in_force(seen: Viewed, logged: Logged) -> WitnessedCheckpoint:
    """Wait until `logged` is witnessed, or raise `Unavailable` `not-in-force`."""
    return await_witnessed(
        seen.reader,
        index=logged.index,
        leaf=logged.leaf,
        log=seen.trust.log,
        limits=seen.trust.limits,
        clock=SystemClock(),
        pause=pause,
        deadline_s=IN_FORCE_WITHIN_S,
    )
