"""Find programs that run later as somebody: cron, at, systemd; tables of people, and what others may write that root runs.

A table or timer that root alone can change opens nothing to anybody else. What does: a table of one's own, which runs on after a
grant's end, and a root job whose program, script or unit somebody else may write.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from keyturn.standing.closing import give_to_root, typed
from keyturn.standing.finding import Finding, found
from keyturn.standing.host.accounts import Accounts, lines_of
from keyturn.standing.host.tree import HostTree, look, look_at, look_into

__all__ = ["AREA", "scan_jobs"]

AREA = "jobs"
_SPOOLS = ("/var/spool/cron/crontabs", "/var/spool/cron")
"""Debian's, and those of others, who have no directory of its own for them."""
_UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_PARTS = ("/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly")
_ROOTS_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_WORDS_MAX = 64


def scan_jobs(tree: HostTree, accounts: Accounts) -> Iterator[Finding]:
    """Look at the tables of cron and at, and at the units of systemd."""
    seen: set[str] = set()
    for spool in _SPOOLS:
        for path in (yield from look_into(tree, AREA, spool)):
            yield from _own_table(tree, accounts, path, seen)
    for path in ("/etc/crontab", *(yield from look_into(tree, AREA, "/etc/cron.d"))):
        yield from _system_table(tree, accounts, path, seen)
    anacron = yield from look(tree, AREA, "/etc/anacrontab")
    for line in lines_of(anacron or b""):
        if line.strip() and not line.strip().startswith("#") and not _SETS.match(line):
            yield from _program(tree, accounts, "/etc/anacrontab", " ".join(line.split()[3:]), "root", seen)
    for directory in _PARTS:
        for path in (yield from look_into(tree, AREA, directory)):
            yield from _writable(tree, accounts, path, "root", "what cron runs", seen)
    for spool in ("/var/spool/cron/atjobs", "/var/spool/at"):
        for path in (yield from look_into(tree, AREA, spool)):
            if re.match(r"[a-z=][0-9a-f]{13}\Z", path.rpartition("/")[2]):
                yield from _at_job(tree, accounts, path)
    for path in (yield from look_into(tree, AREA, "/var/lib/systemd/linger")):
        user = path.rpartition("/")[2]
        close = typed("loginctl", "disable-linger", user) if tree.live else typed("rm", "-f", "--", tree.typed(path))
        yield found(
            "systemd-linger",
            AREA,
            path,
            opens=f"`{user}`, by units of his own that run while nobody is logged in",
            to=user,
            severity="medium",
            close=close,
            mark=(user,),
        )
    yield from _units(tree, accounts, seen)


_SETS = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*=")


def _own_table(tree: HostTree, accounts: Accounts, path: str, seen: set[str]) -> Iterator[Finding]:
    status = yield from look_at(tree, AREA, path)
    if status is None or status.kind == "directory":
        return
    user = path.rpartition("/")[2]
    raw = yield from look(tree, AREA, path)
    jobs = [
        line
        for line in lines_of(raw or b"")
        if line.strip() and not line.strip().startswith("#") and not _SETS.match(line)
    ]
    if jobs:
        yield found(
            "cron-table",
            AREA,
            path,
            opens=f"`{user}`, at the times of {len(jobs)} jobs: {jobs[0]}",
            to=user,
            severity="high" if user == "root" else "medium",
            close=typed("rm", "-f", "--", tree.typed(path)),
            mark=(raw or b"",),
        )
    if user == "root":
        for line in jobs:
            yield from _program(tree, accounts, path, _command(line, with_user=False), "root", seen)


def _command(line: str, *, with_user: bool) -> str:
    times = 1 if line.lstrip().startswith("@") else 5
    parts = line.split(None, times + with_user)
    return parts[times + with_user] if len(parts) > times + with_user else ""


def _system_table(tree: HostTree, accounts: Accounts, path: str, seen: set[str]) -> Iterator[Finding]:
    raw = yield from look(tree, AREA, path)
    if raw is None:
        return
    yield from _writable(tree, accounts, path, "any account", "jobs of cron", seen)
    for line in lines_of(raw):
        if not line.strip() or line.strip().startswith("#") or _SETS.match(line):
            continue
        parts = line.split()
        place = 1 if parts[0].startswith("@") else 5
        user = parts[place] if len(parts) > place else ""
        yield from _program(tree, accounts, path, _command(line, with_user=True), user, seen)


def _program(
    tree: HostTree, accounts: Accounts, table: str, command: str, user: str, seen: set[str]
) -> Iterator[Finding]:
    """The files that `command` names, if others than `user` may write them."""
    try:
        words = shlex.split(command, comments=False)
    except ValueError:
        words = command.split()
    for part in [part for word in words[:_WORDS_MAX] for part in re.split(r"[;&|()`<>=]", word)]:
        if part.startswith("/"):
            yield from _writable(tree, accounts, part, user, f"`{table}` names it", seen)


def _writable(tree: HostTree, accounts: Accounts, path: str, user: str, why: str, seen: set[str]) -> Iterator[Finding]:
    if f"{user}\0{path}" in seen or path.startswith(("/dev/", "/proc/")):
        return
    seen.add(f"{user}\0{path}")
    named = yield from look_at(tree, AREA, path)
    if named is not None and named.kind == "directory":
        return  # what a program makes of a directory, nobody knows; one that it runs from is above its program
    parents = [path[:at] for at in range(1, len(path)) if path[at] == "/"]
    for place in (*parents, path):
        status = named if place == path else (yield from look_at(tree, AREA, place))
        if status is None:
            return
        # Nobody replaces another's file in a directory with the sticky bit; where there is none yet, anybody makes it.
        sticky = place != path and status.mode & 0o1000 and named is not None
        others = [] if sticky else [one for one in accounts.writers(status) if one != user]
        if others:
            yield found(
                "job-writable",
                AREA,
                place,
                opens=f"{user}, by what is written there: {why}",
                to=", ".join(others),
                severity="high" if user in ("root", "any account") else "medium",
                close=give_to_root(tree.typed(place, followed=True)),
                mark=(user, *others),
            )
            return


def _at_job(tree: HostTree, accounts: Accounts, path: str) -> Iterator[Finding]:
    status = yield from look_at(tree, AREA, path)
    raw = yield from look(tree, AREA, path)
    if status is not None and raw is not None:
        user = accounts.names(status.uid)[0]
        yield found(
            "at-job",
            AREA,
            path,
            opens=f"`{user}`, once",
            to=user,
            severity="high" if user == "root" else "low",
            close=typed("rm", "-f", "--", tree.typed(path)),
            mark=(raw,),
        )


def _units(tree: HostTree, accounts: Accounts, seen: set[str]) -> Iterator[Finding]:
    """Each unit and drop-in that systemd reads: as systemd does, the first directory that has a name wins, and drop-ins add."""
    known: set[str] = set()
    for directory in _UNITS:
        for path in (yield from look_into(tree, AREA, directory)):
            name = path.rpartition("/")[2]
            if name.endswith(".d"):
                files: Sequence[str] = yield from look_into(tree, AREA, path)
            elif name.endswith((".service", ".timer", ".socket", ".path")) and name not in known:
                known.add(name)
                files = (path,)
            else:
                continue
            for file in files:
                yield from _unit(tree, accounts, file, seen)


def _unit(tree: HostTree, accounts: Accounts, path: str, seen: set[str]) -> Iterator[Finding]:
    status = yield from look_at(tree, AREA, path)
    if status is None or status.kind != "file":
        return  # masked by a link to /dev/null, or a link that leads nowhere
    raw = (yield from look(tree, AREA, path)) or b""
    yield from _writable(tree, accounts, path, "root", "a unit of systemd", seen)
    user = "root"
    commands = []
    for line in lines_of(raw.replace(b"\\\n", b" ")):
        keyword, _, value = line.strip().partition("=")
        if keyword.strip() == "User":
            user = value.strip() or "root"
        elif keyword.strip() in (
            "ExecStart",
            "ExecStartPre",
            "ExecStartPost",
            "ExecStop",
            "ExecStopPost",
            "ExecReload",
            "ExecCondition",
        ):
            commands.append(value.strip())
    for command in commands:
        as_root = command[:8].startswith(("+", "!")) or "+" in re.match(r"[@\-:+!|]*", command)[0]  # type: ignore[index]  # it matches what is empty too
        bare = re.sub(r"\A[@\-:+!|]*", "", command)
        if bare and not bare.startswith("/"):
            bare = next((f"{one}/{bare}" for one in _ROOTS_PATH if _is_there(tree, f"{one}/{bare.split()[0]}")), bare)
        yield from _program(tree, accounts, path, bare, "root" if as_root else user, seen)
    yield from _autologin(tree, path, commands)


def _is_there(tree: HostTree, path: str) -> bool:
    try:
        return tree.status(path).kind == "file"
    except OSError:
        return False


def _autologin(tree: HostTree, path: str, commands: Sequence[str]) -> Iterator[Finding]:
    for command in commands:
        words = command.split()
        if "getty" not in (words or [""])[0]:
            continue
        for place, word in enumerate(words):
            name = word.partition("=")[2] if word.startswith("--autologin=") else ""
            if word in ("-a", "--autologin") and place + 1 < len(words):
                name = words[place + 1]
            if name:
                yield found(
                    "getty-autologin",
                    AREA,
                    path,
                    opens=f"`{name}`, at a console, without a password",
                    to="whoever reaches the console",
                    severity="high",
                    close=typed("rm", "-f", "--", tree.typed(path)),
                    mark=(command,),
                )
