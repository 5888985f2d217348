"""The units of systemd are right, as tight as they say, and what they forbid is nothing that the processes need.

`systemd-analyze` reads the units; no systemd runs here, so the system call filter and W^X are laid on the processes as systemd
would, through the same libseccomp, and so is the loss of every capability, under another user.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.bastions import bastion_before
from support.builders import RUNTIME
from support.host_image import made_image
from support.hosts import hosts_lab
from support.processes import running, wait_for

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "packaging" / "systemd").glob("*.service"))
SCAN = ROOT / "packaging" / "systemd" / "keyturn-scan.service"
HOST = ROOT / "packaging" / "systemd" / "keyturn-host.service"
BASTION = ROOT / "packaging" / "systemd" / "keyturn-bastion.service"
SERVING = [unit for unit in UNITS if unit not in (SCAN, HOST, BASTION)]
GUIDE = (ROOT / "docs" / "guide" / "install.md").read_text(encoding="utf-8")
CONFINED = Path(__file__).with_name("confined.py")
EXPOSURE_MAX = {"keyturn-builder.service": 35, "keyturn-scan.service": 45, "keyturn-host.service": 35}
"""Tenths, of 100; the builder needs namespaces and mounts for its sandbox, a scan reads what root reads, a
host gate ends what root runs. Everybody else: 15."""

STORY = """
HERE=$PWD
export KEYTURN_LAB="$HERE/lab"
as() { local home=$1; shift; KEYTURN_HOME="$HERE/$home" keyturn "$@"; }
confined() { python "$CONFINED" "$UNITS/$1" keyturn "${@:2}" > "$1.said" 2>&1 & RUNNING="${RUNNING-} $!"; }
trap 'kill $RUNNING || true; wait; tail -n 5 *.said' EXIT
as ada init lab --profile demo --name acme.example --member ada --group research
as ada trust invite bob --new-group owners
as bob trust accept bob.invitation.json
mkdir -p lab/trust/draft/policy work/import/found
printf 'version = 1\\n[[resources]]\\nuri = "keyturn://acme.example/model/toy"\\n' > lab/trust/draft/resources.toml
cat > lab/trust/draft/policy/release.cedar <<'END'
@id("release") @quorum("1 owners") @pending_max("8h")
permit (principal in Group::"research", action == Action::"model:release", resource == Model::"toy");
END
as ada trust propose --acceptance bob.acceptance.json > proposed
as ada trust sign --yes
as bob trust sign --yes > signed
as ada trust publish
for who in ada bob; do as $who trust pin "$(sha256sum lab/trust/root.json | cut -d' ' -f1)"; done
as ada builder init --work work $RUNTIMES
export KEYTURN_HOME="$HERE/ada"
confined keyturn-witness@.service witness serve north
confined keyturn-service.service serve
confined keyturn-builder.service builder serve
confined keyturn-gate@.service gate serve release
as ada gate local init vault --door try --action procedure:run --resource procedure/try \\
    --user 1000 --socket "$HERE/ask/v.sock"
confined keyturn-gate-local@.service gate local run vault
as ada notify init
confined keyturn-notify.service notify serve
for name in witness-north service builder gate-release gate-vault notify; do
  until test -e lab/run/$name.json; do sleep 0.1; for one in $RUNNING; do kill -0 "$one"; done; done
done
ASKED=req-00000000000000000000000000000000
curl -sS --unix-socket ask/v.sock -H 'Content-Type: text/plain' -d $ASKED http://gate/doors/try > asked.said
grep '"code"' asked.said && ! grep door-not-for-user asked.said     # whoever runs this is user 1000 there
echo weights > work/import/found/model.bin
cat > work/import/STEP.toml <<END
version = 1
name = "import"
build_type = "ingest"
command = ["sh", "-c", "mkdir /out/model; cat /in/found/model.bin > /out/model/weights.bin"]
[[inputs]]
name = "found"
source = "found"
digest = "$(keyturn step digest work/import/found)"
mount = "/in/found"
[[outputs]]
name = "model"
path = "/out/model"
[sandbox]
runtime = $RUNTIME
timeout_s = 60
END
as ada run work/import/STEP.toml --yes
REQUEST=$(as ada release work/import/out/model --as model/toy --reason try --yes | grep -o -m1 'req-[0-9a-f]*' | head -n 1)
as bob approve "$REQUEST" --reason agreed --yes
as ada release work/import/out/model --request "$REQUEST"
grep -H -E '^(NoNewPrivs|CapBnd|CapEff|Seccomp):' $(printf '/proc/%s/status ' $RUNNING)
"""

NAMES = [unit.name for unit in UNITS]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f eve\n"


def analyze(*words: str) -> str:
    assert shutil.which("systemd-analyze"), "apt-get install systemd, as ./bootstrap --tests does"
    done = subprocess.run(
        ["systemd-analyze", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The units with a program that is there: systemd looks for it."""
    for unit in UNITS:
        text = unit.read_text(encoding="ascii").replace("/opt/keyturn/bin/keyturn", f"{sys.prefix}/bin/keyturn")
        (tmp_path / unit.name).write_text(text, encoding="ascii")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_nothing_wrong_with_a_unit(here: Path, name: str) -> None:
    assert analyze("verify", "--man=no", "--recursive-errors=no", str(here / name)) == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_is_as_tight_as_its_process_allows(here: Path, name: str) -> None:
    analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX.get(name, 15)}", str(here / name))


@pytest.mark.parametrize("unit", [*SERVING, BASTION], ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_of_ours_as_a_user_of_its_own(unit: Path) -> None:
    text = unit.read_text(encoding="ascii")
    (user,) = re.findall(r"^User=(.+)$", text, re.MULTILINE)
    assert f"u {user} " in unit.with_name("keyturn.sysusers").read_text(encoding="ascii")
    (command,) = re.findall(r"^ExecStart=/opt/keyturn/bin/keyturn ((?:\w+ )*(?:serve|run))", text, re.MULTILINE)
    assert f"## keyturn {command}" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for line in ("NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "UMask=0077"):
        assert f"\n{line}\n" in text
    assert unit.name in GUIDE


def test_what_logs_in_has_a_home_that_it_may_write_into() -> None:
    for name in ("gate@", "gate-local@", "builder", "notify"):
        text = SCAN.with_name(f"keyturn-{name}.service").read_text(encoding="ascii")
        (state,) = re.findall(r"^StateDirectory=(.+)$", text, re.MULTILINE)
        assert f"\nEnvironment=KEYTURN_HOME=/var/lib/{state}/home\n" in text


def test_the_users_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(ROOT / "packaging" / "systemd" / "keyturn.sysusers")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "etc" / "passwd").read_text().splitlines()
    users = {line.partition(":")[0] for line in made if line.startswith("keyturn-")}
    of_units = {unit.name.partition(".")[0].rstrip("@") for unit in UNITS}
    assert users == of_units | {"keyturn-gate-postgres"}, "whose unit is in docs/guide/databases.md"


def test_every_process_works_under_what_its_unit_forbids_and_a_step_runs_in_its_sandbox(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")} | {
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CONFINED": str(CONFINED),
        "UNITS": str(SCAN.parent),
        "RUNTIME": RUNTIME,
        "RUNTIMES": " ".join(f"--runtime {path}" for path in json.loads(RUNTIME)),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", STORY],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout
    assert "released dirHash:" in done.stdout
    for line in ("NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "CapEff:\t0000000000000000", "Seccomp:\t2"):
        assert done.stdout.count(line) == len(SERVING), done.stdout


def test_the_host_gate_is_root_with_four_rights_and_comes_back_at_once() -> None:
    text = HOST.read_text(encoding="ascii")
    for line in (
        "User=root",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_KILL CAP_SYS_PTRACE",
        "AmbientCapabilities=",
        "ProtectSystem=strict",
        "UMask=0077",
        "Restart=always",
        "ExecStart=/opt/keyturn/bin/keyturn gate host run",
        "Environment=KEYTURN_HOME=/var/lib/keyturn-host/home",
    ):
        assert f"\n{line}\n" in text
    assert "u keyturn-host " in HOST.with_name("keyturn.sysusers").read_text(encoding="ascii")
    assert HOST.name in GUIDE
    assert HOST.name in (ROOT / "docs" / "guide" / "hosts.md").read_text(encoding="utf-8")


def test_a_host_gate_lets_in_and_ends_under_what_its_unit_forbids(tmp_path: Path) -> None:
    with hosts_lab(tmp_path, names=("gpu1",)) as lab:
        host = lab.install("gpu1")
        gate = lab.start_gate(host, sys.executable, str(CONFINED), str(HOST))
        status = Path(f"/proc/{gate.pid}/status").read_text()
        for line in ("NoNewPrivs:\t1", "CapBnd:\t0000000000080023", "CapEff:\t0000000000080023", "Seccomp:\t2"):
            assert line in status
        lab.start_sshd(host)
        asked = lab.granted()
        mark = "7300001"
        left = f"setsid -f sleep {mark} >/dev/null 2>&1 </dev/null; echo in; exec sleep 600"
        with running(host.ssh(asked, "ktada", left, more=("-tt",))) as session:
            session.wait_for_line("in")
            lab.log.append(lab.revocation(asked))
            session.wait(deadline_s=30)
            assert "keyturn: this session ends" in session.output, "it may write to the terminal of another account"
        found = ["pgrep", "-f", f"sleep {mark}$"]
        wait_for("its background to end", lambda: not subprocess.run(found, capture_output=True).stdout or None)
        assert not host.opens(asked, "ktada")


def test_a_timer_starts_the_scan_daily_as_a_user_of_its_own_that_only_reads(here: Path) -> None:
    shutil.copy(SCAN.with_suffix(".timer"), here)
    assert analyze("verify", "--man=no", "--recursive-errors=no", str(here / "keyturn-scan.timer")) == ""
    text = SCAN.read_text(encoding="ascii")
    for line in (
        "User=keyturn-scan",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE",
        "AmbientCapabilities=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE",
        "ProtectSystem=strict",
        "UMask=0077",
        "ExecStart=/opt/keyturn/bin/keyturn scan host",
    ):
        assert f"\n{line}\n" in text
    assert SCAN.name in GUIDE
    assert "keyturn-scan.timer" in GUIDE


def test_a_scan_sees_what_root_sees_under_another_user_with_those_capabilities_alone(tmp_path: Path) -> None:
    image = made_image(tmp_path / "gpu1")
    image.write("/root/.ssh/authorized_keys", KEY, mode=0o600)
    image.write("/etc/sudoers.d/ops", "bob ALL=ALL\n", mode=0o400)
    image.add("/etc/ssh/sshd_config", "Match Group ada\n  PasswordAuthentication yes\n")
    (image.root / "root").chmod(0o700)
    home = tmp_path / "home"
    home.mkdir()
    shutil.chown(home, "nobody")
    may = "+dac_read_search,+sys_ptrace"
    as_the_unit = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs"]
    as_the_unit += ["--inh-caps", may, "--ambient-caps", may, "--bounding-set", f"-all,{may}"]
    done = subprocess.run(
        [*as_the_unit, sys.executable, "-m", "keyturn", "scan", "host", "--root", image.root, "--json"],
        env={"PATH": os.environ["PATH"], "KEYTURN_HOME": str(home), "HOME": str(home)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1, done.stderr
    assert {door["code"] for door in json.loads(done.stdout)["doors"]} == {"ssh-key", "sudo-rule", "ssh-passwords"}
    assert oct((home / "standing.json").stat().st_mode)[-3:] == "600"


def test_a_bastion_relays_and_records_under_what_its_unit_forbids(tmp_path: Path) -> None:
    with hosts_lab(tmp_path, names=("gpu1",), bastions=("front",)) as lab:
        bastion = bastion_before(lab, lab.host("gpu1", more=("--behind", "front=127.0.0.1/32")))
        assert bastion.process is not None
        bastion.process.stop()
        confined = bastion.start(sys.executable, str(CONFINED), str(BASTION))
        status = Path(f"/proc/{confined.pid}/status").read_text()
        for line in ("NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "CapEff:\t0000000000000000", "Seccomp:\t2"):
            assert line in status
        granted = bastion.granted()
        assert bastion.front().opens(granted, "ktada")
        assert bastion.recorded(1, of=granted)
