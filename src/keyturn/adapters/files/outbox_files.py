"""Keep records on disk until the log has all of them: `ports.RecordOutbox` for a process that may die at any write.

A file in `directory` is one group of records, one on a line (an envelope's canonical text has no line breaks), named by the
SHA-256 of its content. It is durable before the first record is appended, and goes when the last one is; the log takes the same
record again as what it is. A group that the log refuses is set aside as `<name>.refused`, holds up nothing, and is sent again
with the next: a quota passes, and a log that was taken over says no to anything. A result that never came would bar a release.

This is NOT a queue for what may wait: `send` returns when all is logged, or raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from keyturn.adapters import process_log
from keyturn.adapters.files import durable_files
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats.digest import sha256
from keyturn.ports import LogWriter

__all__ = ["OutboxFiles", "StraightToLog"]

_REFUSED = ".refused"


class OutboxFiles:
    """The outbox in `directory`, whose records go to `log`. One process at a time has it."""

    def __init__(self, directory: Path, log: LogWriter) -> None:
        self._directory = directory
        self._log = log

    def send(self, records: Sequence[bytes]) -> None:
        if any(b"\n" in record for record in records):
            raise Malformed("record-line-break", "expected records without line breaks")
        content = b"\n".join(records)
        path = self._directory / sha256(content)
        try:
            durable_files.replace(path, content, mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise Unavailable(
                "outbox-unwritable", f"not logged: `{path}` cannot be kept: {err.strerror}", hint="free space there"
            ) from err
        self._append(records)
        path.unlink()

    def waits(self) -> bool:
        return any(self._left())

    def resume(self) -> int:
        """Append what an earlier process left, and what was refused before; `Unavailable` while there is no log.

        Returns how many groups are logged or set aside now, and were not before.
        """
        changed = 0
        for path in sorted(
            self._left(), key=lambda path: (path.suffix, path.stem)
        ):  # what was refused before comes last
            try:
                self._append(path.read_bytes().split(b"\n"))
            except (Malformed, Refused) as err:
                if path.suffix != _REFUSED:
                    path.rename(path.with_suffix(_REFUSED))
                    changed += 1
                    process_log.say("warning", "outbox-refused", err=err)
                continue
            path.unlink()
            changed += 1
        return changed

    def _left(self) -> Iterator[Path]:
        for path in self._directory.glob("*"):
            if len(path.stem) == 64 and path.suffix in ("", _REFUSED) and path.is_file():
                yield path

    def _append(self, records: Sequence[bytes]) -> None:
        for record in records:
            self._log.append(record)


class StraightToLog:
    """An outbox that keeps nothing: for a run on one's own machine, which its member repeats when it breaks off."""

    def __init__(self, log: LogWriter) -> None:
        self._log = log

    def send(self, records: Sequence[bytes]) -> None:
        for record in records:
            self._log.append(record)

    def waits(self) -> bool:
        return False
