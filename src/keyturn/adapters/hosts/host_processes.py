"""Find, confine and end what came in through sshd on this Linux machine: `gates.host.needs.HostProcesses`.

A connection is the process of sshd that serves it (the monitor; `sshd-session` since OpenSSH 9.8) and everything that began
below it. Its processes are found by control group: that which systemd-logind makes for a session (`session-*.scope`), or,
where there is none, one of our own below the cgroup2 mount; what a session leaves running in the background stays in it. Where
no control group can be had, the tree below the monitor is all that is found: whoever detached from it before (setsid, and its
parent gone) is not.

What a process says of itself is its account's to choose: its name may be any bytes, its first thread may end before the others
(the kernel then calls the whole process a zombie), and a tree may be deeper than Python recurses. So whether anything is left is
what the kernel says of the control group, and never what was read of each process.

A session may be over before the next look, and what it left is in logind's scope, which nobody saw: logind's own notes say which
scope it made for the process of sshd.

What no control group holds: jobs that the account handed to cron, at, or its own `systemd --user`, and whatever root moved out.
"""

from __future__ import annotations

import errno
import os
import pwd
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from keyturn.errors import Refused
from keyturn.formats.host_session import HostSession, SshdConnection, SshdState

__all__ = ["LinuxHost"]

_SSHD = frozenset({"sshd", "sshd-session", "sshd-auth"})
_OWN = "keyturn-host"
_SUDO_TICKETS = Path("/run/sudo/ts")
_LOGIND = Path("/run/systemd/sessions")


class LinuxHost:
    """This machine. `helper` is the user id that sshd runs the gate's helper as; control groups are made below the name `groups`,
    which no other gate of this machine has; `logind` is where systemd-logind keeps notes, and `tickets` where sudo does."""

    def __init__(
        self,
        *,
        helper: int,
        groups: str,
        proc: Path = Path("/proc"),
        logind: Path = _LOGIND,
        tickets: Path = _SUDO_TICKETS,
    ) -> None:
        self._proc = proc
        self._sudo_tickets = tickets
        self._logind = logind
        self._boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        self._before_login = frozenset({helper, *_uids("sshd")})
        self._cgroups = _cgroup2(proc)
        self._own = f"{_OWN}/{groups}"

    def asking(self, pid: int) -> SshdConnection:
        parent = self._parent(pid)
        if parent is None or self._name(parent) not in _SSHD or self._uid(parent) != 0 or self._listens(parent):
            raise Refused("asked-by-no-sshd", f"process {pid} asks, and it was not started by sshd for a connection")
        started = self._started(parent)
        if started is None:
            raise Refused("asked-by-no-sshd", f"the process of sshd that started process {pid} has ended")
        return SshdConnection(self._boot, parent, started)

    def confine(self, connection: SshdConnection) -> tuple[str, ...]:
        if self._cgroups is None:
            return ()
        group = self._cgroups / self._own / f"{connection.pid}-{connection.started}"
        try:
            group.mkdir(parents=True, exist_ok=True)
            (group / "cgroup.procs").write_text(str(connection.pid))
        except OSError:
            return ()
        return (f"/{self._own}/{group.name}",)

    def confined(self) -> Sequence[HostSession]:
        if self._cgroups is None:
            return ()
        found = []
        for group in (self._cgroups / self._own).glob("[0-9]*-[0-9]*"):
            pid, started = map(int, group.name.split("-"))
            members = [uid for one in (*self._members(f"/{self._own}/{group.name}"), pid) if (uid := self._uid(one))]
            found.append(
                HostSession(
                    version=1,
                    boot=self._boot,
                    pid=pid,
                    started=started,
                    how="grant",
                    digest="0" * 64,
                    account=_account(members[0]) if members else "root",
                    key="",
                    asked_at=self._at(started),
                    ends_at=0,
                    cgroups=(f"/{self._own}/{group.name}",),
                )
            )
        return found

    def _at(self, started: int) -> int:
        """The POSIX second of a start in clock ticks since boot."""
        lines = (self._proc / "stat").read_text().splitlines()
        begun = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
        return begun + started // os.sysconf("SC_CLK_TCK")

    def came_in(self) -> Sequence[tuple[SshdConnection, str]]:
        found = []
        for pid in [int(path.name) for path in self._proc.glob("[0-9]*")]:
            if self._name(pid) not in _SSHD or self._uid(pid) != 0 or self._listens(pid):
                continue
            users = [uid for child in self._children(pid) if (uid := self._uid(child)) is not None]
            parent, started = self._parent(pid), self._started(pid)
            if not users or started is None or parent is None or not self._listens(parent):
                continue  # not sshd's own process of a connection, or one that waits for its login
            if not self._before_login & set(users):
                found.append((SshdConnection(self._boot, pid, started), _account(users[0])))
        return found

    def look(self, session: HostSession) -> SshdState:
        cgroups = session.cgroups
        monitor = self._is_there(session)
        came_in = False
        if monitor:
            came_in = not any(self._uid(child) in self._before_login for child in self._children(session.pid))
            found = self._cgroup_of(session.pid)
        else:
            found = self._scope_of(session)
        if found is not None and found not in cgroups:
            cgroups = (*cgroups, found)[-8:]
        alive = monitor or any(self._populated(path) for path in cgroups)
        if not alive:
            for path in cgroups:
                self._remove(path)
            self._forget_sudo(session)
        return SshdState(alive, came_in, cgroups)

    def tell(self, session: HostSession, message: str) -> None:
        terminals = set()
        for pid in self._all_of(session):
            with suppress(OSError):
                target = (self._proc / str(pid) / "fd" / "0").readlink()
                if target.parent == Path("/dev/pts"):
                    terminals.add(target)
        for terminal in terminals:
            with suppress(OSError):
                fd = os.open(terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
                try:
                    os.write(fd, f"\r\n{message}\r\n".encode())
                finally:
                    os.close(fd)

    def end(self, session: HostSession) -> None:
        found = self._all_of(session)
        for path in session.cgroups:
            if self._cgroups is not None:
                with suppress(OSError):  # before Linux 5.14 there is no such file
                    (self._cgroups / path[1:] / "cgroup.kill").write_text("1")
        for pid in sorted(found - {1, os.getpid()}):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._forget_sudo(session)

    def _forget_sudo(self, session: HostSession) -> None:
        """Remove what `sudo` remembers of a password: another session must not go on with it, however this one ended."""
        for name in (session.account, *map(str, _uids(session.account))):
            with suppress(OSError):
                (self._sudo_tickets / name).unlink(missing_ok=True)

    def _all_of(self, session: HostSession) -> set[int]:
        found = {pid for path in session.cgroups for pid in self._members(path)}
        return found | {session.pid, *self._below(session.pid)} if self._is_there(session) else found

    def _is_there(self, session: HostSession) -> bool:
        return session.boot == self._boot and self._started(session.pid) == session.started

    def _stat(self, pid: int) -> list[bytes] | None:
        """The fields of /proc/PID/stat from the state on (proc(5): field 3 is the first here); None when it is gone or a
        zombie."""
        try:
            fields = (self._proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if not fields or fields[0] in (b"Z", b"X") else fields

    def _parent(self, pid: int) -> int | None:
        fields = self._stat(pid)
        return None if fields is None else int(fields[1])

    def _started(self, pid: int) -> int | None:
        fields = self._stat(pid)
        return None if fields is None else int(fields[19])

    def _name(self, pid: int) -> str:
        try:
            return (self._proc / str(pid) / "exe").readlink().name.removesuffix(" (deleted)")
        except OSError:
            return ""

    def _uid(self, pid: int) -> int | None:
        """The real user id: while sshd waits for its helper, the effective one of its own process is the helper's."""
        try:
            status = (self._proc / str(pid) / "status").read_bytes()
            return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(b"Uid:"))
        except (OSError, StopIteration, ValueError):
            return None

    def _listens(self, pid: int) -> bool:
        try:
            return b"[listener]" in (self._proc / str(pid) / "cmdline").read_bytes()
        except OSError:
            return True

    def _children(self, pid: int) -> list[int]:
        found: list[int] = []
        for children in (self._proc / str(pid) / "task").glob("*/children"):  # each thread has its own
            with suppress(OSError):
                found += [int(word) for word in children.read_bytes().split()]
        return found

    def _below(self, pid: int) -> set[int]:
        found, todo = set[int](), [pid]
        while todo:
            fresh = set(self._children(todo.pop())) - found
            found |= fresh
            todo += fresh
        return found

    def _cgroup_of(self, pid: int) -> str | None:
        """The cgroup2 path of `pid` when it is one that holds a single session."""
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text().splitlines()
        except OSError:
            return None
        path = next((line[3:] for line in lines if line.startswith("0::")), "/")
        name = path.rpartition("/")[2]
        single = (name.startswith("session-") and name.endswith(".scope")) or path.startswith(f"/{_OWN}/")
        return path if single else None

    def _scope_of(self, session: HostSession) -> str | None:
        """The scope that logind made for the ended connection of `session`, if it still has it."""
        if self._cgroups is None or session.boot != self._boot:
            return None
        for note in self._logind.glob("*"):
            try:
                lines = dict(line.split("=", 1) for line in note.read_text().splitlines() if "=" in line)
                begun = int(lines["REALTIME"]) // 1_000_000
            except (OSError, KeyError, ValueError):
                continue
            scope = lines.get("SCOPE", "")
            # Process ids come again: a session that began before sshd asked for this connection is of another process.
            if (
                lines.get("LEADER") == str(session.pid)
                and scope.startswith("session-")
                and begun >= session.asked_at - 1
            ):
                return f"/user.slice/user-{lines.get('UID')}.slice/{scope}"
        return None

    def _populated(self, path: str) -> bool:
        """Whether the kernel says that a process is left in the group, or in one below it; also one that cannot be read."""
        if self._cgroups is None:
            return False
        try:
            return b"populated 0" not in (self._cgroups / path[1:] / "cgroup.events").read_bytes().splitlines()
        except FileNotFoundError:
            return False
        except OSError as err:
            return err.errno != errno.ENODEV  # the group went while it was read

    def _members(self, path: str) -> list[int]:
        if self._cgroups is None:
            return []
        found = []
        for procs in (self._cgroups / path[1:]).rglob("cgroup.procs"):
            with suppress(OSError):
                found += [int(word) for word in procs.read_text().split()]
        return [pid for pid in found if pid]

    def _remove(self, path: str) -> None:
        if self._cgroups is not None and path.startswith(f"/{_OWN}/"):
            with suppress(OSError):
                (self._cgroups / path[1:]).rmdir()


def _uids(name: str) -> tuple[int, ...]:
    try:
        return (pwd.getpwnam(name).pw_uid,)
    except KeyError:
        return ()


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _cgroup2(proc: Path) -> Path | None:
    """Where the unified hierarchy is mounted, if it is and we may write there."""
    for line in (proc / "self/mounts").read_text().splitlines():
        words = line.split()
        if len(words) > 2 and words[2] == "cgroup2" and os.access(words[1], os.W_OK):
            return Path(words[1])
    return None
