"""Find programs that make their caller somebody else, and directories where others may put programs that root runs."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping

from keyturn.standing.closing import give_to_root, typed
from keyturn.standing.finding import Finding, found, unseen
from keyturn.standing.host.accounts import Accounts
from keyturn.standing.host.known_programs import KNOWN, merged
from keyturn.standing.host.tree import HostTree, Status, look, look_at, look_into

__all__ = ["AREA", "scan_path", "scan_privileged_files"]

AREA = "files"
_SETUID, _SETGID = 0o4000, 0o2000
_ROOTS_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_INFO = "/var/lib/dpkg/info"


def scan_privileged_files(tree: HostTree, accounts: Accounts) -> Iterator[Finding]:
    """Look at every file with a setuid or setgid bit or capabilities that is not as its package brought it."""
    packaged: Mapping[str, str] | None = None
    for one in tree.privileged():
        if isinstance(one, tuple):
            yield unseen(AREA, one[0], one[1])
            continue
        if packaged is None:
            packaged = yield from _packaged(tree)
        yield from _file(tree, one, packaged, accounts)


def scan_path(tree: HostTree, accounts: Accounts) -> Iterator[Finding]:
    """Look at the directories in which root finds its programs."""
    for path in _ROOTS_PATH:
        status = yield from look_at(tree, AREA, path)
        if status is None:
            continue
        if others := accounts.writers(status):
            yield found(
                "path-writable",
                AREA,
                path,
                opens="whoever runs a program by its name, root too",
                to=", ".join(others),
                severity="high",
                close=give_to_root(tree.typed(path, followed=True)),
                mark=others,
            )


def _packaged(tree: HostTree) -> Generator[Finding, None, Mapping[str, str]]:
    """The MD5 of each file that a package brought, by its path: dpkg's own list, which is what it verifies by."""
    sums: dict[str, str] = {}
    for path in (yield from look_into(tree, AREA, _INFO)):
        if path.endswith(".md5sums") and (raw := (yield from look(tree, AREA, path))) is not None:
            for line in raw.decode("utf-8", "surrogateescape").splitlines():
                digest, _, name = line.partition("  ")
                sums[merged("/" + name)] = digest
    return sums


def _file(tree: HostTree, status: Status, packaged: Mapping[str, str], accounts: Accounts) -> Iterator[Finding]:
    path = merged(status.path)
    bits = [
        name
        for name, has in (
            ("setuid", status.mode & _SETUID),
            ("setgid", status.mode & _SETGID),
            ("capabilities", status.capabilities),
        )
        if has
    ]
    content = yield from look(tree, AREA, status.path)
    if content is None:
        return
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    as_packaged = packaged.get(path) == digest
    others = accounts.writers(status) if status.uid == 0 else ()
    if as_packaged and all(path in KNOWN[bit] for bit in bits) and not others:
        return
    why = (
        "is no package's"
        if path not in packaged
        else "is not as its package brought it"
        if not as_packaged
        else "has no such bit from its package"
    )
    real = tree.typed(status.path)
    steps = []
    if {"setuid", "setgid"} & set(bits):
        steps.append(typed("chmod", "ug-s", real))
    if status.capabilities:
        steps.append(typed("setcap", "-r", real))
    whom = (
        accounts.names(status.uid)[0]
        if "setuid" in bits
        else f"gid {status.gid}"
        if "setgid" in bits
        else "what its capabilities allow"
    )
    yield found(
        "-".join([*bits, "program"]) if len(bits) == 1 else "setuid-program",
        AREA,
        status.path,
        opens=f"{whom}, by a program that {why}",
        to="everybody who may run it" + (f"; {', '.join(others)} may write it" if others else ""),
        severity="high" if status.uid == 0 and bits != ["setgid"] else "medium",
        close=" && ".join(steps),
        mark=(oct(status.mode), str(status.uid), str(status.gid), hashlib.sha256(content).digest()),
    )
