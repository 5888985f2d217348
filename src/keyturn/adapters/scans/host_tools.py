"""Ask sshd and sudo's parser what a host's configuration means, and the kernel what listens. `standing.host.tree.HostTools`.

An image may be of another machine: its configuration is copied into a directory of its own, by the rules of `HostFiles`, and sshd
reads it there in a sandbox (bubblewrap) that has this machine's /usr, the image's configuration and accounts, and nothing else:
no network, no key of the host. sshd gets a host key that is made for this one question.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from keyturn.errors import Unavailable
from keyturn.standing.host.tree import HostTree, Listener

__all__ = ["InstalledTools"]

_WITHIN_S = 20.0
_ANSWER_BYTES_MAX = 1 << 20
_FILES_MAX = 500
_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class InstalledTools:
    """The programs of this machine, about the host of `tree`. Close it: its sandbox's files go with it."""

    def __init__(self, tree: HostTree) -> None:
        self._tree = tree
        self._place: Path | None = None

    def close(self) -> None:
        """Remove what was copied."""
        if self._place is not None:
            shutil.rmtree(self._place)

    def sshd(self, *, user: str, address: str) -> str:
        sshd, bwrap = _program("sshd", "openssh-server"), _program("bwrap", "bubblewrap")
        if self._place is None:
            self._place = self._copied()
        if any(c in user for c in ",="):
            raise Unavailable(
                "scan-sshd", f"sshd cannot be asked about an account named `{user[:40]}`", hint="usermod --login"
            )
        inside = "--unshare-all --die-with-parent --new-session --uid 0 --gid 0 --ro-bind /usr /usr --dir /run/sshd"
        links = [word for name in ("bin", "sbin", "lib", "lib64") for word in ("--symlink", f"usr/{name}", f"/{name}")]
        there = [
            "--ro-bind",
            str(self._place / "tree" / "etc"),
            "/etc",
            "--ro-bind",
            str(self._place / "key"),
            "/run/key",
        ]
        asked = f"user={user},host={address},addr={address},laddr=127.0.0.1,lport=22"
        words = [
            *_without_capabilities(),
            bwrap,
            *inside.split(),
            *links,
            *there,
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            *self._elsewhere(),
        ]
        words += [sshd, "-T", "-h", "/run/key", "-C", asked]
        return _run("sshd", words, b"").decode("utf-8", "replace")

    def sudoers(self, text: bytes) -> bytes:
        return _run("cvtsudoers", [_program("cvtsudoers", "sudo"), "-f", "json", "-"], text)

    def listeners(self) -> Sequence[Listener]:
        try:
            return tuple(_listeners())
        except OSError as err:
            raise Unavailable(
                "scan-listeners", f"cannot read what listens: {err.strerror}", hint="run it as root"
            ) from err

    def _copied(self) -> Path:
        place = Path(tempfile.mkdtemp(prefix="keyturn-scan-"))
        tree = place / "tree"
        (tree / "etc").mkdir(parents=True)
        wanted = ["/etc/ssh/sshd_config", "/etc/passwd", "/etc/group"]
        try:
            wanted += [f"/etc/ssh/sshd_config.d/{name}" for name in self._tree.names("/etc/ssh/sshd_config.d")]
        except OSError:
            pass  # none, or the scanner says that it could not be looked into
        done: set[str] = set()
        while wanted:
            path = wanted.pop()
            if path in done or len(done) > _FILES_MAX or "/../" in path:
                continue
            done.add(path)
            try:
                content = self._tree.read(path)
            except OSError:
                continue
            target = tree / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            if path not in ("/etc/passwd", "/etc/group"):
                wanted += self._included(content)
        (tree / "etc" / "nsswitch.conf").write_text("passwd: files\ngroup: files\n")
        passwd = tree / "etc" / "passwd"
        known = passwd.read_bytes() if passwd.exists() else b""
        if b"\nsshd:" not in b"\n" + known:  # it does not start without
            passwd.write_bytes(known + b"\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
        key = place / "key"
        _run("ssh-keygen", [_program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key], b"")
        return place

    def _included(self, content: bytes) -> Iterator[str]:
        """The files that `Include` names, patterns resolved: sshd passes over those that are not there."""
        for line in content.decode("utf-8", "surrogateescape").splitlines():
            words = line.strip().replace("=", " ", 1).replace('"', " ").split()
            if not words or words[0].lower() != "include":
                continue
            for word in words[1:]:
                path = word if word.startswith("/") else f"/etc/ssh/{word}"
                directory, _, name = path.rpartition("/")
                if not any(c in name for c in "*?["):
                    yield path
                    continue
                try:
                    inside = self._tree.names(directory)
                except OSError:
                    continue
                yield from (f"{directory}/{one}" for one in inside)

    def _elsewhere(self) -> Iterator[str]:
        """What the configuration includes from outside /etc."""
        assert self._place is not None
        for path in sorted((self._place / "tree").iterdir()):
            if path.name not in ("etc", "usr", "bin", "sbin", "lib", "lib64", "run", "dev", "proc"):
                yield from ("--ro-bind", str(path), f"/{path.name}")


def _without_capabilities() -> tuple[str, ...]:
    """What a scan may read by a capability, sshd need not, and bubblewrap refuses to start with any."""
    if os.geteuid() == 0:
        return ()
    return (_program("setpriv", "util-linux"), "--ambient-caps", "-all", "--inh-caps", "-all")


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=_ENV["PATH"])
    if found is None:
        raise Unavailable(
            "scan-tool-missing",
            f"`{name}` says what that means, and is not installed here",
            hint=f"apt-get install {package}",
        )
    return found


def _run(name: str, words: Sequence[str | Path], stdin: bytes) -> bytes:
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, env=_ENV, timeout=_WITHIN_S, start_new_session=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise Unavailable("scan-tool-failed", f"`{name}` did not answer", hint="try again", detail=str(err)) from err
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode != 0 or len(done.stdout) > _ANSWER_BYTES_MAX:
        first = (said.splitlines() or [f"it exited with {done.returncode}"])[0]
        raise Unavailable(
            "scan-tool-failed",
            f"`{name}` cannot read it: {first[:200]}",
            hint=f"look at it with `{name}` itself",
            detail=said,
        )
    return done.stdout


def _open_files(process: Path) -> set[str]:
    """What the descriptors of `process` lead to; those that were closed meanwhile are none."""
    found = set()
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(descriptor.readlink()))
    return found


def _listeners() -> Iterator[Listener]:
    """The sockets in LISTEN that others reach, with the process that holds each."""
    sockets: dict[str, tuple[str, int]] = {}
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            raw, port = fields[1].split(":")
            address = socket.inet_ntop(
                family, b"".join(struct.pack("=I", int(raw[at : at + 8], 16)) for at in range(0, len(raw), 8))
            )
            if fields[3] == "0A" and not address.startswith("127.") and address != "::1":
                sockets[f"socket:[{fields[9]}]"] = (address, int(port, 16))
    for process in sorted(path for path in Path("/proc").iterdir() if path.name.isdecimal()) if sockets else ():
        try:
            held = _open_files(process) & sockets.keys()
            if held:
                words = (process / "cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
                for one in held:
                    where, number = sockets.pop(one)
                    yield Listener(
                        where, number, process.stat().st_uid, str((process / "exe").readlink()), tuple(words)
                    )
        except FileNotFoundError:
            continue  # it ended
        except PermissionError as err:
            raise OSError(err.errno, "another user's processes hold sockets") from err
    for where, number in sockets.values():
        yield Listener(where, number, 0, "?", ("held by no process that can be seen",))
