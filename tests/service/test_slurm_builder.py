"""Beside a real Slurm controller: a job starts as people signed it or not at all, and its provenance is not its own word."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from keyturn.adapters.files import run_files
from keyturn.adapters.files.config_files import replace_file
from keyturn.adapters.files.key_files import write_key
from keyturn.bulk import manifest
from keyturn.config import lab as lab_config
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import dsse, provenance
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import parse as parse_leaf
from keyturn.formats.provenance import Job, Provenance
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import log_reader
from support.builders import RUNTIME
from support.members import People
from support.processes import wait_for, wait_for_file
from support.slurm import JOB_USER, SLURM_USER, Cluster, as_slurm_user, cluster

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(300)]

JOB = """#!/bin/sh
mkdir {out}
cat data/a.txt > {out}/model
echo "$1" >> {out}/model
cat {key} >> {out}/model 2>/dev/null
srun --nodes=2 sh -c 'exit $SLURM_NODEID' || true
sleep 60 > /dev/null 2>&1 &
exit 0
"""
WAITS = "#!/bin/sh\nmkdir -p {out}\necho x > {out}/model\nwhile [ ! -e {out}.go ]; do sleep 0.05; done\n"
"""A job that ends when the test says so."""
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Beside:
    """A lab, a cluster whose controller has a builder beside it, and a directory that all of them see."""

    people: People
    here: Cluster
    work: Path
    lab: Path
    """The builder's own: SlurmUser's."""

    def reaches(self, service: str) -> None:
        """From now on the builder looks for the log at `service`."""
        path = self.lab / "keyturn.toml"
        replace_file(path, lab_config.render(replace(lab_config.parse(path.read_bytes()), service=service)))
        give(path, SLURM_USER.pw_uid)

    def ordered(self, name: str, *, script: str = JOB, words: str = '"a1"') -> str:
        """Ada orders the step `name`; the comment for its job."""
        key = self.lab / "builder" / "key"
        (self.work / f"{name}.sh").write_text(script.format(out=self.work / f"{name}.out", key=key))
        order = self.work / f"{name}.order"
        step = ("step", "order", str(a_step(self.work, name, words=words)), str(order), "--builder", "cluster")
        said = self.people.by("ada", *step, "--out", str(self.work / f"{name}.out"), "--yes")
        give(order)
        return f"--comment={said['comment']}"

    def refused(self, *words: str) -> str:
        """Submit what is cancelled before it starts; why."""
        job = self.here.submit(self.work, *words)
        self.here.wait(job, "CANCELLED")
        return self.here.why(job)

    def hook(self, *words: str) -> subprocess.CompletedProcess[str]:
        """SlurmUser types `keyturn builder slurm-...`."""
        command = [*as_slurm_user(self.here), *words, "--lab", str(self.lab)]
        environment = {**self.here.environment, "KEYTURN_HOME": str(self.work.parent / "nobody")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def steps(self) -> list[tuple[str, bytes]]:
        """What the log has of steps, in its order: kind and envelope."""
        with log_reader(find_lab(str(self.people.lab))) as reader:
            size = self.people.by("ada", "log", "show")["size"]
            found = [leaf for leaf in map(parse_leaf, reader.leaves(0, size)) if leaf.kind in ("stp", "prv")]
            return [(leaf.kind, reader.envelope(Sha256(leaf.envelope))) for leaf in found]

    def signed(self) -> list[Provenance]:
        return [provenance.read(dsse.parse_own(raw).payload) for kind, raw in self.steps() if kind == "prv"]

    def made(self, job: str) -> Provenance:
        """Wait for what the controller signs of `job`."""
        return wait_for(
            f"provenance of job {job}; the hooks said {self.here.said[-2000:]}",
            lambda: next((one for one in self.signed() if one.job is not None and one.job.id == job), None),
        )

    def kept(self, job: str) -> dict[str, Any]:
        """What the builder kept of a job for which it signed nothing."""
        path = self.lab / "builder" / "slurm" / f"{job}.failed"
        wait_for_file(path)
        return dict(json.loads(path.read_bytes()))


@pytest.fixture(scope="module")
def beside() -> Iterator[Beside]:
    place = Path(tempfile.mkdtemp(prefix="keyturn-slurm-"))
    place.chmod(0o755)  # others may pass through: SlurmUser, and the job's user
    people, work, lab = People(place), place / "work", place / "cluster-lab"
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    key = SoftwareKey.generate()
    draft = people.lab / "trust" / "draft" / "builders.toml"
    row = {"id": "cluster", "public": key.public.text, "level_max": 2, "operator": "bob"}
    draft.write_text(draft.read_text() + tomli_w.dumps({"builders": [row]}))
    people.publish()
    people.lab.chmod(0o700)
    (work / "data").mkdir(parents=True)
    (work / "data" / "a.txt").write_text("hello\n")
    give(work)
    people.by("ada", "builder", "init", "--work", str(work), "--runtime", "/usr")
    with people.served():
        write_key(lab / "builder" / "key", key, passphrase=None)
        shutil.copytree(people.lab / "trust", lab / "trust")
        config = lab_config.parse((people.lab / "keyturn.toml").read_bytes())
        service = run_files.find(people.lab / "run", "service")
        (lab / "keyturn.toml").write_bytes(lab_config.render(replace(config, service=service)))
        people.by("ada", "builder", "init", "cluster", "--work", str(work), "--runtime", "/usr", "--lab", str(lab))
        lab.chmod(0o700)
        for path in (lab, *lab.rglob("*")):
            give(path, SLURM_USER.pw_uid)
        environment = {"KEYTURN_HOME": str(place / "nobody")}
        with cluster(place / "slurm", lab=lab, environment=environment) as here:
            yield Beside(people, here, work, lab)
    shutil.rmtree(place)


def give(path: Path, user: int = JOB_USER.pw_uid) -> None:
    os.chown(path, user, -1)


def a_step(work: Path, name: str, *, words: str = '"a1"', data: str | None = None) -> Path:
    script = work / f"{name}.sh"
    path = work / f"{name}.toml"
    path.write_text(
        f'version = 1\nname = "{name}"\nbuild_type = "ingest"\ncommand = ["sbatch", "{script.name}", {words}]\n'
        f'[[inputs]]\nname = "data"\nsource = "data"\ndigest = "{manifest.make(work / "data").identity}"\nmount = "/in/data"\n'
        f'[[inputs]]\nname = "script"\nsource = "{script.name}"\ndigest = "sha256:{sha256(script.read_bytes())}"\n'
        f'mount = "/in/script"\nrole = "code"\n'
        f'[[outputs]]\nname = "model"\npath = "/out/model"\n[sandbox]\nruntime = {RUNTIME}\ntimeout_s = 20\n'
    )
    return path


def test_a_job_of_a_signed_order_runs_once_and_the_controller_signs_what_came_of_it(beside: Beside) -> None:
    people, here, work = beside.people, beside.here, beside.work
    comment, order = beside.ordered("first"), work / "first.order"
    (work / "other.sh").write_text((work / "first.sh").read_text() + "\n")
    idle = here.submit(work, "--wrap=exit 0")  # nobody's order: Slurm's own business

    assert "[job-script]" in beside.refused(comment, "other.sh", "a1")
    assert "[job-command]" in beside.refused(comment, "first.sh", "a2")
    assert "[job-image]" in beside.refused(comment, f"--container={work}", "first.sh", "a1")
    give(order, 0)
    assert "[order-of-another]" in beside.refused(comment, "first.sh", "a1")
    give(order)
    (work / "data" / "a.txt").write_text("hallo\n")
    changed = beside.ordered("changed", script="#!/bin/sh\nmkdir {out}\nexec sleep 60\n")
    (work / "data" / "a.txt").write_text("hello\n")
    assert "[input-digest]" in beside.refused(changed, "changed.sh", "a1")
    assert beside.steps() == []
    assert not (work / "first.out").exists()
    assert people.refused("ada", "step", "receipt", str(order), "--wait", "1s", status=3) == "receipt-none"

    job = here.submit(work, comment, "--nodes=2", "first.sh", "a1")
    made = beside.made(job)
    assert (work / "first.out" / "model").read_text() == "hello\na1\n"  # and not the builder's key
    script = sha256((work / "first.sh").read_bytes())
    nodes, derived = "n[1-2]", "1:0"  # srun ended with the second node's number
    assert made.job == Job(
        id=job, user=JOB_USER.pw_name, nodes=nodes, script=script, exit_code="0:0", derived_exit_code=derived
    )
    assert (made.sandbox, made.level, made.attempt) == ("slurm", 1, 1)
    assert str(made.builder) == "keyturn://acme.example/builder/cluster"
    digest = str(manifest.make(work / "first.out" / "model").identity)
    assert [str(one.digest) for one in made.outputs] == [digest]
    assert "[step-ran]" in beside.refused(comment, "first.sh", "a1")
    here.ask("scontrol", "requeue", job)  # it ended well: nobody makes it write over that

    # The next step takes it by the receipt, and runs in a sandbox, of an order in a file, as in a Kubernetes Job.
    receipt = people.by("ada", "step", "receipt", str(order))
    assert receipt["outputs"] == {"model": digest}
    assert people.by("ada", "step", "receipt", str(order)) == receipt
    (work / "sh.sh").write_text("")
    step = a_step(work, "sh")
    data = f'source = "data"\ndigest = "{manifest.make(work / "data").identity}"'
    step.write_text(
        step.read_text()
        .replace('["sbatch", "sh.sh", "a1"]', '["sh", "-c", "cat /in/data /in/data > /out/model"]')
        .replace(data, 'source = "first.out/model"\ndigest = "from-step:first/model"')
    )
    words = ("step", "order", str(step), str(work / "sh.order"), "--out", str(work / "sh.out"), "--yes")
    people.by("ada", *words, "--builder", "builder")
    done = people.by("ada", "builder", "run-order", str(work / "sh.order"))
    assert done["outputs"] == {"model": str(manifest.make(work / "sh.out" / "model").identity)}
    assert people.refused("ada", "builder", "run-order", str(work / "sh.order"), status=3) == "step-ran"
    assert here.state(idle) == "COMPLETED"
    here.wait(job, "CANCELLED")
    assert "[step-ran]" in here.why(job)


def test_of_a_job_that_ended_otherwise_nothing_is_signed_and_one_that_was_queued_again_says_so(beside: Beside) -> None:
    here, work, before = beside.here, beside.work, len(beside.steps())
    fails = beside.ordered("fails", script="#!/bin/sh\nmkdir {out}\necho x > {out}/model\nexit 3\n")
    failed = here.submit(work, fails, "fails.sh", "a1")
    again = here.submit(work, beside.ordered("again", script=WAITS), "again.sh", "a1")
    long = here.submit(work, beside.ordered("long", script=WAITS), "long.sh", "a1")
    wait_for_file(work / "again.out" / "model")
    here.ask("scontrol", "requeue", again)
    wait_for_file(work / "long.out" / "model")
    here.ask("scancel", long)
    kept = beside.kept(failed)
    assert (kept["ended"]["state"], kept["ended"]["exit_code"]) == ("FAILED", "3:0")
    assert kept["failure"] == f"job {failed} ended as FAILED, exit code 3:0: nothing is signed"
    assert beside.kept(long)["ended"]["state"] == "CANCELLED"  # Slurm said exit code 0 of it to its epilog
    assert "[step-failed]" in beside.hook("builder", "slurm-epilog", failed).stderr

    (work / "again.out.go").write_text("")
    made = beside.made(again)
    assert (made.attempt, made.step) == (2, "again")
    kinds = [kind for kind, _ in beside.steps()[before:]]
    assert (kinds.count("stp"), kinds.count("prv")) == (3, 1)  # what was asked stays
    wait_for("idle nodes", lambda: here.idle() or None)  # no false order, and no job that failed, drains one


def test_a_log_or_a_controller_that_is_away_loses_no_job(beside: Beside) -> None:
    here, work = beside.here, beside.work
    service = lab_config.parse((beside.lab / "keyturn.toml").read_bytes()).service
    assert service is not None
    comment = beside.ordered("away", script=WAITS)
    beside.reaches(NOWHERE)
    job = here.submit(work, comment, "away.sh", "a1")
    wait_for("a prolog that fails", lambda: "slurm-prolog" in here.said or "Restarts=1" in here.why(job) or None)
    assert not (work / "away.out").exists()
    beside.reaches(service)
    wait_for_file(work / "away.out" / "model")
    here.stop_controller()
    (work / "away.out.go").write_text("")
    beside.reaches(NOWHERE)
    here.start_controller()
    signed = beside.lab / "builder" / "slurm" / f"{job}.signed"
    wait_for(f"what waits for the log; the hooks said {here.said[-2000:]}", lambda: signed.exists() or None)
    beside.reaches(service)
    done = beside.hook("builder", "slurm-epilog")
    assert done.returncode == 0, done.stderr
    made = beside.made(job)
    assert (made.attempt, made.job is not None and made.job.exit_code) == (1, "0:0")
    assert list(signed.parent.glob(f"{job}.*")) == []
    assert beside.hook("builder", "slurm-epilog", job).returncode == 0
    assert [one.step for one in beside.signed()].count("away") == 1  # and says nothing again
