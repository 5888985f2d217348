"""Beside a real Slurm controller: a job starts as people signed it or not at all, and its provenance is not its own word."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.bulk import manifest
from keyturn.formats import dsse, provenance
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import parse as parse_leaf
from keyturn.formats.provenance import Job
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import log_reader
from support.builders import RUNTIME
from support.members import People
from support.processes import wait_for, wait_for_file
from support.slurm import JOB_USER, Cluster, cluster

JOB = """#!/bin/sh
mkdir {out}
cat data/a.txt > {out}/model
echo "$1" >> {out}/model
cat {key} >> {out}/model 2>/dev/null
sleep 60 > /dev/null 2>&1 &
exit 0
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that others may pass through: the job's user is another one."""
    made = Path(tempfile.mkdtemp(prefix="keyturn-slurm-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def a_step(work: Path, name: str, *, words: str = '"a1"') -> Path:
    script = work / f"{name}.sh"
    path = work / f"{name}.toml"
    path.write_text(
        f'version = 1\nname = "first"\nbuild_type = "ingest"\ncommand = ["sbatch", "{script.name}", {words}]\n'
        f'[[inputs]]\nname = "data"\nsource = "data"\ndigest = "{manifest.make(work / "data").identity}"\nmount = "/in/data"\n'
        f'[[inputs]]\nname = "script"\nsource = "{script.name}"\ndigest = "sha256:{sha256(script.read_bytes())}"\n'
        f'mount = "/in/script"\nrole = "code"\n'
        f'[[outputs]]\nname = "model"\npath = "/out/model"\n[sandbox]\nruntime = {RUNTIME}\ntimeout_s = 20\n'
    )
    return path


def give(path: Path) -> None:
    os.chown(path, JOB_USER.pw_uid, JOB_USER.pw_gid)


def ordered(people: People, work: Path, name: str, *, script: str = JOB, words: str = '"a1"') -> str:
    """Ada orders the step `name`; the comment for its job."""
    key = people.lab / "builder" / "key"
    (work / f"{name}.sh").write_text(script.format(out=work / f"{name}.out", key=key))
    order = work / f"{name}.order"
    step = str(a_step(work, name, words=words))
    said = people.by("ada", "step", "order", step, str(order), "--out", str(work / f"{name}.out"), "--yes")
    give(order)
    return f"--comment={said['comment']}"


def refused(here: Cluster, job: str) -> str:
    here.wait(job, "CANCELLED")
    return here.why(job)


def steps(people: People) -> list[tuple[str, bytes]]:
    """What the log has of steps, in its order: kind and envelope."""
    with log_reader(find_lab(str(people.lab))) as reader:
        size = people.by("ada", "log", "show")["size"]
        found = [leaf for leaf in map(parse_leaf, reader.leaves(0, size)) if leaf.kind in ("stp", "prv")]
        return [(leaf.kind, reader.envelope(Sha256(leaf.envelope))) for leaf in found]


@pytest.mark.cluster
def test_a_job_of_a_signed_order_runs_once_and_the_controller_signs_what_came_of_it(place: Path) -> None:
    people = People(place)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    people.lab.chmod(0o700)
    work = place / "work"
    (work / "data").mkdir(parents=True)
    (work / "data" / "a.txt").write_text("hello\n")
    give(work)
    people.by("ada", "builder", "init", "--work", str(work), "--runtime", "/usr")
    environment = {"KEYTURN_HOME": str(place / "nobody")}
    with people.served(), cluster(place / "slurm", lab=people.lab, environment=environment) as here:
        comment, order = ordered(people, work, "first"), work / "first.order"
        other = work / "other.sh"
        other.write_text((work / "first.sh").read_text() + "\n")
        idle = here.submit(work, "--wrap=exit 0")  # nobody's order: Slurm's own business

        assert "[job-script]" in refused(here, here.submit(work, comment, "other.sh", "a1"))
        assert "[job-command]" in refused(here, here.submit(work, comment, "first.sh", "a2"))
        os.chown(order, 0, 0)
        assert "[order-of-another]" in refused(here, here.submit(work, comment, "first.sh", "a1"))
        give(order)
        (work / "data" / "a.txt").write_text("hallo\n")
        again = ordered(people, work, "again", script="#!/bin/sh\nmkdir {out}\nexec sleep 60\n")
        (work / "data" / "a.txt").write_text("hello\n")
        assert "[input-digest]" in refused(here, here.submit(work, again, "again.sh", "a1"))
        assert steps(people) == []
        assert not (work / "first.out").exists()

        job = here.submit(work, comment, "first.sh", "a1")
        here.wait(job, "COMPLETED")
        wait_for("provenance", lambda: steps(people)[1:] or None)
        assert (work / "first.out" / "model").read_text() == "hello\na1\n"  # and not the builder's key
        made = provenance.read(dsse.parse_own(steps(people)[1][1]).payload)
        script = sha256((work / "first.sh").read_bytes())
        assert made.job == Job(id=job, user=JOB_USER.pw_name, nodes="n1", script=script)
        assert (made.sandbox, made.level, str(made.builder)) == ("slurm", 1, "keyturn://acme.example/builder/builder")
        assert [str(one.digest) for one in made.outputs] == [str(manifest.make(work / "first.out" / "model").identity)]
        assert "[step-ran]" in refused(here, here.submit(work, comment, "first.sh", "a1"))

        long = ordered(people, work, "long", script="#!/bin/sh\nmkdir {out}\necho x > {out}/model\nexec sleep 60\n")
        job = here.submit(work, long, "long.sh", "a1")
        wait_for_file(work / "long.out" / "model")
        here.ask("scancel", job)
        here.wait(job, "CANCELLED")
        wait_for("the epilog", lambda: "ended as CANCELLED" in (place / "slurm" / "hooks.log").read_text() or None)
        assert [kind for kind, _ in steps(people)] == [
            "stp",
            "prv",
            "stp",
        ]  # what was asked stays; Slurm said exit code 0 of it to its epilog

        # The same builder, of an order in a file and with a sandbox, as in a Kubernetes Job.
        (work / "sh.sh").write_text("")
        step = a_step(work, "sh")
        step.write_text(
            step.read_text().replace('["sbatch", "sh.sh", "a1"]', '["sh", "-c", "cat /in/data/* > /out/model"]')
        )
        words = ("step", "order", str(step), str(work / "sh.order"), "--out", str(work / "sh.out"), "--yes")
        people.by("ada", *words)
        done = people.by("ada", "builder", "run-order", str(work / "sh.order"))
        assert done["outputs"] == {"model": str(manifest.make(work / "sh.out" / "model").identity)}
        assert people.refused("ada", "builder", "run-order", str(work / "sh.order"), status=3) == "step-ran"
        assert here.state(idle) == "COMPLETED"
        assert here.ask("sinfo", "--noheader", "--format=%T").strip() in (
            "idle",
            "mixed",
        )  # no false order drains a node
