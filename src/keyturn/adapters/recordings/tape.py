"""Record one session into a sealed file while it goes on: asciicast v2, encrypted before it touches the disk.

    {"version":2,"width":80,"height":24,"timestamp":1790000000,"title":"req-... shell of ada at gpu1"}
    [0.513201,"o","$ "]
    [0.671020,"O",262144]

`o` is what the host wrote, `i` what the person typed, `r` a terminal's new size, `m` a mark; `e` what went to stderr. Of
forwarded connections several share a tape: their letters are followed by a number. Bytes that are no UTF-8 have the same letter
in upper case, which players of asciicast pass over: of a terminal as base64, and of anything else as a frame (decision 0113): a
number instead of a text says how many bytes follow the line as they are, and a line's end. A lot at once of what has no terminal
is a frame, whatever it is.

A thread of its own encodes, encrypts and writes, at the latest `FLUSH_S` after something happened. When it cannot (a full disk),
`failed` is called, the tape is `broken`, and whoever relays ends the session and passes nothing on: what is not recorded does not
go on. What is not written yet is bounded by `BACKLOG_BYTES_MAX`; `write` says when it is more, and `drained` is called when there
is room again.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from keyturn.adapters.recordings.sealing import ChunkSealer
from keyturn.errors import Unavailable

__all__ = ["BACKLOG_BYTES_MAX", "FLUSH_S", "Tape", "Taped"]

FLUSH_S = 0.5
BACKLOG_BYTES_MAX = 8 << 20
_BATCH_BYTES = 1 << 20
_AS_ONE_S = 0.01
_LOOKED_AT_BYTES = 4 << 10
"""More than this at once, of what has no terminal, is not looked at, whether it is text."""


@dataclass(frozen=True, slots=True)
class Taped:
    """One finished recording: where it lies, and the SHA-256 and size of the sealed file."""

    path: Path
    digest: str
    size_bytes: int


class Tape:
    """One recording at `path`, which is new. `write` is for one thread; `failed` and `drained` are called from the tape's own.
    Of a session with a `terminal`, what lies inside is asciicast and nothing else."""

    def __init__(
        self,
        path: Path,
        *,
        head: bytes,
        key: bytes,
        cast: dict[str, object],
        terminal: bool,
        failed: Callable[[Unavailable], None],
        drained: Callable[[], None],
    ) -> None:
        self._path, self._terminal, self._failed, self._drained = path, terminal, failed, drained
        self._sealer, self._digest, self._size = ChunkSealer(key, head), hashlib.sha256(), 0
        self._begun = time.monotonic()
        self._waiting: deque[tuple[float, str, bytes]] = deque()
        self._waiting_bytes = self._unwritten_bytes = 0
        self._full = self._over = self._broken = False
        self._wake = threading.Condition()
        self._held: dict[str, bytes] = {}
        self._plain = [msgspec.json.encode(cast), b"\n"]
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._put(memoryview(head))
            self._put_plain()
            os.fdatasync(self._fd)
        except OSError as err:
            raise _unwritable(err) from err
        self._thread = threading.Thread(target=self._run, name="tape", daemon=True)
        self._thread.start()

    @property
    def broken(self) -> bool:
        """Whether nothing is recorded any more: then nothing is passed on either."""
        return self._broken

    def write(self, code: str, data: bytes) -> bool:
        """Record that `data` goes through; whether there is room for more. Nothing is recorded behind a failure."""
        with self._wake:
            if self._broken:
                return False
            self._waiting.append((time.monotonic() - self._begun, code, data))
            self._waiting_bytes += len(data)
            self._unwritten_bytes += len(data)
            self._full = self._full or self._unwritten_bytes > BACKLOG_BYTES_MAX
            if len(self._waiting) == 1 or self._waiting_bytes >= _BATCH_BYTES:
                self._wake.notify()
            return not self._full

    def close(self) -> Taped:
        """Write what waits, with the last chunk; `Unavailable` when that cannot be, and what is there stays."""
        with self._wake:
            self._over = True
            self._wake.notify()
        self._thread.join()
        if self._broken or self._unwritten_bytes:  # whatever ended the thread: what lacks something gets no last chunk
            os.close(self._fd)
            raise Unavailable("recording-unwritable", "the recording could not be written to its end")
        try:
            for code in list(self._held):
                self._say(time.monotonic() - self._begun, code, [self._held.pop(code)])
            self._put_plain()
            self._put(self._sealer.seal(memoryview(b""), last=True))
            os.fsync(self._fd)
        except OSError as err:
            raise _unwritable(err) from err
        finally:
            os.close(self._fd)
        return Taped(self._path, self._digest.hexdigest(), self._size)

    def _run(self) -> None:
        try:
            while taken := self._next():
                size = sum(len(data) for _, _, data in taken)
                self._encode(taken)
                self._put_plain()
                with self._wake:
                    self._unwritten_bytes -= size
                    has_room = self._full and self._unwritten_bytes <= BACKLOG_BYTES_MAX // 2
                    self._full = self._full and not has_room
                if has_room:
                    self._drained()
        except OSError as err:
            with self._wake:
                self._broken = True
                self._waiting.clear()
            self._failed(_unwritable(err))

    def _next(self) -> deque[tuple[float, str, bytes]]:
        """What waits, `_BATCH_BYTES` of it or a little more; nothing when it is over."""
        with self._wake:
            while not self._waiting and not self._over:
                self._wake.wait()
            if not self._over and self._waiting_bytes < _BATCH_BYTES:
                self._wake.wait_for(lambda: self._over or self._waiting_bytes >= _BATCH_BYTES, timeout=FLUSH_S)
            taken: deque[tuple[float, str, bytes]] = deque()
            size = 0
            while self._waiting and size < _BATCH_BYTES:
                taken.append(self._waiting.popleft())
                size += len(taken[-1][2])
            self._waiting_bytes -= size
            return taken

    def _encode(self, taken: deque[tuple[float, str, bytes]]) -> None:
        while taken:
            at, code, data = taken.popleft()
            parts, size = [data], len(data)
            # Marks, sizes and statements are each their own: only streams are joined.
            while code[0] in "ioe" and taken and taken[0][1] == code and taken[0][0] - at < _AS_ONE_S:
                parts.append(taken.popleft()[2])
                size += len(parts[-1])
            if self._terminal or size <= _LOOKED_AT_BYTES or code[0] not in "ioe":
                self._take(at, code, b"".join(parts))
            else:
                self._say(at, code, [self._held.pop(code, b""), *parts])

    def _take(self, at: float, code: str, data: bytes) -> None:
        """As text when all of it is; a character that is not whole yet waits for its rest."""
        if code in self._held:
            data = self._held.pop(code) + data
        end = len(data)
        for back in range(1, min(4, end) + 1):  # RFC 3629: at most three bytes of a character can be missing their rest
            byte = data[-back]
            if byte >= 0xC0:
                whole = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                end -= back if whole > back else 0
                break
            if byte < 0x80:
                break
        try:
            shown = (data if end == len(data) else data[:end]).decode("utf-8")
        except UnicodeDecodeError:
            self._say(at, code, [data])
            return
        text = msgspec.json.encode(shown)
        if len(text) > 2 * len(data) + 64:  # control characters take six bytes each: a disk is filled slower by base64
            self._say(at, code, [data])
            return
        if end < len(data):
            self._held[code] = data[end:]
        if shown:
            self._plain.append(b"[%.6f,%b,%b]\n" % (at, msgspec.json.encode(code), text))

    def _say(self, at: float, code: str, parts: list[bytes]) -> None:
        """As bytes: on a terminal's tape in base64, and else as a frame."""
        name = code.upper().encode()
        if self._terminal:
            self._plain += (b'[%.6f,"%b","' % (at, name), base64.b64encode(b"".join(parts)), b'"]\n')
        else:
            self._plain += (b'[%.6f,"%b",%d]\n' % (at, name, sum(map(len, parts))), *parts, b"\n")

    def _put_plain(self) -> None:
        plain = b"".join(self._plain)
        self._plain.clear()
        self._put(self._sealer.seal(memoryview(plain)))

    def _put(self, raw: memoryview) -> None:
        self._digest.update(raw)
        self._size += len(raw)
        while raw:
            raw = raw[os.write(self._fd, raw) :]


def _unwritable(err: OSError) -> Unavailable:
    return Unavailable(
        "recording-unwritable",
        f"a recording cannot be written, so its session ends: {err.strerror}",
        hint="free space where the bastion keeps its recordings",
    )
