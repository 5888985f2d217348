"""Keep a gate's decisions in files of lines: `ports.Decisions`, and what an export reads.

    state/decisions/<sequence of the first line, 16 digits>.jsonl    `formats.decision`, one on each line

Appended and synced line by line; a file that has `FILE_BYTES_MAX` is followed by the next. The gate removes none: its
operator may, once they are exported, all but the newest. One process writes.
A torn last line is of a decision that nobody learned: it is cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import Malformed, Tampered, Unavailable
from keyturn.formats import decision
from keyturn.formats.decision import Decision

__all__ = ["FILE_BYTES_MAX", "DecisionFiles"]

FILE_BYTES_MAX = 8 << 20


class DecisionFiles:
    """The decisions in the directory `place`."""

    def __init__(self, place: Path, *, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._place = place
        self._file_bytes_max = file_bytes_max
        self._next: int | None = None

    def keep(self, made: Decision) -> None:
        """Append `made` under the next sequence number, durably."""
        try:
            if self._next is None:
                durable_files.make_directories(self._place, mode=0o700)
                self._next = self._mend()
            line = decision.render(msgspec.structs.replace(made, sequence=self._next)) + b"\n"
            self._append(line)
        except OSError as err:
            self._next = None  # what is there is looked at again before anything is appended to it
            raise Unavailable(
                "decisions-unwritable",
                f"the gate's decision cannot be written down, so nothing is given: {err.strerror}",
                hint="free space in the gate's directory; then the same order again",
            ) from err
        self._next += 1

    def read(self, *, start: int) -> Iterator[Decision]:
        """The decisions from sequence `start` on, as far as they are whole; those whose file was removed are left out."""
        files = self._files()
        for number, path in enumerate(files):
            if number + 1 < len(files) and _first(files[number + 1]) <= start:
                continue
            for sequence, line in enumerate(_lines(path), _first(path)):
                if sequence < start:
                    continue
                found = _parsed(line, path)
                if found.sequence != sequence:
                    raise Tampered("decisions-order", f"`{path}`: expected decision {sequence}, got {found.sequence}")
                yield found

    def _files(self) -> list[Path]:
        return sorted(self._place.glob("[0-9]" * 16 + ".jsonl"))

    def _mend(self) -> int:
        """Cut a torn last line; the sequence number that comes next."""
        files = self._files()
        if not files:
            return 0
        raw = read_plain(files[-1])
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            with files[-1].open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        return _first(files[-1]) + raw.count(b"\n")

    def _append(self, line: bytes) -> None:
        files = self._files()
        last = files[-1] if files else None
        fresh = last is None or last.stat().st_size >= self._file_bytes_max
        path = self._place / f"{self._next:016}.jsonl" if last is None or fresh else last
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.write(fd, line) != len(line):
                raise OSError(0, "it was written in part")
            os.fdatasync(fd)
        finally:
            os.close(fd)
        if fresh:
            durable_files.sync_directory(self._place)


def _first(path: Path) -> int:
    return int(path.stem)


def _lines(path: Path) -> list[bytes]:
    try:
        return read_plain(path).split(b"\n")[:-1]
    except FileNotFoundError:
        return []  # removed meanwhile
    except OSError as err:
        raise Unavailable(
            "decisions-unreadable", f"cannot read `{path}`: {err.strerror}", hint="as the gate's user"
        ) from err


def _parsed(line: bytes, path: Path) -> Decision:
    try:
        return decision.parse(line)
    except Malformed as err:
        raise Tampered("decisions-line", f"`{path}`: a line is no decision: {err.message}") from err
