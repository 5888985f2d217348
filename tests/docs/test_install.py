"""The systemd part of docs/guide/install.md is run as it stands, in a directory that stands for the machine's root.

No systemd is process 1 here, and nobody's machine gets users of Keyturn: `systemctl` verifies a unit with `systemd-analyze` and
runs its command under `tests/packaging/confined.py`, `systemd-sysusers` is the real one below that root, and ownership is left
out.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from support.pages import run_page
from support.tls_proxy import free_port

ROOT = Path(__file__).resolve().parents[2]
CONFINED = ROOT / "tests" / "packaging" / "confined.py"
SYSTEMCTL = f"""#!{sys.executable}
import pathlib, re, shlex, subprocess, sys, time, urllib.request

root = pathlib.Path(@ROOT@)
units = root / "etc/systemd/system"

def verified(unit):
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), done

if sys.argv[1] == "daemon-reload":
    for unit in units.glob("*.service"):
        text = re.sub(r"/(opt|var/lib|srv)/keyturn", lambda found: f"{{root}}{{found[0]}}", unit.read_text())
        for here, there in @PORTS@.items():
            text = text.replace(f"--port {{here}}", f"--port {{there}}")
        unit.write_text(text)
        verified(unit)
else:
    assert sys.argv[1:3] == ["enable", "--now"], sys.argv
    name, _, instance = sys.argv[3].partition("@")
    unit = units / (f"{{name}}@.service" if instance else f"{{name}}.service")
    command = shlex.split(re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)[1].replace("%i", instance))
    port = command[command.index("--port") + 1]
    with (root / f"{{sys.argv[3]}}.log").open("w") as log:
        words = [sys.executable, {str(CONFINED)!r}, str(unit), *command]
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=root)
    with (root / "pids").open("a") as pids:
        pids.write(f"{{child.pid}}\\n")
    for _ in range(300):
        assert child.poll() is None, pathlib.Path(log.name).read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{{port}}/health", timeout=5).read()
            print("started", sys.argv[3])
            break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit(pathlib.Path(log.name).read_text())
"""
PROGRAMS = {
    "systemctl": SYSTEMCTL,
    "systemd-sysusers": '#!/bin/sh\nexec /usr/bin/systemd-sysusers --root=@ROOT@ "$@"\n',
    "runuser": '#!/bin/sh\nshift 3\nexec "$@"\n',
    "chown": "#!/bin/sh\n",
    "apt-get": "#!/bin/sh\nwhich bwrap\n",
    "install": (
        f"#!{sys.executable}\nimport os, sys\nwords, skip = [], False\n"
        "for word in sys.argv[1:]:\n    if not skip and word not in ('-o', '-g'): words.append(word)\n"
        "    skip = word in ('-o', '-g')\nos.execv('/usr/bin/install', ['install', *words])\n"
    ),
}


@pytest.mark.timeout(240)
def test_the_units_are_installed_and_their_processes_work_as_it_is_written(tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze"), "apt-get install systemd, as ./bootstrap --tests does"
    root, programs = tmp_path / "root", tmp_path / "programs"
    for there in ("etc/sysusers.d", "etc/systemd/system", "var/lib", "srv", "opt/keyturn/bin"):
        (root / there).mkdir(parents=True)
    (root / "opt/keyturn/bin/keyturn").symlink_to(Path(sys.prefix) / "bin" / "keyturn")
    ports = {port: str(free_port()) for port in ("8740", "8741", "8742", "8743")}
    programs.mkdir()
    for name, text in PROGRAMS.items():
        quoted = repr(str(root)) if name == "systemctl" else str(root)
        (programs / name).write_text(text.replace("@ROOT@", quoted).replace("@PORTS@", repr(ports)))
        (programs / name).chmod(0o755)
    places = {f"/{name}/": f"{root}/{name}/" for name in ("opt", "etc", "var", "srv")}
    try:
        said = run_page(
            "guide/install.md",
            tmp_path,
            programs=programs,
            changed={**ports, **places, "packaging/systemd": str(ROOT / "packaging" / "systemd")},
            timeout_s=200,
        )
    finally:
        for pid in (root / "pids").read_text().split() if (root / "pids").exists() else ():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
    for words in (
        "started keyturn-witness@north",
        "started keyturn-service",
        "started keyturn-gate@release",
        "started keyturn-builder",
        "acme.example/log",
    ):
        assert words in said, f"{words}\n\n{said}"
    assert said.count('{"status":"pass","version":') == len(ports)
    assert "keyturn-gate" in (root / "etc" / "passwd").read_text()
