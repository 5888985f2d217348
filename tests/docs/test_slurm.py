"""docs/guide/slurm.md is run as it stands: a real Slurm gets a builder beside it, which signs for a job of two nodes."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w

from keyturn.adapters.files import run_files
from keyturn.adapters.files.key_files import write_key
from keyturn.crypto.signers import SoftwareKey
from support.members import People
from support.pages import run_page
from support.slurm import ROOT, SLURM_USER, as_slurm_user, cluster

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(240)]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that others may pass through: SlurmUser is another one."""
    made = Path(tempfile.mkdtemp(prefix="keyturn-slurm-"))
    made.chmod(0o755)
    (made / "work").mkdir()
    yield made
    shutil.rmtree(made)


def test_a_builder_is_set_up_beside_slurm_and_signs_a_job_as_it_is_written(place: Path, tmp_path: Path) -> None:
    people, own, user = People(place), place / "var" / "lab", SLURM_USER.pw_name
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    key = SoftwareKey.generate()  # the page says that targets list it; `builder init` keeps the one that is there
    draft = people.lab / "trust" / "draft" / "builders.toml"
    row = {"id": "cluster", "public": key.public.text, "level_max": 2, "operator": "bob"}
    draft.write_text(draft.read_text() + tomli_w.dumps({"builders": [row]}))
    people.publish()
    write_key(own / "builder" / "key", key, passphrase=None)
    pin = hashlib.sha256((people.lab / "trust" / "root.json").read_bytes()).hexdigest()
    with people.served(), cluster(place / "slurm") as here:
        programs = tmp_path / "programs"
        programs.mkdir()
        runuser = programs / "runuser"  # here this Python may lie where SlurmUser cannot get
        *words, _ = as_slurm_user(here)
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        runuser.write_text(f'#!/bin/sh\nshift 3\nexec {quoted} "$@"\n')
        runuser.chmod(0o755)
        restarted = tmp_path / "restarted"
        systemctl = programs / "systemctl"  # `run_page` hands on what a browser is asked to open
        systemctl.write_text(f'#!/bin/sh\n"$BROWSER" "$1/$2"\nwhile [ ! -e \'{restarted}\' ]; do sleep 0.1; done\n')
        systemctl.chmod(0o755)

        def restart(words: str) -> None:
            assert words == "restart/slurmctld"
            here.stop_controller()
            here.start_controller()
            restarted.write_text("")

        said = run_page(
            "guide/slurm.md",
            tmp_path,
            timeout_s=200,
            browse=restart,
            programs=programs,
            environment={
                "ROOT": pin,
                "KEYTURN_HOME": str(place / "ada"),
                "KEYTURN_LAB": str(people.lab),
                "SLURM_CONF": here.environment["SLURM_CONF"],
            },
            changed={
                "-o slurm -g slurm": f"-o {user} -g {user}",
                "chown -R slurm:": f"chown -R {user}:",
                "cp -r lab/trust": f"cp -r {people.lab}/trust",
                "https://keyturn.acme.example": str(run_files.find(people.lab / "run", "service")),
                "/var/lib/keyturn-slurm": str(place / "var"),
                "/var/log/slurm": str(here.place / "controller"),
                "/opt/keyturn/bin/keyturn": str(Path(sys.executable).with_name("keyturn")),
                "/etc/slurm": str(here.place),
                " packaging/slurm/": f" {ROOT}/packaging/slurm/",
                "/shared/runs": str(place / "work"),
            },
        )
        assert (place / "work" / "train" / "model").read_text() == "a1 hello\n", said
