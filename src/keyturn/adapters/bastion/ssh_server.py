"""The bastion's SSH server: lets in whom the gate does, by key alone, and relays each channel to the one host of his grant.

1. a key that is offered, and proved, is asked about (`ports.bastion.BastionRules`): nothing else lets anybody in;
2. the host is connected to when the first channel needs it, by the key that it pinned for this grant, and its own key must be
   the one that gate.toml names;
3. every channel begins with a tape: without one there is no channel, and when it breaks the whole connection ends;
4. each second every connection is judged again: what would not be let in any more is told so, and ended at the next look.

asyncssh speaks the protocol. Agent, X11, tunnel and socket forwarding, listening ports, passwords and certificates stay off, as
it has them unless asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

from keyturn.adapters.bastion.hop_keys import HopKeysFile
from keyturn.adapters.bastion.relay import ForwardRelay, SessionRelay
from keyturn.adapters.recordings.shelf import OpenTape, Shelf
from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats.recording import Recorded
from keyturn.ports import BastionRules, Hop

__all__ = ["BastionServer", "HostPlace", "serve"]

CHANNELS_MAX = 64
UNPROVED_MAX = 64
LOGIN_WITHIN_S = 30
JUDGED_EVERY_S = 1.0
_HOST_WITHIN_S = 20
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
        say: Callable[[str, str, Exception | None], None],
    ) -> None:
        self.rules, self.hosts, self.keys, self.shelf, self.say = rules, hosts, keys, shelf, say
        self.lines: set[PersonLine] = set()
        self.unproved = 0
        self.works: set[asyncio.Task[None]] = set()

    async def judge(self) -> None:
        """Look at every connection once."""
        loop = asyncio.get_running_loop()
        for line in list(self.lines):
            if line.ending:
                line.abort()
            elif line.hop is not None:
                why = await loop.run_in_executor(None, self.rules.over, line.hop)
                if why is not None:
                    line.end_soon(why)


class PersonLine(asyncssh.SSHServer):
    """One connection of one person: `relay.Line`."""

    def __init__(self, server: BastionServer) -> None:
        self._server = server
        self._conn: asyncssh.SSHServerConnection | None = None
        self._peer = ""
        self._proved = False
        self._host: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._sessions: set[SessionRelay] = set()
        self._forwards: set[ForwardRelay] = set()
        self._forward_tape: OpenTape | None = None
        self._numbers = 0
        self.hop: Hop | None = None
        self.ending = False

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = conn
        self._peer = str(conn.get_extra_info("peername")[0])
        self._server.unproved += 1
        if self._server.unproved > UNPROVED_MAX:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._proved:
            self._server.unproved -= 1
        self._server.lines.discard(self)
        self._conn = None
        if self._host is not None:
            self._host.add_done_callback(_close)
        tape, self._forward_tape = self._forward_tape, None
        if tape is not None:
            self.later(self.end(tape))

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # (1)
        if self._proved:
            return False
        self.hop = None  # INVARIANT: what is let through is what the key opens that was asked about last
        asked = partial(self._let_in, username, key)
        try:
            self.hop = await asyncio.get_running_loop().run_in_executor(None, asked)
        except KeyturnError:
            return False
        return True

    def auth_completed(self) -> None:
        self._proved = True
        self._server.unproved -= 1
        self._server.lines.add(self)

    def session_requested(self) -> SessionRelay | bool:
        if not self._has_room():
            return False
        made = SessionRelay(self, ended=self._sessions.discard)
        self._sessions.add(made)
        return made

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        named = f"[{dest_host}]:{dest_port}" if ":" in dest_host else f"{dest_host}:{dest_port}"
        if self.hop is None or named not in self.hop.terms.forwards or not self._has_room():
            return False
        return self._forward((dest_host, dest_port), (orig_host, orig_port))

    async def host(self) -> asyncssh.SSHClientConnection:  # (2)
        if self._host is None:
            self._host = asyncio.get_running_loop().create_task(self._connect())
        return await asyncio.shield(self._host)

    def begin(self, what: Recorded, size: tuple[int, int], drained: Callable[[], None]) -> OpenTape:  # (3)
        if self.hop is None:
            raise Unavailable("session-over", "the session is over")
        loop = asyncio.get_running_loop()
        return self._server.shelf.begin(
            self.hop,
            what,
            size=size,
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

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._server.works.add(task)  # asyncio holds tasks weakly: what finishes a tape must not be collected before
        task.add_done_callback(self._server.works.discard)

    def say(self, event: str, err: Exception) -> None:
        about = "" if self.hop is None else f"req-{self.hop.request[:32]}"
        self._server.say(event, about, err)

    def end_soon(self, why: KeyturnError) -> None:
        """Say why the connection ends; the next look ends it."""
        if not self.ending:
            self.ending = True
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
        return self.hop is not None and not self.ending and len(self._sessions) + len(self._forwards) < CHANNELS_MAX

    def _let_in(self, username: str, key: asyncssh.SSHKey) -> Hop:
        try:
            public = PublicKey.from_spki(key.export_public_key("pkcs8-der"))
        except (asyncssh.KeyExportError, ValueError) as err:
            raise Refused("session-key-unknown", "no request names a key of this kind") from err
        return self._server.rules.let_in(username, public, peer=self._peer)

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

    async def _forward(self, to: tuple[str, int], origin: tuple[str, int]) -> Any:
        try:
            if self._forward_tape is None:
                self._forward_tape = self.begin("forwards", (80, 24), self._forwards_drained)
            tape = self._forward_tape
            self._numbers += 1
            relay = ForwardRelay(tape, self._numbers, ended=self._forwards.discard)
            tape.tape.write("m", f"{self._numbers}: to {to[0]}:{to[1]} from {origin[0]}:{origin[1]}".encode())
            host = await self.host()
            side = await relay.connect(host, to, origin)
        except (KeyturnError, asyncssh.DisconnectError, OSError) as err:
            self.say("forward-unrelayed", err)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the bastion could not connect") from err
        self._forwards.add(relay)
        return side

    def _forwards_drained(self) -> None:
        for relay in self._forwards:
            relay.drained()


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
