"""Who is known to a host by its own files: `passwd(5)`, `group(5)`; and who, beyond root, may write a file.

Accounts of LDAP, sssd or NIS are not in these files: `nsswitch.conf` says whether there are any, and then that is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass

from keyturn.standing.finding import Finding, unseen
from keyturn.standing.host.tree import HostTree, Status, look

__all__ = ["Account", "Accounts", "lines_of", "read_accounts"]

AREA = "accounts"
_ID = re.compile(r"[0-9]{1,10}\Z", re.ASCII)
_LOCAL_SOURCES = frozenset({"files", "compat", "systemd", "db", "altfiles"})


@dataclass(frozen=True, slots=True)
class Account:
    """One line of `passwd`. `secret` is its second field: `x` where shadow has it."""

    name: str
    secret: str
    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Group:
    """One line of `group`, with the members that it lists."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts and groups of a host's own files."""

    users: tuple[Account, ...]
    groups: Mapping[str, Group]

    def names(self, uid: int) -> tuple[str, ...]:
        """The accounts with this uid, or its number."""
        return tuple(one.name for one in self.users if one.uid == uid) or (f"uid {uid}",)

    def members(self, gid: int) -> tuple[str, ...]:
        """Everybody in the group, by their own gid or by its list."""
        listed = [name for group in self.groups.values() if group.gid == gid for name in group.members]
        own = [one.name for one in self.users if one.gid == gid]
        return tuple(dict.fromkeys((*own, *listed)))

    def writers(self, status: Status) -> tuple[str, ...]:
        """Who beyond root may write what `status` says."""
        if status.mode & 0o002:
            return ("everybody on the host",)
        may = list(self.names(status.uid)) if status.uid else []
        if status.gid and status.mode & 0o020:
            may += self.members(status.gid)
        return tuple(dict.fromkeys(one for one in may if one != "root"))


def lines_of(raw: bytes) -> list[str]:
    """The lines of a file, with bytes that are no UTF-8 as surrogates."""
    return raw.decode("utf-8", "surrogateescape").split("\n")


def read_accounts(tree: HostTree) -> Generator[Finding, None, Accounts]:
    """Read the accounts; what is not in these files, or in no form that these files have, is a finding."""
    users, groups = [], {}
    passwd = yield from look(tree, AREA, "/etc/passwd")
    if passwd is None:
        yield unseen(AREA, "/etc/passwd", "there is none: is this the root of a host?")
    for line in lines_of(passwd or b""):
        parts = line.split(":")
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] in "+-":
            yield unseen(AREA, "/etc/passwd", f"`{line[:40]}` takes in accounts from elsewhere")
        elif "\0" in line or len(parts) != 7 or not (_ID.match(parts[2]) and _ID.match(parts[3])):
            yield unseen(AREA, "/etc/passwd", f"a line that is no account: `{line[:80]}`")
        else:
            users.append(Account(parts[0], parts[1], int(parts[2]), int(parts[3]), parts[5], parts[6] or "/bin/sh"))
    listed = yield from look(tree, AREA, "/etc/group")
    for line in lines_of(listed or b""):
        parts = line.split(":")
        if len(parts) == 4 and _ID.match(parts[2]):
            groups[parts[0]] = Group(parts[0], int(parts[2]), tuple(filter(None, parts[3].split(","))))
        elif line.strip() and not line.startswith("#"):
            yield unseen(AREA, "/etc/group", f"a line that is no group of this host: `{line[:80]}`")
    yield from _elsewhere(tree)
    return Accounts(tuple(users), groups)


def _elsewhere(tree: HostTree) -> Generator[Finding, None, None]:
    switch = yield from look(tree, AREA, "/etc/nsswitch.conf")
    for line in lines_of(switch or b""):
        database, _, rest = line.partition("#")[0].partition(":")
        if database.strip() not in {"passwd", "group", "shadow", "sudoers", "initgroups"}:
            continue
        for source in rest.split():
            if source[0] != "[" and not source.endswith("]") and "=" not in source and source not in _LOCAL_SOURCES:
                what = f"`{database.strip()}` is also asked of `{source}`, which no scan of this host sees"
                yield unseen(AREA, "/etc/nsswitch.conf", what)
