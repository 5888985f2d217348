"""What somebody does by sftp is named for who watches, however its bytes are cut, and whatever else is in them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.adapters.bastion.sftp_names import SftpNames


def text(path: str | bytes) -> bytes:
    raw = path.encode() if isinstance(path, str) else path
    return len(raw).to_bytes(4, "big") + raw


def request(kind: int, *parts: bytes, number: int = 7) -> bytes:
    body = bytes((kind,)) + number.to_bytes(4, "big") + b"".join(parts)
    return len(body).to_bytes(4, "big") + body


INIT = b"\0\0\0\5\1\0\0\0\3"
SESSION = (
    INIT,
    request(16, text(".")),
    request(3, text("/tmp/bulk"), b"\0\0\0\x1a", b"\0" * 4),
    request(6, text("handle"), b"\0" * 8, text(b"\3" * 300_000)),
    request(4, text("handle")),
    request(3, text("/etc/grün\n\x1b[2J"), b"\0\0\0\1", b"\0" * 4),
    request(200, text("posix-rename@openssh.com"), text("/a"), text("/b c")),
    request(200, text("limits@openssh.com")),
    request(18, text("/b c"), text(b"/\xff")),
    request(13, text("/a")),
    request(9, text("/x" * 2000), b"\0" * 4),
)
NAMED = [
    "open to write '/tmp/bulk'",
    r"open '/etc/gr\xfcn\n\x1b[2J'",
    "rename '/a' '/b c'",
    r"rename '/b c' '/\\xff'",
    "remove '/a'",
    f"change '{'/x' * 500}...'",
]


@pytest.mark.parametrize("most", [1, 3, 4096, 1 << 20])
def test_operations_are_named_wherever_their_bytes_are_cut(most: int) -> None:
    rest, found, names = b"".join(SESSION), [], SftpNames()
    cuts = random.Random(most)  # noqa: S311  # where bytes are cut is no secret
    if most == 1:  # without the bulk, which takes a while byte by byte
        rest = b"".join((INIT, *SESSION[4:]))
    while rest:
        size = cuts.randint(1, most)
        found += names.take(rest[:size])
        rest = rest[size:]
    assert found == (NAMED if most > 1 else NAMED[1:])


def test_what_makes_no_sense_is_said_once_and_names_nothing_more() -> None:
    for wrong in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        names = SftpNames()
        assert names.take(SESSION[2] + wrong + b"x") == [NAMED[0], "no request that makes sense: nothing more is named"]
        assert names.take(SESSION[2]) == []
    assert SftpNames().take(request(3)) == ["open ''"], "cut short: the server refuses it"


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_no_bytes_break_it(parts: list[bytes]) -> None:
    names = SftpNames()
    for part in parts:
        for line in names.take(part):
            assert line.isascii()
