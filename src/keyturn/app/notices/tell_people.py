"""Say what people should be told of a lab: a function of a verified view and of what was told before.

    notices, told = what_to_tell(told, view, trust, settings, record_of=record_of, now=now)

Each thing that happened has a name (`Notice.event`) and is told once, however often this is asked; what was told before comes and
goes as a value (`Told`), which whoever delivers keeps together with the notices. With `None` for it, at the first start, nothing
is told: the lab's past floods nobody.

What is new of one request, suspension or use by break-glass: `tell_of_requests`, `tell_of_suspensions`, `tell_of_uses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.app.access.show_grants import list_grants
from keyturn.app.notices.notice import Notice
from keyturn.app.notices.tell_of_requests import Story, Telling, of_forgotten, of_request
from keyturn.app.notices.tell_of_suspensions import of_suspension
from keyturn.app.notices.tell_of_tombstones import of_tombstone
from keyturn.app.notices.tell_of_uses import of_use
from keyturn.formats import canonical_json
from keyturn.formats.records import Record
from keyturn.grants.view import GateView
from keyturn.trust.roster import TrustState

__all__ = ["Told", "parse_told", "render_told", "what_to_tell"]

_TOLD_BYTES_MAX = 64 << 20


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What was told, of everything that is live: requests by digest, of each suspension by digest who lifted it, of each use
    by break-glass that awaits a review for how many days it has, and of each record that a tombstone names how many signed it."""

    requests: dict[str, Story] = {}
    suspensions: dict[str, tuple[str, ...]] = {}
    uses: dict[str, Annotated[int, Meta(ge=0, le=2**31)]] = {}
    tombstones: dict[str, Annotated[int, Meta(ge=0, le=2**31)]] = {}


def parse_told(raw: bytes) -> Told:
    """Parse what `render_told` made, or raise `Malformed`."""
    return canonical_json.decode(raw, Told, what="what was told", size_bytes_max=_TOLD_BYTES_MAX)


def render_told(value: Told) -> bytes:
    """Render `value`; `parse_told(render_told(x)) == x`."""
    return canonical_json.encode(value)


def what_to_tell(
    before: Told | None,
    view: GateView,
    trust: TrustState,
    settings: Telling,
    *,
    record_of: Callable[[str], Record | None],
    now: int,
) -> tuple[tuple[Notice, ...], Told]:
    """What to tell now, and all that was told then. `view` is a reader's, and fresh; `trust` is the trust in force there.

    `record_of` reads the record with a digest that a tombstone names; what cannot be had, nobody is told of until it can be.
    """
    earlier, begins = before or Told(), before is None
    notices: list[Notice] = []
    requests: dict[str, Story] = {}
    for live in list_grants(view, trust, now=now):
        story = earlier.requests.get(live.digest)
        new, requests[live.digest] = of_request(live, story, view, trust, settings, now=now, begins=begins)
        notices += new
    for digest, story in earlier.requests.items():
        if digest in requests:
            continue
        if digest in view.known.requests:  # its text cannot be had for the moment
            requests[digest] = story
        else:
            notices += of_forgotten(digest, story, trust)
    suspensions = {one.digest: one for one in view.known.suspensions.values() if one.until > now}
    for one in suspensions.values():
        notices += of_suspension(one, earlier.suspensions.get(one.digest), trust)
    uses: dict[str, int] = {}
    for use in view.known.unreviewed.values():
        new_of_it, uses[use.digest] = of_use(use, earlier.uses.get(use.digest), trust, now=now)
        notices += new_of_it
    suspended = view.known.suspended(now=now)
    tombstones: dict[str, int] = {}
    for digest, asked in view.known.erasures.items():
        told_of, signed = earlier.tombstones.get(digest, 0), len(asked.signers)
        if asked.index is None and signed > told_of and (record := record_of(digest)) is not None:
            look = f"look: {settings.link}{record.id}" if settings.link else "look: keyturn tombstone list"
            notices += of_tombstone(record, asked, trust, suspended=suspended, look=look)
            told_of = signed
        if told_of and asked.index is None:
            tombstones[digest] = told_of
    after = Told(
        requests=requests,
        suspensions={digest: tuple(sorted(one.lifted_by)) for digest, one in suspensions.items()},
        uses=uses,
        tombstones=tombstones,
    )
    return (() if begins else tuple(notices)), after
