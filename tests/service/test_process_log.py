"""What the processes say of themselves: JSON for a collector, text at a terminal, and nobody's secrets or escapes in either."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import ExitStack

import pytest
import urllib3

from keyturn.formats.text import is_printable
from support.commands import KEYTURN
from support.members import People
from support.processes import Process, running, wait_for, wait_for_file

ESCAPES = "\x1b[31mred\u202eturned\x9b"
SECRET = "hunter2-in-a-body"
SERVERS = {
    "witness-north": ("witness", "serve", "north"),
    "service": ("serve",),
    "builder": ("builder", "serve"),
    "gate-release": ("gate", "serve", "release"),
}
DOORS = {"witness-north": "/add-checkpoint", "service": "/submit", "builder": "/steps", "gate-release": "/release"}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    people = People(tmp_path_factory.mktemp("lab"))
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    (people.place / "work").mkdir()
    people.by("ada", "builder", "init", "--work", "work")
    return people


@pytest.fixture(scope="module")
def said(people: People) -> dict[str, list[dict[str, object]]]:
    """What each process said from its start to its end, while somebody sent it what it refuses."""
    environment = {"KEYTURN_HOME": str(people.place / "ada")}
    found = {}
    with ExitStack() as stack:
        processes: dict[str, Process] = {}
        for name, words in SERVERS.items():
            process = stack.enter_context(running([*KEYTURN, *words, "--lab", people.lab], environment=environment))
            wait_for_file(people.lab / "run" / f"{name}.json", process)
            processes[name] = process
        for name, process in processes.items():
            url = json.loads((people.lab / "run" / f"{name}.json").read_text())["url"]
            hostile = json.dumps({"x": ESCAPES, "password": SECRET}, ensure_ascii=False).encode()
            urllib3.request("POST", url + DOORS[name], body=hostile, timeout=20)
            urllib3.request("GET", f"{url}/no/such/place-{SECRET}", timeout=20)
            process.wait_for_line("request-refused")
            wait_for("both answers", lambda p=process: p.output.count("request-refused") >= 2 or None)
        for name, process in reversed(processes.items()):
            process.stop()
            process.describe()
            found[name] = [json.loads(line) for line in process.output.splitlines()]
    return found


@pytest.mark.parametrize("name", SERVERS)
def test_every_line_is_json_with_the_same_fields(said: dict[str, list[dict[str, object]]], name: str) -> None:
    assert {"serving", "request-refused", "stopped"} <= {line["event"] for line in said[name]}
    for line in said[name]:
        assert list(line)[:4] == ["time", "level", "process", "event"], line
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["time"]))
        assert line["process"] == name
        assert line["level"] in ("info", "warning", "error")
    refused = [line for line in said[name] if line["event"] == "request-refused"]
    assert all(re.fullmatch(r"[a-z0-9-]+", str(line["code"])) for line in refused)


@pytest.mark.parametrize("name", SERVERS)
def test_no_body_path_secret_or_escape_is_in_it(said: dict[str, list[dict[str, object]]], name: str) -> None:
    whole = json.dumps(said[name], ensure_ascii=False)
    assert SECRET not in whole
    assert "BEGIN" not in whole
    assert is_printable(whole)


def test_a_process_that_does_not_start_says_why_in_the_same_form(people: People) -> None:
    done = people.run("ada", "witness", "serve", "south", "--dir", str(people.place / "nowhere"))
    assert done.returncode == 2
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["event"], line["code"], line["process"]) == (
        "error",
        "ended",
        "witness-not-set-up",
        "witness-south",
    )
    assert line["hint"] == "keyturn witness init NAME"


def at_a_terminal(people: People, *words: str) -> str:
    """What a command that ends at once says when standard error is a terminal."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*KEYTURN, *words], cwd=people.place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:
        pass  # how a pseudo-terminal says that nobody has its other end any more
    os.close(ours)
    child.wait(30)
    return said.decode()


def test_a_person_at_a_terminal_reads_text_unless_he_asks_for_json(people: People) -> None:
    words = ("witness", "serve", "south", "--dir", str(people.place / "nowhere"))
    assert at_a_terminal(people, *words).startswith("error: expected `")
    assert json.loads(at_a_terminal(people, *words, "--log-json"))["event"] == "ended"


SAYS = """
import logging, sys
from keyturn.adapters import process_log
from keyturn.errors import Refused
process_log.begin("service", log_json={json})
err = Refused("no", "a\\x1b[2Jb\\u202e\\u2028\\nc", reasons=(("one", "x"), ("two", "y")), hint="do", detail="in" + "side" * 9999)
process_log.say("warning", "tried", err=err, about={{"job": "7"}})
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.\\x07")
logging.getLogger("uvicorn.error").info("of no interest")
try:
    raise KeyError("gone")
except KeyError:
    process_log.say("error", "defect", "oh", trace=True)
"""


@pytest.fixture(params=[True, False], ids=["json", "text"])
def lines(request: pytest.FixtureRequest) -> tuple[bool, list[str]]:
    code = SAYS.format(json=request.param)
    if not request.param:
        code = code.replace("import logging, sys", "import logging, sys\nsys.stderr.isatty = lambda: True")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return request.param, done.stderr.splitlines()


def test_control_characters_are_plain_long_texts_are_cut_and_libraries_speak_alike(
    lines: tuple[bool, list[str]],
) -> None:
    as_json, said = lines
    assert is_printable("".join(said))
    if not as_json:
        assert said[0] == r"service: a\x1b[2Jb\u202e\u2028"
        assert any(line == r"service: Invalid HTTP request received.\x07" for line in said)
        return
    first, second, third = map(json.loads, said)
    assert first["message"] == "a\\x1b[2Jb\\u202e\\u2028\nc"
    assert (first["code"], first["reasons"], first["hint"], first["job"]) == ("no", ["one", "two"], "do", "7")
    assert len(first["detail"]) == 2000
    assert (second["event"], second["library"], second["level"]) == ("library", "uvicorn.error", "warning")
    assert "KeyError: 'gone'" in third["trace"]


def test_what_keyturn_up_says_of_a_process_that_did_not_start_comes_from_its_log(people: People) -> None:
    held = people.lab / "builder" / "builder.toml"
    kept = held.read_bytes()
    held.unlink()
    try:
        done = people.run("ada", "up")
    finally:
        held.write_bytes(kept)
    assert done.returncode == 3
    assert "`builder` ended with status 2 instead of serving: expected" in done.stderr
    assert "try: keyturn builder init" in done.stderr
