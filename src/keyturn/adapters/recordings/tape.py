"""Record one session into a sealed file while it goes on: asciicast v2, encrypted before it touches the disk.

    {"version":2,"width":80,"height":24,"timestamp":1790000000,"title":"req-... shell of ada at gpu1"}
    [0.513201,"o","$ "]

`o` is what the host wrote, `i` what the person typed, `r` a terminal's new size, `m` a mark; `e` what went to stderr. Bytes that
are no UTF-8 (sftp, most forwards) are base64, under the same letter in upper case: players of asciicast pass over codes that they
do not know, and nothing is lost. Of forwarded connections several share a tape: their letters are followed by a number.

A thread of its own encodes, encrypts and writes, at the latest `FLUSH_S` after something happened. When it cannot (a full disk),
`failed` is called, and whoever relays ends the session: what is not recorded does not go on. What waits is bounded by
`BACKLOG_BYTES_MAX`; `write` says when it is more, and `drained` is called when there is room again.
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
_WAITS_FOR_BYTES = 512 << 10
_CHUNK_BYTES = 128 << 10
_AS_ONE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Taped:
    """One finished recording: where it lies, and the SHA-256 and size of the sealed file."""

    path: Path
    digest: str
    size_bytes: int


class Tape:
    """One recording at `path`, which is new. `write` is for one thread; `failed` and `drained` are called from the tape's own."""

    def __init__(
        self,
        path: Path,
        *,
        head: bytes,
        key: bytes,
        cast: dict[str, object],
        failed: Callable[[Unavailable], None],
        drained: Callable[[], None],
    ) -> None:
        self._path, self._failed, self._drained = path, failed, drained
        self._sealer, self._digest, self._size = ChunkSealer(key, head), hashlib.sha256(), 0
        self._begun = time.monotonic()
        self._waiting: deque[tuple[float, str, bytes]] = deque()
        self._backlog, self._over, self._broken = 0, False, False
        self._wake = threading.Condition()
        self._held: dict[str, bytes] = {}
        self._plain = [msgspec.json.encode(cast) + b"\n"]
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._put(head)
            self._put_plain()
            os.fdatasync(self._fd)
        except OSError as err:
            raise _unwritable(err) from err
        self._thread = threading.Thread(target=self._run, name="tape", daemon=True)
        self._thread.start()

    def write(self, code: str, data: bytes) -> bool:
        """Record that `data` went through; whether there is room for more. Nothing is recorded behind a failure."""
        with self._wake:
            self._waiting.append((time.monotonic() - self._begun, code, data))
            self._backlog += len(data)
            full = self._backlog > BACKLOG_BYTES_MAX
            if len(self._waiting) == 1 or self._backlog >= _WAITS_FOR_BYTES:
                self._wake.notify()
        return not full

    def close(self) -> Taped:
        """Write what waits, with the last chunk; `Unavailable` when that cannot be, and what is there stays."""
        with self._wake:
            self._over = True
            self._wake.notify()
        self._thread.join()
        if self._broken:
            os.close(self._fd)
            raise Unavailable("recording-unwritable", "the recording could not be written to its end")
        try:
            for code in list(self._held):
                self._say(time.monotonic() - self._begun, code, self._held.pop(code))
            self._put_plain()
            self._put(*self._sealer.seal(b"", last=True))
            os.fsync(self._fd)
        except OSError as err:
            raise _unwritable(err) from err
        finally:
            os.close(self._fd)
        return Taped(self._path, self._digest.hexdigest(), self._size)

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    while not self._waiting and not self._over:
                        self._wake.wait()
                    if not self._over and self._backlog < _WAITS_FOR_BYTES:
                        self._wake.wait_for(lambda: self._over or self._backlog >= _WAITS_FOR_BYTES, timeout=FLUSH_S)
                    taken, self._waiting = self._waiting, deque()
                    was_full, self._backlog = self._backlog > BACKLOG_BYTES_MAX, 0
                    over = self._over
                if was_full:
                    self._drained()
                self._encode(taken)
                if over:
                    return
                self._put_plain()
        except OSError as err:
            self._broken = True
            self._failed(_unwritable(err))

    def _encode(self, taken: deque[tuple[float, str, bytes]]) -> None:
        while taken:
            at, code, data = taken.popleft()
            parts, size = [data], len(data)
            # Marks, sizes and statements are each their own: only streams are joined.
            while (
                code[0] in "ioe" and taken and taken[0][1] == code and size < _AS_ONE_BYTES and taken[0][0] - at < 0.01
            ):
                parts.append(taken.popleft()[2])
                size += len(parts[-1])
            self._take(at, code, b"".join(parts))

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
            self._say(at, code, data)
            return
        text = msgspec.json.encode(shown)
        if len(text) > 2 * len(data) + 64:  # control characters take six bytes each: a disk is filled slower by base64
            self._say(at, code, data)
            return
        if end < len(data):
            self._held[code] = data[end:]
        if shown:
            self._plain.append(b"[%.6f,%b,%b]\n" % (at, msgspec.json.encode(code), text))

    def _say(self, at: float, code: str, data: bytes) -> None:
        self._plain += (b'[%.6f,"%b","' % (at, code.upper().encode()), base64.b64encode(data), b'"]\n')

    def _put_plain(self) -> None:
        plain = memoryview(b"".join(self._plain))
        self._plain.clear()
        for at in range(0, len(plain), _CHUNK_BYTES):
            self._put(*self._sealer.seal(plain[at : at + _CHUNK_BYTES]))

    def _put(self, *parts: bytes) -> None:
        for raw in parts:
            left = memoryview(raw)
            while left:
                left = left[os.write(self._fd, left) :]
            self._digest.update(raw)
            self._size += len(raw)


def _unwritable(err: OSError) -> Unavailable:
    return Unavailable(
        "recording-unwritable",
        f"a recording cannot be written, so its session ends: {err.strerror}",
        hint="free space where the bastion keeps its recordings",
    )
