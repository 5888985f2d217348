"""Make hostile bytes from good ones: the same bytes for the same seed, so that a failure can be run again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

__all__ = ["every_single_byte", "mutations"]

TOKENS = (
    *(
        b"",
        b"\0",
        b"\n",
        b"\r\n",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"true",
        b"-0",
        b"1e400",
        b"0.0",
    ),
    *(b"9007199254740992", b"18446744073709551616", b"-9223372036854775809", b"\xff", b"\xc0\x80", b"\xed\xa0\x80"),
    *(
        b"\xef\xbb\xbf",
        "\u202e".encode(),
        "\u00e9".encode(),
        "e\u0301".encode(),
        b"\x1b[31m",
        b"../",
        b"/",
        b"=",
        b"==",
        b"%00",
    ),
    *(
        b"\\u0000",
        b"\\ud800",
        b"[" * 2000,
        b'{"a":' * 2000,
        b"A" * 70_000,
        bytes(8),
        b"\x80" + bytes(7),
        b"\x7f" + b"\xff" * 7,
    ),
)
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF)


def mutations(seeds: Sequence[bytes], *, seed: int) -> Iterator[bytes]:
    """Give hostile variants of `seeds` for ever: few changes each, so that they get far into a parser."""
    choose = random.Random(seed)
    yield from (b"", b"\0", b"{}", b"[]", b"\n")
    yield from seeds
    while True:
        value = bytearray(choose.choice(seeds))
        for _ in range(choose.choice((1, 1, 1, 2, 3, 8))):
            _change(value, choose, seeds)
        yield bytes(value)


def every_single_byte(good: bytes, *, values: Sequence[int] = (0x01, 0x80)) -> Iterator[tuple[int, bytes]]:
    """Give each position of `good` with its byte changed, once for each of `values` (what is flipped)."""
    for place in range(len(good)):
        for flip in values:
            changed = bytearray(good)
            changed[place] ^= flip
            yield place, bytes(changed)


def _change(value: bytearray, choose: random.Random, seeds: Sequence[bytes]) -> None:
    at = choose.randrange(len(value) + 1)
    length = min(choose.choice((1, 1, 2, 4, 16, 64, 1024)), len(value) - at)
    match choose.randrange(9):
        case 0 if at < len(value):
            value[at] ^= 1 << choose.randrange(8)
        case 1 if at < len(value):
            value[at] = choose.choice(NUMBERS)
        case 2:
            del value[at:]
        case 3:
            del value[at : at + length]
        case 4:
            value[at:at] = value[at : at + length]
        case 5:
            value[at : at + length] = choose.choice(TOKENS)
        case 6:
            value[at:at] = choose.choice(TOKENS)
        case 7:
            other = choose.choice(seeds)
            start = choose.randrange(len(other) + 1)
            value[at : at + length] = other[start : start + choose.choice((1, 8, 64, 4096))]
        case _:
            to = choose.randrange(len(value) + 1)
            piece = bytes(value[at : at + length])
            del value[at : at + length]
            value[to:to] = piece
