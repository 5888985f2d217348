"""Be a gate in a program: do one thing once, when people granted just that, and for as long as their grant stands.

    with keyturn.open_gate("/var/lib/rotate/gate") as gate:
        with gate.granted(request, action="procedure:run", resource="keyturn://acme.example/procedure/rotate") as grant:
            grant.run(["/usr/local/sbin/rotate"])       # ends when the grant does
            grant.require_open()                        # or raises

Whoever runs the program needs the gate's directory, and brings nothing but the id of a request: what people signed is read from
the lab's log, and verified here. Entering the inner block is the yes, and uses the grant up for good; all else raises
`KeyturnError`, and nothing may be done. Guide: docs/guide/write-a-gate.md.

This is NOT for sessions whose key somebody proves, nor for releases: those have gates of their own. And it binds this program
alone: whoever can do the thing without it, by a root shell or a copy of a password, can still do it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from keyturn.errors import KeyturnError, Refused
from keyturn.formats.uri import Uri
from keyturn.grants.verify_grant import VerifiedGrant
from keyturn.trust.roster import Profile
from keyturn.wiring.gates.own import OpenedOwnGate, Purpose, open_own_gate

__all__ = ["Gate", "Grant", "open_gate"]

_GATE = object()
_LOOK_EVERY_S: Final = 0.5
_TERMINATED_WITHIN_S: Final = 5.0


@dataclass(slots=True)
class _Open:
    """Whether the block of one grant still runs."""

    now: bool = True


@dataclass(frozen=True, slots=True)
class Grant:
    """What people granted, while its block runs. Only `Gate.granted` makes one. Times are POSIX seconds.

    `request` is the request's id, `reason` what whoever asked said, `approvers` the members who approved, `ends_at` when the
    grant is over at the latest; `profile` is the lab's: in a `demo` lab software keys approve. `verified` is what the kernel
    gave.
    """

    request: str
    requester: str
    beneficiary: str
    reason: str
    approvers: tuple[str, ...]
    ends_at: int
    profile: Profile
    verified: VerifiedGrant = field(repr=False)
    _gate: OpenedOwnGate = field(repr=False)
    _open: _Open = field(repr=False)
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _GATE:
            raise TypeError("a Grant is made by Gate.granted only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Grant is not pickled: it stands in the process that it was given to")

    def require_open(self) -> None:
        """Return when the grant still stands; call it between the parts of long work, and stop when it raises.

        Raises `Refused` when it does not: its window is over, it was denied or revoked, somebody concerned was suspended, or the
        block was left; `Unavailable` when that could not be found out, which is a no as well: the log was not read for longer
        than the lab allows. It asks the view that a thread keeps, which is a second old when all is well, and never waits.
        """
        if not self._open.now:
            raise Refused(
                "grant-closed",
                "the block of this grant was left, and what it allowed is done",
                hint="do what was granted within the block",
            )
        self._gate.stands(self.verified)

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run `command` to its end, and end it, with its process group, as soon as the grant stands no more.

        It gets SIGTERM, and SIGKILL after 5 s; what it left in its group when it ends by itself gets SIGKILL at once. Whoever
        makes a session of his own (`setsid`) is not followed: that is for a unit's cgroup. Raises what `require_open` raises
        when the grant ended it, `subprocess.CalledProcessError` when it failed, `OSError` when it could not be started.
        """
        self.require_open()
        words = [os.fspath(word) for word in command]
        with subprocess.Popen(words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, start_new_session=True) as child:
            watched = os.pidfd_open(
                child.pid
            )  # dead is seen before it is reaped: until then the group's number is its own
            try:
                while not _is_dead(watched, _LOOK_EVERY_S):
                    self.require_open()
            except BaseException:
                os.killpg(child.pid, signal.SIGTERM)
                _is_dead(watched, _TERMINATED_WITHIN_S)
                raise
            finally:
                os.killpg(child.pid, signal.SIGKILL)
                os.close(watched)
        if child.returncode != 0:
            raise subprocess.CalledProcessError(child.returncode, words)


def _is_dead(watched: int, within_s: float) -> bool:
    return bool(select.select([watched], [], [], within_s)[0])


class Gate:
    """A gate that is open in this process. Made by `open_gate`; safe for threads."""

    def __init__(self, opened: OpenedOwnGate, *, made_by: object) -> None:
        if made_by is not _GATE:
            raise TypeError("a Gate is made by open_gate only")
        self._opened = opened

    @contextmanager
    def granted(self, request: str, *, action: str, resource: str) -> Iterator[Grant]:
        """Use up the grant of `request` for `action` on `resource`, and run the block: once, for whoever asks first.

        `request` is an id, `req-` and 32 hex digits, which anybody may know. `action` is `procedure:run` or `weights:export`, and
        `resource` a URI of the lab: what the program is about to do, said by the program and never read from the request. Takes
        as long as witnesses take, 30 s at the most for each of two waits.

        Raises `Refused` with every reason in `reasons` (too few approvals, over, denied, revoked, of another gate or purpose,
        used); `Malformed` for a `resource` that is none; `Unavailable` when it could not be found out, or not be written down.
        All of it is in the gate's decisions (`keyturn gate export`), and the use in the lab's log. Source:
        docs/formats/grant-bundle.md.
        """
        verified = self._opened.open(request, Purpose(action, Uri.parse(resource)))
        granted, is_open = verified.granted, _Open()
        try:
            yield Grant(
                request=f"req-{granted.digest[:32]}",
                requester=granted.request.requester,
                beneficiary=granted.request.beneficiary,
                reason=granted.request.justification,
                approvers=tuple(sorted(granted.approvers)),
                ends_at=granted.window.ends_at,
                profile=granted.profile,
                verified=verified,
                _gate=self._opened,
                _open=is_open,
                made_by=_GATE,
            )
        finally:
            is_open.now = False


@contextmanager
def open_gate(directory: str | os.PathLike[str]) -> Iterator[Gate]:
    """Open the gate in `directory`, which `keyturn gate script init` made, for as long as the block runs.

    `directory` has the gate's key, the root that its operator pinned, `gate.toml`, and `state/`, which is written to. A thread
    follows the log meanwhile. Raises `Usage` when there is no gate, `Conflict` `already-running` while another process has it
    open, `Malformed`, `Refused` or `Tampered` for a key or root that is not what gate.toml pins.
    """
    with open_own_gate(Path(directory), failed=_unsaid) as opened:
        yield Gate(opened, made_by=_GATE)


def _unsaid(_err: KeyturnError | None) -> None:
    """What keeps the gate from the log is raised by the next question: a program's standard error is its own."""
