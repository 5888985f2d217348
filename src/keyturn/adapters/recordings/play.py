"""Play an opened recording: what was shown on another terminal, in its time or faster, and nothing that acts on this one.

asciicast v2 as `adapters.recordings.tape` writes it. What was typed, sizes and statements are in the file, and not played.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator

import msgspec

from keyturn.adapters.safe_screen import SafeScreen
from keyturn.errors import Malformed

__all__ = ["lines_of", "play"]

_LINE_BYTES_MAX = 16 << 20


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The whole lines of `chunks`, which are cut anywhere; a last one without its end is left out."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > _LINE_BYTES_MAX:
            raise Malformed("recording-line", f"expected lines of {_LINE_BYTES_MAX} bytes at most")


def play(lines: Iterable[bytes], *, speed: float, write: Callable[[str], None], wait: Callable[[float], None]) -> None:
    """Write what `lines` show; `wait` waits so many seconds. `Malformed` for what is no recording."""
    screen, at = SafeScreen(), 0.0
    for number, line in enumerate(lines):
        if number == 0:
            continue  # the header: size and title
        try:
            when, code, text = msgspec.json.decode(line, type=tuple[float, str, str])
            data = base64.b64decode(text, validate=True) if code.isupper() else text.encode()
        except (msgspec.MsgspecError, UnicodeError, binascii.Error) as err:
            raise Malformed("recording-line", f"line {number + 1} is none of a recording") from err
        if code.lower() not in ("o", "e", "m"):
            continue
        wait(max(0.0, when - at) / speed)
        at = max(at, when)
        if code == "m":
            write(f"\r\nkeyturn: {SafeScreen().feed(data)}\r\n")
        else:
            write(screen.feed(data))
