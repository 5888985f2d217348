"""Have sshd ask the host gate: the fragment of its configuration, the helper that it runs, and what it really does with both.

`write_helper` and `fragment` make what `keyturn gate host install` puts on the host; `effective` asks sshd itself (`sshd -T`)
what is in force for a user, since the first value wins and a `Match` block anywhere can say otherwise.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.hosts import sshd_helper
from keyturn.adapters.hosts.sshd_matches import harmful_variables, said_for_some
from keyturn.errors import Unavailable, Usage

__all__ = [
    "SETTINGS",
    "conditional",
    "effective",
    "fragment",
    "helper_text",
    "observing",
    "require_runs",
    "write_root_file",
]

SETTINGS: Mapping[str, str] = {
    "AuthorizedKeysFile": "none",
    "TrustedUserCAKeys": "none",
    "AuthorizedPrincipalsFile": "none",
    "PubkeyAuthentication": "yes",
    "AuthenticationMethods": "publickey",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "HostbasedAuthentication": "no",
    "PermitRootLogin": "prohibit-password",
    "PermitUserEnvironment": "no",
    "PermitUserRC": "no",
    "ForceCommand": "none",
    "AllowAgentForwarding": "no",
    "AllowTcpForwarding": "local",
    "AllowStreamLocalForwarding": "no",
    "GatewayPorts": "no",
    "PermitTunnel": "no",
    "X11Forwarding": "no",
}
"""What closes every door of sshd but the gate's, and what no grant can have. A ForceCommand would run in place of the
gate's own."""

_RUNS = (
    "every user must be able to run /usr/bin/python3, and to reach the program: look at the modes of its directories"
)
_SAID_OTHERWISE = {"prohibit-password": "without-password"}


def command(program: Path) -> str:
    """The value of AuthorizedKeysCommand."""
    return f"{program} ask %u %t %k"


def observing(program: Path, *, user: str) -> bytes:
    """The text of the file in sshd_config.d for a gate that observes: it is asked, and nothing is closed."""
    lines = [
        "# Written by `keyturn gate host install --observe-until`: it is asked, opens nothing, and NO DOOR IS CLOSED.",
        f"AuthorizedKeysCommand {command(program)}",
        f"AuthorizedKeysCommandUser {user}",
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def fragment(program: Path, *, user: str, banner: Path) -> bytes:
    """The text of the file in sshd_config.d; `banner` is where the verifier says why nobody is let in, while nobody is."""
    lines = [
        "# Written by `keyturn gate host install`: nobody comes in but by a grant. Remove this file and reload sshd to undo it.",
        f"AuthorizedKeysCommand {command(program)}",
        f"AuthorizedKeysCommandUser {user}",
        f"Banner {banner}",
        *(f"{name} {value}" for name, value in SETTINGS.items()),
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def helper_text(socket: Path) -> bytes:
    """The helper as a program of its own, which asks at `socket`."""
    own = Path("/usr/bin/python3")  # which every user can run; that of a virtual environment may lie in somebody's home
    python = own if own.exists() else Path(sys.executable).resolve()
    text = Path(sshd_helper.__file__).read_text(encoding="utf-8")
    return f"#!{python} -IS\n{text.replace(str(sshd_helper.SOCKET), str(socket))}".encode()


def write_root_file(path: Path, content: bytes, *, mode: int) -> None:
    """Put `content` at `path`, for root alone to write; sshd refuses a program that others could change, or lies below such a
    directory."""
    for above in path.absolute().parents:
        if above.exists() and (above.stat().st_uid != 0 or above.stat().st_mode & 0o022):
            raise Usage(
                "host-path-open",
                f"`{above}` can be written by others than root, and sshd would not run `{path}`",
                hint="name a directory that root alone writes",
            )
    try:
        durable_files.replace(path, content, mode=mode)
        path.chmod(mode)
    except OSError as err:
        raise Unavailable("host-unwritable", f"cannot write `{path}`: {err.strerror}", hint="run it as root") from err


def require_runs(program: Path, *, user: str) -> None:
    """Raise `Unavailable` unless `user` can start the helper."""
    try:
        done = subprocess.run(
            [program], user=user, group=user, extra_groups=[], capture_output=True, timeout=20, cwd="/", check=False
        )
    except (OSError, subprocess.SubprocessError) as err:
        raise Unavailable("host-program", f"`{user}` cannot run `{program}`: {err}", hint=_RUNS) from err
    if done.returncode != 2:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise Unavailable("host-program", f"`{program}` does not run as `{user}`: {said}", hint=_RUNS)


def effective(config: Path, *, program: Path, user: str, account: str, observes: bool) -> tuple[str, ...]:
    """The settings that sshd would not use for `account`, each as `expected, found`; none when the gate is its one door."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
    if sshd is None:
        raise Unavailable(
            "sshd-missing", "expected OpenSSH's sshd on this host, found none", hint="apt install openssh-server"
        )
    words = [
        sshd,
        "-T",
        "-f",
        str(config),
        "-C",
        f"user={account},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise Unavailable(
            "sshd-config",
            f"sshd does not take its configuration: {done.stderr.strip()[-300:]}",
            hint=f"{sshd} -t -f {config}",
        )
    found: dict[str, str] = {}
    taken_over = []
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, value)
        if name == "acceptenv":
            taken_over += value.split()
    wanted = _wanted(program, user=user, observes=observes)
    others = tuple(
        f"{name} {value}, found `{found.get(name.lower(), 'nothing')}`"
        for name, value in wanted.items()
        if found.get(name.lower()) not in (value, _SAID_OTHERWISE.get(value, value))
    )
    harmful = () if observes else harmful_variables(taken_over)
    return (*others, *(f"AcceptEnv without `{name}`, which a client could set" for name in harmful))


def conditional(config: Path, *, program: Path, user: str, observes: bool) -> tuple[str, ...]:
    """The settings that sshd would not use for some connections, whatever tells these apart (`Match`); as `effective`."""
    wanted = _wanted(program, user=user, observes=observes)
    return said_for_some(config, wanted, environment=not observes)


def _wanted(program: Path, *, user: str, observes: bool) -> dict[str, str]:
    asked = {"AuthorizedKeysCommand": command(program), "AuthorizedKeysCommandUser": user}
    return asked if observes else {**asked, **SETTINGS}
