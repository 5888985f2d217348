"""A gate of one's own over HTTP at a Unix socket: programs in any language ask it before they do what they do.

POST /doors/<name>              the id of a request -> what was granted, once; nothing but a whole 200 is a yes
GET  /doors/<name>/<request>    200 for as long as what was granted stands
POST /negative                  what takes access away (`service.taking_away`)

Protocol, normative: docs/formats/local-gate.md. Each door is for one thing, and for users of this machine whom gate.toml
names; the kernel says who asks. The same is served on 127.0.0.1, where nobody has a user, so that no door opens: for
`/negative` and `/about`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msgspec
from litestar import Request, get, post
from litestar.params import FromPath

from keyturn.adapters import process_log
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.grants.verify_grant import VerifiedGrant
from keyturn.service import shell
from keyturn.service.local_peers import user_of
from keyturn.service.openapi import takes
from keyturn.service.taking_away import taking_away
from keyturn.trust.roster import Profile

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["WAITING_MAX", "AskedDoor", "GrantedAtDoor", "create_app"]

REQUEST_BYTES_MAX = 256
WAITING_MAX = 32
GIVEN_MAX = 1024
"""Of how many grants it is known at the most that they were given by this process: the oldest is forgotten, and stands no
more.
"""


class GrantedAtDoor(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted: the request's id, the door, who asked and for whom, why, who approved, until when (POSIX seconds)."""

    request: str
    door: str
    requester: str
    beneficiary: str
    reason: str
    approvers: tuple[str, ...]
    ends_at: int
    profile: Profile


@dataclass(frozen=True, slots=True)
class AskedDoor:
    """One door: whom it is for, by user id, and `open`, which uses the grant of a request up for it, or raises."""

    users: frozenset[int]
    open: Callable[[str], VerifiedGrant]


@dataclass(slots=True)
class _Given:
    """What this process gave, by door and request. A process that starts again gave nothing: what it gave before stands no
    more.
    """

    grants: dict[tuple[str, str], VerifiedGrant] = field(default_factory=dict)

    def keep(self, door: str, request: str, grant: VerifiedGrant) -> None:
        while len(self.grants) >= GIVEN_MAX:
            self.grants.pop(next(iter(self.grants)))
        self.grants[door, request] = grant

    def find(self, door: str, request: str) -> VerifiedGrant:
        found = self.grants.get((door, request))
        if found is None:
            raise Refused(
                "grant-not-given",
                "this process gave no such grant at this door",
                hint="after a restart nothing that was given stands: stop, and ask people anew",
            )
        return found


def create_app(
    doors: Mapping[str, AskedDoor],
    *,
    stands: Callable[[VerifiedGrant], None],
    obey: Callable[[bytes], bytes],
    look: Callable[[], None],
    about: dict[str, str],
) -> Litestar:
    """Make the service of one gate. `stands` raises when a grant that was given does not stand; `obey` obeys what takes away."""
    given, in_turn, taken = _Given(), anyio.CapacityLimiter(1), 0

    def door_of(request: Request[Any, Any, Any], name: str) -> AskedDoor:
        user = user_of(request.scope)
        door = doors.get(name)
        if door is None or user not in door.users:  # one answer for both: no door is found out by asking
            process_log.say("warning", "door-not-for-user", about={"user": user})
            raise Refused(
                "door-not-for-user",
                f"user {user} of this machine may not ask at a door `{name[:63]}`",
                hint="whoever runs the gate names doors, and who may ask there, in gate.toml",
            )
        return door

    @post("/doors/{door:str}", request_max_body_size=REQUEST_BYTES_MAX, status_code=200, opt=takes("text/plain"))
    async def opened(request: Request[Any, Any, Any], door: FromPath[str]) -> GrantedAtDoor:
        """Use up the grant of a request for what the door is for: what was granted, once; or every reason why not."""
        nonlocal taken
        found = door_of(request, door)
        process_log.say("info", "door-asked", about={"user": user_of(request.scope), "door": door})
        asked = _request_id(await request.body())
        if taken >= WAITING_MAX:
            raise Unavailable(
                "gate-busy",
                f"{WAITING_MAX} wait for this gate already",
                hint="ask again; nothing was used up",
                retry_after_s=5,
            )
        taken += 1
        try:
            grant = await anyio.to_thread.run_sync(found.open, asked, limiter=in_turn)
        finally:
            taken -= 1
        said = _said(door, grant)
        given.keep(door, said.request, grant)
        return said

    @get("/doors/{door:str}/{grant:str}")
    async def still(request: Request[Any, Any, Any], door: FromPath[str], grant: FromPath[str]) -> GrantedAtDoor:
        """What was granted, for as long as it stands; else every reason why it does not."""
        door_of(request, door)
        found = given.find(door, grant)
        await anyio.to_thread.run_sync(stands, found)
        return _said(door, found)

    @get("/about")
    async def say() -> dict[str, str]:
        """The gate's URI, and the root that its operator pinned."""
        return about

    return shell.build([opened, still, taking_away(obey, look), say], title="A gate of one's own")


def _request_id(body: bytes) -> str:
    """The one line that is sent, with its end or without; `Malformed` for anything but ASCII letters, digits and `-`."""
    text = body.removesuffix(b"\n").decode("ascii", "replace")
    if not text.replace("-", "").isalnum() or not text.isascii():
        raise Malformed("request-id", "expected the id of a request, as `req-` and 32 hex digits, and nothing else")
    return text


def _said(door: str, grant: VerifiedGrant) -> GrantedAtDoor:
    granted = grant.granted
    return GrantedAtDoor(
        request=f"req-{granted.digest[:32]}",
        door=door,
        requester=granted.request.requester,
        beneficiary=granted.request.beneficiary,
        reason=granted.request.justification,
        approvers=tuple(sorted(granted.approvers)),
        ends_at=granted.window.ends_at,
        profile=granted.profile,
    )
