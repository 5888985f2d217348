"""A cluster of one node: munged, slurmctld and slurmd of Debian, with a socket, a key, ports and directories of their own.

The controller's prolog and epilog are those of packaging/slurm/, as they are installed. It runs as root, as the tests do, and
jobs run as `nobody`, who can read neither the lab nor the builder's key.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.processes import running, wait_for

__all__ = ["JOB_USER", "Cluster", "cluster"]

JOB_USER = pwd.getpwnam("nobody")
PACKAGED = Path(__file__).parents[2] / "packaging" / "slurm"


@dataclass
class Cluster:
    place: Path

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
    def log(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.place.glob("*.log"))


@contextmanager
def cluster(place: Path, *, lab: Path, environment: Mapping[str, str]) -> Iterator[Cluster]:
    """Start a cluster in the new directory `place`, whose hooks run for the builder of `lab`; stop it with all its jobs."""
    here, host = Cluster(place), socket.gethostname()
    for name in ("munge", "spool", "state", "hooks"):
        (place / name).mkdir(parents=True)
    place.chmod(0o755)
    key = place / "munge.key"
    key.write_bytes(os.urandom(64))
    key.chmod(0o600)
    settings = "".join(f"export {name}='{value}'\n" for name, value in {**environment, **here.environment}.items())
    for name in ("prolog", "epilog"):
        hook = place / "hooks" / name
        shutil.copy(PACKAGED / name, hook)
    (place / "hooks" / "environment").write_text(
        f"{settings}KEYTURN='{Path(sys.executable).with_name('keyturn')}'\nLAB='{lab}'\nLOG='{place}/hooks.log'\n"
    )
    controller, node = _free_ports(2)
    (place / "slurm.conf").write_text(
        f"""ClusterName=t
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={place}/munge/s
CredType=cred/munge
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/ctld.pid
SlurmdPidFile={place}/d.pid
SlurmctldLogFile={place}/ctld.log
SlurmdLogFile={place}/d.log
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
KillWait=1
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0
PrologSlurmctld={place}/hooks/prolog
EpilogSlurmctld={place}/hooks/epilog
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=2
PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
    )
    munge = [f"--{name}={place}/munge/{name}" for name in ("pid-file", "log-file", "seed-file")]
    munged = ["/usr/sbin/munged", "--force", "--foreground", f"--socket={place}/munge/s", f"--key-file={key}", *munge]
    with running(munged, environment={}) as first:
        wait_for("munged's socket", lambda: (place / "munge" / "s").exists() or None, first)
        with (
            running(["/usr/sbin/slurmctld", "-D"], environment=here.environment),
            running(["/usr/sbin/slurmd", "-D", "-N", "n1"], environment=here.environment),
        ):
            wait_for("an idle node", lambda: _is_idle(here) or None)
            try:
                yield here
            finally:
                here.ask("scancel", f"--user={JOB_USER.pw_name}")
                wait_for("an empty queue", lambda: not here.ask("squeue", "--noheader").strip() or None)


def _is_idle(here: Cluster) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=here.environment, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() == "idle"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
