"""The page about databases: its policy can be published, its commands can be typed, and a person comes in by them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from keyturn.adapters.keys.session_certificates import read_request
from keyturn.crypto.signers import SoftwareKey
from support.databases import KEYTURN, DatabaseLab, DatabasePerson, database_lab
from support.page_words import require_known_options, require_publishable
from support.processes import running, wait_for

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "databases.md").read_text(encoding="utf-8")


def typed(program: str) -> list[str]:
    return re.findall(rf"^    ({program} .+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseLab]:
    with database_lab(tmp_path_factory.mktemp("database")) as found:
        found.start_gate()
        yield found


def test_its_policy_can_be_published() -> None:
    require_publishable(PAGE, {"db/main": ()})


def test_its_commands_take_the_words_that_it_gives_them() -> None:
    require_known_options(PAGE, count=10)


def test_its_one_command_asks_waits_and_comes_in(place: DatabaseLab, tmp_path: Path) -> None:
    ada, bob = (DatabasePerson(place, tmp_path, member) for member in ("ada", "bob"))
    lines = typed("keyturn psql")
    assert len(lines) == 3
    for line in lines:
        words = shlex.split(line.replace("server-ca.pem", ada.authority).replace(" psql ", " psql --yes ", 1))
        with running([*KEYTURN, *words[1:]], environment=ada.environment) as asking:
            bob.approve(asking)
            assert asking.wait() == 0, asking.describe()


def test_its_other_commands_do_what_they_say(place: DatabaseLab, tmp_path: Path) -> None:
    shutil.copytree(place.disk.path, tmp_path / "fresh", ignore=shutil.ignore_patterns("gates"))
    people = {member: DatabasePerson(place, tmp_path, member) for member in ("ada", "bob")}
    key = SoftwareKey.generate()
    here = {"--lab": str(place.disk.path)}
    whose = {
        "gate postgres init": ("ada", {"--lab": str(tmp_path / "fresh"), "--root-sha256": place.lab.root_sha256}),
        "gate postgres take": ("ada", here),
        "gate postgres end": ("ada", here),
        "request": ("ada", {"--yes": None}),
        "grant sign-bundle": ("bob", {"--yes": None}),
    }
    done = {}
    for line in typed("keyturn"):
        name = next((name for name in whose if line.startswith(f"keyturn {name} ")), None)
        if name is None:
            assert line.startswith("keyturn psql ") or line == "keyturn gate postgres run main", line
            continue
        member, more = whose[name]
        words = [key.public.text if word == "KEY" else word for word in shlex.split(line)[1:]]
        words += [word for option in more.items() for word in option if word is not None]
        done[line] = subprocess.run(
            [*KEYTURN, *words],
            cwd=tmp_path,
            env={**os.environ, **({} if name.startswith("gate") else people[member].environment)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done[line].returncode == 0, (line, done[line].stderr)
        if name == "gate postgres take":  # what was brought opens, by the log's absence or not
            assert wait_for("the gate", lambda: place.certify(key).status_code == 200 or None, place.gate)
    assert "roles ended: 0" not in done["keyturn gate postgres end main"].stdout
    assert place.roles() == set()
    assert (tmp_path / "fresh" / "gates" / "main" / "ca.pem").exists()


def test_a_person_comes_in_by_what_it_says_by_hand(place: DatabaseLab, tmp_path: Path) -> None:
    make_key, show_key, make_request = typed("openssl")

    def run(line: str) -> str:
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=30)  # noqa: S602 - the page's own
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(make_key)
    shown = run(show_key)
    proves = SoftwareKey.parse((tmp_path / "session.key").read_bytes(), passphrase=None)
    assert shown == proves.public.text  # what --session-key takes
    asked = place.granted(session_key=shown)
    run(make_request)
    assert read_request((tmp_path / "session.csr").read_bytes()) == proves.public
    [curl] = typed("curl")
    sent = curl.replace("https://db.acme.example", place.gate_url) + " -sS -f"

    def answered() -> httpx.Response | None:
        said = httpx.post(f"{place.gate_url}/certificate", content=(tmp_path / "session.csr").read_bytes())
        return said if said.status_code == 200 else None

    said = wait_for("the grant", answered, place.gate).json()
    assert said["role"] in run(sent)
    (tmp_path / "session.pem").write_text(said["certificate"])
    (tmp_path / "session.key").chmod(0o600)
    [psql] = typed("psql")
    psql = psql.replace("db.acme.example", f"127.0.0.1 port={place.port} sslrootcert={place.place}/server.pem").replace(
        "ROLE", asked.role
    )
    assert run(f"{psql} -XAt -c 'SELECT count(*) FROM app.runs'") == "1\n"
