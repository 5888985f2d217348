"""Watch, with OpenSSH's own client, what a bastion sends (`adapters.bastion.watching`): shown safely, and said to be seen.

Ctrl-C leaves: what is watched then stands still. Ctrl-\\ ends it; without a terminal, a line `end` on standard input does.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO

import msgspec

from keyturn.adapters.hosts.ssh_client import Where
from keyturn.adapters.safe_screen import SafeScreen
from keyturn.errors import Malformed, Unavailable
from keyturn.formats import base64_text

__all__ = ["watch"]

_SAY_EVERY_S = 0.5
_SAY_AFTER_LINES = 4
_LINE_BYTES_MAX = 4 << 20


def watch(
    where: Where, options: tuple[tuple[str, str], ...], *, screen: Callable[[str], None], say: Callable[[str], None]
) -> int:
    """Watch until it is over; gives ssh's exit status. `screen` writes to the terminal, `say` tells on a line of its own."""
    words = ["ssh", "-T", *(word for option in options for word in ("-o", "=".join(option)))]
    words += [word for option in where.options for word in ("-o", option)]
    words += [] if where.port is None else ["-p", str(where.port)]
    try:
        # INVARIANT: ssh gets no file of ours: it makes what it inherits non-blocking, and what is shown would be lost and yet be
        # said to be seen.
        child = subprocess.Popen(
            [*words, "--", where.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as err:
        raise Unavailable(
            "ssh-missing", "expected OpenSSH's ssh, found none", hint="apt install openssh-client"
        ) from err
    saying = _Saying(child.stdin)  # type: ignore[arg-type]  # PIPE makes it
    try:
        with _ending_by_key(saying.end):
            threading.Thread(target=saying.run, daemon=True).start()
            threading.Thread(target=_warned, args=(child.stderr,), daemon=True).start()
            if not sys.stdin.isatty():
                threading.Thread(target=_ending_by_line, args=(saying.end,), daemon=True).start()
            _show(child.stdout, saying, screen=screen, say=say)  # type: ignore[arg-type]  # PIPE makes it
        return child.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        child.kill()
        child.wait()


class _Saying:
    """What is said to the bastion: how many lines were seen since the last time, and that it is to end."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to, self._seen = to, 0
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def saw(self) -> None:
        with self._lock:
            self._seen += 1
            if self._seen >= _SAY_AFTER_LINES:
                self._wake.set()

    def end(self) -> None:
        self._write(b"end\n")

    def run(self) -> None:
        with suppress(OSError, ValueError):  # ssh is over: whoever reads from it sees that
            while True:
                with self._lock:
                    seen, self._seen = self._seen, 0
                    self._wake.clear()
                self._write(b"seen %d\n" % seen)
                self._wake.wait(_SAY_EVERY_S)

    def _write(self, line: bytes) -> None:
        self._to.write(line)
        self._to.flush()


def _show(lines: IO[bytes], saying: _Saying, *, screen: Callable[[str], None], say: Callable[[str], None]) -> None:
    screens: dict[int, SafeScreen] = {}
    while raw := lines.readline(_LINE_BYTES_MAX):
        try:
            number, code, text = msgspec.json.decode(raw, type=tuple[int, str, str])
            data = base64_text.decode(text, what="what is watched")
        except (msgspec.MsgspecError, UnicodeError) as err:
            raise Malformed("watch-invalid", "the bastion sent something else than what is watched") from err
        if code in ("o", "e"):
            screen(screens.setdefault(number, SafeScreen()).feed(data))
        elif code == "r":
            say(f"[{number}] the terminal is {SafeScreen().feed(data)}")
        else:
            say(f"[{number}] {SafeScreen().feed(data)}")
        saying.saw()


def _warned(lines: IO[bytes]) -> None:
    for line in lines:
        sys.stderr.write(SafeScreen().feed(line))
        sys.stderr.flush()


def _ending_by_line(end: Callable[[], None]) -> None:
    for line in sys.stdin:
        if line.strip() == "end":
            with suppress(OSError, ValueError):
                end()


@contextmanager
def _ending_by_key(end: Callable[[], None]) -> Iterator[None]:
    def pressed(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=end, daemon=True).start()  # it may be in the middle of saying something

    before = signal.signal(signal.SIGQUIT, pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGQUIT, before)
