"""The page about databases: its policy can be published, its commands can be typed, and a person comes in by them."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import httpx

from keyturn.adapters.keys.session_certificates import read_request
from keyturn.crypto.signers import SoftwareKey
from keyturn.policy.lint import refuse_unapprovable
from keyturn.policy.load import load
from support.databases import KEYTURN, DatabasePerson, database_lab
from support.labs import make_lab
from support.processes import running, wait_for
from tools import cli_reference

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "databases.md").read_text(encoding="utf-8")


def typed(program: str) -> list[str]:
    return re.findall(rf"^    ({program} .+)$", PAGE, re.MULTILINE)


def test_its_policy_can_be_published() -> None:
    policy = re.search(r"^    @id.*?;$", PAGE, re.MULTILINE | re.DOTALL)
    assert policy is not None
    lab = make_lab(
        humans=("ada", "bob"),
        groups={"ops": ("ada",), "security": ("bob",)},
        resources={"db/main": ()},
        policy={"main": policy.group()},
    )
    refuse_unapprovable(load(lab.state))


def test_its_commands_take_the_words_that_it_gives_them() -> None:
    commands = dict(cli_reference.commands())
    found = [shlex.split(line) for line in typed("keyturn")]
    assert len(found) >= 6
    for line in found:
        words = line[: line.index("--")] if "--" in line else line
        name = next(" ".join(words[:n]) for n in (4, 3, 2) if " ".join(words[:n]) in commands)
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_its_one_command_asks_waits_and_comes_in(tmp_path: Path) -> None:
    with database_lab(tmp_path) as place:
        place.start_gate()
        ada, bob = (DatabasePerson(place, tmp_path, member) for member in ("ada", "bob"))
        lines = typed("keyturn psql")
        assert len(lines) == 3
        for line in lines:
            words = shlex.split(line.replace("server-ca.pem", ada.authority).replace(" psql ", " psql --yes ", 1))
            with running([*KEYTURN, *words[1:]], environment=ada.environment) as asking:
                bob.approve(asking)
                assert asking.wait() == 0, asking.describe()


def test_a_person_comes_in_by_what_it_says_by_hand(tmp_path: Path) -> None:
    with database_lab(tmp_path) as place:
        place.start_gate()
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
        psql = psql.replace("db.acme.example", f"127.0.0.1 port={place.port} sslrootcert=server.pem").replace(
            "ROLE", asked.role
        )
        assert run(f"{psql} -XAt -c 'SELECT count(*) FROM app.runs'") == "1\n"
