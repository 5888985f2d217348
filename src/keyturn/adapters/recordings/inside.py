"""Read what lies inside an opened recording, as `adapters.recordings.tape` writes it: its events, or asciicast v2 for any player.

    [0.513201,"o","$ "]
    [0.671020,"O",262144]       262144 bytes follow the line as they are, and a line's end

Chunks are cut anywhere. Of a recording that was cut off, a last line without its end is left out, and of a last frame there is
what was written.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from keyturn.errors import Malformed

__all__ = ["Event", "cast_of", "events_of"]

_LINE_BYTES_MAX = 16 << 20
_FRAME_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """What went through, or was marked, `at` seconds from the beginning. The letter of `code` is in lower case, whatever the
    recording keeps its bytes as."""

    at: float
    code: str
    data: bytes


def events_of(chunks: Iterable[bytes]) -> Iterator[Event]:
    """What is recorded, without the header of size and title; `Malformed` for what is no recording."""
    for number, (line, frame) in enumerate(_lines(chunks), start=1):
        if number == 1:
            continue
        at, code, said = _decoded(line, number)
        if frame is not None:
            yield Event(at, code.lower(), frame)
            continue
        try:
            data = base64.b64decode(str(said), validate=True) if code.isupper() else str(said).encode()
        except (ValueError, binascii.Error) as err:
            raise _none(number) from err
        yield Event(at, code.lower(), data)


def cast_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same as asciicast v2, line by line: frames become base64. `Malformed` for lines that no tape has."""
    for line, frame in _lines(chunks):
        if frame is None:
            yield line + b"\n"
        else:
            yield b'%b,"%b"]\n' % (line[: line.rindex(b",")], base64.b64encode(frame))


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    """Each whole line without its end, and the frame that follows it, if one does."""
    source = _Source(chunks)
    number = 0
    while (line := source.line()) is not None:
        number += 1
        size = _decoded(line, number)[2] if number > 1 else ""
        if isinstance(size, str):
            yield line, None
            continue
        frame = source.take(size)
        if source.take(1) not in (b"\n", b""):
            raise _none(number)
        yield line, frame


class _Source:
    """Chunks, read by lines and by bytes. What was read is let go: a frame is never copied more often than its chunks are."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest = iter(chunks), bytearray()

    def line(self) -> bytes | None:
        looked = 0
        while (end := self._rest.find(b"\n", looked)) < 0:
            looked = len(self._rest)
            if looked > _LINE_BYTES_MAX:
                raise Malformed("recording-line", f"expected lines of {_LINE_BYTES_MAX} bytes at most")
            if not self._more():
                return None
        return self.take(end + 1)[:-1]

    def take(self, size: int) -> bytes:
        """The next `size` bytes, or what there is of them."""
        while len(self._rest) < size and self._more():
            pass
        taken = bytes(memoryview(self._rest)[:size])
        del self._rest[:size]
        return taken

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        self._rest += chunk or b""
        return chunk is not None


def _decoded(line: bytes, number: int) -> tuple[float, str, str | int]:
    try:
        at, code, said = msgspec.json.decode(line, type=tuple[float, str, str | int])
    except (msgspec.MsgspecError, UnicodeError) as err:
        raise _none(number) from err
    if isinstance(said, int) and not (code.isupper() and 1 <= said <= _FRAME_BYTES_MAX):
        raise _none(number)
    return at, code, said


def _none(number: int) -> Malformed:
    return Malformed("recording-line", f"line {number} is none of a recording")
