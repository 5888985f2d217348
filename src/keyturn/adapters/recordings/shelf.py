"""Where a bastion keeps its recordings: finished ones by their digest, and those that are being written.

    recordings/<sha256>.recording      finished, or cut off and found again
    recordings/open/<name>.part        being written

A process that died leaves parts. They are found when the next one starts: what was written is kept, and signed for, as cut.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.recordings.sealing import commitment_of, seal_key
from keyturn.adapters.recordings.tape import Tape, Taped
from keyturn.errors import Malformed, Unavailable
from keyturn.formats.recording import Recorded
from keyturn.formats.sealed_recording import HEAD_BYTES_MAX, Header, parse_head, render_head, title
from keyturn.ports import Clock, Hop, Kept, Watching
from keyturn.trust.keyholders import Keyholders

__all__ = ["OpenTape", "Shelf"]


@dataclass(frozen=True, slots=True)
class OpenTape:
    """A recording that goes on, and what will be said of it."""

    tape: Tape
    request: str
    what: Recorded
    begun_at: int
    watched_by: set[str] = field(default_factory=set)

    def attended(self, watching: Watching) -> None:
        """Put on the tape that somebody watches, with the statement that he signed."""
        self.watched_by.add(watching.member)
        self.tape.write("m", f"watched by {watching.member}".encode())
        self.tape.write("w", watching.signed)


class Shelf:
    """The recordings in the directory `place`, each sealed to the keyholders that `sealed_to` gives when it begins."""

    def __init__(
        self, place: Path, *, lab: str, gate: str, sealed_to: Callable[[], tuple[int, Keyholders]], clock: Clock
    ) -> None:
        self._place, self._lab, self._gate = place, lab, gate
        self._sealed_to, self._clock = sealed_to, clock
        try:
            durable_files.make_directories(place / "open", mode=0o700)
        except OSError as err:
            raise _unwritable(err) from err

    def begin(
        self,
        hop: Hop,
        what: Recorded,
        *,
        size: tuple[int, int],
        terminal: bool,
        failed: Callable[[Unavailable], None],
        drained: Callable[[], None],
    ) -> OpenTape:
        """Begin a recording of `hop`, shown at `size` (columns, lines), of a `terminal` or of none; `Unavailable` when it
        cannot be written, `Refused` when the lab names nobody to seal it to."""
        version, to = self._sealed_to()
        key, now = secrets.token_bytes(32), self._clock.now()
        header = Header(
            version=1,
            lab=self._lab,
            gate=self._gate,
            request=hop.request,
            host=hop.gate,
            resource=hop.resource,
            account=hop.account,
            what=what,
            begun_at=now,
            targets_version=version,
            quorum=to.quorum,
            commitment=commitment_of(key),
            shares=seal_key(key, to, gate=self._gate, request=hop.request),
        )
        cast: dict[str, object] = {
            "version": 2,
            "width": size[0] or 80,
            "height": size[1] or 24,
            "timestamp": now,
            "title": title(header),
        }
        path = self._place / "open" / f"{secrets.token_hex(16)}.part"
        tape = Tape(
            path,
            head=render_head(header),
            key=key,
            cast=cast,
            terminal=terminal,
            failed=failed,
            drained=drained,
        )
        return OpenTape(tape, hop.request, what, now)

    def end(self, one: OpenTape, keep: Callable[[Kept], None]) -> None:
        """Finish a recording, and have `keep` sign for it before it stands under its digest."""
        taped = one.tape.close()
        self._shelve(taped, one.request, one.what, one.begun_at, keep, cut=False, watched_by=one.watched_by)

    def left_open(self, keep: Callable[[Kept], None]) -> int:
        """Find what a process before left open, and have `keep` sign for it; gives how many those were."""
        found = sorted((self._place / "open").glob("*.part"))
        for path in found:
            digest, size = hashlib.sha256(), 0
            with path.open("rb") as file:
                start = file.read(HEAD_BYTES_MAX)
                file.seek(0)
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    size += len(chunk)
            try:
                header, _ = parse_head(start)
            except Malformed:  # it died while the header was written: nothing went through yet
                path.unlink()
                continue
            taped = Taped(path, digest.hexdigest(), size)
            self._shelve(taped, header.request, header.what, header.begun_at, keep, cut=True)
        return len(found)

    def _shelve(
        self,
        taped: Taped,
        request: str,
        what: Recorded,
        begun_at: int,
        keep: Callable[[Kept], None],
        *,
        cut: bool,
        watched_by: Collection[str] = (),
    ) -> None:
        ended_at = max(begun_at, self._clock.now())
        keep(
            Kept(request, taped.digest, taped.size_bytes, what, begun_at, ended_at, cut, tuple(sorted(watched_by)[:16]))
        )
        try:
            taped.path.replace(self._place / f"{taped.digest}.recording")
            durable_files.sync_directory(self._place)
        except OSError as err:
            raise _unwritable(err) from err


def _unwritable(err: OSError) -> Unavailable:
    return Unavailable(
        "recording-unwritable",
        f"a recording cannot be written, so its session ends: {err.strerror}",
        hint="free space where the bastion keeps its recordings",
    )
