"""Hold what a reader of the log knows, as values: live requests and their approvals, and everything that takes access away.

Everything here is live: what is over is forgotten, so its size is that of what goes on in the lab, not of the log. Only
`grants.following` makes it, from leaves in the log's order and envelopes whose signatures it verified.

Unread is not absent: a record whose envelope could not be had is in `hidden`. When it takes away, its tags are in `unread`, and
whoever asks about such a target is told that it could not be found out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self

from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import dsse
from keyturn.formats.access import AccessUse
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Kind
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.review import AccessReport
from keyturn.grants import bundle as bundles
from keyturn.grants.bundle import Bundle
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState
from keyturn.trust.void import NOTHING_VOID, VoidEntries

__all__ = [
    "LIFTERS",
    "SECURITY",
    "AccessReviewed",
    "Approval",
    "BreakGlassUse",
    "Erasure",
    "Hidden",
    "Known",
    "Offer",
    "Request",
    "Suspended",
    "Use",
    "Withdrawal",
]


def _none() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """A live request: the digests that its leaf binds, and what it says of people and gate.

    `raw` is its envelope, None while it could not be had; then nobody is a party. `renews` when the request that it follows was
    the same people's, for the same at the same gate, used, and ended by nobody when the log took this one.
    """

    index: int
    digest: Sha256
    envelope: Sha256
    parties: frozenset[str]
    gate: str
    until: int
    raw: bytes | None = field(repr=False)
    renews: bool = False


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval of a live request. `raw` as in `Request`; when it could be read, its signature verified."""

    index: int
    digest: Sha256
    envelope: Sha256
    until: int
    raw: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A denial or revocation of a request, by somebody who may."""

    kind: Literal["den", "rev"]
    digest: Sha256
    by: str
    reason: str
    until: int

    @property
    def verb(self) -> str:
        """What its signer did to the request."""
        return "denied" if self.kind == "den" else "revoked"


@dataclass(frozen=True, slots=True)
class Suspended:
    """A suspension of `target` (`member:ada`, `key:<id>`, `gate:<uri>`), and who has lifted it so far.

    `own` is a member's of himself; anybody else's stands only while its signer may still issue it, so that a new targets
    version, which takes that right from him, always can lift it.
    """

    digest: Sha256
    target: str
    by: str
    own: bool
    reason: str
    signed_at: int
    until: int
    lifted_by: frozenset[str] = frozenset()

    @property
    def lifted(self) -> bool:
        return len(self.lifted_by) >= LIFTERS

    def stands(self, trust: TrustState | None, *, at: int) -> bool:
        """Whether it keeps its target out at `at`, under `trust`, the newest of that point in the log."""
        return at < self.until and not self.lifted and self._authority_stands(trust)

    def _authority_stands(self, trust: TrustState | None) -> bool:
        if self.own or trust is None:
            return True
        gate = trust.gates.get(self.target.removeprefix("gate:"))
        return self.by in trust.roster.members_of(SECURITY) or (gate is not None and gate.operator == self.by)


@dataclass(frozen=True, slots=True)
class Use:
    """The first use of a live request that the log has."""

    index: int
    digest: Sha256
    gate: str
    approvals: frozenset[str]


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody would agree to in place of a live request. For people alone: nothing is decided by it."""

    digest: Sha256
    by: str
    duration_s: int | None
    bytes_max: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class BreakGlassUse:
    """A use by break-glass that nobody has reviewed: the digests of it and its request, and whom and what it locks.

    `members` and `resource` are locked until a review; neither they nor the `approvers` can make it.
    """

    digest: Sha256
    request: Sha256
    gate: str
    members: frozenset[str]
    approvers: frozenset[str]
    resource: str
    used_at: int

    @classmethod
    def of(cls, digest: Sha256, made: AccessUse) -> Self:
        """What the break-glass use `made`, whose record has this digest, says."""
        if made.break_glass is None:
            raise Malformed("use-not-break-glass", "expected a use by break-glass")
        glass = made.break_glass
        return cls(
            digest=digest,
            request=Sha256(made.request),
            gate=made.gate,
            members=frozenset(glass.members),
            approvers=frozenset(glass.approvers),
            resource=glass.resource,
            used_at=made.used_at,
        )


@dataclass(frozen=True, slots=True)
class AccessReviewed:
    """The last time that a person reviewed who has which access: who, when, and the report that was looked at."""

    by: str
    signed_at: int
    report: AccessReport


@dataclass(frozen=True, slots=True)
class Erasure:
    """Whose tombstones of one record count so far, in order of name, and the log entry of the one that completed them."""

    signers: tuple[str, ...] = ()
    index: int | None = None

    def signed(self, by: str, *, at: int, trust: TrustState) -> Self:
        """With the tombstone by `by`, at log entry `at`; one person counts once."""
        if self.index is not None or by in self.signers:
            return self
        signers = tuple(sorted((*self.signers, by)))
        return type(self)(signers, at if len(signers) >= trust.limits.tombstone_signers else None)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a leaf says of a record that matters and could not be read, until when it does, and what cannot be said meanwhile.

    `envelope` is what to ask for again; None when it is not the record's own envelope that was missing. `withdrawal` is then a
    revocation that counts if its signer is a party of the request, which stands in what could not be read. `erasure` is what
    tombstones say of it, which changes nothing of what cannot be said.
    """

    kind: Kind
    envelope: Sha256 | None
    until: int | None
    tags: tuple[str, ...]
    record: Sha256
    withdrawal: Withdrawal | None = None
    erasure: Erasure = Erasure()

    @property
    def erased(self) -> bool:
        """Whether people said that its text shall go: nobody will read it, and nobody need look for it."""
        return self.erasure.index is not None


SECURITY = "security"
"""The group whose humans may suspend others."""

LIFTERS = 2
"""Humans that it takes to lift a suspension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a reader knows. `newest` is the trust in force, None while there is none (`history.newest` says why).

    `approved_by` is who approved each live request, also when the approval is over: nobody approves one request twice.
    `offers` are what people offered in place of each live request, the last of each.
    `unreviewed` are the uses by break-glass that await a review, by digest, for as long as they do.
    `erasures` is what tombstones say of each record that they name, whether it can be read or not: for people alone.
    `hidden` is each record that could not be read, by its log index and in that order; `unread` are the tags of all of them;
    `void` are entries that the lab declared to say nothing.
    """

    history: TrustHistory
    newest: TrustState | None = None
    requests: Mapping[str, Request] = field(default_factory=_none)
    approvals: Mapping[str, tuple[Approval, ...]] = field(default_factory=_none)
    approved_by: Mapping[str, frozenset[str]] = field(default_factory=_none)
    withdrawals: Mapping[str, tuple[Withdrawal, ...]] = field(default_factory=_none)
    suspensions: Mapping[str, Suspended] = field(default_factory=_none)
    uses: Mapping[str, Use] = field(default_factory=_none)
    offers: Mapping[str, tuple[Offer, ...]] = field(default_factory=_none)
    unreviewed: Mapping[str, BreakGlassUse] = field(default_factory=_none)
    access_reviewed: AccessReviewed | None = None
    erasures: Mapping[str, Erasure] = field(default_factory=_none)
    hidden: Mapping[int, Hidden] = field(default_factory=_none)
    unread: frozenset[str] = frozenset()
    void: VoidEntries = NOTHING_VOID

    def bundle_of(self, request: str) -> Bundle | None:
        """The live request `request` with its live approvals; None when any could not be read."""
        asked = self.requests.get(request)
        raws = [one.raw for one in self.approvals.get(request, ())]
        if asked is None or asked.raw is None or None in raws:
            return None
        return bundles.make(dsse.parse_own(asked.raw), tuple(dsse.parse_own(raw) for raw in raws if raw is not None))

    def require_unsuspended(self, member: str, keyid: str, *, now: int, what: str) -> None:
        """Refuse a suspended member or key; `Unavailable` when that could not be found out."""
        for target in (f"member:{member}", f"key:{keyid}"):
            self.require_read(target, what=what)
            for found in self.suspensions_of(target, now=now):
                raise Refused(
                    "suspended", f"{what} `{member}` is suspended until {rfc3339(found.until)} by `{found.by}`"
                )

    def suspensions_of(self, target: str, *, now: int) -> Iterator[Suspended]:
        """The suspensions of `target` that stand at `now`."""
        for found in self.suspensions.values():
            if found.target == target and found.stands(self.newest, at=now):
                yield found

    def suspended(self, *, now: int) -> frozenset[str]:
        """The tags of whatever is suspended at `now`."""
        targets = {found.target for found in self.suspensions.values()}
        return frozenset(target for target in targets if any(self.suspensions_of(target, now=now)))

    def require_read(self, tag: str, *, what: str) -> None:
        """Raise `Unavailable` when a record about `tag` is in the log and could not be read."""
        if tag in self.unread:
            raise Unavailable(
                "negative-unread",
                f"{what}: the log holds a record about `{tag}` that could not be read",
                hint="keyturn log verify names it; if nobody has it: keyturn trust void",
            )

    @property
    def size(self) -> int:
        """How many things are held: bounded by what is live, and by what people erased or want to."""
        return (
            len(self.requests)
            + sum(map(len, self.approvals.values()))
            + sum(map(len, self.approved_by.values()))
            + sum(map(len, self.withdrawals.values()))
            + len(self.suspensions)
            + len(self.uses)
            + sum(map(len, self.offers.values()))
            + len(self.unreviewed)
            + len(self.erasures)
            + len(self.hidden)
            + len(self.unread)
        )
