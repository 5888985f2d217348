"""What a client that is no ssh asks of a bastion: what no person's ssh sends, in any order, and too much of everything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32

from keyturn.adapters.bastion.ssh_server import CHANNELS_MAX, LINES_MAX, TRIES_MAX
from support import event_loop
from support.bastions import Bastion
from support.hosts import Asked, HostsLab

USERAUTH_REQUEST = 50


async def come_in(bastion: Bastion, asked: Asked, **more: Any) -> asyncssh.SSHClientConnection:
    where: dict[str, Any] = {"known_hosts": None, "config": [], "agent_path": None, "login_timeout": 60}
    return await asyncssh.connect(
        "127.0.0.1", bastion.port, username="ktada", client_keys=[str(asked.identity)], **where, **more
    )


async def session(line: asyncssh.SSHClientConnection, command: str, **more: Any) -> Any:
    return (await line.create_session(asyncssh.SSHClientSession, command, encoding=None, **more))[0]


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(work(), 90)

    event_loop.run(whole())


ODD = {
    "x11-req": (Boolean(False), String("MIT-MAGIC-COOKIE-1"), String("00"), UInt32(0)),
    "auth-agent-req@openssh.com": (),
    "exec": (String("touch /tmp/keyturn-second"),),
    "shell": (),
    "subsystem": (String("sftp"),),
    "pty-req": (String("xterm"), UInt32(80), UInt32(24), UInt32(0), UInt32(0), String(b"")),
    "exit-status": (UInt32(0),),
    "nonsense": (String("anything"),),
}


def test_a_session_is_what_it_was_begun_as_and_nothing_else_is_opened(bastion: Bastion) -> None:
    granted = bastion.granted()

    async def work() -> None:
        line = await come_in(bastion, granted)
        channel = await session(line, "sleep 60", env={"LD_PRELOAD": "x"})
        for name, words in ODD.items():
            assert not await channel._make_request(name.encode(), *words), name
        for opening in (
            line.open_connection("127.0.0.1", 22),
            line.open_unix_connection("/run/any"),
            line.open_tun(),
            line.start_server(lambda *_: None, "127.0.0.1", 0),  # type: ignore[arg-type]  # nobody comes
        ):
            with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ChannelListenError)):
                await opening  # type: ignore[misc]  # of four kinds
        line.abort()

    run(work)


def test_a_grant_has_so_many_connections_and_channels_and_no_other_grant_fewer(lab: HostsLab, bastion: Bastion) -> None:
    many, other = bastion.granted(), bastion.granted()

    async def work() -> None:
        lines = [await come_in(bastion, many) for _ in range(LINES_MAX)]
        with pytest.raises(asyncssh.PermissionDenied):
            await come_in(bastion, many)
        beside = await come_in(bastion, other)
        some = CHANNELS_MAX // 2
        opened = await asyncio.gather(
            *(session(line, "sleep 60") for line in lines[:2] for _ in range(some + 2)), return_exceptions=True
        )
        assert sum(not isinstance(one, BaseException) for one in opened) == 2 * some
        assert (await beside.run("echo in", stdin=asyncssh.DEVNULL)).stdout == "in\n"
        await asyncio.to_thread(lab.log.append, lab.revocation(many))
        await asyncio.gather(*(line.wait_closed() for line in lines))
        beside.abort()

    run(work)


def test_whoever_asks_about_keys_without_end_is_cut_off(bastion: Bastion) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    asked = 0

    class Asking(asyncssh.SSHClient):
        def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
            self.conn = conn

        async def public_key_auth_requested(self) -> asyncssh.SSHKey | None:
            nonlocal asked
            asked += 1
            return stranger

    async def work() -> None:
        where: dict[str, Any] = {"known_hosts": None, "config": [], "agent_path": None}
        with pytest.raises((asyncssh.Error, OSError)):
            await asyncssh.connect(
                "127.0.0.1", bastion.port, username="ktada", client_factory=Asking, client_keys=None, **where
            )

    run(work)
    assert asked == TRIES_MAX + 1
