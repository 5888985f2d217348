"""The files of a Debian host in a directory: real ones of this machine, in which nothing stands open yet."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.scans.host_tools import InstalledTools
from keyturn.adapters.scans.host_tree import HostFiles
from keyturn.standing.finding import Finding, Scan
from keyturn.standing.host import scan_host

__all__ = ["HostImage", "close", "made_image"]

PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
ada:x:1000:1000:Ada:/home/ada:/bin/bash
bob:x:1001:1001:Bob:/home/bob:/bin/bash
"""
GROUP = "root:x:0:\ndaemon:x:1:\nsudo:x:27:\nshadow:x:42:\ndocker:x:900:\nada:x:1000:\nbob:x:1001:\nnogroup:x:65534:\n"
SHADOW = "root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\nada:!:20000:0:99999:7:::\nbob:*:20000:0:99999:7:::\n"
SSHD = "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\nUsePAM yes\n"
PACKAGES = ("passwd", "login", "mount", "sudo")


@dataclass(frozen=True)
class HostImage:
    """A host that does not run; paths are its own."""

    root: Path

    def write(self, path: str, text: str | bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.chown(place, uid, gid)
        place.chmod(mode)
        return place

    def add(self, path: str, text: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a") as file:
            file.write(text)

    def scan(self) -> Scan:
        with closing(HostFiles(self.root)) as tree, closing(InstalledTools(tree)) as tools:
            return scan_host(tree, tools)

    def found(self, code: str) -> list[Finding]:
        return [one for one in self.scan().findings if one.code == code]


def made_image(root: Path) -> HostImage:
    """Make one in the directory `root`; tests that need it run as root, since files have owners."""
    image = HostImage(root)
    for path, text in (("passwd", PASSWD), ("group", GROUP), ("nsswitch.conf", "passwd: files systemd\n")):
        image.write(f"/etc/{path}", text)
    image.write("/etc/shadow", SHADOW, mode=0o640, gid=42)
    image.write("/etc/gshadow", "root:*::\n", mode=0o640)
    image.write("/etc/ssh/sshd_config", f"Include /etc/ssh/sshd_config.d/*.conf\n{SSHD}")
    image.write("/etc/sudoers", "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n", mode=0o440)
    for directory in (
        "etc/ssh/sshd_config.d",
        "etc/sudoers.d",
        "home/ada/.ssh",
        "home/bob/.ssh",
        "root/.ssh",
        "usr/local/bin",
    ):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for name, uid in (("ada", 1000), ("bob", 1001)):
        for place in (root / "home" / name, root / "home" / name / ".ssh"):
            os.chown(place, uid, uid)
    for package in PACKAGES:
        for kind in ("md5sums", "list"):
            there = Path("/var/lib/dpkg/info") / f"{package}.{kind}"
            image.write(str(there), there.read_bytes())
        for line in (Path("/var/lib/dpkg/info") / f"{package}.list").read_text().splitlines():
            real = Path(line) if line.startswith("/usr/") else Path(f"/usr{line}")
            if real.is_file() and not real.is_symlink() and real.stat().st_mode & 0o6000:
                there = root / str(real).lstrip("/")
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(real, there)
                os.chown(there, real.stat().st_uid, real.stat().st_gid)
                there.chmod(real.stat().st_mode & 0o7777)
    return image


def close(finding: Finding) -> None:
    """Type the command that closes a door."""
    done = subprocess.run(["bash", "-euc", finding.close], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, (finding.close, done.stderr)
