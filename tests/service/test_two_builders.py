"""Two builders of two operators run a step: what they make alike is reproduced, and what differs is shown."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import tomli_w

from keyturn.adapters.files import run_files
from keyturn.adapters.files.config_files import replace_file
from keyturn.adapters.files.key_files import write_key
from keyturn.bulk import manifest
from keyturn.config import lab as lab_config
from keyturn.crypto.signers import SoftwareKey
from support.builders import RUNTIME
from support.commands import KEYTURN
from support.members import People
from support.processes import running, wait_for_file


def a_step(work: Path, name: str, script: str) -> Path:
    (work / "data").mkdir(parents=True, exist_ok=True)
    (work / "data" / "a.txt").write_text("hello\n")
    path = work / f"{name}.toml"
    path.write_text(
        f'version = 1\nname = "{name}"\nbuild_type = "ingest"\ncommand = ["sh", "-c", """{script}"""]\n'
        f'[[inputs]]\nname = "data"\nsource = "data"\ndigest = "{manifest.make(work / "data").identity}"\nmount = "/in/data"\n'
        f'[[outputs]]\nname = "model"\npath = "/out/model"\n[sandbox]\nruntime = {RUNTIME}\ntimeout_s = 20\n'
    )
    return path


def test_what_a_second_builder_makes_alike_is_said_and_what_differs_is_shown(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    key, again, elsewhere = SoftwareKey.generate(), SoftwareKey.generate(), tmp_path / "elsewhere"
    draft = people.lab / "trust" / "draft" / "builders.toml"
    mine = tomllib.loads(draft.read_text())["builders"][0]["operator"]
    rows = [{"id": "other", "public": key.public.text, "level_max": 1, "operator": "bob"}]
    rows += [{"id": "spare", "public": again.public.text, "level_max": 1, "operator": mine}]
    draft.write_text(draft.read_text() + tomli_w.dumps({"builders": rows}))
    people.publish()
    work = tmp_path / "work"
    work.mkdir()
    people.by("ada", "builder", "init", "--work", str(work), "--runtime", "/usr")
    with people.served():
        service = run_files.find(people.lab / "run", "service")
        config = lab_config.parse((people.lab / "keyturn.toml").read_bytes())
        write_key(elsewhere / "builder" / "key", key, passphrase=None)
        shutil.copytree(people.lab / "trust", elsewhere / "trust")
        (elsewhere / "keyturn.toml").write_bytes(lab_config.render(replace(config, service=service)))
        init = ("builder", "init", "other", "--work", str(work), "--runtime", "/usr", "--lab", str(elsewhere))
        people.by("ada", *init)
        environment = {"KEYTURN_HOME": str(tmp_path / "nobody")}
        serve = [*KEYTURN, "builder", "serve", "--lab"]
        with (
            running([*serve, people.lab], environment=environment) as one,
            running([*serve, elsewhere], environment=environment) as other,
        ):
            wait_for_file(people.lab / "run" / "builder.json", one)
            wait_for_file(elsewhere / "run" / "builder.json", other)
            address = run_files.find(elsewhere / "run", "builder")
            known = {**config.processes, "builder-other": address or ""}
            replace_file(people.lab / "keyturn.toml", lab_config.render(replace(config, processes=known)))

            step = a_step(work, "first", "cat /in/data/a.txt > /out/model")
            made = people.by("ada", "run", str(step), "--builder", "builder", "--yes")
            asked = ("step", "reproduce", made["outputs"]["model"], str(step), "--yes")
            assert people.refused("bob", *asked, "--builder", "spare") == "reproduce-same-operator"
            found = people.by("bob", *asked)
            assert (found["reproduced"], found["builders"]) == (True, ["builder", "other"])
            assert found["provenance"] != made["provenance"]
            assert (work / "out.again" / "model").read_text() == "hello\n"

            step.write_text(step.read_text() + "\n")
            words = (*asked, "--out", str(work / "third"))
            assert people.refused("bob", *words) == "reproduce-other-step"

            step = a_step(work, "random", "mkdir /out/model; cat /proc/sys/kernel/random/uuid > /out/model/id")
            made = people.by("ada", "run", str(step), "--builder", "builder", "--out", str(work / "r1"), "--yes")
            words = ("step", "reproduce", made["provenance"], str(step), "--out", str(work / "r2"), "--yes", "--json")
            done = people.run("bob", *words, "--builder", "other", "--first", str(work / "r1"))
            assert done.returncode == 1, done.stderr
            found = json.loads(done.stdout)
            assert found["outputs"] == {"model": False}
            assert [(file["path"], file["verdict"]) for file in found["differences"]["files"]] == [
                ("model/id", "differs")
            ]
            waited = people.by("bob", "step", "wait", found["request"])
            assert waited["provenance"] == found["provenance"]
