"""What listens on a running machine: real sockets of real processes, in a network and among processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.adapters.scans.host_tree import HostFiles
from keyturn.errors import Unavailable
from keyturn.standing.finding import Finding, gathered
from keyturn.standing.host.accounts import Accounts
from keyturn.standing.host.logins import scan_logins
from keyturn.standing.host.tree import Listener
from support.host_image import made_image

STORY = """
import socket
from pathlib import Path
from keyturn.adapters.scans.host_tools import InstalledTools
from keyturn.adapters.scans.host_tree import HostFiles
held = []
for address, port in (("0.0.0.0", 2323), ("::", 2424), ("127.0.0.1", 2525)):
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    one.bind((address, port))
    one.listen()
    held.append(one)
for found in sorted(InstalledTools(HostFiles(Path("/"))).listeners(), key=lambda one: one.port):
    print(found.address, found.port, found.uid, Path(found.program).name.startswith("python"), found.words[1])
"""


def test_what_others_reach_is_found_with_the_process_that_holds_it() -> None:
    apart = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", 'ip link set lo up; exec "$@"', "-"]
    done = subprocess.run([*apart, sys.executable, "-c", STORY], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0.0.0.0 2323 0 True -c", ":: 2424 0 True -c"]


class Running(HostFiles):
    """An image that is looked at as if it ran."""

    live = True  # type: ignore[assignment]  # a property there


class Heard:
    """What listens, as it was heard, or why it was not."""

    def __init__(self, listeners: Sequence[Listener], *, refuses: bool = False) -> None:
        self._listeners = listeners
        self._refuses = refuses

    def listeners(self) -> Sequence[Listener]:
        if self._refuses:
            raise Unavailable("scan-listeners", "cannot read what listens", hint="run it as root")
        return self._listeners

    def sshd(self, *, user: str, address: str) -> str:
        raise Unavailable("scan-tool-missing", f"nobody asks about {user} from {address}")

    def sudoers(self, text: bytes) -> bytes:
        raise Unavailable("scan-tool-missing", f"nobody asks about {text!r}")


def heard(tmp_path: Path, *listeners: Listener, refuses: bool = False) -> tuple[Finding, ...]:
    made_image(tmp_path / "gpu1")
    with closing(Running(tmp_path / "gpu1")) as tree:
        return gathered(scan_logins(tree, Heard(listeners, refuses=refuses), Accounts((), {}))).findings


@pytest.mark.parametrize(
    ("listener", "is_door"),
    [
        (Listener("0.0.0.0", 23, 0, "/usr/sbin/inetd", ("inetd",)), True),
        (Listener("0.0.0.0", 4444, 1000, "/usr/bin/ncat", ("ncat", "-le", "/bin/sh\x1b[2J")), True),
        (Listener("0.0.0.0", 2222, 0, "/usr/sbin/sshd", ("sshd", "-f", "/tmp/x")), True),
        (Listener("::", 8080, 0, "/tmp/x (deleted)", ("[kworker]",)), True),
        (Listener("0.0.0.0", 22, 0, "/usr/sbin/sshd", ("sshd", "-D")), False),
        (Listener("0.0.0.0", 443, 33, "/usr/sbin/nginx", ("nginx",)), False),
    ],
    ids=["by its port", "by its program", "another sshd", "a program that was deleted", "sshd", "a server"],
)
def test_a_shell_that_listens_is_a_door_and_a_server_is_not(tmp_path: Path, listener: Listener, is_door: bool) -> None:
    found = heard(tmp_path, listener)
    assert [one.code for one in found] == ["remote-shell"] * is_door
    assert all(one.opens.isprintable() for one in found)


def test_what_could_not_be_heard_is_a_finding(tmp_path: Path) -> None:
    assert [one.severity for one in heard(tmp_path, refuses=True)] == ["unknown"]
