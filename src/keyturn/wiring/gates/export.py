"""Send what a gate decided to a file, a collector or a SIEM, in order, each at least once.

How far a target got lies beside the decisions, `state/exported/<sha256 of the target>`, and moves when the target took what it
was sent. So a crash, or a collector that went away in the middle, sends some again, under the same `metadata.uid`, and leaves
none out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from keyturn.adapters.event_sinks import BATCH_MAX, Event, Sink, open_sink
from keyturn.adapters.files import durable_files
from keyturn.errors import Unavailable, Usage
from keyturn.formats import ocsf
from keyturn.formats.decision import Decision
from keyturn.formats.digest import sha256
from keyturn.formats.posix_time import rfc3339
from keyturn.wiring.gates.release import decisions_of
from keyturn.wiring.gates.set_up import gate_file

__all__ = ["Export"]

_POLL_S = 1.0
_RETRY_S = 5.0


class Export:
    """What the gate in `directory` decided, to `target` (`adapters.event_sinks`)."""

    def __init__(
        self,
        directory: Path,
        *,
        target: str,
        start: int | None,
        ca: Path | None,
        token_file: Path | None,
        version: str,
    ) -> None:
        gate_file(directory, hint="--lab and a gate's name for one of a lab's directory, --dir for that of a host")
        self._version = version
        self._decisions = decisions_of(directory)
        self._sink: Sink = open_sink(target, ca=ca, token_file=token_file)
        self._mark = None if target == "-" else directory / "state" / "exported" / sha256(target.encode())
        self.next = self._marked() if start is None else start

    def close(self) -> None:
        """Let go of the target."""
        self._sink.close()

    def once(self) -> int:
        """Send what there is and was not sent; how many those were."""
        sent = 0
        found = self._decisions.read(start=self.next)
        while some := tuple(islice(found, BATCH_MAX)):
            self._sink.send([_event(one, self._version) for one in some])
            self.next = some[-1].sequence + 1
            sent += len(some)
            self._keep_mark()
        return sent

    def follow(self, wait: Callable[[float], bool], failed: Callable[[Unavailable], None]) -> Iterator[int]:
        """Send for ever, until `wait` says to stop; how many each time. What a target does not take is sent again later."""
        stopped = False
        while not stopped:
            pause_s = _POLL_S
            try:
                yield self.once()
            except Unavailable as err:
                failed(err)
                pause_s = _RETRY_S
            stopped = wait(pause_s)

    def _marked(self) -> int:
        if self._mark is None:
            return 0
        try:
            text = self._mark.read_text(encoding="ascii")
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as err:
            raise Unavailable("export-mark", f"cannot read `{self._mark}`", hint="--start says where to begin") from err
        if not text.strip().isdecimal():
            raise Usage("export-mark-invalid", f"`{self._mark}`: expected a number", hint="--start says where to begin")
        return int(text)

    def _keep_mark(self) -> None:
        if self._mark is None:
            return
        try:
            durable_files.replace(self._mark, f"{self.next}\n".encode(), mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise Unavailable(
                "export-mark", f"cannot write `{self._mark}`: {err.strerror}", hint="run it as the gate's user"
            ) from err


def _event(made: Decision, version: str) -> Event:
    return Event(
        line=ocsf.event(made, version=version),
        severity=ocsf.severity(made),
        at=rfc3339(made.at),
        what=made.outcome,
    )
