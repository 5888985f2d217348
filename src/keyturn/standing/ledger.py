"""Keep what became of findings: when each was first seen, who is to close it, who was told, until when two people accepted it.

    {"places":[{"name":"host:gpu1","scanned_at":1790000000,"standing":[{"finding":{...},"first_seen":...,"owner":"ada",...}],...}],
     "version":1}

Canonical JSON in one file of the machine that scans. It is that machine's word, and no record: whoever is root there can write
any of it, as he can open any door of it (docs/decisions/0110). An acceptance quiets the exit status and no more: an accepted door
stays in each report, and when it was closed in between, or something else opens there now, nothing accepts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Refused, Usage
from keyturn.formats import canonical_json
from keyturn.formats.text import MemberId, PosixTime, is_printable
from keyturn.standing.finding import FINDINGS_MAX, Finding, Scan

__all__ = [
    "ACCEPTED_MAX_S",
    "EMPTY",
    "Acceptance",
    "Change",
    "Ledger",
    "Place",
    "Standing",
    "accept",
    "own",
    "parse",
    "record",
    "render",
    "told",
]

ACCEPTED_MAX_S = 90 * 86_400
SIZE_BYTES_MAX = 256 << 20
OWNER_MAX = 127
_DIGITS_MIN = 8

_PlaceName = Annotated[str, Meta(min_length=1, max_length=600)]
State = Literal["open", "half-accepted", "accepted"]


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who let a door stand open until when, and why: in force when two did."""

    by: Annotated[tuple[MemberId, ...], Meta(min_length=1, max_length=2)]
    reason: Annotated[str, Meta(min_length=1, max_length=2000)]
    until: PosixTime


class Standing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A finding and its fate. `told_at` is when a receiver took the news of it."""

    finding: Finding
    first_seen: PosixTime
    last_seen: PosixTime
    owner: Annotated[str, Meta(max_length=OWNER_MAX)] = ""
    told_at: PosixTime | None = None
    acceptance: Acceptance | None = None

    def state(self, *, now: int) -> State:
        """`accepted` while two people let it stand."""
        if self.acceptance is None or now >= self.acceptance.until:
            return "open"
        return "accepted" if len(self.acceptance.by) == 2 else "half-accepted"


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What stands open at one place, as its newest scan has it."""

    name: _PlaceName
    scanned_at: PosixTime
    standing: Annotated[tuple[Standing, ...], Meta(max_length=2 * FINDINGS_MAX)] = ()


class Ledger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Every place that is scanned from here."""

    version: Literal[1]
    places: Annotated[tuple[Place, ...], Meta(max_length=10_000)] = ()

    def place(self, name: str) -> Place | None:
        return next((one for one in self.places if one.name == name), None)


EMPTY = Ledger(version=1)


@dataclass(frozen=True, slots=True)
class Change:
    """What a scan changed: the doors that were not there before, and those that are closed by now."""

    new: tuple[Standing, ...]
    closed: tuple[Standing, ...]


def parse(raw: bytes) -> Ledger:
    """Parse the file, or raise `Malformed`."""
    return canonical_json.decode(raw, Ledger, what="ledger of standing access", size_bytes_max=SIZE_BYTES_MAX)


def render(value: Ledger) -> bytes:
    """Render the canonical text of `value`."""
    return canonical_json.encode(value)


def record(ledger: Ledger, place: str, scan: Scan, *, owner: str, now: int) -> tuple[Ledger, Change]:
    """Take in what `scan` saw at `place`; `owner` is to close what is new. In what it could not look at nothing was closed."""
    _refuse_long(owner)
    before = ledger.place(place)
    known = {one.finding.id(place): one for one in before.standing} if before is not None else {}
    seen: dict[str, Standing] = {}
    new = []
    for finding in scan.findings:
        id_ = finding.id(place)
        old = known.get(id_)
        if old is None:
            seen[id_] = Standing(finding=finding, first_seen=now, last_seen=now, owner=owner)
            new.append(seen[id_])
        else:
            seen[id_] = msgspec.structs.replace(_reopened(old, now=now), finding=finding, last_seen=now)
    gone = {id_: one for id_, one in known.items() if id_ not in seen}
    stays = {
        id_: one for id_, one in gone.items() if one.finding.area in scan.unseen and one.finding.severity != "unknown"
    }
    after = Place(name=place, scanned_at=now, standing=tuple((seen | stays).values())[: 2 * FINDINGS_MAX])
    others = tuple(one for one in ledger.places if one.name != place)
    places = tuple(sorted((*others, after), key=lambda one: one.name))
    closed = tuple(one for id_, one in gone.items() if id_ not in stays)
    return msgspec.structs.replace(ledger, places=places), Change(tuple(new), closed)


def _refuse_long(owner: str) -> None:
    if len(owner) > OWNER_MAX or not is_printable(owner):
        raise Usage(
            "owner-invalid", f"expected an owner of up to {OWNER_MAX} printable characters", hint="a member's id"
        )


def _reopened(one: Standing, *, now: int) -> Standing:
    """What was accepted until now is open again, and news."""
    if one.acceptance is None or now < one.acceptance.until:
        return one
    return msgspec.structs.replace(one, acceptance=None, told_at=None)


def accept(
    ledger: Ledger, typed: str, *, by: str, until: int | None, reason: str, now: int
) -> tuple[Ledger, str, Standing]:
    """Let the finding `typed` stand open until `until`, as one of two; whoever says no `until` agrees to what the first said.

    Raises `Usage` for what cannot be, and `Refused` when one person would be both.
    """
    place, id_, standing = _named(ledger, typed)
    first = standing.acceptance if standing.state(now=now) == "half-accepted" else None
    if until is None and not reason and first is not None:
        if by in first.by:
            raise Refused(
                "acceptance-needs-two",
                f"`{by}` accepted it already, and one person's word leaves it open",
                hint="ask a coworker to type the same on this machine",
            )
        agreed = msgspec.structs.replace(first, by=(*first.by, by))
    else:
        if until is None or not reason:
            raise Usage(
                "acceptance-incomplete",
                "expected --until and --reason together",
                hint="--until 2026-12-31 --reason '...'",
            )
        if not now < until <= now + ACCEPTED_MAX_S:
            raise Usage(
                "acceptance-until",
                f"expected an end between now and {ACCEPTED_MAX_S // 86_400} days from now",
                hint="accept it for a shorter time, or close the door: `keyturn scan show`",
            )
        same = first is not None and (first.until, first.reason) == (until, reason) and by not in first.by
        agreed = Acceptance(by=(*first.by, by) if first is not None and same else (by,), reason=reason, until=until)
    changed = msgspec.structs.replace(standing, acceptance=agreed)
    return _replaced(ledger, place, standing, changed), id_, changed


def own(ledger: Ledger, typed: str, *, owner: str) -> tuple[Ledger, str, Standing]:
    """Have `owner` close the finding `typed`."""
    _refuse_long(owner)
    place, id_, standing = _named(ledger, typed)
    changed = msgspec.structs.replace(standing, owner=owner)
    return _replaced(ledger, place, standing, changed), id_, changed


def told(ledger: Ledger, place: str, *, now: int) -> Ledger:
    """Note that the news of every finding at `place` was taken."""
    at = ledger.place(place)
    assert at is not None
    standing = tuple(
        one if one.told_at is not None else msgspec.structs.replace(one, told_at=now) for one in at.standing
    )
    changed = msgspec.structs.replace(at, standing=standing)
    return msgspec.structs.replace(ledger, places=tuple(changed if one is at else one for one in ledger.places))


def _named(ledger: Ledger, typed: str) -> tuple[Place, str, Standing]:
    digits = typed.removeprefix("fnd-")
    if not (_DIGITS_MIN <= len(digits) <= 32 and set(digits) <= set("0123456789abcdef")):
        raise Usage(
            "finding-id", f"expected `fnd-` and 8 to 32 hex digits, got `{typed[:60]}`", hint="keyturn scan show"
        )
    matches = [
        (place, id_, one)
        for place in ledger.places
        for one in place.standing
        if (id_ := one.finding.id(place.name)).startswith(f"fnd-{digits}")
    ]
    if len(matches) != 1:
        raise Usage(
            "finding-unknown",
            f"`{typed[:60]}` begins the ids of {len(matches)} findings, expected one",
            hint="keyturn scan show",
        )
    return matches[0]


def _replaced(ledger: Ledger, place: Place, old: Standing, new: Standing) -> Ledger:
    changed = msgspec.structs.replace(place, standing=tuple(new if one is old else one for one in place.standing))
    return msgspec.structs.replace(ledger, places=tuple(changed if one is place else one for one in ledger.places))
