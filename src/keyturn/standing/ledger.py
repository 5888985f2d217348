"""Keep what became of findings: when each was first seen, who is to close it, who was told, and what people signed about it.

    {"places":[{"name":"host:gpu1","scanned_at":1790000000,"standing":[{"acceptances":["{...}"],"finding":{...},"first_seen":...}],...}],
     "version":2}

Canonical JSON in one file of the machine that scans. It is that machine's word, and no record: whoever is root there can write
any of it, as he can open any door of it. What he cannot write are acceptances: those are kept as they were signed, and believed
by nobody before `standing.accepted` verified them (docs/decisions/0112). When a door was closed they are gone with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed, Usage
from keyturn.formats import canonical_json, standing_acceptance
from keyturn.formats.text import PosixTime, is_printable
from keyturn.standing.finding import FINDINGS_MAX, Finding, Scan

__all__ = [
    "EMPTY",
    "KEPT_MAX",
    "Change",
    "Ledger",
    "Place",
    "Standing",
    "keep",
    "named",
    "own",
    "parse",
    "quieted",
    "record",
    "render",
    "told",
]

SIZE_BYTES_MAX = 256 << 20
OWNER_MAX = 127
KEPT_MAX = 16
"""Acceptances that are kept of one finding, one of each member."""
_DIGITS_MIN = 8
_ENVELOPE_MAX = 64 << 10

_PlaceName = Annotated[str, Meta(min_length=1, max_length=600)]
_Envelope = Annotated[str, Meta(min_length=1, max_length=_ENVELOPE_MAX)]


class Standing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A finding and its fate. `told_at` is when a receiver took the news of it.

    `acceptances` are envelopes as they were signed, the newest last; `quiet` says that the last scan saw two that counted.
    """

    finding: Finding
    first_seen: PosixTime
    last_seen: PosixTime
    owner: Annotated[str, Meta(max_length=OWNER_MAX)] = ""
    told_at: PosixTime | None = None
    acceptances: Annotated[tuple[_Envelope, ...], Meta(max_length=KEPT_MAX)] = ()
    quiet: bool = False


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What stands open at one place, as its newest scan has it."""

    name: _PlaceName
    scanned_at: PosixTime
    standing: Annotated[tuple[Standing, ...], Meta(max_length=2 * FINDINGS_MAX)] = ()


class Ledger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Every place that is scanned from here."""

    version: Literal[2]
    places: Annotated[tuple[Place, ...], Meta(max_length=10_000)] = ()

    def place(self, name: str) -> Place | None:
        return next((one for one in self.places if one.name == name), None)


EMPTY = Ledger(version=2)


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
            seen[id_] = msgspec.structs.replace(old, finding=finding, last_seen=now)
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


def keep(ledger: Ledger, id_: str, raw: bytes) -> Ledger:
    """Keep the acceptance `raw`, which the caller verified, with the finding `id_`: in place of what its member signed before.

    Raises `Usage` when the finding is gone.
    """
    place, _, standing = named(ledger, id_)
    by = _signer(raw.decode("ascii"))
    others = tuple(one for one in standing.acceptances if _signer(one) != by)
    kept = (*others, raw.decode("ascii"))[-KEPT_MAX:]
    return _replaced(ledger, place, standing, msgspec.structs.replace(standing, acceptances=kept))


def _signer(envelope: str) -> str:
    try:
        return standing_acceptance.parse(envelope.encode())[1].member
    except Malformed:
        return ""  # nobody's: reports say so for as long as it lies there


def own(ledger: Ledger, typed: str, *, owner: str) -> tuple[Ledger, str, Standing]:
    """Have `owner` close the finding `typed`."""
    _refuse_long(owner)
    place, id_, standing = named(ledger, typed)
    changed = msgspec.structs.replace(standing, owner=owner)
    return _replaced(ledger, place, standing, changed), id_, changed


def quieted(ledger: Ledger, place: str, accepted: Callable[[Standing], bool]) -> Ledger:
    """Note which doors at `place` are accepted now; one that was until now is news again."""
    at = ledger.place(place)
    assert at is not None
    standing = tuple(_quieted(one, accepted(one)) for one in at.standing)
    changed = msgspec.structs.replace(at, standing=standing)
    return msgspec.structs.replace(ledger, places=tuple(changed if one is at else one for one in ledger.places))


def _quieted(one: Standing, accepted: bool) -> Standing:
    if one.quiet == accepted:
        return one
    return msgspec.structs.replace(one, quiet=accepted, told_at=one.told_at if accepted else None)


def told(ledger: Ledger, place: str, *, now: int) -> Ledger:
    """Note that the news of every finding at `place` was taken."""
    at = ledger.place(place)
    assert at is not None
    standing = tuple(
        one if one.told_at is not None else msgspec.structs.replace(one, told_at=now) for one in at.standing
    )
    changed = msgspec.structs.replace(at, standing=standing)
    return msgspec.structs.replace(ledger, places=tuple(changed if one is at else one for one in ledger.places))


def named(ledger: Ledger, typed: str) -> tuple[Place, str, Standing]:
    """The one finding whose id begins as `typed`: its place, its id, and its fate."""
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
