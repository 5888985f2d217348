"""The bastion's SSH server: lets in whom the gate does, by key alone, and relays each channel to the one host of his grant.

1. a key that is offered, and proved, is asked about (`ports.bastion.BastionRules`): nothing else lets anybody in;
2. the host is connected to when the first channel needs it, by the key that it pinned for this grant, and its own key must be
   the one that gate.toml names;
3. every channel begins with a tape: without one there is no channel, and when it breaks the whole connection ends;
4. of a grant that asks for a watcher, nothing goes through while nobody watches (`watching`);
5. each second every connection is judged again: what would not be let in any more is told so, and ended at the next look.

asyncssh speaks the protocol. Agent, X11, tunnel and socket forwarding, listening ports, passwords and certificates stay off, as
it has them unless asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

from keyturn.adapters.bastion.forwarding import Forwards
from keyturn.adapters.bastion.hop_keys import HopKeysFile
from keyturn.adapters.bastion.relay import SessionRelay
from keyturn.adapters.bastion.watching import Room, WatchSession
from keyturn.adapters.client_network import longest_of_most
from keyturn.adapters.recordings.shelf import OpenTape, Shelf
from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats.recording import Recorded
from keyturn.formats.uri import Uri
from keyturn.ports import BastionRules, Hop, Watching

__all__ = ["BastionServer", "HostPlace", "serve"]

CHANNELS_MAX = 64
"""Of one grant, over all connections by it: each has a tape, and files are what a process runs out of. So is the next."""
LINES_MAX = 64
UNPROVED_MAX = 64
TRIES_MAX = 20
"""How often one connection may ask about a key, which it does twice for the one that lets it in."""
LOGIN_WITHIN_S = 30
JUDGED_EVERY_S = 1.0
_HOST_WITHIN_S = 20
_WATCHED_LOOK_S = 0.1
_CIPHERS = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")


@dataclass(frozen=True, slots=True)
class HostPlace:
    """Where a host's sshd is, and its own key, as a line of its public key."""

    address: str
    port: int
    host_key: str


class BastionServer:
    """What all connections share. `say` tells the bastion's operator."""

    def __init__(
        self,
        rules: BastionRules,
        *,
        hosts: Mapping[str, HostPlace],
        keys: HopKeysFile,
        shelf: Shelf,
        watcher_absent_s: float,
        say: Callable[[str, str, Exception | None], None],
    ) -> None:
        self.rules, self.hosts, self.keys, self.shelf, self.say = rules, hosts, keys, shelf, say
        self.watcher_absent_s = watcher_absent_s
        self.lines: set[PersonLine] = set()
        self.rooms: dict[str, Room] = {}
        self.unproved: dict[PersonLine, float] = {}
        self.works: set[asyncio.Task[None]] = set()

    def room(self, request: str, who: str) -> Room:
        """Where the sessions under `request` are watched, by `who` it names."""
        found = self.rooms.get(request)
        if found is None:
            found = self.rooms[request] = Room(
                who,
                absent_max_s=self.watcher_absent_s,
                end=partial(self._end_all, request),
                clock=time.monotonic,
            )
        return found

    def channels_of(self, grant: str) -> int:
        """How many channels are open by `grant`, over all its connections."""
        return sum(line.channels for line in self.lines if line.grant == grant)

    def has_room_for(self, grant: str) -> bool:
        """Whether another connection by `grant` may come in."""
        return sum(line.grant == grant for line in self.lines) < LINES_MAX

    def knocks(self, line: PersonLine) -> None:
        """Give `line` a place before it has proved a key, if need be that of who takes longest over it.

        64 who prove nothing would keep everybody out for `LOGIN_WITHIN_S`, so no place is held that another needs: of the network
        that has most of them the oldest goes, and a flood from one address loses its own.
        """
        self.unproved[line] = time.monotonic()
        if len(self.unproved) > UNPROVED_MAX:
            longest = longest_of_most((one, one.peer, since) for one, since in self.unproved.items())
            if longest is not None:
                del self.unproved[longest]
                longest.abort()

    async def judge(self) -> None:
        """Look at every connection once."""
        loop = asyncio.get_running_loop()
        for request, room in list(self.rooms.items()):
            room.look()
            if room.empty:
                del self.rooms[request]
        for line in list(self.lines):
            if line.ending:
                line.abort()
                continue
            why = None
            if line.hop is not None:
                why = await loop.run_in_executor(None, self.rules.over, line.hop)
            elif line.watching is not None:
                why = await loop.run_in_executor(None, self.rules.watches, line.watching)
            if why is not None:
                line.end_soon(why)

    def _end_all(self, request: str, why: KeyturnError) -> None:
        for line in list(self.lines):
            if line.hop is not None and line.hop.request == request:
                line.end_soon(why)


class PersonLine(asyncssh.SSHServer):
    """One connection of one person, who comes through or watches: `side.Line`."""

    def __init__(self, server: BastionServer) -> None:
        self._server = server
        self._conn: asyncssh.SSHServerConnection | None = None
        self.peer = ""
        self._proved = False
        self._tries = 0
        self._host: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._sessions: set[SessionRelay] = set()
        self._forwards = Forwards(self)
        self._watchers: set[WatchSession] = set()
        self._why_over: KeyturnError | None = None
        self.room: Room | None = None
        self.hop: Hop | None = None
        self.watching: Watching | None = None
        self.ending = False

    @property
    def grant(self) -> str:
        """What this connection is by: a request, or the key of who watches one."""
        return self.hop.request if self.hop is not None else "" if self.watching is None else self.watching.session_key

    @property
    def channels(self) -> int:
        return len(self._sessions) + len(self._forwards)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = conn
        self.peer = str(conn.get_extra_info("peername")[0])
        self._server.knocks(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.unproved.pop(self, None)
        self._server.lines.discard(self)
        self._conn = None
        if self._host is not None:
            self._host.add_done_callback(_close)
        self._forwards.over()
        if self._proved and self.hop is not None and self.room is not None:
            self.room.left()
        if self._proved and self.watching is not None:
            why = self._why_over or Refused("watcher-left", f"`{self.watching.member}` watches no more")
            self.later(self._written_down(self.watching, why))

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # (1)
        if self._proved:
            return False
        self._tries += 1
        if self._tries > TRIES_MAX:
            if self._conn is not None:
                self._conn.abort()
            return False
        self.hop = self.watching = (
            None  # INVARIANT: what is let through is what the key opens that was asked about last
        )
        asked = partial(self._let_in, username, key)
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, asked)
        except KeyturnError:
            return False
        if isinstance(found, Watching):
            self.watching = found
        else:
            self.hop = found
        return self._server.has_room_for(self.grant)

    def auth_completed(self) -> None:
        self._proved = True
        self._server.unproved.pop(self, None)
        self._server.lines.add(self)
        if self.hop is not None and self.hop.terms.watcher is not None:
            self.room = self._server.room(self.hop.request, self.hop.terms.watcher)
            self.room.came()

    def session_requested(self) -> Any:
        if self.watching is not None and not self.ending and not self._watchers:
            return self._watch(self.watching)
        if not self._has_room():
            return False
        made = SessionRelay(self, ended=self._sessions.discard)
        self._sessions.add(made)
        return made

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        named = f"[{dest_host}]:{dest_port}" if ":" in dest_host else f"{dest_host}:{dest_port}"
        if self.hop is None or named not in self.hop.terms.forwards or not self._has_room():
            return False
        return self._forwards.connect((dest_host, dest_port), (orig_host, orig_port))

    async def watched(self) -> None:  # (4)
        while self.room is not None and not self.room.present:
            if self._conn is None or self.ending:
                raise Unavailable("session-over", "the session is over, and nobody watched")
            await asyncio.sleep(_WATCHED_LOOK_S)

    async def host(self) -> asyncssh.SSHClientConnection:  # (2)
        if self._host is None:
            self._host = asyncio.get_running_loop().create_task(self._connect())
        return await asyncio.shield(self._host)

    def begin(  # (3)
        self, what: Recorded, size: tuple[int, int], drained: Callable[[], None], *, terminal: bool
    ) -> OpenTape:
        if self.hop is None:
            raise Unavailable("session-over", "the session is over")
        loop = asyncio.get_running_loop()
        return self._server.shelf.begin(
            self.hop,
            what,
            size=size,
            terminal=terminal,
            failed=lambda err: _in(loop, self.end_soon, err),
            drained=lambda: _in(loop, drained),
        )

    async def end(self, tape: OpenTape) -> None:
        finish = partial(self._server.shelf.end, tape, self._server.rules.keep)
        try:
            await asyncio.get_running_loop().run_in_executor(None, finish)
        except KeyturnError as err:  # what is there is found when the bastion starts again
            self.say("recording-unfinished", err)
            self.end_soon(err)

    def without_sftp(self) -> str:
        hop = self.hop
        if hop is None or hop.terms.sftp or hop.terms.bastion is None:
            return ""
        host, own = Uri.parse(hop.gate).name, Uri.parse(hop.terms.bastion.gate).name
        return (
            f"req-{hop.request[:32]} is without file transfer (sftp, scp): ask again by "
            f"keyturn ssh {host} --bastion {own} --sftp --hold --reason WHY"
        )

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._server.works.add(task)  # asyncio holds tasks weakly: what finishes a tape must not be collected before
        task.add_done_callback(self._server.works.discard)

    def say(self, event: str, err: Exception) -> None:
        about = "" if self.hop is None else f"req-{self.hop.request[:32]}"
        self._server.say(event, about, err)

    def end_soon(self, why: KeyturnError) -> None:  # (5)
        """Say why the connection ends; the next look ends it."""
        if not self.ending:
            self.ending = True
            self._why_over = why
            self.say("session-ended", why)
            for session in self._sessions:
                session.tell(f"keyturn: this session ends: {why.message}")

    def abort(self) -> None:
        """End the connection, and the one to the host with it."""
        if self._host is not None:
            self._host.add_done_callback(_close)
        if self._conn is not None:
            self._conn.abort()

    def _has_room(self) -> bool:
        return self.hop is not None and not self.ending and self._server.channels_of(self.grant) < CHANNELS_MAX

    async def _watch(self, watching: Watching) -> WatchSession:
        try:
            await self._written_down(watching, None)
        except KeyturnError as err:
            self.say("watch-unwritten", err)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, err.message) from err
        made = WatchSession(watching, self._server.room(watching.request, watching.who), over=self._watchers.discard)
        self._watchers.add(made)
        return made

    async def _written_down(self, watching: Watching, why: KeyturnError | None) -> None:
        work = partial(self._server.rules.watched, watching, why)
        await asyncio.get_running_loop().run_in_executor(None, work)

    def _let_in(self, username: str, key: asyncssh.SSHKey) -> Hop | Watching:
        try:
            public = PublicKey.from_spki(key.export_public_key("pkcs8-der"))
        except (asyncssh.KeyExportError, ValueError) as err:
            raise Refused("session-key-unknown", "no request names a key of this kind") from err
        watching = self._server.rules.watcher(public)
        return watching or self._server.rules.let_in(username, public, peer=self.peer)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        hop = self.hop
        place = None if hop is None else self._server.hosts.get(hop.gate)
        if hop is None or place is None:
            raise Unavailable("bastion-host", "gate.toml of this bastion does not say where the host is")
        key = asyncssh.import_private_key(self._server.keys.openssh(hop.session_key))
        return await asyncssh.connect(
            place.address,
            place.port,
            username=hop.account,
            client_keys=[key],
            known_hosts=([asyncssh.import_public_key(place.host_key)], [], []),
            agent_path=None,
            config=[],
            encryption_algs=_CIPHERS,
            compression_algs=None,
            keepalive_interval=30,
            connect_timeout=_HOST_WITHIN_S,
            login_timeout=_HOST_WITHIN_S,
            preferred_auth="publickey",
        )


def _close(connected: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
    if not connected.cancelled() and connected.exception() is None:
        connected.result().abort()


def _in(loop: asyncio.AbstractEventLoop, work: Callable[..., None], *words: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed: the process ends
        loop.call_soon_threadsafe(work, *words)


async def serve(
    server: BastionServer, *, address: str, port: int, host_key: Path, ready: Callable[[int], None]
) -> None:
    """Serve at `address`:`port` until cancelled; `ready` is given the port."""
    listening = await asyncssh.listen(
        address,
        port,
        server_factory=lambda: PersonLine(server),
        server_host_keys=[str(host_key)],
        config=[],
        encoding=None,
        line_editor=False,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        compression_algs=None,
        encryption_algs=_CIPHERS,
        password_auth=False,
        kbdint_auth=False,
        gss_host=None,
        login_timeout=LOGIN_WITHIN_S,
        keepalive_interval=30,
    )
    async with listening:
        ready(listening.get_port())
        while True:
            await asyncio.sleep(JUDGED_EVERY_S)
            await server.judge()
