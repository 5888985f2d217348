"""Find accounts that let somebody in by a password, by none, or as root by another name; and groups as good as root."""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyturn.standing.closing import typed
from keyturn.standing.finding import Finding, Severity, found
from keyturn.standing.host.accounts import AREA, Account, Accounts, lines_of
from keyturn.standing.host.tree import HostTree, look

__all__ = ["scan_passwords"]

AS_GOOD_AS_ROOT = {
    "root": "what only the group `root` may write",
    "docker": "root, by a container that mounts /",
    "lxd": "root, by a container that mounts /",
    "incus": "root, by a container that mounts /",
    "incus-admin": "root, by a container that mounts /",
    "libvirt": "root, by a machine that is given the host's disks",
    "disk": "every file, by the raw disks",
    "kmem": "the kernel's memory",
    "shadow": "the hashes of all passwords",
}
"""Groups whose members need no other door."""

_HASH = re.compile(r"[./0-9A-Za-z$,=*+_-]{13,}\Z", re.ASCII)


def scan_passwords(tree: HostTree, accounts: Accounts) -> Iterator[Finding]:
    """Look at `passwd`, `shadow` and `group`."""
    secrets: dict[str, str] = {}
    shadow = yield from look(tree, AREA, "/etc/shadow")
    for line in lines_of(shadow or b""):
        parts = line.split(":")
        if len(parts) > 1 and parts[0]:
            secrets.setdefault(parts[0], parts[1])
    for one in accounts.users:
        yield from _account(tree, one, secrets)
    roots = accounts.names(0)  # who is root needs no group
    for name, group in accounts.groups.items():
        if name not in AS_GOOD_AS_ROOT:
            continue
        for member in accounts.members(group.gid):
            if member not in roots:
                yield found(
                    "group-as-good-as-root",
                    AREA,
                    "/etc/group",
                    opens=f"`{name}`: {AS_GOOD_AS_ROOT[name]}",
                    to=member,
                    severity="high",
                    close=_leave(tree, member, name),
                    mark=(name, member),
                )


def _account(tree: HostTree, one: Account, secrets: dict[str, str]) -> Iterator[Finding]:
    in_shadow = one.secret == "x"  # noqa: S105  # the word by which passwd says that shadow has it
    secret = secrets.get(one.name, "*") if in_shadow else one.secret
    where = "/etc/shadow" if in_shadow else "/etc/passwd"
    lock = typed("usermod", *tree.prefix, "--lock", one.name)
    level: Severity = "high" if one.uid == 0 else "medium"
    if not secret:
        # `usermod --lock` leaves an empty password as it is.
        star = typed("usermod", *tree.prefix, "--password", "*", one.name)
        yield found(
            "password-empty",
            AREA,
            where,
            opens=f"`{one.name}`, without any password",
            to="everybody who can type a name",
            severity="high",
            close=star,
            mark=(one.name,),
        )
    elif _HASH.match(secret) and secret[0] != "*":
        yield found(
            "password-usable",
            AREA,
            where,
            opens=f"`{one.name}`, by a password: console, su, and whatever asks PAM",
            to="whoever knows it",
            severity=level,
            close=lock,
            mark=(one.name, secret),
        )
    if one.uid == 0 and one.name != "root":
        twin = typed("userdel", *tree.prefix, "--force", one.name)
        yield found(
            "root-by-another-name",
            AREA,
            "/etc/passwd",
            opens="root: its uid is 0",
            to=one.name,
            severity="high",
            close=twin,
            mark=(one.name,),
        )


def _leave(tree: HostTree, member: str, group: str) -> str:
    if group == "root":
        return typed("usermod", *tree.prefix, "--gid", "nogroup", member)
    return typed("gpasswd", *_root_option(tree), "--delete", member, group)


def _root_option(tree: HostTree) -> tuple[str, ...]:
    return () if tree.live else ("--root", tree.typed("/"))
