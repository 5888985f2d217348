"""CTAPHID as over USB (CTAP 2.1, 11.2), between a security key in this process and `keyturn` in another.

The device's side answers 64-byte reports on a socket; `plug_in`, run in the other process, gives Yubico's `CtapHidDevice` a
connection to it in the place of /dev/hidraw. Framing, channels and keep-alives are the library's own on that side.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread

from fido2.ctap import STATUS
from fido2.hid import CAPABILITY, CTAPHID, CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor

from support.security_key import SecurityKey

__all__ = ["attached", "keyturn_with", "plug_in"]

_REPORT = 64
_INIT = 0x80


@contextmanager
def attached(key: SecurityKey, path: Path) -> Iterator[tuple[str, ...]]:
    """`key` answers at the socket `path`; the command of a `keyturn` that has it plugged in."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(str(path))
        door.listen(4)
        Thread(target=_serve, args=(door, key), daemon=True).start()
        yield keyturn_with(path)


def keyturn_with(*paths: Path) -> tuple[str, ...]:
    """The command of a `keyturn` that has the devices at `paths` plugged in, and no other."""
    here = str(Path(__file__).parents[1])
    code = (
        f"import sys; sys.path.insert(0, {here!r})",
        "from support.ctaphid import plug_in",
        f"plug_in({', '.join(repr(str(path)) for path in paths)})",
        "from keyturn.cli.main import main",
        "main()",
    )
    return (sys.executable, "-c", "\n".join(code))


def plug_in(*paths: str) -> None:
    """Let this process find the devices at `paths`, in the place of what the kernel lists."""

    def listed(cls: type[CtapHidDevice]) -> Iterator[CtapHidDevice]:
        for path in paths:
            yield cls(HidDescriptor(path, 0x1050, 0x0407, _REPORT, _REPORT, "in software", None), _Wire(path))

    CtapHidDevice.list_devices = classmethod(listed)  # type: ignore[method-assign, assignment]


class _Wire(CtapHidConnection):
    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(path)

    def read_packet(self) -> bytes:
        return self._socket.recv(_REPORT)

    def write_packet(self, data: bytes) -> None:
        self._socket.send(data)

    def close(self) -> None:
        self._socket.close()


def _serve(door: socket.socket, key: SecurityKey) -> None:
    with suppress(OSError):  # the test is over
        while True:
            client, _ = door.accept()
            Thread(target=_answer_all, args=(client, key), daemon=True).start()


def _answer_all(client: socket.socket, key: SecurityKey) -> None:
    with client, suppress(OSError):
        while first := client.recv(_REPORT):
            channel, command, size = struct.unpack_from(">IBH", first)
            message = first[7 : 7 + size]
            while len(message) < size:
                message += client.recv(_REPORT)[5 : 5 + size - len(message)]
            match command & ~_INIT:
                case CTAPHID.INIT:
                    said = message[:8] + struct.pack(">IBBBBB", 7, 2, 5, 4, 3, CAPABILITY.CBOR)
                case CTAPHID.CBOR:
                    waits = _init(channel, _INIT | CTAPHID.KEEPALIVE, bytes([STATUS.UPNEEDED]))
                    said = key.answer(message, touch=partial(client.sendall, waits))
                case _:
                    continue  # nothing is waiting that could be cancelled
            _send(client, channel, command, said)


def _send(client: socket.socket, channel: int, command: int, said: bytes) -> None:
    client.sendall(_init(channel, command, said))
    for number, at in enumerate(range(57, len(said), 59)):
        client.sendall((struct.pack(">IB", channel, number) + said[at : at + 59]).ljust(_REPORT, b"\0"))


def _init(channel: int, command: int, said: bytes) -> bytes:
    return (struct.pack(">IBH", channel, command, len(said)) + said[:57]).ljust(_REPORT, b"\0")
