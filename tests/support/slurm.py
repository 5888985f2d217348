"""A cluster of two nodes on this machine: munged, slurmctld and two slurmd of Debian, with places and ports of their own.

The controller and its hooks run as SlurmUser, who is not root and owns nothing else; the nodes run as root, and jobs as `nobody`,
who can read neither the lab nor the builder's key. So this needs root, and says so.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.processes import Process, running, wait_for

__all__ = ["JOB_USER", "SLURM_USER", "Cluster", "as_slurm_user", "cluster", "install_hooks"]

JOB_USER = pwd.getpwnam("nobody")
SLURM_USER = pwd.getpwnam("daemon")
NODES = 2
ROOT = Path(__file__).parents[2]
PROGRAMS = ("/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/bin/sbatch")


@dataclass
class Cluster:
    place: Path
    _until: ExitStack
    _controller: Process | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "SLURM_CONF": str(self.place / "slurm.conf")}

    def ask(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, work: Path, *words: str) -> str:
        """Submit a batch job as `nobody`, in `work`; its number."""
        done = subprocess.run(
            ["sbatch", "--parsable", f"--output={work}/%j.said", *words],
            env=self.environment,
            cwd=work,
            user=JOB_USER.pw_uid,
            group=JOB_USER.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def state(self, job: str) -> str:
        return self.ask("squeue", "--noheader", "--states", "all", "--jobs", job, "--format", "%T").strip()

    def wait(self, job: str, *states: str) -> None:
        wait_for(f"job {job} to be {states}", lambda: self.state(job) in states or None)

    def why(self, job: str) -> str:
        """What the controller's prolog said to the job's user."""
        return self.ask("scontrol", "show", "job", job)

    @property
    def said(self) -> str:
        """What the hooks said."""
        path = self.place / "controller" / "hooks.log"
        return path.read_text() if path.exists() else ""

    def start_controller(self) -> None:
        words = [*_as_slurm_user(self.place), "/usr/sbin/slurmctld", "-D"]
        self._controller = self._until.enter_context(running(words, environment=self.environment))
        wait_for("the controller", lambda: self._answers("scontrol", "ping") or None, self._controller)

    def stop_controller(self) -> None:
        """End it as an operator does: jobs go on, and so does what its hooks left running."""
        assert self._controller is not None
        self._controller.stop()

    def _answers(self, *words: str) -> bool:
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        return done.returncode == 0 and "is UP" in done.stdout

    def idle(self) -> bool:
        states = self.ask("sinfo", "--noheader", "--Node", "--format=%T").split()
        return states == ["idle"] * NODES


def install_hooks(here: Cluster, *, lab: Path, environment: Mapping[str, str]) -> None:
    """Install the hooks of packaging/slurm/ for the builder of `lab`, and have the controller run them."""
    hooks = here.place / "hooks"
    hooks.mkdir()
    for name in ("prolog", "epilog"):
        shutil.copy(ROOT / "packaging" / "slurm" / name, hooks / name)
    values = {**environment, "SLURM_CONF": here.environment["SLURM_CONF"]}
    settings = "".join(f"export {name}='{value}'\n" for name, value in values.items())
    program = Path(sys.executable).with_name("keyturn")
    log = here.place / "controller" / "hooks.log"
    (hooks / "environment").write_text(f"{settings}KEYTURN='{program}'\nLAB='{lab}'\nLOG='{log}'\n")
    with (here.place / "slurm.conf").open("a") as conf:
        conf.write(f"PrologSlurmctld={hooks}/prolog\nEpilogSlurmctld={hooks}/epilog\n")


@contextmanager
def cluster(place: Path, *, lab: Path | None = None, environment: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Start a cluster in the new directory `place`, with hooks for the builder of `lab`; stop it with all its jobs."""
    assert os.geteuid() == 0, "a cluster has a controller, nodes and jobs of three users: run this test as root"
    missing = [program for program in PROGRAMS if not os.access(program, os.X_OK)]
    assert not missing, f"{missing} are missing: ./bootstrap --tests installs them"
    for name in ("munge", "controller"):
        (place / name).mkdir(parents=True)
    place.chmod(0o755)
    os.chown(place / "controller", SLURM_USER.pw_uid, SLURM_USER.pw_gid)
    key = place / "munge.key"
    key.write_bytes(os.urandom(64))
    key.chmod(0o600)
    _write_conf(place)
    munge = [f"--{name}={place}/munge/{name}" for name in ("pid-file", "log-file", "seed-file")]
    munged = ["/usr/sbin/munged", "--force", "--foreground", f"--socket={place}/munge/s", f"--key-file={key}", *munge]
    with ExitStack() as stack:
        here = Cluster(place, stack)
        if lab is not None:
            install_hooks(here, lab=lab, environment=environment or {})
        first = stack.enter_context(running(munged, environment={}))
        wait_for("munged's socket", lambda: (place / "munge" / "s").exists() or None, first)
        here.start_controller()
        for number in range(1, NODES + 1):
            (place / f"n{number}").mkdir()
            node = ["/usr/sbin/slurmd", "-D", "-N", f"n{number}"]
            stack.enter_context(running(node, environment=here.environment))
        wait_for("idle nodes", lambda: here.idle() or None)
        try:
            yield here
        finally:
            here.ask("scancel", f"--user={JOB_USER.pw_name}")
            wait_for("an empty queue", lambda: not here.ask("squeue", "--noheader").strip() or None)


def _write_conf(place: Path) -> None:
    host, (controller, *ports) = socket.gethostname(), _free_ports(1 + NODES)
    (place / "slurm.conf").write_text(
        f"""ClusterName=t
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={place}/munge/s,cred_expire=5
CredType=cred/munge
SlurmUser={SLURM_USER.pw_name}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
StateSaveLocation={place}/controller
SlurmctldPidFile={place}/controller/pid
SlurmctldLogFile={place}/controller/log
SlurmdSpoolDir={place}/%n
SlurmdPidFile={place}/%n/pid
SlurmdLogFile={place}/%n/log
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
KillWait=1
SlurmctldTimeout=10
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
NodeName=n[1-{NODES}] NodeHostname={host} NodeAddr=127.0.0.1 Port={",".join(map(str, ports))} CPUs=2
PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
    )


def as_slurm_user(here: Cluster) -> list[str]:
    """Words with which SlurmUser types `keyturn`."""
    return [*_as_slurm_user(here.place), str(Path(sys.executable).with_name("keyturn"))]


def _as_slurm_user(place: Path) -> list[str]:
    """Words before a command that run it as SlurmUser, for whom this Python may lie where only root gets in: as below /root."""
    user = ["setpriv", "--reuid", SLURM_USER.pw_name, "--regid", str(SLURM_USER.pw_gid), "--clear-groups", "--"]
    needed = [path for path in (Path(sys.base_prefix), ROOT) if _closed(path)]
    if not needed:
        return user
    script = []
    for number, path in enumerate(needed):
        script += [
            f"mkdir -p {place}/through-{number}",
            f"mount --bind {shlex.quote(str(path))} {place}/through-{number}",
        ]
    script += [f"mount -t tmpfs -o mode=755 none {shlex.quote(str(path))}" for path in {_closed(one) for one in needed}]
    for number, path in enumerate(needed):
        script += [
            f"mkdir -p {shlex.quote(str(path))}",
            f"mount --bind {place}/through-{number} {shlex.quote(str(path))}",
        ]
    return ["unshare", "--mount", "sh", "-ec", "\n".join([*script, 'exec "$@"']), "sh", *user]


def _closed(path: Path) -> Path | None:
    """The first directory on the way to `path` that lets nobody else through."""
    return next((one for one in reversed((path, *path.parents)) if not one.stat().st_mode & 0o001), None)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
