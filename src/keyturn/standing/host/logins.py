"""Find the other ways in: trusted hosts, inetd's remote shells, what listens, polkit's rules, desktops that log in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyturn.errors import KeyturnError
from keyturn.standing.closing import delete_line, typed
from keyturn.standing.finding import Finding, found, unseen
from keyturn.standing.host.accounts import Accounts, lines_of
from keyturn.standing.host.known_programs import merged
from keyturn.standing.host.tree import HostTools, HostTree, look, look_into

__all__ = ["AREA", "scan_logins"]

AREA = "logins"
_SERVICES = frozenset({"telnet", "shell", "login", "exec", "rsh", "rlogin", "rexec", "tftp", "distcc"})
_SHELLS = frozenset(
    {
        "in.telnetd",
        "telnetd",
        "in.rshd",
        "in.rlogind",
        "in.rexecd",
        "rshd",
        "rlogind",
        "rexecd",
        "nc",
        "ncat",
        "netcat",
        "nc.openbsd",
        "nc.traditional",
        "socat",
        "distccd",
        "gotty",
        "ttyd",
        "shellinaboxd",
        "dropbear",
        "tmate",
        "sshx",
    }
)
_PORTS = {
    23: "telnet",
    512: "rexec",
    513: "rlogin",
    514: "rsh",
    2375: "docker without TLS",
    10255: "kubelet without login",
}


def scan_logins(tree: HostTree, tools: HostTools, accounts: Accounts) -> Iterator[Finding]:
    """Look at what lets in besides ssh, sudo and cron."""
    trusted = [(path, "every account but root") for path in ("/etc/hosts.equiv", "/etc/ssh/shosts.equiv")]
    for user in accounts.users:
        if user.home.startswith("/") and user.home != "/nonexistent":
            trusted += [(f"{user.home.rstrip('/')}/{name}", f"`{user.name}`") for name in (".rhosts", ".shosts")]
    for path, whom in dict.fromkeys(trusted):
        raw = yield from look(tree, AREA, path)
        if raw is not None and any(line.strip() and not line.startswith("#") for line in lines_of(raw)):
            yield found(
                "host-trusted",
                AREA,
                path,
                opens=f"{whom}, by what another host says",
                to="root on a host that it lists",
                severity="high",
                close=typed("rm", "-f", "--", tree.typed(path)),
                mark=(raw,),
            )
    yield from _inetd(tree)
    yield from _polkit(tree)
    yield from _desktops(tree)
    if tree.live:
        yield from _listening(tools, accounts)


def _inetd(tree: HostTree) -> Iterator[Finding]:
    raw = yield from look(tree, AREA, "/etc/inetd.conf")
    for number, line in enumerate(lines_of(raw or b""), 1):
        words = line.split()
        if len(words) > 5 and words[0].rpartition(":")[2] in _SERVICES:
            yield found(
                "remote-shell",
                AREA,
                "/etc/inetd.conf",
                opens=f"`{words[4]}`, by {words[0]}",
                to="whoever reaches the host",
                severity="high",
                close=delete_line(tree.typed("/etc/inetd.conf"), line, number=number),
                mark=(line,),
            )
    for path in (yield from look_into(tree, AREA, "/etc/xinetd.d")):
        text = ((yield from look(tree, AREA, path)) or b"").decode("utf-8", "surrogateescape")
        service = re.search(r"^\s*service\s+(\S+)", text, re.MULTILINE)
        if (
            service
            and service[1] in _SERVICES
            and not re.search(r"^\s*disable\s*=\s*yes", text, re.MULTILINE | re.IGNORECASE)
        ):
            yield found(
                "remote-shell",
                AREA,
                path,
                opens=f"an account, by {service[1]}",
                to="whoever reaches the host",
                severity="high",
                close=typed("rm", "-f", "--", tree.typed(path)),
                mark=(text,),
            )


def _polkit(tree: HostTree) -> Iterator[Finding]:
    """Rules are programs, and nobody can say in general what they answer: those that can say yes, no package's, are shown."""
    packaged = set()
    for path in (yield from look_into(tree, AREA, "/var/lib/dpkg/info")):
        if path.endswith(".list") and (raw := (yield from look(tree, AREA, path))) is not None and b"/polkit-1/" in raw:
            packaged |= {merged(line) for line in lines_of(raw)}
    for directory in ("/etc/polkit-1/rules.d", "/usr/share/polkit-1/rules.d"):
        for path in (yield from look_into(tree, AREA, directory)):
            raw = yield from look(tree, AREA, path)
            if path.endswith(".rules") and raw is not None and b"YES" in raw and path not in packaged:
                yield _polkit_finding(tree, path, raw, "what its program allows")
    for directory in ("/etc/polkit-1/localauthority", "/var/lib/polkit-1/localauthority"):
        for inner in (yield from look_into(tree, AREA, directory)):
            for path in (yield from look_into(tree, AREA, inner)):
                raw = yield from look(tree, AREA, path)
                if (
                    path.endswith(".pkla")
                    and path not in packaged
                    and raw is not None
                    and b"=yes" in raw.replace(b" ", b"").lower()
                ):
                    yield _polkit_finding(tree, path, raw, "the actions that it lists")


def _polkit_finding(tree: HostTree, path: str, raw: bytes, what: str) -> Finding:
    close = typed("rm", "-f", "--", tree.typed(path))
    return found(
        "polkit-rule",
        AREA,
        path,
        opens=f"root's services: {what}, without a password",
        to="whom it names",
        severity="medium",
        close=close,
        mark=(raw,),
    )


def _desktops(tree: HostTree) -> Iterator[Finding]:
    more = yield from look_into(tree, AREA, "/etc/lightdm/lightdm.conf.d")
    for path in ("/etc/gdm3/daemon.conf", "/etc/lightdm/lightdm.conf", "/etc/sddm.conf", *more):
        raw = yield from look(tree, AREA, path)
        for number, line in enumerate(lines_of(raw or b""), 1):
            key, _, value = line.strip().partition("=")
            if key.strip().lower() in ("automaticlogin", "timedlogin", "autologin-user") and value.strip():
                yield found(
                    "desktop-autologin",
                    AREA,
                    path,
                    opens=f"`{value.strip()}`, at the screen, without a password",
                    to="whoever reaches the screen",
                    severity="medium",
                    close=delete_line(tree.typed(path), line, number=number),
                    mark=(line,),
                )


def _listening(tools: HostTools, accounts: Accounts) -> Iterator[Finding]:
    try:
        listeners = tools.listeners()
    except KeyturnError as err:
        yield unseen(AREA, "what listens", err.message, close=err.hint)
        return
    for one in listeners:
        name = one.program.rpartition("/")[2].removesuffix(" (deleted)")
        user = accounts.names(one.uid)[0]
        why = _PORTS.get(one.port, "")
        second = name == "sshd" and any(word in ("-f", "-o") or word.startswith(("-f", "-o")) for word in one.words[1:])
        if name in _SHELLS or why or second or one.program.endswith(" (deleted)"):
            said = why or ("another configuration of sshd than the one that was looked at" if second else name)
            yield found(
                "remote-shell",
                AREA,
                f"{one.address}:{one.port}",
                opens=f"`{user}`, by {said}: {' '.join(one.words)[:200]}",
                to="whoever reaches the port",
                severity="high",
                close=typed("fuser", "--kill", f"{one.port}/tcp"),
                mark=(one.program, *one.words),
            )
